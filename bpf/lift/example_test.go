package lift_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// Lift a program for a firmware that offers no helpers and no maps.
func ExampleLift() {
	file, err := asmtext.Parse("pass.bpf", ".program xdp pass\n\tr0 = 1\n\tr0 += 1\n\texit\n")
	if err != nil {
		log.Fatal(err)
	}
	c, faults := code.New(file.Spec.Programs["pass"], file.Spec.Maps)
	if len(faults) > 0 {
		log.Fatal(faults[0])
	}
	facts, err := verify.Verify(c, nil)
	if err != nil {
		log.Fatal(err)
	}
	m, err := lift.Lift(facts, &lift.Target{Name: "bare", Stack: 512}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(m.Funcs[0])
	// Output:
	// func pass() i32 frame=0 {
	// b0:
	//   v1:i64 = const 1 ; pc 0
	//   v2:i64 = const 1 ; pc 1
	//   v3:i64 = add v1, v2 ; pc 1
	//   v4:i32 = trunc v3 ; pc 2
	//   return v4 ; pc 2
	// }
}
