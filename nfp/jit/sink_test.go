package jit_test

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// translate is address translation: inward it writes another destination, outward
// another source, each with its port and its MAC addresses, of which the source's
// tail was written before; the header's checksum is corrected for both.
const translate = `.program xdp nat
	r2 = *(u32 *)(r1 + 4)
	r1 = *(u32 *)(r1 + 0)
	r3 = r1
	r3 += 42
	if r3 > r2 goto pass
	r3 = *(u16 *)(r1 + 12)
	if r3 != 0x0008 goto pass
	r3 = *(u8 *)(r1 + 14)
	if r3 != 0x45 goto pass
	r6 = *(u16 *)(r1 + 24)
	r4 = 0x0200
	*(u16 *)(r1 + 6) = r4
	r4 = *(u32 *)(r1 + 26)
	w4 &= 0xff
	if w4 == 10 goto outward
	r4 = *(u32 *)(r1 + 30)
	r5 = 0x0100000a
	*(u32 *)(r1 + 30) = r5
	r7 = 0x5000
	*(u16 *)(r1 + 36) = r7
	r8 = 0x01000000
	*(u32 *)(r1 + 0) = r8
	r8 = 0x0100
	*(u16 *)(r1 + 4) = r8
	goto both
outward:
	r4 = *(u32 *)(r1 + 26)
	r5 = 0x010200c0
	*(u32 *)(r1 + 26) = r5
	r7 = 0x3930
	*(u16 *)(r1 + 34) = r7
	r8 = 0x02000000
	*(u32 *)(r1 + 0) = r8
	r8 = 0x0200
	*(u16 *)(r1 + 4) = r8
both:
	r6 ^= 0xffff
	w4 ^= -1
	w9 = w4
	w9 >>= 16
	w4 &= 0xffff
	w6 += w9
	w6 += w4
	w9 = w5
	w9 >>= 16
	w5 &= 0xffff
	w6 += w9
	w6 += w5
	w9 = w6
	w9 >>= 16
	w6 &= 0xffff
	w6 += w9
	w9 = w6
	w9 >>= 16
	w6 += w9
	r6 ^= 0xffff
	*(u16 *)(r1 + 24) = r6
	r0 = 3
	exit
pass:
	r0 = 2
	exit
`

// TestSinkPays checks that store sinking and direct computation in transfer registers
// make a translator's code shorter and faster on both paths, with the same result.
func TestSinkPays(t *testing.T) {
	f := verified(t, translate, "nat")
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	run := func(off []string, packet []byte) (*driver.Result, int) {
		t.Helper()
		im, err := jit.Compile(f, p, &jit.Options{Check: true, Off: off})
		if err != nil {
			t.Fatal(err)
		}
		nic, err := driver.New(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := nic.Load(im, ebpf.XDP)
		if err != nil {
			t.Fatal(err)
		}
		got, err := nic.Run(prog, &driver.Input{Packet: bytes.Clone(packet)})
		if err != nil {
			t.Fatal(err)
		}
		return got, len(im.Words)
	}
	for _, from := range []byte{10, 192} {
		packet := make([]byte, 60)
		for i := range packet {
			packet[i] = byte(7 * i)
		}
		packet[12], packet[13], packet[14], packet[26] = 8, 0, 0x45, from
		got, words := run(nil, packet)
		want, before := run([]string{"store-sinking", "xfer-targeting"}, packet)
		if got.Action != want.Action || !bytes.Equal(got.Packet, want.Packet) {
			t.Errorf("from %d: action %d, packet\n%x, want %d\n%x", from, got.Action, got.Packet, want.Action, want.Packet)
		}
		t.Logf("from %d: words %d, %d without; cycles %d, %d; elapsed %d, %d", from, words, before, got.Issue, want.Issue, got.Elapsed, want.Elapsed)
		if words >= before || got.Issue >= want.Issue || got.Elapsed >= want.Elapsed {
			t.Errorf("from %d: words %d, %d without; cycles %d, %d; elapsed %d, %d", from, words, before, got.Issue, want.Issue, got.Elapsed, want.Elapsed)
		}
	}
}

// verified returns the facts of a program of a text.
func verified(t *testing.T, text, program string) *verify.Facts {
	t.Helper()
	file, err := asmtext.Parse("text", text)
	if err != nil {
		t.Fatal(err)
	}
	c, faults := code.New(file.Spec.Programs[program], file.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	f, err := verify.Verify(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
