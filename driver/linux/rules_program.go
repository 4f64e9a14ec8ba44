package linux

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// This file holds the rules for a whole program: its maps, its type, its stack, its
// length.

// mapRule returns a rule that checks each map that the driver would create, located at
// the instruction that uses the map first.
func mapRule(check func(*ruleCheck, *ebpf.MapSpec) string) func(*ruleCheck) []finding {
	return func(c *ruleCheck) []finding {
		var found []finding
		c.eachMap(func(i int, spec *ebpf.MapSpec) {
			if msg := check(c, spec); msg != "" {
				found = append(found, finding{i, msg})
			}
		})
		return found
	}
}

// eachMap calls fn for each map that is created on the card, and its first use.
func (c *ruleCheck) eachMap(fn func(i int, spec *ebpf.MapSpec)) {
	c.eachUsed(func(i int, spec *ebpf.MapSpec) {
		if !helper.OffloadNeutral(spec.Type) {
			fn(i, spec)
		}
	})
}

// eachUsed calls fn for each map that the program names, and its first use.
func (c *ruleCheck) eachUsed(fn func(i int, spec *ebpf.MapSpec)) {
	seen := map[int]bool{}
	for i := range c.facts.Code.Insns {
		m := c.insn(i).Map
		if m == code.None || seen[m] {
			continue
		}
		seen[m] = true
		fn(i, c.facts.Code.Maps[m])
	}
}

// addressed reports whether the program loads the address of a value of the map.
func (c *ruleCheck) addressed(spec *ebpf.MapSpec) bool {
	return slices.ContainsFunc(c.facts.Code.Insns, func(ins code.Insn) bool {
		return ins.OpCode.IsDWordLoad() && ins.Src == asm.PseudoMapValue && ins.Map != code.None && c.facts.Code.Maps[ins.Map] == spec
	})
}

// mapCreate checks the kernel's requirements for every map, including those that stay
// in the host's memory.
func mapCreate(c *ruleCheck) []finding {
	var found []finding
	c.eachUsed(func(i int, spec *ebpf.MapSpec) {
		if err := maps.CheckCreate(spec); err != nil {
			found = append(found, finding{i, withoutErrno(err)})
		}
	})
	return found
}

// withoutErrno returns the message of a bpf/maps error without the error number.
func withoutErrno(err error) string {
	text := err.Error()
	if inner := errors.Unwrap(err); inner != nil {
		text = strings.TrimSuffix(text, ": "+inner.Error())
	}
	return text
}

func mapType(c *ruleCheck, spec *ebpf.MapSpec) string {
	name := cmp.Or(asmtext.MapTypeName(spec.Type), spec.Type.String())
	switch {
	case spec.Type != ebpf.Array && spec.Type != ebpf.Hash:
		return fmt.Sprintf("map %s is a %s", spec.Name, name)
	case c.caps.Maps == nil || c.caps.Maps.Types>>spec.Type&1 == 0:
		return fmt.Sprintf("map %s is a %s, which firmware %s does not have", spec.Name, name, c.profile.Name)
	}
	return ""
}

// mapFlags leaves out the maps of global data, whose flags loaders choose: globalData says
// what is wrong with these.
func mapFlags(c *ruleCheck, spec *ebpf.MapSpec) string {
	if c.addressed(spec) {
		return ""
	}
	const ofDescriptor = 1<<3 | 1<<4 // BPF_F_RDONLY and BPF_F_WRONLY: the map does not keep them
	if flags := spec.Flags &^ ofDescriptor; flags != 0 {
		return fmt.Sprintf("map %s has %s", spec.Name, maps.FlagNames(flags))
	}
	return ""
}

func mapSize(c *ruleCheck, spec *ebpf.MapSpec) string {
	m := c.caps.Maps
	if m == nil {
		return ""
	}
	round := func(n uint32) uint32 { return (n + 7) &^ 7 }
	switch sum := round(spec.KeySize) + round(spec.ValueSize); {
	case sum > m.Elem:
		return fmt.Sprintf("map %s: key and value take %d bytes, the most is %d", spec.Name, sum, m.Elem)
	case spec.KeySize > m.Key:
		return fmt.Sprintf("map %s: key of %d bytes, the most is %d", spec.Name, spec.KeySize, m.Key)
	case spec.ValueSize > m.Value:
		return fmt.Sprintf("map %s: value of %d bytes, the most is %d", spec.Name, spec.ValueSize, m.Value)
	}
	return ""
}

func mapCount(c *ruleCheck) []finding {
	var found []finding
	used := uint32(0)
	c.eachMap(func(i int, spec *ebpf.MapSpec) {
		if used++; c.caps.Maps != nil && used > c.caps.Maps.Count {
			found = append(found, finding{i, fmt.Sprintf("map %s is number %d, firmware %s has %d", spec.Name, used, c.profile.Name, c.caps.Maps.Count)})
		}
	})
	return found
}

func mapEntries(c *ruleCheck) []finding {
	var found []finding
	used := uint64(0)
	c.eachMap(func(i int, spec *ebpf.MapSpec) {
		used += uint64(spec.MaxEntries)
		if c.caps.Maps != nil && used > uint64(c.caps.Maps.Entries) {
			found = append(found, finding{i, fmt.Sprintf("map %s brings the entries to %d, firmware %s has %d", spec.Name, used, c.profile.Name, c.caps.Maps.Entries)})
		}
	})
	return found
}

func programType(c *ruleCheck) []finding {
	switch t := c.facts.Code.Type; t {
	case ebpf.XDP, ebpf.SchedCLS:
		return nil
	default:
		return []finding{{0, fmt.Sprintf("programs of type %s are not offloaded", cmp.Or(asmtext.ProgramTypeName(t), t.String()))}}
	}
}

func loadFlags(c *ruleCheck) []finding {
	if f := c.facts.Code.Flags; f != 0 {
		return []finding{{0, fmt.Sprintf("the program asks for flags %#x", f)}}
	}
	return nil
}

// attachType refuses programs for any hook other than the two with a hardware mode,
// and tcx.
func attachType(c *ruleCheck) []finding {
	p, hook := c.facts.Code, ""
	switch {
	case p.Type == ebpf.XDP && p.Attach == ebpf.AttachXDPDevMap:
		hook = "a devmap's entries"
	case p.Type == ebpf.XDP && p.Attach == ebpf.AttachXDPCPUMap:
		hook = "a cpumap's entries"
	case p.Type == ebpf.SchedCLS && (p.Attach == ebpf.AttachNetkitPrimary || p.Attach == ebpf.AttachNetkitPeer):
		hook = "netkit devices"
	case forTCX(p) && !c.kernel.TCX:
		return []finding{{0, fmt.Sprintf("the program is for tcx hooks (attach type %v), which kernel %s does not have", p.Attach, c.kernel.Release)}}
	default:
		return nil
	}
	return []finding{{0, fmt.Sprintf("the program is for %s (attach type %v), which run no program on a card", hook, p.Attach)}}
}

// tcx refuses programs for tcx hooks of a kernel that has them.
func tcx(c *ruleCheck) []finding {
	if p := c.facts.Code; forTCX(p) && c.kernel.TCX {
		return []finding{{0, fmt.Sprintf("the program is for tcx hooks (attach type %v): the kernel attaches it, and no packet runs it, neither on the card nor on the host", p.Attach)}}
	}
	return nil
}

// forTCX reports whether a program is for tcx hooks. A tcx attach type of a section
// "tc/..." is libbpf's name for both tcx and tc: a tc filter takes such a program.
func forTCX(p *code.Code) bool {
	return p.Type == ebpf.SchedCLS && (p.Attach == ebpf.AttachTCXIngress || p.Attach == ebpf.AttachTCXEgress) && !strings.HasPrefix(p.Section, "tc/")
}

// stackOf returns the bytes of stack of the deepest chain of calls: View.Stack.
func stackOf(f *verify.Facts) int {
	const align = 64
	frame := make([]int, len(f.Code.Funcs))
	for n := range frame {
		frame[n] = (frameOf(f, n) + align - 1) &^ (align - 1)
	}
	var deepest func(n int) int
	sum := make([]int, len(frame)) // 0 means not yet known
	deepest = func(n int) int {
		if sum[n] > 0 {
			return sum[n]
		}
		below := 0
		for i := f.Code.Funcs[n].Start; i < f.Code.Funcs[n].End; i++ {
			if ins := &f.Code.Insns[i]; ins.Callee != code.None && ins.OpCode.Class().IsJump() {
				below = max(below, deepest(ins.Callee))
			}
		}
		sum[n] = frame[n] + below
		return sum[n]
	}
	return deepest(0)
}

// frameOf returns the bytes of stack that the Linux driver assigns to function n.
func frameOf(f *verify.Facts, n int) int {
	const returnAddress, saved = 4, 32
	if n == 0 {
		return f.Depth[0]
	}
	fn := f.Code.Funcs[n]
	for i := fn.Start; i < fn.End; i++ {
		if d := f.Code.Insns[i].Dst; d >= asm.R6 && d <= asm.R9 {
			return f.Depth[n] + returnAddress + saved
		}
	}
	return f.Depth[n] + returnAddress
}

func stackSize(c *ruleCheck) []finding {
	if n := c.Stack(); n > c.profile.Stack/64*64 {
		return []finding{{0, fmt.Sprintf("the stack takes %d bytes, firmware %s has %d", n, c.profile.Name, c.profile.Stack/64*64)}}
	}
	return nil
}

// codeSize refuses programs that are certainly too long: it uses the fewest words that
// the driver's translator generates for the instructions that are left.
func codeSize(c *ruleCheck) []finding {
	least, _ := c.Words()
	if least > c.profile.MaxLen {
		return []finding{{0, fmt.Sprintf("the driver generates at least %d words for the program, firmware %s has room for %d", least, c.profile.Name, c.profile.MaxLen)}}
	}
	return nil
}

// farthest returns the kernel's max_pkt_offset: the largest offset of a packet byte
// that an access may reach, and the instruction. It does not count classic loads.
func farthest(f *verify.Facts) (offset int64, insn int) {
	see := func(i int, m *verify.Access) {
		if m.Kind == verify.PtrPacket && m.Max+int64(m.Size)-1 > offset {
			offset, insn = m.Max+int64(m.Size)-1, i
		}
	}
	for i, m := range f.Mem {
		if m != nil {
			see(i, m)
		}
		if k := f.Calls[i]; k != nil {
			for n := range k.Mem {
				see(i, &k.Mem[n])
			}
		}
	}
	return offset, insn
}

// defaultMTU is the default MTU of an Ethernet interface.
const defaultMTU = 1500

func packetSplit(c *ruleCheck) []finding {
	at, i := farthest(c.facts)
	if limit := int64(c.profile.CTMBytes()); limit < min(at, int64(c.mtu)) {
		return []finding{{i, fmt.Sprintf("packet bytes up to %d may be reached at an mtu of %d, firmware %s keeps %d near the engine", at, c.mtu, c.profile.Name, limit)}}
	}
	return nil
}
