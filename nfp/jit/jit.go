// Package jit compiles verified eBPF to micro-engine code.
package jit

import (
	"fmt"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Options for Compile; the zero value is the default.
type Options struct {
	// Use is the use of map words by other programs that share the maps; Compile
	// keeps to it. See Uses.
	Use []nfp.MapUse
	// Off names passes to leave out, for bisection.
	Off []string
	// Dump is called with each pass's name and the text after it.
	Dump func(pass, text string)
	// Check runs the checkers between passes (tests).
	Check bool
}

// Unsupported says that the program is good but this firmware cannot run it.
type Unsupported struct {
	Program string
	Reasons []verify.Reason // helper-missing, code-size, stack-size, atomic64, ...
}

func (u *Unsupported) Error() string {
	if len(u.Reasons) == 0 {
		return u.Program + ": unsupported"
	}
	r := u.Reasons[0]
	return fmt.Sprintf("%s: pc %d: %s (%s)", u.Program, r.PC, r.Message, r.Reason)
}

// Bug is our fault: a pass that failed on a verified program.
type Bug struct {
	Pass string
	Msg  string
	Code string // text of the function at that point
}

func (b *Bug) Error() string { return fmt.Sprintf("compiler bug in pass %s: %s", b.Pass, b.Msg) }

// Compile translates a verified program for a firmware profile. It is pure,
// deterministic and safe to call from several goroutines. Errors are
// *Unsupported and *Bug.
func Compile(f *verify.Facts, p *firmware.Profile, opt *Options) (*nfp.Image, error) {
	return nil, &Bug{Pass: "build", Msg: "no compiler yet"}
}
