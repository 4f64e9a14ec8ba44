//go:build linux

package offload

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// linuxMap is an open map. Element commands are plain system calls on the caller's
// bytes.
type linuxMap struct {
	fd
	info MapInfo
	// value is the size of a value in user space: of all CPUs for per-CPU maps.
	value int
	gone  bool // the device had been removed when the map was opened
}

// CreateMap creates a map in the host's memory, or on a card.
func (l *Linux) CreateMap(spec *ebpf.MapSpec, on *Port) (Map, error) {
	object := spec.Name
	spec = withDefaults(spec)
	// union bpf_attr, the form of BPF_MAP_CREATE up to map_ifindex.
	attr := struct {
		typ, key, value, entries, flags, inner, numa uint32
		name                                         [16]byte
		ifindex                                      uint32
	}{typ: uint32(spec.Type), key: spec.KeySize, value: spec.ValueSize, entries: spec.MaxEntries, flags: spec.Flags, numa: spec.NumaNode}
	copy(attr.name[:15], kernelName(spec.Name))
	netns := ""
	if on != nil {
		attr.ifindex, netns = uint32(on.Index), on.Netns
	}
	log := listenKernelLog()
	defer log.close()
	n := -1
	err := l.in(netns, func() error {
		var err error
		n, err = bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		return err
	})
	if err != nil {
		return nil, l.createError(err, object, spec, on, log.lines())
	}
	return openMap(n)
}

// kernelName replaces the characters that the kernel does not accept in a name. It
// accepts letters, digits, _ and dots.
func kernelName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 128 && (r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, name)
}

// createError sets the reason why a map was refused. The errno does not distinguish
// the limits, but the driver's line in the kernel's log does.
func (l *Linux) createError(err error, object string, spec *ebpf.MapSpec, on *Port, kernel []string) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := errnoError("create map", object, err)
	e.Kernel = kernel
	said := ""
	if len(kernel) > 0 {
		said = ": " + kernel[len(kernel)-1]
	}
	say := func(reason, format string, args ...any) error {
		e.Reason, e.Msg = reason, fmt.Sprintf(format, args...)+said
		return e
	}
	shape := ShapeOf(spec)
	if on != nil && !l.olderThan(4, 16) && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)) {
		// The kernel checks the map before the device, and some of its errors may mean
		// either.
		if why := l.Offloads(on); ReasonOf(why) == "no-offload" || ReasonOf(why) == "no-firmware" {
			return why
		}
	}
	switch {
	case e.Reason == "no-permission" && on != nil:
		return say(e.Reason, "maps on a card need CAP_SYS_ADMIN")
	case on != nil && l.olderThan(4, 16):
		return say("old-kernel", "kernel %d.%d knows no maps on cards", l.version[0], l.version[1])
	case e.Reason == "port-gone" || e.Reason == "unexpected" && errors.Is(err, unix.EINVAL) && on != nil:
		ports, portErr := l.Ports(on.Netns)
		i := slices.IndexFunc(ports, func(p Port) bool { return p.Index == on.Index })
		switch {
		case portErr == nil && i < 0:
			return l.unboundError(e, on)
		case e.Reason == "port-gone":
			return e
		case spec.Type != ebpf.Array && spec.Type != ebpf.Hash || spec.Flags != 0:
			return say("map-type", "the kernel puts arrays and hashes without flags on a card, not %v", shape)
		case on.Driver == "nfp" && !strings.HasSuffix(on.Firmware, " ebpf"):
			return say("no-firmware", "port %s has firmware %q, whose application is not ebpf", on.Ref(), on.Firmware)
		}
		return say("no-offload", "%s has no device for maps, or does not take %v", driverOf(on), shape)
	case errors.Is(err, unix.EOPNOTSUPP) && on != nil:
		return say("map-type", "the card does not take %v", shape)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
		return say("card-full", "no room for %v", shape)
	case e.Reason == "unexpected":
		return say("map-create", "%v: %v", shape, err)
	}
	return e
}

func openMap(n int) (Map, error) {
	m := &linuxMap{fd: newFD(n, "map")}
	info, err := m.Info()
	if err != nil {
		m.Close()
		return nil, err
	}
	m.info, m.id, m.gone = info, info.ID, info.Gone
	m.value = int(info.Shape.Value)
	switch info.Shape.Type {
	case "percpu_hash", "percpu_array", "lru_percpu_hash":
		cpus, err := ebpf.PossibleCPU()
		if err != nil {
			m.Close()
			return nil, errnoError("open", "map "+info.Name, err)
		}
		m.value = (m.value + 7) &^ 7 * cpus
	}
	return m, nil
}

// Info reads the kernel's description.
func (m *linuxMap) Info() (MapInfo, error) {
	var raw mapInfo
	err := objInfo(m.int(), unsafe.Pointer(&raw), unsafe.Sizeof(raw))
	if errors.Is(err, unix.ENODEV) {
		return m.goneInfo()
	}
	if err != nil {
		return MapInfo{}, errnoError("read", "map", err)
	}
	return MapInfo{
		ID: raw.id, Name: unix.ByteSliceToString(raw.name[:]), Device: int(raw.ifindex),
		Shape: Shape{Type: MapTypeName(ebpf.MapType(raw.typ)), Key: raw.key, Value: raw.value, Entries: raw.entries, Flags: raw.flags},
	}, nil
}

// goneInfo returns /proc's description of a map whose device was removed.
func (m *linuxMap) goneInfo() (MapInfo, error) {
	fields, err := fdinfo(m.int())
	if err != nil {
		return MapInfo{}, errnoError("read", "map", err)
	}
	number := func(key string) uint32 {
		v, _ := strconv.ParseUint(fields[key], 0, 32)
		return uint32(v)
	}
	return MapInfo{ID: number("map_id"), Gone: true, Shape: Shape{
		Type: MapTypeName(ebpf.MapType(number("map_type"))), Key: number("key_size"), Value: number("value_size"),
		Entries: number("max_entries"), Flags: number("map_flags"),
	}}, nil
}

// elemAttr is union bpf_attr's form for elements.
type elemAttr struct {
	fd, _             uint32
	key, value, flags uint64
}

func (m *linuxMap) elem(cmd int, key, value []byte, flags uint64) error {
	attr := elemAttr{fd: uint32(m.int()), key: bytesPtr(key), value: bytesPtr(value), flags: flags}
	_, err := bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return err
}

// alone runs fn, which performs many short element commands with quick, on a thread of
// its own that blocks the scheduler's signals. These would interrupt the driver's wait
// for the card, and the driver would then repeat the request.
func alone(fn func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block, old unix.Sigset_t
	block.Val[0] = 1<<(unix.SIGURG-1) | 1<<(unix.SIGPROF-1)
	if unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old) == nil {
		defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	}
	fn()
}

// quick is like elem but does not notify the scheduler. This halves the time of a
// command that the driver answers from its cache. In return, a garbage collection has
// to wait for the card, at worst for the 5 seconds after which the driver gives up.
func (m *linuxMap) quick(fd int, cmd int, key, value []byte) error {
	attr := elemAttr{fd: uint32(fd), key: bytesPtr(key), value: bytesPtr(value)}
	_, _, errno := unix.RawSyscall(unix.SYS_BPF, uintptr(cmd), uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	if errno != 0 {
		return errno
	}
	return nil
}

// fail converts the error of an element command.
func (m *linuxMap) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	object := fmt.Sprintf("map %d", m.id)
	if m.info.Name != "" {
		object += " " + m.info.Name
	}
	e := errnoError(op, object, err)
	switch {
	case errors.Is(err, unix.ENOENT):
		e.Reason, e.Msg = "no-entry", "the map has no such key"
	case errors.Is(err, unix.EEXIST):
		e.Reason, e.Msg = "entry-exists", "the map has this key already"
	case errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.ENOMEM) && m.info.Device != 0:
		e.Reason, e.Msg = "map-full", fmt.Sprintf("the map takes %d entries: %v", m.info.Shape.Entries, err)
	case errors.Is(err, unix.ENODEV):
		e.Reason, e.Msg = "gone", "the map's card was removed"
	case errors.Is(err, unix.EINVAL) && op == "delete" && m.info.Shape.Type == "array":
		e.Reason, e.Msg = "map-value", "elements of an array cannot be deleted"
	}
	return e
}

// sized checks that key and value have the map's sizes: the kernel would read past
// their ends.
func (m *linuxMap) sized(op string, key, value []byte, withValue bool) error {
	if len(key) == int(m.info.Shape.Key) && (!withValue || len(value) == m.value) {
		return nil
	}
	msg := fmt.Sprintf("key of %d bytes, the map has %d", len(key), m.info.Shape.Key)
	if withValue && len(value) != m.value {
		msg = fmt.Sprintf("value of %d bytes, the map has %d", len(value), m.value)
	}
	return &Error{Op: op, Object: fmt.Sprintf("map %d %s", m.id, m.info.Name), Reason: "map-value", Msg: msg}
}

// Lookup reads one value.
func (m *linuxMap) Lookup(key []byte) ([]byte, error) {
	if err := m.sized("lookup", key, nil, false); err != nil {
		return nil, err
	}
	value := make([]byte, m.value)
	if err := m.elem(unix.BPF_MAP_LOOKUP_ELEM, key, value, 0); err != nil {
		return nil, m.fail("lookup", err)
	}
	return value, nil
}

// Update writes one value.
func (m *linuxMap) Update(key, value []byte, flags ebpf.MapUpdateFlags) error {
	if err := m.sized("update", key, value, true); err != nil {
		return err
	}
	return m.fail("update", m.elem(unix.BPF_MAP_UPDATE_ELEM, key, value, uint64(flags)))
}

// Delete removes one entry.
func (m *linuxMap) Delete(key []byte) error {
	if err := m.sized("delete", key, nil, false); err != nil {
		return err
	}
	return m.fail("delete", m.elem(unix.BPF_MAP_DELETE_ELEM, key, nil, 0))
}

// batchAttr is union bpf_attr's form for batches.
type batchAttr struct {
	in, out, keys, values uint64
	count, fd             uint32
	elemFlags, flags      uint64
}

// batchEntries is the number of entries per request. A hash needs room for its longest
// chain; if that is more, the kernel reports it and the number is doubled.
const batchEntries = 4096

// noBatch reports whether an error means that the kernel or the map does not support
// batches.
func noBatch(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.Errno(524)) // ENOTSUPP
}

// Dump yields all entries. It reads maps in host memory in batches. It reads a card's
// map one entry at a time, the value right after the key, because the driver then
// answers both from one reply of the card.
func (m *linuxMap) Dump(yield func(key, value []byte) bool) error {
	if m.gone {
		return m.fail("dump", unix.ENODEV)
	}
	if m.info.Device == 0 {
		if err := m.dumpBatches(yield); !noBatch(err) {
			return m.fail("dump", err)
		}
	}
	var err error
	alone(func() { err = m.dumpEach(yield) })
	return m.fail("dump", err)
}

func (m *linuxMap) dumpBatches(yield func(key, value []byte) bool) error {
	size := batchEntries
	k := int(m.info.Shape.Key)
	// The cursor is a key for some maps, and a number of 4 bytes for others.
	in, out := make([]byte, max(k, 8)), make([]byte, max(k, 8))
	keys, values := make([]byte, size*k), make([]byte, size*m.value)
	first := true
	for {
		attr := batchAttr{out: bytesPtr(out), keys: bytesPtr(keys), values: bytesPtr(values), count: uint32(size), fd: uint32(m.int())}
		if !first {
			attr.in = bytesPtr(in)
		}
		_, err := bpf(unix.BPF_MAP_LOOKUP_BATCH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		runtime.KeepAlive(in)
		if errors.Is(err, unix.ENOSPC) && size < 1<<24 {
			size *= 2
			keys, values = make([]byte, size*k), make([]byte, size*m.value)
			continue
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		for i := range int(attr.count) {
			if !yield(keys[i*k:][:k], values[i*m.value:][:m.value]) {
				return nil
			}
		}
		if err != nil {
			return nil // past the last entry
		}
		in, out, first = out, in, false
	}
}

func (m *linuxMap) dumpEach(yield func(key, value []byte) bool) error {
	var key []byte // nil selects the first entry
	next, spare, value := make([]byte, m.info.Shape.Key), make([]byte, m.info.Shape.Key), make([]byte, m.value)
	fd := m.int()
	for {
		if err := m.quick(fd, unix.BPF_MAP_GET_NEXT_KEY, key, next); errors.Is(err, unix.ENOENT) {
			return nil
		} else if err != nil {
			return err
		}
		switch err := m.quick(fd, unix.BPF_MAP_LOOKUP_ELEM, next, value); {
		case err == nil:
			if !yield(next, value) {
				return nil
			}
		case errors.Is(err, unix.ENOENT): // deleted meanwhile, or never written
		default:
			return err
		}
		key, next, spare = next, spare, next
	}
}

// Fill updates many entries, in batches if the map supports them.
func (m *linuxMap) Fill(keys, values []byte) (int, error) {
	k := int(m.info.Shape.Key)
	if k == 0 || m.value == 0 || len(keys)%k != 0 || len(values) != len(keys)/k*m.value {
		return 0, &Error{Op: "update", Object: fmt.Sprintf("map %d %s", m.id, m.info.Name), Reason: "map-value",
			Msg: fmt.Sprintf("%d bytes of keys and %d of values, an entry has %d and %d", len(keys), len(values), k, m.value)}
	}
	total, done := len(keys)/k, 0
	if m.info.Device == 0 {
		for done < total {
			n := min(batchEntries, total-done)
			attr := batchAttr{keys: bytesPtr(keys[done*k:]), values: bytesPtr(values[done*m.value:]), count: uint32(n), fd: uint32(m.int())}
			_, err := bpf(unix.BPF_MAP_UPDATE_BATCH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
			if noBatch(err) && attr.count == uint32(n) {
				break
			}
			done += int(attr.count)
			if err != nil {
				return done, m.fail("update", err)
			}
		}
	}
	var err error
	alone(func() {
		fd := m.int()
		for ; done < total && err == nil; done++ {
			if err = m.quick(fd, unix.BPF_MAP_UPDATE_ELEM, keys[done*k:][:k], values[done*m.value:][:m.value]); err != nil {
				return
			}
		}
	})
	return done, m.fail("update", err)
}
