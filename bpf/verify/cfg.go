package verify

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// A block is a run of instructions [start, end) entered only at its start. It ends
// before a jump target and after a jump, an exit or a bpf-to-bpf call.
type block struct {
	start, end int
	succs      []int32 // taken first, then fall-through
	preds      int     // edges in
	head       bool    // of a component of the weak topological order
}

// A graph is one function's blocks, and the order in which they are visited.
// Blocks that no jump reaches are not in the order.
type graph struct {
	blocks []block
	order  []item
}

// An item is a block, or a component: a loop head followed by the loop's body. Items
// form a weak topological ordering (Bourdoncle, "Efficient chaotic iteration
// strategies with widenings", 1993). Every edge goes forward in it, or to the head of
// a component that contains the edge's source.
type item struct {
	block int32
	loop  bool
	body  []item
}

// graphs divides every function into blocks. at[i] is the block that instruction i
// is in, an index into its function's blocks.
func graphs(c *code.Code) (gs []*graph, at []int32) {
	at = make([]int32, len(c.Insns))
	leader := make([]bool, len(c.Insns)+1)
	for i := range c.Insns {
		ins := &c.Insns[i]
		if ins.Target != code.None {
			leader[ins.Target] = true
		}
		if ins.Target != code.None || isExit(ins) || isCall(ins) {
			leader[i+1] = true
		}
	}
	for _, f := range c.Funcs {
		g := &graph{}
		for i := f.Start; i < f.End; i++ {
			if i == f.Start || leader[i] {
				g.blocks = append(g.blocks, block{start: i})
			}
			at[i] = int32(len(g.blocks) - 1)
			g.blocks[at[i]].end = i + 1
		}
		for b := range g.blocks {
			g.link(c, b, at)
		}
		g.sort()
		gs = append(gs, g)
	}
	return gs, at
}

func isExit(ins *code.Insn) bool { return ins.OpCode.JumpOp() == asm.Exit }

// isCall reports whether ins calls another function of the program.
func isCall(ins *code.Insn) bool { return ins.Callee != code.None && ins.OpCode.Class().IsJump() }

func isBranch(ins *code.Insn) bool {
	return ins.Target != code.None && ins.OpCode.JumpOp() != asm.Ja
}

func (g *graph) link(c *code.Code, b int, at []int32) {
	bl := &g.blocks[b]
	last := &c.Insns[bl.end-1]
	if last.Target != code.None {
		bl.succs = append(bl.succs, at[last.Target])
	}
	if !isExit(last) && (last.Target == code.None || isBranch(last)) && b+1 < len(g.blocks) {
		bl.succs = append(bl.succs, int32(b+1))
	}
	for _, s := range bl.succs {
		g.blocks[s].preds++
	}
}

// sort builds the weak topological order by Tarjan's algorithm, applied again
// inside every strongly connected component.
func (g *graph) sort() {
	w := wto{g: g, dfn: make([]int32, len(g.blocks))}
	w.visit(0, &g.order)
	reverse(g.order)
}

type wto struct {
	g     *graph
	dfn   []int32 // 0 unvisited, done when placed
	count int32
	stack []int32
}

const placed = int32(1<<31 - 1)

// visit appends, in reverse, the order of what is reachable from b and not yet
// placed. It returns the least depth-first number b's component reaches.
func (w *wto) visit(b int32, out *[]item) int32 {
	w.stack = append(w.stack, b)
	w.count++
	w.dfn[b] = w.count
	head, loop := w.count, false
	for _, s := range w.g.blocks[b].succs {
		low := w.dfn[s]
		if low == 0 {
			low = w.visit(s, out)
		}
		if low <= head {
			head, loop = low, true
		}
	}
	if head != w.dfn[b] {
		return head
	}
	w.dfn[b] = placed
	top := w.pop()
	if !loop {
		*out = append(*out, item{block: b})
		return head
	}
	for top != b { // the component's other blocks are ordered among themselves
		w.dfn[top] = 0
		top = w.pop()
	}
	var body []item
	for _, s := range w.g.blocks[b].succs {
		if w.dfn[s] == 0 {
			w.visit(s, &body)
		}
	}
	reverse(body)
	w.g.blocks[b].head = true
	*out = append(*out, item{block: b, loop: true, body: body})
	return head
}

func (w *wto) pop() int32 {
	b := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	return b
}

func reverse(s []item) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}
