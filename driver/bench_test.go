package driver

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp"
)

// BenchmarkPacket is the cost of a packet beyond its words: a program of two.
func BenchmarkPacket(b *testing.B) {
	n, err := New(profile(b, "stock"), nil)
	if err != nil {
		b.Fatal(err)
	}
	im, err := nfp.Assemble(".image \"pass\"\nbr[.1], defer[1] @done\nimmed[gprA_0, 0x11, <<16]\n")
	if err != nil {
		b.Fatal(err)
	}
	prog, err := n.Load(im, ebpf.XDP)
	if err != nil {
		b.Fatal(err)
	}
	in := &Input{Packet: make([]byte, 60)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Run(prog, in); err != nil {
			b.Fatal(err)
		}
	}
}
