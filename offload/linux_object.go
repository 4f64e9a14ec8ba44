//go:build linux

package offload

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

type linuxProgram struct {
	fd
	typ   ebpf.ProgramType
	bound bool // bound to a device: it does not run on the host
}

// LoadProgram has the kernel verify and translate a program.
func (l *Linux) LoadProgram(spec *ebpf.ProgramSpec, maps map[string]Map, on *Port) (Program, error) {
	object := "program " + spec.Name
	spec = spec.Copy()
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		// cilium/ebpf 0.22 writes the instruction's earlier constant before it takes
		// the kind of an atomic operation out of the opcode.
		if op := ins.OpCode.AtomicOp(); op != asm.InvalidAtomic {
			ins.Constant = int64(op >> 8)
		}
		if !ins.IsLoadFromMap() || ins.Reference() == "" {
			continue
		}
		m, ok := maps[ins.Reference()].(*linuxMap)
		if !ok {
			return nil, &Error{Op: "load", Object: object, Reason: "map-missing", Msg: fmt.Sprintf("map %q was not given", ins.Reference())}
		}
		if err := ins.AssociateMap(m); err != nil {
			return nil, &Error{Op: "load", Object: object, Reason: "bad-object", Msg: oneLine(err), Err: err}
		}
	}
	netns := ""
	if on != nil && spec.Flags != 0 {
		return nil, &Error{Op: "load", Object: object, Reason: "wrong-type", Msg: fmt.Sprintf("programs for a card take no flags, these are %#x (0x20: section xdp.frags)", spec.Flags)}
	}
	if on != nil {
		spec.Ifindex, netns = uint32(on.Index), on.Netns
	}
	log := listenKernelLog()
	defer log.close()
	var p *ebpf.Program
	err := l.in(netns, func() error {
		var err error
		p, err = ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogSizeStart: 1 << 20})
		return err
	})
	runtime.KeepAlive(maps)
	if err != nil {
		return nil, l.loadError(err, object, spec, on, log.lines())
	}
	defer p.Close()
	n, err := unix.FcntlInt(uintptr(p.FD()), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, errnoError("load", object, err)
	}
	return openProgram(n)
}

func openProgram(n int) (Program, error) {
	p := &linuxProgram{fd: newFD(n, "program")}
	info, err := p.Info()
	if err != nil {
		p.Close()
		return nil, err
	}
	p.id, p.typ, p.bound = info.ID, info.Type, info.Device != 0 || info.Gone
	return p, nil
}

// loadError returns the error for a program that could not be loaded, with the broken
// link.
func (l *Linux) loadError(err error, object string, spec *ebpf.ProgramSpec, on *Port, kernel []string) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := errnoError("load", object, err)
	e.Kernel, e.Msg = kernel, kernelReason(err)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		e.Log, e.Err = ve.Log, ve.Cause
		e.Msg = kernelReason(ve.Cause)
	} else if errors.Is(err, unix.EFAULT) {
		netns := ""
		if on != nil {
			netns = on.Netns
		}
		e.Log, e.Err = l.verifierLog(spec, netns), unix.EFAULT
	}
	say := func(reason, format string, args ...any) error {
		e.Reason, e.Msg = reason, fmt.Sprintf(format, args...)
		return e
	}
	name := "nfp"
	if on != nil {
		name = on.Driver
	}
	driver, last := complaint(e.Log, name)
	switch {
	case e.Reason == "no-permission":
		e.Err = unix.EPERM // without the library's hint about MEMLOCK
		if on == nil {
			return say(e.Reason, "the kernel does not let this process load programs")
		}
		return say(e.Reason, "the kernel does not let this process load programs for a card")
	case driver != "" && strings.Contains(driver, "extended registers"):
		return say("jit-hardened", "%s", driver)
	case driver != "":
		return say("driver-rejected", "%s", driver)
	case tooComplex(last) != "":
		e.Err = nil // an errno that has another meaning elsewhere
		return say("too-complex", "%s; its last line: %s", tooComplex(last), last)
	case e.Reason != "unexpected" && e.Reason != "port-gone":
		return e
	case on != nil && spec.Type != ebpf.XDP && spec.Type != ebpf.SchedCLS:
		return say("wrong-type", "programs of type %v do not run on a card", spec.Type)
	case strings.Contains(last, "offload device mismatch") || strings.Contains(last, "device mismatch"):
		return say("wrong-device", "%s", last)
	case on != nil && len(e.Log) == 0:
		return l.unboundError(e, on)
	case last != "" && !strings.HasPrefix(last, "processed "):
		return say("rejected", "%s", last)
	case on != nil:
		why := "the verifier was content, the driver's translator was not"
		if len(kernel) > 0 {
			why += ": " + kernel[len(kernel)-1]
		}
		return say("not-translated", "%s", why)
	}
	return say("rejected", "%s", cmp.Or(last, e.Msg))
}

// Offloads returns the reason why no program at all can run in a port's hardware, or
// nil. It loads a program of two instructions for the port, and frees it.
func (l *Linux) Offloads(on *Port) error {
	p, err := l.LoadProgram(&ebpf.ProgramSpec{Name: "try", Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}}, nil, on)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Op, e.Object = "offload to", "port "+on.Ref().String()
		}
		return err
	}
	return p.Close()
}

// unboundError returns the reason why a program was refused before its first
// instruction was checked: the chain before the program is broken, from the interface
// on.
func (l *Linux) unboundError(e *Error, on *Port) error {
	say := func(reason, format string, args ...any) error {
		e.Reason, e.Msg = reason, fmt.Sprintf(format, args...)
		return e
	}
	ports, err := l.Ports(on.Netns)
	i := slices.IndexFunc(ports, func(p Port) bool { return p.Index == on.Index })
	switch {
	case err == nil && i < 0:
		if where := l.Elsewhere(on.Name, on.Netns); where != "" {
			return say("foreign-namespace", "port %s is in namespace %s now", on.Ref(), where)
		}
		return say("port-gone", "port %s no longer exists", on.Ref())
	case errors.Is(e.Err, unix.EOPNOTSUPP) && len(e.Kernel) > 0:
		return say("not-translated", "%s", e.Kernel[len(e.Kernel)-1])
	case errors.Is(e.Err, unix.EOPNOTSUPP):
		return say("no-offload", "%s does not take programs", driverOf(on))
	case errors.Is(e.Err, unix.EINVAL) && on.Driver == "nfp" && !strings.HasSuffix(on.Firmware, " ebpf"):
		return say("no-firmware", "port %s has firmware %q, whose application is not ebpf", on.Ref(), on.Firmware)
	case errors.Is(e.Err, unix.EINVAL):
		if l.olderThan(4, 13) {
			return say("old-kernel", "kernel %d.%d knows no programs for cards", l.version[0], l.version[1])
		}
		if len(e.Kernel) > 0 {
			return say("not-translated", "%s", e.Kernel[len(e.Kernel)-1])
		}
		return say("no-offload", "%s has no device for programs", driverOf(on))
	}
	return e
}

// driverOf names a port by its driver. Interfaces of the kernel itself, such as lo,
// have no driver.
func driverOf(p *Port) string {
	if p.Driver == "" {
		return "port " + p.Ref().String()
	}
	return "driver " + p.Driver + " of port " + p.Ref().String()
}

// complaint returns two lines of a verifier log: the driver's last line, which begins
// with its name in brackets, and the last line that is not the verifier's statistics.
func complaint(log []string, name string) (driver, last string) {
	for _, l := range log {
		if text, ok := strings.CutPrefix(strings.TrimSpace(l), "["+name+"] "); ok {
			driver = text
		}
	}
	for _, l := range slices.Backward(log) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "processed ") || strings.HasPrefix(l, "verification time") || strings.HasPrefix(l, "stack depth") {
			continue
		}
		return driver, l
	}
	return driver, ""
}

// Info reads the kernel's description.
func (p *linuxProgram) Info() (ProgramInfo, error) {
	var raw progInfo
	err := objInfo(p.int(), unsafe.Pointer(&raw), unsafe.Sizeof(raw))
	if errors.Is(err, unix.ENODEV) {
		return p.goneInfo()
	}
	if err != nil {
		return ProgramInfo{}, errnoError("read", "program", err)
	}
	ids, jited, xlated := make([]uint32, raw.mapCount), make([]byte, raw.jitedLen), make([]byte, raw.xlatedLen)
	info := ProgramInfo{
		ID: raw.id, Name: unix.ByteSliceToString(raw.name[:]), Type: ebpf.ProgramType(raw.typ), Tag: hex.EncodeToString(raw.tag[:]),
		Device: int(raw.ifindex), Netns: raw.netnsIno, Insns: int(raw.xlatedLen), JitedBytes: int(raw.jitedLen), Loaded: int64(raw.loadTime),
	}
	if len(ids)+len(jited)+len(xlated) > 0 {
		again := progInfo{mapCount: uint32(len(ids)), jitedLen: uint32(len(jited)), xlatedLen: uint32(len(xlated))}
		again.maps = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(ids))))
		again.jited, again.xlated = bytesPtr(jited), bytesPtr(xlated)
		err := objInfo(p.int(), unsafe.Pointer(&again), unsafe.Sizeof(again))
		runtime.KeepAlive(ids)
		runtime.KeepAlive(jited)
		runtime.KeepAlive(xlated)
		if err != nil {
			return info, errnoError("read", "program", err)
		}
		info.Maps = ids[:min(len(ids), int(again.mapCount))]
		if again.xlated != 0 { // 0: the kernel hides it from this process
			info.Xlated, info.Undecoded = decodeXlated(xlated[:min(len(xlated), int(again.xlatedLen))])
		}
		if info.Device != 0 && again.jited != 0 {
			for b := jited[:min(len(jited), int(again.jitedLen))]; len(b) >= 8; b = b[8:] {
				info.Jited = append(info.Jited, binary.LittleEndian.Uint64(b))
			}
			info.Words = len(info.Jited)
		}
	}
	if fields, err := fdinfo(p.int()); err == nil {
		info.Locked, _ = strconv.ParseUint(fields["memlock"], 10, 64)
	}
	return info, nil
}

// hostOrder is the machine's byte order. cilium/ebpf compares an order with
// binary.LittleEndian and binary.BigEndian. binary.NativeEndian equals neither, and
// cilium/ebpf then decodes every register as r0, without an error.
var hostOrder = func() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// decodeXlated decodes the instructions of a program that BPF_OBJ_GET_INFO_BY_FD
// returns. In a call of a translated function, the kernel stores the distance in the
// offset and the function's number in the constant. decodeXlated moves the distance to
// the constant, as in an object.
func decodeXlated(text []byte) (asm.Instructions, error) {
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(text), hostOrder, "linux")
	if err != nil {
		return nil, err
	}
	for i := range insns {
		if ins := &insns[i]; ins.IsFunctionCall() && ins.Offset != 0 {
			ins.Constant, ins.Offset = int64(ins.Offset), 0
		}
	}
	return insns, nil
}

// goneInfo returns /proc's description of a program whose device was removed.
func (p *linuxProgram) goneInfo() (ProgramInfo, error) {
	fields, err := fdinfo(p.int())
	if err != nil {
		return ProgramInfo{}, errnoError("read", "program", err)
	}
	id, _ := strconv.ParseUint(fields["prog_id"], 10, 32)
	typ, _ := strconv.ParseUint(fields["prog_type"], 10, 32)
	return ProgramInfo{ID: uint32(id), Type: ebpf.ProgramType(typ), Tag: fields["prog_tag"], Gone: true}, nil
}

func missing(op, object string, err error) error {
	e := errnoError(op, object, err)
	if errors.Is(err, unix.ENOENT) {
		e.Reason, e.Msg = "no-object", "there is none"
	}
	return e
}

// Program opens a program by id.
func (l *Linux) Program(id uint32) (Program, error) {
	n, err := fdByID(unix.BPF_PROG_GET_FD_BY_ID, id)
	if err != nil {
		return nil, missing("open", fmt.Sprintf("program %d", id), err)
	}
	return openProgram(n)
}

// Map opens a map by id.
func (l *Linux) Map(id uint32) (Map, error) {
	n, err := fdByID(unix.BPF_MAP_GET_FD_BY_ID, id)
	if err != nil {
		return nil, missing("open", fmt.Sprintf("map %d", id), err)
	}
	return openMap(n)
}

// Objects lists all loaded objects.
func (l *Linux) Objects() ([]Object, error) {
	var all []Object
	err := eachID(unix.BPF_PROG_GET_NEXT_ID, func(id uint32) error {
		p, err := l.Program(id)
		if err != nil {
			return err
		}
		defer p.Close()
		info, err := p.Info()
		if err == nil {
			all = append(all, Object{Program: &info})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = eachID(unix.BPF_MAP_GET_NEXT_ID, func(id uint32) error {
		m, err := l.Map(id)
		if err != nil {
			return err
		}
		defer m.Close()
		info, err := m.Info()
		if err == nil {
			all = append(all, Object{Map: &info})
		}
		return err
	})
	return all, err
}

// eachID calls fn for each id. It skips objects that disappear meanwhile.
func eachID(cmd int, fn func(id uint32) error) error {
	for id := uint32(0); ; {
		next, err := nextID(cmd, id)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return errnoError("list objects", "", err)
		}
		id = next
		if err := fn(id); err != nil && ReasonOf(err) != "no-object" {
			return err
		}
	}
}

// pin returns the whole path of a pin. Names come from checked deployments and escaped
// maps; nevertheless a name that would leave the directory is refused.
func (l *Linux) pin(path string) (string, error) {
	if path == "" {
		return l.pins, nil
	}
	if !filepath.IsLocal(path) {
		return "", &Error{Op: "pin", Object: path, Reason: "pin", Msg: "the name leaves the directory of pins"}
	}
	return filepath.Join(l.pins, path), nil
}

// Pin gives an object a name.
func (l *Linux) Pin(o Pinner, path string) error {
	full, err := l.pin(path)
	if err != nil {
		return err
	}
	n, ok := o.(interface{ int() int })
	if !ok {
		return &Error{Op: "pin", Object: path, Reason: "pin", Msg: fmt.Sprintf("%T is not of this kernel", o)}
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return pinError("pin", path, err)
	}
	if err := objPin(n.int(), full); err != nil {
		e := errnoError("pin", full, err)
		if e.Reason == "unexpected" || !onBPF(filepath.Dir(full)) {
			e.Reason = "pin"
		}
		return e
	}
	return nil
}

// pinError returns the error for a file system's error in a directory of pins.
func pinError(op, path string, err error) error {
	e := &Error{Op: op, Object: path, Reason: "pin", Msg: oneLine(err), Err: err}
	if errors.Is(err, fs.ErrPermission) {
		e.Reason, e.Msg, e.Err = "no-permission", whyDenied(path), nil
	}
	return e
}

// onBPF reports whether a directory is in a bpf file system.
func onBPF(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && s.Type == unix.BPF_FS_MAGIC
}

func (l *Linux) open(path, kind string) (int, error) {
	full, err := l.pin(path)
	if err != nil {
		return -1, err
	}
	n, err := objGet(full)
	if errors.Is(err, unix.ENOTDIR) {
		err = unix.ENOENT
	}
	if err != nil {
		return -1, missing("open", full, err)
	}
	if got := kindOf(n); got != kind {
		unix.Close(n)
		return -1, &Error{Op: "open", Object: full, Reason: "pin", Msg: fmt.Sprintf("it is a %s, not a %s", got, kind)}
	}
	return n, nil
}

// PinnedProgram opens a program by its pin.
func (l *Linux) PinnedProgram(path string) (Program, error) {
	n, err := l.open(path, "bpf-prog")
	if err != nil {
		return nil, err
	}
	return openProgram(n)
}

// PinnedMap opens a map by its pin.
func (l *Linux) PinnedMap(path string) (Map, error) {
	n, err := l.open(path, "bpf-map")
	if err != nil {
		return nil, err
	}
	return openMap(n)
}

// Pins lists a directory of pins.
func (l *Linux) Pins(dir string) ([]string, error) {
	full, err := l.pin(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(full)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, pinError("list pins", full, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		if names[i] = e.Name(); e.IsDir() {
			names[i] += "/"
		}
	}
	return names, nil
}

// Unpin removes a name, or a directory of them.
func (l *Linux) Unpin(path string) error {
	full, err := l.pin(strings.TrimSuffix(path, "/"))
	if err != nil {
		return err
	}
	if full == l.pins {
		return &Error{Op: "unpin", Object: full, Reason: "pin", Msg: "all pins at once are not removed"}
	}
	if err := os.RemoveAll(full); err != nil {
		return pinError("unpin", full, err)
	}
	return nil
}
