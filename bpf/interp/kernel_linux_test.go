package interp

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Random programs for TestAgainstKernel keep their ten registers scalar. They
// use 64 bytes of stack at r10-152 as memory and keep the context's pointer at
// r10-88. At the end they store R0 to R9 and that memory in the packet, by
// xdp_store_bytes.
const (
	kernelPacket = 144 // 10 registers, 64 bytes of stack
	ctxSlot      = -88
	memory       = -152
)

// TestAgainstKernel runs random programs of arithmetic, jumps, loads, stores and
// atomics on the interpreter and by BPF_PROG_TEST_RUN.
func TestAgainstKernel(t *testing.T) {
	const programs = 400
	for seed := range int64(programs) {
		insns := randomProgram(rand.New(rand.NewSource(seed)))
		spec := &ebpf.ProgramSpec{Name: "random", Type: ebpf.XDP, Instructions: insns, License: "GPL"}
		verdict, out := kernelRun(t, ebpf.XDP, insns, make([]byte, kernelPacket))
		m := machine(t, spec, nil, nil)
		r, err := m.Run(&Input{Packet: make([]byte, kernelPacket)})
		if err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, err, insns)
		}
		if r.Action != verdict || !bytes.Equal(r.Packet, out) {
			for i := range kernelPacket / 8 {
				k, o := binary.LittleEndian.Uint64(out[i*8:]), binary.LittleEndian.Uint64(r.Packet[i*8:])
				if k != o {
					t.Logf("word %d: kernel %#x, ours %#x", i, k, o)
				}
			}
			t.Fatalf("seed %d: differs; verdict kernel %d, ours %d\n%v", seed, verdict, r.Action, insns)
		}
	}
}

func randomProgram(rng *rand.Rand) asm.Instructions {
	insns := asm.Instructions{asm.StoreMem(asm.R10, ctxSlot, asm.R1, asm.DWord)}
	for r := asm.R0; r <= asm.R9; r++ {
		insns = append(insns, asm.LoadImm(r, interesting(rng), asm.DWord))
	}
	for off := int16(0); off < 64; off += 8 {
		insns = append(insns, asm.StoreMem(asm.R10, memory+off, asm.Register(rng.Intn(10)), asm.DWord))
	}
	for left := 120; left > 0; left-- {
		insns = append(insns, randomInsn(rng, left))
	}
	for r := asm.R0; r <= asm.R9; r++ {
		insns = append(insns, asm.StoreMem(asm.R10, -80+8*int16(r), r, asm.DWord))
	}
	store := func(at int32, from, n int32) {
		insns = append(insns,
			asm.LoadMem(asm.R1, asm.R10, ctxSlot, asm.DWord),
			asm.Mov.Imm(asm.R2, at),
			asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, from),
			asm.Mov.Imm(asm.R4, n),
			asm.FnXdpStoreBytes.Call())
	}
	store(0, -80, 80)
	store(80, memory, 64)
	return append(insns, asm.Return())
}

// interesting draws numbers near the edges more often than others.
func interesting(rng *rand.Rand) int64 {
	edges := []uint64{0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	v := edges[rng.Intn(len(edges))]
	switch rng.Intn(3) {
	case 0:
		return int64(v)
	case 1:
		return -int64(v) + int64(rng.Intn(3))
	}
	return int64(rng.Uint64() >> rng.Intn(64))
}

// randomInsn draws one instruction; left of them follow it before the end.
func randomInsn(rng *rand.Rand, left int) asm.Instruction {
	dst, src := asm.Register(rng.Intn(10)), asm.Register(rng.Intn(10))
	constant := int32(interesting(rng))
	sizes := []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}
	size := sizes[rng.Intn(4)]
	n := int16(size.Sizeof())
	off := memory + n*int16(rng.Intn(64/int(n)))
	switch rng.Intn(12) {
	case 0:
		return asm.HostTo([]asm.Endianness{asm.LE, asm.BE}[rng.Intn(2)], dst, sizes[1+rng.Intn(3)])
	case 1:
		return asm.BSwap(dst, sizes[1+rng.Intn(3)])
	case 2:
		jumps := []asm.JumpOp{asm.JEq, asm.JGT, asm.JGE, asm.JSet, asm.JNE, asm.JSGT, asm.JSGE, asm.JLT, asm.JLE, asm.JSLT, asm.JSLE}
		j := jumps[rng.Intn(len(jumps))]
		class := []asm.Class{asm.JumpClass, asm.Jump32Class}[rng.Intn(2)]
		source := []asm.Source{asm.ImmSource, asm.RegSource}[rng.Intn(2)]
		ins := asm.Instruction{OpCode: asm.OpCode(class).SetJumpOp(j).SetSource(source), Dst: dst, Offset: int16(rng.Intn(min(left, 5)))}
		if source == asm.RegSource {
			ins.Src = src
		} else {
			ins.Constant = int64(constant)
		}
		return ins
	case 3:
		if size == asm.DWord || rng.Intn(2) == 0 {
			return asm.LoadMem(dst, asm.R10, off, size)
		}
		return asm.Instruction{OpCode: asm.LoadMemSXOp(size), Dst: dst, Src: asm.R10, Offset: off}
	case 4:
		if rng.Intn(2) == 0 {
			return asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: asm.R10, Offset: off, Constant: int64(constant)}
		}
		return asm.StoreMem(asm.R10, off, src, size)
	case 5:
		atomics := []asm.AtomicOp{asm.AddAtomic, asm.AndAtomic, asm.OrAtomic, asm.XorAtomic,
			asm.FetchAdd, asm.FetchAnd, asm.FetchOr, asm.FetchXor, asm.Xchg, asm.CmpXchg}
		if size = sizes[2+rng.Intn(2)]; size == asm.Word {
			off &^= 3
		} else {
			off &^= 7
		}
		op := atomics[rng.Intn(len(atomics))]
		ins := op.Mem(asm.R10, src, size, off)
		ins.Constant = int64(op >> 8) // cilium/ebpf v0.22 encodes the constant, which its constructor leaves 0
		return ins
	}
	return randomALU(rng, dst, src, constant)
}

func randomALU(rng *rand.Rand, dst, src asm.Register, constant int32) asm.Instruction {
	ops := []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Div, asm.SDiv, asm.Or, asm.And, asm.LSh, asm.RSh, asm.Neg,
		asm.Mod, asm.SMod, asm.Xor, asm.Mov, asm.MovSX8, asm.MovSX16, asm.MovSX32, asm.ArSh}
	op := ops[rng.Intn(len(ops))]
	wide, reg := rng.Intn(2) == 0, rng.Intn(2) == 0
	switch op {
	case asm.Neg:
		return asm.Instruction{OpCode: asm.OpCode(pick(wide, asm.ALU64Class, asm.ALUClass)).SetALUOp(op), Dst: dst}
	case asm.MovSX32:
		return op.Reg(dst, src)
	case asm.MovSX8, asm.MovSX16:
		reg = true
	case asm.Div, asm.SDiv, asm.Mod, asm.SMod: // the kernel refuses a constant 0
		if constant == 0 {
			constant = -1
		}
	case asm.LSh, asm.RSh, asm.ArSh: // and shifts past the width
		constant &= pick[int32](wide, 63, 31)
	}
	switch {
	case wide && reg:
		return op.Reg(dst, src)
	case wide:
		return op.Imm(dst, constant)
	case reg:
		return op.Reg32(dst, src)
	}
	return op.Imm32(dst, constant)
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
