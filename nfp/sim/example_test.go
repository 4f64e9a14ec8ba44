package sim_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// Run two instructions on one engine, until a trap ends the run.
func ExampleEngine_Run() {
	code := []nfp.Inst{
		nfp.Move(nfp.RegA(1), nfp.Num(5)),
		nfp.ALU(nfp.RegA(2), nfp.RegA(1), nfp.ALUAdd, nfp.Num(7)),
	}
	spec, store := sim.NFP4000(), sim.NewStore()
	if err := store.LoadInsts(0, code, spec); err != nil {
		log.Fatal(err)
	}
	store.Trap(len(code), func(*sim.Context) (int, sim.Cost, error) { return sim.Halt, sim.Cost{}, nil })
	e := sim.New(spec, store, sim.NewMemory())
	e.Ctx[0].Start(0)
	if err := e.Run(100); err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Ctx[0].A(2), "after", e.Words, "words")
	// Output: 12 after 2 words
}
