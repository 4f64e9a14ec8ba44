package verify_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// verifyBytes verifies bytecode of any content: nothing may panic, and an error is
// a Rejection with reasons that the table explains.
func verifyBytes(t *testing.T, data []byte, typ ebpf.ProgramType, opt *verify.Options) (explored bool) {
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(data), binary.LittleEndian, "linux")
	if err != nil {
		return false
	}
	for i := range insns {
		if insns[i].IsLoadFromMap() {
			insns[i] = insns[i].WithReference([]string{"arr", "tab"}[i%2])
		}
	}
	c, faults := code.New(&ebpf.ProgramSpec{Name: "p", Type: typ, Instructions: insns}, randomMaps())
	if len(faults) > 0 {
		return false
	}
	facts, err := verify.Verify(c, opt)
	var r *verify.Rejection
	switch {
	case err == nil && facts == nil:
		t.Fatal("neither facts nor an error")
	case err == nil:
	case !errors.As(err, &r) || len(r.Reasons) == 0:
		t.Fatalf("error is %v", err)
	default:
		for _, q := range r.Reasons {
			if _, ok := verify.Explain(q.Reason); !ok {
				t.Fatalf("%s is not in the table", q.Reason)
			}
		}
	}
	return true
}

var (
	hostileTypes = []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS, ebpf.UnspecifiedProgram}
	// Opcodes of the whole ISA, the rarer ones repeated by chance.
	hostileOps = []byte{0x07, 0x0f, 0xb7, 0xbf, 0x04, 0x0c, 0x37, 0x3f, 0x97, 0x67, 0x77, 0xc7, 0xd7, 0xdc, 0xd4, 0x87, 0xbc,
		0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, 0x62, 0x7a, 0x63, 0x6b, 0x73, 0x7b, 0xc3, 0xdb, 0x05, 0x06, 0x15, 0x1d, 0x16, 0x1e,
		0x25, 0x2d, 0x45, 0x4d, 0x55, 0x5d, 0xa5, 0xad, 0xc5, 0xd5, 0x85, 0x85, 0x18, 0x20, 0x40, 0x95, 0x95}
)

func hostileBytes(r *rand.Rand, n int) []byte {
	var b []byte
	for range n {
		op := hostileOps[r.IntN(len(hostileOps))]
		regs := byte(r.IntN(11)) | byte(r.IntN(11))<<4
		off := uint16(int16(r.IntN(17) - 8))
		imm := uint32(int32(r.IntN(64) - 16))
		switch op {
		case 0x85:
			regs = []byte{0, 0, 0x10}[r.IntN(3)]
		case 0x18:
			regs = byte(r.IntN(10)) | byte(r.IntN(3))<<4
			off = 0
		case 0xc3, 0xdb:
			imm = []uint32{0, 1, 0x40, 0x41, 0x50, 0xa0, 0xe1, 0xf1}[r.IntN(8)]
			off &^= 7
		case 0xbf, 0x0f, 0x07:
			off = []uint16{0, 0, 0, 8, 16, 32}[r.IntN(6)]
		case 0x06:
			imm = uint32(int32(r.IntN(9) - 4))
		}
		b = append(b, op, regs)
		b = binary.LittleEndian.AppendUint16(b, off)
		b = binary.LittleEndian.AppendUint32(b, imm)
		if op == 0x18 {
			b = append(b, 0, 0, 0, 0)
			b = binary.LittleEndian.AppendUint32(b, r.Uint32()>>r.IntN(32))
		}
	}
	return append(b, 0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0)
}

// TestHostile verifies programs of random instructions, nearly all of them wrong.
func TestHostile(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	explored := 0
	for range 20_000 {
		data := hostileBytes(r, 1+r.IntN(24))
		opt := &verify.Options{MemSize: r.IntN(32), Unproven: r.IntN(2) == 0, Budget: 2000}
		if verifyBytes(t, data, hostileTypes[r.IntN(3)], opt) {
			explored++
		}
	}
	if explored < 2000 {
		t.Errorf("only %d programs were explored", explored)
	}
}

func FuzzVerify(f *testing.F) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 20 {
		f.Add(hostileBytes(r, 12), uint8(r.IntN(3)), r.IntN(2) == 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, typ uint8, unproven bool) {
		verifyBytes(t, data, hostileTypes[int(typ)%3], &verify.Options{MemSize: 16, Unproven: unproven, Budget: 2000})
	})
}
