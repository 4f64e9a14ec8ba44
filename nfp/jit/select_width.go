package jit

import (
	"math/bits"

	"github.com/nfpkit/nfpkit/ir"
)

// maxWidthDepth is how far widthOf looks.
const maxWidthDepth = 6

// widthOf returns an upper bound of the number of low bits of a word that can be other
// than zero, looking a few operations back.
func widthOf(v *ir.Value, depth int) int {
	if depth > maxWidthDepth {
		return 32
	}
	arg := func(i int) int { return widthOf(v.Args[i], depth+1) }
	switch v.Op {
	case ir.OpConst:
		return bits.Len32(uint32(v.Int))
	case ir.OpLoad:
		return min(32, 8*int(v.Size))
	case ir.OpPacketLen:
		return 14
	case ir.OpCtxLoad:
		if v.Sym == "len" {
			return 14
		}
	case ir.OpAnd:
		return min(arg(0), arg(1))
	case ir.OpOr, ir.OpXor:
		return max(arg(0), arg(1))
	case ir.OpSelect:
		return max(arg(1), arg(2))
	case ir.OpShr:
		if n, ok := constOf(v.Args[1]); ok {
			return max(0, arg(0)-int(n&31))
		}
		return arg(0)
	case ir.OpShl:
		if n, ok := constOf(v.Args[1]); ok {
			return min(32, arg(0)+int(n&31))
		}
	case ir.OpAdd:
		return min(32, max(arg(0), arg(1))+1)
	case ir.OpBSwap:
		if v.Int == 16 {
			return 16
		}
	}
	if isCompare(v.Op) {
		return 1
	}
	return 32
}
