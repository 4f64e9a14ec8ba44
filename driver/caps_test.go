package driver

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp/firmware"
)

func profile(t testing.TB, name string) *firmware.Profile {
	t.Helper()
	p, err := firmware.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCapsRoundTrip prints the capabilities of each profile as the Linux driver reads
// them.
func TestCapsRoundTrip(t *testing.T) {
	for _, name := range firmware.Names() {
		p := profile(t, name)
		c, err := ParseCaps(EncodeCaps(p))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.ABI != p.ABI || !c.Random || !c.AdjustTail || c.Queue != p.QueueSelect || !c.NoMeta || *c.AdjustHead != p.AdjustHead {
			t.Errorf("%s: %+v", name, c)
		}
		for id, at := range p.Helpers {
			if driverFuncs[id] && c.Funcs[id] != at {
				t.Errorf("%s: helper %d at %d, want %d", name, id, c.Funcs[id], at)
			}
		}
	}
	c, err := ParseCaps(EncodeCaps(profile(t, "corenic")))
	if err != nil || *c.Maps != (MapCaps{0x6, 128, 2048000, 56, 56, 64}) || len(c.Funcs) != 1 {
		t.Errorf("corenic: %+v, %v", c.Maps, err)
	}
}

func tlv(words ...uint32) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func TestParseCapsRules(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		err  string // part of it; "" for none
		warn string
		abi  int
	}{
		{"none", nil, "", "", 2},
		{"unknown type is skipped", tlv(99, 4, 1, 7, 4, 3), "", "", 3},
		{"half a header", tlv(4, 0, 4), "a header has 8", "", 0},
		{"overrun", tlv(1, 12, 1, 2), "12 bytes, 8 left", "", 0},
		{"huge length", tlv(1, 0xffffffff), "0 left", "", 0},
		{"short function", tlv(1, 4, 1), "at least 8", "", 0},
		{"long function", tlv(1, 12, 1, 272, 5), "", "", 2},
		{"short adjust_head", tlv(2, 16, 1, 2, 3, 4), "at least 20", "", 0},
		{"off_min above off_max", tlv(2, 20, 1, 9, 8, 0, 0), "off_min 9 above", "", 0},
		{"offset of more than a byte", tlv(2, 20, 1, 0, 256, 0, 0), "", "adjust_head is off", 2},
		{"abi 4", tlv(7, 4, 4), "", "offload is off", 0},
		{"short abi", tlv(7, 0), "at least 4", "", 0},
	} {
		got, err := ParseCaps(c.data)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case got.ABI != c.abi || !strings.Contains(strings.Join(got.Warnings, ";"), c.warn):
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// FuzzParseCaps checks that a parse never panics and returns no more than the data
// holds.
func FuzzParseCaps(f *testing.F) {
	for _, name := range firmware.Names() {
		f.Add(EncodeCaps(profile(f, name)))
	}
	f.Add(tlv(1, 0xfffffff8))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCaps(data)
		if err == nil && 16*len(c.Funcs) > len(data) {
			t.Errorf("%d functions in %d bytes", len(c.Funcs), len(data))
		}
	})
}

// TestResultWords checks that each code's word gives back the code, or a smaller one
// with the same word.
func TestResultWords(t *testing.T) {
	for _, name := range firmware.Names() {
		p := profile(t, name)
		for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
			for code := uint32(0); code < 300; code++ {
				word := ResultWord(p, typ, code)
				back, err := codeOf(p, typ, word)
				if err != nil || back > code || ResultWord(p, typ, back) != word || Canonical(p, typ, code) != back {
					t.Errorf("%s %s %d: word 0x%x, back %d, %v", name, typ, code, word, back, err)
				}
			}
		}
		redirects := p.XDPWord(4) == firmware.WordRedirect
		if want := name == "extended" || name == "unlimited"; redirects != want {
			t.Errorf("%s: redirect has a word of its own: %v", name, redirects)
		}
	}
	if _, err := codeOf(profile(t, "stock"), ebpf.XDP, 0x330000); err == nil {
		t.Error("a word without a code is accepted")
	}
}

// TestResultTables compares with the tables of the common exit: XDP 0x44112282 with 8
// bits per code, TC 0x41221211 and 0x41001211 with 4 bits per code, the low and high
// nibble of the word's byte.
func TestResultTables(t *testing.T) {
	p := profile(t, "stock")
	for code := uint32(0); code < 4; code++ {
		if got, want := p.XDPWord(code), 0x44112282>>(8*code)&0xff<<16; got != uint32(want) {
			t.Errorf("xdp %d: 0x%x, want 0x%x", code, got, want)
		}
	}
	for code := uint32(0); code < 8; code++ {
		want := uint32(0x41221211)>>(4*code)&15<<16 | uint32(0x41001211)>>(4*code)&15<<20
		if got := p.TCWord(code); got != want {
			t.Errorf("tc %d: 0x%x, want 0x%x", code, got, want)
		}
	}
}
