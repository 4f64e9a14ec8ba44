package mach

import (
	"sort"

	"github.com/nfpkit/nfpkit/nfp"
)

// assignBanks assigns each virtual register to bank A or B. An instruction reads at
// most one general register from each bank, so its two source registers must lie in
// different banks; some operands must come from a certain bank. These are parity
// constraints, kept in a union-find structure with parity. They are added innermost
// loops first; one that contradicts earlier ones is satisfied by a copy of one operand
// to the other bank. Copies between registers then prefer the same bank, so that they
// can be coalesced. The remaining registers go to the bank with the lower pressure.
//
// The result is one bank (0 A, 1 B) for each virtual register. Every instruction then
// satisfies its constraints; copies precede the bundle that needs them.
func assignBanks(f *Func) []uint8 {
	u := newParity(f.VRegs + 1)
	fixed := uint32(f.VRegs) // stands for bank A
	var wants []bankWant
	for _, b := range f.Blocks {
		for i := range b.Insts {
			wants = appendWants(wants, &b.Insts[i], fixed, b.Depth)
		}
	}
	for _, b := range f.Blocks {
		for i := range b.Insts {
			if in := &b.Insts[i]; in.isCopy() {
				wants = appendPreference(wants, in, fixed, b.Depth)
			}
		}
	}
	sort.SliceStable(wants, func(i, j int) bool { return wants[i].depth > wants[j].depth })
	for i := range wants {
		w := &wants[i]
		u.unite(w.x, w.y, w.parity)
	}
	bank := u.colour(f, fixed)
	improveBanks(bank, wants)
	return mendBanks(f, bank)
}

// bankWant is a constraint or preference: x and y lie in the same bank (parity
// 0) or not (1).
type bankWant struct {
	x, y   uint32
	parity uint8
	depth  int32 // loops around it
}

// fixedBank returns the banks that the two operands must come from, -1 for either.
func fixedBank(in *Inst) (a, b int) {
	switch {
	case in.Op == nfp.OpCmd && in.Cmd.Mode == 1:
		return 1, 0
	case in.Op == nfp.OpCmd:
		return 0, 1
	case in.PortA:
		return 0, -1
	}
	return -1, -1
}

// pairOf is the two operands that must lie in different banks.
func pairOf(in *Inst) (x, y *nfp.Operand) {
	switch in.Op {
	case nfp.OpLdField:
		return &in.Dst, &in.B
	case nfp.OpCmd:
		return nil, nil
	}
	return &in.A, &in.B
}

func appendWants(wants []bankWant, in *Inst, fixed uint32, depth int32) []bankWant {
	add := func(o nfp.Operand, bank int) {
		if o.Kind == nfp.Virtual && bank >= 0 {
			wants = append(wants, bankWant{x: o.N, y: fixed, parity: uint8(bank), depth: depth})
		}
	}
	a, b := fixedBank(in)
	add(in.A, a)
	add(in.B, b)
	x, y := pairOf(in)
	if x == nil || !isReg(*x) || !isReg(*y) {
		return wants
	}
	switch {
	case x.Kind == nfp.Virtual && y.Kind == nfp.Virtual:
		wants = append(wants, bankWant{x: x.N, y: y.N, parity: 1, depth: depth})
	case x.Kind == nfp.Virtual:
		add(*x, 1-bankNumber(*y))
	case y.Kind == nfp.Virtual:
		add(*y, 1-bankNumber(*x))
	}
	return wants
}

func bankNumber(o nfp.Operand) int {
	if o.Kind == nfp.GPRB {
		return 1
	}
	return 0
}

// parity is a union-find structure over nodes with a bank each, known relative
// to the root of their set.
type parity struct {
	root  []uint32
	flip  []uint8 // relative to root
	count []uint32
}

func newParity(n int) *parity {
	p := &parity{root: make([]uint32, n), flip: make([]uint8, n), count: make([]uint32, n)}
	for i := range p.root {
		p.root[i], p.count[i] = uint32(i), 1
	}
	return p
}

// find returns the root of x's set and whether x's bank differs from the root's.
func (p *parity) find(x uint32) (root uint32, flip uint8) {
	for root = x; p.root[root] != root; root = p.root[root] {
		flip ^= p.flip[root]
	}
	for rest := flip; p.root[x] != root && x != root; {
		up, f := p.root[x], p.flip[x]
		p.root[x], p.flip[x] = root, rest
		rest ^= f
		x = up
	}
	return root, flip
}

// unite adds a relation and reports whether it agrees with the earlier ones.
func (p *parity) unite(x, y uint32, rel uint8) bool {
	rx, fx := p.find(x)
	ry, fy := p.find(y)
	if rx == ry {
		return fx^fy == rel
	}
	if p.count[rx] < p.count[ry] {
		rx, ry = ry, rx
	}
	p.root[ry] = rx
	p.flip[ry] = fx ^ fy ^ rel
	p.count[rx] += p.count[ry]
	return true
}

// appendPreference adds the preference that source and destination of a copy
// lie in one bank.
func appendPreference(wants []bankWant, in *Inst, fixed uint32, depth int32) []bankWant {
	node := func(o nfp.Operand) (uint32, uint8) {
		if o.Kind == nfp.Virtual {
			return o.N, 0
		}
		return fixed, uint8(bankNumber(o))
	}
	x, bx := node(in.Dst)
	y, by := node(in.B)
	return append(wants, bankWant{x: x, y: y, parity: bx ^ by, depth: depth})
}

// improveBanks moves single registers to the other bank as long as that satisfies more
// weight than it violates (Kernighan and Lin, one move at a time). Each violated
// preference costs a copy.
func improveBanks(bank []uint8, wants []bankWant) {
	at := func(r uint32) uint8 {
		if int(r) < len(bank) {
			return bank[r]
		}
		return 0
	}
	gain := make([]int32, len(bank)+1) // of moving the register
	cost := func(w *bankWant) int32 { return 1 << min(3*w.depth, 18) }
	broken := false
	count := func(w *bankWant) {
		c := cost(w)
		if at(w.x)^at(w.y) != w.parity {
			broken = true
		} else {
			c = -c
		}
		gain[w.x] += c
		gain[w.y] += c
	}
	for i := range wants {
		if w := &wants[i]; w.x != w.y {
			count(w)
		}
	}
	if !broken {
		return
	}
	near := make([][]int32, len(bank)) // preferences by register
	for i := range wants {
		for _, r := range [...]uint32{wants[i].x, wants[i].y} {
			if int(r) < len(bank) && wants[i].x != wants[i].y {
				near[r] = append(near[r], int32(i))
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for r := range bank {
			if gain[r] <= 0 {
				continue
			}
			bank[r] ^= 1
			changed = true
			gain[r] = -gain[r]
			for _, i := range near[r] {
				w := &wants[i]
				other := w.x ^ w.y ^ uint32(r)
				c := 2 * cost(w)
				if at(w.x)^at(w.y) == w.parity {
					c = -c
				}
				gain[other] += c
			}
		}
	}
}

// colour chooses the banks of the sets that no constraint ties to one. Sets
// whose registers have the longest live ranges come first, so that both banks
// get about the same load.
func (p *parity) colour(f *Func, fixed uint32) []uint8 {
	weight := make([][2]int64, len(p.root)) // by root: of its nodes with flip 0 and 1
	span := spans(f)
	for x := range uint32(f.VRegs) {
		r, flip := p.find(x)
		weight[r][flip] += span[x]
	}
	side := make([]uint8, len(p.root))
	var total [2]int64
	home, flip := p.find(fixed)
	side[home] = flip // so that fixed itself is in bank A
	total[0] += weight[home][side[home]]
	total[1] += weight[home][1^side[home]]
	var roots []uint32
	for x := range uint32(f.VRegs) {
		if r, _ := p.find(x); r == x && x != home {
			roots = append(roots, x)
		}
	}
	gap := func(r uint32) int64 { return max(weight[r][0]-weight[r][1], weight[r][1]-weight[r][0]) }
	sort.SliceStable(roots, func(i, j int) bool { return gap(roots[i]) > gap(roots[j]) })
	for _, r := range roots {
		if (weight[r][0] > weight[r][1]) == (total[0] > total[1]) {
			side[r] = 1
		}
		total[side[r]] += weight[r][0]
		total[1^side[r]] += weight[r][1]
	}
	bank := make([]uint8, f.VRegs)
	for x := range uint32(f.VRegs) {
		r, flip := p.find(x)
		bank[x] = side[r] ^ flip
	}
	return bank
}

// spans returns the distance between a register's first and last mention, by
// register.
func spans(f *Func) []int64 {
	first, last := make([]int64, f.VRegs), make([]int64, f.VRegs)
	at := int64(0)
	for _, b := range f.Blocks {
		for i := range b.Insts {
			at++
			in := &b.Insts[i]
			for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
				if o.Kind == nfp.Virtual {
					if first[o.N] == 0 {
						first[o.N] = at
					}
					last[o.N] = at
				}
			}
		}
	}
	for i := range last {
		last[i] -= first[i] - 1
	}
	return last
}

// mendBanks copies operands that lie in the wrong bank to the right one, before
// the bundle that reads them.
func mendBanks(f *Func, bank []uint8) []uint8 {
	m := &bankMender{f: f, bank: bank}
	for _, b := range f.Blocks {
		m.block(b)
	}
	return m.bank
}

type bankMender struct {
	f      *Func
	bank   []uint8
	copies []Inst
	made   []bankCopy // in this bundle
}

type bankCopy struct{ from, to nfp.Operand }

func (m *bankMender) block(b *Block) {
	var out []Inst // nil until something is copied
	b.bundles(func(i, j int) {
		m.copies, m.made = m.copies[:0], m.made[:0]
		for k := i; k < j; k++ {
			m.inst(&b.Insts[k])
		}
		if len(m.copies) > 0 && out == nil {
			out = append(make([]Inst, 0, len(b.Insts)+8), b.Insts[:i]...)
		}
		if out != nil {
			out = append(out, m.copies...)
			out = append(out, b.Insts[i:j]...)
		}
	})
	if out != nil {
		b.Insts = out
	}
}

func (m *bankMender) of(o nfp.Operand) int {
	if o.Kind == nfp.Virtual {
		return int(m.bank[o.N])
	}
	return bankNumber(o)
}

func (m *bankMender) inst(in *Inst) {
	a, b := fixedBank(in)
	m.need(in, &in.A, a)
	m.need(in, &in.B, b)
	x, y := pairOf(in)
	if x == nil || !isReg(*x) || !isReg(*y) || m.of(*x) != m.of(*y) {
		return
	}
	// A merge's destination and a shift amount keep their bank.
	if in.Op == nfp.OpLdField || in.PortA {
		m.need(in, y, 1-m.of(*x))
		return
	}
	m.need(in, x, 1-m.of(*y))
}

// need copies operand o to bank if it lies in the other one.
func (m *bankMender) need(in *Inst, o *nfp.Operand, bank int) {
	if bank < 0 || !isReg(*o) || m.of(*o) == bank {
		return
	}
	for _, c := range m.made {
		if c.from == *o && m.of(c.to) == bank {
			*o = c.to
			return
		}
	}
	t := nfp.Operand{Kind: nfp.Virtual, N: uint32(m.f.VRegs)}
	m.f.VRegs++
	m.bank = append(m.bank, uint8(bank))
	m.copies = append(m.copies, copyInst(t, *o, in.PC))
	m.made = append(m.made, bankCopy{*o, t})
	*o = t
}
