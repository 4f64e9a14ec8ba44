//go:build linux

package difftest

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
)

// Programs that touch each rule of the Linux driver from both sides, as eBPF text:
// one instruction, argument or definition each that the driver may take or not,
// in a frame that it takes.

// driverCase is one program. Group says which card it is loaded on.
type driverCase struct {
	name, text string
	group      string // "": a card with everything; see driverCards
	flags      uint32 // of BPF_PROG_LOAD
	mapFlags   uint32 // of the program's maps
	section    string // of the object that it would come from
}

// caseWriter collects cases.
type caseWriter struct {
	all   []driverCase
	group string
}

func (w *caseWriter) add(name, text string) *driverCase {
	w.all = append(w.all, driverCase{name: name, text: text, group: w.group})
	return &w.all[len(w.all)-1]
}

// xdp adds a program with an unknown 32-bit number in r6, a byte of the packet in r7,
// and the packet in r8 with 64 bytes after it. Its result is in r0.
func (w *caseWriter) xdp(name string, lines ...string) *driverCase {
	return w.add(name, ".program xdp main\n"+packetFrame("0", "4", "1")+strings.Join(lines, "\n")+"\n\tr0 = 2\n\texit\nout:\n\tr0 = 1\n\texit\n")
}

// tc is xdp for a classifier; the result is 2, or what lines end with.
func (w *caseWriter) tc(name string, lines ...string) *driverCase {
	return w.add(name, ".program tc main\n"+packetFrame("76", "80", "2")+strings.Join(lines, "\n")+"\n\tr0 = 2\n\texit\nout:\n\tr0 = 2\n\texit\n")
}

func packetFrame(data, end, _ string) string {
	return fmt.Sprintf(`	r9 = r1
	r8 = *(u32 *)(r1 + %s)
	r2 = *(u32 *)(r1 + %s)
	r3 = r8
	r3 += 64
	if r3 > r2 goto out
	r6 = *(u32 *)(r8 + 16)
	r7 = *(u8 *)(r8 + 20)
`, data, end)
}

const (
	arr16  = ".map m array key=4 value=16 entries=4\n"
	hash16 = ".map m hash key=4 value=16 entries=4\n"
)

// lookup leaves a value of map m in r0 and r1, or goes out.
const lookup = `	r1 = 0
	*(u32 *)(r10 - 4) = r1
	r2 = r10
	r2 += -4
	r1 = map[m]
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r1 = r0`

// withMap is xdp with a map definition in front.
func (w *caseWriter) withMap(name, def string, lines ...string) *driverCase {
	c := w.xdp(name, lines...)
	c.text = def + c.text
	return c
}

// driverCases returns all of them.
func driverCases() []driverCase {
	w := &caseWriter{}
	w.arithmetic()
	w.ranges()
	w.links()
	w.jumps()
	w.knowledge()
	w.memory()
	w.context()
	w.helpers()
	w.values()
	w.updates()
	w.exits()
	w.frames()
	w.callersBytes()
	w.definitions()
	w.events()
	w.hooks()
	w.cards()
	return w.all
}

func (w *caseWriter) arithmetic() {
	for _, op := range []string{"+=", "-=", "&=", "|=", "^=", "*=", "/=", "<<=", ">>=", "s>>=", "%=", "s/=", "s%=", "="} {
		for _, r := range []string{"r", "w"} {
			w.xdp("alu k "+r+op, "\t"+r+"7 "+op+" 3")
			w.xdp("alu x "+r+op, "\tr4 = 3", "\t"+r+"7 "+op+" "+r+"4")
		}
	}
	for _, s := range []string{"r7 = -r7", "w7 = -w7", "r7 = be16 r7", "r7 = be32 r7", "r7 = be64 r7", "r7 = le16 r7", "r7 = le32 r7", "r7 = le64 r7",
		"r7 = bswap16 r7", "r7 = bswap32 r7", "r7 = bswap64 r7", "r7 = (s8)r6", "r7 = (s16)r6", "r7 = (s32)r6", "w7 = (s8)w6", "w7 = (s16)w6",
		"r7 = 0x123456789abcdef ll", "r7 = r10"} {
		w.xdp(s, "\t"+s)
	}
}

// links between numbers that differ by a constant: a range that was learned of one is
// the other's, as far as the guest's kernel follows.
func (w *caseWriter) links() {
	w.xdp("mul link none", "\tr4 = r6", "\tr4 += 1", "\tr4 *= r7")
	w.xdp("mul link sum", "\tr4 = r6", "\tr4 += 1", "\tif r6 > 100 goto out", "\tr4 *= r7")
	w.xdp("mul link back", "\tr6 <<= 1", "\tr4 = r6", "\tr4 += 1", "\tif r4 > 100 goto out", "\tr6 *= r7")
	w.xdp("mul link back moved", "\tr6 <<= 1", "\tr4 = r6", "\tr4 += 1", "\tif r4 > 100 goto out", "\tr6 += 0", "\tr6 *= r7")
	w.xdp("mul link difference", "\tr6 <<= 1", "\tr4 = r6", "\tr4 += -1", "\tif r6 > 100 goto out", "\tif r6 < 2 goto out", "\tr4 *= r7")
	w.xdp("mul link sub", "\tr6 <<= 1", "\tr4 = r6", "\tr4 -= 1", "\tif r6 > 100 goto out", "\tif r6 < 2 goto out", "\tr4 *= r7")
	w.xdp("mul link twice", "\tr4 = r6", "\tr4 += 1", "\tr4 += 1", "\tif r6 > 100 goto out", "\tr4 *= r7")
	w.xdp("mul link copied", "\tr4 = r6", "\tr4 += 1", "\tr5 = r4", "\tif r6 > 100 goto out", "\tr4 *= r7")
	w.xdp("mul link of a copy", "\tr4 = r6", "\tr4 += 1", "\tr5 = r4", "\tif r5 > 100 goto out", "\tr4 *= r7")
	w.xdp("mul link spilled", "\tr4 = r6", "\tr4 += 1", "\t*(u64 *)(r10 - 8) = r4", "\tif r6 > 100 goto out", "\tr4 *= r7")
	w.xdp("link constant sum", "\tr4 = r6", "\tr4 += 4", "\tif r6 != 9 goto out", "\tr8 += r4", "\tr7 = *(u8 *)(r8 + 0)")
	w.xdp("link constant back", "\tr4 = r6", "\tr4 += 4", "\tif r4 != 9 goto out", "\tr8 += r6", "\tr7 = *(u8 *)(r8 + 0)")
	w.xdp("link constant back moved", "\tr4 = r6", "\tr4 += 4", "\tif r4 != 9 goto out", "\tr6 += 0", "\tr8 += r6", "\tr7 = *(u8 *)(r8 + 0)")
	w.xdp("mul link both", "\tr4 = r6", "\tr4 += 3", "\tr5 = r6", "\tr5 += 5", "\tif r4 > 100 goto out", "\tr5 *= r7")
}

// ranges of factors, dividends and divisors.
func (w *caseWriter) ranges() {
	w.xdp("mul 32 x 32", "\tr7 *= r6")
	w.xdp("mul wide dst", "\tr6 <<= 1", "\tr6 *= r7")
	w.xdp("mul wide src", "\tr6 <<= 1", "\tr7 *= r6")
	w.xdp("mul k", "\tr6 *= 2147483647")
	w.xdp("mul k negative", "\tr6 *= -1")
	w.xdp("mul w k negative", "\tw6 *= -1")
	w.xdp("mul w wide dst", "\tr6 <<= 1", "\tw6 *= 3")
	w.xdp("mul w wide src", "\tr6 <<= 1", "\tw7 *= w6")
	w.xdp("div w k far below zero", "\tw6 /= -746")
	w.xdp("div x above 2^31", "\tr4 = 0xfffffd16 ll", "\tr6 /= r4")
	w.xdp("mul by unwritten", "\tr7 *= r5")
	w.xdp("mul of unwritten", "\tr5 *= r7")
	w.xdp("div by unwritten", "\tr7 /= r5")
	w.xdp("div of unwritten", "\tr5 /= 3")
	w.xdp("mul masked", "\tr6 <<= 1", "\tr4 = 0xffffffff ll", "\tr6 &= r4", "\tr7 *= r6")
	w.xdp("mul compared", "\tr6 <<= 3", "\tr4 = 0xffffffff ll", "\tif r6 > r4 goto out", "\tr6 *= 10")
	w.xdp("mul compared one too many", "\tr6 <<= 3", "\tr4 = 0x100000000 ll", "\tif r6 > r4 goto out", "\tr6 *= 10")
	w.xdp("mul loaded 64", "\tr4 = *(u64 *)(r8 + 8)", "\tr4 *= 3")
	w.xdp("mul shifted", "\tr4 = *(u64 *)(r8 + 8)", "\tr4 >>= 32", "\tr4 *= r6")
	w.xdp("mul shifted 31", "\tr4 = *(u64 *)(r8 + 8)", "\tr4 >>= 31", "\tr4 *= r6")
	w.xdp("mul moved 32", "\tr4 = *(u64 *)(r8 + 8)", "\tw4 = w4", "\tr4 *= r6")
	w.xdp("mul of a negative", "\tr4 = -1", "\tr4 *= 3")
	w.xdp("mul of a negative 32", "\tw4 = -1", "\tr4 *= 3")
	w.xdp("mul by itself", "\tr6 *= r6")
	w.xdp("mul wide by itself", "\tr6 <<= 1", "\tr6 *= r6")
	w.xdp("div 32 by k", "\tr6 /= 10")
	w.xdp("div wide", "\tr6 <<= 1", "\tr6 /= 10")
	w.xdp("div w wide", "\tr6 <<= 1", "\tw6 /= 10")
	w.xdp("div negative k", "\tr6 /= -3")
	w.xdp("div w negative k", "\tw6 /= -3")
	w.xdp("div by constant register", "\tr4 = 7", "\tr6 /= r4")
	w.xdp("div by unknown register", "\tr6 /= r7")
	w.xdp("div by one of two", "\tr4 = r7", "\tr4 &= 1", "\tr4 |= 2", "\tr6 /= r4")
	w.xdp("div by wide register", "\tr4 = 0x100000000 ll", "\tr6 /= r4")
	w.xdp("div by widest register", "\tr4 = 0xffffffff ll", "\tr6 /= r4")
	w.xdp("div by negative register", "\tr4 = -3", "\tr6 /= r4")
	w.xdp("div w by constant register", "\tr4 = 9", "\tw6 /= w4")
	w.xdp("div by two to the 31", "\tr6 /= 2147483647")
	for _, n := range []string{"0", "31", "32", "63", "64", "255", "256", "0x140 ll", "0x7fffffffffffffff ll"} {
		w.xdp("shift by "+n, "\tr4 = "+n, "\tr6 s>>= r4")
		w.xdp("shift w by "+n, "\tr4 = "+n, "\tw6 <<= w4")
	}
	w.xdp("div compared", "\tr4 = *(u64 *)(r8 + 8)", "\tr5 = 0xffffffff ll", "\tif r4 > r5 goto out", "\tr4 /= 3")
}

func (w *caseWriter) jumps() {
	for _, op := range []string{"==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"} {
		for _, r := range []string{"r", "w"} {
			w.xdp("if k "+r+op, "\tif "+r+"7 "+op+" 9 goto out")
			w.xdp("if x "+r+op, "\tif "+r+"7 "+op+" "+r+"6 goto out")
		}
	}
	w.xdp("goto", "\tr4 = 1", "\tif r7 == 1 goto on", "\tgoto out", "on:")
	w.xdp("gotol", "\tr4 = 1", "\tif r7 == 1 goto on", "\tgotol out", "on:")
	w.xdp("dead branch", "\tr4 = 1", "\tif r4 == 1 goto on", "\tr7 *= r7", "\tr7 %= 3", "on:")
	w.xdp("dead fall", "\tr4 = 1", "\tif r4 != 1 goto out", "\tr7 += 3")
	w.xdp("dead goto", "\tr4 = 1", "\tif r4 == 1 goto on", "\tgoto out", "on:")
	w.xdp("loop", "\tr4 = 0", "again:", "\tr4 += 1", "\tif r4 < 5 goto again")
	w.xdp("loop that multiplies", "\tr4 = 0", "again:", "\tr4 += 1", "\tr5 = r7", "\tr5 *= r4", "\tif r4 < 5 goto again")
}

// knowledge adds programs for what the kernel's verifier knows of a branch. The driver
// refuses the remainder if the verifier shows it that code.
func (w *caseWriter) knowledge() {
	unless := func(name, condition string, lines ...string) {
		for _, c := range strings.Split(condition, "; ") {
			lines = append(lines, "\tif "+c+" goto on")
		}
		w.xdp(name, append(lines, "\tr7 %= 3", "on:")...)
	}
	r4 := func(lines ...string) []string { return append([]string{"\tr4 = r7"}, lines...) }
	unless("itself, a constant", "w4 s>= w4", "\tr4 = 5")
	unless("itself", "w4 s>= w4", r4("\tr4 &= 16")...)
	unless("itself is one of two", "w4 s>= w4; w4 s>= -1", r4("\tr4 &= 16")...) // no number is left, and its bounds are forgotten
	unless("itself is one of two, by bits", "w4 s>= w4; w4 == 0", r4("\tr4 &= 16")...)
	unless("one of two", "w4 s>= -1", r4("\tr4 &= 16")...)
	unless("itself again", "r4 <= r4; r4 >= r4", r4()...)
	unless("equals itself", "r4 == r4", r4()...)
	unless("above a number", "r4 > 7", r4("\tr4 += 200")...)
	unless("bits above a number", "r4 & -8", r4("\tr4 += 200")...)
	unless("no bits above a number", "r4 & -8; r4 < 8", r4("\tr4 += 200")...)
	unless("bits that are set", "r4 & -8", r4("\tr4 |= 8")...)
	unless("bits of a register", "r4 & r4", r4("\tr4 |= 8")...)
	unless("no bits of a register", "r4 & r6; r4 == 0", r4("\tr4 &= 8", "\tr6 |= 8")...)
	unless("one bit", "r4 == 8", append(r4("\tr4 &= 12"), "\tif r4 & 8 goto bit", "\tgoto out", "bit:", "\tr4 &= 8")...)
	unless("one of two bits", "r4 > 3", append(r4("\tr4 &= 12"), "\tif r4 & 12 goto bit", "\tgoto out", "bit:")...)
	unless("halves apart", "r4 != r5", r4("\tr4 |= 256", "\tr5 = r6", "\tr5 &= 255")...)
	stack := func(name, value, store, load string, more ...string) {
		unless("stack: "+name, "r5 == 0", append([]string{"\tr4 = " + value, "\t*" + store + " = r4"}, append(more, "\tr5 = *"+load)...)...)
	}
	stack("zero", "0", "(u16 *)(r10 - 8)", "(u8 *)(r10 - 7)")
	stack("zero below a number", "0x400000", "(u16 *)(r10 - 8)", "(u8 *)(r10 - 8)")
	stack("zero below a number, in the middle", "0x400000", "(u16 *)(r10 - 8)", "(u8 *)(r10 - 7)")
	stack("zero in the middle", "0", "(u16 *)(r10 - 6)", "(u8 *)(r10 - 5)")
	stack("zero below a number, elsewhere", "0x400000", "(u16 *)(r10 - 6)", "(u8 *)(r10 - 6)")
	stack("zero, as more", "0", "(u32 *)(r10 - 8)", "(u64 *)(r10 - 8)", "\t*(u32 *)(r10 - 4) = r4")
	stack("zero beside a number", "0", "(u32 *)(r10 - 4)", "(u32 *)(r10 - 4)", "\t*(u16 *)(r10 - 8) = r6")
	stack("zero beside a number written over", "0", "(u32 *)(r10 - 4)", "(u32 *)(r10 - 4)", "\t*(u16 *)(r10 - 8) = r6", "\t*(u8 *)(r10 - 7) = r6")
}

func (w *caseWriter) memory() {
	for _, s := range []string{"u8", "u16", "u32", "u64"} {
		w.xdp("load packet "+s, "\tr4 = *("+s+" *)(r8 + 8)")
		w.xdp("load packet odd "+s, "\tr4 = *("+s+" *)(r8 + 9)")
		w.xdp("load stack "+s, "\t*(u64 *)(r10 - 8) = r6", "\tr4 = *("+s+" *)(r10 - 8)")
		w.withMap("load map "+s, arr16, lookup, "\tr4 = *("+s+" *)(r1 + 8)")
		w.xdp("store packet "+s, "\t*("+s+" *)(r8 + 8) = r6")
		w.xdp("store stack "+s, "\t*("+s+" *)(r10 - 8) = r6")
		w.withMap("store map "+s, arr16, lookup, "\t*("+s+" *)(r1 + 8) = r6")
		w.xdp("store constant packet "+s, "\t*("+s+" *)(r8 + 8) = 5")
		w.xdp("store constant stack "+s, "\t*("+s+" *)(r10 - 8) = 5")
		w.withMap("store constant map "+s, arr16, lookup, "\t*("+s+" *)(r1 + 8) = 5")
	}
	for _, s := range []string{"s8", "s16", "s32"} {
		w.xdp("load "+s, "\tr4 = *("+s+" *)(r8 + 8)")
	}
	for _, s := range []string{"u8", "u16", "u32"} {
		w.tc("classic "+s, "\tr6 = r9", "\tr0 = *("+s+" *)skb[12]")
		w.tc("classic indirect "+s, "\tr6 = r9", "\tr0 = *("+s+" *)skb[r7 + 12]")
	}
	w.xdp("variable packet", "\tr7 &= 15", "\tr8 += r7", "\tr3 = r8", "\tr3 += 8", "\tif r3 > r2 goto out", "\tr4 = *(u32 *)(r8 + 4)")
	w.xdp("variable stack", "\tr7 &= 4", "\t*(u64 *)(r10 - 8) = r6", "\tr3 = r10", "\tr3 += -8", "\tr3 += r7", "\tr4 = *(u32 *)(r3 + 0)")
	w.xdp("variable stack store", "\tr7 &= 4", "\tr3 = r10", "\tr3 += -8", "\tr3 += r7", "\t*(u32 *)(r3 + 0) = r6")
	w.xdp("variable stack byte", "\tr7 &= 7", "\t*(u64 *)(r10 - 8) = r6", "\tr3 = r10", "\tr3 += -8", "\tr3 += r7", "\tr4 = *(u8 *)(r3 + 0)")
	two := func(name, a, b, access string) {
		w.xdp(name, "\t*(u64 *)(r10 - 8) = r6", "\t*(u64 *)(r10 - 16) = r6", "\tr3 = r10", "\tr3 += "+a, "\tif r7 == 0 goto on", "\tr3 = r10", "\tr3 += "+b, "on:", "\t"+access)
	}
	two("two stack places alike", "-8", "-16", "r4 = *(u32 *)(r3 + 0)")
	two("two stack places by word", "-8", "-12", "r4 = *(u32 *)(r3 + 0)")
	two("two stack places by byte", "-8", "-11", "r4 = *(u8 *)(r3 + 0)")
	two("two stack places by half", "-8", "-14", "r4 = *(u16 *)(r3 + 0)")
	two("two stack places store by half", "-8", "-14", "*(u16 *)(r3 + 0) = r6")
	w.xdp("stack or packet", "\t*(u64 *)(r10 - 8) = r6", "\tr3 = r10", "\tr3 += -8", "\tif r7 == 0 goto on", "\tr3 = r8", "on:", "\tr4 = *(u32 *)(r3 + 0)")
	w.xdp("packet or stack", "\t*(u64 *)(r10 - 8) = r6", "\tr3 = r8", "\tif r7 == 0 goto on", "\tr3 = r10", "\tr3 += -8", "on:", "\tr4 = *(u32 *)(r3 + 0)")
	w.withMap("map or packet", arr16, lookup, "\tif r7 == 0 goto on", "\tr1 = r8", "on:", "\tr4 = *(u32 *)(r1 + 0)")
	w.xdp("two packet places", "\tr3 = r8", "\tif r7 == 0 goto on", "\tr3 += 5", "on:", "\tr4 = *(u32 *)(r3 + 0)")
	w.xdp("metadata", "\tr3 = *(u32 *)(r9 + 8)", "\tr4 = r3", "\tr4 += 4", "\tif r4 > r8 goto out", "\tr5 = *(u32 *)(r3 + 0)")
	w.xdp("packet end", "\tr4 = *(u8 *)(r2 + 0)")
	w.xdp("unwritten stack", "\tr4 = *(u32 *)(r10 - 8)")
	w.xdp("past the packet", "\tr4 = *(u32 *)(r8 + 64)")
	w.xdp("number as pointer", "\tr4 = *(u32 *)(r6 + 0)")
	w.xdp("load through unwritten", "\tr4 = *(u32 *)(r5 + 0)")
	w.xdp("store through unwritten", "\t*(u32 *)(r5 + 0) = r6")
	w.withMap("NULL or a value plus 0", arr16, strings.Replace(lookup, "\tif r0 == 0 goto out\n", "\tr0 += 0\n\tif r0 == 0 goto out\n", 1), "\tr4 = *(u32 *)(r1 + 0)")
	w.withMap("map plus 0", arr16, strings.Replace(lookup, "\tcall", "\tr1 += 0\n\tcall", 1), "\tr4 = *(u32 *)(r1 + 0)")
	w.withMap("map minus 0", arr16, strings.Replace(lookup, "\tcall", "\tr1 -= 0\n\tcall", 1), "\tr4 = *(u32 *)(r1 + 0)")
	w.xdp("packet start below the end", "\tr3 = *(u32 *)(r9 + 0)", "\tif r3 >= r2 goto out", "\tr4 = *(u8 *)(r3 + 0)")
	w.xdp("packet byte below the end", "\tr3 = *(u32 *)(r9 + 0)", "\tr4 = r3", "\tr4 += 1", "\tif r4 >= r2 goto out", "\tr4 = *(u8 *)(r3 + 1)")
	w.xdp("packet end plus 0", "\tr2 += 0", "\tr3 = r8", "\tr3 += 8", "\tif r3 > r2 goto out")
	w.withMap("value that may be NULL", arr16, strings.Replace(lookup, "\tif r0 == 0 goto out\n", "", 1), "\tr4 = *(u32 *)(r1 + 0)")
	w.xdp("below the stack", "\tr4 = *(u32 *)(r10 - 520)")
	w.withMap("past the value", arr16, lookup, "\tr4 = *(u32 *)(r1 + 16)")
}

func (w *caseWriter) context() {
	for off := 0; off <= 24; off += 4 {
		w.xdp(fmt.Sprintf("xdp ctx load %d", off), fmt.Sprintf("\tr4 = *(u32 *)(r9 + %d)", off))
		w.xdp(fmt.Sprintf("xdp ctx store %d", off), fmt.Sprintf("\t*(u32 *)(r9 + %d) = r6", off))
	}
	w.xdp("xdp ctx store constant", "\t*(u32 *)(r9 + 16) = 1")
	w.xdp("xdp ctx store half", "\t*(u16 *)(r9 + 16) = r6")
	for _, off := range []int{0, 4, 8, 12, 16, 24, 32, 36, 40, 44, 48, 68, 72, 76, 80, 84, 92, 108, 140, 164, 176} {
		w.tc(fmt.Sprintf("tc ctx load %d", off), fmt.Sprintf("\tr4 = *(u32 *)(r9 + %d)", off))
	}
	w.tc("tc ctx load byte of len", "\tr4 = *(u8 *)(r9 + 0)")
	w.tc("tc ctx load half of len", "\tr4 = *(u16 *)(r9 + 0)")
	w.tc("tc ctx load half of protocol", "\tr4 = *(u16 *)(r9 + 16)")
	for _, off := range []int{8, 32, 44, 48, 72} {
		w.tc(fmt.Sprintf("tc ctx store %d", off), fmt.Sprintf("\t*(u32 *)(r9 + %d) = r6", off))
	}
}

func (w *caseWriter) helpers() {
	for _, h := range []string{"bpf_ktime_get_ns", "bpf_get_smp_processor_id", "bpf_get_prandom_u32", "bpf_jiffies64", "bpf_get_numa_node_id"} {
		w.xdp(h, "\tcall "+h)
		w.tc(h+" tc", "\tcall "+h)
	}
	for _, n := range []string{"0", "4", "46", "47", "-4", "-84", "-85", "112", "113"} {
		w.xdp("adjust head "+n, "\tr1 = r9", "\tr2 = "+n, "\tcall bpf_xdp_adjust_head")
	}
	w.xdp("adjust head twice", "\tr1 = r9", "\tr2 = 4", "\tcall bpf_xdp_adjust_head", "\tr1 = r9", "\tr2 = 4", "\tcall bpf_xdp_adjust_head")
	w.xdp("adjust head by a number", "\tr1 = r9", "\tr2 = r7", "\tcall bpf_xdp_adjust_head")
	w.xdp("adjust tail", "\tr1 = r9", "\tr2 = -4", "\tcall bpf_xdp_adjust_tail")
	w.xdp("adjust tail by a number", "\tr1 = r9", "\tr2 = r7", "\tr2 = -r2", "\tcall bpf_xdp_adjust_tail")
	w.xdp("adjust meta", "\tr1 = r9", "\tr2 = -4", "\tcall bpf_xdp_adjust_meta")
	w.add("address of a map value", ".map m array key=4 value=16 entries=1\n"+".program xdp main\n\tr1 = map[m][0]+0 ll\n\tr0 = *(u32 *)(r1 + 0)\n\tr0 = 2\n\texit\n")
	w.xdp("redirect", "\tr1 = 1", "\tr2 = 0", "\tcall bpf_redirect")
	w.xdp("csum_diff", "\t*(u64 *)(r10 - 8) = r6", "\tr1 = 0", "\tr2 = 0", "\tr3 = r10", "\tr3 += -8", "\tr4 = 8", "\tr5 = 0", "\tcall bpf_csum_diff")
	w.tc("skb_load_bytes", "\tr1 = r9", "\tr2 = 0", "\tr3 = r10", "\tr3 += -8", "\tr4 = 8", "\tcall bpf_skb_load_bytes")
	w.tc("skb_vlan_pop", "\tr1 = r9", "\tcall bpf_skb_vlan_pop")
	key := func(name, def string, how ...string) {
		for _, call := range []string{"lookup", "delete"} {
			lines := append(append([]string{}, how...), "\tr1 = map[m]", "\tcall bpf_map_"+call+"_elem")
			w.withMap(call+" "+name, def, lines...)
		}
		lines := append(append([]string{"\t*(u64 *)(r10 - 32) = r6", "\t*(u64 *)(r10 - 24) = r6"}, how...), "\tr3 = r10", "\tr3 += -32", "\tr4 = 0", "\tr1 = map[m]", "\tcall bpf_map_update_elem")
		w.withMap("update "+name, def, lines...)
	}
	key("key on the stack", hash16, "\t*(u32 *)(r10 - 4) = r6", "\tr2 = r10", "\tr2 += -4")
	key("key at 12", hash16, "\t*(u32 *)(r10 - 12) = r6", "\tr2 = r10", "\tr2 += -12")
	key("key at 6", hash16, "\t*(u64 *)(r10 - 8) = r6", "\tr2 = r10", "\tr2 += -6")
	key("key at 5", hash16, "\t*(u64 *)(r10 - 8) = r6", "\tr2 = r10", "\tr2 += -5")
	key("key in the packet", hash16, "\tr2 = r8")
	key("key at a number", hash16, "\t*(u64 *)(r10 - 8) = r6", "\tr2 = r10", "\tr2 += -8", "\tr7 &= 4", "\tr2 += r7")
	key("key at two places", hash16, "\t*(u64 *)(r10 - 8) = r6", "\tr2 = r10", "\tr2 += -8", "\tif r7 == 0 goto on", "\tr2 += 4", "on:")
	key("key in a map value", hash16, lookup, "\tr2 = r0")
	w.withMap("update value in the packet", hash16, "\t*(u32 *)(r10 - 4) = r6", "\tr2 = r10", "\tr2 += -4", "\tr3 = r8", "\tr4 = 0", "\tr1 = map[m]", "\tcall bpf_map_update_elem")
	w.withMap("update value at 18", hash16, "\t*(u64 *)(r10 - 24) = r6", "\t*(u64 *)(r10 - 16) = r6", "\t*(u64 *)(r10 - 8) = r6", "\tr2 = r10", "\tr2 += -4", "\tr3 = r10", "\tr3 += -18", "\tr4 = 0", "\tr1 = map[m]", "\tcall bpf_map_update_elem")
	w.withMap("lookup array", arr16, lookup)
	w.xdp("event flags", "\tr1 = r9", "\tr2 = 0", "\tr3 = 0", "\tr4 = r10", "\tr4 += -8", "\tr5 = 8", "\tcall bpf_perf_event_output")
	w.xdp("event flags unknown", "\tr1 = r9", "\tr2 = 0", "\tr3 = r6", "\tr4 = r10", "\tr4 += -8", "\tr5 = 8", "\tcall bpf_perf_event_output")
	w.xdp("event pointer", "\tr1 = r9", "\tr2 = 0", "\tr3 = 0xffffffff ll", "\tr4 = r9", "\tr5 = 8", "\tcall bpf_perf_event_output")
	w.xdp("event stack place", "\tr1 = r9", "\tr2 = 0", "\tr3 = 0xffffffff ll", "\tr4 = r10", "\tr4 += -7", "\tr5 = 4", "\tcall bpf_perf_event_output")
}

// values: loads, adds and their words.
func (w *caseWriter) values() {
	for _, op := range []string{"lock *(%s *)(r1 + 8) += r6", "lock *(%s *)(r1 + 8) &= r6", "lock *(%s *)(r1 + 8) |= r6", "lock *(%s *)(r1 + 8) ^= r6"} {
		for _, s := range []string{"u32", "u64"} {
			w.withMap("atomic "+fmt.Sprintf(op, s), arr16, lookup, "\t"+fmt.Sprintf(op, s))
		}
	}
	for _, op := range []string{"r6 = atomic_fetch_add((u64 *)(r1 + 8), r6)", "r6 = atomic_fetch_or((u64 *)(r1 + 8), r6)", "w6 = atomic_fetch_add((u32 *)(r1 + 8), w6)",
		"r6 = xchg_64(r1 + 8, r6)", "w6 = xchg32_32(r1 + 8, w6)", "r0 = cmpxchg_64(r1 + 8, r0, r6)"} {
		w.withMap(op, arr16, lookup, "\tr0 = 0", "\t"+op)
	}
	w.withMap("add of a byte", arr16, lookup, "\tlock *(u64 *)(r1 + 0) += r7")
	w.withMap("add of a constant", arr16, lookup, "\tr2 = 1", "\tlock *(u64 *)(r1 + 0) += r2")
	w.withMap("add of a pointer", arr16, lookup, "\tlock *(u64 *)(r1 + 0) += r8")
	w.xdp("add to the stack", "\t*(u64 *)(r10 - 8) = r6", "\tlock *(u64 *)(r10 - 8) += r6")
	w.xdp("add to the packet", "\tlock *(u64 *)(r8 + 8) += r6")
	w.withMap("add misaligned", arr16, lookup, "\tlock *(u64 *)(r1 + 4) += r6")
	w.withMap("variable value load", arr16, lookup, "\tr7 &= 4", "\tr1 += r7", "\tr4 = *(u32 *)(r1 + 0)")
	w.withMap("variable value add", arr16, lookup, "\tr7 &= 8", "\tr1 += r7", "\tlock *(u64 *)(r1 + 0) += r6")
	w.withMap("two value places", arr16, lookup, "\tif r7 == 0 goto on", "\tr1 += 8", "on:", "\tr4 = *(u32 *)(r1 + 0)")
	w.withMap("moved value", arr16, lookup, "\tr1 += 8", "\tr4 = *(u32 *)(r1 + 4)")
	w.withMap("variable on the second path, counter", arr16, lookup, "\tlock *(u64 *)(r1 + 0) += r6", "\tr4 = r7", "\tr4 &= 4", "\tif r7 == 0 goto on", "\tr4 = 2",
		"on:", "\tr1 += r4", "\tr5 = *(u8 *)(r1 + 0)")
	for _, u := range []struct{ name, a, b string }{
		{"load then add", "r4 = *(u32 *)(r1 + 8)", "lock *(u32 *)(r1 + 8) += r6"},
		{"add then load", "lock *(u32 *)(r1 + 8) += r6", "r4 = *(u32 *)(r1 + 8)"},
		{"load beside add", "r4 = *(u32 *)(r1 + 4)", "lock *(u32 *)(r1 + 8) += r6"},
		{"wide load over add", "r4 = *(u64 *)(r1 + 8)", "lock *(u32 *)(r1 + 12) += r6"},
		{"byte load of a counter", "lock *(u64 *)(r1 + 8) += r6", "r4 = *(u8 *)(r1 + 15)"},
		{"wide add over load", "r4 = *(u32 *)(r1 + 12)", "lock *(u64 *)(r1 + 8) += r6"},
		{"wide load before add", "r4 = *(u64 *)(r1 + 0)", "lock *(u64 *)(r1 + 8) += r6"},
		{"odd load into a counter", "lock *(u32 *)(r1 + 8) += r6", "r4 = *(u32 *)(r1 + 6)"},
		{"odd load beside a counter", "lock *(u32 *)(r1 + 8) += r6", "r4 = *(u16 *)(r1 + 6)"},
	} {
		w.withMap(u.name, arr16, lookup, "\t"+u.a, "\t"+u.b)
	}
}

// updates: counters must be zero, as the kernel's verifier sees zero.
func (w *caseWriter) updates() {
	key := []string{"\tr1 = 7", "\t*(u32 *)(r10 - 4) = r1"}
	update := []string{"\tr2 = r10", "\tr2 += -4", "\tr3 = r10", "\tr3 += -24", "\tr4 = 0", "\tr1 = map[m]", "\tcall bpf_map_update_elem"}
	fill := func(second string) []string {
		return []string{"\tr1 = 0", "\t*(u32 *)(r10 - 24) = r6", "\t*(u32 *)(r10 - 20) = r1", "\t*(u32 *)(r10 - 16) = r6", "\t*(u32 *)(r10 - 12) = " + second}
	}
	count := func(at string) []string {
		return []string{"\tr2 = r10", "\tr2 += -4", "\tr1 = map[m]", "\tcall bpf_map_lookup_elem", "\tif r0 == 0 goto out", "\tr2 = 1", "\tlock *(u32 *)(r0 + " + at + ") += r2"}
	}
	list := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, at := range []string{"0", "4", "8", "12"} {
		w.withMap("update then count at "+at, hash16, list(key, fill("r1"), update, count(at))...)
		w.withMap("count then update at "+at, hash16, list(key, count(at), fill("r1"), update)...)
	}
	w.withMap("update non-zero then count", hash16, list(key, fill("r6"), update, count("12"))...)
	zero := []string{"\tr1 = 0", "\t*(u64 *)(r10 - 24) = r1", "\t*(u64 *)(r10 - 16) = r1"}
	w.withMap("update zeros of 8 then count", hash16, list(key, zero, update, count("4"))...)
	bytes := []string{"\tr1 = 0", "\t*(u64 *)(r10 - 24) = r6", "\t*(u64 *)(r10 - 16) = r6"}
	for k := 1; k < 8; k++ {
		bytes = append(bytes, fmt.Sprintf("\t*(u8 *)(r10 - %d) = r1", 24-k))
	}
	w.withMap("update zeros of 1 then count", hash16, list(key, bytes, update, count("4"))...)
	w.withMap("update zeros of 1 then count the first", hash16, list(key, bytes, update, count("0"))...)
	over := []string{"\tr1 = 0", "\t*(u64 *)(r10 - 24) = r6", "\t*(u64 *)(r10 - 16) = r6", "\t*(u32 *)(r10 - 20) = r1", "\t*(u32 *)(r10 - 24) = r6"}
	w.withMap("zero word kept by a store beside", hash16, list(key, over, update, count("4"))...)
	lost := append(append([]string{}, over...), "\t*(u64 *)(r10 - 24) = r1")
	w.withMap("zero word lost to a store of 8", hash16, list(key, lost, update, count("4"))...)
	part := append(append([]string{}, over...), "\t*(u8 *)(r10 - 18) = r6")
	w.withMap("zero word spoiled by a byte", hash16, list(key, part, update, count("4"))...)
	shifted := []string{"\tr1 = 0", "\tr5 = 0x100000000 ll", "\t*(u64 *)(r10 - 24) = r6", "\t*(u64 *)(r10 - 16) = r6", "\t*(u32 *)(r10 - 20) = r5"}
	w.withMap("zero in the low half only", hash16, list(key, shifted, update, count("4"))...)
	branch := []string{"\tr1 = 0", "\t*(u64 *)(r10 - 24) = r6", "\t*(u64 *)(r10 - 16) = r6", "\t*(u32 *)(r10 - 20) = r1", "\tif r7 == 0 goto on", "\t*(u32 *)(r10 - 20) = r6", "on:"}
	w.withMap("zero on one path", hash16, list(key, branch, update, count("4"))...)
	w.withMap("update then read", hash16, list(key, fill("r6"), update, []string{"\tr2 = r10", "\tr2 += -4", "\tr1 = map[m]", "\tcall bpf_map_lookup_elem", "\tif r0 == 0 goto out", "\tr2 = *(u32 *)(r0 + 12)"})...)
}

func (w *caseWriter) exits() {
	for _, typ := range []string{"xdp", "tc"} {
		w.add("pointer at exit "+typ, ".program "+typ+" main\n\tr0 = r10\n\texit\n")
		w.add("ctx at exit "+typ, ".program "+typ+" main\n\tr0 = r1\n\texit\n")
	}
	for v := -2; v <= 9; v++ {
		w.tc(fmt.Sprintf("tc returns %d", v), fmt.Sprintf("\tr0 = %d", v), "\texit")
	}
	w.tc("tc returns w -1", "\tw0 = -1", "\texit")
	w.tc("tc returns a number", "\tr0 = r7", "\texit")
	w.tc("tc returns two good ones", "\tr0 = 2", "\tif r7 == 0 goto on", "\tr0 = 4", "on:", "\texit")
	w.tc("tc returns a good and a bad one", "\tif r7 == 0 goto on", "\tr0 = 2", "\texit", "on:", "\tr0 = 3", "\texit")
	w.xdp("xdp returns a number", "\tr0 = r7", "\texit")
	w.xdp("xdp returns 77", "\tr0 = 77", "\texit")
	function := func(name, typ, data, end, body string) {
		w.add(name, ".program "+typ+" main\n"+packetFrame(data, end, "2")+"\tr1 = r7\n\tcall f\n\tr0 = 2\n\texit\nout:\n\tr0 = 2\n\texit\n.func f\n"+body+"\texit\n")
	}
	function("tc function returns 2", "tc", "76", "80", "\tr0 = 2\n")
	function("tc function returns 0", "tc", "76", "80", "\tr0 = 0\n")
	function("tc function returns a number", "tc", "76", "80", "\tr0 = r1\n")
	function("xdp function returns a number", "xdp", "0", "4", "\tr0 = r1\n")
	function("function multiplies", "xdp", "0", "4", "\tr0 = r1\n\tr0 *= r1\n")
	function("function takes a remainder", "xdp", "0", "4", "\tr0 = r1\n\tr0 %= 3\n")
	function("function writes r6", "xdp", "0", "4", "\tr6 = r1\n\tr0 = r6\n")
}

// frames: how much stack there may be. The card has 512 bytes, or 128.
func (w *caseWriter) frames() {
	nest := func(name string, depth ...string) {
		var b strings.Builder
		b.WriteString(".program xdp main\n")
		for n, d := range depth {
			saved := strings.HasSuffix(d, "s")
			d = strings.TrimSuffix(d, "s")
			if n > 0 {
				fmt.Fprintf(&b, ".func f%d\n", n)
			}
			fmt.Fprintf(&b, "\tr2 = 1\n\t*(u8 *)(r10 - %s) = r2\n", d)
			if saved {
				b.WriteString("\tr6 = 1\n")
			}
			if n+1 < len(depth) {
				fmt.Fprintf(&b, "\tcall f%d\n", n+1)
			}
			b.WriteString("\tr0 = 2\n\texit\n")
		}
		w.add(name, b.String())
	}
	for _, group := range []string{"", "small"} {
		w.group = group
		nest("frame of 1 "+group, "1")
		nest("frame of 128 "+group, "128")
		nest("frame of 129 "+group, "129")
		nest("frame of 512 "+group, "512")
		nest("frames 64 60 "+group, "64", "60")
		nest("frames 64 61 "+group, "64", "61")
		nest("frames 64 28s "+group, "64", "28s")
		nest("frames 64 29s "+group, "64", "29s")
		nest("frames 64 60 60 "+group, "64", "60", "60")
		nest("frames 448 60 "+group, "448", "60")
		nest("frames 448 28s "+group, "448", "28s")
		nest("frames 448 32s "+group, "448", "32s")
		nest("frames of one "+group, "1", "1", "1", "1", "1", "1", "1", "1")
	}
	w.group = ""
}

// callersBytes: parts of the word of a caller that a function gets a pointer to, above
// and below the bottom of its own frame.
func (w *caseWriter) callersBytes() {
	call := func(name string, lines ...string) {
		w.add("caller's "+name, ".program xdp main\n\tr2 = 1\n\t*(u64 *)(r10 - 8) = r2\n\tr1 = r10\n\tr1 += -8\n\tcall f\n\tr0 = 2\n\texit\n.func f\n"+
			strings.Join(lines, "\n")+"\n\tr0 = 0\n\texit\n")
	}
	for off := range 8 {
		call(fmt.Sprintf("byte %d", off), fmt.Sprintf("\tr3 = *(u8 *)(r1 + %d)", off))
		call(fmt.Sprintf("byte %d stored", off), "\tr3 = 7", fmt.Sprintf("\t*(u8 *)(r1 + %d) = r3", off))
	}
	for _, off := range []int{0, 2, 4, 6} {
		call(fmt.Sprintf("half %d", off), fmt.Sprintf("\tr3 = *(u16 *)(r1 + %d)", off))
	}
	call("word", "\tr3 = *(u32 *)(r1 + 0)")
	call("byte from a deep frame", "\tr4 = 1", "\t*(u64 *)(r10 - 8) = r4", "\tr3 = *(u8 *)(r1 + 1)")
	call("byte from a frame that keeps registers", "\tr6 = 1", "\tr3 = *(u8 *)(r1 + 1)")
}

// events go to a map of the host's.
func (w *caseWriter) events() {
	const ring = ".map events perf_event_array key=4 value=4 entries=1\n"
	output := func(name, flags string, lines ...string) {
		w.withMap("event "+name, ring, append(lines, "\tr1 = r9", "\tr2 = map[events]", "\tr3 = "+flags, "\tr5 = 8", "\tcall bpf_perf_event_output")...)
	}
	const current = "0xffffffff ll"
	stack := []string{"\t*(u64 *)(r10 - 8) = r6", "\tr4 = r10", "\tr4 += -8"}
	output("of the stack", current, stack...)
	output("of the stack with the packet", "0x40ffffffff ll", stack...)
	output("for CPU 0", "0", stack...)
	output("of the packet", current, "\tr4 = r8")
	output("of the stack at an odd place", current, "\t*(u64 *)(r10 - 16) = r6", "\t*(u64 *)(r10 - 8) = r6", "\tr4 = r10", "\tr4 += -9")
	w.withMap("event of a map value", arr16+ring, lookup, "\tr4 = r1", "\tr1 = r9", "\tr2 = map[events]", "\tr3 = "+current, "\tr5 = 8", "\tcall bpf_perf_event_output")
	w.group = "small"
	output("on a card without", current, stack...)
	w.group = ""
}

// hooks are attach types: what a section name other than xdp and tc asks for.
func (w *caseWriter) hooks() {
	w.group = "attach"
	for hook := range 60 {
		for _, typ := range []string{"xdp", "tc"} {
			w.add(fmt.Sprintf("%s for attach type %d", typ, hook), fmt.Sprintf(".program %s main attach=%d\n\tr0 = 2\n\texit\n", typ, hook))
		}
	}
	for _, section := range []string{"tc/ingress", "tc/egress"} {
		c := w.add("section "+section, fmt.Sprintf(".program tc main attach=%d\n\tr0 = 2\n\texit\n", ebpf.AttachTCXIngress))
		c.section = section
	}
	w.group = ""
}

// definitions of maps, and flags.
func (w *caseWriter) definitions() {
	touch := []string{"\tr1 = 0", "\t*(u64 *)(r10 - 8) = r1", "\t*(u64 *)(r10 - 16) = r1", "\t*(u64 *)(r10 - 24) = r1", "\t*(u64 *)(r10 - 32) = r1", "\t*(u64 *)(r10 - 40) = r1",
		"\t*(u64 *)(r10 - 48) = r1", "\t*(u64 *)(r10 - 56) = r1", "\t*(u64 *)(r10 - 64) = r1", "\tr2 = r10", "\tr2 += -64", "\tr1 = map[m]", "\tcall bpf_map_lookup_elem"}
	def := func(group, format string, args ...any) *driverCase {
		d := fmt.Sprintf(format, args...)
		w.group = group
		c := w.withMap(d+" "+group, ".map m "+d+"\n", touch...)
		w.group = ""
		return c
	}
	for _, typ := range []string{"percpu_array key=4 value=16 entries=4", "lru_hash key=4 value=16 entries=4", "percpu_hash key=4 value=16 entries=4", "lpm_trie key=8 value=8 entries=4",
		"queue key=0 value=8 entries=4", "devmap key=4 value=4 entries=4"} {
		def("", "%s", typ)
	}
	def("", "hash key=4 value=16 entries=4").mapFlags = 1
	def("", "array key=4 value=16 entries=4").mapFlags = 1 << 7
	for _, d := range []string{"hash key=0 value=16 entries=4", "hash key=4 value=0 entries=4", "hash key=4 value=16 entries=0", "array key=8 value=16 entries=4",
		"array key=2 value=16 entries=4", "array key=4 value=0 entries=4", "array key=4 value=16 entries=0"} {
		w.add("bad "+d, ".map m "+d+"\n.program xdp main\n\tr1 = map[m]\n\tr0 = 2\n\texit\n")
	}
	for _, e := range []int{1, 1000} {
		def("", "hash key=4 value=16 entries=%d", e)
	}
	// The small card has 100 entries, keys to 16, values to 24, both to 32.
	for _, e := range []int{99, 100, 101} {
		def("small", "hash key=4 value=16 entries=%d", e)
		def("small", "array key=4 value=16 entries=%d", e)
	}
	for _, s := range [][2]int{{8, 16}, {16, 16}, {17, 8}, {16, 17}, {8, 24}, {8, 25}, {1, 24}, {9, 24}, {24, 8}} {
		def("small", "hash key=%d value=%d entries=4", s[0], s[1])
	}
	two := func(n int, entries int) {
		var b, u strings.Builder
		for k := range n {
			fmt.Fprintf(&b, ".map m%d hash key=4 value=8 entries=%d\n", k, entries)
			fmt.Fprintf(&u, "\tr1 = map[m%d]\n", k)
		}
		w.group = "small"
		c := w.xdp(fmt.Sprintf("%d maps of %d", n, entries), strings.TrimSuffix(u.String(), "\n"))
		c.text = b.String() + c.text
		w.group = ""
	}
	two(2, 50)
	two(2, 51)
	two(3, 10) // it has three
	two(4, 10)
	w.xdp("flags for fragments").flags = 1 << 5
	w.xdp("flags for binding").flags = 1 << 6
	w.xdp("flags for strict alignment").flags = 1 << 0
}

// cards that offer less.
func (w *caseWriter) cards() {
	for _, group := range []string{"none", "small"} {
		w.group = group
		w.xdp(group+" prandom", "\tcall bpf_get_prandom_u32")
		w.xdp(group+" adjust head", "\tr1 = r9", "\tr2 = 4", "\tcall bpf_xdp_adjust_head")
		w.xdp(group+" adjust tail", "\tr1 = r9", "\tr2 = -4", "\tcall bpf_xdp_adjust_tail")
		w.xdp(group+" queue", "\t*(u32 *)(r9 + 16) = r7")
		w.withMap(group+" lookup", hash16, lookup)
		w.withMap(group+" update", hash16, "\t*(u64 *)(r10 - 8) = r6", "\t*(u64 *)(r10 - 16) = r6", "\t*(u64 *)(r10 - 24) = r6", "\tr2 = r10", "\tr2 += -4", "\tr3 = r10", "\tr3 += -24", "\tr4 = 0", "\tr1 = map[m]", "\tcall bpf_map_update_elem")
		w.withMap(group+" delete", hash16, "\t*(u32 *)(r10 - 4) = r6", "\tr2 = r10", "\tr2 += -4", "\tr1 = map[m]", "\tcall bpf_map_delete_elem")
		w.withMap(group+" array", arr16, lookup)
		w.xdp(group+" event", "\tr1 = r9", "\tr2 = 0", "\tr3 = 0", "\tr4 = r10", "\tr4 += -8", "\tr5 = 8", "\tcall bpf_perf_event_output")
		long := []string{}
		for range 60 {
			long = append(long, "\tr7 = be64 r7", "\tr7 += r6", "\tr6 |= r7")
		}
		w.xdp(group+" long", long...)
		w.xdp(group + " short")
	}
	w.group = "split"
	reach := func(n int) {
		w.add(fmt.Sprintf("reach %d", n), fmt.Sprintf(".program xdp main\n\tr8 = *(u32 *)(r1 + 0)\n\tr2 = *(u32 *)(r1 + 4)\n\tr3 = r8\n\tr3 += %d\n\tif r3 > r2 goto out\n\tr4 = *(u8 *)(r8 + %d)\nout:\n\tr0 = 2\n\texit\n", n+1, n))
	}
	for _, n := range []int{14, 223, 224, 225, 1000, 1500, 1600, 2000} {
		reach(n)
	}
	w.add("reach by a number", ".program xdp main\n\tr8 = *(u32 *)(r1 + 0)\n\tr2 = *(u32 *)(r1 + 4)\n\tr3 = r8\n\tr3 += 34\n\tif r3 > r2 goto out\n\tr4 = *(u8 *)(r8 + 14)\n\tr8 += r4\n\tr3 = r8\n\tr3 += 4\n\tif r3 > r2 goto out\n\tr4 = *(u32 *)(r8 + 0)\nout:\n\tr0 = 2\n\texit\n")
	w.group = ""
}
