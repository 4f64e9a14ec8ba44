//go:build linux

package difftest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// driverCards are the cards that cases are loaded on.
func driverCards(t *testing.T) map[string]*firmware.Profile {
	t.Helper()
	load := func() *firmware.Profile {
		p, err := firmware.Load("stock")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	full, none, small, split := load(), load(), load(), load()
	none.Name, none.Helpers, none.Inline, none.QueueSelect, none.Maps.Types = "none", nil, nil, false, nil
	small.Name, small.Helpers, small.Inline, small.QueueSelect = "small", map[int32]int{1: small.Helpers[1]}, nil, false
	small.MaxLen, small.Stack = 200, 128
	small.Maps.Count, small.Maps.Entries, small.Maps.Key, small.Maps.Value, small.Maps.Entry = 3, 100, 16, 24, 32
	split.Name, split.InlMTU = "split", 4
	return map[string]*firmware.Profile{"": full, "none": none, "small": small, "split": split}
}

// judged is a program with what the rules say of it.
type judged struct {
	name    string
	code    *code.Code
	reasons []string // of the verifier and of the driver's rules
	words   [2]int   // bounds of what the driver makes
}

// judgeCode is what `nfpsim check` says for the Linux driver.
func judgeCode(name string, c *code.Code, p *firmware.Profile) judged {
	j := judged{name: name, code: c}
	f, r := verify.Survey(c, nil)
	if f == nil {
		for _, q := range r.Reasons {
			j.reasons = append(j.reasons, q.Reason)
		}
		return j
	}
	for _, q := range driver.CheckLinux(f, p, nil) {
		j.reasons = append(j.reasons, q.Reason)
	}
	j.words[0], j.words[1] = driver.LinuxWords(f)
	return j
}

// What check says of a program for the Linux driver is what the driver does with
// it, and what the driver says first is among check's reasons. The programs touch
// each rule from both sides.
func TestDriverRules(t *testing.T) {
	cards := driverCards(t)
	groups := map[string][]judged{}
	for _, k := range driverCases() {
		f, err := asmtext.Parse(k.name, ".license \"GPL\"\n"+k.text)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		spec := f.Spec.Programs[f.Programs[0]]
		spec.Flags = k.flags
		for _, m := range f.Spec.Maps {
			m.Flags |= k.mapFlags
		}
		spec.Name = k.name // for the test bed's errors
		c, faults := code.New(spec, f.Spec.Maps)
		if len(faults) > 0 {
			t.Fatalf("%s: %v", k.name, faults)
		}
		groups[k.group] = append(groups[k.group], judgeCode(k.name, c, cards[k.group]))
	}
	a := newAgreement()
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		a.hold(t, groups[g], translateWith(t, uml.TranslateOptions{Firmware: cards[g], Attach: g == "split"}, codesOf(groups[g])))
	}
	a.report(t, "rules")
	if n := a.accepted + a.refused; n < 300 {
		t.Errorf("%d programs, want 300 at least", n)
	}
	a.reached(t)
}

// The same of programs that the generator writes, as they are: most break a rule.
func TestDriverRulesRandom(t *testing.T) {
	compareRandom(t, "NFPKIT_RULES", "random programs", 400, func(*firmware.Profile, uint64, *Program) bool { return true })
}

// The same of mutants that are safe: with one to three instructions changed.
func TestDriverRulesMutants(t *testing.T) {
	compareRandom(t, "NFPKIT_RULES_MUTANTS", "mutants", 150, func(card *firmware.Profile, seed uint64, p *Program) bool {
		mutate(p, rand.New(rand.NewPCG(seed, 0xbad)))
		c, err := resolve(p)
		if err != nil {
			return false
		}
		const budget = 30_000 // loops whose end is not seen cost both sides time, and the guest its memory
		f, err := verify.Verify(c, &verify.Options{Budget: budget})
		if err != nil {
			return false
		}
		endless := func(r verify.Reason) bool { return r.Reason == "too-complex" }
		if _, r := verify.Survey(c, &verify.Options{Budget: budget, Linux: true}); r != nil && slices.ContainsFunc(r.Reasons, endless) {
			return false
		}
		crashes := func(r verify.Reason) bool { return strings.HasPrefix(r.Reason, "jit-crash-") } // the guest with it
		return !slices.ContainsFunc(driver.WarnLinux(f, card, nil), crashes)
	})
}

// compareRandom compares n programs that keep keeps; env names variables for other
// counts and first seeds.
func compareRandom(t *testing.T, env, what string, n int, keep func(*firmware.Profile, uint64, *Program) bool) {
	t.Helper()
	seed := uint64(1)
	if testing.Short() {
		n /= 4
	}
	if v, err := strconv.Atoi(os.Getenv(env + "_N")); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv(env+"_SEED"), 0, 64); err == nil {
		seed = v
	}
	card, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	var list []judged
	for ; len(list) < n; seed++ {
		p := Generate(seed, offloadFeatures)
		if seed%2 == 0 { // every other one edited until the rules allow it
			if p, _ = offloadable(seed, card, map[string]int{}); p == nil {
				continue
			}
		}
		if !keep(card, seed, p) {
			continue
		}
		c, err := resolve(p)
		if err != nil {
			continue
		}
		list = append(list, judgeCode(fmt.Sprintf("seed %d", seed), c, card))
	}
	a := newAgreement()
	a.hold(t, list, translateWith(t, uml.TranslateOptions{Firmware: card}, codesOf(list)))
	a.report(t, what)
}

func codesOf(list []judged) (codes []*code.Code) {
	for _, j := range list {
		codes = append(codes, j.code)
	}
	return codes
}

// Unreachable rules, and why: no program that this guest can load meets them.
var unreachableRules = map[string]string{
	"driver-program-type": "programs of other types are not compiled by check's reader as eBPF for a device",
}

// An agreement collects how check and the driver compare.
type agreement struct {
	rules             []*regexp.Regexp // by index of driver.Rules
	accepted, refused int
	first             map[string]int // how often a reason was the driver's first
	words             [2]int
}

func newAgreement() *agreement {
	a := &agreement{first: map[string]int{}}
	for _, r := range driver.Rules() {
		a.rules = append(a.rules, regexp.MustCompile(cmpOr(r.Says, `\z.`)))
	}
	return a
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (a *agreement) hold(t *testing.T, list []judged, found []uml.Translation) {
	t.Helper()
	for i, j := range list {
		tr := &found[i]
		taken := tr.Refused == ""
		switch {
		case taken != (len(j.reasons) == 0):
			t.Errorf("%s: the driver says %q, check %v\n%s", j.name, cmpOr(tr.Refused, "yes"), j.reasons, listing(j.code))
			continue
		case taken:
			a.accepted++
			if n := len(tr.Words); n < j.words[0] || n > j.words[1] {
				t.Errorf("%s: the driver makes %d words, check says %d to %d\n%s", j.name, n, j.words[0], j.words[1], listing(j.code))
			}
			a.words[0], a.words[1] = a.words[0]+j.words[0], a.words[1]+len(tr.Words)
			continue
		}
		a.refused++
		said := a.meaning(tr)
		if len(said) == 0 {
			t.Errorf("%s: nobody knows what %q means; check says %v; log %q", j.name, tr.Refused, j.reasons, tr.Log)
			continue
		}
		at := slices.IndexFunc(said, func(r string) bool { return slices.Contains(j.reasons, r) })
		if at < 0 {
			t.Errorf("%s: the driver says %q (%v), check %v\n%s", j.name, tr.Refused, said, j.reasons, listing(j.code))
			continue
		}
		a.first[said[at]]++
	}
}

func listing(c *code.Code) string {
	var b strings.Builder
	for i := range c.Insns {
		fmt.Fprintf(&b, "\t%d: %s\n", c.Insns[i].PC, asmtext.Format(c.Insns[i].Instruction))
	}
	return b.String()
}

// meaning is what the first thing said may stand for: of the driver's rules, else
// of the kernel's verifier.
func (a *agreement) meaning(tr *uml.Translation) []string {
	for _, line := range tr.Log {
		if strings.Contains(line, "[nfp] warning") {
			continue
		}
		var words []string
		for k, r := range driver.Rules() {
			if a.rules[k].MatchString(line) {
				words = append(words, r.Reason)
			}
		}
		if words = append(words, verifierMeaning(line)...); len(words) > 0 {
			return words
		}
	}
	// The core says nothing but an errno of the load, and where map types are refused.
	switch {
	case strings.Contains(tr.Refused, "map ") && strings.Contains(tr.Refused, "invalid argument"):
		return []string{"driver-map-type"}
	case strings.Contains(tr.Refused, "map ") && strings.Contains(tr.Refused, "operation not supported"):
		return []string{"driver-map-type"}
	case strings.Contains(tr.Refused, "no jited words"), strings.HasPrefix(tr.Refused, "load: invalid argument"):
		return []string{"driver-load-flags"}
	}
	for k, r := range driver.Rules() {
		if r.Stage == driver.StageAttach && a.rules[k].MatchString(tr.Refused) {
			return []string{r.Reason}
		}
	}
	return nil
}

func (a *agreement) report(t *testing.T, what string) {
	t.Helper()
	var b strings.Builder
	for _, r := range slices.Sorted(maps.Keys(a.first)) {
		fmt.Fprintf(&b, " %s %d", r, a.first[r])
	}
	t.Logf("the driver's first word:%s", b.String())
	t.Logf("words: at least %d said, %d made", a.words[0], a.words[1])
	t.Logf("suite: driver rules: %s: driver and check both accept %d, both refuse %d for the same reason", what, a.accepted, a.refused)
}

// reached: each rule was the driver's first word at least once.
func (a *agreement) reached(t *testing.T) {
	t.Helper()
	for _, r := range driver.Rules() {
		why, known := unreachableRules[r.Reason]
		switch n := a.first[r.Reason]; {
		case n == 0 && !known:
			t.Errorf("no program was refused for %s", r.Reason)
		case n == 0:
			t.Logf("not reached: %s: %s", r.Reason, why)
		case known:
			t.Errorf("%s is listed as out of reach, and was reached", r.Reason)
		}
	}
}

// Each fault of the driver's translator is warned of where its reproducer has it.
func TestFaultWarnings(t *testing.T) {
	files, err := filepath.Glob("testdata/kernelfaults/*.bpf")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	profile, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		want := "jit-" + strings.TrimSuffix(filepath.Base(file), ".bpf")
		var got []string
		for _, r := range driver.WarnLinux(faultProgram(t, file).Facts, profile, nil) {
			got = append(got, r.Reason)
		}
		if !slices.Contains(got, want) {
			t.Errorf("%s: warnings %v", file, got)
		}
		if others := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == want }); len(others) > 0 {
			t.Logf("%s: also %v", file, others)
		}
	}
}

// verifierWords says what lines of the kernel's verifier (6.12) mean in ours.
var verifierWords = []struct {
	says  *regexp.Regexp
	words []string
}{
	// The driver looks at an instruction before the verifier does, and may be the first
	// to trip over what is no rule of its own.
	{regexp.MustCompile(`\[nfp\] unsupported ptr type: 0$`), []string{"uninit-register"}},
	{regexp.MustCompile(`\[nfp\] unsupported ptr type: 1$`), []string{"not-a-pointer", "uninit-register"}},
	{regexp.MustCompile(`\[nfp\] unsupported ptr type: 260$`), []string{"null-check"}}, // PTR_TO_MAP_VALUE | PTR_MAYBE_NULL
	{regexp.MustCompile(`\[nfp\] atomic add not to a map value pointer: [01]$`), []string{"not-a-pointer", "uninit-register"}},
	{regexp.MustCompile(`\[nfp\] atomic add not to a map value pointer: 260$`), []string{"null-check"}},
	{regexp.MustCompile(`\[nfp\] .*(within u32|is not constant)`), []string{"uninit-register"}},
	{regexp.MustCompile(`!read_ok`), []string{"uninit-register", "exit-value"}},
	{regexp.MustCompile(`invalid access to packet`), []string{"packet-bounds"}},
	{regexp.MustCompile(`invalid access to map value|map value access out-of-bounds`), []string{"map-value-bounds"}},
	{regexp.MustCompile(`math between .* with unbounded`), []string{"pointer-offset", "pointer-arithmetic"}},
	{regexp.MustCompile(`(min|max) value is (negative|outside)|unbounded (min|max) value`), []string{"map-value-bounds", "packet-bounds", "pointer-offset", "size-bounds", "stack-bounds"}},
	{regexp.MustCompile(`invalid (write to|read from|variable-offset read from|variable-offset write to|unbounded variable-offset.*|zero-size read|indirect.*|indirect access to.*) ?stack`), []string{"stack-bounds"}},
	{regexp.MustCompile(`invalid mem access '[a-z_]*(map_value_or_null|_or_null)`), []string{"null-check"}},
	{regexp.MustCompile(`invalid mem access`), []string{"not-a-pointer", "bad-pointer", "null-check", "mixed-pointer"}},
	{regexp.MustCompile(`invalid bpf_context access`), []string{"ctx-access", "feature-unsupported"}},
	{regexp.MustCompile(`cannot write into packet`), []string{"packet-bounds"}},
	{regexp.MustCompile(`BPF_ATOMIC stores into`), []string{"atomic-target"}},
	{regexp.MustCompile(`misaligned (value|stack|packet|pkt|access|ctx)`), []string{"misaligned-atomic", "misaligned-stack", "stack-bounds", "ctx-access"}}, // asked before bounds are
	{regexp.MustCompile(`makes [a-z_]+ pointer be out of bounds`), []string{"pointer-offset", "pointer-arithmetic"}},
	{regexp.MustCompile(`invalid size of register (spill|fill)`), []string{"spill-partial"}},
	{regexp.MustCompile(`unknown func|program of this type cannot use helper`), []string{"helper-not-allowed", "unknown-helper"}},
	{regexp.MustCompile(`type=.* expected=`), []string{"helper-arg", "not-a-pointer", "null-check", "uninit-register"}},
	{regexp.MustCompile(`combined stack size|the call stack of`), []string{"stack-depth"}},
	{regexp.MustCompile(`unreachable insn`), []string{"unreachable-insn"}},
	{regexp.MustCompile(`div by zero`), []string{"div-by-zero"}},
	{regexp.MustCompile(`invalid shift`), []string{"bad-shift"}},
	{regexp.MustCompile(`infinite loop|back-edge`), []string{"infinite-loop"}},
	{regexp.MustCompile(`pointer arithmetic|pointer from scalar|math between|pointer operation|prohibited`), []string{"pointer-arithmetic", "pointer-offset", "null-check"}},
	{regexp.MustCompile(`leaks addr`), []string{"atomic-target", "pointer-arithmetic", "exit-value"}},
	{regexp.MustCompile(`dereference of modified ctx|variable ctx access`), []string{"ctx-access"}},
	{regexp.MustCompile(`BPF program is too large|too many states`), []string{"too-complex"}},
	{regexp.MustCompile(`GPL-restricted`), []string{"gpl-only"}},
	{regexp.MustCompile(`uses reserved fields`), []string{"reserved-field", "bad-opcode", "indirect-call"}},
	{regexp.MustCompile(`unknown opcode|BPF_(LDX|STX|ALU|JMP|END|MOV|LD_IMM64)? ?unknown`), []string{"bad-opcode"}},
	{regexp.MustCompile(`BPF_LD_\[ABS\|IND\] instructions not allowed`), []string{"classic-load"}},
	{regexp.MustCompile(`caller`), []string{"call-depth", "stack-pointer-escape"}},
	{regexp.MustCompile(`At program exit|R0 `), []string{"exit-value"}},
}

func verifierMeaning(line string) []string {
	for _, v := range verifierWords {
		if v.says.MatchString(line) {
			return v.words
		}
	}
	return nil
}
