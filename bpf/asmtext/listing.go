package asmtext

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// A listing is a program as another tool prints it: llvm-objdump -d, bpftool prog dump
// xlated, or the verifier's log. Users paste listings whole or in part, with the
// prefixes of libbpf and of the kernel's log.
//
// relist turns a listing into the lines of a text. Each line keeps its number in the
// listing, so that errors name the place that the user sees.
//
//   - llvm-objdump: a symbol begins a program, and in .text a function. Relocations
//     that -r prints become references to maps and functions. A function of .text is
//     copied into each program that calls it, as a linker does.
//   - bpftool: a function's header begins a program or function. The output of
//     "bpftool map show" and "bpftool prog show" before it declares maps by id, and
//     the program.
//   - verifier: the instructions are sorted by pc. The log repeats those that the
//     verifier visits again and omits those that it never visits. Kernels since 6.16
//     print a table of live registers, which has them all.

// A numbered line is a line for the parser.
type numbered struct {
	number int
	text   string
	begins bool // pc is that of the program's or function's first instruction in the listing
	pc     int
}

// An insnLine is a line of a listing that has an instruction.
type insnLine struct {
	pc    int
	op    int    // opcode, -1 if the line does not have it
	bytes []byte // nil if the line does not have them
	start int    // of the instruction's text
}

// prefix matches the text before an instruction: its pc and an opcode's parenthesis.
// livePrefix matches a line of the verifier's table of live registers. In that table,
// the number of a strongly connected component may precede the pc, and registers and
// stack slots follow it.
var (
	prefix     = pattern(`^\s*([0-9]+):(?:\s+\(|\s+)?`)
	livePrefix = pattern(`^\s*(?:[0-9]+ +)?([0-9]+): [.0-9]{10,11}(?: +[-.0-9a-z]*)? +\(`)
)

var (
	opcodeText = pattern(`^\(?([0-9a-f]{2})\)(?:\s|$)`)
	bytesText  = pattern(`^([0-9a-f]{2}(?: [0-9a-f]{2}){7}(?: [0-9a-f]{2}){0,8})(?:\s|$)`)
)

// cutPrefix parses the prefix of an instruction: its pc, and its opcode or bytes if
// present.
func cutPrefix(text string) (insnLine, bool) {
	m := livePrefix().FindStringSubmatchIndex(text)
	if m == nil {
		m = prefix().FindStringSubmatchIndex(text)
	}
	if m == nil {
		return insnLine{}, false
	}
	pc, err := strconv.Atoi(text[m[2]:m[3]])
	if err != nil {
		return insnLine{}, false
	}
	l := insnLine{pc: pc, op: -1, start: m[1]}
	rest := text[m[1]:]
	if strings.HasSuffix(text[:m[1]], "(") {
		op := opcodeText().FindStringSubmatch(rest)
		if op == nil {
			return insnLine{pc: pc, op: -1, start: m[1] - 1}, true
		}
		n, _ := strconv.ParseUint(op[1], 16, 8)
		l.op, l.start = int(n), m[1]+len(op[0])
	} else if b := bytesText().FindStringSubmatch(rest); b != nil {
		l.bytes, _ = hex.DecodeString(strings.ReplaceAll(b[1], " ", ""))
		l.op, l.start = int(l.bytes[0]), m[1]+len(b[0])
	}
	return l, true
}

// check compares an instruction with the opcode or the bytes that precede it. Calls of
// a function and of a helper can have the same text: the bytes then decide.
func (l *insnLine) check(ins asm.Instruction, relocated bool) (asm.Instruction, string) {
	if l.op >= 0 && byte(ins.OpCode) != byte(l.op) {
		return ins, fmt.Sprintf("the listing's opcode is %02x, that of the text is %02x", l.op, byte(ins.OpCode))
	}
	if l.bytes == nil || relocated {
		return ins, ""
	}
	var coded asm.Instruction
	if err := coded.Unmarshal(bytes.NewReader(l.bytes), binary.LittleEndian, "linux"); err != nil {
		return ins, "the listing's bytes are no instruction: " + err.Error()
	}
	switch {
	case ins.IsBuiltinCall() && ins.Constant == coded.Constant:
		return coded, ""
	case coded.OpCode != ins.OpCode && ins.Dst == coded.Dst && ins.Src == coded.Src && ins.Offset == coded.Offset &&
		(ins.Constant == coded.Constant || coded.OpCode.AtomicOp() != asm.InvalidAtomic):
		// The opcode bytes are equal. A tool that is older than a variant of a move, a
		// division or an atomic prints the plain instruction, so the bytes count.
		return coded, ""
	case coded.OpCode == ins.OpCode && ins.OpCode.Mode() == asm.IndMode && ins.Src == coded.Src && ins.Constant == 0:
		return coded, "" // llvm-objdump does not print the constant
	case !sameFields(ins, coded, false):
		return ins, fmt.Sprintf("the listing's bytes are %q, not this", Format(coded))
	}
	return coded, ""
}

// Marks of listings. quoted matches prefixes that logs and mail put before lines.
var (
	quoted = pattern(`^(?:> ?)*(?:(?:<[0-9]>)?\[ *[0-9]+\.[0-9]+\] ?(?:\S*T[0-9]+\] )?|[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} \S+ [^: ]+: (?:\[ *[0-9]+\.[0-9]+\] ?)?)?(?:libbpf: )?`)

	objdumpMark = pattern(`^\S+:\s+file format elf|^Disassembly of section |^(?:[0-9a-f]{16} )?<[^<>]+>:$`)
	logMark     = pattern(`^func#[0-9]+ @[0-9]+$|^Live regs before insn:|^[0-9]+: R[0-9]+(?:_\w+)?=|^\s*R[0-9]+(?:_\w+)?=|^from [0-9]+ to [0-9]+|^processed [0-9]+ insns|-- BEGIN PROG LOAD LOG --`)
	mapMark     = pattern(`^([0-9]+): ([a-z_]+)  (?:name (\S+)  )?flags (0x[0-9a-f]+)`)
	shapeLine   = pattern(`^\s+key ([0-9]+)B  value ([0-9]+)B  max_entries ([0-9]+)`)
	progMark    = pattern(`^([0-9]+): ([a-z_]+)  (?:name (\S+)  )?tag [0-9a-f]{16}`)
	detailLine  = pattern(`^\s+(?:loaded_at|xlated|btf_id|pids|metadata|memlock|map_ids|attached_to|frozen|owner_prog_type|deployment|attached) ?`)
	header      = pattern(`^[A-Za-z_][\w *]*\b([A-Za-z_]\w*)\((.*)\):$`)
	rawBytes    = pattern(`^\s+[0-9a-f]{2}(?: [0-9a-f]{2}){7}(?: [0-9a-f]{2}){0,8}$`)

	symbolLine = pattern(`^(?:([0-9a-f]{16}) )?<([^<>]+)>:$`)
	localLabel = pattern(`^\.?L(?:BB|tmp|[0-9])`)
	relocation = pattern(`^\s*([0-9a-f]{16}):\s+(R_BPF_\w+)\s+(\S+?)(?:[+-]0x[0-9a-f]+)?$`)
	wideLoad   = pattern(`\b(r[0-9]+) = (-?[0-9a-fx]+) ll`)
	callText   = pattern(`\bcall (-?(?:0x)?[0-9a-f]+)$`)
)

// relist turns a listing into lines for the parser; ok is false if the text is no
// listing.
func relist(lines []string) (out []numbered, errs []*Error, ok bool) {
	plain := make([]string, len(lines))
	var objdump, log, bpftool bool
	for i, text := range lines {
		text = strings.TrimRight(text, " \r")
		plain[i] = text[len(quoted().FindString(text)):]
		bare := strings.TrimLeft(plain[i], " ")
		switch {
		case strings.HasPrefix(bare, ".program "), strings.HasPrefix(bare, ".func "):
			return nil, nil, false
		case objdumpMark().MatchString(plain[i]):
			objdump = true
		case logMark().MatchString(plain[i]):
			log = true
		case mapMark().MatchString(plain[i]), progMark().MatchString(plain[i]), header().MatchString(plain[i]):
			bpftool = true
		}
	}
	switch {
	case log:
		out, errs = relistLog(plain)
	case objdump:
		out, errs = relistObjdump(plain)
	case bpftool:
		out = relistBpftool(plain)
	default:
		return nil, nil, false
	}
	return out, errs, true
}

// directiveLine reports whether a line is the reader's own directive.
func directiveLine(text string) bool {
	text = strings.TrimLeft(text, " \t")
	return strings.HasPrefix(text, ".map ") || strings.HasPrefix(text, ".license ")
}

// showLine reads line i if it is one that bpftool map show or prog show prints, and reports
// whether it is.
func showLine(plain []string, i int, out *[]numbered) bool {
	if m := mapMark().FindStringSubmatch(plain[i]); m != nil && i+1 < len(plain) {
		shape := shapeLine().FindStringSubmatch(plain[i+1])
		if shape == nil {
			return false
		}
		name := m[3]
		if name == "" {
			name = "map_" + m[1]
		}
		*out = append(*out, numbered{number: i + 1, text: fmt.Sprintf(".map %s %s key=%s value=%s entries=%s flags=%s id=%s", strconv.Quote(name), m[2], shape[1], shape[2], shape[3], m[4], m[1])})
		return true
	}
	return shapeLine().MatchString(plain[i]) || detailLine().MatchString(plain[i])
}

func relistBpftool(plain []string) []numbered {
	var out []numbered
	typ, name, begun := "xdp", implicitName, false
	for i, text := range plain {
		if m := progMark().FindStringSubmatch(text); m != nil {
			typ, name = m[2], m[3]
			continue
		}
		if showLine(plain, i, &out) || rawBytes().MatchString(text) {
			continue
		}
		if m := header().FindStringSubmatch(text); m != nil {
			if begun {
				out = append(out, numbered{number: i + 1, text: ".func " + strconv.Quote(m[1])})
				continue
			}
			name = m[1]
			if strings.Contains(m[2], "__sk_buff") && typ == "xdp" {
				typ = "sched_cls"
			}
			continue
		}
		if _, isInsn := cutPrefix(text); isInsn && !begun {
			begun = true
			out = append(out, numbered{number: i + 1, text: ".program " + typ + " " + strconv.Quote(name)})
		}
		if i+1 < len(plain) && rawBytes().MatchString(plain[i+1]) {
			text = fromBytes(text, plain[i+1])
		}
		out = append(out, numbered{number: i + 1, text: text})
	}
	return out
}

// fromBytes writes an instruction according to its bytes and not to bpftool's text: older
// versions print instructions that they do not know as others, or as BUG_. Maps and helpers
// keep bpftool's names.
func fromBytes(text, raw string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(raw), " ", ""))
	l, ok := cutPrefix(text)
	var ins asm.Instruction
	if err != nil || !ok || ins.Unmarshal(bytes.NewReader(b), binary.LittleEndian, "linux") != nil || ins.OpCode.IsDWordLoad() || ins.OpCode.JumpOp() == asm.Call {
		return text
	}
	return fmt.Sprintf("%d: (%02x) %s", l.pc, b[0], Format(ins))
}

var (
	logProgram    = pattern(`^(?:prog|program) '?([^':]+)'?: `)
	mapPointer    = pattern(`map_(?:ptr|value)\((?:[^()]*,)?map=([^,()]+)[^()]*\)`)
	kernelAddress = pattern(`= 0xffff[0-9a-f]{12}$`)
	valueAt       = pattern(`map_value\([^()]*?off=([0-9]+)[^()]*\)`)
)

// relistLog puts the instructions of a verifier log in order.
func relistLog(plain []string) ([]numbered, []*Error) {
	type shown struct {
		number int
		text   string
	}
	var out []numbered
	var errs []*Error
	fail := func(line int, format string, args ...any) {
		errs = append(errs, &Error{Line: line, Col: 1, Msg: fmt.Sprintf(format, args...)})
	}
	insns, named := map[int]shown{}, map[int]string{}
	addresses := map[string]string{} // operand that the log prints for a map -> reference by name
	name, last, first := implicitName, -1, 0
	for i, text := range plain {
		if m := logProgram().FindStringSubmatch(text); m != nil {
			name = m[1]
		}
		if directiveLine(text) || mapMark().MatchString(text) {
			if !showLine(plain, i, &out) {
				out = append(out, numbered{number: i + 1, text: text})
			}
			continue
		}
		l, ok := cutPrefix(text)
		state := text
		if ok && l.op >= 0 {
			if len(insns) == 0 {
				first = i + 1
			}
			code, comment, _ := strings.Cut(text[l.start:], ";")
			code, state = strings.TrimSpace(code), comment
			if before, seen := insns[l.pc]; seen && before.text[strings.IndexByte(before.text, ')')+2:] != code && l.op != 0x18 {
				fail(i+1, "pc %d is %q here and %q on line %d: the log is of several programs; paste one", l.pc, code, before.text, before.number)
			}
			if _, seen := insns[l.pc]; !seen {
				insns[l.pc] = shown{i + 1, fmt.Sprintf("%d: (%02x) %s", l.pc, l.op, code)}
			}
			last = l.pc
		}
		// The state after a 64-bit load names the map that was loaded.
		if m := mapPointer().FindStringSubmatch(state); m != nil && last >= 0 && named[last] == "" && strings.Contains(insns[last].text, "(18)") {
			named[last] = "map[" + strconv.Quote(m[1]) + "]"
			if strings.Contains(m[0], "map_value") {
				named[last] += "[0]"
				if at := valueAt().FindStringSubmatch(m[0]); at != nil {
					named[last] += "+" + at[1]
				}
			}
			addresses[loadedFrom(insns[last].text)] = named[last]
		}
	}
	if len(insns) == 0 {
		fail(1, "the verifier's log has no instructions: load with log level 2, or paste bpftool prog dump xlated")
		return nil, errs
	}
	out = append(out, numbered{number: first, text: ".program xdp " + strconv.Quote(name)})
	var missing []string
	end := 0 // pc after the last instruction written
	for _, pc := range slices.Sorted(maps.Keys(insns)) {
		switch {
		case pc == end+1:
			missing = append(missing, strconv.Itoa(end))
		case pc > end:
			missing = append(missing, fmt.Sprintf("%d to %d", end, pc-1))
		}
		end = pc + 1
		l := insns[pc]
		at := strings.Index(l.text, "= ")
		if wide := strings.Contains(l.text, "(18)"); wide && at >= 0 {
			end = pc + 2
			switch {
			case named[pc] != "":
				l.text = l.text[:at+2] + named[pc]
			case addresses[loadedFrom(l.text)] != "": // not visited, but another load of the map was
				l.text = l.text[:at+2] + addresses[loadedFrom(l.text)]
			case kernelAddress().MatchString(l.text):
				fail(l.number, "pc %d: the log has the address of a map and not its name: write map[NAME] in its place", pc)
			}
		}
		out = append(out, numbered{number: l.number, text: l.text})
	}
	if len(missing) > 0 {
		fail(first, "the log does not show the instructions at pc %s: the verifier prints those that it visits; paste bpftool prog dump xlated or llvm-objdump -dr", strings.Join(missing, ", "))
	}
	return out, errs
}

// loadedFrom returns the source operand of a load: the text after "= ".
func loadedFrom(text string) string {
	_, from, _ := strings.Cut(text, "= ")
	return from
}
