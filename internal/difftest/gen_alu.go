package difftest

import "github.com/cilium/ebpf/asm"

var aluOps = []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Div, asm.Or, asm.And, asm.LSh, asm.RSh,
	asm.Neg, asm.Mod, asm.Xor, asm.Mov, asm.ArSh}

var aluOpsV4 = []asm.ALUOp{asm.SDiv, asm.SMod, asm.MovSX8, asm.MovSX16, asm.MovSX32}

// alu writes one arithmetic instruction on scalars.
func (b *body) alu() {
	op := pick(b.gen, aluOps)
	if b.feat.has(V4) && b.chance(6) {
		op = pick(b.gen, aluOpsV4)
	}
	wide := !b.chance(3)
	var dst int
	register := b.chance(2)
	switch op {
	case asm.Mov:
		dst = b.target()
	case asm.MovSX8, asm.MovSX16, asm.MovSX32:
		dst, register = b.target(), true
		if op == asm.MovSX32 {
			wide = true // the 32-bit form does not exist
		}
	default:
		dst = b.modifiable()
	}
	ins := op.Imm(asm.Register(dst), 0)
	if !wide {
		ins = op.Imm32(asm.Register(dst), 0)
	}
	x := &b.st.r[dst]
	bound := uint64(unknown)
	if !wide {
		bound = 1<<32 - 1
	}
	switch {
	case op == asm.Neg:
	case register:
		src := b.source()
		ins.OpCode = ins.OpCode.SetSource(asm.RegSource)
		ins.Src = asm.Register(src)
		if op == asm.Mov {
			bound = min(bound, b.st.r[src].max)
		}
	default:
		v := b.immediate()
		ins.Constant, bound = b.operand(op, wide, v, x.max, bound)
	}
	b.emit(ins)
	b.setScalar(dst, bound)
}

// operand adapts an immediate to an operation and bounds the result, as far as
// verifiers do.
func (b *body) operand(op asm.ALUOp, wide bool, v int32, before, bound uint64) (int64, uint64) {
	width := int32(64)
	if !wide {
		width = 32
		before = min(before, bound)
	}
	switch op {
	case asm.Div, asm.Mod, asm.SDiv, asm.SMod:
		if v == 0 { // the kernel refuses a constant zero
			v = 3
		}
	case asm.LSh, asm.RSh, asm.ArSh:
		v = int32(b.n(int(width)))
		if op == asm.RSh {
			bound = before >> v
		}
	case asm.And:
		if v >= 0 {
			bound = uint64(v)
		}
	case asm.Mov:
		bound = uint64(int64(v))
		if !wide {
			bound = uint64(uint32(v))
		}
	}
	return int64(v), bound
}

// swap writes a byte order conversion.
func (b *body) swap() {
	dst := b.modifiable()
	size := pick(b.gen, []asm.Size{asm.Half, asm.Word, asm.DWord})
	switch b.n(3) {
	case 0:
		b.emit(asm.HostTo(asm.BE, asm.Register(dst), size))
	case 1:
		b.emit(asm.HostTo(asm.LE, asm.Register(dst), size))
	default:
		if !b.feat.has(V4) {
			b.emit(asm.HostTo(asm.BE, asm.Register(dst), size))
		} else {
			b.emit(asm.BSwap(asm.Register(dst), size))
		}
	}
	// Not every verifier knows a bound of the result.
	b.setScalar(dst, unknown)
}
