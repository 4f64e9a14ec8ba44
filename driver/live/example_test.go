package live_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// Manage a program on a simulated card, and send a packet to the port that runs it.
func Example() {
	dir, err := os.MkdirTemp("", "live")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	card, err := live.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	kernel := card.Open()
	defer kernel.Close()
	manager := offload.New(kernel, offload.Options{Journal: filepath.Join(dir, "journal"), Open: open})
	err = manager.Load(context.Background(), &offload.Deployment{
		Name: "block", Object: []byte(".program xdp block\n\tr0 = 1\n\texit\n"),
		Mode: offload.XDPOffload, Ports: []offload.Ref{{Name: "nfp0"}},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	r, err := card.Receive(offload.Ref{Name: "nfp0"}, make([]byte, 60))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("processed:", r.Program != 0, "code:", r.Action)
	fmt.Printf("%+v\n", card.Left())
	// Output:
	// processed: true code: 1
	// {Programs:1 Maps:0 Pins:1 Ports:1 Tables:0}
}
