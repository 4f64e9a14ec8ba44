package driver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// RunError is a program that the engine stopped, with the eBPF instruction and
// the source line that the word was compiled from where the image says so.
type RunError struct {
	Program string
	Line    nfp.Line // PC -1: not known
	Fault   *sim.Fault
}

func (e *RunError) Error() string {
	var b strings.Builder
	if e.Line.PC >= 0 {
		if e.Line.File != "" {
			fmt.Fprintf(&b, "%s:%d: ", e.Line.File, e.Line.Line)
		}
		fmt.Fprintf(&b, "pc %d: %s: ", e.Line.PC, e.Line.Insn)
	}
	if e.Fault.Reason == "breakpoint" && e.Line.PC >= 0 {
		b.WriteString("outside of the memory it may touch (out-of-bounds)")
	} else {
		b.WriteString(e.Fault.Error())
	}
	return b.String()
}

func (e *RunError) Unwrap() error { return e.Fault }

// blame names the program and the instruction behind an engine's fault.
func (n *NIC) blame(err error) error {
	var fault *sim.Fault
	if !errors.As(err, &fault) {
		return err
	}
	e := &RunError{Line: nfp.Line{PC: -1}, Fault: fault}
	for _, p := range n.programs {
		at := fault.Addr - p.Start
		if at < 0 || at >= p.Words {
			continue
		}
		e.Program = p.Name
		if line, ok := p.Line(at); ok {
			e.Line = line
		}
	}
	return e
}
