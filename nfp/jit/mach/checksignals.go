package mach

import "github.com/nfpkit/nfpkit/nfp"

// flights holds the outstanding commands before an instruction, by signal, if every
// path agrees.
type flights struct {
	signals uint16
	in, out [8]uint32 // by signal: transfer registers that arrive, that are sent
	differ  bool      // paths bring different ones
}

// meet reports a change.
func (f *flights) meet(o *flights) bool {
	if f.differ || f.signals == o.signals && f.in == o.in && f.out == o.out && !o.differ {
		return false
	}
	f.differ = true
	return true
}

func (f *flights) arriving() (in, out uint32) {
	for n := range f.in {
		if f.signals>>n&1 != 0 {
			in, out = in|f.in[n], out|f.out[n]
		}
	}
	return in, out
}

// after is the transfer function of an instruction. A swap takes effect at once;
// checkSchedule checks the instructions in its slots.
func (f *flights) after(in *nfp.Inst) {
	switch {
	case in.Op == nfp.OpCtxArb:
		f.signals &^= uint16(in.Imm)
		for n := range f.in {
			if in.Imm>>n&1 != 0 {
				f.in[n], f.out[n] = 0, 0
			}
		}
	case in.Op == nfp.OpCmd && in.Cmd.Ctx == 3 && in.Cmd.Sig != 0 && in.Cmd.Sig < 8:
		n := in.Cmd.Sig
		f.signals |= 1 << n
		f.in[n], f.out[n] = transfers(in)
	}
}

// transfers returns the transfer registers that a command fills and sends, from its
// word.
func transfers(in *nfp.Inst) (ins, outs uint32) {
	sends, gets, _ := in.Transfer()
	return XferMask(int(in.Cmd.Xfer), gets), XferMask(int(in.Cmd.Xfer), sends)
}

// signals checks an instruction against the commands outstanding before it.
func (h *hazardChecker) signals(i int, f *flights) {
	in := &h.insts[i]
	if f.differ {
		h.fail(i, "commands under way depend on the path")
		return
	}
	arrive, send := f.arriving()
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		if o.Kind == nfp.Xfer && o.N < 32 && arrive>>o.N&1 != 0 {
			h.fail(i, "%v has not arrived", o)
		}
	}
	if in.Dst.Kind == nfp.Xfer && in.Dst.N < 32 && send>>in.Dst.N&1 != 0 {
		h.fail(i, "%v is still being sent", in.Dst)
	}
	switch {
	case in.Op == nfp.OpCmd && f.signals>>in.Cmd.Sig&1 != 0:
		h.fail(i, "signal %d is taken", in.Cmd.Sig)
	case in.Op == nfp.OpCtxArb && in.Flags&nfp.Breakpoint == 0 && uint16(in.Imm)&^f.signals != 0:
		h.fail(i, "waits for a signal that nobody sends")
	case f.signals != 0 && (h.reloc[i] == nfp.RelocDone || h.reloc[i] == nfp.RelocHelper):
		h.fail(i, "leaves the program with commands under way")
	}
}
