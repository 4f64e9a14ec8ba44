package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/internal/silicon"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// benchOptions holds the options that bench, profile and report share: a program, a
// card, traffic.
type benchOptions struct {
	origin
	target
	reading
	trafficOptions
	card, workers, offered string
	array, arrayFill       string
	mapsOf, segments       string
	preload                []string
	packets                uint64
	ci                     float64
	functional, json       bool
}

const benchLong = `Runs a program on every worker of a simulated card and says how many packets a
second it takes, at what latency, and what binds. Packets arrive as fast as the
ports' lines allow, or as --offered says. Measuring ends when the 95 % interval
of the throughput is below --ci per cent; Ctrl-C ends it with what there is.

--workers, --size and --offered take a list (5,10,20) or a range (5-50:5); the
runs share the host's cores. cycles_per_packet is engine clock x workers / rate;
issue_cycles and elapsed_cycles are the program's own, one context running.
Latency counts from a packet's last bit received: to its last bit sent, or to its
being in the host's memory.

--segments measures paths that are known by what they execute, in place of PROG:
each row of the table is one, on 5 workers of firmware corenic-direct unless
--workers and --firmware say otherwise. docs/bench.md has the table's form.`

func newBench() *cobra.Command {
	var o benchOptions
	cmd := &cobra.Command{
		Use:   "bench PROG | --segments FILE.csv[:ID]",
		Short: "measure throughput and latency of a program on a simulated card",
		Long:  benchLong + progHelp,
		Example: `  nfpsim bench firewall.o --map blocked=blocked.json --pcap mixed.pcap --packets 20000
  nfpsim bench counters.o --size 60,1514 --packets 20000 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.segments != "" && len(args) > 0 {
				return usagef("bench takes PROG or --segments, got both")
			}
			if o.segments != "" {
				return nil
			}
			return exactly("PROG")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.segments != "" {
				return o.runSegments(cmd)
			}
			return o.run(cmd, args[0])
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.segments, "segments", "", "measure paths given by their segments, all rows of `FILE.csv[:ID]` or the one of that id")
	f.BoolVar(&o.functional, "functional", false, "run the packets one after another, without time: is it fast, does it fault")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func (o *benchOptions) flags(cmd *cobra.Command) {
	o.target.flags(cmd)
	o.reading.flags(cmd)
	o.countsFlag(cmd)
	o.trafficOptions.flags(cmd)
	o.origin.flags(cmd)
	cardFlag(cmd, &o.card)
	f := cmd.Flags()
	f.StringVar(&o.workers, "workers", "", "`NUMBER` of engines that run the program, 1 to 60; a list or a range too (default: as the card's firmware has them)")
	f.StringVar(&o.offered, "offered", "", "arriving packets, `MPPS` million a second; a list or a range too (default: the ports' line rate)")
	f.StringArrayVar(&o.preload, "map", nil, "fill map NAME first, as `NAME=FILE.json` (repeatable)")
	f.StringVar(&o.array, "array", "1x4194304", "for microcode on firmware corenic-direct: `ENTRIESxBYTES` of the array that B23 points to")
	f.StringVar(&o.arrayFill, "array-fill", "", "for firmware corenic-direct: contents of the array that B23 points to, `FILE` of lines 0xOFFSET: HEX BYTES")
	f.StringVar(&o.mapsOf, "maps", "", "for microcode: `FILE`, the object or eBPF text whose maps it uses, numbered from 1 as the object has them")
	f.Uint64Var(&o.packets, "packets", 0, "measure at most `N` packets (default 2,000,000)")
	f.Float64Var(&o.ci, "ci", 0.5, "stop when the 95 % interval of the throughput is below `PERCENT` of it")
}

// cardFlag adds the flag that names the model of a card.
func cardFlag(cmd *cobra.Command, card *string) {
	var names []string
	for _, m := range nfp.Models() {
		names = append(names, m.Name)
	}
	cmd.Flags().StringVar(card, "card", nfp.DefaultModel, "`MODEL` of the card: "+strings.Join(names, ", ")+", or a .json file with what differs")
	_ = cmd.RegisterFlagCompletionFunc("card", cobra.FixedCompletions(names, cobra.ShellCompDirectiveDefault))
}

// point is one run of a sweep.
type point struct {
	workers int
	size    int
	offered float64
}

// points returns the runs of the sweep.
func (o *benchOptions) points(m *nfp.Model) ([]point, error) {
	axis := func(flag, s string, none float64) ([]float64, error) {
		if s == "" {
			return []float64{none}, nil
		}
		return series(flag, s)
	}
	workers, err1 := axis("workers", o.workers, float64(m.Workers))
	sizes, err2 := axis("size", o.size, 60)
	offered, err3 := axis("offered", o.offered, 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, usageError{err}
	}
	var out []point
	for _, w := range workers {
		if most := m.Islands * m.EnginesPerIsland; w < 1 || int(w) > most || w != float64(int(w)) {
			return nil, fmt.Errorf("card %s: %g workers, must be 1 to %d", m.Name, w, most)
		}
		for _, s := range sizes {
			for _, r := range offered {
				if o.offered != "" && !(r > 0) {
					return nil, fmt.Errorf("--offered is %g, must be above 0", r)
				}
				out = append(out, point{int(w), int(s), r})
			}
		}
	}
	return out, nil
}

func (o *benchOptions) run(cmd *cobra.Command, arg string) error {
	b, err := o.measured(cmd, arg, false)
	if err != nil {
		return err
	}
	results, out := b.results, cmd.OutOrStdout()
	switch {
	case o.json:
		shown := any(o.shown(results))
		if len(results) == 1 {
			shown = o.shown(results)[0]
		}
		if err := writeJSON(out, shown); err != nil {
			return err
		}
		return o.whole(cmd)
	case o.functional:
		for _, r := range results {
			fmt.Fprintf(out, "%s of %s, %.1f words a packet; %s\n", counted(r.Packets, "packet"), counted(uint64(r.Flows), "flow"), r.WordsPerPacket, verdictCounts(r.BenchResult))
		}
	case len(results) == 1:
		err = printBench(out, results[0])
	default:
		err = printSweep(out, results)
	}
	seconds, words := 0.0, 0.0
	for _, r := range results {
		seconds, words = seconds+r.SecondsWall, words+r.WordsPerSecond*r.SecondsWall
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "nfpsim: %.2f s, %.1f million words a second\n", seconds, words/seconds/1e6)
	if err != nil {
		return err
	}
	return o.whole(cmd)
}

// measurement is the result of one run and the range in which a card's rate lies. Its JSON
// form is the output of bench --json.
type measurement struct {
	*driver.BenchResult
	Flows  int                  `json:"flows"`              // among the packets
	Expect *silicon.Expectation `json:"expect,omitempty"`   // where a card's rate lies; none without time
	Left   []capture.Left       `json:"left_out,omitempty"` // packets of the capture
	Damage string               `json:"damage,omitempty"`   // why the rest of the capture was not read
}

// judged adds to a result the range in which a card's rate lies.
func judged(r *driver.BenchResult, packets [][]byte) (*measurement, error) {
	c, err := silicon.ReadCalibration()
	if err != nil {
		return nil, err
	}
	return &measurement{BenchResult: r, Flows: flowsOf(packets), Expect: c.Expect(&r.Result)}, nil
}

func (o *benchOptions) shown(results []*measurement) []*measurement {
	if o.capture != nil {
		for _, m := range results {
			m.Left = o.capture.left
			if o.capture.damage != nil {
				m.Damage = o.capture.damage.Error()
			}
		}
	}
	return results
}

// benched holds the runs of a sweep, their cards, and the facts of the compiled
// program, nil for microcode.
type benched struct {
	results  []*measurement
	cards    []*simEngine
	programs []*verify.Facts
}

// measure is measured without the cards.
func (o *benchOptions) measure(cmd *cobra.Command, arg string, profile bool) ([]*measurement, error) {
	b, err := o.measured(cmd, arg, profile)
	if err != nil {
		return nil, err
	}
	return b.results, nil
}

// measured performs all runs, in parallel on all cores of the host.
func (o *benchOptions) measured(cmd *cobra.Command, arg string, profile bool) (*benched, error) {
	model, err := nfp.ModelByName(o.card)
	if err != nil {
		return nil, err
	}
	if err := stdinOnce(arg, o.pcap, o.counts, o.mapsOf); err != nil {
		return nil, err
	}
	if err := o.origin.check(); err != nil {
		return nil, err
	}
	points, err := o.points(model)
	if err != nil {
		return nil, err
	}
	if !(o.ci > 0) {
		return nil, usagef("--ci is %g, must be above 0", o.ci)
	}
	load, programs, err := o.prepare(cmd, arg, model)
	if err != nil {
		return nil, err
	}
	traffics := map[int]*sim.Traffic{}
	for _, p := range points {
		if traffics[p.size] == nil {
			if traffics[p.size], err = o.traffic(cmd, p.size); err != nil {
				return nil, err
			}
		}
	}
	b := &benched{make([]*measurement, len(points)), make([]*simEngine, len(points)), programs}
	err = o.inParallel(cmd, len(points), func(i int, progress func(uint64, float64) bool) error {
		t := traffics[points[i].size]
		r, card, err := o.one(load, points[i], *t, profile, progress)
		if err != nil {
			return prefix(arg, err)
		}
		b.cards[i] = card
		b.results[i], err = judged(r, t.Packets)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// inParallel performs n measurements on all cores of the host, and shows how far they
// are. It returns the error of the first that failed.
func (o *benchOptions) inParallel(cmd *cobra.Command, n int, one func(i int, progress func(uint64, float64) bool) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	sweep := &sweep{ctx: ctx, bar: newProgress(cmd.ErrOrStderr(), "measuring", 100*n), done: make([]float64, n)}
	defer sweep.bar.done()
	errs := make([]error, n)
	var next, wg = make(chan int), sync.WaitGroup{}
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				errs[i] = one(i, sweep.progress(i))
			}
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep shows how far all runs are.
type sweep struct {
	sync.Mutex
	ctx  context.Context
	bar  *progress
	done []float64
}

func (s *sweep) progress(i int) func(uint64, float64) bool {
	return func(packets uint64, ci float64) bool {
		s.Lock()
		defer s.Unlock()
		// The interval shrinks with the square root of the sample size.
		s.done[i] = max(s.done[i], min(0.99, 0.25/max(ci*ci, 0.25)))
		sum := 0.0
		for _, d := range s.done {
			sum += d
		}
		s.bar.at(int(100 * sum))
		return s.ctx.Err() == nil
	}
}

// one performs one run on a card of its own.
func (o *benchOptions) one(load func() (*simEngine, error), p point, t sim.Traffic, profile bool, progress func(uint64, float64) bool) (*driver.BenchResult, *simEngine, error) {
	e, err := load()
	if err != nil {
		return nil, nil, err
	}
	t.OfferedMpps = p.offered
	r, err := e.nic.Bench(e.prog, &driver.Bench{
		Workers: p.workers, Traffic: t, Seed: o.seed, Functional: o.functional, Profile: profile,
		Ifindex: o.ifindex, RxQueue: o.rxQueue,
		Measure: sim.Measure{Packets: o.packets, CIPercent: o.ci, Progress: progress},
	})
	return r, e, err
}

// loader is prepare without its second result, the facts of the compiled program.
func (o *benchOptions) loader(cmd *cobra.Command, arg string, m *nfp.Model) (func() (*simEngine, error), error) {
	load, _, err := o.prepare(cmd, arg, m)
	return load, err
}

// prepare compiles the program once, or reads its words. It returns a function that
// creates a card with it, and the facts of the compiled programs.
func (o *benchOptions) prepare(cmd *cobra.Command, arg string, m *nfp.Model) (func() (*simEngine, error), []*verify.Facts, error) {
	p, err := o.profile()
	if err != nil {
		return nil, nil, err
	}
	refused := func(err error) (func() (*simEngine, error), []*verify.Facts, error) {
		return nil, nil, explainRefusal(cmd.ErrOrStderr(), arg, err)
	}
	array, err := readArray(o.arrayFill, p)
	if err != nil {
		return nil, nil, err
	}
	opt := &driver.Options{Spec: sim.NewSpec(m)}
	var fresh func() (*simEngine, error)
	var programs []*verify.Facts
	if isMicrocode(arg) {
		im, err := microcode(arg, cmd.InOrStdin())
		if err != nil {
			return nil, nil, err
		}
		var from *verify.Facts
		if o.mapsOf != "" {
			if from, err = o.mapsFrom(cmd); err != nil {
				return refused(err)
			}
		}
		fresh = func() (*simEngine, error) { return o.loadWords(arg, im, from, p, opt) }
	} else {
		obj, _, err := o.open(cmd, arg)
		if err != nil {
			return refused(err)
		}
		spec, err := obj.Program("")
		if err != nil {
			return refused(err)
		}
		if programs, err = programsOf(obj, spec.Name); err != nil {
			return refused(err)
		}
		ran, err := readCounts(cmd, o.counts)
		if err != nil {
			return nil, nil, err
		}
		fresh = func() (*simEngine, error) { return loadOn(programs, p, opt, ran) }
	}
	first, err := fresh()
	if err != nil {
		return refused(err)
	}
	if len(o.preload) == 0 {
		for _, n := range first.absent() {
			fmt.Fprintln(cmd.ErrOrStderr(), "nfpsim: note:", n)
		}
	}
	return func() (*simEngine, error) {
		e, err := fresh()
		if err != nil {
			return nil, err
		}
		return e, errors.Join(array.fill(e), eachMap(e, o.preload, preload))
	}, programs, nil
}

// mapsFrom reads the program whose maps the microcode uses.
func (o *benchOptions) mapsFrom(cmd *cobra.Command) (*verify.Facts, error) {
	obj, _, err := o.open(cmd, o.mapsOf)
	if err != nil {
		return nil, err
	}
	spec, err := obj.Program("")
	if err != nil {
		return nil, err
	}
	return verified(obj, spec.Name, nil)
}

// wordsCard returns a card with the maps of the program from, if it is not nil.
func wordsCard(from *verify.Facts, p *firmware.Profile, opt *driver.Options) (*driver.NIC, error) {
	if from == nil {
		return driver.New(p, opt)
	}
	tables := make([]uint32, len(from.Code.Maps))
	for i := range tables {
		tables[i] = uint32(i + 1)
	}
	return linux.NewCard(p, opt, from, tables)
}

// loadWords loads micro-engine code onto a card, with the maps with which it was
// compiled. If programs find their array through a register, the code does not show
// the array's size.
func (o *benchOptions) loadWords(arg string, im *nfp.Image, from *verify.Facts, p *firmware.Profile, opt *driver.Options) (*simEngine, error) {
	nic, err := wordsCard(from, p, opt)
	if err != nil {
		return nil, err
	}
	if from == nil && p.DirectMap {
		var entries, bytes uint32
		if n, err := fmt.Sscanf(o.array, "%dx%d", &entries, &bytes); n != 2 || err != nil || entries == 0 || bytes == 0 {
			return nil, usagef("--array: %q is not ENTRIESxBYTES", o.array)
		}
		if _, err := nic.CreateMap(&ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: bytes, MaxEntries: entries}); err != nil {
			return nil, err
		}
	}
	prog, err := nic.Load(im, ebpf.XDP)
	if err != nil {
		return nil, prefix(arg, err)
	}
	return &simEngine{nic: nic, prog: prog}, nil
}

func verdictCounts(r *driver.BenchResult) string {
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(r.Verdicts)) {
		if r.Verdicts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", r.Verdicts[v], v))
		}
	}
	return strings.Join(parts, ", ")
}

// printBench prints a result as text.
func printBench(w io.Writer, r *measurement) error {
	partial := ""
	if r.Partial {
		partial = " (partial: stopped early)"
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "card\t%s, firmware %s, %d workers\n", r.Card, r.Firmware, r.Workers)
	fmt.Fprintf(t, "traffic\t%.0f bytes, %.2f Mpps offered\n", r.Bytes, r.Offered)
	sent := ""
	if r.GbpsSent > 0 {
		sent = fmt.Sprintf(", %.2f sent back", r.GbpsSent)
	}
	fmt.Fprintf(t, "throughput\t%.3f Mpps, %.2f Gbit/s on the wire%s, ± %.2f %% over %s of %s%s\n", r.Mpps, r.Gbps, sent, r.CIPercent, counted(r.Packets, "packet"), counted(uint64(r.Flows), "flow"), partial)
	if r.Expect != nil {
		fmt.Fprintf(t, "expected\t%s\n", r.Expect)
	}
	fmt.Fprintf(t, "a packet\t%.1f cycles of a worker; the program alone: %.1f issued, %.1f elapsed\n", r.CyclesPerPacket, r.IssueCycles, r.ElapsedCycles)
	fmt.Fprintf(t, "lost\t%s\n", losses(&r.Result))
	for _, l := range []struct {
		name string
		q    sim.Quantiles
	}{{"wire to wire", r.Latency.Wire}, {"wire to host", r.Latency.Host}} {
		if l.q.Max > 0 {
			fmt.Fprintf(t, "%s\tp50 %d ns, p99 %d ns, p99.9 %d ns, max %d ns\n", l.name, l.q.P50, l.q.P99, l.q.P999, l.q.Max)
		}
	}
	fmt.Fprintf(t, "bottleneck\t%s; next %s\n", r.Bottleneck, r.NextBottleneck)
	fmt.Fprintf(t, "utilization\t%s\n", ranked(r.Utilization, 100, "%"))
	fmt.Fprintf(t, "engine cycles\t%s (a packet)\n", ranked(r.Spent, 1, ""))
	fmt.Fprintf(t, "waits\t%s (context cycles a packet)\n", ranked(r.Stalls, 1, ""))
	return t.Flush()
}

// losses returns the share of the offered packets that was lost at each place.
func losses(r *sim.Result) string {
	var parts []string
	for _, place := range slices.Sorted(maps.Keys(r.Lost)) {
		if n := r.Lost[place]; n > 0 {
			parts = append(parts, fmt.Sprintf("%.2f %% at the %s", 100*float64(n)/float64(r.Arrived), place))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ") + " (of the packets offered)"
}

// ranked lists the entries above zero, largest first.
func ranked(m map[string]float64, scale float64, unit string) string {
	names := slices.Sorted(maps.Keys(m))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case m[a] > m[b]:
			return -1
		case m[a] < m[b]:
			return 1
		}
		return 0
	})
	var parts []string
	for _, n := range names {
		if v := m[n] * scale; v >= 0.05 {
			parts = append(parts, fmt.Sprintf("%s %.1f%s", n, v, unit))
		}
	}
	return strings.Join(parts, ", ")
}

// printSweep is a row for each run.
func printSweep(w io.Writer, results []*measurement) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "workers\tbytes\tflows\toffered\tMpps\texpected\tlost %\tGbit/s\tcycles\tp50 ns\tp99 ns\tbottleneck\tnext\t")
	for _, r := range results {
		q := r.Latency.Host
		if q.Max == 0 {
			q = r.Latency.Wire
		}
		lost := 0.0
		for _, n := range r.Lost {
			lost += 100 * float64(n) / float64(max(r.Arrived, 1))
		}
		note := ""
		if r.Partial {
			note = " (partial)"
		}
		fmt.Fprintf(t, "%d\t%.0f\t%d\t%.2f\t%.3f\t%s\t%.2f\t%.2f\t%.1f\t%d\t%d\t%s%s\t%s\t\n", r.Workers, r.Bytes, r.Flows, r.Offered, r.Mpps, r.Expect.Range(), lost, r.Gbps,
			r.CyclesPerPacket, q.P50, q.P99, r.Bottleneck, note, r.NextBottleneck)
	}
	return t.Flush()
}
