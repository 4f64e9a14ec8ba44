package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// foldHead replaces the result of adjust_head by 0 if it cannot fail: one constant
// step to the left, within the room that the firmware guarantees, on an unmodified
// packet. The program's handling of a failure is then dead.
func foldHead(m *ir.Module, p *firmware.Profile) {
	if !adjustsOnce(m, p) {
		return
	}
	f := m.Funcs[0]
	for _, b := range f.Blocks {
		for i, v := range b.Values {
			if v.Op != ir.OpCallHelper || v.Int != helperAdjustHead || v.Args[1].Op != ir.OpConst || !surelyFits(p, int32(v.Args[1].Int)) {
				continue
			}
			zero := f.NewValue(ir.OpConst, ir.I64, v.PC)
			by := make([]*ir.Value, f.NextID)
			by[v.ID] = zero
			b.Values = append(b.Values[:i+1:i+1], append([]*ir.Value{zero}, b.Values[i+1:]...)...)
			f.Replace(by)
			return
		}
	}
}

// surelyFits reports whether the packet's start can always move by delta.
func surelyFits(p *firmware.Profile, delta int32) bool {
	return delta <= 0 && int(delta) >= -p.AdjustHead.GuaranteedSub
}
