package jit

import (
	_ "embed"

	"github.com/nfpkit/nfpkit/ir"
)

// The engine has no divider. Division is a routine in ir text, legalized,
// compiled and called like any function of the program; a program gets those it
// uses. Names begin with a dollar sign, which C names do not.
const (
	routineDiv32  = "$div32"  // (n | d << 32) -> n / d | n % d << 32, in 32 bits
	routineUDiv64 = "$udiv64" // (n, d) -> n / d
	routineUMod64 = "$umod64" // (n, d) -> n % d
	routineSDiv64 = "$sdiv64"
	routineSMod64 = "$smod64"
)

//go:embed runtime/divide.ir
var divideText string

// routineNeeds lists the routines that each routine calls, which must be added
// too.
var routineNeeds = map[string][]string{
	routineUDiv64: {routineDiv32},
	routineUMod64: {routineUDiv64, routineDiv32},
	routineSDiv64: {routineUDiv64, routineDiv32},
	routineSMod64: {routineUMod64, routineUDiv64, routineDiv32},
}

// runtimeRoutines returns the routines named in used and those they call, in the
// order of the file.
func runtimeRoutines(used map[string]bool) ([]*ir.Func, error) {
	if len(used) == 0 {
		return nil, nil
	}
	need := map[string]bool{}
	for name := range used {
		need[name] = true
		for _, n := range routineNeeds[name] {
			need[n] = true
		}
	}
	m, err := ir.Parse(divideText)
	if err != nil {
		return nil, err
	}
	var out []*ir.Func
	for _, f := range m.Funcs {
		if need[f.Name] {
			out = append(out, f)
		}
	}
	return out, nil
}
