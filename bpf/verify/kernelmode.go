package verify

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// The known limits of Linux 6.12's verifier. A driver with access to its results sees
// more instructions as reachable, and wider numbers. With Options.Linux this verifier
// discards the same facts:
//
//   - Negation and byte swaps give any number (check_alu_op), until 6.17 and 6.18.
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
//     bounds (scalar_min_max_mul), until 6.14.
//   - A sum or difference loses an interval of which one end wraps, until 6.17; if
//     both wrap it is kept since (scalar_min_max_add).
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
	if !x.opt.Linux || x.opt.early() {
		return false
	}
	switch ins.OpCode.ALUOp() {
	case asm.Div, asm.Mod, asm.SDiv, asm.SMod:
		return true
	case asm.LSh, asm.RSh, asm.ArSh:
		if wide {
			return !b.n.known() || b.n.w.uhi >= 64
		}
		return b.n.h.ulo != b.n.h.uhi || b.n.w.uhi >= 32
	}
	return false
}

// compute returns a op b as the verifier that is asked for knows it.
func (x *explorer) compute(op asm.ALUOp, a, b *num, wide bool) num {
	switch {
	case x.opt.early():
		return aluEarly(op, a, b, wide)
	case !x.opt.Linux || a.known() && b.known():
	case op == asm.Add && !x.opt.since(6, 17):
		return synced(sumInside(a, b), wide)
	case op == asm.Sub && !x.opt.since(6, 17):
		return synced(differenceInside(a, b), wide)
	case op == asm.Mul:
		return synced(x.product(a, b), wide)
	}
	return alu(op, a, b, wide)
}

func synced(n num, wide bool) num {
	if !wide {
		return n.zext32()
	}
	n.sync()
	return n
}

// moved returns the variable offset n of a pointer moved by d, or by -d if back.
func (x *explorer) moved(n, d num, back bool) num {
	op := asm.Add
	if back {
		op = asm.Sub
	}
	if !x.opt.Linux {
		return alu(op, &n, &d, true)
	}
	n.h, d.h = anyNum().h, anyNum().h // adjust_ptr_min_max_vals
	r := sumInside(&n, &d)
	if back {
		r = differenceInside(&n, &d)
	}
	if x.opt.early() {
		r.syncEarly()
	} else {
		r.sync()
	}
	return r
}

// sumInside returns a plus b, without an interval of which one end wraps: what Linux
// knows before 6.17, and of pointers in any release.
func sumInside(a, b *num) num {
	return num{a.bits.Add(b.bits), a.w.addInside(&b.w), a.h.addInside(&b.h)}
}

// differenceInside is sumInside for a minus b.
func differenceInside(a, b *num) num {
	return num{a.bits.Sub(b.bits), a.w.subInside(&b.w), a.h.subInside(&b.h)}
}

// addInside is add, but loses an interval of which one end wraps.
func (a span[U, S]) addInside(b *span[U, S]) span[U, S] {
	r := a.add(b)
	if a.ulo+b.ulo < a.ulo || a.uhi+b.uhi < a.uhi {
		r.ulo, r.uhi = 0, ^U(0)
	}
	return r
}

// subInside is sub, but loses an interval of which one end wraps.
func (a span[U, S]) subInside(b *span[U, S]) span[U, S] {
	r := a.sub(b)
	if a.ulo < b.uhi {
		r.ulo, r.uhi = 0, ^U(0)
	}
	return r
}

// product returns a times b. Before 6.14 it has no bounds if a number may be negative or
// takes more than half the width (scalar_min_max_mul).
func (x *explorer) product(a, b *num) num {
	if x.opt.since(6, 14) {
		return num{a.bits.Mul(b.bits), a.w.mulInside(&b.w), a.h.mulInside(&b.h)}
	}
	return num{a.bits.Mul(b.bits), a.w.mulHalves(&b.w), a.h.mulHalves(&b.h)}
}

// mulInside keeps the products of intervals of which none overflows.
func (a span[U, S]) mulInside(b *span[U, S]) span[U, S] {
	r := a.full()
	if lo, hi := a.ulo*b.ulo, a.uhi*b.uhi; b.uhi == 0 || hi/b.uhi == a.uhi {
		r.ulo, r.uhi = lo, hi
	}
	var all []S
	for _, p := range []S{a.slo, a.shi} {
		for _, q := range []S{b.slo, b.shi} {
			if m := p * q; q == 0 || m/q == p && !(q == -1 && p == r.slo) {
				all = append(all, m)
			}
		}
	}
	if len(all) == 4 {
		r.slo, r.shi = slices.Min(all), slices.Max(all)
	}
	return r
}

// mulHalves keeps the product of two intervals of half the width that are not negative.
func (a span[U, S]) mulHalves(b *span[U, S]) span[U, S] {
	r, half := a.full(), ^U(0)>>(bitsOf(a.ulo)/2)
	if a.slo < 0 || b.slo < 0 || a.uhi > half || b.uhi > half {
		return r
	}
	r.ulo, r.uhi = a.ulo*b.ulo, a.uhi*b.uhi
	if S(r.uhi) >= 0 {
		r.slo, r.shi = S(r.ulo), S(r.uhi)
	}
	return r
}

// negative returns -n: any number before 6.17 (check_alu_op).
func (x *explorer) negative(n *num, wide bool) num {
	if x.opt.Linux && !x.opt.since(6, 17) {
		return anyNum()
	}
	return alu(asm.Neg, n, n, wide)
}

// swapped returns n with its bytes swapped by ins: any number before 6.18, and since
// then what is known of its bits (scalar_byte_swap).
func (x *explorer) swapped(n *num, ins *code.Insn) num {
	r := byteSwap(n, ins.Instruction)
	switch {
	case x.opt.Linux && !x.opt.since(6, 18):
		return anyNum()
	case x.opt.Linux:
		return bitsNum(r.bits)
	}
	return r
}

// stored returns what a store of v keeps: a copy that is linked to it, which Linux does
// since 6.9.
func (x *explorer) stored(s *state, v *val) val {
	if x.opt.early() && v.kind != NotInit {
		return *v
	}
	return x.copyOf(s, v)
}

// carried returns the number that Linux derives, over a link with distance d, from n: n
// plus d. Before 6.17 it loses the bounds if the greatest sum wraps, even if all do
// (scalar_min_max_add).
func (x *explorer) carried(n *num, d int64) num {
	if d == 0 {
		return *n
	}
	c := constNum(uint64(d))
	if x.opt.since(6, 17) {
		return num{n.bits.Add(c.bits), n.w.add(&c.w), n.h.add(&c.h)}
	}
	return sumInside(n, &c)
}

// tainted reports whether a number is constant by its bits and not by its bounds.
// Linux takes such a number for one of a dead branch, and a pointer to which it is
// added for a number.
func (x *explorer) tainted(n *num) bool {
	return x.opt.Linux && (n.known() && (n.w.ulo != n.w.uhi || n.w.slo != n.w.shi) || n.w.empty())
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

// since reports whether the release of Linux asked about is major.minor or later. Linux
// 6.1, 6.12 and 6.18 were compared. Of a release between two of them, such as 6.8, 6.14
// or 6.17, it is assumed that the change came with it.
func (opt *Options) since(major, minor int) bool {
	k := opt.Kernel
	if k == [2]int{} {
		k = [2]int{6, 12}
	}
	return k[0] > major || k[0] == major && k[1] >= minor
}

// mostProcessors is the greatest number of processors that a kernel can be built for.
// Linux knows the number of its machine: do_refine_retval_range.
const mostProcessors = 8192

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
