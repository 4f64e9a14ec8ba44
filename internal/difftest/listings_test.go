//go:build linux

package difftest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
)

// Random programs, printed by other tools and read back, are the same instructions. What
// the tools do not print is compared as far as they print it; asmtext's documentation says
// what that is.

// listings returns the number of programs each listing test reads; NFPKIT_LISTINGS is another number.
func listings(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("NFPKIT_LISTINGS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("NFPKIT_LISTINGS=%s is no number above 0", text)
	}
	return n
}

// loaded is a generated program in the running kernel, with its maps.
type loaded struct {
	prog *ebpf.Program
	maps map[ebpf.MapID]string
}

// loadListed loads a program with new, empty maps into the kernel. It returns nil if
// the kernel refuses the program, which other tests check.
func loadListed(t *testing.T, p *Program) *loaded {
	t.Helper()
	spec := p.Spec.Copy()
	l := &loaded{maps: map[ebpf.MapID]string{}}
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		setAtomic(ins)
		name := ins.Reference()
		if !ins.IsLoadFromMap() || name == "" {
			continue
		}
		m := l.open(t, p.Maps[name], name)
		if err := ins.AssociateMap(m); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	l.prog, err = ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelInstruction, LogSizeStart: 8 << 20})
	if err != nil {
		return nil
	}
	t.Cleanup(func() { l.prog.Close() })
	return l
}

// setAtomic puts an atomic's operation into the constant: cilium/ebpf 0.22 encodes that.
func setAtomic(ins *asm.Instruction) {
	if op := ins.OpCode.AtomicOp(); op != asm.InvalidAtomic {
		ins.Constant = int64(op >> 8)
	}
}

func (l *loaded) open(t *testing.T, spec *ebpf.MapSpec, name string) *ebpf.Map {
	t.Helper()
	for id, n := range l.maps {
		if n == name {
			m, err := ebpf.NewMapFromID(id)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { m.Close() })
			return m
		}
	}
	spec = spec.Copy()
	spec.Contents, spec.Name = nil, name
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatalf("map %s: %v", name, err)
	}
	t.Cleanup(func() { m.Close() })
	info, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	l.maps[id] = name
	return m
}

// eachListed calls fn with programs that the kernel loads.
func eachListed(t *testing.T, count int, feat Features, fn func(seed uint64, p *Program, l *loaded)) {
	t.Helper()
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	done := 0
	for seed := uint64(1); done < count && seed < uint64(4*count); seed++ {
		p := Generate(seed, feat)
		if l := loadListed(t, p); l != nil {
			fn(seed, p, l)
			done++
		}
	}
	if done < count {
		t.Errorf("the kernel loaded %d programs, want %d", done, count)
	}
}

// sameListed compares what was read with what was printed, one line an instruction.
func sameListed(t *testing.T, what string, listing string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%s: instruction %d is read as %q, want %q, from:\n%s", what, i, g, w, listing)
		}
	}
}

// formatted prints instructions without symbols; calls of functions by distance.
func formatted(insns asm.Instructions) []string {
	at, pcs, pc := map[string]int{}, make([]int, len(insns)), 0
	for i, ins := range insns {
		if s := ins.Symbol(); s != "" {
			at[s] = pc
		}
		pcs[i] = pc
		pc += int(ins.Width())
	}
	all := make([]string, len(insns))
	for i, ins := range insns {
		if to, ok := at[ins.Reference()]; ok && ins.IsFunctionReference() {
			ins.Metadata = asm.Metadata{}
			ins.Constant = int64(to - pcs[i] - 1)
		}
		all[i] = asmtext.Format(ins)
	}
	return all
}

func parseListing(t *testing.T, what, text string) asm.Instructions {
	t.Helper()
	f, err := asmtext.Parse("", text)
	if err != nil {
		t.Fatalf("%s: %v, from:\n%s", what, err, text)
	}
	return f.Spec.Programs[f.Programs[0]].Instructions
}

// toolOutput runs a tool, or skips the test if it is not installed.
func toolOutput(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	out, err := exec.Command(name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s %v: %v: %s", name, args, err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// bpftool prints the kernel's instructions, with maps by id and calls of the kernel's
// functions by name and distance.
func TestBpftoolListings(t *testing.T) {
	// Of ISA v4, and of the kernel's own instructions for per-CPU data, bpftool 7.1 prints
	// some as others; the bytes are right.
	t.Run("v3", func(t *testing.T) {
		bpftoolListings(t, KernelFeatures&^V4, nil, []string{"opcodes"}, []string{"linum"})
	})
	t.Run("v4", func(t *testing.T) { bpftoolListings(t, KernelFeatures, []string{"opcodes"}) })
}

func bpftoolListings(t *testing.T, feat Features, options ...[]string) {
	eachListed(t, listings(t, 4), feat, func(seed uint64, p *Program, l *loaded) {
		info, err := l.prog.Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		shown, err := info.Instructions()
		if err != nil {
			t.Fatal(err)
		}
		maps := ""
		for m := range l.maps {
			maps += toolOutput(t, "bpftool", "map", "show", "id", fmt.Sprint(m))
		}
		for _, how := range options {
			listing := maps + toolOutput(t, "bpftool", append([]string{"prog", "dump", "xlated", "id", fmt.Sprint(id)}, how...)...)
			f, err := asmtext.Parse("", listing)
			if err != nil {
				t.Fatalf("seed %d: %v, from:\n%s", seed, err, listing)
			}
			for _, name := range l.maps {
				if m := f.Spec.Maps[name]; m == nil || m.Type != p.Maps[name].Type || m.KeySize != p.Maps[name].KeySize || m.ValueSize != p.Maps[name].ValueSize {
					t.Errorf("seed %d: map %s is read as %v", seed, name, m)
				}
			}
			var want asm.Instructions
			for _, ins := range shown {
				if ins.IsLoadFromMap() {
					name := l.maps[ebpf.MapID(uint32(ins.Constant))]
					ins.Metadata = asm.Metadata{}
					ins.Constant &^= 1<<32 - 1
					ins = ins.WithReference(name)
				}
				if ins.IsFunctionCall() && ins.Offset != 0 {
					ins.Metadata = asm.Metadata{}
					ins.Constant, ins.Offset = int64(ins.Offset), 0
				}
				want = append(want, ins)
			}
			if len(how) == 0 || how[0] != "opcodes" {
				unmark(want)
			}
			sameListed(t, fmt.Sprintf("seed %d %v", seed, how), listing, helpersAside(f.Spec.Programs[f.Programs[0]].Instructions), helpersAside(want))
		}
	})
}

// unmark clears the fields of moves with which the kernel marks its own: text does not
// have them.
func unmark(insns asm.Instructions) {
	for i := range insns {
		if ins := &insns[i]; ins.OpCode.Class().IsALU() && ins.OpCode.ALUOp() == asm.Mov && ins.OpCode.Source() == asm.RegSource {
			ins.Offset, ins.Constant = 0, 0
		}
	}
}

// helpersAside formats instructions, with each call of a helper as one word. bpftool
// prints the implementing function, from which the reader finds the helper's number.
func helpersAside(insns asm.Instructions) []string {
	all := formatted(insns)
	for i, ins := range insns {
		if ins.IsBuiltinCall() {
			all[i] = "call"
		}
	}
	return all
}

// The verifier's log of level 2, whole, with the prefixes of libbpf, of the kernel's log and
// of journald.
func TestVerifierLogs(t *testing.T) {
	prefixes := []string{"", "libbpf: ", "[  123.456789] ", "Dec  1 05:22:12 host loader: ", "> "}
	lost, count := 0, listings(t, 40)
	eachListed(t, count, KernelFeatures, func(seed uint64, p *Program, l *loaded) {
		var b strings.Builder
		prefix := prefixes[seed%uint64(len(prefixes))]
		for line := range strings.Lines("prog 'x': -- BEGIN PROG LOAD LOG --\n" + l.prog.VerifierLog + "-- END PROG LOAD LOG --\nprog 'x': failed to load: -22\n") {
			b.WriteString(prefix + line)
		}
		want := formatted(p.Spec.Instructions)
		got, err := asmtext.Parse("", b.String())
		if err != nil && strings.Contains(err.Error(), "the address of a map and not its name") {
			lost++ // a map that no visited instruction loads
			return
		}
		if err != nil {
			// The log of older kernels has the instructions that the verifier visited.
			if strings.Contains(l.prog.VerifierLog, "Live regs before insn") || !strings.Contains(err.Error(), "does not show the instructions") {
				t.Fatalf("seed %d: %v, from:\n%s", seed, err, b.String())
			}
			return
		}
		name := got.Programs[0]
		if name != "x" {
			t.Errorf("seed %d: the program is called %s", seed, name)
		}
		sameListed(t, fmt.Sprintf("seed %d", seed), b.String(), functionsAside(formatted(got.Spec.Programs[name].Instructions)), functionsAside(want))
	})
	t.Logf("%d of %d logs do not name a map of an instruction that the verifier did not visit", lost, count)
	if lost > count/2 {
		t.Error("the names of maps are not found")
	}
}

var functionPointer = regexp.MustCompile(`= (subprog\[|map\[).*`)

// functionsAside removes what a log does not show: the addresses of functions, and the
// offset in a map's value.
func functionsAside(all []string) []string {
	for i, line := range all {
		all[i] = functionPointer.ReplaceAllString(line, "= ...")
	}
	return all
}

// assembly returns a program for LLVM's assembler that every version accepts: maps and
// functions are symbols, other instructions are bytes.
func assembly(t *testing.T, p *ebpf.ProgramSpec) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\t.section xdp,\"ax\",@progbits\n\t.globl %s\n", p.Name)
	for i, ins := range p.Instructions {
		if s := ins.Symbol(); s != "" {
			fmt.Fprintf(&b, "\t.type %s,@function\n%s:\n", s, s)
		}
		switch ref := ins.Reference(); {
		case ins.IsFunctionCall():
			fmt.Fprintf(&b, "\tcall %s\n", ref)
		case ref != "" && ins.OpCode.IsDWordLoad():
			fmt.Fprintf(&b, "\t%v = %s ll\n", ins.Dst, ref)
		default:
			var code bytes.Buffer
			setAtomic(&ins)
			if _, err := ins.Marshal(&code, binary.LittleEndian); err != nil {
				t.Fatalf("instruction %d: %v", i, err)
			}
			b.WriteString("\t.byte ")
			for j, c := range code.Bytes() {
				if j > 0 {
					b.WriteByte(',')
				}
				fmt.Fprint(&b, c)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// llvm-objdump prints objects, with relocations, with and without bytes.
func TestObjdumpListings(t *testing.T) {
	for _, tool := range []string{"clang", "llvm-objdump"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "p.s"), filepath.Join(dir, "p.o")
	bare, count := 0, listings(t, 25)
	for seed := uint64(1); seed <= uint64(count); seed++ {
		// The value of a direct load has an offset beside the symbol.
		p := Generate(seed, KernelFeatures&^DirectValues)
		text := assembly(t, p.Spec)
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if msg, err := exec.Command("clang", "-target", "bpf", "-mcpu=v3", "-c", in, "-o", out).CombinedOutput(); err != nil {
			t.Fatalf("seed %d: %v: %s\n%s", seed, err, msg, text)
		}
		want := formatted(p.Spec.Instructions)
		for _, how := range []string{"-dr", "-drSl", "--no-show-raw-insn"} {
			listing := toolOutput(t, "llvm-objdump", "-dr", how, out)
			if how == "--no-show-raw-insn" {
				if strings.Contains(listing, "<unknown>") {
					continue // ISA v4, which the tool's LLVM does not know
				}
				bare++
			}
			what := fmt.Sprintf("seed %d %v", seed, how)
			sameListed(t, what, listing, formatted(parseListing(t, what, listing)), want)
		}
	}
	t.Logf("%d of %d programs were read without their bytes", bare, count)
}

// Compiled objects, with maps, are read as cilium/ebpf reads them; without bytes, too.
func TestObjdumpOfExamples(t *testing.T) {
	objects, err := filepath.Glob("../../examples/*.o")
	if err != nil || len(objects) == 0 {
		t.Fatalf("no objects: %v", err)
	}
	for _, object := range objects {
		coll, err := ebpf.LoadCollectionSpec(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, how := range []string{"-r", "--no-show-raw-insn"} {
			listing := toolOutput(t, "llvm-objdump", "-dr", how, object)
			f, err := asmtext.Parse("", listing)
			if err != nil {
				t.Errorf("%s %s: %v", object, how, err)
				continue
			}
			if len(f.Programs) != len(coll.Programs) {
				t.Errorf("%s: programs %v, want %d", object, f.Programs, len(coll.Programs))
			}
			for name, p := range coll.Programs {
				got := f.Spec.Programs[name]
				if got == nil || got.Type != p.Type {
					t.Errorf("%s: program %s is read as %v", object, name, got)
					continue
				}
				sameListed(t, object+" "+how+" "+name, listing, formatted(got.Instructions), formatted(p.Instructions))
			}
		}
	}
}
