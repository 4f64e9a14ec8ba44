package verify_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestSoundness runs random accepted programs in the reference interpreter. Every
// concrete state must lie in the abstract state, every branch must take an edge that
// the facts allow, and no access may fault.
func TestSoundness(t *testing.T) {
	const inputs = 4
	programs, first := uint64(3000), uint64(0)
	if n, err := strconv.ParseUint(os.Getenv("NFPKIT_SOUND_N"), 0, 64); err == nil {
		programs = n
	}
	if s, err := strconv.ParseUint(os.Getenv("NFPKIT_SOUND_SEED"), 0, 64); err == nil {
		first = s
	}
	accepted, linked, narrowed := uint64(0), 0, 0
	for seed := first; seed < first+programs; seed++ {
		g := newRandom(seed)
		spec := g.program()
		c, faults := code.New(spec, randomMaps())
		if len(faults) > 0 {
			continue // r10 written, say
		}
		facts, err := verify.Verify(c, nil)
		if err != nil {
			continue
		}
		accepted++
		l, n := g.linksIn(facts)
		linked, narrowed = linked+l, narrowed+n
		for range inputs {
			if err := runWithin(facts, g.input()); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, asmtext.PrintProgram(spec))
			}
		}
	}
	t.Logf("suite: soundness: %d of %d programs accepted, %d runs inside the facts; %d checks of a linked number, %d of which bound the other", accepted, programs, inputs*accepted, linked, narrowed)
	if programs > 1000 && uint64(narrowed) < programs/20 {
		t.Errorf("only %d linked numbers: the generator tests too little", narrowed)
	}
	if accepted < programs/3 {
		t.Errorf("only %d of %d programs accepted: the generator tests too little", accepted, programs)
	}
}

// runWithin runs a program and compares each state with the facts.
func runWithin(f *verify.Facts, in *interp.Input) error {
	w := &watcher{f: f, packet: len(in.Packet), last: -1}
	var ms []maps.Map
	for _, s := range f.Code.Maps {
		m, err := maps.New(s, nil, nil)
		if err != nil {
			return err
		}
		ms = append(ms, m)
	}
	m, err := interp.New(f.Code, ms, &interp.Options{Trace: w.see})
	if err != nil {
		return err
	}
	w.frame = m.FramePointer(1) - m.FramePointer(0)
	_, err = m.Run(in)
	if w.err != nil {
		return w.err
	}
	return err
}

// A watcher compares each concrete state with the facts.
type watcher struct {
	f      *verify.Facts
	packet int    // bytes
	last   int    // instruction before
	ctx    uint64 // address of the context
	data   uint64 // address of the packet, 0 until a pointer to its start is seen
	frame  uint64 // distance of a frame's r10 to its caller's
	err    error
}

func (w *watcher) see(c *code.Code, i int, regs *[11]uint64) {
	if w.err != nil {
		return
	}
	if w.last < 0 {
		w.ctx = regs[1]
	}
	if !w.f.Reachable[i] {
		w.err = fmt.Errorf("insn %d (pc %d) is executed but not reachable", i, c.Insns[i].PC)
		return
	}
	if p := w.last; p >= 0 && c.Insns[p].Target != code.None && c.Insns[p].OpCode.JumpOp() != asm.Ja {
		if i == c.Insns[p].Target && !w.f.Taken[p] && i != p+1 || i == p+1 && i != c.Insns[p].Target && !w.f.Falls[p] {
			w.err = fmt.Errorf("insn %d goes to %d, which the facts exclude", p, i)
			return
		}
	}
	if p := w.last; p >= 0 && c.Insns[p].IsBuiltinCall() && asm.BuiltinFunc(c.Insns[p].Constant) == asm.FnXdpAdjustHead {
		w.data, w.packet = 0, 1<<20 // elsewhere, and not as long as the input
	}
	w.last = i
	for r := range regs {
		if msg := w.outside(&w.f.Regs[i][r], regs[r], regs[10]); msg != "" {
			w.err = fmt.Errorf("before insn %d (pc %d, %s): r%d is %#x: %s, facts say %v", i, c.Insns[i].PC, asmtext.Format(c.Insns[i].Instruction), r, regs[r], msg, w.f.Regs[i][r])
			return
		}
	}
}

// outside returns the reason why v is not in r, or "".
func (w *watcher) outside(r *verify.Reg, v, fp uint64) string {
	base := uint64(0)
	switch r.Kind {
	case verify.Scalar:
	case verify.PtrCtx:
		base = w.ctx
	case verify.PtrStack:
		if r.Up < 0 {
			return ""
		}
		base = fp - uint64(r.Up)*w.frame
	case verify.PtrPacket:
		if w.data == 0 && r.Off == 0 && r.UMax == 0 {
			w.data = v
		}
		base = w.data
		if r.Range > 0 && v-uint64(int64(r.Off))+uint64(r.Range) > w.data+uint64(w.packet) {
			return fmt.Sprintf("%d bytes are not there", r.Range)
		}
	case verify.PtrMapValueOrNull:
		return ""
	case verify.PtrMapValue:
		if v == 0 {
			return "NULL"
		}
		return ""
	default:
		return ""
	}
	n := v - base - uint64(int64(r.Off))
	switch {
	case !r.Bits.Contains(n):
		return "bits"
	case n < r.UMin || n > r.UMax || int64(n) < r.SMin || int64(n) > r.SMax:
		return "64-bit range"
	case uint32(n) < r.U32Min || uint32(n) > r.U32Max || int32(n) < r.S32Min || int32(n) > r.S32Max:
		return "32-bit range"
	}
	return ""
}

func randomMaps() map[string]*ebpf.MapSpec {
	return map[string]*ebpf.MapSpec{
		"arr": {Name: "arr", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 4},
		"tab": {Name: "tab", Type: ebpf.Hash, KeySize: 4, ValueSize: 24, MaxEntries: 8},
	}
}

// A random writes programs that are mostly right: r6 is ctx, r7 the packet, r8
// its end, the others numbers. Jumps go forward over whole pieces.
type random struct {
	*rand.Rand
	insns  asm.Instructions
	labels int
	depth  int
	calls  bool // the callee is called
	short  bool // no loops that may run long
	wrong  int  // one access in so many is generated wrong; 0 means 40
	links  []linkCheck
}

func newRandom(seed uint64) *random { return &random{Rand: rand.New(rand.NewPCG(seed, 0x5eed))} }

func (g *random) emit(ins ...asm.Instruction) {
	g.insns = append(g.insns, ins...)
}

func (g *random) label() string { g.labels++; return fmt.Sprintf("l%d", g.labels) }

func (g *random) number() asm.Register {
	return [...]asm.Register{asm.R0, asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R9}[g.IntN(7)]
}

func (g *random) imm() int32 {
	switch g.IntN(4) {
	case 0:
		return int32(g.IntN(16))
	case 1:
		return [...]int32{-1, 0x7fffffff, -0x80000000, 255, 256, 0xffff, 63, 64, 31, 32}[g.IntN(10)]
	case 2:
		return int32(g.Uint32()) >> g.IntN(32)
	}
	return int32(g.Uint32())
}

func (g *random) program() *ebpf.ProgramSpec {
	g.emit(asm.Mov.Reg(asm.R6, asm.R1).WithSymbol("main"),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.Word), asm.LoadMem(asm.R8, asm.R6, 4, asm.Word))
	for off := int16(-64); off < 0; off += 8 {
		g.emit(asm.Mov.Imm(asm.R1, g.imm()), asm.StoreMem(asm.R10, off, asm.R1, asm.DWord))
	}
	g.seedNumbers()
	g.pieces(6 + g.IntN(30))
	g.emit(asm.Mov.Reg(asm.R0, g.number()), asm.Return())
	if !g.calls {
		return g.spec()
	}
	g.emit(asm.Mov.Reg(asm.R0, asm.R1).WithSymbol("callee"), asm.LoadMem(asm.R3, asm.R2, 0, asm.DWord))
	for range 4 {
		r := [...]asm.Register{asm.R0, asm.R1, asm.R3}
		g.alu(r[g.IntN(3)], r[g.IntN(3)])
	}
	g.emit(asm.StoreMem(asm.R2, 0, asm.R0, asm.DWord), asm.Return())
	return g.spec()
}

func (g *random) spec() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: "main", Type: ebpf.XDP, Instructions: g.insns, License: "GPL"}
}

func (g *random) seedNumbers() {
	for _, r := range []asm.Register{asm.R1, asm.R2, asm.R3, asm.R4, asm.R5, asm.R9} {
		switch g.IntN(4) {
		case 0:
			g.emit(asm.LoadMem(r, asm.R6, 12, asm.Word))
		case 1:
			g.emit(asm.LoadImm(r, int64(g.Uint64()>>g.IntN(64)), asm.DWord))
		case 2:
			g.emit(asm.LoadMem(r, asm.R10, int16(-8-8*g.IntN(8)), asm.DWord))
		default:
			g.emit(asm.Mov.Imm(r, g.imm()))
		}
	}
	g.emit(asm.Mov.Imm(asm.R0, g.imm()))
}

func (g *random) pieces(n int) {
	var ends []int // pieces left until the label
	var names []string
	for range n {
		for k := 0; k < len(ends); k++ {
			if ends[k]--; ends[k] == 0 {
				g.emit(asm.Mov.Reg(asm.R0, asm.R0).WithSymbol(names[k]))
				ends, names = append(ends[:k], ends[k+1:]...), append(names[:k], names[k+1:]...)
				k--
			}
		}
		if g.IntN(3) == 0 {
			l := g.label()
			g.branch(l)
			ends, names = append(ends, 1+g.IntN(5)), append(names, l)
			continue
		}
		g.piece()
	}
	for _, l := range names {
		g.emit(asm.Mov.Reg(asm.R0, asm.R0).WithSymbol(l))
	}
}

var randomJumps = [...]asm.JumpOp{asm.JEq, asm.JNE, asm.JGT, asm.JGE, asm.JLT, asm.JLE, asm.JSGT, asm.JSGE, asm.JSLT, asm.JSLE, asm.JSet}

func (g *random) branch(l string) {
	op := randomJumps[g.IntN(len(randomJumps))]
	switch g.IntN(4) {
	case 0:
		g.emit(op.Imm(g.number(), g.imm(), l))
	case 1:
		g.emit(op.Imm32(g.number(), g.imm(), l))
	case 2:
		g.emit(op.Reg(g.number(), g.number(), l))
	default:
		g.emit(op.Reg32(g.number(), g.number(), l))
	}
}

var randomALU = [...]asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Div, asm.SDiv, asm.Or, asm.And, asm.LSh, asm.RSh, asm.ArSh, asm.Mod, asm.SMod, asm.Xor, asm.Mov}

func (g *random) alu(dst, src asm.Register) {
	op := randomALU[g.IntN(len(randomALU))]
	imm := g.imm()
	switch op {
	case asm.LSh, asm.RSh, asm.ArSh:
		imm &= 31
	case asm.Div, asm.Mod, asm.SDiv, asm.SMod:
		imm |= 1
	}
	switch g.IntN(9) {
	case 0, 1:
		g.emit(op.Imm(dst, imm))
	case 2, 3:
		g.emit(op.Imm32(dst, imm))
	case 4:
		g.emit(op.Reg(dst, src))
	case 5:
		g.emit(op.Reg32(dst, src))
	case 6:
		ext := [...]asm.ALUOp{asm.MovSX8, asm.MovSX16, asm.MovSX32}[g.IntN(3)]
		if ext != asm.MovSX32 && g.IntN(2) == 0 {
			g.emit(ext.Reg32(dst, src))
		} else {
			g.emit(ext.Reg(dst, src))
		}
	case 7:
		width := [...]asm.Size{asm.Half, asm.Word, asm.DWord}[g.IntN(3)]
		switch g.IntN(3) {
		case 0:
			g.emit(asm.HostTo(asm.BE, dst, width))
		case 1:
			g.emit(asm.HostTo(asm.LE, dst, width))
		default:
			g.emit(asm.BSwap(dst, width))
		}
	default:
		g.emit(asm.And.Imm(dst, int32(g.IntN(64))))
	}
}

var sizes = [...]asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}

func (g *random) piece() {
	if g.IntN(4*g.errors()) == 0 {
		g.wild()
		return
	}
	size := sizes[g.IntN(4)]
	at := int16(-64 + g.IntN(64/size.Sizeof())*size.Sizeof())
	if g.IntN(20*g.errors()) == 0 {
		at++
	}
	switch g.IntN(15) {
	case 13:
		g.linked(at)
	case 0:
		g.emit(asm.StoreMem(asm.R10, at, g.number(), size))
	case 1:
		g.emit(asm.LoadMem(g.number(), asm.R10, at, size))
	case 2:
		g.packet()
	case 3:
		g.lookup()
	case 4:
		g.loop()
	case 5:
		g.calls = true
		g.emit(asm.Mov.Imm(asm.R1, g.imm()), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, int32(-8-8*g.IntN(8))),
			asm.Call.Label("callee"))
		g.seedNumbers()
	case 6:
		g.emit(asm.LoadMem(asm.R1, asm.R6, 12, asm.Word), asm.And.Imm(asm.R1, 56), asm.Mov.Reg(asm.R2, asm.R10),
			asm.Neg.Imm(asm.R1, 0), asm.Add.Reg(asm.R2, asm.R1))
		if g.IntN(2) == 0 {
			g.emit(asm.StoreMem(asm.R2, -8, g.number2(asm.R2), size))
		} else {
			g.emit(asm.LoadMem(asm.R1, asm.R2, -8, size))
		}
		g.emit(asm.Mov.Imm(asm.R2, g.imm()))
	case 7:
		g.emit(asm.FnGetPrandomU32.Call())
		g.keepR0()
	case 8:
		g.emit(asm.Mov.Imm(asm.R1, g.imm()), asm.StoreMem(asm.R10, -8, asm.R1, asm.DWord))
		op := [...]asm.AtomicOp{asm.AddAtomic, asm.FetchAdd, asm.Xchg, asm.CmpXchg, asm.FetchXor, asm.OrAtomic}[g.IntN(6)]
		ins := op.Mem(asm.R10, g.number(), [...]asm.Size{asm.Word, asm.DWord}[g.IntN(2)], -8)
		ins.Constant = int64(op >> 8) // cilium/ebpf v0.22 encodes this instead of the opcode's
		g.emit(ins)
	default:
		g.alu(g.number(), g.number())
	}
}

// A linkCheck is an instruction at which a number is linked by a constant to one that
// was just proved to be at most max.
type linkCheck struct {
	insn int
	r    asm.Register
	max  uint64
}

// linksIn counts the reachable checks of linked numbers, and those that bound the
// other number too.
func (g *random) linksIn(f *verify.Facts) (reached, narrowed int) {
	for _, l := range g.links {
		if f.Reachable[l.insn] {
			reached++
			if f.Regs[l.insn][l.r].UMax <= l.max {
				narrowed++
			}
		}
	}
	return reached, narrowed
}

// linked moves a copy of a number by constants, checks one of the two, and uses the
// other as a number or as an offset past 64 bytes of stack.
func (g *random) linked(slot int16) {
	l := g.label()
	a := g.number()
	b := g.number2(a)
	if g.IntN(2) == 0 {
		g.emit(asm.LoadMem(a, asm.R6, 12, asm.Word))
	}
	g.emit(asm.Mov.Reg(b, a))
	for range 1 + g.IntN(2) {
		op, c := [...]asm.ALUOp{asm.Add, asm.Add, asm.Sub}[g.IntN(3)], int32(g.IntN(48)-16)
		if g.IntN(8) == 0 {
			c = g.imm()
		}
		if g.IntN(4) == 0 {
			g.emit(op.Imm32(b, c))
		} else {
			g.emit(op.Imm(b, c))
		}
		if g.IntN(6) == 0 { // a path on which the distance is another
			m := g.label()
			g.branch(m)
			g.emit(asm.Add.Imm(b, int32(g.IntN(3)-1)), asm.Mov.Reg(asm.R9, asm.R9).WithSymbol(m))
		}
	}
	if g.IntN(3) == 0 {
		at := slot &^ 7
		g.emit(asm.StoreMem(asm.R10, at, b, asm.DWord))
		g.alu(g.number2(a), a)
		defer func() { g.emit(asm.LoadMem(g.number(), asm.R10, at, asm.DWord)) }()
	}
	if g.IntN(2) == 0 {
		a, b = b, a
	}
	max := int32(g.IntN(64))
	op := [...]asm.JumpOp{asm.JGT, asm.JGT, asm.JSGT, asm.JNE}[g.IntN(4)]
	g.emit(op.Imm(a, max, l))
	use := asm.Mov.Reg(asm.R0, b)
	if g.IntN(4) == 0 && b != asm.R0 {
		g.links = append(g.links, linkCheck{len(g.insns) + 1, b, uint64(max) + 96})
		g.emit(asm.Mov.Reg(asm.R0, asm.R10), asm.Add.Reg(asm.R0, b), asm.LoadMem(b, asm.R0, -64, asm.Byte), asm.Mov.Imm(asm.R0, 1))
	} else {
		g.links = append(g.links, linkCheck{len(g.insns), b, uint64(max) + 96})
		g.emit(use)
	}
	g.emit(asm.Mov.Imm(asm.R0, g.imm()).WithSymbol(l))
}

func (g *random) number2(not asm.Register) asm.Register {
	for {
		if r := g.number(); r != not {
			return r
		}
	}
}

// wild generates code that is often wrong: reads after calls, pointers used as
// numbers, lookups without a test, sizes without bounds.
func (g *random) wild() {
	any := func() asm.Register { return asm.Register(g.IntN(11)) }
	size := sizes[g.IntN(4)]
	slot := int16(-8 - 8*g.IntN(8))
	switch g.IntN(16) {
	case 0:
		g.emit(asm.FnGetPrandomU32.Call())
	case 1:
		g.emit(asm.StoreMem(asm.R10, slot, any(), asm.DWord))
	case 2:
		g.emit(asm.LoadMem(g.number(), asm.R10, slot, size))
	case 3:
		g.emit(asm.Mov.Reg(g.number(), any()))
	case 4:
		g.emit(asm.Mov.Reg32(g.number(), any()))
	case 5:
		g.alu(g.number(), any())
	case 6:
		g.emit(asm.LoadMem(asm.R1, asm.R6, 12, asm.Word), asm.StoreMem(asm.R10, -4, asm.R1, asm.Word), asm.Mov.Reg(asm.R2, asm.R10),
			asm.Add.Imm(asm.R2, -4), asm.LoadMapPtr(asm.R1, 0).WithReference("arr"), asm.FnMapLookupElem.Call(), asm.StoreMem(asm.R10, -16, asm.R0, asm.DWord))
		l := g.label()
		g.seedNumbers()
		g.emit(asm.LoadMem(asm.R1, asm.R10, -16, asm.DWord))
		if g.IntN(3) > 0 {
			g.emit(asm.JEq.Imm(asm.R1, 0, l))
		}
		g.emit(asm.LoadMem(asm.R3, asm.R10, -16, asm.DWord), asm.LoadMem(asm.R2, asm.R3, int16(g.IntN(18)), size))
		g.emit(asm.Mov.Imm(asm.R1, g.imm()).WithSymbol(l), asm.Mov.Imm(asm.R3, g.imm()))
	case 7:
		g.csum()
	case 8:
		g.emit(asm.LoadMem(asm.R1, asm.R6, int16(4*g.IntN(6)), asm.Word), asm.Mov.Imm(asm.R1, 0))
	case 9:
		l := g.label()
		g.emit(asm.Mov.Reg(asm.R0, asm.R0).WithSymbol(l))
		g.alu(asm.R1, asm.R2)
		if !g.short && g.IntN(8) == 0 {
			g.branch(l)
		} else {
			g.emit(asm.Add.Imm(asm.R1, 1), asm.JLT.Imm(asm.R1, int32(g.IntN(64)), l))
		}
	case 10: // a packet pointer with two offsets
		l, m := g.label(), g.label()
		g.emit(asm.Mov.Reg(asm.R1, asm.R7))
		g.branch(l)
		g.emit(asm.Add.Imm(asm.R1, int32(g.IntN(20))))
		g.emit(asm.Mov.Reg(asm.R2, asm.R1).WithSymbol(l), asm.Add.Imm(asm.R2, 8), asm.JGT.Reg(asm.R2, asm.R8, m),
			asm.LoadMem(asm.R0, asm.R1, int16(g.IntN(9)), asm.Byte))
		g.emit(asm.Mov.Imm(asm.R1, g.imm()).WithSymbol(m), asm.Mov.Imm(asm.R2, g.imm()))
	case 11: // a loop over the packet
		l, m := g.label(), g.label()
		g.emit(asm.Mov.Reg(asm.R1, asm.R7), asm.Mov.Imm(asm.R2, 0))
		g.emit(asm.Mov.Reg(asm.R3, asm.R1).WithSymbol(l), asm.Add.Imm(asm.R3, 4), asm.JGT.Reg(asm.R3, asm.R8, m),
			asm.LoadMem(asm.R4, asm.R1, int16(g.IntN(5)), asm.Byte), asm.Add.Imm(asm.R1, 4), asm.Add.Imm(asm.R2, 1))
		if g.IntN(2) == 0 {
			g.emit(asm.JEq.Imm(asm.R4, g.imm(), m))
		}
		g.emit(asm.JLT.Imm(asm.R2, int32(2+g.IntN(8)), l), asm.Mov.Imm(asm.R1, g.imm()).WithSymbol(m), asm.Mov.Imm(asm.R3, g.imm()), asm.Mov.Imm(asm.R4, 1))
	case 12:
		g.emit(asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, int32(g.IntN(9)-4)), asm.FnXdpAdjustHead.Call())
		g.emit(asm.LoadMem(asm.R7, asm.R6, 0, asm.Word))
		if g.IntN(4) > 0 {
			g.emit(asm.LoadMem(asm.R8, asm.R6, 4, asm.Word))
		}
		g.keepR0()
	case 13: // lookup at a checked index
		l := g.label()
		g.emit(asm.LoadMapPtr(asm.R1, 0).WithReference("arr"), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, int32(slot)),
			asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, l), asm.LoadMem(asm.R1, asm.R6, 12, asm.Word),
			asm.JGT.Imm(asm.R1, int32(7+g.IntN(3)), l), asm.Add.Reg(asm.R0, asm.R1), asm.LoadMem(asm.R2, asm.R0, 0, asm.DWord))
		g.emit(asm.Mov.Imm(asm.R0, 1).WithSymbol(l))
		g.seedNumbers()
	default:
		g.emit(asm.LoadMem(asm.Register(g.IntN(10)), any(), slot, size))
	}
}

// csum calls a helper with memory and a size that may be variable.
func (g *random) csum() {
	l := g.label()
	g.emit(asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, int32(-8-8*g.IntN(8))))
	g.emit(asm.LoadMem(asm.R4, asm.R6, 12, asm.Word))
	switch g.IntN(3) {
	case 0:
		g.emit(asm.And.Imm(asm.R4, int32(g.IntN(64))))
	case 1:
		g.emit(asm.JGT.Imm(asm.R4, int32(g.IntN(64)), l))
	}
	g.emit(asm.And.Imm(asm.R4, -4), asm.Mov.Imm(asm.R5, 0), asm.FnCsumDiff.Call())
	g.emit(asm.Mov.Imm(asm.R0, 1).WithSymbol(l))
	g.seedNumbers()
}

// keepR0 assigns new values to all numbers but r0 after a call.
func (g *random) keepR0() {
	g.emit(asm.StoreMem(asm.R10, -16, asm.R0, asm.DWord))
	g.seedNumbers()
	g.emit(asm.LoadMem(asm.R0, asm.R10, -16, asm.DWord))
}

// packet compares and loads at a fixed or a variable place, now and then wrongly.
func (g *random) packet() {
	l := g.label()
	n := int32(g.IntN(40))
	g.emit(asm.Mov.Reg(asm.R1, asm.R7))
	if g.IntN(2) == 0 {
		g.emit(asm.And.Imm(asm.R2, int32(g.IntN(32))), asm.Add.Reg(asm.R1, asm.R2))
	}
	g.emit(asm.Mov.Reg(asm.R3, asm.R1), asm.Add.Imm(asm.R3, n))
	op := [...]asm.JumpOp{asm.JGT, asm.JGE}[g.IntN(2)]
	g.emit(op.Reg(asm.R3, asm.R8, l))
	if n >= 8 {
		size := sizes[g.IntN(4)]
		at := int16(g.IntN(int(n) - size.Sizeof() + 1))
		if g.IntN(g.errors()) == 0 {
			at++
		}
		if g.IntN(3) == 0 {
			g.emit(asm.StoreMem(asm.R1, at, asm.R4, size))
		} else {
			g.emit(asm.LoadMem(asm.R0, asm.R1, at, size))
		}
	}
	g.emit(asm.Mov.Imm(asm.R1, g.imm()).WithSymbol(l), asm.Mov.Imm(asm.R3, g.imm()))
}

func (g *random) errors() int {
	if g.wrong == 0 {
		return 40
	}
	return g.wrong
}

func (g *random) lookup() {
	l := g.label()
	name, size := "arr", 16
	if g.IntN(2) == 0 {
		name, size = "tab", 24
	}
	key := asm.Mov.Imm(asm.R1, int32(g.IntN(6)))
	g.emit(key, asm.StoreMem(asm.R10, -4, asm.R1, asm.Word), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, 0).WithReference(name), asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, l), asm.LoadMem(asm.R1, asm.R6, 12, asm.Word), asm.And.Imm(asm.R1, 7), asm.Add.Reg(asm.R0, asm.R1),
		asm.LoadMem(asm.R2, asm.R0, int16(g.IntN(size-7-7)), asm.DWord), asm.Add.Imm(asm.R2, 3),
		asm.StoreMem(asm.R0, int16(g.IntN(size-7-7)), asm.R2, asm.DWord))
	g.emit(asm.Mov.Imm(asm.R0, g.imm()).WithSymbol(l))
	g.seedNumbers()
}

func (g *random) loop() {
	if g.depth > 0 {
		return
	}
	g.depth++
	l := g.label()
	step, n := int32(1+g.IntN(3)), int32(1+g.IntN(12))
	g.emit(asm.Mov.Imm(asm.R9, int32(g.IntN(3))), asm.Mov.Reg(asm.R0, asm.R0).WithSymbol(l))
	for range 1 + g.IntN(4) {
		g.alu([...]asm.Register{asm.R0, asm.R1, asm.R2}[g.IntN(3)], asm.R9)
	}
	if g.IntN(2) == 0 {
		m := g.label()
		g.branch(m)
		g.alu(asm.R1, asm.R2)
		g.emit(asm.Mov.Reg(asm.R0, asm.R0).WithSymbol(m))
	}
	g.emit(asm.Add.Imm(asm.R9, step), asm.JLT.Imm(asm.R9, n, l))
	g.depth--
}

func (g *random) input() *interp.Input {
	p := make([]byte, g.IntN(80))
	for i := range p {
		p[i] = byte(g.Uint32())
	}
	return &interp.Input{Packet: p, Ifindex: g.Uint32() >> g.IntN(32), RxQueue: 1}
}
