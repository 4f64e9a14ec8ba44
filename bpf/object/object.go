// Package object reads eBPF programs from files: ELF objects of any clang since 6, and
// eBPF text (package asmtext).
//
// Load takes the argument of a command line, a path with an optional program name, and
// returns an Object. That holds an *ebpf.CollectionSpec, the order of its programs,
// and Notes of what was guessed, mended or left out. Read does the same for contents
// in memory. Object.Code resolves one program for the verifier, interpreter and
// compiler. Options supply what a loader in user space would: program types, values of
// global variables and sizes of maps.
//
// cilium/ebpf reads the objects. Some objects that it refuses were accepted by libbpf
// or iproute2: those with symbols without size or type, short map definitions or
// static maps, and stripped ones. Package object first mends them in memory (mend.go);
// the file does not change. It does not apply CO-RE relocations: instructions stay as
// compiled.
//
// Every error is one line that begins with the path, of type *Error or *FaultError. No
// input causes a panic. A damaged program does not prevent reading the others of its
// object.
package object

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// Options for Load. The zero value, or nil, is the default.
type Options struct {
	Type    ebpf.ProgramType // type of every program, regardless of its section's name
	Hook    ebpf.ProgramType // type of the programs whose section's name implies none
	Set     []string         // NAME=VALUE, NAME.member=VALUE, NAME[2]=VALUE: values of global variables
	Entries []string         // MAP=N: sizes of maps
	Stdin   io.Reader        // read for the argument "-"; os.Stdin if nil
}

// An Object is a file's programs and maps.
type Object struct {
	Path     string // "-" for standard input
	Selected string // the program that a path:program argument names, or ""
	Spec     *ebpf.CollectionSpec
	Programs []string // names, in the order of the file
	Notes    []string // what was guessed, mended or left out, one line each

	faults map[string][]code.Fault // by function; pc from its start
}

// maxSize bounds what is read: the largest objects of the kernel's selftests
// are some 10 MB.
const maxSize = 64 << 20

// Load reads a PROG argument:
//
//	file.o            ELF object, known by its magic number
//	file.bpf          eBPF text
//	file:program      either, one program of it selected
//	-                 either, from standard input
func Load(arg string, opt *Options) (*Object, error) {
	if opt == nil {
		opt = &Options{}
	}
	if form, _, ok := strings.Cut(arg, ":"); ok && (form == "filter" || form == "iptables") {
		return nil, &Error{Path: arg, Reason: "feature-unsupported", Err: fmt.Errorf("programs of the form %s: are not read by this version", form)}
	}
	path, selected := arg, ""
	in := opt.Stdin
	if arg == "-" {
		if in == nil {
			in = os.Stdin
		}
	} else {
		var f *os.File
		var err error
		if path, selected, f, err = open(arg); err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, trimPath(err))
	}
	o, err := Read(path, data, opt)
	if err != nil {
		return nil, err
	}
	o.Selected = selected
	if selected != "" {
		if _, err := o.Program(selected); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// open opens the file of an argument. A colon belongs to the file's name if
// such a file exists.
func open(arg string) (path, selected string, f *os.File, err error) {
	if f, err = os.Open(arg); err == nil {
		return arg, "", f, nil
	}
	if i := strings.LastIndexByte(arg, ':'); i > 0 && i+1 < len(arg) {
		path, selected = arg[:i], arg[i+1:]
		if f, err2 := os.Open(path); err2 == nil {
			return path, selected, f, nil
		} else if !errors.Is(err2, os.ErrNotExist) {
			err = err2
		}
	}
	return "", "", nil, fmt.Errorf("%s: %w", arg, trimPath(err))
}

// trimPath removes the operation and path from a file error: the caller adds them.
func trimPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Read reads the contents of a file. The path is for messages and source lines.
func Read(path string, data []byte, opt *Options) (*Object, error) {
	if opt == nil {
		opt = &Options{}
	}
	o := &Object{Path: path}
	var err error
	switch {
	case len(data) == 0:
		err = errors.New("file is empty")
	case len(data) > maxSize:
		err = fmt.Errorf("file is larger than %d bytes", maxSize)
	case isELF(data):
		err = o.readELF(data)
	case utf8.Valid(data) && !bytes.ContainsRune(data, 0):
		return o.readText(data, opt)
	default:
		err = notText(data)
	}
	if err != nil {
		return nil, &Error{Path: path, Reason: reason(err), Err: oneLine(err)}
	}
	o.setTypes(opt)
	if err := o.configure(opt); err != nil {
		return nil, &Error{Path: path, Reason: reason(err), Err: oneLine(err)}
	}
	return o, nil
}

// notText returns an error for bytes that are neither an ELF object nor text; it names
// common formats.
func notText(data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("BC\xc0\xde")):
		return errors.New("it is LLVM bitcode, neither an ELF object nor eBPF text: finish it with llc -march=bpf -filetype=obj")
	case bytes.HasPrefix(data, []byte("\x1f\x8b")), bytes.HasPrefix(data, []byte("\xfd7zXZ")), bytes.HasPrefix(data, []byte("\x28\xb5\x2f\xfd")):
		return errors.New("it is compressed, neither an ELF object nor eBPF text: uncompress it first")
	case isRaw(data):
		return fmt.Errorf("it is %d instructions without an object: %s", len(data)/8, rawCure)
	}
	return errors.New("neither an ELF object nor eBPF text")
}

// isC reports whether text is C source, by its file's name or by lines that eBPF
// text does not have.
func isC(path string, data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if bytes.HasPrefix(line, []byte("#include")) || bytes.HasPrefix(line, []byte("#define")) || bytes.HasPrefix(line, []byte("SEC(")) {
			return true
		}
	}
	return strings.HasSuffix(path, ".c") || strings.HasSuffix(path, ".h")
}

func (o *Object) readText(data []byte, opt *Options) (*Object, error) {
	f, err := asmtext.Parse(o.Path, string(data))
	if err != nil && isC(o.Path, data) {
		return nil, &Error{Path: o.Path, Reason: "bad-object", Err: errors.New("it is C source: compile it first, with clang -target bpf -O2 -g -c")}
	}
	if err != nil {
		if err := encoded(data); err != nil {
			return nil, &Error{Path: o.Path, Reason: "bad-object", Err: err}
		}
		return nil, &Error{Reason: "bad-text", Err: err} // which names the path
	}
	o.Spec, o.Programs = f.Spec, f.Programs
	o.setTypes(opt)
	if err := o.configure(opt); err != nil {
		return nil, &Error{Path: o.Path, Reason: reason(err), Err: oneLine(err)}
	}
	return o, nil
}

func (o *Object) note(format string, args ...any) {
	o.Notes = append(o.Notes, fmt.Sprintf(format, args...))
}

// Program returns a program by name. The empty name stands for the one that
// the argument selected, else the only program, else the only XDP program.
func (o *Object) Program(name string) (*ebpf.ProgramSpec, error) {
	if name == "" {
		name = o.Selected
	}
	if name != "" {
		if p := o.Spec.Programs[name]; p != nil {
			return p, nil
		}
		return nil, &Error{o.Path, "no-program", fmt.Errorf("no program %s; there are: %s", name, strings.Join(o.Programs, ", "))}
	}
	if len(o.Programs) == 1 {
		return o.Spec.Programs[o.Programs[0]], nil
	}
	var xdp []*ebpf.ProgramSpec
	for _, n := range o.Programs {
		if p := o.Spec.Programs[n]; p.Type == ebpf.XDP {
			xdp = append(xdp, p)
		}
	}
	if len(xdp) != 1 {
		return nil, &Error{o.Path, "no-program", fmt.Errorf("which program? Say %s:NAME with one of: %s", o.Path, strings.Join(o.Programs, ", "))}
	}
	return xdp[0], nil
}

// Code resolves a program (see package code); name is that of Program. The error
// is a *FaultError with all faults, or says that there is no such program.
func (o *Object) Code(name string) (*code.Code, error) {
	p, err := o.Program(name)
	if err != nil {
		return nil, err
	}
	faults := o.unlinked(p)
	if len(faults) == 0 {
		faults = untyped(p)
	}
	if len(faults) == 0 {
		faults = externs(p)
	}
	if len(faults) > 0 {
		return nil, &FaultError{Path: o.Path, Program: p.Name, Faults: faults}
	}
	c, faults := code.New(p, o.Spec.Maps)
	if len(faults) > 0 {
		return nil, &FaultError{Path: o.Path, Program: p.Name, Faults: faults}
	}
	return c, nil
}

// unlinked returns the faults of the program's functions: what could not be
// linked, or read.
func (o *Object) unlinked(p *ebpf.ProgramSpec) []code.Fault {
	if len(o.faults) == 0 {
		return nil
	}
	if len(p.Instructions) == 0 {
		return o.faults[p.Name]
	}
	var faults []code.Fault
	iter := p.Instructions.Iterate()
	for iter.Next() {
		for _, f := range o.faults[iter.Ins.Symbol()] {
			f.PC += int(iter.Offset)
			faults = append(faults, f)
		}
	}
	return faults
}

// externs returns a fault for each symbol that the object does not define:
// values of a running kernel's configuration, addresses of its symbols, and
// functions of other objects. The reasons are words of bpf/verify's table.
func externs(p *ebpf.ProgramSpec) []code.Fault {
	symbols := map[string]bool{}
	for i := range p.Instructions {
		symbols[p.Instructions[i].Symbol()] = true
	}
	var faults []code.Fault
	iter := p.Instructions.Iterate()
	for iter.Next() {
		ins := iter.Ins
		fault := func(reason, format string, args ...any) {
			faults = append(faults, code.Fault{PC: int(iter.Offset), Reason: reason, Msg: fmt.Sprintf(format, args...)})
		}
		ref := ins.Reference()
		switch {
		case ins.IsFunctionCall():
			if ref != "" && !symbols[ref] {
				fault("bad-call-target", "calls %s, which the object declares and does not define", ref)
			}
		case !ins.OpCode.IsDWordLoad():
		case ins.Src == 0 && ref != "":
			fault("feature-unsupported", "needs %s, which the object declares (extern) and does not define: only a running kernel could have it", ref)
		case ins.Src == asm.PseudoMapValue && ref == "" && ins.Constant == 0:
			// cilium/ebpf gives it a map when it loads the program.
			fault("feature-unsupported", "needs a value of the running kernel's configuration (extern __kconfig)")
		}
	}
	return faults
}
