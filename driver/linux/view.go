// Package linux predicts how Linux's nfp driver treats a program for a card: whether it
// accepts the program, what its code costs, and where its code does something else.
//
// NewView verifies a program once as a release of Linux does (KernelFor), and its methods
// need no second walk. Check returns the reasons for which the kernel or the driver
// refuses the program on a firmware. Warnings returns the instructions that the driver
// translates wrongly. Words and Stack return the size of its code and stack, and Use the
// words of map values that it treats as counters. The requirements are the rows of Rules,
// the known faults those of Faults; each names its source in the kernel, and
// docs/offload-rules.md is printed from them. Meaning goes the other way, from a line
// that the kernel printed to the reasons that it may stand for. WarnCard returns the
// instructions that act differently on a card than on a Linux host, whichever compiler
// translates them.
//
// Image, Link, NewCard and Load run code that the driver generated. Image reads the
// words that the kernel returns for a loaded program, Link places them as the driver
// does, and NewCard and Load put maps and words on a simulated card. internal/difftest
// compares the predictions with the driver in a running kernel.
package linux

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// A View is a program as a release of Linux sees it: the facts that its verifier
// knows, those that it passes to the nfp driver, and the reasons for which it refuses the
// program.
// Computing a View explores up to a million instructions, so all questions about one
// program should be asked of one View. Its methods may be called concurrently.
type View struct {
	kernel  *Kernel
	facts   *verify.Facts // of all executions
	seen    *verify.Facts // of the states that the verifier shows the driver
	refused *verify.Rejection
	use     [][]wordUse // by index in Code.Maps
}

// NewView verifies the program of f as the kernel k does; if k is nil, as DefaultKernel.
// A program of which nothing can be explored keeps the facts of f.
func NewView(f *verify.Facts, k *Kernel) *View {
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
	v := &View{kernel: k, facts: facts, seen: facts, refused: refused}
	if facts.Seen != nil {
		v.seen = facts.Seen
	}
	v.recordUse()
	return v
}

// driver returns the view that the driver has, which rules ask about.
func (v *View) driver() *View {
	d := *v
	d.facts = v.seen
	return &d
}

// insn returns instruction i of the program.
func (v *View) insn(i int) *code.Insn { return &v.facts.Code.Insns[i] }

// Check returns the reasons for which Linux and its driver refuse the program on a
// firmware: all, in the order of the program. They are what the verifier cannot prove,
// and the Rules that are broken. mtu is the interface's in bytes; 0 means 1500, the
// default of an Ethernet interface.
func (v *View) Check(p *firmware.Profile, mtu int) []verify.Reason {
	v = v.driver()
	c := newRuleCheck(v, p)
	if mtu != 0 {
		c.mtu = mtu
	}
	var found []verify.Reason
	if v.refused != nil {
		found = append(found, v.refused.Reasons...)
	}
	add := func(r *Rule, i int, msg string) {
		found = append(found, verify.Place(v.facts.Code, i, verify.Reason{Reason: r.Reason, Message: msg, Hint: r.Hint}))
	}
	for n := range rules {
		r := &rules[n]
		if r.whole != nil {
			for _, w := range r.whole(c) {
				add(r, w.insn, w.msg)
			}
			continue
		}
		for i := range v.facts.Code.Insns {
			if !v.facts.Reachable[i] {
				continue
			}
			if msg := r.insn(c, i); msg != "" {
				add(r, i, msg)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b verify.Reason) int { return cmp.Compare(a.PC, b.PC) })
	return indirectFirst(v.facts, found)
}

// Warnings returns the instructions for which the driver's code may do something other
// than the program, and those about which another release may decide otherwise, in the
// order of the program. A last warning says that only loading the program shows whether
// its code fits.
func (v *View) Warnings(p *firmware.Profile) []verify.Reason {
	found := slices.DeleteFunc(slices.Clone(v.facts.Warnings), func(r verify.Reason) bool { return r.Reason != "near-limit" })
	found = append(found, warn(newRuleCheck(v, p), faults)...)
	if least, most := v.Words(); least <= p.MaxLen && most > p.MaxLen {
		msg := fmt.Sprintf("the driver generates between %d and %d words for the program, firmware %s has room for %d", least, most, p.Name, p.MaxLen)
		found = append(found, verify.Place(v.facts.Code, 0, verify.Reason{Reason: unsureSize.Reason, Message: msg, Hint: unsureSize.Hint}))
	}
	return found
}

// Words bounds the number of control-store words that the driver generates for the
// program, padding included. Instructions that the kernel removes as dead count nothing.
func (v *View) Words() (least, most int) { return wordsOf(v.seen) }

// Stack returns the bytes of stack that the driver counts for the program: the deepest
// chain of calls, reachable or not, with frames rounded up to 64 bytes.
func (v *View) Stack() int { return stackOf(v.seen) }

// Use returns what the driver records of the words of the program's maps, one entry a
// map in order of Code.Maps. The driver swaps the bytes of words that the program adds
// to, counters, in control messages.
func (v *View) Use() []nfp.MapUse {
	all := make([]nfp.MapUse, len(v.facts.Code.Maps))
	for i, spec := range v.facts.Code.Maps {
		words := make([]nfp.WordUse, len(v.use[i]))
		for w, use := range v.use[i] {
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
