package asmtext

import "fmt"

// An Error is one fault of a text, with its place: lines and columns count
// from 1, columns in bytes.
type Error struct {
	File      string // as given to Parse; may be empty
	Line, Col int
	Msg       string
}

func (e *Error) Error() string {
	file := e.File
	if file == "" {
		file = "line"
	}
	return fmt.Sprintf("%s:%d:%d: %s", file, e.Line, e.Col, e.Msg)
}

// Errors are all faults of a text, in order of line.
type Errors []*Error

// Error returns the first fault, and the number of others.
func (e Errors) Error() string {
	switch len(e) {
	case 0:
		return "no errors"
	case 1:
		return e[0].Error()
	}
	return fmt.Sprintf("%v (and %d more)", e[0], len(e)-1)
}

func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}
