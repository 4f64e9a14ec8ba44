package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

const reportLong = `Measures a program as bench does, at its highest rate and at offered loads below
and above that, and writes one HTML page: throughput and latency against load,
how busy each unit is, what contexts wait for, cycles by source line, instruction
and word, and what the program takes of the card. The page needs no network and
no other file.`

func newReport() *cobra.Command {
	var o benchOptions
	var out string
	cmd := &cobra.Command{
		Use:     "report PROG -o FILE.html",
		Short:   "write a page that shows how a program does on a simulated card",
		Long:    reportLong + progHelp,
		Example: `  nfpsim report firewall.o --pcap mixed.pcap --packets 20000 -o firewall.html`,
		Args:    exactly("PROG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("report wants -o FILE.html")
			}
			p, err := o.report(cmd, args[0])
			if err != nil {
				return err
			}
			if err := writeFile(out, cmd.OutOrStdout(), p.write); err != nil {
				return err
			}
			return o.whole(cmd)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the page to `FILE`; \"-\" is standard output")
	return cmd
}

// loads are the offered loads of a report, in parts of the highest rate.
var loads = []float64{0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1, 1.1, 1.25}

// report measures a program and gathers what the page shows.
func (o *benchOptions) report(cmd *cobra.Command, arg string) (*page, error) {
	results, err := o.measure(cmd, arg, true)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, usagef("report wants one number of workers, size and offered load; it varies the load itself")
	}
	top := results[0]
	model, err := nfp.ModelByName(o.card)
	if err != nil {
		return nil, err
	}
	load, err := o.loader(cmd, arg, model)
	if err != nil {
		return nil, err
	}
	e, err := load()
	if err != nil {
		return nil, err
	}
	p := &page{
		Program: e.prog.Name, Card: top.Card, Firmware: top.Firmware, Traffic: o.describe(top), Command: "nfpsim " + o.command(cmd, arg),
		Partial: top.Partial, Facts: headFacts(top), Units: unitBars(&top.Result), Stalls: stallBars(&top.Result),
		Files: annotate(e.prog, top.BenchResult), Memory: memoryBars(e, model, top.BenchResult),
	}
	if !top.Partial {
		if err := o.sweepLoad(cmd, arg, top, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// sweepLoad measures at loads around the highest rate.
func (o *benchOptions) sweepLoad(cmd *cobra.Command, arg string, top *measurement, p *page) error {
	var rates []string
	for _, part := range loads {
		if r := part * top.Mpps; r < top.Offered {
			rates = append(rates, strconv.FormatFloat(r, 'f', 4, 64))
		}
	}
	at := *o
	at.offered = strings.Join(rates, ",")
	results, err := at.measure(cmd, arg, false)
	if err != nil {
		return err
	}
	for _, r := range append(results, top) {
		p.Partial = p.Partial || r.Partial
		p.Load = append(p.Load, pointOf(r))
	}
	return nil
}

func pointOf(r *measurement) loadPoint {
	l := loadPoint{Offered: r.Offered, Mpps: r.Mpps, Expect: r.Expect.Range(), Flows: r.Flows, Bottleneck: r.Bottleneck, Lost: max(0, 1-r.Mpps/r.Offered),
		WireP50: r.Latency.Wire.P50, WireP99: r.Latency.Wire.P99, WireP999: r.Latency.Wire.P999,
		HostP50: r.Latency.Host.P50, HostP99: r.Latency.Host.P99, HostP999: r.Latency.Host.P999}
	if l.Lost*100 < r.CIPercent {
		l.Lost = 0 // within what the measurement knows
	}
	return l
}

// describe says what traffic there was.
func (o *benchOptions) describe(r *measurement) string {
	what := "generated packets"
	switch {
	case o.packet != "":
		what = "one packet over and over"
	case o.pcap != "":
		what = "packets of a capture"
	}
	text := fmt.Sprintf("%d workers; %s of %.0f bytes, %s, up to %.2f M packets/s offered; seed %d", r.Workers, what, r.Bytes, counted(uint64(r.Flows), "flow"), r.Offered, r.Seed)
	if missing := o.missing(); missing != "" {
		text += "; " + missing
	}
	return text
}

// command returns the command line that produces the page.
func (o *benchOptions) command(cmd *cobra.Command, arg string) string {
	words := []string{cmd.Name(), arg}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "output" {
			return // the page is the same wherever it goes
		}
		if v, ok := f.Value.(pflag.SliceValue); ok {
			for _, s := range v.GetSlice() {
				words = append(words, "--"+f.Name+" "+s)
			}
			return
		}
		words = append(words, "--"+f.Name+" "+f.Value.String())
	})
	return strings.Join(words, " ")
}

func headFacts(r *measurement) []fact {
	facts := []fact{
		{"throughput", fmt.Sprintf("%.2f", r.Mpps), "Mpps", fmt.Sprintf("%.2f Gbit/s on the wire, ± %.2f %% over %s", r.Gbps, r.CIPercent, counted(uint64(r.Flows), "flow"))},
		{"a packet", fmt.Sprintf("%.0f", r.CyclesPerPacket), "cycles", fmt.Sprintf("of a worker; the program alone %.0f issued, %.0f elapsed", r.IssueCycles, r.ElapsedCycles)},
		{"bound by", r.Bottleneck, "", "next " + r.NextBottleneck},
	}
	if r.Expect != nil {
		facts = append(facts, fact{"expected on a card", r.Expect.Range(), "Mpps", r.Expect.Basis()})
	}
	for _, l := range []struct {
		name string
		q    sim.Quantiles
	}{{"wire to wire", r.Latency.Wire}, {"wire to host", r.Latency.Host}} {
		if l.q.Max > 0 {
			facts = append(facts, fact{l.name, microseconds(l.q.P50), "µs", "median at this load; p99 " + microseconds(l.q.P99) + ", max " + microseconds(l.q.Max) + " µs"})
		}
	}
	return facts
}

// unitBars are the chip's units, the busiest first.
func unitBars(r *sim.Result) []bar {
	return bars(r.Utilization, 1, func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) })
}

// stallBars returns the causes for which contexts waited, the longest first.
func stallBars(r *sim.Result) []bar {
	longest := 0.0
	for _, v := range r.Stalls {
		longest = max(longest, v)
	}
	return bars(r.Stalls, longest, func(v float64) string { return fmt.Sprintf("%.1f", v) })
}

func bars(m map[string]float64, full float64, text func(float64) string) []bar {
	var out []bar
	for name, v := range m {
		if v > 0 {
			out = append(out, bar{Name: name, Value: v, Share: v / full, Text: text(v)})
		}
	}
	slices.SortFunc(out, func(a, b bar) int {
		if a.Value != b.Value {
			if a.Value > b.Value {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

// annotate attributes the cost of each word to source lines and instructions.
func annotate(prog *driver.Program, r *driver.BenchResult) []sourceFile {
	im := prog.Image
	if im == nil {
		return nil
	}
	packets := float64(max(r.Packets, 1))
	a := annotator{lines: map[string]map[int]*sourceLine{}}
	for i, l := range im.Lines {
		end := len(im.Words)
		if i+1 < len(im.Lines) {
			end = im.Lines[i+1].Addr
		}
		insn := sourceInsn{PC: l.PC, Text: l.Insn}
		for at := l.Addr; at < end && at < len(r.Words); at++ {
			insn.add(at, im.Words[at], &r.Words[at], packets)
		}
		a.add(l, insn)
	}
	return a.files()
}

func (insn *sourceInsn) add(at int, w nfp.Word, cost *sim.WordCost, packets float64) {
	text := "no instruction"
	if in, err := nfp.Decode(w); err == nil {
		text = in.Text()
	}
	wait := uint64(0)
	for cause, c := range cost.Stalls {
		if sim.Stall(cause) != sim.StallTurn {
			wait += c
		}
	}
	word := sourceWord{Addr: at, Text: text, Count: float64(cost.Count) / packets, Issue: float64(cost.Cycles) / packets, Wait: float64(wait) / packets}
	insn.Words = append(insn.Words, word)
	insn.Issue, insn.Wait = insn.Issue+word.Issue, insn.Wait+word.Wait
}

// annotator collects lines by file and number.
type annotator struct {
	names []string // of files, in the order in which code comes from them
	lines map[string]map[int]*sourceLine
}

func (a *annotator) add(l nfp.Line, insn sourceInsn) {
	name, number, text := l.File, l.Line, strings.TrimSpace(l.Text)
	switch {
	case l.PC < 0:
		name, number, text = "", -1, "entry, exits and padding"
	case l.Text == "": // eBPF text, or what a compiler merged: each instruction is its own line
		name, number, text = "", l.PC, fmt.Sprintf("pc %d: %s", l.PC, l.Insn)
	}
	if a.lines[name] == nil {
		a.lines[name] = map[int]*sourceLine{}
		a.names = append(a.names, name)
	}
	line := a.lines[name][number]
	if line == nil {
		line = &sourceLine{Number: number, Text: text}
		a.lines[name][number] = line
	}
	line.Issue, line.Wait = line.Issue+insn.Issue, line.Wait+insn.Wait
	line.Insns = append(line.Insns, insn)
}

func (a *annotator) files() []sourceFile {
	hottest := 0.0
	var out []sourceFile
	for _, name := range a.names {
		f := sourceFile{Name: name}
		for _, l := range a.lines[name] {
			hottest = max(hottest, l.Issue+l.Wait)
			slices.SortStableFunc(l.Insns, func(x, y sourceInsn) int { return x.PC - y.PC })
			f.Lines = append(f.Lines, *l)
		}
		slices.SortFunc(f.Lines, func(x, y sourceLine) int { return x.Number - y.Number })
		if name == "" {
			f.Name = "instructions without a source line"
		}
		out = append(out, f)
	}
	for i, f := range out {
		for j := range f.Lines {
			l := &f.Lines[j]
			l.Share = 0.6 * (l.Issue + l.Wait) / math.Max(hottest, 1e-9)
			if a.names[i] == "" {
				l.Number = 0
			}
		}
	}
	return out
}

// memoryBars returns the card's memories of limited size with the program's share of each.
func memoryBars(e *simEngine, m *nfp.Model, r *driver.BenchResult) []memoryBar {
	p := e.nic.Profile
	out := []memoryBar{split("code store", "words", p.MaxLen, memoryUse{e.prog.Name, e.prog.Words})}
	if im := e.prog.Image; im != nil {
		out = append(out, split("local memory, a thread's stack and spills", "bytes", p.Stack, memoryUse{"used", im.Stack}))
	}
	out = append(out, split("packet in the island's memory (the rest of a longer one lies in external memory)", "bytes", p.CTMBytes(), memoryUse{"mean packet", int(r.Bytes)}))
	return append(out, mapBars(e, p, m)...)
}

// memoryUse is something that takes room.
type memoryUse struct {
	name string
	size int
}

// split returns a bar of the used and free parts of whole.
func split(name, unit string, whole int, parts ...memoryUse) memoryBar {
	b := memoryBar{Name: name, Total: fmt.Sprintf("%d %s", whole, unit)}
	free := whole
	for _, part := range parts {
		b.Parts = append(b.Parts, memoryPart{Name: part.name, Size: fmt.Sprintf("%d %s", part.size, unit), Share: float64(part.size) / float64(max(whole, 1))})
		free -= part.size
	}
	if free > 0 {
		b.Parts = append(b.Parts, memoryPart{Name: "free", Size: fmt.Sprintf("%d %s", free, unit), Share: float64(free) / float64(whole), Free: true})
	}
	return b
}

// mapBars are the maps: by entries, of which a firmware has so many, and by
// bytes against the cache before external memory.
func mapBars(e *simEngine, p *firmware.Profile, m *nfp.Model) []memoryBar {
	var entries, bytes []memoryUse
	total, size := 0, 0
	for _, mp := range e.nic.Maps() {
		spec := mp.Spec()
		n := int(spec.MaxEntries)
		one := int(spec.KeySize+7)&^7 + int(spec.ValueSize+7)&^7
		entries, bytes = append(entries, memoryUse{mp.Name(), n}), append(bytes, memoryUse{mp.Name(), n * one})
		total, size = total+n, size+n*one
	}
	if total == 0 {
		return nil
	}
	limit := p.Maps.Entries
	if limit == 0 {
		limit = total
	}
	return []memoryBar{
		split("map entries", "entries", limit, entries...),
		split(fmt.Sprintf("maps when full, beside the %d KiB of an external memory unit's cache", m.CacheBytes>>10), "bytes", max(size, m.CacheBytes), bytes...),
	}
}
