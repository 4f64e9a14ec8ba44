package mach

import (
	"fmt"

	"github.com/nfpkit/nfpkit/nfp"
)

// The reads and writes of an instruction, by which schedule orders instructions:
// each resource is a bit. Operands are physical. The effects of a bundle are the
// union of its members'.

const (
	resGPR     = 0 // 64 general registers
	resIn      = 64
	resOut     = 96
	resSignal  = 128 // 16
	resCodes   = 144
	resPointer = 145 // 4 local-memory pointers
	resCSR     = 149
	resVector  = 150 // 16 words of the packet vector, through LM1
	resFrame   = 166 // 16 words through LM0
	resSpill   = 182 // 16 words of any window of LM3, of which each begins at a multiple of 64 bytes
	resStack   = 198 // what LM2 reaches: any word of the eBPF stack
	resCount   = 199
)

// resourceName returns a resource as errors name it.
func resourceName(r int) string {
	for _, k := range [...]struct {
		first int
		name  string
	}{
		{resStack, "the stack"}, {resSpill, "spill slot"}, {resFrame, "frame word"}, {resVector, "packet vector word"},
		{resCSR, "the control registers"}, {resPointer, "local-memory pointer"}, {resCodes, "the condition codes"},
		{resSignal, "signal"}, {resOut, "out-register"}, {resIn, "in-register"},
	} {
		switch {
		case r < k.first:
		case k.first == resStack, k.first == resCSR, k.first == resCodes:
			return k.name
		default:
			return fmt.Sprintf("%s %d", k.name, r-k.first)
		}
	}
	return fmt.Sprint(register(r))
}

// resSet is a set of resources.
type resSet [4]uint64

func (s *resSet) add(r int) { s[r/64] |= 1 << (r % 64) }

func (s *resSet) addMask(from int, mask uint64, n int) {
	for i := range n {
		if mask>>i&1 != 0 {
			s.add(from + i)
		}
	}
}

func (s *resSet) has(r int) bool { return s[r/64]>>(r%64)&1 != 0 }

func (s *resSet) without(o *resSet) resSet {
	return resSet{s[0] &^ o[0], s[1] &^ o[1], s[2] &^ o[2], s[3] &^ o[3]}
}

func (s *resSet) meets(o *resSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

// effects holds a bundle's upward-exposed reads and its writes.
type effects struct{ reads, writes resSet }

// effectsOf is the union of instructions that stay together.
func effectsOf(insts []Inst) effects {
	var all effects
	for i := range insts {
		e := effectOf(&insts[i])
		e.reads = e.reads.without(&all.writes)
		for k := range all.reads {
			all.reads[k] |= e.reads[k]
			all.writes[k] |= e.writes[k]
		}
	}
	return all
}

func effectOf(in *Inst) effects {
	var e effects
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		e.operand(o, true, false)
	}
	e.operand(in.Dst, in.ReadsDst(), true)
	if in.ReadsCC() {
		e.reads.add(resCodes)
	}
	if in.WritesCC() {
		e.writes.add(resCodes)
	}
	switch in.Op {
	case nfp.OpCSRWrite:
		for p, csr := range PointerCSR {
			if in.Imm == csr {
				e.writes.add(resPointer + p)
			}
		}
	case nfp.OpCSRRead:
		e.writes.add(resCSR)
	case nfp.OpCmd:
		e.reads.addMask(resOut, uint64(in.Out), 32)
		e.writes.addMask(resIn, uint64(in.In), 32)
		if in.Cmd.Sig != 0 {
			e.writes.add(resSignal + int(in.Cmd.Sig))
		}
	case nfp.OpCtxArb:
		e.writes.addMask(resIn, uint64(in.In), 32)
		e.writes.addMask(resOut, uint64(in.Out), 32)
		e.writes.addMask(resSignal, uint64(in.Imm&0xffff), 16)
		e.writes.add(resCodes) // never between their definition and their test
	}
	if in.Call != nil {
		e.reads.addMask(resGPR, uint64(in.Call.Uses), 64)
	}
	return e
}

// operand adds one that is read, written, or both.
func (e *effects) operand(o nfp.Operand, read, write bool) {
	mark := func(r int) {
		if read {
			e.reads.add(r)
		}
		if write {
			e.writes.add(r)
		}
	}
	switch o.Kind {
	case nfp.GPRA, nfp.GPRB:
		n, _ := Physical(o)
		mark(resGPR + n)
	case nfp.Xfer:
		if write { // as a destination it is the register to send from
			e.writes.add(resOut + int(o.N))
			if read {
				e.reads.add(resOut + int(o.N))
			}
		} else {
			e.reads.add(resIn + int(o.N))
		}
	case nfp.LM:
		e.reads.add(resPointer + int(o.Ptr))
		if o.Mod != 0 {
			e.writes.add(resPointer + int(o.Ptr))
		}
		switch o.Ptr {
		case 0:
			mark(resFrame + int(o.N&15))
		case 1:
			mark(resVector + int(o.N&15))
		case 3:
			mark(resSpill + int(o.N&15))
		default:
			for k := range 16 {
				mark(resFrame + k)
			}
			mark(resStack)
		}
	}
}
