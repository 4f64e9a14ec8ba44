package asmtext

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// FormatXlated is Format for an instruction of a loaded program, as the kernel returns
// it. Such an instruction refers to a map by its id, and to a helper by the distance of
// its address from __bpf_call_base; symbols maps these distances to names.
func FormatXlated(ins asm.Instruction, symbols map[int64]string) string {
	switch {
	case ins.IsLoadFromMap() && ins.Reference() == "":
		id := uint32(ins.Constant)
		if ins.Src == asm.PseudoMapValue {
			return fmt.Sprintf("%s = map[id:%d][0]+%d", reg(ins.Dst, true), id, uint64(ins.Constant)>>32)
		}
		return fmt.Sprintf("%s = map[id:%d]", reg(ins.Dst, true), id)
	case ins.IsBuiltinCall() && symbols[ins.Constant] != "":
		return fmt.Sprintf("call %s#%d", symbols[ins.Constant], ins.Constant)
	}
	return Format(ins)
}
