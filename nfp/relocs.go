package nfp

// Listings refer to places by number and lose the relocation types that the driver
// keeps in bits 63:56. finish recovers them (docs/firmware-contract.md):
//
//   - words marked in bits 63:56 have the marked type;
//   - a branch into the program moves with it, and so does one to a label;
//   - a branch to .15000 + n calls helper n;
//   - a conditional branch to .15000 goes to the abort stub;
//   - an unconditional branch to .15000 with two slots goes to the firmware (done),
//     or to the shared push routine if the slots load B21 and A21;
//   - any other unconditional branch to .15000 goes to the common exit (out), or to
//     the shared pop routine if the word before it restores A21;
//   - an immed in a slot that loads the address after the slots moves too: it is a
//     return address; so does the callee's address that push gets in B21.
//
// The abort stub is the first branch to done; the exit follows three words later. push
// and pop have nine words each and are found by the branch with three slots at their
// sixth word: rtn[gprB_21] in push, rtn[gprA_21] in pop.

// finish creates the image of the items.
func (a *assembler) finish() {
	im := a.im
	marked := a.explicit
	for i := range a.items {
		it := &a.items[i]
		im.Words = append(im.Words, it.word)
		if it.hasHex && it.hex>>56 != 0 {
			marked = true
		}
	}
	for i := range a.items {
		it := &a.items[i]
		switch {
		case len(it.relocs) > 0:
			for _, r := range it.relocs {
				if r.Kind != RelocNone {
					r.Addr = i
					im.Relocs = append(im.Relocs, r)
				}
			}
		case marked && it.hasHex:
			a.marked(i)
		case it.label:
			a.relocate(i, RelocBranch)
		case !marked && it.ok:
			a.infer(i)
		}
	}
	if a.explicit || len(im.Relocs) == 0 {
		return
	}
	a.nameExternals()
}

func (a *assembler) relocate(i int, k RelocKind) {
	r := Reloc{Addr: i, Kind: k}
	in := &a.items[i].inst
	switch k {
	case RelocHelper:
		r.Helper = int32(in.Target) - ExternalTarget
	case RelocBranch:
		if a.base != 0 {
			w, err := retarget(a.items[i].word, int(in.Target)-a.base)
			if err != nil {
				return
			}
			a.im.Words[i] = w
		}
	case RelocImmed:
		if a.base != 0 {
			w, err := reimmediate(a.items[i].word, uint64(in.Imm)-uint64(a.base))
			if err != nil {
				return
			}
			a.im.Words[i] = w
		}
	}
	a.im.Relocs = append(a.im.Relocs, r)
}

// marked reads the type from bits 63:56.
func (a *assembler) marked(i int) {
	if k := RelocKind(a.items[i].hex >> 56); k != RelocNone && a.items[i].ok {
		a.relocate(i, k)
	}
}

// infer finds the relocation of a word without a mark.
func (a *assembler) infer(i int) {
	in := &a.items[i].inst
	switch {
	case in.HasTarget():
		if k := a.branchKind(i); k != RelocNone {
			a.relocate(i, k)
		}
	case in.Op == OpImmed && a.returnAddress(i):
		a.relocate(i, RelocImmed)
	}
}

func (a *assembler) branchKind(i int) RelocKind {
	in := &a.items[i].inst
	t := int(in.Target)
	switch {
	case t >= a.base && t < a.base+len(a.items):
		return RelocBranch
	case t < ExternalTarget:
		return RelocNone
	case t > ExternalTarget:
		return RelocHelper
	}
	switch {
	case !in.AlwaysBranches():
		return RelocAbort
	case in.Defer == 2 && a.loads(i+1, RegB(21)) && a.loads(i+2, RegA(21)), in.Defer == 2 && a.loads(i+1, RegA(21)) && a.loads(i+2, RegB(21)):
		return RelocPush
	case in.Defer == 2:
		return RelocDone
	case i > 0 && a.items[i-1].ok && a.items[i-1].inst == Move(RegA(21), LocalMem(0, 0)):
		return RelocPop
	}
	return RelocOut
}

// loads reports whether a word is an immed of the register.
func (a *assembler) loads(i int, o Operand) bool {
	return i < len(a.items) && a.items[i].ok && a.items[i].inst.Op == OpImmed && a.items[i].inst.Dst == o
}

// returnAddress reports whether the immed at i, in a slot of an unconditional branch,
// loads the address after the slots, or the callee's address for push.
func (a *assembler) returnAddress(i int) bool {
	in := &a.items[i].inst
	if in.Fn != ImmedAll || in.Amount != 0 || in.Flags&Invert != 0 {
		return false
	}
	for at := i - 1; at >= 0 && at >= i-2; at-- {
		b := &a.items[at]
		if !b.ok || b.inst.Op != OpBr || Cond(b.inst.Fn) != CondAlways || int(b.inst.Defer) < i-at {
			continue
		}
		v := int(in.Imm)
		return v == a.base+at+1+int(b.inst.Defer) ||
			in.Dst == RegB(21) && a.branchKind(at) == RelocPush && v >= a.base && v < a.base+len(a.items)
	}
	return false
}

// nameExternals adds the symbols that relocations to .15000 go to.
func (a *assembler) nameExternals() {
	need := map[RelocKind]bool{}
	done := -1
	for _, r := range a.im.Relocs {
		need[r.Kind] = true
		if r.Kind == RelocDone && done < 0 {
			done = r.Addr
		}
	}
	if done >= 0 && done+3 <= len(a.items) {
		a.nameExternal(need, RelocAbort, done)
		a.nameExternal(need, RelocOut, done+3)
	}
	a.nameExternal(need, RelocPush, a.routine(RegB(21)))
	a.nameExternal(need, RelocPop, a.routine(RegA(21)))
}

func (a *assembler) nameExternal(need map[RelocKind]bool, k RelocKind, addr int) {
	name := externalSymbol[k]
	if _, ok := a.labels[name]; ok || !need[k] || addr < 0 {
		return
	}
	a.im.Symbols = append(a.im.Symbols, Symbol{name, addr})
}

// routine finds the shared routine of nine words that returns through a register, -1
// if there is none.
func (a *assembler) routine(o Operand) int {
	for i := len(a.items) - 4; i >= 5; i-- {
		if in := &a.items[i].inst; a.items[i].ok && in.Op == OpRtn && in.A == o && in.Defer == 3 {
			return i - 5
		}
	}
	return -1
}
