package driver

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// A Linux is a program as a release of Linux sees it: what that verifier tells the nfp
// driver, and why it refuses the program. It walks up to a million instructions for
// that, so what is asked of one program starts from one Linux.
type Linux struct {
	kernel  *Kernel
	facts   *verify.Facts
	refused *verify.Rejection
}

// AsLinux verifies the program of f as the kernel k does; if k is nil, as DefaultKernel.
func AsLinux(f *verify.Facts, k *Kernel) *Linux {
	if k == nil {
		own, _, _ := KernelFor(DefaultKernel)
		k = &own
	}
	opt := verify.Options{Linux: true}
	opt.Kernel[0], opt.Kernel[1], _ = releaseNumbers(k.Release)
	facts, refused := verify.Survey(f.Code, &opt)
	if facts == nil {
		facts = f
	}
	return &Linux{kernel: k, facts: facts, refused: refused}
}

// Check says why Linux and its driver do not take the program on a firmware, all
// reasons, in the order of the program: what the verifier cannot prove, and which rules
// of the driver are broken. mtu is the interface's in bytes; 0 means 1500, which an
// interface has until it is changed.
func (l *Linux) Check(p *firmware.Profile, mtu int) []verify.Reason {
	c := newRuleCheck(l.facts, p, l.kernel)
	if mtu != 0 {
		c.mtu = mtu
	}
	var found []verify.Reason
	if l.refused != nil {
		found = append(found, l.refused.Reasons...)
	}
	add := func(r *Rule, i int, msg string) {
		q := reasonAt(l.facts, i)
		q.Reason, q.Message, q.Hint = r.Reason, msg, r.Hint
		found = append(found, q)
	}
	for n := range rules {
		r := &rules[n]
		if r.whole != nil {
			for _, w := range r.whole(c) {
				add(r, w.insn, w.msg)
			}
			continue
		}
		for i := range l.facts.Code.Insns {
			if !l.facts.Reachable[i] {
				continue
			}
			if msg := r.insn(c, i); msg != "" {
				add(r, i, msg)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b verify.Reason) int { return cmp.Compare(a.PC, b.PC) })
	return indirectFirst(l.facts, found)
}

// Warnings says where the driver's code may do something else than the program, and
// where another release may decide otherwise, in the order of the program.
func (l *Linux) Warnings(p *firmware.Profile) []verify.Reason {
	c := newRuleCheck(l.facts, p, l.kernel)
	found := slices.DeleteFunc(slices.Clone(l.facts.Warnings), func(r verify.Reason) bool { return r.Reason != "near-limit" })
	found = append(found, warn(c, faults)...)
	if least, most := l.Words(); least <= p.MaxLen && most > p.MaxLen {
		r := reasonAt(l.facts, 0)
		r.Reason, r.Hint = unsureSize.Reason, unsureSize.Hint
		r.Message = fmt.Sprintf("the driver generates between %d and %d words for the program, firmware %s has room for %d", least, most, p.Name, p.MaxLen)
		found = append(found, r)
	}
	return found
}

// Words bounds the words that the driver makes of the program, padding included.
// Instructions that the kernel removes as dead count nothing.
func (l *Linux) Words() (least, most int) { return linuxWordsOf(l.facts) }

// Use is what the driver remembers of the words of the program's maps, one entry a map
// in order of Code.Maps: words that are added to are counters, which the driver swaps
// in control messages.
func (l *Linux) Use() []nfp.MapUse {
	c := newRuleCheck(l.facts, nil, l.kernel)
	all := make([]nfp.MapUse, len(l.facts.Code.Maps))
	for i, spec := range l.facts.Code.Maps {
		words := make([]nfp.WordUse, (spec.ValueSize+3)/4)
		for w, use := range c.use[i] {
			switch {
			case use&useAtomic != 0:
				words[w] = nfp.UseCounter
			case use&useRead != 0:
				words[w] = nfp.UsePlain
			}
		}
		all[i] = nfp.MapUse{Name: spec.Name, Words: words}
	}
	return all
}
