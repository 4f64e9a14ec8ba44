package asmtext

import (
	"regexp"
	"sync"
)

// pattern returns a function that returns the compiled expression. It compiles on the
// first call: programs that import the package and parse no text need not pay for it.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
