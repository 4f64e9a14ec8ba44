package linux

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// This file lists the cases in which the card's firmware differs from a Linux host
// although every compiler accepts the program: the verdict on a packet or the result
// of a helper differs. Each row warns of one case. The firmware's side is described in
// docs/firmware-contract.md, the host's in net/core/filter.c and net/sched/cls_bpf.c.

var cardFaults = []Fault{
	{"card-redirect", "XDP_REDIRECT is no verdict of this firmware: it drops the packet and counts it as aborted.",
		"return XDP_TX to send the packet out of the port it came from, XDP_PASS to let the host redirect it; or take a firmware with bpf_redirect", cardRedirect},
	{"card-tc-verdict", "The card and tc on a host treat a packet with this verdict differently.",
		"return TC_ACT_SHOT or TC_ACT_STOLEN to drop, TC_ACT_UNSPEC to pass", cardVerdict},
	{"card-tail-grow", "bpf_xdp_adjust_tail only cuts packets on the card: a call that would add bytes fails with -EINVAL, where a host adds them.",
		"test the result and pass the packet to the host, or add bytes at the start with bpf_xdp_adjust_head", cardTail},
	{"card-head-room", "bpf_xdp_adjust_head fails on the card if the firmware keeps no room for the distance, which a host has.",
		"move the head less far, and test the result", cardHead},
	{"card-queue", "The card selects queue 64 for every number above 255 that is stored to rx_queue_index.",
		"store numbers from 0 to 255: mask with 0xff", cardQueue},
}

// CardFaults lists the differences between the card and a host, for explanations.
func CardFaults() []Fault { return slices.Clone(cardFaults) }

// WarnCard returns the instructions at which a program acts differently on the card
// than on a host, in the order of the program.
func WarnCard(f *verify.Facts, p *firmware.Profile) []verify.Reason {
	return warn(newRuleCheck(&View{facts: f}, p), cardFaults)
}

// isVerdict reports whether instruction i exits the program itself, not one of its
// functions.
func (c *ruleCheck) isVerdict(i int) bool {
	ins := c.insn(i)
	return ins.Func == 0 && ins.OpCode.Class() == asm.JumpClass && ins.OpCode.JumpOp() == asm.Exit
}

// mayReturn reports whether exit i may return code and few other verdicts. An exit
// that may return any number is not reported for each code.
func (c *ruleCheck) mayReturn(i int, code uint64) bool {
	const few = 16
	for _, r0 := range c.facts.Exits[i] {
		if n := r0.Bits.Trunc(32); r0.Kind == verify.Scalar && code&^n.Mask == n.Value && n.Value|n.Mask < few && r0.UMin <= code && code <= r0.UMax {
			return true
		}
	}
	return false
}

func cardRedirect(c *ruleCheck, i int) string {
	if c.facts.Code.Type != ebpf.XDP || c.profile.Redirects() || !c.isVerdict(i) || !c.mayReturn(i, driver.XDPRedirect) {
		return ""
	}
	return fmt.Sprintf("return code 4 (XDP_REDIRECT) drops the packet: firmware %s cannot redirect", c.profile.Name)
}

func cardVerdict(c *ruleCheck, i int) string {
	const queued, trap = 5, 8
	switch {
	case c.facts.Code.Type != ebpf.SchedCLS || !c.isVerdict(i):
	case c.mayReturn(i, queued):
		return "return code 5 (TC_ACT_QUEUED) drops the packet on the card; on a host a classifier takes it for TC_ACT_UNSPEC and goes on"
	case c.mayReturn(i, trap):
		return "return code 8 (TC_ACT_TRAP) passes the packet on the card; a host drops it"
	case c.mayReturn(i, driver.TCRedirect) && !c.profile.Redirects():
		return fmt.Sprintf("return code 7 (TC_ACT_REDIRECT) sends the packet out of the port it came from: firmware %s cannot redirect", c.profile.Name)
	}
	return ""
}

// distance returns the range of a helper's second argument, an int.
func (c *ruleCheck) distance(i int, id asm.BuiltinFunc) (low, high int32, ok bool) {
	if !c.calls(i, id) {
		return 0, 0, false
	}
	r := &c.facts.Calls[i].Args[1]
	return r.S32Min, r.S32Max, r.Kind == verify.Scalar
}

func cardTail(c *ruleCheck, i int) string {
	switch low, high, ok := c.distance(i, asm.FnXdpAdjustTail); {
	case !ok || high <= 0:
		return ""
	case low > 0:
		return fmt.Sprintf("r2 is %d at least: the call always fails on the card", low)
	default:
		return fmt.Sprintf("r2 may be as large as %d: the call fails on the card if it is above 0", high)
	}
}

func cardHead(c *ruleCheck, i int) string {
	const wide = 1 << 12 // a bound this large means that the number is unknown
	low, high, ok := c.distance(i, asm.FnXdpAdjustHead)
	a := &c.profile.AdjustHead
	switch {
	case !ok || low < -wide || high > wide:
		return ""
	case int(low) < -a.GuaranteedSub:
		return fmt.Sprintf("r2 may be %d: firmware %s has room for %d bytes before a packet", low, c.profile.Name, a.GuaranteedSub)
	case int(high) > a.GuaranteedAdd:
		return fmt.Sprintf("r2 may be %d: firmware %s moves a packet's start by %d bytes at most", high, c.profile.Name, a.GuaranteedAdd)
	}
	return ""
}

func cardQueue(c *ruleCheck, i int) string {
	m, ins := c.facts.Mem[i], c.insn(i)
	if m == nil || m.Kind != verify.PtrCtx || !ins.OpCode.Class().IsStore() || c.facts.Code.Type != ebpf.XDP || m.Min != rxQueueIndex {
		return ""
	}
	high := uint64(uint32(ins.Constant))
	if ins.OpCode.Class() == asm.StXClass {
		high = uint64(c.facts.Regs[i][ins.Src].U32Max)
	}
	if high <= 255 {
		return ""
	}
	return fmt.Sprintf("the queue may be %d; above 255 the card selects queue 64", high)
}
