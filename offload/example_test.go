package offload_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// readText reads eBPF as text; nil in Options.Open reads ELF objects.
func readText(data []byte, _ offload.Settings) (*ebpf.CollectionSpec, error) {
	o, err := object.Read("block.bpf", data, nil)
	if err != nil {
		return nil, err
	}
	return o.Spec, nil
}

// Load a program onto a port, and ask what runs there. The kernel here is a simulated
// card; offload.Linux is the one of a host with cards.
func Example() {
	dir, err := os.MkdirTemp("", "offload")
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
	ctx := context.Background()
	manager := offload.New(kernel, offload.Options{Journal: filepath.Join(dir, "journal"), Open: readText})

	d := &offload.Deployment{
		Name: "block", Object: []byte(".program xdp block\n\tr0 = 1\n\texit\n"), Source: "block.bpf",
		Mode: offload.XDPOffload, Ports: []offload.Ref{{Name: "nfp0"}},
	}
	if err := manager.Load(ctx, d, nil); err != nil {
		log.Fatal(err)
	}
	status, err := manager.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range status.Deployments {
		fmt.Println(s.Name, s.Mode, s.Ports[0].Port.Name, "drift:", len(s.Drift))
	}

	// Errors have a stable reason.
	d.Name, d.Ports = "other", []offload.Ref{{Name: "eth7"}}
	var refused *offload.Error
	if errors.As(manager.Load(ctx, d, nil), &refused) {
		fmt.Println(refused.Reason)
	}
	// Output:
	// block xdpoffload nfp0 drift: 0
	// no-port
}
