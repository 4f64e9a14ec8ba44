package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/internal/explain"
	"github.com/nfpkit/nfpkit/internal/golden"
)

// reached collects the reasons that inputs of these tests bring about.
type reached struct {
	t     *testing.T
	words map[string]bool
	said  strings.Builder // each reason's first message, to be read
}

func (r *reached) say(where, word, message string) {
	if !r.words[word] {
		fmt.Fprintf(&r.said, "%s (%s)\n  %s\n", word, where, message)
	}
	r.words[word] = true
}

// nfpsim runs a command and returns what it wrote.
func nfpsim(args ...string) (stdout, stderr string, code int) {
	var out, talk bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &talk)
	return out.String(), talk.String(), code
}

// check runs nfpsim check and notes the first reason of each program for either
// compiler, and each warning. No verdict accepts what is over its budget.
func (r *reached) check(args ...string) map[string][]string {
	r.t.Helper()
	stdout, stderr, _ := nfpsim(append([]string{"check", "--json"}, args...)...)
	var results []checkResult
	if err := json.Unmarshal([]byte(stdout), &results); err != nil {
		r.t.Fatalf("check %v: %v\n%s", args, err, stderr)
	}
	first := map[string][]string{}
	where := strings.Join(args, " ")
	for _, p := range results {
		for _, j := range []judgement{p.Ours, p.Kernel} {
			if len(j.Reasons) > 0 {
				q := j.Reasons[0]
				r.say(where, q.Reason, strings.TrimSpace(q.Insn+": "+q.Message))
				first[p.Program] = append(first[p.Program], q.Reason)
			}
		}
		for _, w := range p.Warns {
			r.say(where, w.Reason, w.Insn+": "+w.Message)
			first[p.Program] = append(first[p.Program], w.Reason)
		}
		r.withinBudget(where, p)
	}
	return first
}

// withinBudget fails if a program is accepted although it needs more than there is.
// The number of words that the driver generates is known between two bounds. If only
// the upper one is too large, there must be a warning.
func (r *reached) withinBudget(where string, p checkResult) {
	for name, u := range p.Budget {
		if u.Max == 0 || u.Used <= u.Max || name == "driver_words_max" {
			continue
		}
		ours, linux := !strings.HasPrefix(name, "driver_"), name != "words" && name != "stack"
		if ours && p.Ours.Verdict == "accept" || linux && p.Kernel.Verdict == "accept" {
			r.t.Errorf("check %s: program %s is accepted (Linux driver: %s, nfpkit: %s) with %s %v", where, p.Program, p.Kernel.Verdict, p.Ours.Verdict, name, u)
		}
	}
	if u := p.Budget["driver_words_max"]; u.Used > u.Max && p.Kernel.Verdict == "accept" && !slices.ContainsFunc(p.Warns, func(w verify.Reason) bool { return w.Reason == "driver-words-unsure" }) {
		r.t.Errorf("check %s: program %s is accepted with driver_words_max %v, and not warned of", where, p.Program, u)
	}
}

// Reasons that no input of nfpsim check brings about, with the test of the package
// that has one: a file and what stands in it.
var reachedElsewhere = map[string][2]string{
	"empty-program":   {"bpf/code/code_test.go", `"empty-program"`},        // readers of text and objects find it first
	"global-function": {"bpf/verify/global_test.go", "(global-function)"},  // text has no types, the objects here no global function
	"mem-bounds":      {"bpf/verify/testdata/raw.bpf", "ERROR mem-bounds"}, // nfpsim plugin runs raw programs unverified
	// Pointers of other kinds come from fields of the context, which driver-ctx-field has refused before.
	"driver-pointer-type": {"cmd/nfpsim/testdata/reasons/driver.bpf", "driver_pointer_type"},
	"map-missing":         {"cmd/nfpsim/testdata/script/compile.txtar", "(map-missing)"},
	"map-use":             {"driver/testdata/maps.txtar", "(map-use)"},

	"atomic-place":       {"bpf/interp/testdata/programs.txt", "fault=atomic-place"},
	"map-operation":      {"bpf/interp/testdata/programs.txt", "fault=map-operation"},
	"map-read-only":      {"bpf/interp/testdata/programs.txt", "fault=map-read-only"},
	"map-write-only":     {"bpf/interp/testdata/programs.txt", "fault=map-write-only"},
	"bad-callback":       {"bpf/interp/testdata/programs.txt", "fault=bad-callback"},
	"step-limit":         {"bpf/interp/testdata/programs.txt", "fault=step-limit"},
	"bad-address":        {"bpf/interp/testdata/insns.txt", "| bad-address"},
	"bad-map":            {"bpf/interp/testdata/insns.txt", "| bad-map"},
	"memory-bounds":      {"bpf/interp/testdata/insns.txt", "| memory-bounds"},
	"helper-unsupported": {"bpf/interp/testdata/insns.txt", "| helper-unsupported"},

	"alignment":         {"nfp/sim/testdata/command.txtar", "(alignment)"},
	"ctm-bounds":        {"nfp/sim/testdata/command.txtar", "(ctm-bounds)"},
	"emem-bounds":       {"nfp/sim/testdata/command.txtar", "(emem-bounds)"},
	"signal":            {"nfp/sim/testdata/command.txtar", "(signal)"},
	"xfer-early":        {"nfp/sim/testdata/command.txtar", "(xfer-early)"},
	"xfer-overwrite":    {"nfp/sim/testdata/command.txtar", "(xfer-overwrite)"},
	"carry":             {"nfp/sim/testdata/alu.txtar", "(carry)"},
	"lm-bounds":         {"nfp/sim/testdata/lm.txtar", "(lm-bounds)"},
	"pointer-delay":     {"nfp/sim/testdata/lm.txtar", "(pointer-delay)"},
	"multiply":          {"nfp/sim/testdata/shift.txtar", "(multiply)"},
	"shift-amount":      {"nfp/sim/testdata/shift.txtar", "(shift-amount)"},
	"breakpoint":        {"nfp/sim/testdata/branch.txtar", "(breakpoint)"},
	"unset":             {"nfp/sim/testdata/branch.txtar", "(unset)"},
	"unsupported":       {"nfp/sim/testdata/branch.txtar", "(unsupported)"},
	"watchdog":          {"nfp/sim/testdata/branch.txtar", "(watchdog)"},
	"firmware-register": {"driver/testdata/exit.txtar", "(firmware-register)"},
	"link":              {"driver/nic_test.go", "(link)"}, // images are checked when they are read
	"trap":              {"driver/testdata/exit.txtar", "(trap)"},
	"guard":             {"driver/testdata/packet.txtar", "(guard)"},
}

// Each reason that nfpsim explains has an input that brings it about as the first
// one, and its message is in testdata/reasons/messages.txt to be read. A file of
// testdata/reasons begins with its command line, and its programs are named by the
// reasons that they have.
func TestReasonsReached(t *testing.T) {
	r := &reached{t: t, words: map[string]bool{}}
	own, err := filepath.Glob("testdata/reasons/*.bpf")
	if err != nil || len(own) == 0 {
		t.Fatal(own, err)
	}
	for _, file := range own {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		args, ok := strings.CutPrefix(line, "; nfpsim check")
		if !ok {
			t.Fatalf("%s: the first line is no nfpsim check", file)
		}
		for program, words := range r.check(append(strings.Fields(args), file)...) {
			if word := strings.ReplaceAll(program, "_", "-"); word != "driver-pointer-type" && !slices.Contains(words, word) {
				t.Errorf("%s: first reasons of %s are %v", file, program, words)
			}
		}
	}
	loop := func(word string, trips int) {
		file := filepath.Join(t.TempDir(), word+".bpf")
		text := fmt.Sprintf(".program xdp main\n    r6 = 0\nagain:\n%s    r6 += 1\n    if r6 < %d goto again\n    r0 = 2\n    exit\n", strings.Repeat("    r7 = 1\n", 400), trips)
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		before := r.said.String()
		r.check(file)
		if said := strings.ReplaceAll(r.said.String()[len(before):], file, "a loop of 402 instructions"); !strings.HasPrefix(said, word) {
			t.Errorf("%d trips: %s", trips, said)
		} else {
			r.said.Reset()
			r.said.WriteString(before + said)
		}
	}
	loop("too-complex", 2600)
	loop("near-limit", 2400)

	// What other tests of check's parts read.
	for _, pattern := range []string{"testdata/bad/*.bpf", "internal/difftest/testdata/kernelfaults/*.bpf", "bpf/verify/testdata/*.bpf", "bpf/object/testdata/*.o", "testdata/bad/*.o"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			r.check(file)
		}
	}
	// Refusals of the file as a whole: the word ends the line.
	for word, args := range map[string][]string{
		"truncated-object": {"check", "../../testdata/bad/cut.o"},
		"no-program":       {"check", "../../examples/counters.o:nosuch"},
		"bad-setting":      {"check", "--set", "nosuch=1", "../../examples/counters.o"},
		"bad-text":         {"check", "../../testdata/bad/bad-text.bpf"},
	} {
		_, stderr, code := nfpsim(args...)
		if code == exitDone || !strings.Contains(stderr, "("+word+")") {
			t.Errorf("nfpsim %v: exit %d, %s", args, code, stderr)
		}
		r.words[word] = true
	}
	for word, at := range reachedElsewhere {
		text, err := os.ReadFile(filepath.Join("../..", at[0]))
		if err != nil || !strings.Contains(string(text), at[1]) {
			t.Errorf("%s: %s has no %q (%v)", word, at[0], at[1], err)
		}
		if r.words[word] {
			t.Errorf("%s: nfpsim check brings it about", word)
		}
		r.words[word] = true
	}
	for _, e := range explain.Programs() {
		if !r.words[e.Reason] {
			t.Errorf("no input brings about %s (%s)", e.Reason, e.Family)
		}
	}
	golden.File(t, "testdata/reasons/messages.txt", r.said.String())
}
