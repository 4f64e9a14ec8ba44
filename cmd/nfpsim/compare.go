package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// compareSide is one of the two programs in compare's JSON.
type compareSide struct {
	Name    string         `json:"name"`
	Words   int            `json:"words"`
	Own     float64        `json:"own_cycles"`     // issued by the program itself, mean of a packet
	Issue   float64        `json:"issue_cycles"`   // helpers included
	Elapsed float64        `json:"elapsed_cycles"` // mean of a packet
	Verdict map[string]int `json:"verdicts"`       // packets by verdict
}

type compareResult struct {
	Packets int            `json:"packets"`
	Sides   [2]compareSide `json:"programs"`
	Differ  []string       `json:"differences"` // where the two left different packets, verdicts or events
}

type compareOptions struct {
	target
	reading
	origin
	packet, pcap, listing, list string
	kernel                      string // release of the driver, if asked
	preload                     []string
	corpus, json                bool
}

// table reports whether many programs are to be compared.
func (o *compareOptions) table() bool { return o.list != "" || o.corpus }

func newCompare() *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare (A B | --kernel[=RELEASE] PROG) (--packet HEX | --pcap IN) | compare --kernel[=RELEASE] [--list FILE] [--corpus]",
		Short: "compare two programs, or two compilers' code, on the same packets",
		Long: `Runs two programs on the same packets, each on a card of its own, and shows the
words of each and the cycles that a packet takes. Exit status 1 says that they
do not do the same: verdicts, packets and events are compared.

With --kernel, one program is compiled twice: by the Linux nfp driver's
translator and by ours. The driver runs in a User Mode Linux guest whose nfp
driver is bound to the simulated card; its kernel is built first where the cache
has none, which takes three minutes. RELEASE is 6.1 or 6.12, the default. What it makes of a program is kept in the
user's cache, so that asking again boots nothing. --listing FILE takes the
driver's code from a file instead: the words of "bpftool prog dump jited", or
any listing of them.

--list FILE compares many programs and prints a table with geometric means at the
end. A line of it is a PROG and its --packet, --pcap and --map, with files
relative to the list; # starts a comment. --corpus adds every XDP program of the kernel's
samples and selftests that the driver takes, which are compiled first (once) and
run on packets of their own.` + progHelp + `
A and B are such programs.`,
		Example: `  nfpsim compile ttl.bpf --off gvn,simplify -o plain.nfp
  nfpsim compare ttl.bpf plain.nfp --pcap mixed.pcap
  nfpsim compare --kernel firewall.o --map blocked=blocked.json --pcap mixed.pcap`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.table() {
				if len(args) > 0 || o.kernel == "" || o.packet != "" || o.pcap != "" || o.listing != "" || o.preload != nil {
					return usagef("compare --list and --corpus go with --kernel, and with no PROG, packets or maps beside")
				}
				return o.runTable(cmd)
			}
			if want := map[bool]int{false: 2, true: 1}[o.kernel != "" || o.listing != ""]; len(args) != want {
				return usagef("compare takes two programs, or one with --kernel or --listing; got %d", len(args))
			}
			return o.run(cmd, args)
		},
	}
	o.target.flags(cmd)
	o.reading.flags(cmd)
	o.origin.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.packet, "packet", "", "one packet as `HEX` digits")
	f.StringVar(&o.pcap, "pcap", "", "pcap or pcapng capture `IN` to replay")
	f.StringArrayVar(&o.preload, "map", nil, "fill map NAME of both first, as `NAME=FILE.json` (repeatable)")
	f.StringVar(&o.kernel, "kernel", "", "compare the Linux driver's code for one program with ours; the driver is that of `RELEASE`")
	f.Lookup("kernel").NoOptDefVal = uml.Newest
	f.StringVar(&o.listing, "listing", "", "take the driver's code from `FILE`; no guest is booted")
	f.StringVar(&o.list, "list", "", "compare the programs that `FILE` lists")
	f.BoolVar(&o.corpus, "corpus", false, "compare the XDP programs of the kernel's samples and selftests")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// rival is a loaded program and its name in the output.
type rival struct {
	name   string
	words  int
	engine *simEngine
	typ    ebpf.ProgramType
}

func (o *compareOptions) run(cmd *cobra.Command, args []string) error {
	if err := stdinOnce(append([]string{o.pcap, o.listing}, args...)...); err != nil {
		return err
	}
	if err := o.origin.check(); err != nil {
		return err
	}
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
		r.engine.from = o.origin
	}
	if err := fillBoth(both, o.preload); err != nil {
		return err
	}
	result, err := contest(both, packets.list)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(cmd.OutOrStdout(), result)
	} else {
		err = result.print(cmd.OutOrStdout())
	}
	if err != nil {
		return err
	}
	err = packets.whole(cmd.ErrOrStderr(), cmd.ErrOrStderr())
	if len(result.Differ) > 0 {
		err = errNo
	}
	return err
}

// fillBoth fills maps of both.
func fillBoth(both [2]rival, maps []string) error {
	for _, r := range both {
		if err := eachMap(r.engine, maps, preload); err != nil {
			return err
		}
	}
	return nil
}

// programs loads two PROG arguments.
func (o *compareOptions) programs(cmd *cobra.Command, args []string, p *firmware.Profile) (both [2]rival, err error) {
	for i, arg := range args {
		e, typ, err := newEngine(cmd, &o.reading, "sim", arg, p, &counts{}, origin{})
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

// maxDiffer is how many differences are listed.
const maxDiffer = 10

// contest runs both on the packets.
func contest(both [2]rival, packets []capture.Packet) (*compareResult, error) {
	r := &compareResult{Packets: len(packets), Differ: []string{}}
	for i, b := range both {
		r.Sides[i] = compareSide{Name: b.name, Words: b.words, Verdict: map[string]int{}}
	}
	for _, pkt := range packets {
		var out [2]outcome
		for i, b := range both {
			var err error
			if out[i], err = b.engine.packet(pkt.Data); err != nil {
				return nil, fmt.Errorf("%s: packet %d: %w", b.name, pkt.Number, err)
			}
			s := &r.Sides[i]
			s.Own += float64(out[i].issue-out[i].helpers) / float64(len(packets))
			s.Issue += float64(out[i].issue) / float64(len(packets))
			s.Elapsed += float64(out[i].elapsed) / float64(len(packets))
			s.Verdict[verdictName(b.typ, out[i].code)]++
		}
		what := ""
		switch {
		case out[0].code != out[1].code:
			what = fmt.Sprintf("packet %d: %s and %s", pkt.Number, verdictName(both[0].typ, out[0].code), verdictName(both[1].typ, out[1].code))
		case string(out[0].data) != string(out[1].data):
			what = fmt.Sprintf("packet %d: %x and %x", pkt.Number, out[0].data, out[1].data)
		case !slices.EqualFunc(out[0].events, out[1].events, sameEvent):
			what = fmt.Sprintf("packet %d: events %s and %s", pkt.Number, eventText(out[0].events), eventText(out[1].events))
		}
		if what != "" && len(r.Differ) < maxDiffer {
			r.Differ = append(r.Differ, what)
		}
	}
	return r, nil
}

// sameEvent reports whether two events are equal, their maps apart: the host numbers those
// of the driver's code.
func sameEvent(a, b driver.Event) bool {
	return a.CPU == b.CPU && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Packet, b.Packet)
}

// eventText is the elements and bytes of events.
func eventText(events []driver.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%d:%x%x", e.CPU, e.Data, e.Packet))
	}
	return "[" + strings.Join(all, " ") + "]"
}

func (r *compareResult) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "program\twords\tcycles of its own\tissued with helpers\telapsed")
	for _, s := range r.Sides {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\n", s.Name, s.Words, s.Own, s.Issue, s.Elapsed)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range r.Differ {
		fmt.Fprintln(w, d)
	}
	_, err := fmt.Fprintf(w, "%s, means of a packet\n", counted(r.Packets, "packet"))
	return err
}
