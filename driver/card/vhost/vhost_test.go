//go:build linux

package vhost_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/driver/card/vhost"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// fake is a minimal PCI device: configuration space with a BAR of 1 MiB and a PCIe
// capability, so that all 4 KiB are used. It stores writes to its last 2 KiB.
type fake struct {
	config [configSize]byte
	writes int
	sum    uint32
	last   uint32
}

const (
	configSize  = 4096
	burstOffset = 0x800
	burstSize   = configSize - burstOffset
)

func newFake() *fake {
	d := &fake{}
	le := binary.LittleEndian
	le.PutUint32(d.config[0:], 0x00011af5) // a vendor and device that no driver knows
	le.PutUint32(d.config[4:], 0x00100000) // has capabilities
	le.PutUint32(d.config[8:], 0xff000001) // no class
	d.config[0x34] = 0x40
	le.PutUint32(d.config[0x40:], 0x00020010) // PCIe endpoint, version 2, the last in the list
	le.PutUint32(d.config[0x100:], 0x0001000b)
	return d
}

func (d *fake) ConfigRead(off, size int) uint64 {
	var p [8]byte
	copy(p[:], d.config[off:off+size])
	return binary.LittleEndian.Uint64(p[:])
}

func (d *fake) ConfigWrite(off, size int, v uint64) {
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], v)
	switch {
	case off >= burstOffset:
		d.writes++
		d.sum = crc32.Update(d.sum, crc32.IEEETable, p[:size])
		d.last = uint32(v)
	case off == 0x10 && size == 4: // a BAR of 1 MiB, 32 bits
		binary.LittleEndian.PutUint32(d.config[0x10:], uint32(v)&^(1<<20-1))
	case off == 4 || off == 0x3c:
		copy(d.config[off:off+size], p[:])
	}
}

func (d *fake) Read(int, uint64, []byte)  {}
func (d *fake) Write(int, uint64, []byte) {}

// guest builds the guest that a test boots, and skips the test if that is impossible.
func guest(t testing.TB, version string) *uml.Options {
	t.Helper()
	kernel, err := uml.Build(context.Background(), version, func(line string) { t.Log("suite:", line) })
	if errors.Is(err, uml.ErrUnavailable) {
		t.Skipf("the guest kernel cannot be had: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(t.TempDir(), "init")
	if err := uml.BuildInit(t.Context(), "github.com/nfpkit/nfpkit/internal/uml/guest", init); err != nil {
		t.Fatal(err)
	}
	return &uml.Options{Kernel: kernel, Init: init}
}

// serve offers dev at a new socket until the test ends. done receives Serve's result.
func serve(t testing.TB, tr *vhost.Transport, dev *fake) (socket string, done chan error) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "card")
	ln, err := vhost.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	done = make(chan error, 1)
	go func() {
		conn, err := ln.AcceptUnix()
		if err == nil {
			err = tr.Serve(t.Context(), conn, dev)
		}
		done <- err
	}()
	return socket, done
}

func TestKernelSeesDevice(t *testing.T) {
	for _, version := range uml.Versions() {
		t.Run(version, func(t *testing.T) { kernelSeesDevice(t, guest(t, version)) })
	}
}

func kernelSeesDevice(t *testing.T, o *uml.Options) {
	dev := newFake()
	var logged []string
	socket, done := serve(t, vhost.New(func(line string) { logged = append(logged, line) }), dev)
	const writes = 300 << 10 / 4
	o.Socket = socket
	o.Steps = []string{"pci", report.Word("pciburst", fmt.Sprintf("%d,%d,%d", burstOffset, burstSize, writes))}
	var console bytes.Buffer
	o.Console = &console
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	reports, err := uml.Boot(ctx, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &console)
	}
	if err := <-done; err != nil {
		t.Errorf("serving: %v", err)
	}
	for _, r := range reports {
		if r.Error != "" {
			t.Errorf("step %s: %s", r.Step, r.Error)
		}
	}
	if t.Failed() || len(reports) != len(o.Steps) {
		t.Fatalf("%d reports of %d steps\n%s", len(reports), len(o.Steps), &console)
	}
	var devices []struct {
		Address, ID string
		BARSizes    []uint64 `json:"bar_sizes"`
		Config      []byte
	}
	if err := json.Unmarshal(reports[0].Data, &devices); err != nil {
		t.Fatal(err)
	}
	if len(devices) != 1 || devices[0].ID != "0x1af5:0x0001" || !slices.Equal(devices[0].BARSizes, []uint64{1 << 20}) || len(devices[0].Config) != configSize {
		t.Errorf("the guest sees %+v", devices)
	}
	checkBurst(t, dev, writes)
	var cost struct {
		Us float64 `json:"us_per_write"`
	}
	if err := json.Unmarshal(reports[1].Data, &cost); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d register writes, %.1f us each", writes, cost.Us)
	if len(logged) > 0 {
		t.Errorf("the guest was blamed for:\n%s", strings.Join(logged, "\n"))
	}
}

// checkBurst compares the received writes with the sent ones: a counter, in order.
func checkBurst(t *testing.T, dev *fake, writes int) {
	t.Helper()
	sum := uint32(0)
	for i := range writes {
		sum = crc32.Update(sum, crc32.IEEETable, binary.LittleEndian.AppendUint32(nil, uint32(i)))
	}
	if dev.writes != writes || dev.sum != sum {
		t.Errorf("%d register writes arrived with checksum %#x, the last was %d; %d were sent with checksum %#x", dev.writes, dev.sum, dev.last, writes, sum)
	}
}

// BenchmarkRegisterWrite measures consecutive posted writes of the guest's kernel,
// through the file of the device's configuration space.
func BenchmarkRegisterWrite(b *testing.B) {
	o := guest(b, uml.Newest)
	dev := newFake()
	socket, done := serve(b, vhost.New(nil), dev)
	o.Socket = socket
	o.Steps = []string{"wait", report.Word("pciburst", fmt.Sprintf("%d,%d,%d", burstOffset, burstSize, b.N))}
	g, err := uml.Start(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	next := func() {
		if r, err := g.Next(); err != nil || r.Error != "" {
			b.Fatal(err, r.Error)
		}
	}
	next()
	b.ResetTimer()
	if err := g.Tell(""); err != nil {
		b.Fatal(err)
	}
	next() // the report of the wait
	next() // the report of the burst
	b.StopTimer()
	if _, err := g.Next(); err != io.EOF {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Error(err)
	}
	if dev.writes != b.N {
		b.Errorf("%d register writes arrived of %d", dev.writes, b.N)
	}
}
