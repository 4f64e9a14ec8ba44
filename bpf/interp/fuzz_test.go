package interp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// FuzzRun runs arbitrary bytes as a program. Map references without a name refer to a
// hash map. Each run must return a result or a *Fault.
func FuzzRun(f *testing.F) {
	var seed bytes.Buffer
	insns := randomProgram(rand.New(rand.NewSource(1)))
	if err := insns.Marshal(&seed, binary.LittleEndian); err != nil {
		f.Fatal(err)
	}
	f.Add(seed.Bytes(), []byte("packet of some bytes"), uint8(1))
	f.Add([]byte{0x95, 0, 0, 0, 0, 0, 0, 0}, []byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, bytecode, packet []byte, kind uint8) { runBytes(t, bytecode, packet, kind) })
}

func runBytes(t *testing.T, bytecode, packet []byte, kind uint8) {
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(bytecode), binary.LittleEndian, "linux")
	if err != nil {
		return
	}
	specs := map[string]*ebpf.MapSpec{"": {Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 2}}
	if kind&0x80 != 0 {
		specs[""] = &ebpf.MapSpec{Name: "m", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2}
	}
	types := []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS, ebpf.UnspecifiedProgram}
	spec := &ebpf.ProgramSpec{Name: "fuzz", Type: types[kind&0x7f%3], Instructions: insns}
	c, faults := code.New(spec, specs)
	if len(faults) > 0 {
		return
	}
	var ms []maps.Map
	for _, s := range c.Maps {
		m, err := maps.New(s, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	m, err := New(c, ms, &Options{MaxSteps: 10000})
	if err != nil {
		t.Fatal(err)
	}
	var fault *Fault
	if _, err := m.Run(&Input{Packet: packet, Mem: packet}); err != nil && !errors.As(err, &fault) {
		t.Fatalf("%T: %v", err, err)
	}
}

// TestRandomBytecode is the fuzz target's fixed share of an ordinary test run:
// programs of plausible opcodes with every other field random.
func TestRandomBytecode(t *testing.T) {
	rng := rand.New(rand.NewSource(7))
	opcodes := []byte{0x07, 0x0f, 0x18, 0x61, 0x79, 0x62, 0x7a, 0x63, 0x7b, 0xdb, 0xc3, 0x05, 0x06, 0x15, 0x1e, 0x85, 0x95, 0x30, 0x48, 0xdc, 0xd7, 0xbf, 0x9f}
	calls := []int32{1, 2, 3, 6, 7, 12, 23, 25, 28, 44, 51, 54, 65, 164, 181, 188, 189, 190}
	for range 20000 {
		var b []byte
		for range 1 + rng.Intn(12) {
			op := opcodes[rng.Intn(len(opcodes))]
			imm := []int32{0, 1, int32(rng.Uint32()), int32(rng.Intn(8)) - 4}[rng.Intn(4)]
			regs := byte(rng.Intn(11) | rng.Intn(11)<<4)
			if op == 0x85 {
				imm, regs = calls[rng.Intn(len(calls))], byte(rng.Intn(2)<<4)
				if regs != 0 {
					imm = int32(rng.Intn(8)) - 4
				}
			}
			if op == 0x18 {
				regs = regs&0xf | byte(rng.Intn(5))<<4
			}
			b = append(b, op, regs)
			b = binary.LittleEndian.AppendUint16(b, uint16(rng.Intn(9)-4))
			b = binary.LittleEndian.AppendUint32(b, uint32(imm))
			if op == 0x18 {
				b = append(b, 0, 0, 0, 0)
				b = binary.LittleEndian.AppendUint32(b, uint32(rng.Intn(2)))
			}
		}
		b = append(b, 0x95, 0, 0, 0, 0, 0, 0, 0)
		runBytes(t, b, []byte("0123456789abcdef"), byte(rng.Intn(256)))
	}
}
