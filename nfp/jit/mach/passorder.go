package mach

import (
	"fmt"
	"slices"
)

// Constraint says that pass First must run before pass Then; otherwise the
// compiler's result would be wrong or slower.
type Constraint = struct{ First, Then, Because string }

// CheckPassOrder reports the first constraint that a list of passes breaks. The
// names of passes must differ, and each constraint must name two of them.
func CheckPassOrder(passes []string, order []Constraint) error {
	for i, name := range passes {
		if slices.Index(passes, name) != i {
			return fmt.Errorf("two passes are called %s", name)
		}
	}
	for _, o := range order {
		i, j := slices.Index(passes, o.First), slices.Index(passes, o.Then)
		switch {
		case i < 0 || j < 0:
			return fmt.Errorf("pass order names %s and %s, of which one is no pass", o.First, o.Then)
		case i > j:
			return fmt.Errorf("pass %s must come before %s: %s", o.First, o.Then, o.Because)
		}
	}
	return nil
}
