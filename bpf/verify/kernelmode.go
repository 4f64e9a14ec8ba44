package verify

import (
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// The known limits of Linux 6.12's verifier. A driver with access to its results sees
// more instructions as reachable, and wider numbers. With Options.Linux this verifier
// discards the same facts:
//
//   - Negation and byte swaps give any number (check_alu_op).
//   - So do division and remainder, and all shifts except those by a constant below
//     the width. All 64 bits are then unknown, even for 32-bit operations
//     (is_safe_to_compute_dst_reg_range).
//   - Classic packet loads give any number (check_ld_abs).
//   - A register that is subtracted from or xored with itself is treated as two
//     registers.
//   - A comparison is decided by the operands' bits or by their bounds, each alone. A register
//     compared with itself is treated as two with equal bounds (is_scalar_branch_taken), and
//     6.18.44 learns nothing from it. If they do not decide it, both edges are walked, even one on
//     which the refined facts contradict each other. Such a number keeps its bits and loses its
//     bounds (reg_bounds_sanity_check).
//   - Bits are tested with constants only. On the edge on which none of them is set,
//     the earlier bounds are forgotten first (regs_refine_cond_op).
//   - Products of numbers that may be negative, or above half the width, have no
//     bounds (scalar_min_max_mul).
//   - Among the pointers to which nothing may be added, only that of a map accepts the
//     addition of 0 (adjust_ptr_min_max_vals).
//   - If a packet pointer without a fixed offset is below the end, the byte there is
//     still not proved (find_good_pkt_pointers).
//   - The verdict may be a pointer (check_return_code).
//   - Comparisons of context, stack and packet pointers with NULL are not decided
//     (reg_not_null).
//   - A comparison with the packet's end is not decided by bounds that are already
//     known (is_pkt_ptr_branch_taken).
//   - Until 6.14, a helper that reads the stack may also have written it: the contents
//     of those slots are unknown (check_stack_range_initialized).
//   - If an unknown number is added to a packet pointer, nothing is known of the
//     packet after it (adjust_ptr_min_max_vals).
//   - A number stored at a multiple of 8 is kept, and loads of its low bytes return
//     it. Elsewhere a stored number is kept only if it is 0
//     (check_stack_write_fixed_off, check_stack_read_fixed_off).
//   - A store to another part of a slot that keeps a number discards the number
//     and the zeros in the rest of the slot. So does a helper that may write there
//     (scrub_special_slot).
//   - A number is linked to another by at most one 64-bit addition of a constant that
//     is not negative, and a copy of it is not linked further
//     (assign_scalar_id_before_mov). Facts derived over the link replace the earlier
//     ones, and bounds that wrap are lost; since 6.17 only if some numbers do not wrap
//     (sync_linked_regs).
//   - A pointer is lost if a constant without bounds is added to it; the two rules
//     above leave such constants (adjust_ptr_min_max_vals).

// forgets reports whether Linux knows nothing of an ALU instruction's result.
func (x *explorer) forgets(ins *code.Insn, b *val, wide bool) bool {
	if !x.opt.Linux {
		return false
	}
	switch ins.OpCode.ALUOp() {
	case asm.Div, asm.Mod, asm.SDiv, asm.SMod, asm.Neg, asm.Swap:
		return true
	case asm.LSh, asm.RSh, asm.ArSh:
		if wide {
			return !b.n.known() || b.n.w.uhi >= 64
		}
		return b.n.h.ulo != b.n.h.uhi || b.n.w.uhi >= 32
	}
	return false
}

// coarseProduct returns the product as Linux knows it.
func coarseProduct(a, b, r *num) num {
	if a.w.slo < 0 || b.w.slo < 0 || a.w.uhi > math.MaxUint32 || b.w.uhi > math.MaxUint32 {
		r.w = anyNum().w
	}
	if a.h.slo < 0 || b.h.slo < 0 || a.h.uhi > math.MaxUint16 || b.h.uhi > math.MaxUint16 {
		r.h = anyNum().h
	}
	n := bitsNum(r.bits)
	n.w, n.h = n.w.meet(&r.w), n.h.meet(&r.h)
	n.sync()
	return n
}

// carried returns the number that Linux derives, over a link with distance d, from n: n
// plus d. Before 6.17 it loses the bounds if the greatest sum wraps, even if all do
// (scalar_min_max_add).
func (x *explorer) carried(n *num, d int64) num {
	if d == 0 {
		return *n
	}
	c := constNum(uint64(d))
	r := num{n.bits.Add(c.bits), n.w.add(&c.w), n.h.add(&c.h)}
	if x.opt.since(6, 17) {
		return r
	}
	if n.w.uhi > math.MaxUint64-c.w.uhi {
		r.w.ulo, r.w.uhi = 0, math.MaxUint64
	}
	if n.h.uhi > math.MaxUint32-c.h.uhi {
		r.h.ulo, r.h.uhi = 0, math.MaxUint32
	}
	return r
}

// tainted reports whether a number is constant by its bits and not by its bounds.
// Linux takes such a number for one of a dead branch, and a pointer to which it is
// added for a number.
func (x *explorer) tainted(n *num) bool {
	return x.opt.Linux && n.known() && (n.w.ulo != n.w.uhi || n.w.slo != n.w.shi)
}

// scrub forgets the contents of the stack slots of which a helper was given n
// bytes.
func (x *explorer) scrub(s *state, v *val, n int64) {
	lo, hi := max(v.min(), -maxStack), min(v.max()+n, 0)
	if lo >= hi {
		return
	}
	f := s.own(int(v.frame))
	for at := lo; at < hi; at++ {
		k, b := slotAt(int(at))
		l := f.slot(k)
		l.scrub()
		l.zero &^= 1 << b
	}
}

// since reports whether the release of Linux asked about is major.minor or later.
func (opt *Options) since(major, minor int) bool {
	k := opt.Kernel
	if k == [2]int{} {
		k = [2]int{6, 12}
	}
	return k[0] > major || k[0] == major && k[1] >= minor
}

// keyInside reports whether a lookup with s's arguments in an array finds a value, as Linux
// knows since 6.14: the key is a constant on the stack and below the number of entries
// (get_constant_map_key).
func (x *explorer) keyInside(s *state, set int16) bool {
	if !x.opt.Linux || !x.opt.since(6, 14) || set < 0 || len(x.sets[set]) != 1 {
		return false
	}
	spec, key := x.c.Maps[x.sets[set][0]], &s.regs[asm.R2]
	if spec.Type != ebpf.Array && spec.Type != ebpf.PerCPUArray || key.kind != PtrStack || !key.fixed() || spec.KeySize != 4 {
		return false
	}
	at := int(key.min())
	if at < -maxStack || at >= 0 {
		return false
	}
	k, first := slotAt(at)
	l := s.frames[key.frame].at(k)
	switch {
	case l.n > 0 && l.v.kind == Scalar && first == 0 && l.v.n.known() && l.n == 4:
		return uint64(uint32(l.v.n.bits.Value)) < uint64(spec.MaxEntries)
	case l.zero&cover(first, 4) == cover(first, 4) && first <= 4:
		return spec.MaxEntries > 0
	}
	return false
}
