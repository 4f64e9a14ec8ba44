package driver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// RunError reports a program that the engine stopped, with the eBPF instruction and
// the source line from which the instruction was compiled, if the image records them.
type RunError struct {
	Program string
	Line    nfp.Line // PC is -1 if unknown
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

// blame wraps an engine's fault in a RunError that names the program and the eBPF
// instruction.
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
