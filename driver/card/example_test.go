package card_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/driver/card"
)

// A host finds the card by the vendor and device number in its configuration space.
func Example() {
	c, err := card.New(&card.Options{Model: card.DefaultModel})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("vendor %#x, device %#x\n", c.ConfigRead(0, 2), c.ConfigRead(2, 2))
	// Output:
	// vendor 0x19ee, device 0x4000
}
