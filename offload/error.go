package offload

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Link is one of the conditions for a program to run on a card, from the interface
// to the instruction. An Error names the first one that is not met.
type Link string

// The links, from the permission of the process to the journal of the manager.
const (
	LinkPermission Link = "permission"
	LinkKernel     Link = "kernel"
	LinkPort       Link = "port"
	LinkDriver     Link = "driver"
	LinkFirmware   Link = "firmware application"
	LinkCapability Link = "capability"
	LinkMap        Link = "map"
	LinkProgram    Link = "instruction"
	LinkAttach     Link = "attachment"
	LinkState      Link = "journal"
)

// An Error states what failed, and which link of the chain is broken. It prints as one
// line. With %+v, all output of kernel, verifier and driver follows.
type Error struct {
	Op     string   // operation: load, create map, attach, ...
	Object string   // its object: a port, a program, a map; may be empty
	Reason string   // from the table of reasons
	Msg    string   // what and why, in one line
	Extack string   // the kernel's own message from netlink
	Log    []string // the complete verifier's log, including the driver's lines
	Kernel []string // the driver's lines in the kernel's log during the operation, if it can be read
	Err    error    // the errno, or the error that wraps it
}

// Link returns the broken link of the chain.
func (e *Error) Link() Link { return Explain(e.Reason).Link }

// Error returns one line: operation, object, message, the kernel's message, reason.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	switch {
	case e.Object != "" && strings.HasPrefix(e.Msg, e.Object+":"):
		b.WriteString(" " + e.Msg) // begins with the object, and the place in it
	case e.Object != "":
		b.WriteString(" " + e.Object + ": " + e.Msg)
	default:
		b.WriteString(": " + e.Msg)
	}
	if e.Extack != "" {
		fmt.Fprintf(&b, ": kernel: %q", e.Extack)
	}
	if e.Err != nil && !strings.Contains(e.Msg, e.Err.Error()) {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	fmt.Fprintf(&b, " (%s)", e.Reason)
	return strings.Join(strings.Fields(b.String()), " ")
}

func (e *Error) Unwrap() error { return e.Err }

// Format prints the line for %v, and with %+v also link, hint and logs.
func (e *Error) Format(s fmt.State, verb rune) {
	io.WriteString(s, e.Error())
	if verb != 'v' || !s.Flag('+') {
		return
	}
	r := Explain(e.Reason)
	fmt.Fprintf(s, "\n  broken link: %s\n  cure: %s", r.Link, r.Hint)
	for _, part := range []struct {
		title string
		lines []string
	}{{"verifier", e.Log}, {"kernel log", e.Kernel}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(s, "\n  %s:\n    %s", part.title, strings.Join(part.lines, "\n    "))
		}
	}
}

// Is reports whether target is an *Error with the same reason, so that errors.Is(err,
// &Error{Reason: r}) tests for a reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason && t.Op == "" && t.Msg == ""
}

// ReasonOf returns the reason of the first *Error in err's chain, or "" if there is
// none.
func ReasonOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}
