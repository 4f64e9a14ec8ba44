package object

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// An Error says why a file cannot be read. Reason is one of the stable words of
// bpf/verify's table: bad-object, truncated-object, no-program, bad-text,
// bad-setting or feature-unsupported.
type Error struct {
	Path   string // "" where Err names it
	Reason string
	Err    error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%v (%s)", e.Err, e.Reason)
	}
	return fmt.Sprintf("%s: %v (%s)", e.Path, e.Err, e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// The faults of files that have words of their own; all others are bad-object.
var (
	errTruncated = errors.New("it is cut short")
	errNoProgram = errors.New("no programs")
)

func reason(err error) string {
	switch {
	case errors.Is(err, errTruncated):
		return "truncated-object"
	case errors.Is(err, errNoProgram):
		return "no-program"
	case errors.Is(err, errSetting):
		return "bad-setting"
	}
	return "bad-object"
}

// oneLine joins an error's lines.
func oneLine(err error) error {
	if s := err.Error(); strings.ContainsAny(s, "\n\r") {
		return errors.New(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
	}
	return err
}

// A FaultError lists the structural faults of a program.
type FaultError struct {
	Path, Program string
	Faults        []code.Fault // at least one
}

// Error returns the first fault, and the number of others.
func (e *FaultError) Error() string {
	s := fmt.Sprintf("%s: program %s: %v", e.Path, e.Program, e.Faults[0])
	if n := len(e.Faults) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

func (e *FaultError) Unwrap() []error {
	errs := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		errs[i] = f
	}
	return errs
}
