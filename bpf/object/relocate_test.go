package object

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
)

// wide returns a 64-bit load with an explicit constant, as an assembler leaves it.
func wide(constant int64) asm.Instruction {
	return asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R1, Constant: constant}
}

func pseudoCall(imm int64) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: imm}
}

// TestDataRelocations generates references to data: each kind of section, symbol
// and addend, with the addend in the instruction's lower half, in both halves,
// and in the relocation.
func TestDataRelocations(t *testing.T) {
	const size = 32
	n := 0
	for _, section := range []string{".data", ".data.x", ".bss", ".rodata", ".rodata.cst16", ".rodata.str1.1", ".data.rel.ro"} {
		for _, sym := range []struct {
			bind elf.SymBind
			typ  elf.SymType
		}{
			{elf.STB_GLOBAL, elf.STT_OBJECT}, {elf.STB_WEAK, elf.STT_OBJECT}, {elf.STB_LOCAL, elf.STT_OBJECT},
			{elf.STB_LOCAL, elf.STT_NOTYPE}, {elf.STB_GLOBAL, elf.STT_NOTYPE}, {elf.STB_LOCAL, elf.STT_SECTION},
		} {
			for _, value := range []uint64{0, 8, 24} {
				if sym.typ == elf.STT_SECTION && value != 0 {
					continue
				}
				for _, addend := range []int64{0, 4, 8, -4, -8, 28, 31, 32, -25, 1 << 32} {
					for _, form := range []string{"low", "both", "rela"} {
						n++
						name := fmt.Sprintf("%s %v %v at %d%+d, %s", section, sym.bind, sym.typ, value, addend, form)
						b := newBuild()
						typ := elf.SHT_PROGBITS
						if section == ".bss" {
							typ = elf.SHT_NOBITS
						}
						data := b.section(section, typ, elf.SHF_ALLOC, bytes.Repeat([]byte{0xa5}, size))
						s := b.names[section]
						if sym.typ != elf.STT_SECTION {
							s = b.symbol("v", data, sym.bind, sym.typ, value, 8)
						}
						constant := addend
						switch form {
						case "low":
							constant = int64(uint32(addend))
						case "rela":
							constant = 77 // which does not count
						}
						code := b.code("xdp", wide(constant), asm.Mov.Imm(asm.R0, 2), asm.Return())
						b.symbol("p", code, elf.STB_GLOBAL, elf.STT_FUNC, 0, 32)
						b.relocate(code, form == "rela", reloc{0, relocWide, s, addend})
						want := int64(value) + addend
						if form == "low" {
							want = int64(value) + int64(int32(addend))
						}
						o := b.read(t, nil)
						c, err := o.Code("p")
						if want < 0 || want >= size {
							var fe *FaultError
							if !errors.As(err, &fe) || fe.Faults[0].Reason != "bad-relocation" || !strings.Contains(err.Error(), fmt.Sprintf("offset %d of section %s", want, section)) {
								t.Fatalf("%s: error %v", name, err)
							}
							continue
						}
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						if ins := c.Insns[0]; ins.Reference() != section || ins.Src != asm.PseudoMapValue || ins.Constant != want<<32 {
							t.Fatalf("%s: %v of %s, want offset %d", name, ins.Constant>>32, ins.Reference(), want)
						}
					}
				}
			}
		}
	}
	t.Logf("%d references", n)
}

// TestCallRelocations generates calls and function pointers: to each function of
// two sections, by each kind of symbol, with the addend in either place.
func TestCallRelocations(t *testing.T) {
	for _, section := range []string{".text", "xdp"} {
		for _, bind := range []elf.SymBind{elf.STB_GLOBAL, elf.STB_WEAK, elf.STB_LOCAL} {
			for target := range uint64(3) { // the function at 16 * target, which returns target
				for _, bySection := range []bool{false, true} {
					for _, rela := range []bool{false, true} {
						for _, pointer := range []bool{false, true} {
							name := fmt.Sprintf("%s %v %d, section %v, rela %v, pointer %v", section, bind, target, bySection, rela, pointer)
							b := newBuild()
							var body []asm.Instruction
							for i := range 3 {
								body = append(body, asm.Mov.Imm(asm.R0, int32(i)), asm.Return())
							}
							at := uint64(0)
							ref := pseudoCall(-1)
							if pointer {
								ref = wide(0)
							}
							entry := []asm.Instruction{ref, asm.Mov.Imm(asm.R0, 2), asm.Return()}
							var lib, main int
							if section == "xdp" {
								lib = b.code("xdp", append(body, entry...)...)
								main, at = lib, 48
							} else {
								lib = b.code(".text", body...)
								main = b.code("xdp", entry...)
							}
							var funcs [3]int
							for i := range funcs {
								funcs[i] = b.symbol(fmt.Sprint("f", i), lib, bind, elf.STT_FUNC, uint64(16*i), 16)
							}
							size := uint64(24)
							if pointer {
								size = 32
							}
							b.symbol("p", main, elf.STB_GLOBAL, elf.STT_FUNC, at, size)
							r := reloc{off: at, typ: relocCall, symbol: funcs[target]}
							if pointer {
								r.typ = relocWide
							}
							if bySection {
								r.symbol, r.addend = b.names[section], int64(16*target)
								if !rela {
									imm := uint32(r.addend/8 - 1)
									if pointer {
										imm = uint32(r.addend)
									}
									le.PutUint32(b.contents[main][at+4:], imm)
								}
							}
							b.relocate(main, rela, r)
							c, err := b.read(t, nil).Code("p")
							if err != nil {
								t.Fatalf("%s: %v", name, err)
							}
							f := c.Funcs[c.Insns[0].Callee]
							if got := c.Insns[f.Start].Constant; got != int64(target) {
								t.Fatalf("%s: goes to function %d", name, got)
							}
						}
					}
				}
			}
		}
	}
}

// asRELA moves the addends of an object's code from the instructions to the
// relocations.
func asRELA(t testing.TB, data []byte) []byte {
	t.Helper()
	f, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(data)
	headers := int(le.Uint64(out[40:]))
	for i := range f.sections {
		s := &f.sections[i]
		if !isRelocation(s) || int(s.Info) >= len(f.sections) || !interesting(&f.sections[s.Info]) {
			continue
		}
		code := &f.sections[s.Info]
		var table []byte
		for _, r := range f.relocations(i) {
			var a int64
			if isCode(code) {
				insn := out[code.Off+r.off : min(code.Off+r.off+16, code.Off+code.Size)]
				load := asm.OpCode(insn[0]).IsDWordLoad()
				a = addend(r, insn, load)
				le.PutUint32(insn[4:], 0x55) // which does not count
			}
			table = le.AppendUint64(le.AppendUint64(le.AppendUint64(table, r.off), r.info), uint64(a))
		}
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
		h := out[headers+i*sectionSize:]
		le.PutUint32(h[4:], uint32(elf.SHT_RELA))
		le.PutUint64(h[24:], uint64(len(out)))
		le.PutUint64(h[32:], uint64(len(table)))
		le.PutUint64(h[56:], relaSize)
		out = append(out, table...)
	}
	return out
}

// TestRELA reads every fixture with SHT_RELA sections in place of SHT_REL.
func TestRELA(t *testing.T) {
	read := func(name string, data []byte) string {
		o, err := Read(name, data, nil)
		if err != nil {
			return err.Error()
		}
		return describe(o) + asmtext.PrintSpec(o.Spec)
	}
	for _, path := range fixtures(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(data); err != nil || strings.HasSuffix(path, "gcc.o") {
			continue // whose addends are none
		}
		if want, got := read(path, data), read(path, asRELA(t, data)); got != want {
			t.Errorf("%s: with RELA\n%s\nwant\n%s", path, got, want)
		}
	}
}

// TestBadRelocations has relocations that are not understood: a fault of the
// program that has them, and of no other.
func TestBadRelocations(t *testing.T) {
	for _, tt := range []struct {
		name string
		rel  func(b *build, undefined, absolute, odd, maps int) reloc
		want string
	}{
		{"type", func(b *build, _, _, _, _ int) reloc { return reloc{typ: 99, symbol: b.names[".data"]} }, "a relocation of type 99"},
		{"symbol", func(*build, int, int, int, int) reloc { return reloc{typ: relocWide, symbol: 1000} }, "refers to symbol 1000"},
		{"offset", func(b *build, _, _, _, _ int) reloc { return reloc{off: 8, typ: relocWide, symbol: b.names[".data"]} }, "where no instruction starts"},
		{"far", func(b *build, _, _, _, _ int) reloc {
			return reloc{off: 1 << 60, typ: relocWide, symbol: b.names[".data"]}
		}, "where no instruction starts"},
		{"instruction", func(b *build, _, _, _, _ int) reloc {
			return reloc{off: 16, typ: relocWide, symbol: b.names[".data"]}
		}, "an instruction that takes none"},
		{"helper", func(b *build, _, _, _, _ int) reloc {
			return reloc{off: 24, typ: relocCall, symbol: b.names[".data"]}
		}, "a call of a helper"},
		{"undefined", func(_ *build, undefined, _, _, _ int) reloc { return reloc{typ: relocWide, symbol: undefined} }, "which the object does not define"},
		{"absolute", func(_ *build, _, absolute, _, _ int) reloc { return reloc{typ: relocWide, symbol: absolute} }, "which is in no section"},
		{"section", func(_ *build, _, _, odd, _ int) reloc { return reloc{typ: relocWide, symbol: odd} }, "neither data nor maps nor code"},
		{"map", func(_ *build, _, _, _, maps int) reloc { return reloc{typ: relocWide, symbol: maps, addend: 4} }, "where no map's definition starts"},
	} {
		for _, rela := range []bool{false, true} {
			b := newBuild()
			b.section(".data", elf.SHT_PROGBITS, elf.SHF_ALLOC, make([]byte, 8))
			odd := b.section(".odd", elf.SHT_PROGBITS, elf.SHF_ALLOC, make([]byte, 8))
			maps := b.section("maps", elf.SHT_PROGBITS, elf.SHF_ALLOC, le.AppendUint32([]byte{2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0}, 0))
			code := b.code("xdp", wide(4), asm.Mov.Imm(asm.R0, 2), asm.FnKtimeGetNs.Call(), asm.Return(), asm.Mov.Imm(asm.R0, 2), asm.Return())
			b.symbol("bad", code, elf.STB_GLOBAL, elf.STT_FUNC, 0, 40)
			b.symbol("good", code, elf.STB_GLOBAL, elf.STT_FUNC, 40, 16)
			m := b.symbol("m", maps, elf.STB_GLOBAL, elf.STT_OBJECT, 0, 20)
			undefined := b.symbol("undefined", 0, elf.STB_GLOBAL, elf.STT_OBJECT, 0, 0)
			absolute := b.symbol("absolute", int(elf.SHN_ABS), elf.STB_GLOBAL, elf.STT_OBJECT, 0, 0)
			in := b.symbol("in_odd", odd, elf.STB_GLOBAL, elf.STT_OBJECT, 0, 8)
			b.relocate(code, rela, tt.rel(b, undefined, absolute, in, m))
			o := b.read(t, nil)
			_, err := o.Code("bad")
			if tt.name == "far" {
				_, err = o.Code("good") // the last of the section
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error %v, want %s", tt.name, err, tt.want)
			}
			if tt.name != "far" {
				if _, err := o.Code("good"); err != nil {
					t.Errorf("%s: the other program: %v", tt.name, err)
				}
			}
		}
	}
}

// TestTextPrograms has functions of .text that are programs, and some that are not.
func TestTextPrograms(t *testing.T) {
	names := func(others, call, modern bool) string {
		b := newBuild()
		text := b.code(".text", asm.Mov.Imm(asm.R0, 1), asm.Return(), pseudoCall(-3), asm.Return())
		b.symbol("called", text, elf.STB_LOCAL, elf.STT_FUNC, 0, 16)
		b.symbol("caller", text, elf.STB_GLOBAL, elf.STT_FUNC, 16, 16)
		if others {
			xdp := b.code("xdp", pseudoCall(-1), asm.Return())
			b.symbol("p", xdp, elf.STB_GLOBAL, elf.STT_FUNC, 0, 16)
			if call {
				b.relocate(xdp, false, reloc{typ: relocCall, symbol: b.names[".text"]})
			}
		}
		if modern {
			b.section(".BTF", elf.SHT_PROGBITS, 0, []byte{0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
		}
		o := b.read(t, &Options{Type: ebpf.XDP})
		for _, name := range o.Programs {
			if s := o.Spec.Programs[name].SectionName; s != ".text" && s != "xdp" {
				t.Errorf("program %s: section %q", name, s)
			}
		}
		if _, err := o.Code("caller"); (err == nil) != strings.Contains(strings.Join(o.Programs, " "), "caller") {
			t.Errorf("code of caller: %v", err)
		}
		return strings.Join(o.Programs, " ")
	}
	for _, tt := range []struct {
		others, call, modern bool
		want                 string
	}{
		{false, false, false, "caller"}, {false, false, true, "caller"}, {true, false, false, "caller p"},
		{true, true, false, "p"}, {true, false, true, "p"}, {true, true, true, "p"},
	} {
		if got := names(tt.others, tt.call, tt.modern); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
