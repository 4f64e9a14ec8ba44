package lift

import (
	"slices"

	"github.com/nfpkit/nfpkit/bpf/verify"
)

// Target is what the firmware that is to run a program offers it, as plain data.
// Lift refuses programs that need more.
type Target struct {
	Name        string    // the firmware, in messages
	Helpers     []int32   // ids of the helpers that a program may call
	Stack       int       // bytes of stack
	CtxFields   []string  // XDP context fields that a program may load, beside data and data_end
	QueueSelect bool      // a program may store rx_queue_index
	Maps        MapLimits // maps that the firmware can hold
	DirectMap   bool      // the firmware has one array, whose values programs address themselves
	DirectValue bool      // the firmware places maps before programs, so that addresses of values are constants
	ArrayZero   bool      // elements of arrays exist, zero, before the first write
}

// MapLimits is what maps a firmware can hold; a number of zero is no limit.
type MapLimits struct {
	Types []string // as bpftool writes them: "array", "hash", ...
	Key   int      // bytes of a key
	Value int      // bytes of a value
	Entry int      // bytes of both, each rounded up to 8
}

// offers reports whether a program may call helper id.
func (t *Target) offers(id int32) bool { return slices.Contains(t.Helpers, id) }

// Unsupported is the error of a program that is good but that the firmware cannot
// run. It has every reason that was found, in the order of the program.
type Unsupported struct {
	Program string
	Reasons []verify.Reason // helper-missing, code-size, stack-size, ...
}

func (u *Unsupported) Error() string {
	if len(u.Reasons) == 0 {
		return u.Program + ": unsupported"
	}
	return u.Reasons[0].At(u.Program)
}
