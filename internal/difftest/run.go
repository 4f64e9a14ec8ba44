package difftest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Config describes a comparison. The zero value of a field is its default.
type Config struct {
	N        int             // programs
	Seed     uint64          // of the first program; the i-th has Seed + i
	Workers  int             // GOMAXPROCS
	Kernel   bool            // ask the running kernel too; see Permitted
	Features Features        // AllFeatures
	Firmware string          // of the card; "unlimited"
	Maps     []*ebpf.MapSpec // maps for programs to use instead of the catalogue's; programs then look up the same keys repeatedly. The kernel has only the catalogue's
	Stop     int             // end after that many differences; 10
	Progress func(done int)  // called now and then, from one goroutine at a time
}

// Summary is the result of a run.
type Summary struct {
	Seed     uint64                    `json:"seed"`
	Programs int                       `json:"programs"`
	Packets  int                       `json:"packets"`
	Compared map[string]int            `json:"compared"` // programs by engine that ran them
	Refused  map[string]map[string]int `json:"refused"`  // by who refused ("verify", "kernel", "compile"), by reason
	Changed  map[string]int            `json:"-"`        // programs by pass of the ir that changed them
	// Programs that one verifier accepts and the other does not. A generated
	// program that only the kernel refuses may be a hole in our verifier.
	OnlyKernel  int           `json:"only_kernel"`
	OnlyOurs    int           `json:"only_ours"`
	Differences []*Difference `json:"differences"`
}

// Difference is a program on which an engine differed from the interpreter.
type Difference struct {
	Seed     uint64
	Engine   string // "kernel", "sim", "ir after PASS"
	Mismatch *Mismatch
	Err      error // the engine failed altogether
	Program  *Program
}

// MarshalJSON returns the seed, the engine, and the rest as String prints it.
func (d *Difference) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Seed    uint64 `json:"seed"`
		Engine  string `json:"engine"`
		Message string `json:"message"`
	}{d.Seed, d.Engine, d.String()})
}

func (d *Difference) String() string {
	what := ""
	if d.Mismatch != nil {
		what = d.Mismatch.String()
	} else {
		what = d.Err.Error()
	}
	return fmt.Sprintf("seed %d: %s: %s", d.Seed, d.Engine, what)
}

// Run generates and compares cfg.N programs. If ctx ends, it returns the
// results so far. The error is about the run itself, never about a difference.
func Run(ctx context.Context, cfg Config) (*Summary, error) {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Features == 0 {
		cfg.Features = AllFeatures
	}
	if cfg.Stop <= 0 {
		cfg.Stop = 10
	}
	if cfg.Kernel {
		if err := Permitted(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{cfg: &cfg, sum: newSummary(cfg.Seed), enough: cancel}
	errs := make([]error, cfg.Workers)
	var wg sync.WaitGroup
	for n := range cfg.Workers {
		wg.Go(func() { errs[n] = r.work(ctx, n) })
	}
	wg.Wait()
	slices.SortFunc(r.sum.Differences, func(a, b *Difference) int { return int(int64(a.Seed) - int64(b.Seed)) })
	return r.sum, errors.Join(errs...)
}

// run is the state that the workers of one Run share.
type run struct {
	cfg    *Config
	enough func() // ends it
	next   atomic.Int64

	mu  sync.Mutex
	sum *Summary
}

// work is worker n: it takes seeds until there are no more.
func (r *run) work(ctx context.Context, n int) error {
	const every = 64 // programs between two reports
	w, err := newWorker(r.cfg, n)
	if err != nil {
		return err
	}
	defer w.close()
	for ctx.Err() == nil {
		i := r.next.Add(1) - 1
		if i >= int64(r.cfg.N) {
			break
		}
		w.one(r.cfg.Seed + uint64(i))
		if i%every == 0 || len(w.sum.Differences) > 0 {
			r.report(w)
		}
	}
	r.report(w)
	return nil
}

// report adds what a worker found since its last report.
func (r *run) report(w *worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.add(w.sum)
	w.sum = newSummary(r.cfg.Seed)
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.sum.Programs)
	}
	if len(r.sum.Differences) >= r.cfg.Stop {
		r.enough()
	}
}

func newSummary(seed uint64) *Summary {
	return &Summary{Seed: seed, Compared: map[string]int{}, Refused: map[string]map[string]int{}, Changed: map[string]int{}}
}

func (s *Summary) refuse(who, reason string) {
	if s.Refused[who] == nil {
		s.Refused[who] = map[string]int{}
	}
	s.Refused[who][reason]++
}

func (s *Summary) add(o *Summary) {
	s.Programs += o.Programs
	s.Packets += o.Packets
	s.OnlyKernel += o.OnlyKernel
	s.OnlyOurs += o.OnlyOurs
	for engine, n := range o.Compared {
		s.Compared[engine] += n
	}
	for pass, n := range o.Changed {
		s.Changed[pass] += n
	}
	for who, reasons := range o.Refused {
		for reason, n := range reasons {
			s.refuse(who, reason)
			s.Refused[who][reason] += n - 1
		}
	}
	s.Differences = append(s.Differences, o.Differences...)
}

// String returns the summary as lines of text.
func (s *Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d programs from seed %d, %d packets, %d differences\n", s.Programs, s.Seed, s.Packets, len(s.Differences))
	fmt.Fprintf(&b, "compared with the interpreter:")
	for _, engine := range slices.Sorted(maps.Keys(s.Compared)) {
		fmt.Fprintf(&b, " %s %d", engine, s.Compared[engine])
	}
	fmt.Fprintf(&b, "\naccepted by the kernel's verifier alone %d, by ours alone %d\n", s.OnlyKernel, s.OnlyOurs)
	for _, who := range slices.Sorted(maps.Keys(s.Refused)) {
		total := 0
		for _, n := range s.Refused[who] {
			total += n
		}
		fmt.Fprintf(&b, "refused by %s: %d\n", who, total)
		reasons := slices.SortedFunc(maps.Keys(s.Refused[who]), func(x, y string) int { return s.Refused[who][y] - s.Refused[who][x] })
		for _, reason := range reasons {
			fmt.Fprintf(&b, "%8d %s\n", s.Refused[who][reason], reason)
		}
	}
	for _, d := range s.Differences {
		fmt.Fprintln(&b, d)
	}
	return b.String()
}

// worker compares programs, one after the other.
type worker struct {
	cfg     *Config
	kernel  *Kernel // nil: not asked
	profile *firmware.Profile
	maps    []catalogMap // that programs may use
	sum     *Summary
}

func newWorker(cfg *Config, n int) (*worker, error) {
	w := &worker{cfg: cfg, sum: newSummary(cfg.Seed)}
	var err error
	if cfg.Kernel {
		if w.kernel, err = NewKernel(n); err != nil {
			return nil, err
		}
	}
	w.profile, err = firmware.Load(cmp.Or(cfg.Firmware, "unlimited"))
	w.maps = catalogMaps()
	if cfg.Maps != nil {
		w.maps = nil
		for _, spec := range cfg.Maps {
			w.maps = append(w.maps, catalogMap{spec: spec})
		}
	}
	return w, err
}

func (w *worker) close() {
	if w.kernel != nil {
		w.kernel.Close()
	}
}

// one generates and compares one program.
func (w *worker) one(seed uint64) {
	p := generate(seed, w.cfg.Features, w.maps, w.cfg.Maps != nil)
	w.sum.Programs++
	w.sum.Packets += len(p.Packets)
	for _, d := range w.compare(p) {
		d.Seed = seed
		w.sum.Differences = append(w.sum.Differences, d)
	}
}

// compare runs a program on all engines that take it.
func (w *worker) compare(p *Program) []*Difference {
	c, err := resolve(p)
	if err != nil {
		return []*Difference{{Engine: "code", Err: err, Program: p}}
	}
	want, err := runInterp(p, c)
	if err != nil {
		return []*Difference{{Engine: "interp", Err: err, Program: p}}
	}
	var found []*Difference
	note := func(engine string, m *Mismatch, err error) {
		w.sum.Compared[family(engine)]++
		if m != nil || err != nil {
			found = append(found, &Difference{Engine: engine, Mismatch: m, Err: err, Program: p})
		}
	}
	asked := w.kernel != nil
	ours, kernels := w.verify(p, c), false
	if asked {
		kernels = w.askKernel(p, ours, want, note)
	}
	switch {
	case asked && kernels && ours == nil:
		w.sum.OnlyKernel++
	case asked && !kernels && ours != nil:
		w.sum.OnlyOurs++
	}
	if ours != nil {
		w.compiled(p, ours, want, note)
	}
	return found
}

// askKernel runs the program in the kernel and reports whether it was accepted.
func (w *worker) askKernel(p *Program, ours *verify.Facts, want *Result, note func(string, *Mismatch, error)) bool {
	if ours != nil {
		if q, err := zeroed(p); err == nil {
			p = q
		}
	}
	got, err := w.kernel.Run(p)
	var no *Refused
	switch {
	case errors.As(err, &no):
		w.sum.refuse("kernel", general(no.Reason))
		return false
	case err != nil:
		note("kernel", nil, err)
		return false
	}
	note("kernel", compare(want, got, raw), nil)
	return true
}

// family returns the engine without the pass.
func family(engine string) string {
	name, _, _ := strings.Cut(engine, " ")
	return name
}

// general removes the numbers from a message, so that equal messages can be
// counted.
func general(msg string) string {
	return strings.Join(strings.FieldsFunc(msg, func(r rune) bool { return r >= '0' && r <= '9' }), "#")
}

// sortedNames returns a map's names, sorted.
func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// union lists the names of both, sorted.
func union(a, b Contents) []string {
	names := map[string]bool{}
	for name := range a {
		names[name] = true
	}
	for name := range b {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
