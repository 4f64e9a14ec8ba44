package mach

import "github.com/nfpkit/nfpkit/nfp"

// liveAtStart returns, by block, the resources that are live at its start. A call
// reads all memory and its argument registers; the firmware reads the result and the
// packet vector after the program.
func liveAtStart(f *Func) []resSet {
	live := make([]resSet, len(f.Blocks))
	reads, writes := make([]resSet, len(f.Blocks)), make([]resSet, len(f.Blocks))
	for i, b := range f.Blocks {
		use := func(in *Inst, e effects) {
			for w, x := range e.reads.without(&writes[i]) {
				reads[i][w] |= x
			}
			for w, x := range overwritten(in, e) {
				writes[i][w] |= x
			}
		}
		b.bundles(func(from, to int) {
			if last := &b.Insts[to-1]; last.Branches() { // it reads before its slots are executed
				var e effects
				e.operand(last.A, true, false)
				if last.ReadsCC() {
					e.reads.add(resCodes)
				}
				use(last, e)
			}
			for k := from; k < to; k++ {
				use(&b.Insts[k], lookedAt(&b.Insts[k]))
			}
		})
	}
	for changed := true; changed; {
		changed = false
		for i := len(f.Blocks) - 1; i >= 0; i-- {
			var out resSet
			f.Blocks[i].Succs(func(t int32) {
				for w, x := range live[t] {
					out[w] |= x
				}
			})
			for w, x := range out.without(&writes[i]) {
				if x |= reads[i][w]; x != live[i][w] {
					live[i][w], changed = x, true
				}
			}
		}
	}
	return live
}

// overwritten returns the resources that an instruction overwrites completely: a write
// through an unknown pointer changes one word and keeps all others.
func overwritten(in *Inst, e effects) resSet {
	if in.Dst.Kind != nfp.LM || in.Dst.Ptr < 2 {
		return e.writes
	}
	var words resSet
	for r := resVector; r < resCount; r++ {
		words.add(r)
	}
	return e.writes.without(&words)
}

// lookedAt is effectOf including the reads after branches that leave the function.
func lookedAt(in *Inst) effects {
	e := effectOf(in)
	if e.writes.has(resPointer) { // LM0 reaches other words from here on
		e.reads.addMask(resFrame, 1<<16-1, 16)
	}
	switch {
	case in.Call == nil:
	case in.Reloc == nfp.RelocDone:
		e.reads.addMask(resVector, 1<<16-1, 16)
	default:
		for r := resIn; r < resCount; r++ {
			if r != resCodes {
				e.reads.add(r)
			}
		}
	}
	return e
}
