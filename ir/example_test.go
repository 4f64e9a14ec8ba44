package ir_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/ir"
)

// Parse a module, simplify it, and print it.
func ExampleParse() {
	m, err := ir.Parse(`module "example"

func f(v0:i64, v1:i64) i64 frame=0 {
b0:
  v2:i64 = const 0
  v3:i64 = add v0, v2
  return v3
}`)
	if err != nil {
		log.Fatal(err)
	}
	if err := ir.Check(m); err != nil {
		log.Fatal(err)
	}
	f := m.Funcs[0]
	f.Simplify()
	f.EliminateDeadCode()
	fmt.Print(f)
	// Output:
	// func f(v0:i64, v1:i64) i64 frame=0 {
	// b0:
	//   return v0
	// }
}
