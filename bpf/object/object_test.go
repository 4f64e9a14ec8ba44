package object

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func fixtures(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.o")
	if err != nil || len(names) < 15 {
		t.Fatalf("fixtures: %d, %v", len(names), err)
	}
	return names
}

// describe prints the parts of an object that tests compare.
func describe(o *Object) string {
	var b strings.Builder
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	var maps []string
	for name, m := range o.Spec.Maps {
		line := fmt.Sprintf("map %s: %s, key %d, value %d, entries %d, flags %#x", name, asmtext.MapTypeName(m.Type), m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		if len(m.Contents) == 1 {
			line += fmt.Sprintf(", data %x", m.Contents[0].Value)
		}
		maps = append(maps, line)
	}
	slices.Sort(maps)
	for _, m := range maps {
		b.WriteString(m + "\n")
	}
	for _, name := range o.Programs {
		p := o.Spec.Programs[name]
		fmt.Fprintf(&b, "program %s: section %s, type %s, license %q", name, p.SectionName, asmtext.ProgramTypeName(p.Type), p.License)
		c, err := o.Code(name)
		if err != nil {
			fmt.Fprintf(&b, ", %v\n", err)
			continue
		}
		fmt.Fprintf(&b, ", %d instructions, functions:", len(c.Insns))
		for _, f := range c.Funcs {
			fmt.Fprintf(&b, " %s", f.Name)
		}
		if l := c.Line(len(c.Insns) - 1); l != nil {
			fmt.Fprintf(&b, ", last line %s:%d", l.FileName(), l.LineNumber())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestFixtures(t *testing.T) {
	var b strings.Builder
	for _, path := range fixtures(t) {
		fmt.Fprintf(&b, "== %s\n", filepath.Base(path))
		o, err := Load(path, nil)
		if err != nil {
			fmt.Fprintf(&b, "error: %v\n", err)
			continue
		}
		b.WriteString(describe(o))
	}
	const golden = "testdata/fixtures.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestVariantsAgree checks that stripped objects, and those of old compilers, give the
// same program as the whole object.
func TestVariantsAgree(t *testing.T) {
	text := func(path string) string {
		o, err := Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := o.Program("")
		if err != nil {
			t.Fatal(err)
		}
		// A function that lost its symbol has another name.
		s := asmtext.PrintProgram(p)
		for _, name := range []string{"half", "shared"} {
			s = strings.ReplaceAll(s, name, "_text")
		}
		return s
	}
	for whole, variants := range map[string][]string{
		"legacy.o": {"legacy-16.o", "legacy-28.o", "legacy-static.o", "legacy-bare.o", "legacy-16-bare.o", "legacy-nolocals.o"},
		"btf.o":    {"btf-noext.o", "btf-nolocals.o", "btf-static.o"},
	} {
		want := text("testdata/" + whole)
		for _, v := range variants {
			if got := text("testdata/" + v); got != want {
				t.Errorf("%s:\n%s\nwant, as %s:\n%s", v, got, whole, want)
			}
		}
	}
}

// TestMendIsHarmless mends objects that need no mending.
func TestMendIsHarmless(t *testing.T) {
	for _, name := range []string{"btf.o", "btf-v1.o", "legacy.o", "legacy-btf.o", "sections.o", "core.o"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parse(data)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMender(f)
		if err != nil || len(m.notes) > 0 {
			t.Fatalf("%s: %v, %v", name, m.notes, err)
		}
		mended := m.write(&hidden{})
		before, err := Read(name, data, nil)
		if err != nil {
			t.Fatal(err)
		}
		after, err := Read(name, mended, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := describe(before), describe(after); a != b {
			t.Errorf("%s: got\n%s\nwant\n%s", name, b, a)
		}
	}
}

func TestCOREStaysAsCompiled(t *testing.T) {
	o, err := Load("testdata/core.o", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := asmtext.Format(o.Spec.Programs["core"].Instructions[0]); got != "r0 = *(u32 *)(r1 + 12)" {
		t.Errorf("got %s", got)
	}
}

func TestText(t *testing.T) {
	src := ".map m hash key=4 value=8 entries=1\n.program tc a\nr1 = map[m]\nr0 = 0\nexit\n.program xdp b\nr0 = 2\nexit\n"
	o, err := Load("-", &Options{Stdin: strings.NewReader(src)})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := o.Program(""); err != nil || p.Name != "b" {
		t.Errorf("the only XDP program: %v, %v", p, err)
	}
	if c, err := o.Code("a"); err != nil || len(c.Maps) != 1 {
		t.Errorf("code: %v", err)
	}
	o, err = Load("-", &Options{Stdin: strings.NewReader(src), Type: ebpf.XDP})
	if err != nil || o.Spec.Programs["a"].Type != ebpf.XDP {
		t.Errorf("forced type: %v", err)
	}
}

func TestArguments(t *testing.T) {
	dir := t.TempDir()
	write := func(name, src string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	two := write("two.bpf", ".program xdp a\nexit\n.program xdp b\nexit\n")
	odd := write("odd:name.bpf", "exit\n")
	if o, err := Load(two+":b", nil); err != nil || o.Selected != "b" {
		t.Errorf("path:program: %v", err)
	} else if p, err := o.Program(""); err != nil || p.Name != "b" {
		t.Errorf("the selected program: %v", err)
	}
	if o, err := Load(odd, nil); err != nil || o.Selected != "" {
		t.Errorf("a colon in the name: %v", err)
	}
	o, err := Load(two, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Program("")
	wantError(t, err, two+": which program? Say "+two+":NAME with one of: a, b (no-program)")

	for _, tt := range []struct{ arg, want string }{
		{two + ":c", two + ": no program c; there are: a, b (no-program)"},
		{filepath.Join(dir, "none.o"), filepath.Join(dir, "none.o") + ": no such file or directory"},
		{dir, dir + ": is a directory"},
		{"filter:tcp port 80", "filter:tcp port 80: programs of the form filter: are not read by this version (feature-unsupported)"},
		{"iptables:rules", "iptables:rules: programs of the form iptables: are not read by this version (feature-unsupported)"},
		{write("empty.o", ""), filepath.Join(dir, "empty.o") + ": file is empty (bad-object)"},
		{write("junk.o", "\x00\xff\x01"), filepath.Join(dir, "junk.o") + ": neither an ELF object nor eBPF text (bad-object)"},
		{write("prog.c", "int x;\n"), filepath.Join(dir, "prog.c") + ": it is C source: compile it first, with clang -target bpf -O2 -g -c (bad-object)"},
		{write("c.txt", "#include <linux/bpf.h>\n"), filepath.Join(dir, "c.txt") + ": it is C source: compile it first, with clang -target bpf -O2 -g -c (bad-object)"},
		{write("p.bc", "BC\xc0\xde"), filepath.Join(dir, "p.bc") + ": it is LLVM bitcode, neither an ELF object nor eBPF text: finish it with llc -march=bpf -filetype=obj (bad-object)"},
		{write("p.gz", "\x1f\x8b\x08"), filepath.Join(dir, "p.gz") + ": it is compressed, neither an ELF object nor eBPF text: uncompress it first (bad-object)"},
		{write("bad.bpf", "exit\nr1 == 2\n"), filepath.Join(dir, "bad.bpf") + `:2:4: expected an assignment, found "==" (bad-text)`},
	} {
		_, err := Load(tt.arg, nil)
		wantError(t, err, tt.want)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", fmt.Sprint(err), want)
	}
}

// TestFaults checks that all faults of a program come back.
func TestFaults(t *testing.T) {
	o, err := Load("-", &Options{Stdin: strings.NewReader("goto pc+9\nr1 = map[none]\ncall pc+70\nr0 = 0\n")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Code("")
	var fe *FaultError
	if !errors.As(err, &fe) {
		t.Fatalf("error %v", err)
	}
	var got []string
	for _, f := range fe.Faults {
		got = append(got, f.Reason)
	}
	if s := strings.Join(got, " "); s != "unknown-map bad-call-target jump-out-of-range fall-through" {
		t.Errorf("reasons: %s", s)
	}
	if !strings.Contains(err.Error(), "(and 3 more)") {
		t.Errorf("summary: %v", err)
	}
}

// TestTruncated cuts objects at every place that is not too near to another.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"btf.o", "legacy-bare.o", "legacy-16.o"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(data); n += 1 + n/100 {
			_, err := Read("cut.o", data[:n], nil)
			checkError(t, fmt.Sprintf("%s cut at %d", name, n), err, n < len(data)-1)
		}
	}
}

// checkError checks that an error is one line that begins with the path.
func checkError(t *testing.T, what string, err error, must bool) {
	t.Helper()
	if err == nil {
		if must {
			t.Errorf("%s: no error", what)
		}
		return
	}
	if s := err.Error(); !strings.HasPrefix(s, "cut.o:") || strings.ContainsAny(s, "\n\r") {
		t.Errorf("%s: error %q", what, s)
	}
	if s := err.Error(); strings.Contains(s, "malformed: reading it failed") {
		t.Errorf("%s: a reader panicked: %s", what, s)
	}
}

// TestHostile overwrites each word of the headers with values that lie.
func TestHostile(t *testing.T) {
	data, err := os.ReadFile("testdata/legacy.o")
	if err != nil {
		t.Fatal(err)
	}
	at := int(le.Uint64(data[40:]))
	places := []int{16, 18, 20, 40, 44, 52, 56, 58, 60, 62}
	for off := at; off+4 <= len(data); off += 4 {
		places = append(places, off)
	}
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.sections { // symbols, relocations and code
		s := &f.sections[i]
		for off := s.Off; off+4 <= s.Off+s.Size; off += 4 {
			places = append(places, int(off))
		}
	}
	for _, p := range places {
		for _, v := range []uint32{0, 1, 0x7fffffff, 0x80000000, 0xffffffff, uint32(len(data))} {
			bad := bytes.Clone(data)
			le.PutUint32(bad[p:], v)
			o, err := Read("cut.o", bad, nil)
			checkError(t, fmt.Sprintf("%#x at %d", v, p), err, false)
			if err == nil {
				for _, name := range o.Programs {
					_, _ = o.Code(name)
				}
			}
		}
	}
}

// TestErrors names the section in what a reader sees most.
func TestErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/legacy.o")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	headers := int(le.Uint64(data[40:]))
	field := func(name string, off int) int {
		for i, s := range f.sections {
			if s.name == name {
				return headers + i*sectionSize + off
			}
		}
		t.Fatalf("no section %s", name)
		return 0
	}
	for _, tt := range []struct {
		at   int
		v    uint32
		want string
	}{
		{4, 1, "class ELFCLASS32, an eBPF object is ELFCLASS64"},
		{16, 62 << 16, "machine EM_X86_64, expected EM_BPF"},
		{40, 1 << 30, "section headers: "},
		{field("xdp1", 24), 1 << 20, "section xdp1: contents at offset 1048576, 248 bytes, reach beyond the end of the file, "},
		{field("xdp1", 32), 247, "section xdp1: 247 bytes of code, no multiple of 8"},
		{field("maps", 32), 12, "reaches beyond section maps, 12 bytes"},
		{field(".relxdp1", 56), 4, "section .relxdp1: entries of 4 bytes"},
	} {
		bad := bytes.Clone(data)
		le.PutUint32(bad[tt.at:], tt.v)
		_, err := Read("cut.o", bad, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
}

// TestWideCutShort ends a section in the middle of a 64-bit load.
func TestWideCutShort(t *testing.T) {
	data, err := os.ReadFile("testdata/sections.o")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.sections {
		if s.name == "xdp1" {
			data[s.Off+s.Size-8] = byte(asm.LoadImmOp(asm.DWord))
		}
	}
	o, err := Read("cut.o", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Code("p_xdp1")
	if err == nil || !strings.Contains(err.Error(), "section xdp1") || !strings.Contains(err.Error(), "second half") {
		t.Errorf("error %v", err)
	}
	if _, err := o.Code("p_xdp"); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, path := range fixtures(f) {
		if data, err := os.ReadFile(path); err == nil {
			f.Add(data, "port=443", "sized=4")
			if file, err := parse(data); err == nil && file.symtab > 0 {
				f.Add(asRELA(f, data), "limits.high[1]=2", "")
			}
		}
	}
	f.Add([]byte(".map m hash key=4 value=8 entries=1\n.program xdp p\nr1 = map[m]\nexit\n"), "", "m=2")
	f.Fuzz(func(t *testing.T, data []byte, set, entries string) {
		opt := &Options{}
		if set != "" {
			opt.Set = []string{set}
		}
		if entries != "" {
			opt.Entries = []string{entries}
		}
		o, err := Read("cut.o", data, opt)
		checkError(t, "fuzz", err, false)
		if opt.Set != nil || opt.Entries != nil {
			o, err = Read("cut.o", data, nil)
			checkError(t, "fuzz, without settings", err, false)
		}
		if err != nil {
			return
		}
		for _, name := range o.Programs {
			_, _ = o.Code(name)
		}
		_ = asmtext.PrintSpec(o.Spec)
	})
}

// TestNotesInOrder checks that the notes on several maps come in the order of their names.
func TestNotesInOrder(t *testing.T) {
	for range 20 {
		o := &Object{Spec: &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{}}}
		var want []string
		for _, name := range []string{"a", "b", "c", "d"} {
			o.Spec.Maps[name] = &ebpf.MapSpec{Extra: bytes.NewReader([]byte{0, 1})}
			want = append(want, "map "+name+": fields after map_flags are ignored")
		}
		o.dropEmptyTails()
		if !slices.Equal(o.Notes, want) {
			t.Fatalf("notes %q, want %q", o.Notes, want)
		}
	}
}
