package linux

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// This file describes how releases of Linux differ in their treatment of a program for
// the card. The nfp driver's own hooks and translator are the same from 6.1 to 6.12;
// the kernel's verifier, which walks the program for the driver, is not.

// A Kernel is a release of Linux with its differences.
type Kernel struct {
	Release  string // such as 6.12
	Compared string // with what the rules for it were compared; "" if with nothing
	V4       bool   // has the instructions of -mcpu=v4
	Sums     bool   // relates a number to another one plus a constant (BPF_ADD_CONST)
	TCX      bool   // has tcx hooks
	StaleEnd bool   // keeps the result of comparing a packet pointer when the pointer moves back
}

// kernels is sorted by release. Rows without Compared are assumed; of 6.18 the verifier
// was compared.
var kernels = []Kernel{
	{Release: "6.1", Compared: "Debian's 6.1.192 with its nfp driver", StaleEnd: true},
	{Release: "6.6", V4: true, TCX: true, StaleEnd: true},
	{Release: "6.11", V4: true, TCX: true, Sums: true, StaleEnd: true},
	{Release: "6.12", Compared: "Debian's 6.12.117 with its nfp driver", V4: true, TCX: true, Sums: true, StaleEnd: true},
	{Release: "6.18", V4: true, TCX: true, Sums: true},
}

// DefaultKernel is the release with which the rules were compared most.
const DefaultKernel = "6.12"

// Kernels lists the releases with known rules, sorted by release.
func Kernels() []Kernel { return slices.Clone(kernels) }

// KernelFor returns the rules of a release such as 6.12, 6.12.3 or 6.18.0-1-amd64, or
// those of the nearest earlier release. In the latter case note says so; otherwise it
// is empty.
func KernelFor(release string) (k Kernel, note string, err error) {
	major, minor, ok := releaseNumbers(release)
	if !ok {
		return k, "", fmt.Errorf("kernel %q: write a release such as 6.12; there are rules for %s", release, releases())
	}
	found := false
	for _, row := range kernels {
		a, b, _ := releaseNumbers(row.Release)
		if a < major || a == major && b <= minor {
			k, found = row, true
		}
	}
	if !found {
		return k, "", fmt.Errorf("kernel %s is older than %s; there are rules for %s", release, kernels[0].Release, releases())
	}
	if own := fmt.Sprintf("%d.%d", major, minor); own != k.Release {
		note = fmt.Sprintf("there are no rules for kernel %s: those of %s, the nearest earlier release, are used", own, k.Release)
	}
	return k, note, nil
}

// releaseNumbers returns the first two numbers of a kernel's release.
func releaseNumbers(release string) (major, minor int, ok bool) {
	first, rest, ok := strings.Cut(release, ".")
	if !ok {
		return 0, 0, false
	}
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		rest = rest[:end]
	}
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(rest)
	return major, minor, err1 == nil && err2 == nil && major >= 0
}

func releases() string {
	var list []string
	for _, k := range kernels {
		list = append(list, k.Release)
	}
	return strings.Join(list, ", ")
}

// tooNew refuses the instructions of -mcpu=v4 on a kernel without them.
func tooNew(c *ruleCheck, i int) string {
	if c.kernel.V4 {
		return ""
	}
	ins, what := c.insn(i), ""
	switch op := ins.OpCode; {
	case op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja:
		what = "a jump with a 32-bit distance"
	case op.Class() == asm.LdXClass && op.Mode() == asm.MemSXMode:
		what = "a sign-extending load"
	case op.Class() == asm.ALU64Class && op.ALUOp() == asm.Swap:
		what = "an unconditional byte swap"
	case op.Class().IsALU() && (op.ALUOp() == asm.SDiv || op.ALUOp() == asm.SMod):
		what = "a signed division"
	case op.Class().IsALU() && (op.ALUOp() == asm.MovSX8 || op.ALUOp() == asm.MovSX16 || op.ALUOp() == asm.MovSX32):
		what = "a sign-extending move"
	default:
		return ""
	}
	return fmt.Sprintf("kernel %s does not know %s", c.kernel.Release, what)
}

// staleEnd reports a comparison that the kernel wrongly considers decided. The
// kernel never walks the edge on which the packet is long enough, considers the
// code there dead, and removes it.
func staleEnd(c *ruleCheck, i int) string {
	if c.kernel.StaleEnd && slices.Contains(c.facts.StaleEnds, i) {
		return fmt.Sprintf("kernel %s takes the comparison for decided: an earlier one found the pointer past the packet's end, and the pointer was moved back since", c.kernel.Release)
	}
	return ""
}
