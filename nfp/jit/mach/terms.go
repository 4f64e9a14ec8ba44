package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// term numbers a symbolic value. Terms are hash-consed: equal ones have one number.
type term int32

const noTerm term = -1

// Kinds of terms.
const (
	startTerm   uint8 = iota // what a resource holds at the start
	unknownTerm              // what it holds there in the other function, of which nothing is known
	resultTerm               // the result of an instruction
	eventTerm                // the result of one whose order matters
	deadTerm                 // condition codes that are dead
)

// Numbers of instructions that stand for others; see terms.word.
const (
	wordEffect int32 = -1 - iota // what an event leaves
	wordExit                     // the branch to the firmware
)

// node is a term's operator. Instructions name their registers, so that a result
// occurs in one resource only.
type node struct {
	kind  uint8
	res   int16 // the resource that holds it, -1 none
	word  int32 // the instruction
	nth   int32 // events: how many equal ones came before
	first int32 // its arguments are terms.args[first:last]
	last  int32
	depth int32 // of the expression, in instructions
}

// terms holds the terms of a check.
type terms struct {
	nodes []node
	all   []term          // arguments of all nodes
	index map[uint64]term // by hash; a collision takes the next free number
	words map[wordKey]int32

	moves0 bool // an instruction of the function moves LM0
}

// newTerms returns the terms of what a function's resources hold at the start, with
// room for the execution of the function.
func newTerms(f *Func) *terms {
	n, moves0 := 0, false
	for _, b := range f.Blocks {
		n += len(b.Insts)
		for i := range b.Insts {
			in := &b.Insts[i]
			moves0 = moves0 || in.Op == nfp.OpCSRWrite && in.Imm == PointerCSR[0] || in.Call != nil && in.Call.Moves0
		}
	}
	t := &terms{index: make(map[uint64]term, 4*n), words: make(map[wordKey]int32, n), moves0: moves0}
	t.nodes = make([]node, resCount+1, resCount+1+4*n)
	for r := range t.nodes {
		t.nodes[r] = node{kind: startTerm, res: int16(r)}
	}
	return t
}

// initial returns what a resource holds at the start.
func initial(r int) term { return term(r) }

func (t *terms) argsOf(n *node) []term { return t.all[n.first:n.last] }

// intern returns the term of an operator and its arguments.
func (t *terms) intern(n node, args []term, more ...term) term {
	h := mix(uint64(n.kind)<<48|uint64(uint16(n.res))<<32|uint64(uint32(n.word)), uint64(n.nth))
	for _, a := range args {
		h = mix(h, uint64(a))
	}
	for _, a := range more {
		h = mix(h, uint64(a))
	}
	for ; ; h++ {
		id, ok := t.index[h]
		if !ok {
			break
		}
		if o := &t.nodes[id]; o.kind == n.kind && o.res == n.res && o.word == n.word && o.nth == n.nth {
			if k := t.argsOf(o); len(k) == len(args)+len(more) && slices.Equal(k[:len(args)], args) && slices.Equal(k[len(args):], more) {
				return id
			}
		}
	}
	n.first = int32(len(t.all))
	t.all = append(append(t.all, args...), more...)
	n.last, n.depth = int32(len(t.all)), 0
	for _, a := range t.argsOf(&n) {
		n.depth = max(n.depth, t.nodes[a].depth+1)
	}
	id := term(len(t.nodes))
	t.nodes = append(t.nodes, n)
	t.index[h] = id
	return id
}

// mix adds a value to a hash (Vigna's splitmix64).
func mix(h, v uint64) uint64 {
	h += v + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// wordKey identifies instructions that do the same with the same values, apart from
// slots and condition codes: whether they are written is part of the state.
type wordKey struct {
	nfp.Inst
	callee, sym      string
	frame, base, ret bool
	reloc            nfp.RelocKind
	helper           int32
	mem              Access
}

func keyOf(in *Inst) wordKey {
	k := wordKey{Inst: in.Inst, frame: in.Frame, base: in.Base, ret: in.Return}
	k.Flags &^= nfp.NoCC
	switch {
	case in.Op == nfp.OpCtxArb || in.Branches():
		k.Defer = 0
	case in.Op == nfp.OpCmd:
		k.Cmd.Ctx = 3
	}
	if in.Call != nil {
		k.callee = in.Call.Callee
	}
	if in.Branches() && !in.AlwaysBranches() { // its target is compared by the checkers
		return k
	}
	k.sym, k.reloc, k.helper, k.mem = in.Sym, in.Reloc, in.Helper, in.Mem
	return k
}

// word numbers instructions that do the same.
func (t *terms) word(in *Inst) int32 {
	k := keyOf(in)
	n, ok := t.words[k]
	if !ok {
		n = int32(len(t.words))
		t.words[k] = n
	}
	return n
}
