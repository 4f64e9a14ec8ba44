package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/internal/explain"
	"github.com/nfpkit/nfpkit/internal/golden"
)

// docs/reasons.md is the table that nfpsim explain prints.
func TestReasonsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Reasons\n\nEvery refusal and warning of `nfpsim` carries one of these words. `nfpsim explain WORD` prints its row, and so does `nfpctl explain WORD`.\nThe manager's own reasons are at the end of operations.md; both commands explain them too. Words are stable.\n")
	family := map[string][]explain.Row{}
	var order []string
	for _, e := range explain.Programs() {
		if family[e.Family] == nil {
			order = append(order, e.Family)
		}
		family[e.Family] = append(family[e.Family], e)
	}
	for _, f := range order {
		fmt.Fprintf(&b, "\n## %s\n\n| reason | means | cure |\n|---|---|---|\n", f)
		for _, e := range family[f] {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Reason, cell(e.Explanation), cell(e.Hint))
		}
	}
	golden.File(t, "../../docs/reasons.md", b.String())
}

// docs/offload-rules.md is the table that nfpsim check goes by for the Linux driver.
func TestOffloadRulesDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString(offloadIntro)
	b.WriteString("\n## Rules\n\n| reason | stage | asks | cure | stands in |\n|---|---|---|---|---|\n")
	for _, r := range linux.Rules() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Reason, r.Stage, cell(explain.Sentence(r.Why)), cell(r.Hint), r.Source)
	}
	b.WriteString("\nWhat the driver says when it refuses, as regular expressions over the verifier's log, the netlink answer or the kernel's log:\n\n| reason | says |\n|---|---|\n")
	for _, r := range linux.Rules() {
		if r.Says != "" {
			fmt.Fprintf(&b, "| `%s` | `%s` |\n", r.Reason, cell(r.Says))
		}
	}
	b.WriteString("\n## Warnings\n\nThe driver accepts these programs and makes code that does something else; kernel-jit.md has a reproducer of each.\n\n| warning | what goes wrong | cure |\n|---|---|---|\n")
	for _, f := range linux.Faults() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Reason, cell(f.Why), cell(f.Hint))
	}
	b.WriteString("\nAnd these it translates well, but the card's firmware does something else than a Linux host, whichever compiler made its code:\n\n| warning | what is different | cure |\n|---|---|---|\n")
	for _, f := range linux.CardFaults() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Reason, cell(f.Why), cell(f.Hint))
	}
	b.WriteString(kernelsIntro)
	for _, k := range linux.Kernels() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", k.Release, yes(k.V4), yes(k.Sums), yes(k.StaleEnd), cmp.Or(k.Compared, "not compared"))
	}
	golden.File(t, "../../docs/offload-rules.md", b.String())
}

const offloadIntro = `# What the Linux driver offloads

` + "`nfpsim check PROG`" + ` predicts whether the Linux nfp driver takes a program for a card and a firmware. If it does not, check lists every
reason with its place and cure. The rules are those of Linux 6.12, or of the release that ` + "`--kernel`" + ` names: the kernel's verifier (verifier.md),
the driver's hooks into it, its translator, and the checks at attachment. This page is printed from the table that check uses.

## How the answer is found

* The program is explored twice: once with all that the compiler's verifier knows, and once with no more knowledge than Linux 6.12's verifier has.
  In the second, the result of a division, negation, byte swap, shift by a register or classic load is any number. A helper that reads
  the stack may have written it. Packet bounds are tested again. A branch is decided by the known bits and bounds of its operands alone.
  bpf/verify/kernelmode.go has the list. The driver's rules are checked on the second: the driver sees every path that Linux's verifier cannot exclude.
* Each rule is checked for every reachable instruction, on all paths, and all broken rules are reported. The driver stops at the first.
* If an address varies on one path and not on another, the driver may meet either first. So check reports ` + "`driver-map-variable`" + ` and
  the conflict of each word that may be reached.
* The kernel prunes paths that it considers covered by earlier ones. The driver never sees them, and may accept a program that breaks a rule there. Whether the
  kernel prunes depends on heuristics; such a program is refused here.
* A path on which a register was not written covers paths that differ in nothing else. The program is refused for the register; the
  reason that the driver would have given first on one of those paths may be missing.
* The number of words that the driver will generate is bounded from both sides (` + "`driver_words_min`" + `, ` + "`driver_words_max`" + ` of the budget) without translating.
  The program is refused if the lower bound is too many. Between the bounds only loading decides.
* The use of a shared map by other programs is not known. The driver remembers for each word of a map whether any program or user
  space ever loaded it, added to it or updated it, until the map is gone.
* The MTU is assumed to be 1,500 unless ` + "`--mtu`" + ` gives another.

## How it was compared

In the kernel test bed (hardware-in-the-loop.md) the unmodified drivers of Debian's linux-source-6.12 (6.12.117) and 6.1 (6.1.192) load programs for the
simulated card. The verdict must be the same, and the driver's first message must be one of the reasons that check gives. The tests are in internal/difftest:

* ` + "`TestDriverRules`" + ` has 731 programs that touch each rule from both sides, on four cards and with each attach type. On 6.12, 412 are
  accepted, 317 refused, and 2 attached to run on the host.
* ` + "`TestDriverMaps`" + ` has 400 map definitions near the limits of types and cards.
* ` + "`TestDriverRulesRandom`" + ` has 400 random programs, half of them edited until the rules allow them.
* ` + "`TestDriverRulesMutants`" + ` has 150 programs with instructions changed.

In longer runs (soak.md) the verdicts are equal, except if the kernel pruned. Findings of earlier runs are fixed, with a case of each
among the programs. One rule is not reached there: ` + "`driver-program-type`" + ` (the reader yields no programs of other types). Definitions of all map types are compared
with the running kernel too (` + "`TestCreateAgainstKernel`" + `, bpf/maps: 3,000).
`

const kernelsIntro = `
## Kernel releases

` + "`check --kernel RELEASE`" + ` predicts another release than 6.12. A release without a row has the rules of the nearest one before it, and the answer says
so. The answer names the release: ` + "`linux`" + ` in text and JSON. nfpctl uses the running kernel's. The driver's own rules are the same in all of them.

| release | takes -mcpu=v4 | knows sums of bounded numbers | removes live code (` + "`kernel-stale-end`" + `) | compared with |
|---|---|---|---|---|
`

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// The commands that README.md and examples/README.md show on example files work
// as they stand. Refusals that the text announces exit with 1.
func TestReadmeCommands(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	t.Chdir(dir)
	shown := regexp.MustCompile("`nfpsim (check|compile|run|explain|isa)( [^`]*)?`|go run ./cmd/nfpsim (run) ([^`\n]*)")
	n := 0
	for _, doc := range []string{"README.md", "examples/README.md"} {
		text, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shown.FindAllStringSubmatch(string(text), -1) {
			args := strings.Fields(strings.Join(m[1:], " "))
			want := exitDone
			if args[0] == "check" && strings.Contains(args[1], "ratelimit") {
				want = exitNo // the stock firmware has no clock
			}
			var out, errs bytes.Buffer
			if got := run(args, strings.NewReader(""), &out, &errs); got != want || out.Len() == 0 {
				t.Errorf("%s: nfpsim %s: exit %d, want %d\n%s", doc, strings.Join(args, " "), got, want, errs.String())
			}
			n++
		}
	}
	if n < 6 {
		t.Errorf("only %d commands found", n)
	}
}
