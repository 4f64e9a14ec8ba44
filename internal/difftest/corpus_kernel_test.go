//go:build linux

package difftest

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// Programs of the corpus that our verifier accepts, the running kernel's accepts
// too. Programs that the kernel accepts, ours accepts, with two exceptions:
// Features that docs/verifier.md leaves out are counted apart, and at most 1.5 %
// are listed there with a reason each. NFPKIT_CORPUS names more sources of the table
// of corpusSources, or is "all".
func TestCorpusVerifiers(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the kernel's samples: not in short mode")
	}
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	doc, err := os.ReadFile("../../docs/verifier.md")
	if err != nil {
		t.Fatal(err)
	}
	total := newVerdicts(runningKernel(t), false, map[[32]byte]bool{})
	dirs := corpusDirs(t)
	for _, o := range dirs {
		objects, err := filepath.Glob(filepath.Join(o.dir, "*.o"))
		if err != nil {
			t.Fatal(err)
		}
		v := newVerdicts(total.kernel, o.whole, total.seen)
		v.objectsOf(t, o.source, objects)
		if v.objects > 0 {
			v.report(t, fmt.Sprintf("%s %s %s", o.source, o.build, o.class))
		}
		total.add(&v)
	}
	total.report(t, "all")
	n := len(total.stricter)
	if total.recoded > 0 {
		t.Logf("%d programs with a reserved field that the library clears before it loads them are not compared", total.recoded)
	}
	t.Logf("suite: linux verdicts: of %d programs in %d objects of %d sources, and of %d in odd sections with a type given, check and kernel %s agree but on %d",
		total.all(), total.objects, len(total.sources), total.odd+total.given.all(), release(), len(total.linux))
	for _, s := range total.linux {
		if !documented(string(doc), s) {
			t.Errorf("docs/verifier.md does not say why check and the kernel differ for Linux: %s", s)
		}
	}
	t.Logf("suite: corpus: kernel %s and check both accept %d, both refuse %d; %d have features left out; of the others the kernel accepts, %d are refused",
		release(), total.both, total.neither, total.feature, len(total.stricter))
	want := fmt.Sprintf("%d programs of %d objects. %d are accepted by both and %d refused by both; %d have features that are not supported. Of the others that the kernel accepts, %d of %d",
		total.all(), total.objects, total.both, total.neither, total.feature, n, total.both+n)
	if text := strings.Join(strings.Fields(string(doc)), " "); countsOf(text, dirs) && !strings.Contains(text, want) {
		t.Errorf("docs/verifier.md does not say: %s", want)
	}
	for _, w := range slices.Concat(total.wider, total.given.wider) {
		if documented(string(doc), w) {
			t.Logf("only we accept %s, and docs/verifier.md says why it is safe", w)
			continue
		}
		t.Errorf("only we accept %s", w)
	}
	if 1000*n > 15*(total.both+n) {
		t.Errorf("%d of %d programs that the kernel accepts are refused, more than 1.5 %%", n, total.both+n)
	}
	t.Logf("suite: corpus: of programs given another type the kernel and check both accept %d, both refuse %d; %d have features left out; of the others the kernel accepts, %d are refused",
		total.given.both, total.given.neither, total.given.feature, len(total.given.stricter))
	if n := len(total.refused); 1000*n > 15*(total.both+total.given.both+n) {
		t.Errorf("%d programs that the kernel accepts are refused for Linux, more than 1.5 %%", n)
	}
	for _, s := range slices.Concat(total.stricter, total.given.stricter) {
		if !documented(string(doc), s) {
			t.Errorf("docs/verifier.md does not say why %s is refused", s)
		}
	}
}

// countsOf reports whether docs/verifier.md counts the programs that are compared: those
// that every run compares, of the kernel, source and compiler that it names.
func countsOf(doc string, dirs []corpusDir) bool {
	running, _, _ := strings.Cut(release(), "-")
	dir := filepath.Base(dirs[0].dir)
	return os.Getenv("NFPKIT_CORPUS") == "" && strings.Contains(doc, "Kernel "+running+",") && strings.Contains(dir, "-6.12.117-") && strings.Contains(dir, "-clang-14.") &&
		dirs[len(dirs)-1].source == "installed"
}

// documented reports whether docs/verifier.md lists the program of a difference, whatever
// type it was given.
func documented(doc, difference string) bool {
	name, _, _ := strings.Cut(difference, ":")
	if object, program, ok := strings.Cut(name, "/"); ok {
		object, _, _ = strings.Cut(object, ", ")
		name = object + "/" + program
	}
	return strings.Contains(doc, "`"+name+"`")
}

// verdicts compares two verifiers.
type verdicts struct {
	counts                              // of programs by their sections
	given             counts            // of programs of other types that are given xdp or tc
	kernel            [2]int            // release whose verdict is predicted
	forced            bool              // compare the latter too
	seen              map[[32]byte]bool // code of the objects compared
	objects, odd      int
	recoded           int
	sources           map[string]bool
	linux             []string // what is said for Linux is not the kernel's verdict
	refused           []string // those that the kernel accepts
	features, reasons map[string]int
	slow, pairs       []string
}

// counts are the verdicts of the kernel and of nfpkit.
type counts struct {
	both, neither, feature int
	stricter, wider        []string // object/program: reason
}

func (c *counts) add(o *counts) {
	c.both, c.neither, c.feature = c.both+o.both, c.neither+o.neither, c.feature+o.feature
	c.stricter, c.wider = append(c.stricter, o.stricter...), append(c.wider, o.wider...)
}

func (c *counts) all() int {
	return c.both + c.neither + c.feature + len(c.stricter) + len(c.wider)
}

func newVerdicts(kernel [2]int, forced bool, seen map[[32]byte]bool) verdicts {
	return verdicts{kernel: kernel, forced: forced, seen: seen, sources: map[string]bool{}, features: map[string]int{}, reasons: map[string]int{}}
}

func (v *verdicts) add(o *verdicts) {
	v.counts.add(&o.counts)
	v.given.add(&o.given)
	v.objects, v.odd, v.recoded = v.objects+o.objects, v.odd+o.odd, v.recoded+o.recoded
	v.linux, v.refused = append(v.linux, o.linux...), append(v.refused, o.refused...)
	v.slow, v.pairs = append(v.slow, o.slow...), append(v.pairs, o.pairs...)
	for k, n := range o.features {
		v.features[k] += n
	}
	for k, n := range o.reasons {
		v.reasons[k] += n
	}
	maps.Copy(v.sources, o.sources)
}

func (v *verdicts) report(t *testing.T, what string) {
	t.Logf("%s: %d objects of %d sources; %d programs: both accept %d, both refuse %d, features left out %d, stricter %d, wider %d; %d given a type: %d, %d, %d, %d, %d; other for Linux %d",
		what, v.objects, len(v.sources), v.all(), v.both, v.neither, v.feature, len(v.stricter), len(v.wider),
		v.given.all(), v.given.both, v.given.neither, v.given.feature, len(v.given.stricter), len(v.given.wider), len(v.linux))
	for _, k := range slices.Sorted(maps.Keys(v.features)) {
		t.Logf("  left out: %d %s", v.features[k], k)
	}
	for _, k := range slices.Sorted(maps.Keys(v.reasons)) {
		t.Logf("  first reason: %d %s", v.reasons[k], k)
	}
	for _, s := range slices.Concat(v.stricter, v.given.stricter) {
		t.Logf("  stricter: %s", s)
	}
	for _, s := range slices.Concat(v.wider, v.given.wider) {
		t.Logf("  wider: %s", s)
	}
	for _, s := range v.linux {
		t.Logf("  other for Linux: %s", s)
	}
	for _, s := range v.slow {
		t.Logf("  slow: %s", s)
	}
	if v.forced { // the report of all is not
		for _, s := range v.pairs {
			t.Logf("  refused: %s", s)
		}
	}
}

// objectsOf compares the programs of objects, several objects at a time. An object whose
// code was compared before, as that of a source that two kernels share, is left out.
func (v *verdicts) objectsOf(t *testing.T, source string, files []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, file := range files {
		id := codeOf(t, file)
		if v.seen[id] {
			continue
		}
		v.seen[id] = true
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			one := newVerdicts(v.kernel, v.forced, nil)
			one.object(t, source, file)
			mu.Lock()
			defer mu.Unlock()
			v.add(&one)
		}()
	}
	wg.Wait()
	for _, list := range [][]string{v.stricter, v.wider, v.given.stricter, v.given.wider, v.linux, v.refused, v.slow, v.pairs} {
		slices.Sort(list)
	}
}

// object compares an object's programs.
func (v *verdicts) object(t *testing.T, source, file string) {
	obj, err := object.Load(file, nil)
	if err != nil {
		return // TestCorpus says why
	}
	base := strings.TrimSuffix(filepath.Base(file), ".o")
	odd := oddSections(t, file)
	compared := false
	for _, name := range obj.Programs {
		p := obj.Spec.Programs[name]
		if !networking(p.Type) {
			continue
		}
		accepted, why := kernelAccepts(obj.Spec, name)
		compared = compared || why != nil || accepted
		v.program(&v.counts, base, obj, name, accepted, why)
		if o := odd[p.Type]; o != nil && plainHook(p) && (why != nil || accepted) {
			v.odd++
			v.forLinux(base+", odd section", o, name, accepted, why)
		}
	}
	if v.forced {
		for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
			compared = v.typedAs(file, base, obj, typ) || compared
		}
	}
	if compared {
		v.objects++
		v.sources[source+"/"+base] = true
	}
}

// typedAs compares the programs whose sections say another type, or none, as programs of a
// type that is given. It reports whether the kernel gave a verdict.
func (v *verdicts) typedAs(file, base string, obj *object.Object, typ ebpf.ProgramType) (compared bool) {
	given, err := object.Load(file, &object.Options{Type: typ})
	if err != nil {
		return false
	}
	for _, name := range given.Programs {
		if p := obj.Spec.Programs[name]; p == nil || networking(p.Type) {
			continue
		}
		accepted, why := kernelAccepts(given.Spec, name)
		compared = compared || accepted || why != nil
		v.program(&v.given, fmt.Sprintf("%s, as %s", base, shortType(typ)), given, name, accepted, why)
	}
	return compared
}

func networking(typ ebpf.ProgramType) bool {
	return typ == ebpf.XDP || typ == ebpf.SchedCLS || typ == ebpf.SchedACT
}

func shortType(typ ebpf.ProgramType) string {
	if typ == ebpf.XDP {
		return "xdp"
	}
	return "tc"
}

// program compares one program and counts it in c. The kernel gave no verdict if it does
// not accept it and why is nil.
func (v *verdicts) program(c *counts, base string, obj *object.Object, name string, accepted bool, why error) {
	if why == nil && !accepted {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime()
	ours := accepts(obj, name)
	if accepted && ours != nil && reasonOf(ours) == "reserved-field" {
		v.recoded++
		return
	}
	v.forLinux(base, obj, name, accepted, why)
	if took := threadTime() - start; took > time.Second {
		v.slow = append(v.slow, fmt.Sprintf("%s/%s: %.1f s", base, name, took.Seconds()))
	}
	switch {
	case ours == nil && accepted:
		c.both++
	case ours != nil && !accepted:
		c.neither++
		v.reasons[reasonOf(ours)]++
		v.pairs = append(v.pairs, fmt.Sprintf("%s/%s: %s | %v", base, name, lastLine(ours), why))
	case ours == nil:
		c.wider = append(c.wider, fmt.Sprintf("%s/%s: %v", base, name, why))
	case unmodelled(ours):
		c.feature++
		v.features[general(lastLine(ours))]++
	default:
		c.stricter = append(c.stricter, fmt.Sprintf("%s/%s: %v", base, name, lastLine(ours)))
	}
}

// reasonOf returns the word of the first reason.
func reasonOf(err error) string {
	var r *verify.Rejection
	var f *object.FaultError
	switch {
	case errors.As(err, &r):
		return r.Reasons[0].Reason
	case errors.As(err, &f):
		return f.Faults[0].Reason
	}
	return err.Error()
}

// threadTime returns the processor time of the calling thread: other processes do not
// lengthen it.
func threadTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// codeOf identifies an object's code and maps, whatever its types and line numbers.
func codeOf(t *testing.T, file string) [32]byte {
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	for _, s := range f.Sections {
		if s.Type == elf.SHT_PROGBITS && (s.Flags&elf.SHF_EXECINSTR != 0 || strings.HasSuffix(s.Name, "maps")) {
			data, err := s.Data()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(h, "%s %d\n", s.Name, len(data))
			h.Write(data)
		}
	}
	return [32]byte(h.Sum(nil))
}

// forLinux compares what is said for Linux's driver with the kernel's verdict.
func (v *verdicts) forLinux(base string, obj *object.Object, name string, accepted bool, why error) {
	c, err := obj.Code(name)
	if err == nil {
		if _, r := verify.Survey(c, &verify.Options{Linux: true, Kernel: v.kernel}); r != nil {
			err = r
		}
	}
	if (err == nil) == accepted || err != nil && unmodelled(err) {
		return
	}
	said := "accepted"
	if err != nil {
		said = lastLine(err)
		v.refused = append(v.refused, base+"/"+name)
	}
	v.linux = append(v.linux, fmt.Sprintf("%s/%s: %s here, the kernel says %v", base, name, said, why))
}

// plainHook reports whether a program's section implies only its type.
func plainHook(p *ebpf.ProgramSpec) bool {
	name := strings.TrimPrefix(p.SectionName, "?")
	return name == "xdp" || name == "tc" || name == "classifier"
}

// oddSections reads the object with its sections renamed so that they imply no type,
// and gives the type as an option instead.
func oddSections(t *testing.T, file string) map[ebpf.ProgramType]*object.Object {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[ebpf.ProgramType]*object.Object{}
	for typ, names := range map[ebpf.ProgramType][]string{ebpf.XDP: {"xdp"}, ebpf.SchedCLS: {"tc", "classifier"}} {
		renamed := bytes.Clone(data)
		for _, name := range names {
			odd := "x" + strings.Repeat("_", len(name)-1)
			for _, before := range []string{"\x00", "\x00?", ".rel"} {
				renamed = bytes.ReplaceAll(renamed, []byte(before+name+"\x00"), []byte(before+odd+"\x00"))
			}
		}
		if bytes.Equal(renamed, data) {
			continue
		}
		path := filepath.Join(t.TempDir(), "odd.o")
		if err := os.WriteFile(path, renamed, 0o644); err != nil {
			t.Fatal(err)
		}
		if o, err := object.Load(path, &object.Options{Type: typ}); err == nil {
			all[typ] = o
		}
	}
	return all
}

// A corpusDir is a directory of objects to ask both verifiers about.
type corpusDir struct {
	corpusObjects
	whole bool // programs of all types, not only those that their sections give types of
}

// corpusDirs returns those of the kernel's samples and selftests, those that Debian's
// xdp-tools and libxdp install, and those of the sources that NFPKIT_CORPUS names. What
// this machine lacks of the latter is logged.
func corpusDirs(t *testing.T) []corpusDir {
	more := strings.Fields(os.Getenv("NFPKIT_CORPUS"))
	var dirs []corpusDir
	missing := 0
	for i, s := range corpusSources() {
		whole := slices.Contains(more, s.name) || slices.Contains(more, "all")
		if i > 0 && !whole {
			continue
		}
		all, err := buildCorpus(t.Context(), s, whole)
		if errors.Is(err, ErrNoCorpus) {
			if i == 0 {
				t.Skip(err)
			}
			missing++
			t.Logf("not to be had on this machine: %s: %v", s.name, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if o.err != nil {
				t.Logf("not to be had on this machine: %s by build %s: %v", s.name, o.build, o.err)
				continue
			}
			if len(o.failed) > 0 {
				t.Logf("%s %s %s: the compiler refuses %d: %s", o.source, o.build, o.class, len(o.failed), strings.Join(o.failed, " "))
			}
			dirs = append(dirs, corpusDir{o, whole && o.build == corpusBuilds()[0].name})
		}
	}
	if len(more) > 0 {
		t.Logf("suite: corpus: %d of %d sources are not to be had on this machine", missing, len(corpusSources()))
	}
	if installed, _ := filepath.Glob("/usr/lib/*/bpf/*.o"); len(installed) > 0 {
		o := corpusObjects{source: "installed", build: "Debian", class: "xdp", dir: filepath.Dir(installed[0])}
		dirs = append(dirs, corpusDir{o, len(more) > 0})
	}
	return dirs
}

func lastLine(err error) string {
	var r *verify.Rejection
	if errors.As(err, &r) {
		q := r.Reasons[0]
		return fmt.Sprintf("pc %d: %s: %s (%s)", q.PC, q.Insn, q.Message, q.Reason)
	}
	return err.Error()
}

// unmodelled reports whether a program was refused for a feature that is left out:
// what else is wrong with it may follow from that.
func unmodelled(err error) bool {
	var r *verify.Rejection
	if errors.As(err, &r) {
		return slices.ContainsFunc(r.Reasons, func(q verify.Reason) bool { return q.Reason == "feature-unsupported" })
	}
	var f *object.FaultError
	return errors.As(err, &f)
}

func accepts(obj *object.Object, name string) error {
	c, err := obj.Code(name)
	if err != nil {
		return err
	}
	_, err = verify.Verify(c, nil)
	return err
}

// kernelAccepts loads one program. why is nil if it failed for a reason other than the
// verifier's.
func kernelAccepts(spec *ebpf.CollectionSpec, name string) (accepted bool, why error) {
	one := spec.Copy()
	for other := range one.Programs {
		if other != name {
			delete(one.Programs, other)
		}
	}
	coll, err := ebpf.NewCollection(one)
	if err == nil {
		coll.Close()
		return true, nil
	}
	var no *ebpf.VerifierError
	if strings.Contains(err.Error(), "load btf:") { // which the program comes to only after
		return false, nil
	}
	// If this kernel's types cannot satisfy a relocation, the instruction becomes a
	// call of an unknown helper.
	if errors.As(err, &no) && !strings.Contains(err.Error(), "CO-RE") {
		return false, fmt.Errorf("%v", no)
	}
	return false, nil
}

// release returns the running kernel's release.
func release() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}
