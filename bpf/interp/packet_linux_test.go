package interp

import (
	"bytes"
	"errors"
	"math/rand"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestPacketHelpersAgainstKernel compares the packet helpers with the kernel's
// in BPF_PROG_TEST_RUN: what they return, and the packet with its metadata.
func TestPacketHelpersAgainstKernel(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	adjust := []asm.BuiltinFunc{asm.FnXdpAdjustHead, asm.FnXdpAdjustTail, asm.FnXdpAdjustMeta}
	for range 200 {
		packet := make([]byte, 14+rng.Intn(200))
		rng.Read(packet)
		insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Imm(asm.R7, 0)}
		for range 1 + rng.Intn(4) {
			delta := int32(rng.Intn(120) - 60)
			switch rng.Intn(4) {
			case 0:
				delta *= 4
			case 1:
				delta &^= 3
			}
			insns = append(insns, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, delta),
				adjust[rng.Intn(3)].Call(), asm.Mul.Imm(asm.R7, 31), asm.Add.Reg(asm.R7, asm.R0))
		}
		insns = append(insns,
			asm.Mov.Reg(asm.R1, asm.R6), asm.FnXdpGetBuffLen.Call(), asm.Add.Reg(asm.R7, asm.R0),
			asm.Mov.Reg(asm.R0, asm.R7), asm.Return())
		compareRun(t, insns, packet, nil)
	}
}

// TestCopyAgainstKernel compares xdp_load_bytes and xdp_store_bytes at the edges
// of the packet.
func TestCopyAgainstKernel(t *testing.T) {
	rng := rand.New(rand.NewSource(2))
	for range 100 {
		packet := make([]byte, 64)
		rng.Read(packet)
		insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
		for i := range 4 {
			insns = append(insns, asm.StoreImm(asm.R10, int16(-32+8*i), int64(rng.Int31()), asm.Word), asm.StoreImm(asm.R10, int16(-28+8*i), int64(i), asm.Word))
		}
		for i, fn := range []asm.BuiltinFunc{asm.FnXdpLoadBytes, asm.FnXdpStoreBytes} {
			off := []int32{0, 1, 60, 63, 64, -1, 65535, 65536, int32(rng.Intn(70))}[rng.Intn(9)]
			insns = append(insns, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, off),
				asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -32), asm.Mov.Imm(asm.R4, int32(1+rng.Intn(32))), fn.Call())
			if i == 0 {
				insns = append(insns, asm.Mov.Reg(asm.R7, asm.R0))
			}
		}
		insns = append(insns, asm.LSh.Imm(asm.R7, 8), asm.Add.Reg(asm.R0, asm.R7), asm.Return())
		compareRun(t, insns, packet, nil)
	}
}

// TestCsumDiffAgainstKernel compares csum_diff, all bits of it. Whether this
// kernel folds to 16 bits shows in the sum of one word.
func TestCsumDiffAgainstKernel(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	opt := &Options{}
	probe := asm.Instructions{
		asm.StoreImm(asm.R10, -4, 0x12345678, asm.Word),
		asm.Mov.Imm(asm.R1, 0), asm.Mov.Imm(asm.R2, 0), asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 4), asm.Mov.Imm(asm.R5, 0), asm.FnCsumDiff.Call(), asm.Return(),
	}
	if verdict, _ := kernelRun(t, ebpf.XDP, probe, make([]byte, 64)); verdict <= 0xffff {
		opt.FoldCsum = true
	}
	for range 100 {
		insns := asm.Instructions{}
		for i := range int16(16) {
			insns = append(insns, asm.StoreImm(asm.R10, -64+4*i, []int64{0, -1, int64(int32(rng.Uint32()))}[rng.Intn(3)], asm.Word))
		}
		pointer := func(addr, size asm.Register, at int32) {
			n := int32(rng.Intn(9) * 4)
			insns = append(insns, asm.Mov.Reg(addr, asm.R10), asm.Add.Imm(addr, at), asm.Mov.Imm(size, n))
			if n == 0 {
				insns = append(insns, asm.Mov.Imm(addr, 0))
			}
		}
		pointer(asm.R1, asm.R2, -64)
		pointer(asm.R3, asm.R4, -32)
		insns = append(insns, asm.Mov.Imm(asm.R5, []int32{0, -1, rng.Int31()}[rng.Intn(3)]), asm.FnCsumDiff.Call())
		insns = append(insns, asm.Return())
		compareRun(t, insns, make([]byte, 64), opt)
	}
}

// TestLegacyLoadsAgainstKernel compares LD_ABS and LD_IND in tc programs, at
// offsets inside, at the edges, and below zero. (In
// functions the kernel takes them only with BTF.)
func TestLegacyLoadsAgainstKernel(t *testing.T) {
	rng := rand.New(rand.NewSource(4))
	packet := make([]byte, 64)
	rng.Read(packet)
	for range 150 {
		off := []int32{int32(rng.Intn(70)), 60, 61, 62, 63, 64, -1, netOffset + int32(rng.Intn(60)), linkOffset + int32(rng.Intn(70)), -1 << 31}[rng.Intn(10)]
		size := []asm.Size{asm.Byte, asm.Half, asm.Word}[rng.Intn(3)]
		load := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.LoadAbs(off, size)}
		if rng.Intn(2) == 0 {
			part := int32(rng.Intn(100))
			load = asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Imm(asm.R7, part), asm.LoadInd(asm.R0, asm.R7, off-part, size)}
		}
		insns := append(load, asm.Add.Imm(asm.R0, 1), asm.Return())
		compareTyped(t, ebpf.SchedCLS, insns, packet, nil)
	}
}

// kernelRun returns the kernel's verdict and packet. It skips the test if bpf(2) is
// not permitted.
func kernelRun(t *testing.T, typ ebpf.ProgramType, insns asm.Instructions, packet []byte) (uint32, []byte) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "packet", Type: typ, Instructions: insns, License: "GPL"})
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("bpf(2) does not take programs here: %v", err)
	}
	if err != nil {
		t.Fatalf("%+v\n%v", err, insns)
	}
	defer prog.Close()
	run := &ebpf.RunOptions{Data: packet, DataOut: make([]byte, 4096)}
	verdict, err := prog.Run(run)
	if err != nil {
		t.Skipf("BPF_PROG_TEST_RUN is not permitted here: %v", err)
	}
	return verdict, run.DataOut
}

func compareRun(t *testing.T, insns asm.Instructions, packet []byte, opt *Options) {
	t.Helper()
	compareTyped(t, ebpf.XDP, insns, packet, opt)
}

func compareTyped(t *testing.T, typ ebpf.ProgramType, insns asm.Instructions, packet []byte, opt *Options) {
	t.Helper()
	verdict, out := kernelRun(t, typ, insns, packet)
	spec := &ebpf.ProgramSpec{Name: "packet", Type: typ, Instructions: insns}
	r, err := machine(t, spec, nil, opt).Run(&Input{Packet: packet})
	if err != nil {
		t.Fatalf("%v\n%v", err, insns)
	}
	if got := append(r.Meta, r.Packet...); r.Action != verdict || !bytes.Equal(got, out) {
		t.Fatalf("kernel %#x % x\nours %#x % x\n%v", verdict, out, r.Action, got, insns)
	}
}
