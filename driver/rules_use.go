package driver

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/verify"
)

// wordUse is what the Linux driver remembers of a 4-byte word of a map value.
type wordUse uint8

const (
	useRead wordUse = 1 << iota
	useAtomic
)

// recordUse marks the map words that the program loads and adds to.
func (c *ruleCheck) recordUse() {
	for i := range c.facts.Code.Insns {
		c.eachWord(i, func(name string, word int, use wordUse) {
			for len(c.use[name]) <= word {
				c.use[name] = append(c.use[name], 0)
			}
			c.use[name][word] |= use
		})
	}
}

// eachWord calls fn for each map word that instruction i surely uses.
func (c *ruleCheck) eachWord(i int, fn func(name string, word int, use wordUse)) {
	m := c.facts.Mem[i]
	if !c.facts.Reachable[i] || m == nil || m.Kind != verify.PtrMapValue || m.Min != m.Max || m.Min < 0 {
		return
	}
	op, use := c.insn(i).OpCode, useRead
	if op.Class().IsStore() {
		if op.Mode() != asm.AtomicMode {
			return
		}
		use = useAtomic
	}
	for _, at := range m.Maps {
		for b := int(m.Min) &^ 3; b < int(m.Min)+m.Size; b += 4 {
			fn(c.facts.Code.Maps[at].Name, b/4, use)
		}
	}
}

func mapWordUse(c *ruleCheck, i int) string {
	var msg string
	c.eachWord(i, func(name string, word int, _ wordUse) {
		if c.use[name][word] == useRead|useAtomic {
			msg = fmt.Sprintf("bytes %d to %d of map %s are both read and added to", 4*word, 4*word+3, name)
		}
	})
	return msg
}
