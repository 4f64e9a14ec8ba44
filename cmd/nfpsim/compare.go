package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// compareTimeout is what a guest may take, build of its kernel apart.
const compareTimeout = 2 * time.Minute

// compareSide is one of the two programs in compare's JSON.
type compareSide struct {
	Name    string         `json:"name"`
	Words   int            `json:"words"`
	Issue   float64        `json:"issue_cycles"`   // mean of a packet
	Elapsed float64        `json:"elapsed_cycles"` // mean of a packet
	Verdict map[string]int `json:"verdicts"`       // packets by verdict
}

type compareResult struct {
	Packets int            `json:"packets"`
	Sides   [2]compareSide `json:"programs"`
	Differ  []string       `json:"differences"` // where the two left different packets or verdicts
}

type compareOptions struct {
	target
	packet, pcap, listing string
	preload               []string
	kernel, json          bool
}

func newCompare() *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare (A B | --kernel PROG) (--packet HEX | --pcap IN)",
		Short: "compare two programs, or two compilers' code, on the same packets",
		Long: `Runs two programs on the same packets, each on a card of its own, and shows the
words of each and the cycles that a packet takes. Exit status 1 says that they
do not do the same.

With --kernel, one program is compiled twice: by the Linux nfp driver's
translator and by ours. The driver runs in a User Mode Linux guest whose nfp
driver is bound to the simulated card; its kernel is built first where the cache
has none, which takes three minutes. --listing FILE takes the driver's code from a
file instead: the words of "bpftool prog dump jited", or any listing of them.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if want := map[bool]int{false: 2, true: 1}[o.kernel || o.listing != ""]; len(args) != want {
				return usagef("compare takes two programs, or one with --kernel or --listing; got %d", len(args))
			}
			return o.run(cmd, args)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.packet, "packet", "", "one packet as hex digits")
	f.StringVar(&o.pcap, "pcap", "", "a pcap or pcapng capture to replay")
	f.StringArrayVar(&o.preload, "map", nil, "NAME=FILE.json: fill a map of both first (repeatable)")
	f.BoolVar(&o.kernel, "kernel", false, "compare the Linux driver's code for one program with ours")
	f.StringVar(&o.listing, "listing", "", "take the driver's code from this file; no guest is booted")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// rival is a program that is loaded, and what it is called.
type rival struct {
	name   string
	words  int
	engine *simEngine
	typ    ebpf.ProgramType
}

func (o *compareOptions) run(cmd *cobra.Command, args []string) error {
	packets, err := (&runOptions{packet: o.packet, pcap: o.pcap}).packets(cmd)
	if err != nil {
		return err
	}
	p, err := o.profile()
	if err != nil {
		return err
	}
	var both [2]rival
	if len(args) == 1 {
		both, err = o.compilers(cmd, args[0], p)
	} else {
		both, err = o.programs(cmd, args, p)
	}
	if err != nil {
		return explainRefusal(cmd.ErrOrStderr(), args[0], err)
	}
	for _, r := range both {
		if err := eachMap(r.engine, o.preload, preload); err != nil {
			return err
		}
	}
	result, err := contest(both, packets)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(cmd.OutOrStdout(), result)
	} else {
		err = result.print(cmd.OutOrStdout())
	}
	if err == nil && len(result.Differ) > 0 {
		err = errNo
	}
	return err
}

// programs loads two PROG arguments.
func (o *compareOptions) programs(cmd *cobra.Command, args []string, p *firmware.Profile) (both [2]rival, err error) {
	for i, arg := range args {
		e, typ, err := newEngine(cmd, "sim", arg, p)
		if err != nil {
			return both, prefix(arg, err)
		}
		sim := e.(*simEngine)
		both[i] = rival{arg, sim.prog.Words, sim, typ}
	}
	if both[0].typ != both[1].typ {
		return both, fmt.Errorf("one is of type %v, the other of type %v", both[0].typ, both[1].typ)
	}
	return both, nil
}

// compilers loads one program as the driver's code and as ours.
func (o *compareOptions) compilers(cmd *cobra.Command, arg string, p *firmware.Profile) (both [2]rival, err error) {
	obj, _, err := open(cmd, arg)
	if err != nil {
		return both, err
	}
	spec, err := obj.Program("")
	if err != nil {
		return both, err
	}
	f, err := verified(obj, spec.Name, nil)
	if err != nil {
		return both, err
	}
	ours, err := loadAll([]*verify.Facts{f}, p)
	if err != nil {
		return both, err
	}
	var theirs *simEngine
	if o.listing != "" {
		theirs, err = o.listed(cmd, f, p)
	} else {
		theirs, err = translated(cmd, f, p)
	}
	if err != nil {
		return both, err
	}
	both[0] = rival{"linux", theirs.prog.Words, theirs, f.Code.Type}
	both[1] = rival{"nfpkit", ours.prog.Words, ours, f.Code.Type}
	return both, nil
}

// translated asks a guest's driver for its code.
func translated(cmd *cobra.Command, f *verify.Facts, p *firmware.Profile) (*simEngine, error) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	say := func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), "nfpsim:", line) }
	kernel, err := uml.Build(ctx, say)
	if errors.Is(err, uml.ErrUnavailable) {
		return nil, fmt.Errorf("%w (a captured listing can be given with --listing)", err)
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nfpsim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	init := filepath.Join(dir, "init")
	if err := uml.BuildInit(ctx, uml.GuestPackage, init); err != nil {
		return nil, fmt.Errorf("the guest's program is built by go in a checkout of nfpkit: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	all, err := uml.Translate(ctx, &uml.TranslateOptions{Kernel: kernel, Init: init, Firmware: p}, []*code.Code{f.Code})
	if err != nil {
		return nil, err
	}
	if all[0].Words == nil {
		return nil, fmt.Errorf("the driver refuses the program: %s", all[0].Refused)
	}
	nic, err := kernelCard(f, p, all[0].Tables)
	if err != nil {
		return nil, err
	}
	prog, err := nic.LoadKernel("linux", all[0].Words, f.Code.Type)
	return &simEngine{nic: nic, prog: prog}, err
}

// listed takes the driver's code from a listing. Its maps have the table ids 1, 2
// and so on, in the order in which the program first names them.
func (o *compareOptions) listed(cmd *cobra.Command, f *verify.Facts, p *firmware.Profile) (*simEngine, error) {
	src, err := readText(o.listing, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	im, err := nfp.Assemble(src)
	if err != nil {
		return nil, prefix(o.listing, err)
	}
	tables := make([]uint32, len(f.Code.Maps))
	for i := range tables {
		tables[i] = uint32(i + 1)
	}
	nic, err := kernelCard(f, p, tables)
	if err != nil {
		return nil, err
	}
	prog, err := nic.Load(im, f.Code.Type)
	return &simEngine{nic: nic, prog: prog}, err
}

// kernelCard is a card with a program's maps at the given table ids, whose
// counters are those that the Linux driver knows.
func kernelCard(f *verify.Facts, p *firmware.Profile, tables []uint32) (*driver.NIC, error) {
	nic, err := driver.New(p, nil)
	if err != nil {
		return nil, err
	}
	use := driver.LinuxUse(f)
	for i, spec := range f.Code.Maps {
		m, err := nic.CreateMap(spec)
		if err != nil {
			return nil, err
		}
		if m.ID != tables[i] {
			return nil, fmt.Errorf("map %s has table id %d in the code, %d is the next", spec.Name, tables[i], m.ID)
		}
		if err := m.Agree(use[i].Words); err != nil {
			return nil, err
		}
	}
	return nic, nil
}

// maxDiffer is how many differences are listed.
const maxDiffer = 10

// contest runs both on the packets.
func contest(both [2]rival, packets []packet) (*compareResult, error) {
	r := &compareResult{Packets: len(packets), Differ: []string{}}
	for i, b := range both {
		r.Sides[i] = compareSide{Name: b.name, Words: b.words, Verdict: map[string]int{}}
	}
	for n, pkt := range packets {
		var out [2]outcome
		for i, b := range both {
			var err error
			if out[i], err = b.engine.packet(pkt.data); err != nil {
				return nil, fmt.Errorf("%s: packet %d: %w", b.name, n+1, err)
			}
			s := &r.Sides[i]
			s.Issue += float64(out[i].issue) / float64(len(packets))
			s.Elapsed += float64(out[i].elapsed) / float64(len(packets))
			s.Verdict[verdictName(b.typ, out[i].code)]++
		}
		what := ""
		switch {
		case out[0].code != out[1].code:
			what = fmt.Sprintf("packet %d: %s and %s", n+1, verdictName(both[0].typ, out[0].code), verdictName(both[1].typ, out[1].code))
		case string(out[0].data) != string(out[1].data):
			what = fmt.Sprintf("packet %d: %x and %x", n+1, out[0].data, out[1].data)
		}
		if what != "" && len(r.Differ) < maxDiffer {
			r.Differ = append(r.Differ, what)
		}
	}
	return r, nil
}

func (r *compareResult) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "program\twords\tcycles issued\tcycles elapsed")
	for _, s := range r.Sides {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\n", s.Name, s.Words, s.Issue, s.Elapsed)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range r.Differ {
		fmt.Fprintln(w, d)
	}
	_, err := fmt.Fprintf(w, "%d packets, means of a packet\n", r.Packets)
	return err
}
