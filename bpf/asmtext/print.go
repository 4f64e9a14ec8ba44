package asmtext

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Print writes a whole text. Parse of it returns an equal File.
func Print(f *File) string {
	var b strings.Builder
	for _, name := range f.Maps {
		b.WriteString(mapLine(name, f.Spec.Maps[name], f.Spec.Maps))
	}
	license := ""
	for _, name := range f.Programs {
		p := f.Spec.Programs[name]
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		if p.License != license {
			fmt.Fprintf(&b, ".license %q\n", p.License)
			license = p.License
		}
		b.WriteString(PrintProgram(p))
	}
	return b.String()
}

// PrintSpec writes a collection as text, maps and programs in order of name.
func PrintSpec(spec *ebpf.CollectionSpec) string {
	f := &File{Spec: spec}
	for name := range spec.Maps {
		f.Maps = append(f.Maps, name)
	}
	for name := range spec.Programs {
		f.Programs = append(f.Programs, name)
	}
	slices.Sort(f.Maps)
	slices.Sort(f.Programs)
	return Print(f)
}

// mapLine writes a .map directive. name is its key in the collection, which
// references use. The name in the spec is the kernel's, which is truncated.
func mapLine(name string, m *ebpf.MapSpec, all map[string]*ebpf.MapSpec) string {
	var b strings.Builder
	typ := MapTypeName(m.Type)
	if typ == "" {
		typ = MapTypeName(ebpf.UnspecifiedMap)
	}
	fmt.Fprintf(&b, ".map %s %s key=%d value=%d entries=%d", quoteName(name), typ, m.KeySize, m.ValueSize, m.MaxEntries)
	if m.Flags != 0 {
		fmt.Fprintf(&b, " flags=%#x", m.Flags)
	}
	for inner, spec := range all {
		if m.InnerMap != nil && spec == m.InnerMap {
			fmt.Fprintf(&b, " inner=%s", quoteName(inner))
			break
		}
	}
	if len(m.Contents) == 1 {
		data, ok := m.Contents[0].Value.([]byte)
		if key, isIndex := m.Contents[0].Key.(uint32); ok && isIndex && key == 0 && len(data) > 0 {
			fmt.Fprintf(&b, " data=%s", strconv.Quote(hex.EncodeToString(data)))
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// PrintProgram writes one program, its .program line first.
func PrintProgram(p *ebpf.ProgramSpec) string {
	var b strings.Builder
	typ := ProgramTypeName(p.Type)
	if typ == "" {
		typ = ProgramTypeName(ebpf.UnspecifiedProgram)
	}
	fmt.Fprintf(&b, ".program %s %s", typ, quoteName(p.Name))
	if p.SectionName != "" && p.SectionName != typ {
		fmt.Fprintf(&b, " section=%s", quoteName(p.SectionName))
	}
	if p.AttachType != 0 {
		fmt.Fprintf(&b, " attach=%d", uint32(p.AttachType))
	}
	if p.Flags != 0 {
		fmt.Fprintf(&b, " flags=%#x", p.Flags)
	}
	b.WriteByte('\n')
	b.WriteString(printInsns(p.Instructions, p.Name))
	return b.String()
}

// printInsns writes the instructions of function entry as text, one a line. Other
// functions that are called by name are marked with .func, targets of jumps with labels
// L<pc>.
func printInsns(insns asm.Instructions, entry string) string {
	labels := jumpLabels(insns)
	var b strings.Builder
	pc := 0
	for i, ins := range insns {
		if sym := ins.Symbol(); sym != "" && (i > 0 || sym != entry) {
			fmt.Fprintf(&b, ".func %s\n", quoteName(sym))
		}
		if l := labels[pc]; l != "" {
			fmt.Fprintf(&b, "%s:\n", l)
		}
		to := ""
		if d, ok := distance(ins); ok && ins.Reference() == "" {
			to = labels[pc+1+d]
		}
		fmt.Fprintf(&b, "\t%s\n", formatTo(ins, to))
		pc += int(ins.Width())
	}
	return b.String()
}

// distance returns how far a jump within a function goes, in slots.
func distance(ins asm.Instruction) (int, bool) {
	op := ins.OpCode.JumpOp()
	switch {
	case op == asm.InvalidJumpOp || op == asm.Exit || op == asm.Call:
		return 0, false
	case isLongJump(ins.OpCode):
		return int(ins.Constant), true
	}
	return int(ins.Offset), true
}

// jumpLabels returns the pcs that need a label, since a jump goes there. A jump whose
// target is not the start of an instruction is printed with a number instead.
func jumpLabels(insns asm.Instructions) map[int]string {
	starts, symbols := map[int]bool{}, map[string]bool{}
	pc := 0
	for i := range insns {
		starts[pc] = true
		symbols[insns[i].Symbol()] = true
		pc += int(insns[i].Width())
	}
	labels := map[int]string{}
	pc = 0
	for _, ins := range insns {
		if d, ok := distance(ins); ok && ins.Reference() == "" && starts[pc+1+d] {
			name := fmt.Sprintf("L%d", pc+1+d)
			for symbols[name] {
				name += "_"
			}
			labels[pc+1+d] = name
		}
		pc += int(ins.Width())
	}
	return labels
}
