package mach

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
)

// The cases of passes and checkers are archives, one a case, of which the comment says
// what it shows. Functions are text; see Parse.

// chip returns the default card's model.
func chip(t *testing.T) *nfp.Model {
	t.Helper()
	m, err := nfp.ModelByName("")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func parsed(t *testing.T, text string) *Func {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// verdict returns a checker's error as a case has it.
func verdict(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}

// TestPasses runs the passes of file passes on in.s, with their checkers, which gives
// out.s. After the passes' names may stand small, and the counts of instructions, such
// as 3=100 for pc 3.
func TestPasses(t *testing.T) {
	golden.Run(t, "testdata/passes/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		f := parsed(t, files["in.s"])
		opt := &Options{Model: chip(t), Signals: []int{1, 2, 3}, Check: true}
		counts := map[int32]uint64{}
		var list []pass
		for _, word := range strings.Fields(files["passes"]) {
			pc, count, isCount := strings.Cut(word, "=")
			switch i := slices.IndexFunc(passes, func(p pass) bool { return p.name == word }); {
			case i >= 0:
				list = append(list, passes[i])
			case word == "small":
				opt.Small = true
			case isCount:
				at, err := strconv.Atoi(pc)
				n, errCount := strconv.ParseUint(count, 10, 64)
				if err != nil || errCount != nil {
					t.Fatalf("%s is no count", word)
				}
				counts[int32(at)] = n
				opt.Count = func(pc int32) (uint64, bool) { n, ok := counts[pc]; return n, ok }
			default:
				t.Fatalf("no pass %s", word)
			}
		}
		for _, p := range list {
			if err := p.run(f, opt); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
		return map[string]string{"out.s": f.Text()}
	})
}

// TestCheckMotion compares after.s with before.s.
func TestCheckMotion(t *testing.T) {
	golden.Run(t, "testdata/motion/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		err := checkMotion(parsed(t, files["before.s"]), parsed(t, files["after.s"]))
		return map[string]string{"verdict": verdict(err)}
	})
}

// TestCheckSchedule compares the blocks of after.s with those of before.s.
func TestCheckSchedule(t *testing.T) {
	golden.Run(t, "testdata/schedule/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		err := checkSchedule(parsed(t, files["after.s"]), blocksOf(parsed(t, files["before.s"])))
		return map[string]string{"verdict": verdict(err)}
	})
}

// TestCheckAllocation checks after.s, an allocation of before.s instruction by
// instruction.
func TestCheckAllocation(t *testing.T) {
	golden.Run(t, "testdata/allocation/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		before, after := parsed(t, files["before.s"]), parsed(t, files["after.s"])
		remember(before)
		for i, b := range after.Blocks {
			for k := range b.Insts {
				b.Insts[k].Orig = before.Blocks[i].Insts[k].Orig
			}
		}
		return map[string]string{"verdict": verdict(checkAllocation(after))}
	})
}

// TestCheckHazards checks an image, which code.s begins.
func TestCheckHazards(t *testing.T) {
	golden.Run(t, "testdata/hazards/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		im, err := nfp.Assemble(files["code.s"] + strings.Repeat("nop\n", padding))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"verdict": verdict(CheckHazards(im))}
	})
}

// blocksOf returns the instructions of a function's blocks.
func blocksOf(f *Func) [][]Inst {
	blocks := make([][]Inst, len(f.Blocks))
	for i, b := range f.Blocks {
		blocks[i] = cloneInsts(b.Insts)
	}
	return blocks
}
