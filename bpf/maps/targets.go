package maps

import (
	"encoding/binary"
	"syscall"

	"github.com/cilium/ebpf"
)

// Targets is a map whose values name something outside the program: another
// program (prog_array), a device (devmap, devmap_hash), a CPU (cpumap), a
// socket (xskmap), a ring (perf_event_array). An element exists only after the
// host has set it.
//
// Values are not checked, since there are no devices or sockets here: any
// interface number is accepted, and the engine's loader defines the numbers in
// a prog_array. Programs attached to a devmap's or cpumap's entry are not
// modelled; an update that carries one is EINVAL.
type Targets struct {
	base
	rule    targetRule
	entries uint32
	present map[uint32]bool // by index; not used by devmap_hash
	keys    keyTable        // devmap_hash
	slots   slots           // devmap_hash
}

// targetRule describes the differences between the target maps.
type targetRule struct {
	anyOnly   bool          // update takes no flag
	hashed    bool          // keys are not indices
	tests     bool          // NOEXIST and EXIST test the element; else elements always exist
	zeroEmpty bool          // an update with value 0 removes
	pastEnd   syscall.Errno // delete of an index past the end
	absent    syscall.Errno // delete of an absent element; 0 is success
	program   bool          // programs may look it up
	host      syscall.Errno // host lookup; 0 is allowed
}

func ruleOf(t ebpf.MapType) targetRule {
	switch t {
	case ebpf.ProgramArray:
		return targetRule{anyOnly: true, pastEnd: E2BIG, absent: ENOENT}
	case ebpf.PerfEventArray:
		return targetRule{anyOnly: true, pastEnd: E2BIG, absent: ENOENT, host: ENOTSUPP}
	case ebpf.DevMap:
		return targetRule{zeroEmpty: true, pastEnd: EINVAL, program: true}
	case ebpf.DevMapHash:
		return targetRule{hashed: true, tests: true, absent: ENOENT, program: true}
	case ebpf.CPUMap:
		return targetRule{zeroEmpty: true, pastEnd: EINVAL}
	default: // xskmap
		return targetRule{tests: true, pastEnd: EINVAL, program: true, host: EOPNOTSUPP}
	}
}

func newTargets(b base, opt *Options) *Targets {
	t := &Targets{base: b, rule: ruleOf(b.spec.Type), entries: entries(b.spec, opt), present: map[uint32]bool{}}
	t.slots = newSlots(int(t.entries), 0)
	t.keys.init()
	return t
}

// at returns the slot of key, and reports whether the element exists.
func (t *Targets) at(key []byte) (int, bool) {
	if len(key) != 4 {
		return 0, false
	}
	if t.rule.hashed {
		e, ok := t.keys.find(key)
		if !ok {
			return 0, false
		}
		return t.keys.entries[e].slot, true
	}
	i := binary.LittleEndian.Uint32(key)
	return int(i), t.present[i]
}

// Target returns the value of an existing element.
func (t *Targets) Target(index uint32) ([]byte, bool) {
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], index)
	slot, ok := t.at(key[:])
	if !ok {
		return nil, false
	}
	return t.Value(t.slot(slot)), true
}

// Lookup returns the value of an element to a program, for map types that programs may
// look up.
func (t *Targets) Lookup(key []byte) (int, bool) {
	if !t.rule.program {
		return 0, false
	}
	slot, ok := t.at(key)
	return t.slot(slot), ok
}

func (t *Targets) Update(key, value []byte, flags uint64) error {
	if len(key) != 4 || len(value) != int(valueSize(t.spec)) || flags > Exist || t.rule.anyOnly && flags != Any {
		return EINVAL
	}
	index := binary.LittleEndian.Uint32(key)
	word := binary.LittleEndian.Uint32(value)
	slot, found := t.at(key)
	switch {
	case t.rule.hashed && word == 0:
		return EINVAL
	case !t.rule.hashed && index >= t.entries:
		return E2BIG
	case flags == NoExist && (found || !t.rule.tests):
		return EEXIST
	case flags == Exist && !found && t.rule.tests && !t.rule.hashed:
		return ENOENT
	case t.spec.Type == ebpf.CPUMap && word > 16384: // the kernel's bound on a CPU's queue
		return EOVERFLOW
	case len(value) == 8 && int32(binary.LittleEndian.Uint32(value[4:])) > 0:
		return EINVAL
	case t.rule.zeroEmpty && word == 0:
		delete(t.present, index)
		return nil
	}
	if t.rule.hashed && !found {
		var ok bool
		if slot, ok = t.slots.take(); !ok {
			return E2BIG
		}
		t.keys.add(key, slot)
	}
	t.present[index] = true
	dst := t.Value(t.slot(slot))
	clear(dst)
	copy(dst, value[:4]) // the rest is the id of a program that is not there
	return nil
}

func (t *Targets) Delete(key []byte) error {
	if len(key) != 4 {
		return EINVAL
	}
	index := binary.LittleEndian.Uint32(key)
	if !t.rule.hashed && index >= t.entries {
		return t.rule.pastEnd
	}
	slot, found := t.at(key)
	if !found {
		if t.rule.absent != 0 {
			return t.rule.absent
		}
		return nil
	}
	if t.rule.hashed {
		e, _ := t.keys.find(key)
		t.keys.remove(e)
		t.slots.give(slot)
	}
	delete(t.present, index)
	return nil
}

func (t *Targets) NextKey(key []byte) ([]byte, error) {
	if t.rule.hashed {
		return t.keys.next(key)
	}
	return nextIndex(key, t.entries)
}

func (t *Targets) LookupAll(key []byte) ([]byte, error) {
	if t.rule.host != 0 {
		return nil, t.rule.host
	}
	slot, ok := t.at(key)
	if !ok {
		return nil, ENOENT
	}
	return append([]byte(nil), t.Value(t.slot(slot))...), nil
}

func (t *Targets) UpdateAll(key, value []byte, flags uint64) error {
	return t.Update(key, value, flags)
}
