//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/internal/uml"
	umlreport "github.com/nfpkit/nfpkit/internal/uml/report"
)

// The frames of the guest's steps have this type, IEEE's for local experiments.
const localType = 0x88b5

func localFrame(mark byte) []byte {
	f := make([]byte, 60)
	copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9})
	binary.BigEndian.PutUint16(f[12:], localType)
	f[14] = mark
	return f
}

// cardGuest starts nfpsim card with more arguments, and a guest of a kernel version on
// its socket that does steps; end waits for the guest and stops the command.
func cardGuest(t *testing.T, version string, args []string, steps ...string) (g *uml.Guest, end func()) {
	t.Helper()
	kernel, err := uml.Build(t.Context(), version, func(line string) { t.Log("suite:", line) })
	if errors.Is(err, uml.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	init := filepath.Join(dir, "init")
	if err := uml.BuildInit(t.Context(), uml.GuestPackage, init); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "card")
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	var stderr bytes.Buffer
	done := make(chan error, 1)
	root := newRoot()
	root.SetArgs(append([]string{"card", "--socket", socket}, args...))
	root.SetErr(&stderr)
	go func() { done <- root.ExecuteContext(ctx) }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("nfpsim card: %v\n%s", err, &stderr)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("nfpsim card makes no socket")
		}
	}
	if g, err = uml.Start(t.Context(), &uml.Options{Kernel: kernel, Init: init, Socket: socket, Steps: steps}); err != nil {
		t.Fatal(err)
	}
	return g, func() {
		t.Helper()
		for {
			r, err := g.Next()
			if err != nil {
				if err.Error() != "EOF" {
					t.Errorf("guest: %v", err)
				}
				break
			}
			if r.Error != "" {
				t.Errorf("step %s: %s", r.Step, r.Error)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("nfpsim card: %v", err)
		}
		if said := strings.Count(stderr.String(), "\n"); said != 1 {
			t.Errorf("nfpsim card says:\n%s", &stderr)
		}
	}
}

// Captures are replayed into ports, and written of what leaves them.
func TestCardCaptures(t *testing.T) {
	for _, version := range uml.Versions() {
		t.Run(version, func(t *testing.T) { cardCaptures(t, version) })
	}
}

func cardCaptures(t *testing.T, version string) {
	const frames, answers = 300, 7 // more frames than a ring has buffers
	dir := t.TempDir()
	var capture bytes.Buffer
	w := pcapgo.NewWriter(&capture)
	if err := w.WriteFileHeader(maxPacket, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		f := localFrame(byte(i))
		if err := w.WritePacket(gopacket.CaptureInfo{Length: len(f), CaptureLength: len(f)}, f); err != nil {
			t.Fatal(err)
		}
	}
	in := filepath.Join(dir, "in.pcap")
	if err := os.WriteFile(in, capture.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	out := [2]string{filepath.Join(dir, "0.pcap"), filepath.Join(dir, "1.pcap")}
	_, end := cardGuest(t, version, []string{"--card", "cx-2x10", "--cable=false", "--pcap-in", "1=" + in, "--pcap-out", "0=" + out[0], "--pcap-out", "1=" + out[1]},
		umlreport.Word("wire", fmt.Sprintf("1,%d,%d", frames, answers)))
	end()
	for port, want := range []int{0, answers} {
		got := 0
		packets, err := readCapture(out[port], strings.NewReader(""), os.Stderr, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets.list {
			if binary.BigEndian.Uint16(p.Data[12:]) == localType {
				got++
			}
		}
		if got != want {
			t.Errorf("port %d: %d frames left, want %d", port, got, want)
		}
	}
}

// A port is connected with a tap device of this host.
func TestCardTap(t *testing.T) {
	for _, version := range uml.Versions() {
		t.Run(version, func(t *testing.T) { cardTap(t, version) })
	}
}

func cardTap(t *testing.T, version string) {
	const frames, answers = 5, 3
	name := fmt.Sprintf("nfp%d", os.Getpid())
	if f, err := openTap(name); err != nil {
		t.Skipf("no tap device can be made: %v", err)
	} else {
		f.Close()
	}
	g, end := cardGuest(t, version, []string{"--cable=false", "--tap", "1=" + name}, "wait", umlreport.Word("wire", fmt.Sprintf("1,%d,%d", frames, answers)))
	if _, err := g.Next(); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	const netOrder = localType<<8&0xff00 | localType>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, netOrder)
	if err != nil {
		t.Skipf("no packet socket: %v", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: netOrder, Ifindex: link.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
	if err := g.Tell(""); err != nil {
		t.Fatal(err)
	}
	// Until the guest has its port up, frames go nowhere: send until it answers.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	got := 0
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(2 * time.Minute); got < answers; {
		if time.Now().After(deadline) {
			t.Errorf("%d of %d frames came out of the tap device", got, answers)
			break
		}
		if _, err := unix.Write(fd, localFrame(1)); err != nil {
			t.Fatal(err)
		}
		<-tick.C
		for {
			n, from, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING && n == 60 && buf[14] == 0 {
				got++
			}
		}
	}
	end()
}
