package nfp

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/objdump"
)

// TestAssemble holds Disassemble(Assemble(input.s)) against the golden output, and
// takes the output back.
func TestAssemble(t *testing.T) {
	golden.Run(t, "testdata/asm/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		im, err := Assemble(files["input.s"])
		if err != nil {
			t.Fatal(err)
		}
		text := Disassemble(im)
		back, err := Assemble(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(im, back); diff != "" {
			t.Errorf("the output assembles to another image (-want +got):\n%s", diff)
		}
		if got, err := Assemble(Listing(im)); err != nil || !slices.Equal(got.Words, im.Words) {
			t.Errorf("the listing does not assemble to the words: %v", err)
		}
		var b bytes.Buffer
		if err := im.Write(&b); err != nil {
			t.Fatal(err)
		}
		if back, err = ReadImage(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(im, back); diff != "" {
			t.Errorf("the image file reads as another image (-want +got):\n%s", diff)
		}
		return map[string]string{"output": text}
	})
}

// kernelImage is testdata/asm/kernel.txtar's image.
func kernelImage(t testing.TB) *Image {
	t.Helper()
	ar, err := os.ReadFile("testdata/asm/kernel.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, src, _ := strings.Cut(string(ar), "-- input.s --\n")
	src, _, _ = strings.Cut(src, "-- output --\n")
	im, err := Assemble(src)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// driverMarks are the words as the Linux driver keeps them before they are placed:
// the relocation type in bits 63:56. Its types end with immed.
func driverMarks(im *Image) []uint64 {
	ws := make([]uint64, len(im.Words))
	for i, w := range im.Words {
		ws[i] = uint64(w)
	}
	for _, r := range im.Relocs {
		if r.Kind <= RelocImmed {
			ws[r.Addr] |= uint64(r.Kind) << 56
		}
	}
	return ws
}

// kernelRelocs are an image's relocations as far as the driver has them.
func kernelRelocs(im *Image) []Reloc {
	var t []Reloc
	for _, r := range im.Relocs {
		if r.Kind <= RelocImmed {
			t = append(t, r)
		}
	}
	return t
}

// TestListings reads objdump's own listings of one program back. The words have the
// driver's marks, no marks, or are placed and have check bits. The listings have and
// lack addresses, hex columns and word numbers, and one is in bpftool's form.
func TestListings(t *testing.T) {
	path := oracle(t)
	im := kernelImage(t)
	list := func(ws []uint64, options string) string {
		s, err := objdump.Listing(t.Context(), path, ws, options)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	bare := make([]uint64, len(im.Words))
	for i, w := range im.Words {
		bare[i] = uint64(w)
	}
	marked := list(driverMarks(im), "ctx4")
	lost := list(bare, "ctx4")
	column := regexp.MustCompile(`(?m)^( *[0-9a-f]+:\t)([0-9a-f]{16}) \t`)
	address := regexp.MustCompile(`(?m)^ *[0-9a-f]+:\t`)
	bpftool := column.ReplaceAllString(lost, "$1")
	for name, src := range map[string]string{
		"objdump, marks":         marked,
		"objdump, no marks":      lost,
		"objdump, no-pc":         list(bare, "ctx4,no-pc"),
		"objdump, 0x":            regexp.MustCompile(`(?m)^ *([0-9a-f]+:\t)([0-9a-f]{16}) \t`).ReplaceAllString(lost, "0x${1}0x$2\t"),
		"bpftool":                bpftool,
		"bpftool, opcodes":       opcodes(bpftool, bare),
		"bpftool, marked bytes":  opcodes(bpftool, driverMarks(im)),
		"word numbers only":      address.ReplaceAllString(bpftool, ""),
		"text only":              regexp.MustCompile(`(?m)^\.\d+ +`).ReplaceAllString(address.ReplaceAllString(bpftool, ""), ""),
		"carriage returns":       strings.ReplaceAll(lost, "\n", "\r\n"),
		"comments between words": strings.ReplaceAll(bpftool, "\n", "\n; int i = 0;\n"),
	} {
		got, err := Assemble(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(got.Words, im.Words) {
			t.Errorf("%s: other words", name)
		}
		if diff := cmp.Diff(kernelRelocs(im), got.Relocs); diff != "" {
			t.Errorf("%s: relocations (-want +got):\n%s", name, diff)
		}
		want := map[string]int{"abort": 23, "out": 26, "push": 32, "pop": 41}
		for _, s := range got.Symbols {
			if want[s.Name] == s.Addr {
				delete(want, s.Name)
			}
		}
		if len(want) != 0 {
			t.Errorf("%s: symbols missing: %v", name, want)
		}
	}
	placed, err := im.Link(testPlacement)
	if err != nil {
		t.Fatal(err)
	}
	stored := make([]uint64, len(placed))
	for i, w := range placed {
		stored[i] = WithECC(w)
	}
	got, err := Assemble(list(stored, "ctx4,no-pc"))
	if err != nil || !slices.Equal(got.Words, placed) {
		t.Errorf("placed words: %v", err)
	}
}

// opcodes adds bpftool's line of bytes after each instruction.
func opcodes(listing string, ws []uint64) string {
	var b strings.Builder
	i := 0
	for line := range strings.Lines(listing) {
		b.WriteString(line)
		if regexp.MustCompile(`^ *[0-9a-f]+:\t`).MatchString(line) {
			b.WriteString("\t")
			for k := range 8 {
				fmt.Fprintf(&b, "%02x ", byte(ws[i]>>(8*k)))
			}
			b.WriteString("\n")
			i++
		}
	}
	return b.String()
}

var testPlacement = Placement{
	Start: 3072, Done: 1,
	Helpers: map[int32]int{1: 272},
	MapID:   map[string]uint32{"counts": 9},
	MapBase: map[string]uint64{"counts": 0x1234567800},
}

func TestLink(t *testing.T) {
	src := `.image "x"
	br[.2] @branch
	br[.15000], defer[2] @done
	br[.15001] @helper 1
end:
	br[.15000] @out
	immed[gprB_0, 0x4] @immed
	immed[gprA_1, 0x0] @map "counts"
	immed[gprA_2, 0x0] @map_base "counts"
	immed_w1[gprA_2, 0x0] @map_base1 "counts"
out:
	nop
`
	im, err := Assemble(src)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := im.Link(testPlacement)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"br[.3074]", "br[.1], defer[2]", "br[.272]", "br[.3080]", "immed[gprB_0, 0xc04]", "immed[gprA_1, 0x9]",
		"immed[gprA_2, 0x5678]", "immed_w1[gprA_2, 0x1234]", "nop"}
	for i, w := range ws {
		in, err := Decode(w)
		if err != nil || in.String() != want[i] {
			t.Errorf("word %d: %v, %v, want %s", i, in, err, want[i])
		}
	}
	for _, c := range []struct {
		src, err string
		p        Placement
	}{
		{"br[.15002] @helper 2", "word 0: helper 2 has no address", testPlacement},
		{"immed[gprA_0, 0x0] @map \"gone\"", "word 0: map \"gone\" has no table id", testPlacement},
		{"immed[gprA_0, 0x0] @map_base \"gone\"", "word 0: map \"gone\" has no address", testPlacement},
		{"nop @branch", "word 0: no branch, relocation branch", testPlacement},
		{"br[.9] @branch", "word 0: branch to .9, the image has 1 words", testPlacement},
		{"br[.15000] @abort", "word 0: no symbol \"abort\"", testPlacement},
		{"br[.0] @branch", "1 words at 16384: the code store has 16384", Placement{Start: 16384}},
		{"br[.0] @done", "word 0: branch target .16384 does not fit in 14 bits", Placement{Done: 16384}},
		{"immed[gprA_0, 0xfffe] @immed", "word 0: constant 0x10bfe does not fit in 16 bits", testPlacement},
		{"br[.0] @immed", "word 0: br[.0] is no immed of 16 plain bits", testPlacement},
	} {
		im, err := Assemble(".image \"x\"\n" + c.src)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if _, err := im.Link(c.p); err == nil || err.Error() != c.err {
			t.Errorf("%s: error %v, want %s", c.src, err, c.err)
		}
	}
}

// TestErrors reads testdata/errors.s: an error stands on the line that causes it,
// as // COLUMN MESSAGE.
func TestErrors(t *testing.T) {
	src, err := os.ReadFile("testdata/errors.s")
	if err != nil {
		t.Fatal(err)
	}
	mark := regexp.MustCompile(` *// ERROR (\d+) (.*)$`)
	n := 0
	for i, line := range strings.Split(string(src), "\n") {
		m := mark.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n++
		text := mark.ReplaceAllString(line, "")
		_, err := Assemble(strings.Repeat("\n", i) + text)
		if want := fmt.Sprintf("%d:%s: %s", i+1, m[1], m[2]); err == nil || err.Error() != want {
			t.Errorf("%s\nerror %v\nwant  %s", text, err, want)
		}
	}
	_, err = Assemble(string(src))
	if l, ok := err.(ErrorList); !ok || len(l) != maxErrors || l[0].Line != 2 {
		t.Errorf("the whole file: %v", err)
	}
	t.Logf("%d errors", n)
}

func TestImageFileErrors(t *testing.T) {
	var b bytes.Buffer
	if err := kernelImage(t).Write(&b); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x41
		if _, err := ReadImage(bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
		if _, err := ReadImage(bytes.NewReader(good[:i])); err == nil {
			t.Errorf("%d bytes of %d: no error", i, len(good))
		}
	}
	if _, err := ReadImage(bytes.NewReader(append(good, 0))); err == nil {
		t.Error("a byte too many: no error")
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(uint64(v.word))
	}
	f.Fuzz(func(t *testing.T, u uint64) {
		in, err := Decode(Word(u))
		if err != nil {
			return
		}
		text := in.String()
		back, err := Parse(text)
		if err != nil || back != in {
			t.Fatalf("%#x prints %s, which parses as %+v, want %+v, %v", u, text, back, in, err)
		}
		if w, err := Encode(in); err != nil || w != Word(u) {
			t.Fatalf("%#x: %s encodes as %#x, %v", u, text, w, err)
		}
	})
}

func FuzzAssemble(f *testing.F) {
	paths, err := filepath.Glob("testdata/asm/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range paths {
		ar, err := txtar.ParseFile(p)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			f.Add(string(file.Data))
		}
	}
	errors, err := os.ReadFile("testdata/errors.s")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(errors)) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, src string) {
		im, err := Assemble(src)
		if err != nil {
			return
		}
		if err := im.Check(); err != nil {
			t.Fatal(err)
		}
		text := Disassemble(im)
		back, err := Assemble(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if again := Disassemble(back); again != text || !reflect.DeepEqual(im.Words, back.Words) {
			t.Fatalf("the text\n%s becomes\n%s", text, again)
		}
	})
}

func FuzzReadImage(f *testing.F) {
	var b bytes.Buffer
	if err := kernelImage(f).Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes()[imageHeader:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		if _, err := ReadImage(bytes.NewReader(payload)); err == nil {
			t.Fatal("no header, no error")
		}
		d := imageReader{b: payload} // past the checksum
		im := d.image()
		if d.err != nil || len(d.b) != 0 || im.Check() != nil {
			return
		}
		var b bytes.Buffer
		if err := im.Write(&b); err != nil {
			t.Fatal(err)
		}
		back, err := ReadImage(&b)
		if err != nil || !reflect.DeepEqual(im, back) {
			t.Fatalf("%+v is read back as %+v, %v", im, back, err)
		}
		Disassemble(im)
	})
}

func BenchmarkAssemble(b *testing.B) {
	text := Disassemble(kernelImage(b))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Assemble(text); err != nil {
			b.Fatal(err)
		}
	}
}
