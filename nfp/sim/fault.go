package sim

import "fmt"

// A Fault is an instruction that cannot be executed, or that breaks a rule of the
// machine. Reason is a stable word:
//
//	unset           control store never written there
//	unsupported     a form the simulator does not execute
//	breakpoint      ctx_arb[bpt]
//	watchdog        more instructions executed than allowed
//	ctm-bounds      packet memory outside the packet's buffer, or outside the packet under guard
//	emem-bounds     external memory that is not allocated
//	lm-bounds       local memory outside its 4 KiB or the context's part of it
//	alignment       an atomic command on an address that is no multiple of 4
//	pointer-delay   LM pointer or T_INDEX used too soon after it was written
//	xfer-early      transfer register read before the signal of the command that fills it
//	xfer-overwrite  transfer register written before the command that sends it took it
//	signal          a signal sent twice, or waited for though no command sends it
//	carry           carry or overflow used after an operation that leaves it undefined
//	multiply        a multiplier group out of order or torn apart
//	shift-amount    an indirect shift not directly after the instruction that gives its amount
//	guard           see Context.Guard
//	trap            a trap function's own error
type Fault struct {
	Addr   int    // word address
	Text   string // instruction
	Reason string
	Msg    string
	Err    error // trap function's
}

func (f *Fault) Error() string {
	if f.Text == "" {
		return fmt.Sprintf("word %d: %s (%s)", f.Addr, f.Msg, f.Reason)
	}
	return fmt.Sprintf("word %d: %s: %s (%s)", f.Addr, f.Text, f.Msg, f.Reason)
}

// Unwrap returns the trap function's error.
func (f *Fault) Unwrap() error { return f.Err }

// stop records the first fault of a run.
func (e *Engine) stop(pc uint32, reason, format string, args ...any) {
	if e.fault != nil {
		return
	}
	e.fault = e.describe(pc, reason, fmt.Sprintf(format, args...))
}

// warn records a warning about a word, once for each address and reason.
func (e *Engine) warn(pc uint32, reason, format string, args ...any) {
	for _, w := range e.Warnings {
		if w.Addr == int(pc) && w.Reason == reason {
			return
		}
	}
	if len(e.Warnings) < maxWarnings {
		e.Warnings = append(e.Warnings, e.describe(pc, reason, fmt.Sprintf(format, args...)))
	}
}

const maxWarnings = 64

func (e *Engine) describe(pc uint32, reason, msg string) *Fault {
	pc &= storeMask
	f := &Fault{Addr: int(pc), Reason: reason, Msg: msg}
	if in := e.store.inst(pc); in != nil && e.store.ops[pc].code != opTrap {
		f.Text = in.String()
	}
	return f
}
