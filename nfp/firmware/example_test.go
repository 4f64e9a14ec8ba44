package firmware_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Ask a profile what it offers, and how it encodes a verdict.
func ExampleLoad() {
	p, err := firmware.Load("stock")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.MaxLen, "words, helpers", p.Offered())
	fmt.Printf("XDP_PASS is %#x\n", p.XDPWord(2))
	// Output:
	// 2800 words, helpers [1 2 3 7 25 44 65]
	// XDP_PASS is 0x110000
}
