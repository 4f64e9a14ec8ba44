package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
)

// page is all that a report shows. It carries no time of day and no machine's
// name: the same measurement is the same page.
type page struct {
	Program, Card, Firmware, Traffic string
	Command                          string // the command that produces the page
	Partial                          bool

	Facts  []fact // the head's tiles
	Load   []loadPoint
	Units  []bar // how busy each is, 0 to 1
	Stalls []bar // what contexts waited for, cycles a packet
	Files  []sourceFile
	Memory []memoryBar
}

// fact is a number in large type with its name.
type fact struct{ Name, Value, Unit, Note string }

// loadPoint is a measurement at an offered load. A latency is 0 if no packet took that
// path.
type loadPoint struct {
	Offered, Mpps              float64 // M/s
	WireP50, WireP99, WireP999 int64   // ns
	HostP50, HostP99, HostP999 int64   // ns
	Lost                       float64 // of the packets offered, 0 to 1
	Bottleneck                 string
	Expect                     string // rates of a card, M/s
	Flows                      int
}

// bar is a share of something.
type bar struct {
	Name  string
	Value float64
	Share float64 // of the bar's full length, 0 to 1
	Text  string
}

// sourceFile is a source file's lines that have code, in their order.
type sourceFile struct {
	Name  string
	Lines []sourceLine
}

// sourceLine is a line of source with the code that was compiled from it. Cycles are
// per packet: issue cycles occupy the engine, wait cycles do not.
type sourceLine struct {
	Number      int
	Text        string
	Issue, Wait float64
	Share       float64 // of the hottest line, 0 to 1
	Insns       []sourceInsn
}

// sourceInsn is an eBPF instruction and its words.
type sourceInsn struct {
	PC          int
	Text        string
	Issue, Wait float64
	Words       []sourceWord
}

// sourceWord is a word of micro-engine code.
type sourceWord struct {
	Addr        int
	Text        string
	Count       float64 // times a packet
	Issue, Wait float64
}

// memoryBar is a memory of limited size and its contents.
type memoryBar struct {
	Name  string
	Total string
	Parts []memoryPart
}

// memoryPart is one piece, in the order in which they lie.
type memoryPart struct {
	Name  string
	Size  string
	Share float64 // of the whole, 0 to 1
	Free  bool
}

//go:embed report.html
var pageText string

// write renders the page: one file that needs nothing else.
func (p *page) write(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"percent": func(v float64) template.CSS { return template.CSS(fmt.Sprintf("%.1f%%", 100*min(max(v, 0), 1))) },
		"cycles":  perPacket,
		"times":   func(v float64) string { return fmt.Sprintf("%.2f", v) },
		"us":      microseconds,
		"per100":  func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) },
		"mpps":    func(v float64) string { return fmt.Sprintf("%.2f", v) },
	}).Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

// perPacket prints a number of cycles per packet; 0 is printed as nothing.
func perPacket(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 0.05:
		return "<0.1"
	}
	return fmt.Sprintf("%.1f", v)
}

// microseconds of a latency in nanoseconds.
func microseconds(ns int64) string {
	if ns == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(ns)/1000)
}

// ThroughputChart plots the achieved against the offered load.
func (p *page) ThroughputChart() template.HTML {
	var x, y []float64
	for _, l := range p.Load {
		x, y = append(x, l.Offered), append(y, l.Mpps)
	}
	c := chart{Label: "throughput against offered load", XLabel: "offered, M packets/s", YLabel: "through, M packets/s", Series: []chartLine{
		{Name: "no loss", Class: "ideal", X: []float64{0, most(x)}, Y: []float64{0, most(x)}},
		{Name: "through", Class: "s0", X: x, Y: y, Dots: true},
	}}
	return c.SVG()
}

// LatencyChart is latency against offered load, towards the host if packets went
// there, else to the wire.
func (p *page) LatencyChart() template.HTML {
	var x, p50, p99, p999 []float64
	for _, l := range p.Load {
		a, b, c := l.HostP50, l.HostP99, l.HostP999
		if !p.ToHost() {
			a, b, c = l.WireP50, l.WireP99, l.WireP999
		}
		x, p50, p99, p999 = append(x, l.Offered), append(p50, known(a)), append(p99, known(b)), append(p999, known(c))
	}
	c := chart{Label: "latency against offered load", XLabel: "offered, M packets/s", YLabel: "latency, µs", Series: []chartLine{
		{Name: "p99.9", Class: "s2", X: x, Y: p999}, {Name: "p99", Class: "s1", X: x, Y: p99}, {Name: "p50", Class: "s0", X: x, Y: p50, Dots: true},
	}}
	return c.SVG()
}

// ToHost reports whether any packet went to the host.
func (p *page) ToHost() bool {
	for _, l := range p.Load {
		if l.HostP50 > 0 {
			return true
		}
	}
	return false
}

// Latency reports whether any packet left the card at all.
func (p *page) Latency() bool {
	for _, l := range p.Load {
		if l.HostP50 > 0 || l.WireP50 > 0 {
			return true
		}
	}
	return false
}

// known is a latency in µs; 0 ns is none.
func known(ns int64) float64 {
	if ns == 0 {
		return math.NaN()
	}
	return float64(ns) / 1000
}

func most(x []float64) float64 {
	m := 0.0
	for _, v := range x {
		m = max(m, v)
	}
	return m
}
