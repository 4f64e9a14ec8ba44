package linux

import (
	"slices"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// textFacts verifies a program in text, with r6 a 32-bit number of the packet and r9
// the context.
func textFacts(t *testing.T, typ, body string) *verify.Facts {
	t.Helper()
	offsets := map[string][2]string{"xdp": {"0", "4"}, "tc": {"76", "80"}}[typ]
	tail := "\n\tr0 = 2\n\texit\n"
	if strings.HasSuffix(body, "\texit") {
		tail = "\n"
	}
	text := ".license \"GPL\"\n.program " + typ + " main\n" +
		"\tr9 = r1\n\tr8 = *(u32 *)(r1 + " + offsets[0] + ")\n\tr7 = *(u32 *)(r1 + " + offsets[1] + ")\n\tr2 = r8\n\tr2 += 64\n\tif r2 > r7 goto out\n\tr6 = *(u32 *)(r8 + 16)\n" +
		body + tail + "out:\n\tr0 = 2\n\texit\n"
	f, err := asmtext.Parse("test", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	c, faults := code.New(f.Spec.Programs["main"], f.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	facts, refused := verify.Survey(c, nil)
	if facts == nil || refused != nil {
		t.Fatalf("%v\n%s", refused, text)
	}
	return facts
}

func words(reasons []verify.Reason) (list []string) {
	for _, r := range reasons {
		list = append(list, r.Reason)
	}
	return list
}

// TestWarnCard checks that each warning about a difference between card and host is
// given if it applies, and only then.
func TestWarnCard(t *testing.T) {
	call := func(helper, r2 string) string { return "\tr1 = r9\n" + r2 + "\n\tcall " + helper }
	for _, x := range []struct{ name, typ, body, firmware, want string }{
		{"redirect", "xdp", "\tr0 = 4\n\texit", "stock", "card-redirect"},
		{"redirect on one path", "xdp", "\tr0 = 2\n\tif r6 == 0 goto on\n\tr0 = 4\non:\n\texit", "stock", "card-redirect"},
		{"one of eight", "xdp", "\tr0 = r6\n\tr0 &= 7\n\texit", "stock", "card-redirect"},
		{"redirect where it is one", "xdp", "\tr0 = 4\n\texit", "extended", ""},
		{"transmit", "xdp", "\tr0 = 3\n\texit", "stock", ""},
		{"five", "xdp", "\tr0 = 5\n\texit", "stock", ""},
		{"any number", "xdp", "\tr0 = r6\n\texit", "stock", ""},
		{"queued", "tc", "\tr0 = 5\n\texit", "stock", "card-tc-verdict"},
		{"trap", "tc", "\tr0 = 8\n\texit", "stock", "card-tc-verdict"},
		{"tc redirect", "tc", "\tr0 = 7\n\texit", "stock", "card-tc-verdict"},
		{"shot", "tc", "\tr0 = 2\n\texit", "stock", ""},
		{"unspecified", "tc", "\tr0 = -1\n\texit", "stock", ""},
		{"tail grows", "xdp", call("bpf_xdp_adjust_tail", "\tr2 = 4"), "stock", "card-tail-grow"},
		{"tail may grow", "xdp", call("bpf_xdp_adjust_tail", "\tr2 = r6\n\tr2 &= 15\n\tr2 -= 8"), "stock", "card-tail-grow"},
		{"tail is cut", "xdp", call("bpf_xdp_adjust_tail", "\tr2 = -4"), "stock", ""},
		{"head in the room", "xdp", call("bpf_xdp_adjust_head", "\tr2 = -84"), "stock", ""},
		{"head before the room", "xdp", call("bpf_xdp_adjust_head", "\tr2 = -85"), "stock", "card-head-room"},
		{"head past the room", "xdp", call("bpf_xdp_adjust_head", "\tr2 = 113"), "stock", "card-head-room"},
		{"queue", "xdp", "\tr6 &= 255\n\t*(u32 *)(r9 + 16) = r6", "stock", ""},
		{"queue above 255", "xdp", "\tr6 &= 511\n\t*(u32 *)(r9 + 16) = r6", "stock", "card-queue"},
	} {
		p, err := firmware.Load(x.firmware)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Compact(words(WarnCard(textFacts(t, x.typ, x.body), p)))
		if strings.Join(got, " ") != x.want {
			t.Errorf("%s: warnings %q, want %q", x.name, got, x.want)
		}
	}
}

// TestKernels checks each difference between releases with one program on either side.
func TestKernels(t *testing.T) {
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	const (
		stale = "\tr2 = r8\n\tr2 += 64\n\tif r2 > r7 goto past\n\tr0 = 2\n\texit\npast:\n\tr2 += -20\n\tif r2 > r7 goto out\n\tr5 = *(u8 *)(r2 - 1)"
		sum   = "\tr4 = r6\n\tr4 += 1\n\tif r6 > 100 goto out\n\tr4 *= r6"
	)
	for _, x := range []struct {
		name, body string
		reason     string
		on         []string // releases that refuse or are warned of; "" none
	}{
		{"sign-extending move", "\tr4 = (s8)r6", "driver-kernel", []string{"6.1"}},
		{"signed division", "\tr6 s/= 3", "driver-kernel", []string{"6.1"}},
		{"long jump", "\tif r6 == 7 goto on\n\tgotol out\non:", "driver-kernel", []string{"6.1"}},
		{"plain division", "\tr6 /= 3", "driver-kernel", nil},
		{"sum of a bounded number", sum, "driver-mul-range", []string{"6.1", "6.6"}},
		{"number found from its sum", "\tr4 = r6\n\tr4 += 4\n\tif r4 != 9 goto out\n\tr8 += r6\n\tr5 = *(u8 *)(r8 + 0)", "not-a-pointer", []string{"6.11", "6.12"}},
		{"pointer moved back", stale, "kernel-stale-end", []string{"6.1", "6.6", "6.11", "6.12"}},
	} {
		for _, k := range Kernels() {
			f := textFacts(t, "xdp", x.body)
			view := NewView(f, &k)
			got := append(words(view.Check(p, 0)), words(view.Warnings(p))...)
			if has := slices.Contains(got, x.reason); has != slices.Contains(x.on, k.Release) {
				t.Errorf("%s: on %s %v", x.name, k.Release, got)
			}
		}
	}
}

// TestKernelFor checks that a release without rules of its own has those of the
// nearest earlier one, with a note.
func TestKernelFor(t *testing.T) {
	for _, x := range []struct{ release, want, note, err string }{
		{"6.1", "6.1", "", ""},
		{"6.12", "6.12", "", ""},
		{"6.12.117-amd64", "6.12", "", ""},
		{"6.18.44-fc-v1045", "6.18", "", ""},
		{"6.10", "6.6", "there are no rules for kernel 6.10", ""},
		{"7.3", "6.18", "there are no rules for kernel 7.3", ""},
		{"5.15", "", "", "kernel 5.15 is older than 6.1; there are rules for 6.1, 6.6, 6.11, 6.12, 6.18"},
		{"six", "", "", `kernel "six": write a release such as`},
		{"", "", "", `kernel "": write a release such as`},
		{"6.", "", "", `write a release such as`},
		{"-6.1", "", "", `write a release such as`},
	} {
		k, note, err := KernelFor(x.release)
		switch {
		case x.err != "":
			if err == nil || !strings.Contains(err.Error(), x.err) {
				t.Errorf("%q: error %v, want %q", x.release, err, x.err)
			}
		case err != nil || k.Release != x.want || !strings.HasPrefix(note, x.note) || x.note == "" && note != "":
			t.Errorf("%q: %s, note %q, error %v", x.release, k.Release, note, err)
		}
	}
}

// TestWordsUnsure checks that a program whose length lies between two bounds is
// refused if the lower bound is too many words, and warned of if the upper
// bound is.
func TestWordsUnsure(t *testing.T) {
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	f := textFacts(t, "xdp", "\tr4 = *(u64 *)(r8 + 8)\n\tr4 += r6\n\t*(u64 *)(r8 + 8) = r4")
	view := NewView(f, nil)
	least, most := view.Words()
	if least >= most {
		t.Fatalf("%d to %d words: no room between", least, most)
	}
	for _, x := range []struct {
		room            int
		refused, warned bool
	}{{most, false, false}, {most - 1, false, true}, {least, false, true}, {least - 1, true, false}} {
		p.MaxLen = x.room
		if got := slices.Contains(words(view.Check(p, 0)), "driver-code-size"); got != x.refused {
			t.Errorf("room for %d of %d to %d words: refused %v", x.room, least, most, got)
		}
		if got := slices.Contains(words(view.Warnings(p)), "driver-words-unsure"); got != x.warned {
			t.Errorf("room for %d of %d to %d words: warned %v", x.room, least, most, got)
		}
	}
}
