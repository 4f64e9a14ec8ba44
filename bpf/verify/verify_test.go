package verify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// TestPrograms runs the programs of testdata/*.bpf. A comment with // on a line states
// what is expected of it:
//
//	ERROR reason...  WARN reason...   the instruction must be refused or warned for; all others must not
//	r2=pkt+0,r=14                     the register's value before the instruction
//	mem=pkt[12,12]:2                  the memory operand: kind[min,max]:size, with flags up=N, spill, shared
//	arg2=fp[-8,-8]:4                  memory of a call's argument
//	taken | falls | both              the edges of a branch that can be taken
//	dead                              the instruction is not reachable
//	stale                             Linux 6.12 foresees the branch wrongly; no other
//	want2=0xff                        the demanded bits of the register (Facts.Demand)
//	depth=N                           on a .program or .func line: bytes of its frame
//	memsize=N unproven linux budget=N on a .program line: options
func TestPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bpf")
	if err != nil || len(files) == 0 {
		t.Fatal("no programs", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".bpf"), func(t *testing.T) { testFile(t, name) })
	}
}

func testFile(t *testing.T, name string) {
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(src), "\n")
	f, err := asmtext.Parse(name, string(src))
	if err != nil {
		t.Fatal(err)
	}
	for _, prog := range f.Programs {
		t.Run(prog, func(t *testing.T) {
			spec := f.Spec.Programs[prog]
			c, faults := code.New(spec, f.Spec.Maps)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			x := expectation{t: t, name: name, lines: lines, c: c}
			x.check()
		})
	}
}

type expectation struct {
	t     *testing.T
	name  string
	lines []string
	c     *code.Code
}

// comment returns the words of a line's // comment; lines count from 1.
func (x *expectation) comment(line int) []string {
	_, c, _ := strings.Cut(x.lines[line-1], "//")
	return strings.Fields(c)
}

// header returns the number of the .program or .func line above a function's start.
func (x *expectation) header(f int) int {
	line := int(x.c.Line(x.c.Funcs[f].Start).LineNumber())
	for line > 1 && !strings.HasPrefix(strings.TrimSpace(x.lines[line-1]), ".") {
		line--
	}
	return line
}

func (x *expectation) options() *Options {
	opt := &Options{}
	for _, w := range x.comment(x.header(0)) {
		fmt.Sscanf(w, "memsize=%d", &opt.MemSize)
		fmt.Sscanf(w, "budget=%d", &opt.Budget)
		opt.Unproven, opt.Linux = opt.Unproven || w == "unproven", opt.Linux || w == "linux"
	}
	return opt
}

func (x *expectation) check() {
	opt := x.options()
	facts, r := verify(x.c, opt)
	var want, got []string
	if r != nil {
		got = x.said(got, "ERROR", r.Reasons)
	}
	public, err := Verify(x.c, opt)
	var q *Rejection
	if errors.As(err, &q) != (r != nil) || (public != nil) != (r == nil || r.Unproven) {
		x.t.Errorf("Verify gives %v and facts %v", err, public != nil)
	}
	if facts != nil {
		got = x.said(got, "WARN", facts.Warnings)
	}
	for i := range x.c.Insns {
		line := int(x.c.Insns[i].Source().(interface{ LineNumber() uint32 }).LineNumber())
		mode := ""
		if facts != nil && slices.Contains(facts.StaleEnds, i) && !slices.Contains(x.comment(line), "stale") {
			x.t.Errorf("%s:%d: stale", x.name, line)
		}
		for _, w := range x.comment(line) {
			switch {
			case w == "ERROR" || w == "WARN":
				mode = w
			case mode != "":
				want = append(want, fmt.Sprintf("%s:%d: %s %s", x.name, line, mode, w))
			case facts != nil:
				x.fact(facts, i, line, w)
			default:
				x.t.Errorf("%s:%d: no facts to compare with %s", x.name, line, w)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		x.t.Errorf("want\n  %s\ngot\n  %s\n%+v", strings.Join(want, "\n  "), strings.Join(got, "\n  "), err)
	}
	for f := range x.c.Funcs {
		for _, w := range x.comment(x.header(f)) {
			if strings.HasPrefix(w, "depth=") && facts != nil && w != fmt.Sprintf("depth=%d", facts.Depth[f]) {
				x.t.Errorf("%s: %s, got %d", x.c.Funcs[f].Name, w, facts.Depth[f])
			}
		}
	}
}

func (x *expectation) said(list []string, mode string, rs []Reason) []string {
	for _, r := range rs {
		if _, ok := Explain(r.Reason); !ok {
			x.t.Errorf("reason %s is not in the table", r.Reason)
		}
		list = append(list, fmt.Sprintf("%s:%d: %s %s", x.name, r.Line, mode, r.Reason))
	}
	return list
}

var regWord = regexp.MustCompile(`^r(\d+)=(.*)$`)

// fact compares one word with the facts of instruction i.
func (x *expectation) fact(f *Facts, i, line int, w string) {
	got := "nothing"
	m := regWord.FindStringSubmatch(w)
	var n int
	switch {
	case m != nil:
		fmt.Sscan(m[1], &n)
		got = fmt.Sprintf("r%d=%s", n, strings.ReplaceAll(f.Regs[i][n].String(), " ", ""))
	case strings.HasPrefix(w, "want"):
		fmt.Sscanf(w, "want%d=", &n)
		got = fmt.Sprintf("want%d=%#x", n, f.Demand()[i][n])
	case strings.HasPrefix(w, "mem="):
		if f.Mem[i] != nil {
			got = "mem=" + accessText(f.Mem[i])
		}
	case strings.HasPrefix(w, "arg"):
		fmt.Sscanf(w, "arg%d=", &n)
		if f.Calls[i] != nil {
			got = fmt.Sprintf("arg%d=%s", n, accessText(&f.Calls[i].Mem[n-1]))
		}
	case w == "const":
		if f.Calls[i] != nil && f.Calls[i].Const {
			got = w
		}
	case w == "taken" || w == "falls" || w == "both":
		got = map[[2]bool]string{{true, false}: "taken", {false, true}: "falls", {true, true}: "both"}[[2]bool{f.Taken[i], f.Falls[i]}]
	case w == "stale":
		if slices.Contains(f.StaleEnds, i) {
			got = w
		}
	case w == "dead":
		if !f.Reachable[i] {
			got = w
		}
	case w == "memsize", w == "unproven", w == "budget":
		return
	default:
		x.t.Errorf("%s:%d: what is %q?", x.name, line, w)
		return
	}
	if got != w {
		x.t.Errorf("%s:%d: want %s, got %s", x.name, line, w, got)
	}
}

func accessText(a *Access) string {
	s := fmt.Sprintf("%v[%d,%d]:%d", a.Kind, a.Min, a.Max, a.Size)
	if a.Unproven {
		s = fmt.Sprintf("%v[?]:%d", a.Kind, a.Size)
	}
	if a.Up != 0 {
		s += fmt.Sprintf(",up=%d", a.Up)
	}
	if a.Spill {
		s += ",spill"
	}
	if a.Shared {
		s += ",shared"
	}
	return s
}
