package driver

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp"
)

// verdictWords is a program of two words that ends with a result word's upper half.
func verdictWords(t *testing.T, start, high int) []nfp.Word {
	t.Helper()
	im, err := nfp.Assemble(fmt.Sprintf(".image \"v\"\nbr[.1], defer[1] @done\nimmed[gprA_0, 0x%x, <<16]\n", high))
	if err != nil {
		t.Fatal(err)
	}
	words, err := im.Link(nfp.Placement{Start: start, Done: 1})
	if err != nil {
		t.Fatal(err)
	}
	return words
}

// TestSlots checks that slots are independent and can be replaced in place, and that
// either program type's result is right.
func TestSlots(t *testing.T) {
	n, err := New(profile(t, "stock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	low, high := n.Profile.Start, n.Profile.Start+2800
	place := func(start, verdict int) *Program {
		t.Helper()
		p, err := n.Place("p", start, verdictWords(t, start, verdict))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	expect := func(p *Program, action uint32) {
		t.Helper()
		r, err := n.Run(p, &Input{Packet: make([]byte, 60)})
		if err != nil || r.Action != action {
			t.Errorf("program at %d: %+v, %v, want action %d", p.Start, r, err, action)
		}
	}
	a, b := place(low, 0x11), place(high, 0x22)
	expect(a, XDPPass)
	expect(b, XDPDrop)
	a = place(low, 0x02) // only a TC program ends like this
	expect(a, TCStolen)
	expect(b, XDPDrop)
	for _, bad := range []struct {
		start int
		words []nfp.Word
	}{{low + 1, verdictWords(t, low, 0x11)}, {low - 1, verdictWords(t, low, 0x11)}, {nfp.StoreWords - 1, verdictWords(t, low, 0x11)}, {low, nil}, {low, []nfp.Word{1<<45 - 1}}} {
		var le *LoadError
		if _, err := n.Place("bad", bad.start, bad.words); !errors.As(err, &le) {
			t.Errorf("%d words at %d: %v", len(bad.words), bad.start, err)
		}
	}
	expect(a, TCStolen)
	if err := n.Displace(low); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Run(a, &Input{Packet: make([]byte, 60)}); err == nil {
		t.Error("a displaced program runs")
	}
	expect(b, XDPDrop)
}

// TestFreeMap checks that table ids of freed maps are assigned again, the lowest
// first, and that freed maps no longer count against the firmware's limits.
func TestFreeMap(t *testing.T) {
	n, err := New(profile(t, "stock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1_000_000}
	for want := uint32(1); want <= 3; want++ {
		if m, err := n.CreateMap(spec); err != nil || m.ID != want {
			t.Fatalf("map %d: %v, %v", want, m, err)
		}
	}
	if _, err := n.CreateMap(spec); err == nil {
		t.Error("four million entries fit")
	}
	if err := n.FreeMap(2); err != nil {
		t.Fatal(err)
	}
	if n.FreeMap(2) == nil || n.Table(2) != nil || n.FreeMap(9) == nil || n.FreeMap(0) == nil {
		t.Error("a map that is not there can be had or freed")
	}
	if m, err := n.CreateMap(spec); err != nil || m.ID != 2 || n.Table(2) != m || len(n.Maps()) != 3 {
		t.Errorf("after a map was freed: %v, %v", m, err)
	}
}
