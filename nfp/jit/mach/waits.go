package mach

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// addWaits assigns signals to memory commands and inserts waits as late as possible.
// A wait is due before an instruction that reads arriving data, writes a register
// that is being sent, accesses overlapping memory, or leaves the program's own code.
// As many commands as there are signals can be outstanding, and one wait serves all
// that are due.
//
// Commands stay outstanding into a successor that has no other predecessor. All are
// waited for before a join, except that exits, which many branches share, are copied,
// so that a failed check need not wait before its branch.
func addWaits(f *Func, signals []int) {
	w := &waiter{f: f, preds: f.predecessors(), signals: signals, ends: map[string]int32{}}
	type todo struct {
		block int32
		out   []underWay
	}
	work := []todo{{0, nil}}
	done := make([]bool, len(f.Blocks))
	for len(work) > 0 {
		t := work[len(work)-1]
		work = work[:len(work)-1]
		if done[t.block] {
			continue
		}
		done[t.block] = true
		b := f.Blocks[t.block]
		out := w.block(b, t.out)
		next := func(to *int32) {
			if to == nil || *to < 0 {
				return
			}
			n := *to
			if len(out) > 0 && len(w.preds[n]) > 1 {
				*to = w.endFor(n, out)
				done = append(done, make([]bool, len(f.Blocks)-len(done))...)
				done[*to] = true
				return
			}
			work = append(work, todo{n, out})
		}
		next(&b.Next)
		if in := b.branch(); in != nil {
			next(&in.To)
		}
	}
	f.keepReached()
}

// underWay is an outstanding command.
type underWay struct {
	signal  uint8
	in, out uint32
	mem     Access
}

type waiter struct {
	f       *Func
	preds   [][]int32
	signals []int
	ends    map[string]int32 // copies of exits, by block and outstanding commands
}

// block inserts waits into b and returns the commands outstanding after it.
func (w *waiter) block(b *Block, before []underWay) []underWay {
	state := append([]underWay(nil), before...)
	out := make([]Inst, 0, len(b.Insts)+4)
	live := codesLive(b)
	b.bundles(func(i, j int) {
		for k := i; k < j; k++ {
			var due, kept []underWay
			if due, kept = w.due(&b.Insts[k], state); len(due) > 0 {
				out = insertAt(out, codesStart(out, live[i]), waitFor(due, b.Insts[i].PC))
				state = kept
			}
			w.issue(&b.Insts[k], &state)
		}
		out = append(out, b.Insts[i:j]...)
	})
	if len(state) > 0 && !w.carries(b) {
		at := len(out)
		if b.branch() != nil {
			at = codesStart(out[:at-1], live[len(b.Insts)-1])
		}
		out = insertAt(out, at, waitFor(state, lastPC(b)))
		state = nil
	}
	b.Insts = out
	return state
}

func insertAt(list []Inst, at int, in Inst) []Inst {
	list = append(list, Inst{})
	copy(list[at+1:], list[at:])
	list[at] = in
	return list
}

// codesLive returns, by instruction, whether condition codes are live before it.
func codesLive(b *Block) []bool {
	live := make([]bool, len(b.Insts))
	on := false
	for i := len(b.Insts) - 1; i >= 0; i-- {
		in := &b.Insts[i]
		if in.WritesCC() && !in.DeadCC {
			on = false
		}
		on = on || in.ReadsCC()
		live[i] = on
	}
	return live
}

// codesStart returns the position of a wait after list: if condition codes are live
// there, before their definition.
func codesStart(list []Inst, live bool) int {
	at := len(list)
	for live && at > 0 {
		at--
		in := &list[at]
		if in.WritesCC() && !in.DeadCC {
			live = in.ReadsCC()
		}
	}
	for at > 0 && at < len(list) && list[at].Glue {
		at--
	}
	return at
}

// carries reports whether commands may stay outstanding after b: its successor has no
// other predecessor, or is an exit, of which each path may have a copy. An exit that
// has its waits already cannot be copied: its commands' signals are assigned.
func (w *waiter) carries(b *Block) bool {
	ok := true
	b.Succs(func(t int32) {
		ok = ok && (len(w.preds[t]) <= 1 || w.f.isEnd(w.f.Blocks[t]) && !hasWait(w.f.Blocks[t]))
	})
	return ok
}

// hasWait reports whether a block waits anywhere.
func hasWait(b *Block) bool {
	return slices.ContainsFunc(b.Insts, func(in Inst) bool { return in.Op == nfp.OpCtxArb })
}

// due returns the commands for which the instruction must wait, and the others.
func (w *waiter) due(in *Inst, state []underWay) (due, kept []underWay) {
	var reads, writes uint32
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		if o.Kind == nfp.Xfer {
			reads |= 1 << o.N
		}
	}
	if in.Dst.Kind == nfp.Xfer {
		writes |= 1 << in.Dst.N
	}
	command := in.Op == nfp.OpCmd
	for _, u := range state {
		must := u.in&reads != 0 || u.out&writes != 0 || in.Call != nil || in.Op == nfp.OpCtxArb
		if command {
			must = must || u.in&in.In != 0 || u.mem.conflicts(&in.Mem)
		}
		if must {
			due = append(due, u)
		} else {
			kept = append(kept, u)
		}
	}
	if command && in.Flags&nfp.Indirect == 0 && len(kept) == len(w.signals) {
		return state, nil // all signals are taken
	}
	return gather(due, kept)
}

// gather adds to the commands that are due those that one wait may serve as well:
// other reads and, if it serves several anyway, all that are outstanding.
func gather(due, kept []underWay) (now, later []underWay) {
	if len(due) == 0 {
		return nil, kept
	}
	reads := slices.ContainsFunc(kept, func(u underWay) bool { return u.in != 0 })
	if reads || len(due) > 1 {
		return append(due, kept...), nil
	}
	return due, kept
}

// issue records a command, under the first signal that is free.
func (w *waiter) issue(in *Inst, state *[]underWay) {
	if in.Op != nfp.OpCmd || in.Flags&nfp.Indirect != 0 {
		return
	}
	used := uint16(0)
	for _, u := range *state {
		used |= 1 << u.signal
	}
	for _, n := range w.signals {
		if used>>n&1 == 0 {
			in.Cmd.Sig = uint8(n)
			*state = append(*state, underWay{uint8(n), in.In, in.Out, in.Mem})
			return
		}
	}
	panic("addWaits: no signal is free")
}

// waitFor returns a wait for commands, with their transfer registers.
func waitFor(due []underWay, pc int32) Inst {
	in := Inst{Inst: nfp.Inst{Op: nfp.OpCtxArb}, PC: pc, To: -1}
	for _, u := range due {
		in.Imm |= 1 << u.signal
		in.In, in.Out = in.In|u.in, in.Out|u.out
	}
	return in
}

// endFor returns a copy of exit n that waits for the outstanding commands.
func (w *waiter) endFor(n int32, state []underWay) int32 {
	key := fmt.Sprint(n)
	for _, u := range state {
		key += fmt.Sprint(" ", u.signal, u.in, u.out)
	}
	if e, ok := w.ends[key]; ok {
		return e
	}
	old := w.f.Blocks[n]
	b := &Block{Insts: cloneInsts(old.Insts), Next: -1, Depth: old.Depth}
	w.block(b, state)
	w.f.Blocks = append(w.f.Blocks, b)
	e := int32(len(w.f.Blocks) - 1)
	w.ends[key] = e
	return e
}
