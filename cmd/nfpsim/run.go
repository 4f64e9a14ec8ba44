package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// engine runs a program packet by packet. The simulated card and the reference
// interpreter are the two.
type engine interface {
	packet(data []byte) (outcome, error)
	raw(mem []byte) (r0 uint64, err error)
	table(name string) (table, error)
	tables() []string
}

// table is a map as the host sees it.
type table interface {
	LoadJSON(io.Reader) error
	DumpJSON() ([]byte, error)
}

// outcome is the result of one packet.
type outcome struct {
	code    uint32 // the program type's return code
	data    []byte
	issue   uint64 // cycles the engine was held; 0 on the interpreter
	helpers uint64 // of issue, what firmware took for helpers
	elapsed uint64
	notes   []string
	events  []driver.Event // that a card's program sent to the host
}

// packetResult is one packet in run's JSON.
type packetResult struct {
	Number  int    `json:"number"` // place in the capture, from 1
	Verdict string `json:"verdict"`
	Data    string `json:"data"`
	Issue   uint64 `json:"issue_cycles"`
	Elapsed uint64 `json:"elapsed_cycles"`
}

type runResult struct {
	Packets []packetResult             `json:"packets"`
	Maps    map[string]json.RawMessage `json:"maps"`
	Left    []capture.Left             `json:"left_out,omitempty"`
	Damage  string                     `json:"damage,omitempty"` // why the rest of the capture was not read
}

type runOptions struct {
	target
	reading
	origin
	engine, packet, pcap, out string
	count                     string
	preload, dump             []string
	json                      bool
}

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run PROG (--packet HEX | --pcap IN [--out OUT])",
		Short: "run a program on packets and show what it does",
		Long: `Compiles a program, loads it onto a simulated card and runs it on each packet.
With --out, the packets that go on (passed, sent back, redirected) are written
to a capture: pcap, or what the name says (.pcapng, .pcap.gz, .pcapng.gz). With
"--out -" it goes to standard output, and the results to standard error.
--map NAME=FILE.json fills a map before, --dump NAME=FILE.json writes one after
("-" is standard output).
` + captureHelp + progHelp,
		Example: `  nfpsim run firewall.o --pcap mixed.pcap --map blocked=blocked.json --dump blocked=-
  nfpsim run counters.o --pcap web.pcap --out passed.pcapng
  nfpsim run ttl.bpf --packet 00000000000100000000000208004500001400000000401100000a0000010a000002`,
		Args: exactly("PROG"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.target.flags(cmd)
	o.reading.flags(cmd)
	o.countsFlag(cmd)
	o.origin.flags(cmd)
	f := cmd.Flags()
	f.Uint32Var(&o.egress, "egress-ifindex", 0, "`NUMBER` of the interface that packets go to, for programs of a devmap on --engine interp (default: that of --ifindex)")
	f.StringVar(&o.engine, "engine", "sim", "`ENGINE` that runs the program: sim, the simulated card, or interp, the reference interpreter")
	f.StringVar(&o.packet, "packet", "", "one packet as `HEX` digits")
	f.StringVar(&o.pcap, "pcap", "", "pcap or pcapng capture `IN` to replay, gzipped or not")
	f.StringVar(&o.out, "out", "", "write the packets that go on to capture `OUT`")
	f.StringArrayVar(&o.preload, "map", nil, "fill map NAME first, as `NAME=FILE.json` (repeatable)")
	f.StringArrayVar(&o.dump, "dump", nil, "write the contents of map NAME after the last packet, as `NAME=FILE.json` (repeatable)")
	f.StringVar(&o.count, "counts", "", "write how often each instruction ran to `FILE`, for --profile; the reference interpreter runs the program then")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// counted enables the engine's count of instructions if requested.
func (o *runOptions) counted(e engine) (*counts, error) {
	if o.count == "" {
		return nil, nil
	}
	i, ok := e.(*interpEngine)
	if !ok {
		return nil, usagef("--counts: only --engine interp counts instructions")
	}
	i.counts = &counts{Programs: map[string]jit.Counts{}}
	return i.counts, nil
}

func (o *runOptions) run(cmd *cobra.Command, arg string) error {
	if _, err := capture.FormatOf(o.out); o.out != "" && err != nil {
		return usageError{err}
	}
	if err := stdinOnce(arg, o.pcap, o.counts); err != nil {
		return err
	}
	if err := o.origin.check(); err != nil {
		return err
	}
	in, err := o.packets(cmd)
	if err != nil {
		return err
	}
	p, err := o.profile()
	if err != nil {
		return err
	}
	ran, err := readCounts(cmd, o.counts)
	if err != nil {
		return err
	}
	if o.count != "" && !cmd.Flags().Changed("engine") {
		o.engine = "interp"
	}
	e, progType, err := newEngine(cmd, &o.reading, o.engine, arg, p, ran, o.origin)
	if err != nil {
		return explainRefusal(cmd.ErrOrStderr(), arg, err)
	}
	counted, err := o.counted(e)
	if err != nil {
		return err
	}
	if err := eachMap(e, o.preload, preload); err != nil {
		return err
	}
	results, out, err := replay(cmd, e, progType, in.list)
	if err != nil {
		return prefix(arg, err)
	}
	if counted != nil {
		counted.Packets = len(in.list)
		if err := writeFile(o.count, cmd.OutOrStdout(), counted.write); err != nil {
			return err
		}
	}
	if o.out != "" {
		if err := writePcap(o.out, cmd.OutOrStdout(), cmd.ErrOrStderr(), out); err != nil {
			return err
		}
	}
	err = eachMap(e, o.dump, func(m table, file string) error {
		data, err := m.DumpJSON()
		if err != nil {
			return err
		}
		return writeFile(file, cmd.OutOrStdout(), func(w io.Writer) error { _, err := w.Write(data); return err })
	})
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if o.out == "-" { // which the capture has
		w = cmd.ErrOrStderr()
	}
	if o.json {
		if err := o.printJSON(w, e, results, in); err != nil {
			return err
		}
		return in.whole(io.Discard, cmd.ErrOrStderr())
	}
	if err := printRun(w, results, o.pcap == ""); err != nil {
		return err
	}
	return in.whole(w, cmd.ErrOrStderr())
}

func (o *runOptions) packets(cmd *cobra.Command) (*packets, error) {
	switch {
	case cmd.Flags().Changed("packet") == cmd.Flags().Changed("pcap"):
		return nil, usagef("run wants one of --packet HEX and --pcap FILE")
	case cmd.Flags().Changed("packet"):
		data, err := parseHex(o.packet)
		if err != nil {
			return nil, usagef("--packet: %w", err)
		}
		return onePacket(data), checkPacket(data)
	}
	return readCapture(o.pcap, cmd.InOrStdin(), cmd.ErrOrStderr(), 0)
}

// replay runs the packets in order; the ones that go on come back as they left.
func replay(cmd *cobra.Command, e engine, t ebpf.ProgramType, packets []capture.Packet) ([]packetResult, []capture.Packet, error) {
	results := make([]packetResult, 0, len(packets))
	var out []capture.Packet
	seen := map[string]bool{}
	bar := newProgress(cmd.ErrOrStderr(), "packets", len(packets))
	defer bar.done()
	for i, p := range packets {
		r, err := e.packet(p.Data)
		if err != nil {
			return nil, nil, fmt.Errorf("packet %d: %w", p.Number, err)
		}
		for _, n := range r.notes {
			if !seen[n] {
				seen[n] = true
				fmt.Fprintf(cmd.ErrOrStderr(), "nfpsim: packet %d: %s\n", p.Number, n)
			}
		}
		results = append(results, packetResult{p.Number, verdictName(t, r.code), hex.EncodeToString(r.data), r.issue, r.elapsed})
		if goesOn(t, r.code) {
			out = append(out, capture.Packet{Number: p.Number, Data: r.data, Time: p.Time})
		}
		bar.at(i + 1)
	}
	return results, out, nil
}

func (o *runOptions) printJSON(w io.Writer, e engine, results []packetResult, in *packets) error {
	all := map[string]json.RawMessage{}
	for _, name := range e.tables() {
		m, err := e.table(name)
		if err != nil {
			return err
		}
		if data, err := m.DumpJSON(); err == nil {
			all[name] = data // maps without contents to show have none here
		}
	}
	damage := ""
	if in.damage != nil {
		damage = in.damage.Error()
	}
	return writeJSON(w, runResult{results, all, in.left, damage})
}

func printRun(w io.Writer, results []packetResult, whole bool) error {
	count := map[string]int{}
	var issue, elapsed uint64
	for _, r := range results {
		if len(results) <= 100 {
			fmt.Fprintf(w, "%4d  %-12s %4d bytes%s\n", r.Number, r.Verdict, len(r.Data)/2, cycles(r.Issue, r.Elapsed))
		}
		count[r.Verdict]++
		issue, elapsed = issue+r.Issue, elapsed+r.Elapsed
	}
	if whole {
		_, err := fmt.Fprintln(w, results[0].Data)
		return err
	}
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d %s", count[v], v))
	}
	if len(results) == 0 {
		_, err := fmt.Fprintln(w, "0 packets")
		return err
	}
	n := uint64(len(results))
	mean := cycles(issue/n, elapsed/n)
	if mean != "" {
		mean = "; a packet:" + mean
	}
	_, err := fmt.Fprintf(w, "%s: %s%s\n", counted(len(results), "packet"), strings.Join(parts, ", "), mean)
	return err
}

// cycles returns a packet's cost as text, or "" for an engine that does not count.
func cycles(issue, elapsed uint64) string {
	if elapsed == 0 {
		return ""
	}
	return fmt.Sprintf("  %5d cycles issued  %6d elapsed", issue, elapsed)
}

// eachMap calls fn for each NAME=FILE.
func eachMap(e engine, args []string, fn func(m table, file string) error) error {
	for _, arg := range args {
		name, file, ok := strings.Cut(arg, "=")
		if !ok {
			return usagef("%q is not NAME=FILE.json", arg)
		}
		m, err := e.table(name)
		if err != nil {
			return err
		}
		if err := fn(m, file); err != nil {
			return prefix(file, err)
		}
	}
	return nil
}

func preload(m table, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.LoadJSON(f)
}

var xdpNames = []string{"XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"}

var tcNames = []string{"TC_ACT_OK", "TC_ACT_RECLASSIFY", "TC_ACT_SHOT", "TC_ACT_PIPE", "TC_ACT_STOLEN",
	"TC_ACT_QUEUED", "TC_ACT_REPEAT", "TC_ACT_REDIRECT", "TC_ACT_TRAP"}

func verdictName(t ebpf.ProgramType, code uint32) string {
	names := xdpNames
	if driver.IsTC(t) {
		names = tcNames
		if int32(code) == -1 {
			return "TC_ACT_UNSPEC"
		}
	}
	if int(code) < len(names) {
		return names[code]
	}
	return fmt.Sprint(int32(code))
}

// goesOn reports whether a packet with this verdict leaves the card.
func goesOn(t ebpf.ProgramType, code uint32) bool {
	if driver.IsTC(t) {
		return code != 2 && code != 4 && code != 5
	}
	return code >= 2 && code <= 4
}

// newEngine loads the program that arg means into the engine of that name.
func newEngine(cmd *cobra.Command, from *reading, name, arg string, p *firmware.Profile, ran *counts, source origin) (engine, ebpf.ProgramType, error) {
	if isMicrocode(arg) {
		if name != "sim" {
			return nil, 0, usagef("%s is microcode; only --engine sim runs it", arg)
		}
		e, err := newWordsEngine(arg, cmd.InOrStdin(), p)
		if err != nil {
			return nil, 0, err
		}
		e.from = source
		return e, ebpf.XDP, nil
	}
	obj, _, err := from.open(cmd, arg)
	if err != nil {
		return nil, 0, err
	}
	spec, err := obj.Program("")
	if err != nil {
		return nil, 0, err
	}
	switch name {
	case "sim":
		e, err := newSimEngine(obj, spec.Name, p, ran)
		if err != nil {
			return nil, 0, err
		}
		e.from = source
		return e, spec.Type, nil
	case "interp":
		e, err := newInterpEngine(obj, spec.Name, p)
		if err != nil {
			return nil, 0, err
		}
		e.from = source
		return e, spec.Type, nil
	}
	return nil, 0, usagef("--engine is sim or interp, not %q", name)
}
