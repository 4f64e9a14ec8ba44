package mach

import (
	"fmt"

	"github.com/nfpkit/nfpkit/nfp"
)

// CheckSchedule shows that scheduling a block kept its meaning, independently of how
// schedule works: it executes both orders on symbolic values. A place holds the hash
// of everything its value was computed from, so two orders that end with equal hashes
// in all places computed the same values. It compares general and transfer registers,
// local memory, pointers, the commands with their data and their order on overlapping
// bytes, the arguments of calls, and the condition of the branch at the end.
//
// Hashes have 64 bits; a collision of different values is not expected.
func CheckSchedule(f *Func, before [][]Inst) error {
	for i, b := range f.Blocks {
		was, err := symbolic(before[i])
		if err != nil {
			return fmt.Errorf("%s b%d before: %w", f.Name, i, err)
		}
		is, err := symbolic(b.Insts)
		if err == nil {
			err = was.same(is)
		}
		if err != nil {
			return fmt.Errorf("%s b%d: %w", f.Name, i, err)
		}
	}
	return nil
}

// sym is a symbolic value.
type sym uint64

// mix is a hash of values in order (after Vigna's splitmix64).
func mix(values ...sym) sym {
	h := sym(0x9e3779b97f4a7c15)
	for _, v := range values {
		h ^= v
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// symState holds the symbolic values of places. A value at a block's start has the
// place's number.
type symState struct {
	gpr    [64]sym
	in     [32]sym
	out    [32]sym
	vector [16]sym // packet vector
	near   [16]sym // stack words through LM0
	far    sym     // all of the stack, as LM2 reaches it
	spill  [16]sym
	ptr    [4]sym
	codes  sym
	prev   sym // result and A port of the word before
	csr    sym

	csrRead bool // the word before read a control register

	flight  [16]*symCommand // by signal
	ran     []symCommand    // in order
	events  []sym           // calls
	tested  sym             // by the branch at the end
	pending uint32          // transfer registers that a command in flight fills
	sending uint32          // and that one sends
}

type symCommand struct {
	hash sym
	mem  Access
	in   uint32
	out  uint32
}

func newSymState() *symState {
	s := &symState{}
	n := sym(1)
	name := func(places []sym) {
		for i := range places {
			places[i] = mix(n)
			n++
		}
	}
	name(s.gpr[:])
	name(s.in[:])
	name(s.out[:])
	name(s.vector[:])
	name(s.near[:])
	name(s.spill[:])
	name(s.ptr[:])
	s.far, s.codes, s.prev, s.csr = mix(n), mix(n+1), mix(n+2), mix(n+3)
	return s
}

// symbolic executes a block's instructions in the order in which they take effect.
func symbolic(insts []Inst) (*symState, error) {
	s := newSymState()
	end := len(insts)
	slots := 0
	if end > 0 {
		if last := &insts[end-1]; isControl(last) && (last.Call == nil || last.Reloc == nfp.RelocDone) {
			end, slots = end-1, int(last.Slots)
		}
	}
	for i := 0; i < end-slots; i++ {
		in := &insts[i]
		if !in.Swaps() {
			if err := s.step(in); err != nil {
				return nil, fmt.Errorf("%s: %w", in.text(), err)
			}
			continue
		}
		n, err := s.swap(insts[i:min(end-slots, i+1+in.Inst.Slots())])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.text(), err)
		}
		i += n
	}
	if end < len(insts) {
		br := &insts[len(insts)-1]
		s.tested = mix(sym(br.Op), sym(br.Fn), sym(br.Imm), sym(br.Byte), sym(br.To), s.read(br.A))
		if br.ReadsCC() {
			s.tested = mix(s.tested, s.codes)
		}
	}
	for i := end - slots; i < end; i++ {
		if err := s.step(&insts[i]); err != nil {
			return nil, fmt.Errorf("slot: %s: %w", insts[i].text(), err)
		}
	}
	return s, nil
}

// swap executes a word that releases the engine, with its slots; it returns the
// number of slots.
func (s *symState) swap(insts []Inst) (int, error) {
	in := &insts[0]
	n := in.Inst.Slots()
	if len(insts) != n+1 {
		return 0, fmt.Errorf("%d slots, %d words", n, len(insts)-1)
	}
	issued := *in
	due := in.Imm
	var addr sym
	if in.Op == nfp.OpCmd {
		due, issued.Cmd.Ctx = 1<<in.Cmd.Sig, 3
		addr = s.address(in)
	}
	for k := 1; k <= n; k++ {
		if err := s.step(&insts[k]); err != nil {
			return 0, err
		}
	}
	if in.Op == nfp.OpCmd {
		if err := s.issue(&issued, addr); err != nil {
			return 0, err
		}
	}
	return n, s.wait(due, in)
}

func (s *symState) wait(due uint32, in *Inst) error {
	for n := range 16 {
		if due>>n&1 == 0 {
			continue
		}
		c := s.flight[n]
		if c == nil { // from an earlier block: what it fills stands with the wait
			s.arrive(in.In&^s.pending, mix(sym(n)))
			continue
		}
		s.pending &^= c.in
		s.sending &^= c.out
		s.arrive(c.in, c.hash)
		s.flight[n] = nil
	}
	return nil
}

func (s *symState) arrive(regs uint32, h sym) {
	for k := range 32 {
		if regs>>k&1 != 0 {
			s.in[k] = mix(h, sym(k))
		}
	}
}

func (s *symState) address(in *Inst) sym {
	return mix(s.read(in.A), s.read(in.B))
}

// issue executes a command; its data is the current content of its registers.
func (s *symState) issue(in *Inst, addr sym) error {
	c := in.Cmd
	h := mix(sym(c.Code), sym(c.Token), sym(c.Len), sym(c.Mode), sym(c.Xfer), addr)
	for k := range 32 {
		if in.Out>>k&1 != 0 {
			h = mix(h, s.out[k])
		}
	}
	if in.Flags&nfp.Indirect != 0 {
		h = mix(h, s.prev)
	}
	if s.pending&in.In != 0 {
		return fmt.Errorf("fills registers that another command fills")
	}
	cmd := symCommand{h, in.Mem, in.In, in.Out}
	s.ran = append(s.ran, cmd)
	if c.Sig == 0 { // no wait, or addWaits has not run yet
		s.arrive(in.In, h)
		return nil
	}
	if s.flight[c.Sig&15] != nil {
		return fmt.Errorf("signal %d is taken", c.Sig)
	}
	s.flight[c.Sig&15] = &cmd
	s.pending |= in.In
	s.sending |= in.Out
	return nil
}

// read is an operand's value.
func (s *symState) read(o nfp.Operand) sym {
	if n, ok := Physical(o); ok {
		return s.gpr[n]
	}
	switch o.Kind {
	case nfp.Const:
		return mix(sym(o.Kind), sym(o.N))
	case nfp.Xfer:
		if s.pending>>o.N&1 != 0 {
			return 0 // reported by step
		}
		return s.in[o.N&31]
	case nfp.LM:
		return mix(s.ptr[o.Ptr], *s.local(o))
	}
	return sym(o.Kind)
}

// local returns the place that holds a word of local memory. LM2 reaches the
// whole stack.
func (s *symState) local(o nfp.Operand) *sym {
	switch o.Ptr {
	case 0:
		return &s.near[o.N&15]
	case 1:
		return &s.vector[o.N&15]
	case 3:
		return &s.spill[o.N&15]
	}
	all := append([]sym{s.far, sym(o.N)}, s.near[:]...)
	v := mix(all...)
	return &v
}

func (s *symState) write(o nfp.Operand, v sym) error {
	if n, ok := Physical(o); ok {
		s.gpr[n] = v
		return nil
	}
	switch o.Kind {
	case nfp.Xfer:
		if s.sending>>o.N&1 != 0 {
			return fmt.Errorf("%v is still being sent", o)
		}
		s.out[o.N&31] = v
	case nfp.LM:
		v = mix(v, s.ptr[o.Ptr])
		if o.Ptr != 2 {
			*s.local(o) = v
			return nil
		}
		s.far = mix(s.far, sym(o.N), v)
		for k := range s.near {
			s.near[k] = mix(s.near[k], sym(o.N), v)
		}
	}
	return nil
}

// step executes an instruction that does not swap.
func (s *symState) step(in *Inst) error {
	var err error
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		if o.Kind == nfp.Xfer && s.pending>>o.N&1 != 0 {
			err = fmt.Errorf("%v has not arrived", o)
		}
	}
	if in.Op == nfp.OpCmd {
		return s.issue(in, s.address(in))
	}
	if in.Op == nfp.OpCtxArb {
		return s.wait(in.Imm, in)
	}
	h := mix(sym(in.Op), sym(in.Fn), sym(in.Shift), sym(in.Amount), sym(in.Mask), sym(in.Imm), sym(in.Byte),
		sym(in.Flags&^nfp.NoCC), sym(in.Reloc), s.read(in.A), s.read(in.B))
	for _, c := range in.Sym {
		h = mix(h, sym(c))
	}
	if readsDst(&in.Inst) {
		h = mix(h, s.oldDst(in.Dst))
	}
	if in.ReadsCC() {
		h = mix(h, s.codes)
	}
	if in.ReadsPrevious() || in.Op == nfp.OpMul && nfp.MulStep(in.Fn) != nfp.MulStart || s.csrRead {
		h = mix(h, s.prev)
	}
	for _, o := range [...]nfp.Operand{in.A, in.B, in.Dst} {
		if o.Kind == nfp.LM && o.Mod != 0 {
			s.ptr[o.Ptr] = mix(s.ptr[o.Ptr], sym(uint8(o.Mod)))
		}
	}
	if in.Op == nfp.OpCSRWrite {
		for p, csr := range PointerCSR {
			if in.Imm == csr {
				s.ptr[p] = h
			}
		}
	}
	s.csrRead = in.Op == nfp.OpCSRRead
	if s.csrRead {
		s.csr = mix(s.csr, h)
		h = s.csr
	}
	if in.WritesCC() {
		s.codes = mix(h, 1)
	}
	s.prev = h
	if e := s.write(in.Dst, h); err == nil {
		err = e
	}
	if in.Call != nil {
		s.call(in, h)
	}
	return err
}

// oldDst returns the destination's old value if the instruction keeps part of it.
func (s *symState) oldDst(o nfp.Operand) sym {
	if o.Kind == nfp.Xfer {
		return s.out[o.N&31]
	}
	return s.read(o)
}

// call executes a call, which uses registers, pointers and the stack, and
// changes them all.
func (s *symState) call(in *Inst, h sym) {
	given := []sym{h, sym(in.Helper), s.far, s.ptr[0], s.ptr[2]}
	given = append(append(given, s.near[:]...), s.vector[:]...)
	for r := range 64 {
		if in.Call.Uses>>r&1 != 0 {
			given = append(given, s.gpr[r])
		}
	}
	event := mix(given...)
	s.events = append(s.events, event)
	for r := range 64 {
		if in.Call.Clobbers>>r&1 != 0 {
			s.gpr[r] = mix(event, sym(r))
		}
	}
	for k := range s.in {
		s.in[k], s.out[k] = mix(event, 100, sym(k)), mix(event, 200, sym(k))
	}
	for k := range s.near {
		s.near[k], s.vector[k] = mix(event, 300, sym(k)), mix(event, 400, sym(k))
	}
	s.far = mix(event, 500)
	s.ptr[2], s.ptr[3] = mix(event, 502), mix(event, 503)
}

// same compares the final states of two orders.
func (s *symState) same(o *symState) error {
	switch {
	case s.gpr != o.gpr:
		for n := range s.gpr {
			if s.gpr[n] != o.gpr[n] {
				return fmt.Errorf("%v is another", register(n))
			}
		}
	case s.in != o.in, s.pending != o.pending:
		return fmt.Errorf("what arrived is another")
	case s.out != o.out, s.sending != o.sending:
		return fmt.Errorf("what is to be sent is another")
	case s.vector != o.vector:
		return fmt.Errorf("the packet vector is another")
	case s.near != o.near, s.far != o.far, s.spill != o.spill:
		return fmt.Errorf("the stack is another")
	case s.ptr != o.ptr:
		return fmt.Errorf("pointers are others")
	case s.csr != o.csr:
		return fmt.Errorf("control registers were read otherwise")
	case s.tested != o.tested:
		return fmt.Errorf("the branch tests another value")
	case len(s.events) != len(o.events):
		return fmt.Errorf("%d calls became %d", len(s.events), len(o.events))
	}
	for i, e := range s.events {
		if e != o.events[i] {
			return fmt.Errorf("call %d is given other values", i)
		}
	}
	return s.sameCommands(o)
}

// sameCommands compares the commands: both orders must issue the same ones, and
// those on the same bytes in the same order.
func (s *symState) sameCommands(o *symState) error {
	if len(s.ran) != len(o.ran) {
		return fmt.Errorf("%d commands became %d", len(s.ran), len(o.ran))
	}
	place := make([]int, len(s.ran))
	taken := make([]bool, len(o.ran))
	for i, c := range s.ran {
		place[i] = -1
		for k := range o.ran {
			if !taken[k] && o.ran[k].hash == c.hash {
				place[i], taken[k] = k, true
				break
			}
		}
		if place[i] < 0 {
			return fmt.Errorf("command %d is another", i)
		}
		for j := range i {
			if place[j] > place[i] && s.ran[j].mem.conflicts(&c.mem) {
				return fmt.Errorf("commands %d and %d were turned around", j, i)
			}
		}
	}
	return nil
}
