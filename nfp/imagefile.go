package nfp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// An image file (.nfp) is
//
//	8 bytes  "NFPIMAGE"
//	4 bytes  version, little-endian; this is version 1
//	4 bytes  length of the payload
//	4 bytes  CRC-32C of the payload
//	payload
//
// and nothing after it. The payload is name, words, symbols, relocations, lines,
// maps, stack size. Numbers are varints (encoding/binary's, signed), strings a
// length and bytes, lists a count and the elements; words have 8 bytes each,
// little-endian, with check bits, as the card takes them.
const (
	imageMagic   = "NFPIMAGE"
	imageVersion = 1
	imageHeader  = 20
	imageLimit   = 64 << 20 // bytes; more is no image of 16384 words
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Write writes the image file. The same image gives the same bytes.
func (im *Image) Write(w io.Writer) error {
	if err := im.Check(); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	var e imageWriter
	e.string(im.Name)
	e.int(len(im.Words))
	for _, w := range im.Words {
		e.b = binary.LittleEndian.AppendUint64(e.b, WithECC(w))
	}
	e.int(len(im.Symbols))
	for _, s := range im.Symbols {
		e.string(s.Name)
		e.int(s.Addr)
	}
	e.int(len(im.Relocs))
	for _, r := range im.Relocs {
		e.int(r.Addr)
		e.int(int(r.Kind))
		e.int(int(r.Helper))
		e.string(r.Map)
	}
	e.int(len(im.Lines))
	for _, l := range im.Lines {
		e.int(l.Addr)
		e.int(l.PC)
		e.string(l.Insn)
		e.string(l.File)
		e.int(l.Line)
		e.string(l.Text)
	}
	e.int(len(im.Maps))
	for _, m := range im.Maps {
		e.string(m.Name)
		e.int(len(m.Words))
		for _, u := range m.Words {
			e.b = append(e.b, byte(u))
		}
	}
	e.int(im.Stack)
	h := make([]byte, 0, imageHeader)
	h = append(h, imageMagic...)
	h = binary.LittleEndian.AppendUint32(h, imageVersion)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(e.b)))
	h = binary.LittleEndian.AppendUint32(h, crc32.Checksum(e.b, castagnoli))
	if len(e.b) > imageLimit {
		return fmt.Errorf("image: %d bytes, at most %d", len(e.b), imageLimit)
	}
	if _, err := w.Write(append(h, e.b...)); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return nil
}

type imageWriter struct{ b []byte }

func (e *imageWriter) int(v int) { e.b = binary.AppendVarint(e.b, int64(v)) }

func (e *imageWriter) string(s string) {
	e.int(len(s))
	e.b = append(e.b, s...)
}

// ReadImage reads an image file. Every error names the place; a wrong word is an
// *ECCError inside.
func ReadImage(r io.Reader) (*Image, error) {
	data, err := io.ReadAll(io.LimitReader(r, imageLimit+imageHeader+1))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	payload, err := imagePayload(data)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	d := imageReader{b: payload}
	im := d.image()
	if d.err == nil && len(d.b) != 0 {
		d.fail("%d bytes left over", len(d.b))
	}
	if d.err == nil {
		d.err = im.Check()
	}
	if d.err != nil {
		return nil, fmt.Errorf("image: %w", d.err)
	}
	return im, nil
}

// imagePayload checks the header.
func imagePayload(data []byte) ([]byte, error) {
	if len(data) < imageHeader || string(data[:8]) != imageMagic {
		return nil, errors.New("no image file: the magic is missing")
	}
	le := binary.LittleEndian
	if v := le.Uint32(data[8:]); v != imageVersion {
		return nil, fmt.Errorf("version %d, only %d is known", v, imageVersion)
	}
	n, sum := le.Uint32(data[12:]), le.Uint32(data[16:])
	payload := data[imageHeader:]
	if uint64(len(payload)) != uint64(n) {
		return nil, fmt.Errorf("%d bytes of payload, the header says %d", len(payload), n)
	}
	if got := crc32.Checksum(payload, castagnoli); got != sum {
		return nil, fmt.Errorf("checksum %#08x, the header says %#08x", got, sum)
	}
	return payload, nil
}

// imageReader parses the payload; after the first error it returns zeros.
type imageReader struct {
	b   []byte
	err error
}

func (d *imageReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.b = nil
}

func (d *imageReader) image() *Image {
	im := &Image{Name: d.string("name")}
	if n := d.count("words", 8); n > 0 {
		im.Words = make([]Word, n)
	}
	for i := range im.Words {
		w, err := CheckECC(binary.LittleEndian.Uint64(d.b))
		if err != nil {
			d.fail("word %d: %w", i, err)
			return im
		}
		im.Words[i], d.b = w, d.b[8:]
	}
	for range d.count("symbols", 2) {
		im.Symbols = append(im.Symbols, Symbol{d.string("symbol"), d.int("symbol")})
	}
	for range d.count("relocations", 4) {
		r := Reloc{Addr: d.int("relocation")}
		kind, helper := d.int("relocation"), d.int("relocation")
		if kind < 0 || kind >= len(relocNames) || helper < math.MinInt32 || helper > math.MaxInt32 {
			d.fail("word %d: unknown relocation %d of helper %d", r.Addr, kind, helper)
		}
		r.Kind, r.Helper, r.Map = RelocKind(kind), int32(helper), d.string("relocation")
		im.Relocs = append(im.Relocs, r)
	}
	for range d.count("lines", 6) {
		im.Lines = append(im.Lines, Line{Addr: d.int("line"), PC: d.int("line"), Insn: d.string("line"), File: d.string("line"),
			Line: d.int("line"), Text: d.string("line")})
	}
	for range d.count("maps", 2) {
		m := MapUse{Name: d.string("map")}
		if n := d.count("map words", 1); n > 0 {
			m.Words = make([]WordUse, n)
			for i := range m.Words {
				m.Words[i] = WordUse(d.b[i])
			}
			d.b = d.b[n:]
		}
		im.Maps = append(im.Maps, m)
	}
	im.Stack = d.int("stack")
	return im
}

// count reads the length of a list whose elements have at least so many bytes.
func (d *imageReader) count(what string, size int) int {
	n := d.int(what)
	if n < 0 || n > len(d.b)/size {
		d.fail("%d %s in %d bytes", n, what, len(d.b))
		return 0
	}
	return n
}

func (d *imageReader) int(what string) int {
	if d.err != nil {
		return 0
	}
	v, n := binary.Varint(d.b)
	if n <= 0 || v > math.MaxInt || v < math.MinInt {
		d.fail("%s: bad number", what)
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *imageReader) string(what string) string {
	n := d.count(what, 1)
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
