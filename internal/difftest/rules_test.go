package difftest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// ruleRandom is how many random programs rules are looked for in.
const ruleRandom = 300

// TestRulesFire lists rewrite rules that never fire on the examples, the corpus and
// random programs. Such a rule may be dead, or match a pattern that no earlier pass
// produces.
func TestRulesFire(t *testing.T) {
	p, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	fired := make([]int, len(ir.Rules))
	files, err := filepath.Glob("../../examples/*.o")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples (%v)", err)
	}
	if !testing.Short() {
		if dir, _, err := BuildCorpus(t.Context()); err == nil {
			corpus, err := filepath.Glob(filepath.Join(dir, "*.o"))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, corpus...)
		} else {
			t.Logf("without the corpus: %v", err)
		}
	}
	programs := 0
	for _, file := range files {
		for _, s := range Subjects(file) {
			programs++
			countRules(s.Facts, p, fired)
		}
	}
	for seed := range uint64(ruleRandom) {
		g := Generate(seed+1, AllFeatures)
		c, faults := code.New(g.Spec, g.Maps)
		if len(faults) > 0 {
			continue
		}
		if f, err := verify.Verify(c, nil); err == nil {
			programs++
			countRules(f, p, fired)
		}
	}
	total := 0
	var idle []string
	for i, n := range fired {
		total += n
		if n == 0 {
			idle = append(idle, ir.Rules[i].String())
		}
	}
	if total == 0 {
		t.Error("no rule fired at all")
	}
	t.Logf("suite: rules: %d of %d fired, %d times in %d programs", len(fired)-len(idle), len(fired), total, programs)
	t.Logf("never:\n%s", strings.Join(idle, "\n"))
}

// countRules counts the rules that the passes use on a program: what each
// simplification starts with is simplified once more.
func countRules(f *verify.Facts, p *firmware.Profile, fired []int) {
	before := ""
	_, _ = jit.Compile(f, p, &jit.Options{DumpIR: true, Dump: func(pass, text string) {
		if strings.HasSuffix(pass, "simplify") {
			if m, err := ir.Parse(before); err == nil {
				for _, fn := range m.Funcs {
					fn.ApplyRules(fired)
				}
			}
		}
		before = text
	}})
}
