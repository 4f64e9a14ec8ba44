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

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// driverCards returns the cards that cases are loaded on.
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
	return map[string]*firmware.Profile{"": full, "attach": full, "none": none, "small": small, "split": split}
}

// judged is a program with what the rules say of it.
type judged struct {
	name    string
	code    *code.Code
	reasons []string // of the verifier and of the driver's rules
	words   [2]int   // bounds of the size of the driver's code
}

// judgeFor returns the result of `nfpsim check` for the Linux driver of a release.
func judgeFor(release, name string, c *code.Code, p *firmware.Profile) judged {
	kernel, _, err := linux.KernelFor(release)
	if err != nil {
		panic(err)
	}
	j := judged{name: name, code: c}
	f, r := verify.Survey(c, nil)
	if f == nil {
		for _, q := range r.Reasons {
			j.reasons = append(j.reasons, q.Reason)
		}
		return j
	}
	seen := linux.NewView(f, &kernel)
	for _, q := range seen.Check(p, 0) {
		j.reasons = append(j.reasons, q.Reason)
	}
	j.words[0], j.words[1] = seen.Words()
	return j
}

// TestDriverRules compares check's report for the Linux driver with the driver.
// Verdicts must be equal, and the driver's first message must be among check's
// reasons. The programs test each rule from both sides. Rules that only an older
// kernel breaks are tested on that kernel.
func TestDriverRules(t *testing.T) {
	t.Parallel()
	first := map[string]int{}
	for _, release := range uml.Versions() {
		t.Run(release, func(t *testing.T) { rulesOn(t, release, first) })
	}
	if len(first) > 0 { // else there was no kernel
		reached(t, first)
	}
}

func rulesOn(t *testing.T, release string, first map[string]int) {
	cards := driverCards(t)
	groups := map[string][]judged{}
	for _, k := range driverCases() {
		f, err := asmtext.Parse(k.name, ".license \"GPL\"\n"+k.text)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		spec := f.Spec.Programs[f.Programs[0]]
		spec.Flags = k.flags
		if k.section != "" {
			spec.SectionName = k.section
		}
		for _, m := range f.Spec.Maps {
			m.Flags |= k.mapFlags
		}
		spec.Name = k.name // for the test bed's errors
		c, faults := code.New(spec, f.Spec.Maps)
		if len(faults) > 0 {
			t.Fatalf("%s: %v", k.name, faults)
		}
		groups[k.group] = append(groups[k.group], judgeFor(release, k.name, c, cards[k.group]))
	}
	a := newAgreement()
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		a.hold(t, groups[g], translateOn(t, release, uml.TranslateOptions{Firmware: cards[g], Attach: g == "split" || g == "attach"}, codesOf(groups[g])))
	}
	a.report(t, "Linux "+release)
	if n := a.accepted + a.refused; n < 300 {
		t.Errorf("%d programs, want 300 at least", n)
	}
	for r, n := range a.first {
		first[r] += n
	}
}

// The same of programs that the generator writes, as they are: most break a rule.
func TestDriverRulesRandom(t *testing.T) {
	t.Parallel()
	compareRandom(t, uml.Versions(), "NFPKIT_RULES", "random programs", 400, func(*firmware.Profile, uint64, *Program) bool { return true })
}

// The same of mutants that are safe: with one to three instructions changed.
func TestDriverRulesMutants(t *testing.T) {
	t.Parallel()
	compareRandom(t, uml.Versions(), "NFPKIT_RULES_MUTANTS", "mutants", 150, func(card *firmware.Profile, seed uint64, p *Program) bool {
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
		return !slices.ContainsFunc(linux.NewView(f, nil).Warnings(card), crashes)
	})
}

// Map definitions near the edges of what types and cards take, against BPF_MAP_CREATE
// with a device in the guest.
func TestDriverMaps(t *testing.T) {
	t.Parallel()
	n := shareOf(400)
	if v, err := strconv.Atoi(os.Getenv("NFPKIT_RULES_MAPS_N")); err == nil {
		n = v
	}
	for _, release := range uml.Versions() {
		t.Run(release, func(t *testing.T) { mapsOn(t, release, n) })
	}
}

// shareOf returns the part of n programs that one release's guest gets, so that
// together they get n.
func shareOf(n int) int { return n / len(uml.Versions()) }

func mapsOn(t *testing.T, release string, n int) {
	cards := driverCards(t)
	a := newAgreement()
	for k, group := range []string{"", "small", "none"} {
		rng := rand.New(rand.NewPCG(uint64(k), 0x3a9))
		var list []judged
		for i := range n * []int{2, 2, 1}[k] / 5 {
			list = append(list, judgeFor(release, fmt.Sprintf("definition %d %q", i, group), definesMap(t, mapDefinition(rng)), cards[group]))
		}
		a.hold(t, list, translateOn(t, release, uml.TranslateOptions{Firmware: cards[group]}, codesOf(list)))
	}
	a.report(t, "map definitions, Linux "+release)
}

// mapDefinition draws a definition: good for the driver but for up to two fields.
func mapDefinition(rng *rand.Rand) *ebpf.MapSpec {
	pick := func(xs ...uint32) uint32 { return xs[rng.IntN(len(xs))] }
	types := []ebpf.MapType{ebpf.Array, ebpf.Array, ebpf.Hash, ebpf.Hash, ebpf.Hash, ebpf.PerfEventArray, ebpf.MapType(pick(3, 5, 6, 9, 10, 11, 14, 16, 22, 23, 25, 27, 30))}
	spec := &ebpf.MapSpec{Name: "m", Type: types[rng.IntN(len(types))], KeySize: 4, ValueSize: 4, MaxEntries: pick(1, 4, 100)}
	for range rng.IntN(3) {
		switch rng.IntN(7) {
		case 0, 1:
			spec.KeySize = pick(0, 1, 3, 5, 8, 16, 17, 56, 57, 64, 512, 4<<20, 1<<32-1)
		case 2, 3:
			spec.ValueSize = pick(0, 1, 3, 8, 24, 25, 56, 57, 64, 4096, 4<<20, 1<<31-1, 1<<31, 1<<32-1)
		case 4, 5:
			spec.MaxEntries = pick(0, 2, 99, 101, 2048000, 2048001, 1<<31, 1<<31+1, 1<<32-1)
		case 6:
			spec.Flags = 1 << rng.IntN(20) &^ (1<<16 | 1<<15)
		}
	}
	if spec.Type == ebpf.PerfEventArray { // what loaders fill in, and this one does not
		spec.KeySize, spec.ValueSize = max(spec.KeySize, 1), max(spec.ValueSize, 1)
		spec.MaxEntries = min(max(spec.MaxEntries, 1), 4096)
	}
	return spec
}

// definesMap returns a program that names a map and does nothing with it.
func definesMap(t *testing.T, spec *ebpf.MapSpec) *code.Code {
	t.Helper()
	insns := asm.Instructions{asm.LoadMapPtr(asm.R1, 0).WithReference("m"), asm.Mov.Imm(asm.R0, 2), asm.Return()}
	c, faults := code.New(&ebpf.ProgramSpec{Name: "main", Type: ebpf.XDP, License: "GPL", Instructions: insns}, map[string]*ebpf.MapSpec{"m": spec})
	if len(faults) > 0 {
		t.Fatalf("%v: %v", spec, faults)
	}
	return c
}

// compareRandom compares programs that keep keeps with the driver of each release: n in
// all, or as many on each as a variable says. env names variables for other counts and
// first seeds.
func compareRandom(t *testing.T, releases []string, env, what string, n int, keep func(*firmware.Profile, uint64, *Program) bool) {
	t.Helper()
	seed := uint64(1)
	if testing.Short() {
		n /= 4
	}
	n = shareOf(n)
	if v, err := strconv.Atoi(os.Getenv(env + "_N")); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv(env+"_SEED"), 0, 64); err == nil {
		seed = v
	}
	for _, release := range releases {
		t.Run(release, func(t *testing.T) { randomOn(t, release, what, n, seed, keep) })
	}
}

func randomOn(t *testing.T, release, what string, n int, seed uint64, keep func(*firmware.Profile, uint64, *Program) bool) {
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
		list = append(list, judgeFor(release, fmt.Sprintf("seed %d", seed), c, card))
	}
	a := newAgreement()
	a.hold(t, list, translateOn(t, release, uml.TranslateOptions{Firmware: card}, codesOf(list)))
	a.report(t, what+", Linux "+release)
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
	rules             []*regexp.Regexp // by index of linux.Rules
	accepted, refused int
	inert             int            // attached by the kernel, and run by no packet
	first             map[string]int // how often a reason was the driver's first
	words             [2]int
}

func newAgreement() *agreement {
	a := &agreement{first: map[string]int{}}
	for _, r := range linux.Rules() {
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
		if taken && slices.Equal(j.reasons, []string{"driver-tcx"}) {
			a.inert++
			a.first["driver-tcx"]++
			continue
		}
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
			t.Errorf("%s: unknown message %q; check says %v; log %q", j.name, tr.Refused, j.reasons, tr.Log)
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
	for _, m := range c.Maps {
		fmt.Fprintf(&b, "\tmap %s: %v\n", m.Name, m)
	}
	for i := range c.Insns {
		fmt.Fprintf(&b, "\t%d: %s\n", c.Insns[i].PC, asmtext.Format(c.Insns[i].Instruction))
	}
	return b.String()
}

// meaning returns the reasons that the first message may stand for: those of the
// driver's rules, else those of the kernel's verifier.
func (a *agreement) meaning(tr *uml.Translation) []string {
	for _, line := range tr.Log {
		if strings.Contains(line, "[nfp] warning") {
			continue
		}
		if words := linux.Meaning(line); len(words) > 0 {
			return words
		}
	}
	// The core reports only an errno of the load, and refuses map types when they are
	// created.
	switch {
	case strings.Contains(tr.Refused, "map ") && strings.Contains(tr.Refused, "invalid argument"):
		return []string{"driver-map-type", "driver-map-create"}
	case strings.Contains(tr.Refused, "map ") && strings.Contains(tr.Refused, "argument list too long"):
		return []string{"driver-map-create"}
	case strings.Contains(tr.Refused, "attach: link: "):
		return []string{"driver-attach-type"}
	case strings.Contains(tr.Refused, "map ") && strings.Contains(tr.Refused, "operation not supported"):
		return []string{"driver-map-type"}
	case strings.Contains(tr.Refused, "no jited words"), strings.HasPrefix(tr.Refused, "load: invalid argument"):
		return []string{"driver-load-flags"}
	}
	for k, r := range linux.Rules() {
		if r.Stage == linux.StageAttach && a.rules[k].MatchString(tr.Refused) {
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
	t.Logf("suite: driver rules: %s: driver and check both accept %d, both refuse %d for the same reason, %d are attached and never run", what, a.accepted, a.refused, a.inert)
}

// reached: each rule was the driver's first word at least once.
func reached(t *testing.T, first map[string]int) {
	t.Helper()
	for _, r := range linux.Rules() {
		why, known := unreachableRules[r.Reason]
		switch n := first[r.Reason]; {
		case n == 0 && !known:
			t.Errorf("no program was refused for %s", r.Reason)
		case n == 0:
			t.Logf("not reached: %s: %s", r.Reason, why)
		case known:
			t.Errorf("%s is listed as out of reach, and was reached", r.Reason)
		}
	}
}

// TestFaultWarnings checks that each fault of the driver's translator is warned of at
// the instruction of its reproducer.
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
		for _, r := range linux.NewView(faultProgram(t, file).Facts, nil).Warnings(profile) {
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
