package asmtext

import (
	"bytes"
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// A sourceLine is the position of an instruction in the text.
type sourceLine struct {
	pc, line, col int
	text          string
}

// addSource attaches to each instruction its line as a *btf.Line, as readers of
// objects do. The btf package creates lines only by decoding BTF, so addSource encodes
// the strings and records as .BTF.ext does. If the text is too large for that, its
// instructions have no lines.
func addSource(insns asm.Instructions, file string, lines []sourceLine) {
	if file == "" {
		return
	}
	strs := []byte{0}
	add := func(s string) uint32 {
		at := uint32(len(strs))
		strs = append(append(strs, s...), 0)
		return at
	}
	fileAt := add(file)
	var records bytes.Buffer
	for _, l := range lines {
		col := min(l.col, 1<<10-1) // struct bpf_line_info: 22 bits of line, 10 of column
		for _, v := range []uint32{uint32(l.pc), fileAt, add(l.text), uint32(l.line)<<10 | uint32(col)} {
			_ = binary.Write(&records, binary.LittleEndian, v)
		}
	}
	var blob bytes.Buffer
	for _, v := range []any{
		uint16(0xeb9f), uint8(1), uint8(0), uint32(24), // magic, version, flags, header length
		uint32(0), uint32(0), uint32(0), uint32(len(strs)), // no types, then the strings
	} {
		_ = binary.Write(&blob, binary.LittleEndian, v)
	}
	blob.Write(strs)
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(blob.Bytes()))
	if err != nil {
		return
	}
	offsets, err := btf.LoadLineInfos(&records, binary.LittleEndian, uint32(len(lines)), spec)
	if err != nil || len(offsets) != len(insns) {
		return
	}
	for i := range insns {
		insns[i] = insns[i].WithSource(offsets[i].Line)
	}
}
