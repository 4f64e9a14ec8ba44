package mach

import (
	"fmt"

	"github.com/nfpkit/nfpkit/nfp"
)

// checkSchedule shows that scheduling a block kept its meaning, independently of how
// schedule works. It executes both orders on symbols (symexec.go) from equal states.
// Afterwards all resources must hold equal terms, except condition codes, which are
// dead at the end of a block. The branch must test equal terms, and the calls must be
// equal. The commands must be equal too, those on overlapping bytes in the same order.
func checkSchedule(f *Func, before [][]Inst) error {
	t := newTerms(f)
	for i, b := range f.Blocks {
		was, err := t.block(before[i], 0)
		if err != nil {
			return fmt.Errorf("%s b%d before: %w", f.Name, i, err)
		}
		is, err := t.block(b.Insts, 1)
		if err == nil {
			err = was.same(is)
		}
		if err != nil {
			return fmt.Errorf("%s b%d: %w", f.Name, i, err)
		}
	}
	return nil
}

// blockEnd is what a block leaves.
type blockEnd struct {
	*executor
	branch *Inst // nil if none ends the block
	tested term  // by the branch
}

// block executes a block's instructions. The branch at the end tests its operand
// before its slots are executed.
func (t *terms) block(insts []Inst, side int32) (*blockEnd, error) {
	e := &blockEnd{executor: t.start()}
	e.side = side
	order := make([]*Inst, len(insts))
	for i := range insts {
		order[i] = &insts[i]
	}
	slots := order[len(order):]
	if n := len(insts); n > 0 {
		if last := &insts[n-1]; last.Branches() && (last.Call == nil || last.Reloc == nfp.RelocDone) {
			e.branch = last
			order, slots = order[:n-1-int(last.Slots)], order[n-1-int(last.Slots):n-1]
		}
	}
	err := e.execute(order)
	if err == nil && e.branch != nil {
		e.tested, err = e.test(e.branch)
	}
	if err == nil {
		err = e.steps(slots)
	}
	return e, err
}

// same compares what two orders left.
func (e *blockEnd) same(o *blockEnd) error {
	switch {
	case (e.branch == nil) != (o.branch == nil), e.branch != nil && e.branch.To != o.branch.To:
		return fmt.Errorf("the branch goes elsewhere")
	case e.tested != o.tested:
		return fmt.Errorf("the branch tests another value")
	case e.filling != o.filling, e.sending != o.sending:
		return fmt.Errorf("other commands are outstanding")
	}
	for r := range resCount {
		if r != resCodes && e.holds[r] != o.holds[r] {
			return fmt.Errorf("%s is another", resourceName(r))
		}
	}
	calls, commands := e.split()
	callsNow, commandsNow := o.split()
	if err := sameCalls(calls, callsNow); err != nil {
		return err
	}
	return sameCommands(commands, commandsNow)
}

// split returns the calls and the commands among the events.
func (x *executor) split() (calls, commands []event) {
	for _, e := range x.events {
		switch {
		case e.in.Call != nil:
			calls = append(calls, e)
		case e.in.Op == nfp.OpCmd:
			commands = append(commands, e)
		}
	}
	return calls, commands
}

func sameCalls(was, is []event) error {
	if len(was) != len(is) {
		return fmt.Errorf("%d calls became %d", len(was), len(is))
	}
	for i := range was {
		if was[i].term != is[i].term {
			return fmt.Errorf("call %d is given other values", i)
		}
	}
	return nil
}

// sameCommands compares what memory sees.
func sameCommands(was, is []event) error {
	if len(was) != len(is) {
		return fmt.Errorf("%d commands became %d", len(was), len(is))
	}
	place := map[term]int{}
	for k := range is {
		place[is[k].term] = k
	}
	for i, c := range was {
		at, ok := place[c.term]
		if !ok {
			return fmt.Errorf("%s is another", c.in.text())
		}
		for _, b := range was[:i] {
			if place[b.term] > at && b.in.Mem.conflicts(&c.in.Mem) {
				return fmt.Errorf("%s and %s were exchanged", b.in.text(), c.in.text())
			}
		}
	}
	return nil
}
