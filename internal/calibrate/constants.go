package main

import (
	"fmt"
	"maps"
	"math"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// card holds what a simulation needs: the card's model, and the firmwares by profile.
type card struct {
	model     nfp.Model
	firmwares map[string]*firmware.Profile
}

// newCard returns the card as nfpkit has it.
func newCard() (*card, error) {
	m, err := nfp.ModelByName("")
	if err != nil {
		return nil, err
	}
	c := &card{*m, map[string]*firmware.Profile{}}
	for _, name := range []string{"corenic", "corenic-direct"} {
		if c.firmwares[name], err = firmware.Load(name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// with returns the card with other constants.
func (c *card) with(list []constant, values []float64) *card {
	out := &card{c.model, maps.Clone(c.firmwares)}
	for i := range list {
		list[i].set(out, values[i])
	}
	return out
}

// constant describes a number of the card or of a firmware that is fitted. There is none for a
// program: a constant reaches a simulation through the card alone, which does not know
// what runs on it.
type constant struct {
	name  string
	unit  string
	prior float64 // what is known without the measurements
	width float64 // standard deviation of the prior
	why   string  // source of the prior
	step  float64 // smallest change
	set   func(*card, float64)
	get   func(*card) float64
	acts  func(*point) bool // reports whether a point can depend on it
}

// constants returns what is fitted.
func constants() []constant {
	all := func(*point) bool { return true }
	whole := func(name, why string, prior, width float64, field func(*nfp.Model) *int, acts func(*point) bool) constant {
		return constant{name, "cycles", prior, width, why, 1,
			func(c *card, v float64) { *field(&c.model) = int(math.Round(v)) },
			func(c *card) float64 { return float64(*field(&c.model)) }, acts}
	}
	part := func(name, why string, prior, width float64, field func(*nfp.Model) *float64, acts func(*point) bool) constant {
		return constant{name, "cycles", prior, width, why, 0.01,
			func(c *card, v float64) { *field(&c.model) = math.Round(v*100) / 100 },
			func(c *card) float64 { return *field(&c.model) }, acts}
	}
	return []constant{
		whole("CLS.Read", "several papers: 20 to 50", 35, 10, func(m *nfp.Model) *int { return &m.CLS.Read }, all),
		whole("CTM.Read", "Clara: 70; several papers: 50 to 100", 70, 15, func(m *nfp.Model) *int { return &m.CTM.Read }, all),
		whole("CTM.Write", "Clara: 80", 80, 15, func(m *nfp.Model) *int { return &m.CTM.Write }, (*point).writes),
		whole("IMEM.Atomic", "Clara: 120", 120, 30, func(m *nfp.Model) *int { return &m.IMEM.Atomic }, all),
		whole("EMEM.Read", "several papers: 150 to 250 cached; these data say less", 120, 60, func(m *nfp.Model) *int { return &m.EMEM.Read }, (*point).reads),
		whole("EMEM.Write", "assumed: as reads of these data", 90, 30, func(m *nfp.Model) *int { return &m.EMEM.Write }, all),
		whole("Ring", "assumed", 60, 30, func(m *nfp.Model) *int { return &m.Ring }, all),
		whole("Ticket", "assumed", 60, 30, func(m *nfp.Model) *int { return &m.Ticket }, all),
		whole("NextPacket", "assumed", 60, 30, func(m *nfp.Model) *int { return &m.NextPacket }, all),
		whole("Jitter", "assumed: some tens of cycles", 15, 10, func(m *nfp.Model) *int { return &m.Jitter }, all),
		part("EMEM.ReadBusy", "CoNEXT'21: 4.05 from the saturated rate alone", 4.05, 0.5, func(m *nfp.Model) *float64 { return &m.EMEM.ReadBusy }, (*point).reads),
		part("EMEM.AtomicBusy", "CoNEXT'21: 3.22 from the saturated rate alone", 3.22, 0.5, func(m *nfp.Model) *float64 { return &m.EMEM.AtomicBusy }, (*point).adds),
		{"queue selection", "instructions", 200, 100, "assumed", 1, setQueueSelection, queueSelection,
			func(p *point) bool { return p.firmware == "corenic" }},
	}
}

// queueStep is the step of corenic that corenic-direct does not have.
const queueStep = 2

func queueSelection(c *card) float64 { return float64(c.firmwares["corenic"].Before[queueStep].Issue) }

func setQueueSelection(c *card, v float64) {
	p := *c.firmwares["corenic"]
	p.Before = append([]firmware.Step{}, p.Before...)
	p.Before[queueStep].Issue = int(math.Round(v))
	c.firmwares["corenic"] = &p
}

// current returns the constants as nfpkit has them.
func (c *card) current(list []constant) []float64 {
	var out []float64
	for i := range list {
		out = append(out, list[i].get(c))
	}
	return out
}

// start returns the constants as they are known without the measurements.
func (f *fitter) start() []float64 {
	var out []float64
	for i := range f.list {
		out = append(out, f.list[i].prior)
	}
	return out
}

func (k *constant) format(v float64) string {
	if k.step < 1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
