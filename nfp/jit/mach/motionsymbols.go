package mach

import (
	"encoding/binary"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// How CheckMotion executes words on symbols.

// symbol numbers a content.
type symbol int32

// Kinds of contents.
const (
	heldByOld   uint8 = iota // what the old function holds in a resource at the last pair of places
	heldByNew                // what the new one holds there, of which nothing is known
	made                     // the result of an instruction
	madeByEvent              // the same of a word that must come in order
	dead                     // dead condition codes
)

// content is a symbol's meaning. Instructions name their registers, so a result occurs
// in one resource only.
type content struct {
	kind uint8
	word int32
	res  int // the resource that holds it
	args []symbol
	deep int // depth of the expression, in instructions
}

// resPrevious is the state that an instruction passes to the next one.
const resPrevious = resCount

// contents is a symbol for each resource.
type contents [resCount + 1]symbol

// symbol returns the number of a content (hash consing); event distinguishes contents
// that the instruction alone does not determine.
func (v *ways) symbol(c content, event int) symbol {
	key := binary.AppendVarint([]byte{c.kind}, int64(c.word))
	key = binary.AppendVarint(key, int64(c.res))
	key = binary.AppendVarint(key, int64(event))
	for _, a := range c.args {
		key = binary.AppendVarint(key, int64(a))
	}
	id, ok := v.ids[string(key)]
	if !ok {
		id = symbol(len(v.all))
		v.ids[string(key)] = id
		c.args, c.deep = slices.Clone(c.args), 0
		for _, a := range c.args {
			c.deep = max(c.deep, v.all[a].deep+1)
		}
		v.all = append(v.all, c)
	}
	return id
}

func (v *ways) held(r int) symbol { return v.symbol(content{kind: heldByOld, res: r}, 0) }

// engine is one function while it is executed on symbols.
type engine struct {
	v      *ways
	side   int32 // 0 old, 1 new
	holds  contents
	began  contents          // held at the start
	again  map[symbol]symbol // other names of contents
	events []event
}

// event is a word whose order matters, and all that it sees.
type event struct {
	step
	seen symbol
}

func (e *engine) execute(words []step) {
	for _, x := range words {
		e.step(x)
	}
}

func (e *engine) step(x step) {
	fx := effectOf(x.in)
	c := content{kind: made, word: e.v.word(x.in), res: -1}
	fx.reads.each(func(r int) { c.args = append(c.args, e.holds[r]) })
	if leans(x) {
		c.args = append(c.args, e.holds[resPrevious])
	}
	n := 0
	if inOrder(x.in) {
		c.kind, n = madeByEvent, len(e.events)
	}
	seen := e.v.symbol(c, n)
	if inOrder(x.in) {
		e.events = append(e.events, event{x, seen})
	}
	was := e.holds
	fx.writes.each(func(r int) {
		w := c
		w.res = r
		if r >= resFrame && x.in.Dst.Kind == nfp.LM && x.in.Dst.Ptr >= 2 { // one word of many
			w.args = append(slices.Clone(c.args), was[r])
		}
		if r == resCodes && x.in.DeadCC {
			w = content{kind: dead, word: e.side, res: r}
		}
		e.holds[r] = e.v.symbol(w, n)
		if held, ok := e.again[e.holds[r]]; ok {
			e.holds[r] = held
		}
	})
	for p, first := range [...]int{resFrame, resVector} { // the words that a pointer reaches are others now
		if fx.writes.has(resPointer + p) {
			for r := first; r < first+16; r++ {
				e.holds[r] = e.v.symbol(content{kind: made, word: -1, res: r, args: []symbol{e.holds[r], e.holds[resPointer+p]}}, 0)
			}
		}
	}
	e.holds[resPrevious] = seen
}

// returns applies a call's effect on registers and codes, the same in both functions.
func (e *engine) returns(c *Inst) {
	n := len(e.events)
	for r := range 64 {
		if c.Call.Clobbers>>r&1 != 0 {
			e.holds[resGPR+r] = e.v.symbol(content{kind: madeByEvent, word: -2, res: resGPR + r}, n)
		}
	}
	e.holds[resCodes] = e.v.symbol(content{kind: madeByEvent, word: -2, res: resCodes}, n)
	e.holds[resPrevious] = e.v.symbol(content{kind: madeByEvent, word: -2, res: resPrevious}, n)
}

// shallow is the depth up to which an expression is expanded although the old function
// holds its value.
const shallow = 4

// expression rewrites contents over the old function's resources.
type expression struct {
	v     *ways
	old   *engine
	was   *relation // relation at the start of both
	deep  bool
	known map[symbol]symbol
}

// made returns the expression over instructions, noSymbol if there is none.
func (e *expression) made(x symbol) symbol {
	c := e.v.all[x]
	if c.kind == heldByOld { // its earlier expression may be known
		for _, m := range [...]symbol{e.was.makes[0][c.res], e.was.makes[1][c.res]} {
			if m != noSymbol && e.was.same.has(c.res) {
				if y := e.made(m); y != noSymbol {
					return y
				}
			}
		}
	}
	if c.kind != made {
		return noSymbol
	}
	args := slices.Clone(c.args)
	for i, a := range args {
		if args[i] = e.tell(a); args[i] == noSymbol {
			return noSymbol
		}
	}
	c.args = args
	return e.v.symbol(c, 0)
}

func (e *expression) tell(x symbol) symbol {
	if y, ok := e.known[x]; ok {
		return y
	}
	c, y := e.v.all[x], noSymbol
	held := c.res >= 0 && e.old.holds[c.res] == x
	if !held || e.deep && c.deep <= shallow {
		e.known[x] = noSymbol // not by itself
		y = e.made(x)
	}
	if y == noSymbol && held {
		y = e.v.held(c.res)
	}
	e.known[x] = y
	return y
}

// leans reports whether a word takes something from the word right before it.
func leans(s step) bool {
	return s.in.ReadsPrevious() || s.in.Op == nfp.OpMul && nfp.MulStep(s.in.Fn) != nfp.MulStart || s.before != nil && s.before.Op == nfp.OpCSRRead
}

// wordKey identifies instructions with the same effect, apart from slots and dead
// condition codes.
type wordKey struct {
	nfp.Inst
	callee, sym      string
	frame, base, ret bool
	reloc            nfp.RelocKind
	helper           int32
	in, out          uint32
	mem              Access
}

func keyOfWord(in *Inst, branch bool) wordKey {
	k := wordKey{Inst: in.Inst, frame: in.Frame, base: in.Base, ret: in.Return}
	if in.DeadCC {
		k.Flags |= nfp.NoCC
	}
	if branch || in.Op == nfp.OpCtxArb {
		k.Defer = 0
	}
	if in.Op == nfp.OpCmd && in.Swaps() {
		k.Cmd.Ctx = 0
	}
	if in.Call != nil {
		k.callee = in.Call.Callee
	}
	if branch && !in.always() { // its target is compared by the walk
		return k
	}
	k.sym, k.reloc, k.helper, k.in, k.out, k.mem = in.Sym, in.Reloc, in.Helper, in.In, in.Out, in.Mem
	return k
}

// sameWord reports whether two words do the same.
func sameWord(x, y *Inst, branch bool) bool { return keyOfWord(x, branch) == keyOfWord(y, branch) }

// word numbers words that do the same.
func (v *ways) word(in *Inst) int32 {
	k := keyOfWord(in, false)
	n, ok := v.words[k]
	if !ok {
		n = int32(len(v.words))
		v.words[k] = n
	}
	return n
}
