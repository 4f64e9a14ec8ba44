package nfp_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/nfp"
)

// Read an instruction, encode it, and decode its word.
func ExampleEncode() {
	in, err := nfp.Parse("alu[gprA_2, gprA_2, +, gprB_3]")
	if err != nil {
		log.Fatal(err)
	}
	w, err := nfp.Encode(in)
	if err != nil {
		log.Fatal(err)
	}
	back, err := nfp.Decode(w)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%011x\n%v\n", uint64(w), back)
	// Output:
	// 0a080200c02
	// alu[gprA_2, gprA_2, +, gprB_3]
}
