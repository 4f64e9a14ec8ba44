//go:build linux

package difftest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestMutants changes one to three instructions of generated programs, so that most
// become wrong. Each program that the kernel refuses, we refuse too, or it is safe. Of
// the programs that the kernel accepts we refuse at most 2 %.
func TestMutants(t *testing.T) {
	compareVerifiers(t, "mutants", 600, func(seed uint64, p *Program) { mutate(p, rand.New(rand.NewPCG(seed, 0xbad))) })
}

// The same of programs of the generator as they are.
func TestRandomVerdicts(t *testing.T) {
	compareVerifiers(t, "random", 400, func(uint64, *Program) {})
}

// compareVerifiers asks both verifiers about programs of the generator that change has
// changed. NFPKIT_MUTANTS_N and NFPKIT_RANDOM_N say how many, of which seeds on
// NFPKIT_MUTANTS_SEED and NFPKIT_RANDOM_SEED. It fails on a program on which check for
// Linux and a kernel 6.18 differ.
func compareVerifiers(t *testing.T, what string, n int, change func(seed uint64, p *Program)) {
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	seed, env := uint64(1), "NFPKIT_"+strings.ToUpper(what)
	if testing.Short() {
		n /= 3
	}
	if v, err := strconv.Atoi(os.Getenv(env + "_N")); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv(env+"_SEED"), 0, 64); err == nil {
		seed = v
	}
	k, err := NewKernel(0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m := mutants{kernel: runningKernel(t), stricter: map[string]int{}, wider: map[string]int{}}
	for ; m.total() < n; seed++ {
		p := Generate(seed, AllFeatures)
		change(seed, p)
		m.seed = seed
		if err := m.compare(k, p); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, asmtext.PrintProgram(p.Spec))
		}
	}
	for _, why := range slices.SortedFunc(maps.Keys(m.stricter), func(a, b string) int { return m.stricter[b] - m.stricter[a] }) {
		t.Logf("only the kernel accepts %d: %s", m.stricter[why], why)
	}
	for _, why := range slices.SortedFunc(maps.Keys(m.wider), func(a, b string) int { return m.wider[b] - m.wider[a] }) {
		t.Logf("only we accept %d: %s", m.wider[why], why)
	}
	report := t.Logf
	if m.kernel == [2]int{6, 18} { // for which no difference is left
		report = t.Errorf
	}
	for _, d := range m.linuxStricter {
		report("for Linux, only the kernel accepts %v", d)
	}
	for _, d := range m.linuxWider {
		report("for Linux, only we accept %v", d)
	}
	t.Logf("suite: %s for Linux: kernel %s and check differ on %d of %d: the kernel alone accepts %d", what, release(), len(m.linuxStricter)+len(m.linuxWider), m.total(), len(m.linuxStricter))
	refused := sum(m.stricter)
	t.Logf("suite: %s: kernel %s and check both accept %d, both refuse %d; only the kernel accepts %d; only we accept %d, none of which fails in the interpreter",
		what, release(), m.both, m.neither, refused, sum(m.wider))
	if 50*refused > m.both+refused {
		t.Errorf("%d of %d programs that the kernel accepts are refused, more than 2 %%", refused, m.both+refused)
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

type mutants struct {
	both, neither   int
	stricter, wider map[string]int
	kernel          [2]int
	seed            uint64   // of the program that is compared
	linuxStricter   []differ // refused for Linux, and the kernel accepts
	linuxWider      []differ // the opposite case
}

// A differ is a program on which check for Linux and the kernel disagree.
type differ struct {
	seed uint64
	says string // the one that refuses it
}

func (d differ) String() string { return fmt.Sprintf("seed %d: %s", d.seed, d.says) }

func (m *mutants) total() int { return m.both + m.neither + sum(m.stricter) + sum(m.wider) }

// compare asks both verifiers. An error is a program that only we accept and that
// fails when it is run.
func (m *mutants) compare(k *Kernel, p *Program) error {
	for name, spec := range p.Maps {
		if err := k.fill(k.key(p, name), spec, nil); err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
	}
	prog, theirs := k.load(p, p.Spec)
	if theirs == nil {
		prog.Close()
	}
	var no *Refused
	if theirs != nil && !errors.As(theirs, &no) {
		return nil // no form that the library can write
	}
	c, ours := resolve(p)
	if ours == nil {
		_, ours = verify.Verify(c, nil)
	}
	m.forLinux(k, p, c, ours, no)
	switch {
	case ours == nil && theirs == nil:
		m.both++
	case ours != nil && theirs != nil:
		m.neither++
	case ours != nil:
		m.stricter[general(lastLine(ours))]++
		if os.Getenv("NFPKIT_MUTANTS_SHOW") != "" {
			fmt.Printf("stricter: %+v\n%s\n", ours, listing(c))
		}
	default:
		why := general(no.Reason)
		if _, r := verify.Survey(c, &verify.Options{Linux: true}); r != nil {
			why = "known to be sharper here: " + why
		}
		m.wider[why]++
		if os.Getenv("NFPKIT_MUTANTS_SHOW") != "" && why == general(no.Reason) {
			fmt.Printf("wider: %s\n%s%s\n", no.Reason, listing(c), k.log(p))
		}
		if _, err := runInterp(p, c); err != nil {
			return fmt.Errorf("the kernel says %q, we accept it, and: %w", no.Reason, err)
		}
	}
	return nil
}

// forLinux compares what is said for Linux's driver.
func (m *mutants) forLinux(k *Kernel, p *Program, c *code.Code, err error, no *Refused) {
	if c != nil {
		err = nil
		if _, r := verify.Survey(c, &verify.Options{Linux: true, Kernel: m.kernel}); r != nil {
			err = r
		}
	}
	switch {
	case err != nil && no == nil:
		m.linuxStricter = append(m.linuxStricter, differ{m.seed, lastLine(err)})
		if os.Getenv("NFPKIT_MUTANTS_SHOW") != "" {
			fmt.Printf("seed %d: stricter for Linux: %+v\n%s\n%s\n", m.seed, err, listing(c), k.log(p))
		}
	case err == nil && no != nil:
		m.linuxWider = append(m.linuxWider, differ{m.seed, no.Reason})
		if os.Getenv("NFPKIT_MUTANTS_SHOW") != "" {
			fmt.Printf("seed %d: wider for Linux: %s\n%s%s\n", m.seed, no.Reason, listing(c), k.log(p))
		}
	}
}

// mutate changes one to three instructions of a program.
func mutate(p *Program, r *rand.Rand) {
	spec := *p.Spec
	spec.Instructions = slices.Clone(spec.Instructions)
	for range 1 + r.IntN(3) {
		mutateOne(spec.Instructions, r)
	}
	p.Spec = &spec
}

func mutateOne(insns asm.Instructions, r *rand.Rand) {
	i := r.IntN(len(insns))
	ins := &insns[i]
	jump := ins.OpCode.Class().IsJump()
	switch r.IntN(9) {
	case 0:
		ins.Dst = asm.Register(r.IntN(10))
	case 1:
		if ins.OpCode.Source() == asm.RegSource && !ins.OpCode.IsDWordLoad() && !jump {
			ins.Src = asm.Register(r.IntN(11))
		}
	case 2:
		if !jump && !ins.OpCode.Class().IsALU() {
			ins.Offset += int16(r.IntN(33) - 16)
		}
	case 3:
		if !ins.IsLoadFromMap() && ins.OpCode.Source() == asm.ImmSource && !(jump && (ins.OpCode.JumpOp() == asm.Call || ins.OpCode.JumpOp() == asm.Exit)) && ins.OpCode.Class() != asm.LdClass {
			ins.Constant = int64(int32(ins.Constant) + int32(r.IntN(65)-32))
		}
	case 4:
		if ins.OpCode.Class().IsLoad() && !ins.OpCode.IsDWordLoad() {
			ins.OpCode = ins.OpCode.SetSize([]asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}[r.IntN(4)])
		}
	case 5: // nothing in its place
		if !jump {
			*ins = asm.Mov.Reg(asm.R10-1, asm.R10-1).WithMetadata(ins.Metadata)
		}
	case 6: // a branch with its condition inverted
		if op := ins.OpCode.JumpOp(); jump && op == asm.JEq {
			ins.OpCode = ins.OpCode.SetJumpOp(asm.JNE)
		} else if jump && (op == asm.JGT || op == asm.JGE || op == asm.JLE || op == asm.JLT) {
			ins.OpCode = ins.OpCode.SetJumpOp([]asm.JumpOp{asm.JGT, asm.JGE, asm.JLE, asm.JLT}[r.IntN(4)])
		}
	case 7: // a jump a little further or less far
		if jump && ins.OpCode.JumpOp() != asm.Call && ins.OpCode.JumpOp() != asm.Exit && ins.Reference() == "" {
			ins.Offset += int16(r.IntN(7) - 3)
		}
	case 8:
		if j := r.IntN(len(insns)); !jump && !insns[j].OpCode.Class().IsJump() && ins.Width() == insns[j].Width() {
			a, b := ins.Metadata, insns[j].Metadata
			if ins.Reference() == "" && insns[j].Reference() == "" && ins.Symbol() == "" && insns[j].Symbol() == "" {
				*ins, insns[j] = insns[j], *ins
				ins.Metadata, insns[j].Metadata = a, b
			}
		}
	}
}
