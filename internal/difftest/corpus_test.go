package difftest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

var update = flag.Bool("update", false, "rewrite docs/corpus.md")

const corpusDoc = "../../docs/corpus.md"

// least is the number of objects that must compile, with any version of clang and
// kernel.
const least = 50

// row is a line of the corpus' table.
type row struct {
	object, program string
	result          string // "same", or "WHO: reason"
	words           int    // of the image, if compiled
}

// Every XDP program of the kernel's samples and selftests runs on the card as on
// the interpreter, or is refused for a stated reason.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the kernel's samples: not in short mode")
	}
	dir, failed, err := BuildCorpus(t.Context())
	if errors.Is(err, ErrNoCorpus) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	objects, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) < least {
		t.Errorf("%d objects compiled, want %d; clang refused %v", len(objects), least, failed)
	}
	w, err := newWorker(&Config{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, file := range objects {
		rows = append(rows, runObject(t, w, file)...)
	}
	text := corpusTable(len(objects), failed, rows)
	t.Logf("\n%s", text)
	t.Logf("suite: %s", corpusCounts(len(objects), rows))
	checkDoc(t, text, rows)
}

// runObject compares each XDP program of an object.
func runObject(t *testing.T, w *worker, file string) []row {
	name := strings.TrimSuffix(filepath.Base(file), ".o")
	obj, err := object.Load(file, nil)
	if err != nil {
		var e *object.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error without a reason: %v", name, err)
			return nil
		}
		return []row{{object: name, program: "-", result: "object: " + e.Reason}}
	}
	var rows []row
	for _, prog := range obj.Programs {
		spec := obj.Spec.Programs[prog]
		if spec.Type != ebpf.XDP {
			continue
		}
		r := row{object: name, program: prog}
		r.result, r.words = runCorpusProgram(t, w, obj, prog, name)
		rows = append(rows, r)
	}
	return rows
}

func runCorpusProgram(t *testing.T, w *worker, obj *object.Object, prog, name string) (result string, words int) {
	c, err := obj.Code(prog)
	if err != nil {
		var e *object.FaultError
		if !errors.As(err, &e) {
			t.Errorf("%s: %s: error without a reason: %v", name, prog, err)
			return "object: unknown", 0
		}
		return "object: " + e.Faults[0].Reason, 0
	}
	p := withTraffic(obj.Spec.Programs[prog], c)
	w.sum = newSummary(0)
	f := w.verify(p, c)
	if f == nil {
		return "verify: " + only(w.sum.Refused["verify"]), 0
	}
	want, err := runInterp(p, c)
	var fault *interp.Fault
	if errors.As(err, &fault) && fault.Reason == "helper-unsupported" {
		if no := new(jit.Unsupported); errors.As(compileOnly(w, f), &no) {
			return "compiler: " + no.Reasons[0].Reason, 0
		}
	}
	if err != nil {
		t.Errorf("%s: %s: interp: %v", name, prog, err)
		return "interp: fault", 0
	}
	failed := ""
	words = w.compiled(p, f, want, func(engine string, m *Mismatch, err error) {
		if m != nil || err != nil {
			d := &Difference{Engine: engine, Mismatch: m, Err: err}
			t.Errorf("%s: %s: %s", name, prog, d)
			failed = "differs: " + engine
		}
	})
	switch no := w.sum.Refused["compiler"]; {
	case failed != "":
		return failed, words
	case len(no) > 0:
		return "compiler: " + only(no), 0
	}
	return "same", words
}

// compileOnly returns the compiler's error.
func compileOnly(w *worker, f *verify.Facts) error {
	_, err := jit.Compile(f, w.profile, nil)
	return err
}

// only returns the single reason that was counted.
func only(reasons map[string]int) string {
	return strings.Join(slices.Sorted(maps.Keys(reasons)), " ")
}

// sourcesTable is the section of docs/corpus.md that lists the sources.
func sourcesTable() string {
	var b strings.Builder
	b.WriteString(`## Sources

The programs of the table of results are the XDP programs of the first source. ` + "`make soak`" + ` compares verdicts over all of
them (TestCorpusVerifiers; verifier.md has the results). Sources that no installed package brings are downloaded with apt-get
to the user's cache. A run names what it cannot get: a package, or a compiler (Debian's clang-19 and gcc-bpf).

| source | Debian package | classes | builds |
|---|---|---|---|
`)
	for _, s := range corpusSources() {
		origin := s.name + ", installed"
		if s.suite != "" {
			origin = strings.Join(strings.Fields(fmt.Sprintf("source of %s %s of %s", s.packageName(), strings.TrimSuffix(s.version, "."), s.suite)), " ")
		}
		var classes, builds []string
		for _, c := range corpusClasses() {
			if s.takes(c.name, 0, true) {
				classes = append(classes, c.name)
			}
		}
		for k, w := range corpusBuilds() {
			if s.built(k, true) {
				builds = append(builds, w.name)
			}
		}
		if s.objects != "" {
			classes, builds = []string{"all"}, []string{"the package's own objects"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.name, origin, strings.Join(classes, ", "), strings.Join(builds, ", "))
	}
	b.WriteString(`
Classes: xdp and tc by their sections; packet has socket filters and others whose context is a packet; other has the rest. A
program of the last two is given the types xdp and tc, as with ` + "`--type`" + `.

| build | command |
|---|---|
`)
	for _, w := range corpusBuilds() {
		fmt.Fprintf(&b, "| %s | %s %s |\n", w.name, w.compiler, strings.Join(w.args, " "))
	}
	b.WriteString("\n## Results\n\n")
	return b.String()
}

// corpusTable is docs/corpus.md.
func corpusTable(objects int, failed []string, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The corpus

Every XDP program of the kernel's samples/bpf and tools/testing/selftests/bpf/progs, as Debian's linux-source-6.12 carries
them, compiled by clang 14 when the test runs (TestCorpus, internal/difftest; `+"`-update`"+` writes this file). %d objects compile`, objects)
	if len(failed) > 0 {
		fmt.Fprintf(&b, "; clang\nrefuses %s", strings.Join(failed, ", "))
	}
	fmt.Fprintf(&b, `.

Each program is verified, compiled for firmware profile unlimited, and run on %d packets: TCP, UDP, ICMP, IPv6, VLAN,
tunnels, short and random ones. "same" means that verdicts, packets and map contents after ir build, after each pass
and on the simulated card equal the interpreter's. Other results name who refused and why; `+"`nfpsim explain`"+` has the
reasons. Most of what verify refuses are the selftests' negative cases: the kernel's verifier refuses them as well, which
TestCorpusVerifiers compares.

`, len(Traffic()))
	b.WriteString(sourcesTable())
	counts := map[string]int{}
	for _, r := range rows {
		counts[r.result]++
	}
	results := slices.SortedFunc(maps.Keys(counts), func(x, y string) int {
		if d := counts[y] - counts[x]; d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	b.WriteString("| result | programs |\n|---|---|\n")
	for _, result := range results {
		fmt.Fprintf(&b, "| %s | %d |\n", result, counts[result])
	}
	fmt.Fprintf(&b, "| all | %d |\n\n| object | program | result | words |\n|---|---|---|---|\n", len(rows))
	for _, r := range rows {
		words := ""
		if r.words > 0 {
			words = fmt.Sprint(r.words)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.object, r.program, r.result, words)
	}
	return b.String()
}

func corpusCounts(objects int, rows []row) string {
	same := 0
	for _, r := range rows {
		if r.result == "same" {
			same++
		}
	}
	return fmt.Sprintf("corpus: %d objects, %d XDP programs, %d run the same, %d refused", objects, len(rows), same, len(rows)-same)
}

// checkDoc compares the table with docs/corpus.md. Objects and words depend a
// little on clang and on the kernel's types, so only results are compared, and
// only of programs that both know.
func checkDoc(t *testing.T, text string, rows []row) {
	if *update {
		if err := os.WriteFile(corpusDoc, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(corpusDoc)
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		if f := strings.Split(line, " | "); len(f) == 4 {
			documented[strings.TrimPrefix(f[0], "| ")+" "+f[1]] = f[2]
		}
	}
	for _, r := range rows {
		if was, ok := documented[r.object+" "+r.program]; ok && was != r.result {
			t.Errorf("%s: %s: %s, docs/corpus.md says %s (-update rewrites it)", r.object, r.program, r.result, was)
		}
	}
}
