package card

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// frame returns an Ethernet frame of n bytes.
func frame(n int) []byte {
	f := make([]byte, n)
	copy(f, []byte{0x00, 0x15, 0x4d, 0, 0, 2, 0x00, 0x15, 0x4d, 0, 0, 1, 0x88, 0xb5})
	for i := 14; i < n; i++ {
		f[i] = byte(i)
	}
	return f
}

// pair returns a cabled card with both ports open.
func pair(t testing.TB, opt *Options) (h *host, a, b *port) {
	t.Helper()
	opt.Cable = true
	h = newHost(t, opt)
	h.boot()
	base := h.syms["_pf0_net_bar0"].addr
	return h, h.open(base, 3, ctlRXCsum|ctlTXCsum), h.open(base+barBytesVNIC, 6, ctlRXCsum|ctlTXCsum)
}

func TestPackets(t *testing.T) {
	var out []int
	h, a, b := pair(t, &Options{Transmit: func(port int, f []byte) { out = append(out, port, len(f)) }})
	want := frame(300)
	for i := range 600 { // around the ring twice
		want[20] = byte(i)
		a.send(0, want[:100], want[100:])
		if got, _ := b.receive(); !bytes.Equal(got, want) {
			t.Fatalf("packet %d: got % x", i, got)
		}
	}
	if a.queue(a.txQ, queueStsLow) != a.txN || len(out) != 1200 || out[0] != 0 || out[1] != 300 {
		t.Errorf("read pointer %d of %d, frames out %v", a.queue(a.txQ, queueStsLow), a.txN, out[:2])
	}
	if n := h.read64(b.base + barStats + 8*statFrames); n != 600 {
		t.Errorf("%d frames counted as received", n)
	}
	if n := h.read64(a.base + barTXStats); n != 600 {
		t.Errorf("%d frames counted on the transmit ring", n)
	}
	if n := h.read64(addrMACStats + 4*macStatsBytes + macRX.octets); n != 600*304 {
		t.Errorf("%d octets counted by the mac", n)
	}
	// A packet waits until its end is in the ring.
	a.send(0, want[:100], want[100:], nil)
	if got, _ := b.receive(); !bytes.Equal(got, want) {
		t.Errorf("a packet of three pieces arrives as % x", got)
	}
	if len(h.lines) > 0 {
		t.Errorf("the card logs %q", h.lines)
	}
}

// TestInterrupts checks that there is no second interrupt until the host has cleared
// the cause, and then exactly one. The masks of the table keep it pending.
func TestInterrupts(t *testing.T) {
	h, a, b := pair(t, &Options{})
	h.irqs = nil
	h.write(a.base+barCause+3, []byte{0})
	count := func(want int, what string) {
		t.Helper()
		n := 0
		for _, v := range h.irqs {
			if v == 6 {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: %d interrupts, want %d", what, n, want)
		}
	}
	a.send(0, frame(60))
	a.send(0, frame(61))
	count(1, "two packets")
	h.write(b.base+barCause+6, []byte{0})
	count(2, "unmasked")
	h.write(b.base+barCause+6, []byte{0})
	count(2, "nothing due")
	control := uint64(msixTable + msixEntry*6 + 12)
	h.card.Write(0, control, []byte{1, 0, 0, 0})
	a.send(0, frame(62))
	count(2, "vector masked")
	var pending [4]byte
	if h.card.Read(0, msixPending, pending[:]); pending[0] != 1<<6 {
		t.Errorf("pending bits % x", pending)
	}
	h.card.Write(0, control, []byte{0, 0, 0, 0})
	count(3, "vector unmasked")
	h.write(b.base+barCause+6, []byte{0})
	h.card.ConfigWrite(capMSIX+2, 2, msixEnable|msixMask)
	a.send(0, frame(63))
	count(3, "function masked")
	h.card.ConfigWrite(capMSIX+2, 2, msixEnable)
	count(4, "function unmasked")
	for want := 60; want <= 63; want++ {
		if got, _ := b.receive(); len(got) != want {
			t.Errorf("frame of %d bytes, want %d", len(got), want)
		}
	}
	// The link's interrupt.
	h.write(b.base+barLinkIRQ, []byte{7})
	h.vector(7)
	if err := h.card.SetLink(1, false); err != nil {
		t.Fatal(err)
	}
	if h.read32(b.base+barStatus)&1 != 0 || h.irqs[len(h.irqs)-1] != 7 || h.read(b.base+barCause+7, 1)[0] != causeLink {
		t.Errorf("link down: status 0x%x, interrupts %v", h.read32(b.base+barStatus), h.irqs)
	}
}

// TestDisable checks that a disabled vNIC starts again with empty queues.
func TestDisable(t *testing.T) {
	h, a, b := pair(t, &Options{})
	a.send(0, frame(60))
	h.write32(b.base+barControl, 0)
	if !b.reconfigure(updateGeneral|updateRings) || h.queue(b.rxQ, queueStsHigh) != 0 || h.queue(b.rxQ, queueStsLow) != 0 {
		t.Errorf("queue %d %d after disabling", h.queue(b.rxQ, queueStsLow), h.queue(b.rxQ, queueStsHigh))
	}
	a.send(0, frame(60)) // without a receiver
	b = h.open(b.base, 6, 0)
	a.send(0, frame(64))
	if got, _ := b.receive(); len(got) != 64 {
		t.Errorf("got %d bytes", len(got))
	}
}

// TestRefusals checks that an invalid request sets the error bit and changes nothing.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(h *host, p *port) uint32
		log  string
	}{
		{"unknown update", func(h *host, p *port) uint32 { return 1 << 20 }, "no such update"},
		{"control bit", func(h *host, p *port) uint32 { h.write32(p.base, ctlEnable|1<<17); return 1 }, "not offered"},
		{"no program", func(h *host, p *port) uint32 { h.write32(p.base, ctlEnable|ctlBPF); return 1 }, "no program was loaded"},
		{"ring size", func(h *host, p *port) uint32 { h.write(p.base+barTXSize, []byte{40}); return 3 }, "2^40 entries"},
		{"ring count", func(h *host, p *port) uint32 { h.write64(p.base+barRXEnable, 1<<63); return 3 }, "there are 4"},
		{"mtu", func(h *host, p *port) uint32 { h.write32(p.base+barMTU, 65535); return 1 }, "mtu 65535"},
		{"program of nothing", func(h *host, p *port) uint32 { return updateBPF }, "0 words"},
		{"program too long", func(h *host, p *port) uint32 { h.write(p.base+barBPFWords, []byte{0xff, 0xff}); return updateBPF }, "65535 words"},
		{"program mode", func(h *host, p *port) uint32 { h.program(p, ramBase|1, 1); return updateBPF }, "mode 1"},
		{"program nowhere", func(h *host, p *port) uint32 { h.program(p, 0x7fff_ffff_ffff_fff8&^7, 8); return updateBPF }, "not granted"},
		{"check bits", func(h *host, p *port) uint32 { h.program(p, h.words(1<<46), 1); return updateBPF }, "word 0"},
		{"top bits", func(h *host, p *port) uint32 {
			h.program(p, h.words(nfp.WithECC(0)|1<<52), 1)
			return updateBPF
		}, "above its check bits"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, a, b := pair(t, &Options{})
			if a.reconfigure(test.do(h, a)) {
				t.Error("was accepted")
			}
			if len(h.lines) != 1 || !strings.Contains(h.lines[0], test.log) {
				t.Errorf("log %q, want one line with %q", h.lines, test.log)
			}
			a.send(0, frame(80))
			if got, _ := b.receive(); len(got) != 80 {
				t.Errorf("packets no longer pass: got %d bytes", len(got))
			}
		})
	}
}

// program writes the address and length of a program to the control BAR.
func (h *host) program(p *port, addr uint64, words int) {
	h.write(p.base+barBPFWords, binary.LittleEndian.AppendUint16(nil, uint16(words)))
	h.write64(p.base+barBPFAddr, addr)
}

func (h *host) words(words ...uint64) uint64 {
	addr := h.alloc(8 * len(words))
	for i, w := range words {
		binary.LittleEndian.PutUint64(h.ram[addr-ramBase+8*uint64(i):], w)
	}
	return addr
}

// load assembles a program, links it for the port's slot and loads it, as the driver
// does.
func (p *port) load(src string) bool {
	p.t.Helper()
	im, err := nfp.Assemble(".image \"test\"\n" + src)
	if err != nil {
		p.t.Fatal(err)
	}
	place := nfp.Placement{Start: int(binary.LittleEndian.Uint16(p.read(p.base+barBPFStart, 2))), Done: int(binary.LittleEndian.Uint16(p.read(p.base+barBPFDone, 2))), Helpers: p.card.profile.Helpers}
	words, err := im.Link(place)
	if err != nil {
		p.t.Fatal(err)
	}
	raw := make([]uint64, len(words))
	for i, w := range words {
		raw[i] = nfp.WithECC(w)
	}
	p.program(p, p.words(raw...), len(raw))
	ok := p.reconfigure(updateBPF)
	return ok
}

// verdict returns a program that ends with the given upper half of the result word.
func verdict(high int) string {
	return fmt.Sprintf("br[.1], defer[1] @done\nimmed[gprA_0, 0x%x, <<16]\n", high)
}

func (p *port) control(bits uint32) bool {
	p.t.Helper()
	p.write32(p.base+barControl, ctlEnable|bits)
	return p.reconfigure(updateGeneral)
}

func TestProgram(t *testing.T) {
	h, a, b := pair(t, &Options{})
	steps := []struct {
		high       int
		back, pass int // bytes that a receives back and that b receives
	}{{0x11, 0, 70}, {0x22, 0, 0}, {0x44, 70, 0}, {0x82, 0, 0}, {0x02, 0, 0}, {0x11, 0, 70}}
	for i, s := range steps {
		if !b.load(verdict(s.high)) {
			t.Fatalf("load: %q", h.lines)
		}
		if i == 0 && !b.control(ctlBPF) {
			t.Fatalf("start: %q", h.lines)
		}
		a.send(0, frame(70))
		pass, _ := b.receive()
		back, _ := a.receive()
		if len(pass) != s.pass || len(back) != s.back {
			t.Errorf("verdict 0x%x: %d bytes pass, %d come back", s.high, len(pass), len(back))
		}
	}
	for i, want := range []uint64{2, 140, 1, 70, 1, 70, 1, 70} {
		if got := h.read64(b.base + barStats + 8*uint64(statApp+i)); got != want {
			t.Errorf("application counter %d: %d, want %d", i, got, want)
		}
	}
	// The other port has its own program.
	if !a.load(verdict(0x22)) || !a.control(ctlBPF) {
		t.Fatalf("load: %q", h.lines)
	}
	if !b.load(verdict(0x44)) {
		t.Fatalf("load: %q", h.lines)
	}
	a.send(0, frame(70)) // b sends it back, a drops it
	if back, _ := a.receive(); back != nil {
		t.Errorf("dropped packet came back")
	}
	if words, on := h.card.Words(1); len(words) != 2 || !on {
		t.Errorf("words %x, running %v", words, on)
	}
	// Both programs send the frame back: maxHops ends it.
	if !a.load(verdict(0x44)) {
		t.Fatalf("load: %q", h.lines)
	}
	a.send(0, frame(70))
	if len(h.lines) != 1 || !strings.Contains(h.lines[0], "back and forth") {
		t.Errorf("log %q", h.lines)
	}
	if !a.control(0) || !b.control(0) {
		t.Fatalf("stop: %q", h.lines)
	}
	a.send(0, frame(71))
	if got, _ := b.receive(); len(got) != 71 {
		t.Errorf("%d bytes after the programs stopped", len(got))
	}
}

// TestReplace checks that every packet meets either the old program or the new one.
func TestReplace(t *testing.T) {
	h, a, b := pair(t, &Options{})
	if !b.load(verdict(0x22)) || !b.control(ctlBPF) {
		t.Fatalf("%q", h.lines)
	}
	at := [2]uint64{}
	for i, high := range []int{0x22, 0x44} { // statistics 1 and 2
		im, _ := nfp.Assemble(".image \"test\"\n" + verdict(high))
		words, err := im.Link(nfp.Placement{Start: h.card.vnics[1].start(), Done: 1})
		if err != nil {
			t.Fatal(err)
		}
		at[i] = h.words(nfp.WithECC(words[0]), nfp.WithECC(words[1]))
	}
	const n = 500
	for i := range n {
		a.send(0, frame(60))
		h.program(b, at[i&1], 2)
		if !b.reconfigure(updateBPF) {
			t.Fatalf("replace: %q", h.lines)
		}
		a.receive()
	}
	seen := uint64(0)
	for i := range uint64(4) {
		seen += h.read64(b.base + barStats + 8*(statApp+2*i))
	}
	if got, _ := b.receive(); seen != n || got != nil {
		t.Errorf("%d of %d packets were seen by a program", seen, n)
	}
}

// TestFaultyProgram checks that a faulting program loses the packet, and the card
// keeps running.
func TestFaultyProgram(t *testing.T) {
	h, a, b := pair(t, &Options{})
	if !b.load("alu[gprA_0, *l$index3[2], +, 1]\n") || !b.control(ctlBPF) {
		t.Fatalf("%q", h.lines)
	}
	a.send(0, frame(60))
	if got, _ := b.receive(); got != nil || len(h.lines) != 1 || h.read64(b.base+barStats+8*statErrors) != 1 {
		t.Errorf("got %d bytes, log %q", len(got), h.lines)
	}
	if !b.load(verdict(0x11)) {
		t.Fatalf("%q", h.lines)
	}
	a.send(0, frame(60))
	if got, _ := b.receive(); got == nil {
		t.Error("the card is stuck")
	}
}

func TestChecksums(t *testing.T) {
	h, a, b := pair(t, &Options{})
	ip := append(frame(14), 0x45, 0, 0, 32, 0, 1, 0, 0, 64, protoUDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		0x30, 0x39, 0, 53, 0, 12, 0xde, 0xad, 1, 2, 3, 4)
	ip[12], ip[13] = 8, 0
	a.send(0, ip)
	if _, flags := b.receive(); flags != rxIP4Csum|rxUDPCsum {
		t.Errorf("wrong checksums: flags 0x%x", flags)
	}
	a.send(txCsum|txIP4Csum|txUDPCsum, ip)
	got, flags := b.receive()
	if flags != 3*rxIP4Csum>>1|3*rxUDPCsum>>1 {
		t.Errorf("filled in: flags 0x%x, % x", flags, got)
	}
	// Computed by hand: 4500 + 0020 + 0001 + 4011 + 0a00 + 0001 + 0a00 + 0002 = 9935.
	if want := []byte{0x66, 0xca}; len(got) < 26 || !bytes.Equal(got[24:26], want) {
		t.Errorf("ip checksum % x, want % x", got[24:26], want)
	}
	if len(h.lines) > 0 {
		t.Errorf("log %q", h.lines)
	}
}

// TestRingErrors checks that a descriptor with a bad address switches its ring off.
func TestRingErrors(t *testing.T) {
	h, a, b := pair(t, &Options{})
	binary.LittleEndian.PutUint64(h.ram[a.tx-ramBase:], 0x0000_0000_803c_0000)
	a.bell(a.txQ, queueAddWrite, 1)
	if len(h.lines) != 1 || !strings.Contains(h.lines[0], "switched off") || h.refused == 0 {
		t.Errorf("log %q", h.lines)
	}
	copy(h.ram[b.rx-ramBase:], []byte{0, 0, 0, 0, 0, 0, 0, 0})
	if err := h.card.Receive(1, frame(60)); err != nil {
		t.Fatal(err)
	}
	if len(h.lines) != 2 || !strings.Contains(h.lines[1], "receive ring 0: entry 0") {
		t.Errorf("log %q", h.lines)
	}
	h.lines = nil
	b.bell(b.txQ, queueAddWrite, 5000)
	if len(h.lines) != 1 || !strings.Contains(h.lines[0], errRingOver.Error()) {
		t.Errorf("log %q", h.lines)
	}
}
