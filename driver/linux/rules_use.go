package linux

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/verify"
)

// wordUse is the use of a 4-byte word of a map value that the Linux driver records.
type wordUse uint8

const (
	useRead wordUse = 1 << iota
	useAtomic
	useUpdate // bpf_map_update_elem may have stored a value other than zero there
)

// recordUse marks the map words that the program loads, adds to and updates.
func (v *View) recordUse() {
	for _, spec := range v.facts.Code.Maps {
		v.use = append(v.use, make([]wordUse, (spec.ValueSize+3)/4))
	}
	d := v.driver()
	for i := range d.facts.Code.Insns {
		d.eachWord(i, func(m, word int, use wordUse) { v.use[m][word] |= use })
	}
}

// eachWord calls fn for each map word that instruction i may use. An offset that
// varies on one path is refused in any case, but the driver may walk another path
// first.
func (v *View) eachWord(i int, fn func(m, word int, use wordUse)) {
	if !v.facts.Reachable[i] {
		return
	}
	op := v.insn(i).OpCode
	m, use := v.facts.Mem[i], useRead
	switch {
	case op.Class().IsJump():
		v.eachUpdated(i, fn)
		return
	case m == nil || m.Kind != verify.PtrMapValue:
		return
	case op.Class().IsStore() && op.Mode() != asm.AtomicMode:
		return
	case op.Class().IsStore():
		use = useAtomic
	}
	for _, at := range m.Maps {
		words := func(first, end int64) {
			for w := max(first, 0) / 4; 4*w < end && w < int64(len(v.use[at])); w++ {
				fn(at, int(w), use)
			}
		}
		if m.Variable {
			words(m.Min, m.Max+int64(m.Size))
		}
		for _, p := range places(m) {
			words(p, p+int64(m.Size))
		}
	}
}

// places returns the offsets that an access reaches, if none varies on a single path.
func places(m *verify.Access) []int64 {
	if m.Places == nil && !m.Variable {
		return []int64{m.Min}
	}
	return m.Places
}

// eachUpdated calls fn for the words that a bpf_map_update_elem may set to other than
// zero.
func (v *View) eachUpdated(i int, fn func(m, word int, use wordUse)) {
	ins, call := v.insn(i), v.facts.Calls[i]
	if call == nil || !ins.IsBuiltinCall() || asm.BuiltinFunc(ins.Constant) != asm.FnMapUpdateElem {
		return
	}
	for _, at := range call.Maps {
		for b, zero := range call.Zeros {
			if !zero && b/4 < len(v.use[at]) {
				fn(at, b/4, useUpdate)
			}
		}
	}
}

// clash returns the message for a word that instruction i uses as mine and any
// instruction uses as theirs.
func (c *ruleCheck) clash(i int, mine, theirs wordUse, text string) string {
	var msg string
	c.eachWord(i, func(m, word int, use wordUse) {
		if use&mine != 0 && c.use[m][word]&theirs != 0 && msg == "" {
			msg = fmt.Sprintf(text, 4*word, 4*word+3, c.facts.Code.Maps[m].Name)
		}
	})
	return msg
}

func mapWordUse(c *ruleCheck, i int) string {
	const text = "bytes %d to %d of map %s are both read and added to"
	if msg := c.clash(i, useRead, useAtomic, text); msg != "" {
		return msg
	}
	return c.clash(i, useAtomic, useRead, text)
}

func mapCounter(c *ruleCheck, i int) string {
	return c.clash(i, useAtomic, useUpdate, "bytes %d to %d of map %s are added to, and bpf_map_update_elem may have set them to something else than zero")
}

func mapUpdate(c *ruleCheck, i int) string {
	return c.clash(i, useUpdate, useAtomic, "bytes %d to %d of map %s are a counter, and the update may set them to something else than zero")
}
