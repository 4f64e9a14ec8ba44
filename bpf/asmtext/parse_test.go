package asmtext

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

const sample = `; packets by protocol
.map counts hash key=4 value=8 entries=256
.map .rodata array key=4 value=4 entries=1 flags=0x80 data=0a000001
.map outer array_of_maps key=4 value=4 entries=2 inner=counts
.license "Dual BSD/GPL"

.program xdp count
	r6 = r1
	r1 = map[.rodata][0]+2 ll
	if r6 == 0 goto out
	call twice
again:	r6 += -1
	if r6 s> 7 goto again
	gotol out
	r1 = subprog[twice]
out:
	r0 = 2
	exit
.func twice
	r0 = r1
	r0 += r1
	exit

.program tc other section="classifier/other"
	w0 = -1
	exit
`

// canonical is sample as Print writes it.
const canonical = `.map counts hash key=4 value=8 entries=256
.map .rodata array key=4 value=4 entries=1 flags=0x80 data="0a000001"
.map outer array_of_maps key=4 value=4 entries=2 inner=counts

.license "Dual BSD/GPL"
.program xdp count
	r6 = r1
	r1 = map[.rodata][0]+2 ll
	if r6 == 0 goto L10
	call twice
L5:
	r6 += -1
	if r6 s> 7 goto L5
	gotol L10
	r1 = subprog[twice]
L10:
	r0 = 2
	exit
.func twice
	r0 = r1
	r0 += r1
	exit

.program sched_cls other section=classifier/other
	w0 = -1
	exit
`

func TestParseFile(t *testing.T) {
	f, err := Parse("sample.bpf", sample)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.Programs, " ") + "; " + strings.Join(f.Maps, " "); got != "count other; counts .rodata outer" {
		t.Errorf("names: %s", got)
	}
	p := f.Spec.Programs["count"]
	if p.Type != ebpf.XDP || p.License != "Dual BSD/GPL" || p.Instructions[0].Symbol() != "count" {
		t.Errorf("program: %v %q %q", p.Type, p.License, p.Instructions[0].Symbol())
	}
	if got := p.Instructions[2].Offset; got != 6 {
		t.Errorf("jump over a wide load: %+d, want +6", got)
	}
	if got := p.Instructions[5].Offset; got != -2 {
		t.Errorf("jump back: %+d, want -2", got)
	}
	if call := p.Instructions[3]; call.Reference() != "twice" || call.Constant != -1 || call.Src != asm.PseudoCall {
		t.Errorf("call: %v", call)
	}
	if m := f.Spec.Maps["outer"]; m.InnerMap != f.Spec.Maps["counts"] {
		t.Errorf("inner map: %v", m.InnerMap)
	}
	l, ok := p.Instructions[4].Source().(*btf.Line)
	if !ok || l.FileName() != "sample.bpf" || l.LineNumber() != 12 || l.LineColumn() != 8 || l.Line() != "again:	r6 += -1" {
		t.Errorf("source line: %#v", l)
	}
}

func TestPrint(t *testing.T) {
	f, err := Parse("", sample)
	if err != nil {
		t.Fatal(err)
	}
	got := Print(f)
	if want := strings.ReplaceAll(canonical, "classifier/other", `"classifier/other"`); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	again, err := Parse("", got)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range f.Spec.Programs {
		q := again.Spec.Programs[name].Instructions
		for i, ins := range p.Instructions {
			if !sameFields(q[i], ins, false) || q[i].Symbol() != ins.Symbol() || q[i].Reference() != ins.Reference() {
				t.Errorf("%s %d: %v, want %v", name, i, q[i], ins)
			}
		}
	}
}

// TestListings pastes what other tools print.
func TestListings(t *testing.T) {
	want := "\tr6 = r1\n\tr1 = 5 ll\n\tif r6 == 0 goto L4\nL4:\n\texit\n"
	for name, src := range map[string]string{
		"verifier": "0: (bf) r6 = r1\n1: (18) r1 = 0x5 ll\n3: (15) if r6 == 0x0 goto pc+0\n4: (95) exit",
		"objdump": "       0:	bf 16 00 00 00 00 00 00	r6 = r1\n" +
			"       1:	18 01 00 00 05 00 00 00 00 00 00 00 00 00 00 00	r1 = 5 ll\n" +
			"       3:	15 06 00 00 00 00 00 00	if r6 == 0 goto +0 <LBB0_1>\n" +
			"       4:	95 00 00 00 00 00 00 00	exit\n",
		"plain": "r6 = r1\r\nr1 = 5 ll\r\nif r6 == 0 goto pc+0\r\nexit\r\n",
	} {
		insns, err := ParseInsns(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := printInsns(insns, ""); got != want {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}

// TestErrors reads testdata/errors.txt. Each expected error is a comment on the line
// that causes it.
func TestErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range strings.Split(string(data), "----\n") {
		var want []string
		for i, line := range strings.Split(src, "\n") {
			if _, msg, ok := strings.Cut(line, "; ERROR "); ok {
				want = append(want, strings.Replace(msg, "@", fmt.Sprintf("f:%d:", i+1), 1))
			}
		}
		_, err := Parse("f", src)
		var errs Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: no error", src)
			continue
		}
		var got []string
		for _, e := range errs {
			got = append(got, e.Error())
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", src, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		var one *Error
		if !errors.As(err, &one) {
			t.Error("no *Error inside")
		}
	}
}

// TestFarJump checks the reach of the two jumps.
func TestFarJump(t *testing.T) {
	body := strings.Repeat("r1 = 0\n", 40000)
	if _, err := ParseInsns("goto out\n" + body + "out: exit\n"); err == nil || !strings.Contains(err.Error(), "use gotol") {
		t.Errorf("goto over 40000 slots: %v", err)
	}
	insns, err := ParseInsns("gotol out\n" + body + "out: exit\n")
	if err != nil || insns[0].Constant != 40000 {
		t.Errorf("gotol over 40000 slots: %v", err)
	}
}

func TestTypeNames(t *testing.T) {
	for typ := ebpf.UnspecifiedProgram; typ <= ebpf.Netfilter; typ++ {
		if back, ok := ProgramType(ProgramTypeName(typ)); !ok || back != typ {
			t.Errorf("program type %v: %q", typ, ProgramTypeName(typ))
		}
	}
	for typ := ebpf.UnspecifiedMap; typ <= ebpf.Arena; typ++ {
		if back, ok := MapType(MapTypeName(typ)); !ok || back != typ {
			t.Errorf("map type %v: %q", typ, MapTypeName(typ))
		}
	}
	if name := MapTypeName(ebpf.WindowsHash); name != "" {
		t.Errorf("a map of another system: %q", name)
	}
}

// TestHelperNames compares the helper names with the kernel's own list.
func TestHelperNames(t *testing.T) {
	header, err := os.ReadFile("/usr/include/linux/bpf.h")
	if err != nil {
		t.Skip("the kernel's header linux/bpf.h is not installed")
	}
	_, list, ok := strings.Cut(string(header), "FUNC_MAPPER(FN")
	if !ok {
		t.Skip("linux/bpf.h has no list of helpers")
	}
	list, _, _ = strings.Cut(list, "\n\n")
	// A line is FN(name), and since Linux 6.2 FN(name, number, ...); numbers
	// are consecutive.
	n := 0
	for _, line := range strings.Split(list, "\n") {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "FN(")
		if !ok {
			continue
		}
		name := line[:strings.IndexAny(line, ",)")]
		if got := HelperName(int64(n)); n > 0 && got != "bpf_"+name {
			t.Errorf("helper %d: %s, the kernel says bpf_%s", n, got, name)
		}
		n++
	}
	if n < 100 {
		t.Errorf("only %d helpers compared", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	for _, v := range vectors(f) {
		f.Add(v.text)
	}
	if names, err := filepath.Glob("../../examples/*.bpf"); err == nil {
		for _, name := range names {
			if src, err := os.ReadFile(name); err == nil {
				f.Add(string(src))
			}
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		file, err := Parse("f", src)
		if err != nil {
			return
		}
		text := Print(file)
		again, err := Parse("f", text)
		if err != nil {
			t.Fatalf("%q\nprints as\n%s\n%v", src, text, err)
		}
		if second := Print(again); second != text {
			t.Fatalf("%q\nprints as\n%s\nthen as\n%s", src, text, second)
		}
	})
}
