//go:build linux

package vhost_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/driver/card/vhost"
)

// Serve a card on a socket. Here the guest ends at once; a User Mode Linux kernel with
// virtio_uml.device=SOCKET:N on its command line would bind its nfp driver first.
func Example() {
	dir, err := os.MkdirTemp("", "card")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	transport := vhost.New(nil)
	c, err := card.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	c.Attach(transport)
	socket := filepath.Join(dir, "socket")
	l, err := vhost.Listen(socket)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	guest, err := net.Dial("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	guest.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("error:", transport.Serve(context.Background(), conn, c))
	// Output:
	// error: <nil>
}
