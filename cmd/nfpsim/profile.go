package main

import (
	"fmt"
	"io"

	"github.com/google/pprof/profile"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

func newProfile() *cobra.Command {
	var o benchOptions
	var out string
	cmd := &cobra.Command{
		Use:   "profile PROG -o FILE.pb.gz",
		Short: "measure a program as bench does, and write a profile for go tool pprof",
		Long: `Runs a program as bench does and writes a profile for "go tool pprof". A sample is
a word of microcode; around it stand the eBPF instruction, the C line and the
function it was compiled from, as if each had called the next. Values are a
word's executions, the cycles it held an engine and the cycles its context
waited at it, in all and by cause: -sample_index=stall chooses. go tool pprof
-comments prints the card, the traffic, and what of a capture was left out.` + progHelp,
		Example: `  nfpsim profile firewall.o --pcap mixed.pcap --packets 20000 -o firewall.pb.gz`,
		Args:    exactly("PROG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("profile wants -o FILE.pb.gz")
			}
			p, err := o.profiled(cmd, args[0])
			if err != nil {
				return err
			}
			if err := writeFile(out, cmd.OutOrStdout(), func(w io.Writer) error { return p.Write(w) }); err != nil {
				return err
			}
			return o.whole(cmd)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the profile to `FILE`; \"-\" is standard output")
	return cmd
}

// profiled measures a program and returns its profile.
func (o *benchOptions) profiled(cmd *cobra.Command, arg string) (*profile.Profile, error) {
	b, err := o.measured(cmd, arg, true)
	if err != nil {
		return nil, err
	}
	if len(b.results) != 1 {
		return nil, usagef("%s measures one point, not a sweep of %d", cmd.Name(), len(b.results))
	}
	p := pprofOf(b.results[0].BenchResult, b.cards[0].nic.Programs(), b.programs)
	if missing := o.missing(); missing != "" {
		p.Comments = append(p.Comments, missing)
	}
	return p, p.CheckValid()
}

// pprofOf converts the costs of words to a profile. facts are those of the programs,
// in the same order, nil for microcode.
func pprofOf(r *driver.BenchResult, programs []*driver.Program, facts []*verify.Facts) *profile.Profile {
	m := &profile.Profile{
		DefaultSampleType: "cycles",
		PeriodType:        &profile.ValueType{Type: "cycles", Unit: "cycles"}, Period: 1,
		DurationNanos: int64(float64(r.Packets) / r.Mpps * 1e3),
		Comments:      []string{fmt.Sprintf("%s, firmware %s, %d packets, seed %d", r.Result.String(), r.Firmware, r.Packets, r.Seed)},
	}
	for _, t := range []string{"words", "cycles", "stall"} {
		m.SampleType = append(m.SampleType, &profile.ValueType{Type: t, Unit: map[bool]string{true: "count", false: "cycles"}[t == "words"]})
	}
	for s := range sim.NumStalls {
		m.SampleType = append(m.SampleType, &profile.ValueType{Type: "stall-" + s.String(), Unit: "cycles"})
	}
	b := pprofBuilder{p: m, functions: map[string]*profile.Function{}}
	for i, prog := range programs {
		b.mapping(prog)
		var f *verify.Facts
		if i < len(facts) {
			f = facts[i]
		}
		for at := range prog.Words {
			if w := &r.Store[prog.Start+at]; w.Count > 0 {
				b.word(prog, f, at, w)
			}
		}
	}
	return m
}

type pprofBuilder struct {
	p         *profile.Profile
	functions map[string]*profile.Function
}

// mapping is a program's place in the code store.
func (b *pprofBuilder) mapping(prog *driver.Program) {
	b.p.Mapping = append(b.p.Mapping, &profile.Mapping{
		ID: uint64(len(b.p.Mapping) + 1), Start: uint64(prog.Start), Limit: uint64(prog.Start + prog.Words), File: prog.Name,
		HasFunctions: true, HasFilenames: true, HasLineNumbers: true, HasInlineFrames: true,
	})
}

// function returns the profile's function of a name and file.
func (b *pprofBuilder) function(name, file string) *profile.Function {
	key := name + "\x00" + file
	f := b.functions[key]
	if f == nil {
		f = &profile.Function{ID: uint64(len(b.p.Function) + 1), Name: name, SystemName: name, Filename: file}
		b.functions[key] = f
		b.p.Function = append(b.p.Function, f)
	}
	return f
}

// word adds a word's sample: the word, its instruction, its source line.
func (b *pprofBuilder) word(prog *driver.Program, f *verify.Facts, at int, w *sim.WordCost) {
	loc := &profile.Location{ID: uint64(len(b.p.Location) + 1), Mapping: b.p.Mapping[len(b.p.Mapping)-1], Address: uint64(prog.Start + at)}
	frame := func(name, file string, line int) {
		loc.Line = append(loc.Line, profile.Line{Function: b.function(name, file), Line: int64(line)})
	}
	frame(fmt.Sprintf("word %d: %s", at, prog.Text(at)), prog.Name+".s", at+1)
	line, ok := prog.Line(at)
	outer := prog.Name
	file, number := prog.Name, 0
	if ok && line.PC >= 0 {
		frame(fmt.Sprintf("pc %d: %s", line.PC, line.Insn), prog.Name+".bpf", line.PC+1)
		if name := functionAt(f, line.PC); name != "" {
			outer = name
		}
		if line.File != "" {
			file, number = line.File, line.Line
		}
	}
	frame(outer, file, number)
	b.p.Location = append(b.p.Location, loc)
	values := []int64{int64(w.Count), int64(w.Cycles + w.Helper), 0}
	for _, v := range w.Stalls {
		values[2] += int64(v)
		values = append(values, int64(v))
	}
	b.p.Sample = append(b.p.Sample, &profile.Sample{Location: []*profile.Location{loc}, Value: values})
}

// functionAt is the function that an eBPF instruction belongs to.
func functionAt(f *verify.Facts, pc int) string {
	if f == nil {
		return ""
	}
	for i := range f.Code.Insns {
		if ins := &f.Code.Insns[i]; ins.PC == pc {
			return f.Code.Funcs[ins.Func].Name
		}
	}
	return ""
}
