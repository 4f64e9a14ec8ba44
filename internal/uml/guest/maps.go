//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// maps runs every operation on offloaded maps: on an array and a hash, with
// every flag, and dumps.
func maps(*env, string) (any, error) {
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	if err := array(devs[0]); err != nil {
		return nil, fmt.Errorf("array: %w", err)
	}
	us, err := hash(devs[0])
	if err != nil {
		return nil, fmt.Errorf("hash: %w", err)
	}
	return map[string]any{"us_per_update": us}, nil
}

// updates updates the elements of a hash; its argument is the number of updates.
// The host measures the time.
func updates(e *env, arg string) (any, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return nil, fmt.Errorf("want a count: %w", err)
	}
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	const entries = 64
	m, err := newMap(devs[0].link, ebpf.Hash, 4, 4, entries)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if _, err := e.ask(nil); err != nil {
		return nil, err
	}
	for i := range n {
		if err := m.Put(uint32(i%entries), uint32(i)); err != nil {
			return nil, fmt.Errorf("update %d: %w", i, err)
		}
	}
	_, err = e.ask(nil)
	return n, err
}

// expect fails unless err is want, nil included.
func expect(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: %v, want %v", what, err, want)
	}
	return nil
}

func array(dev netdev) error {
	const entries = 5
	m, err := newMap(dev.link, ebpf.Array, 4, 12, entries)
	if err != nil {
		return err
	}
	defer m.Close()
	value := func(i uint32) []byte { return fmt.Appendf(nil, "value %06d", i) }
	for i := range uint32(entries) {
		if v, err := m.LookupBytes(i); err != nil || string(v) != string(make([]byte, 12)) {
			return fmt.Errorf("element %d of a new array is %q: %v", i, v, err)
		}
	}
	for i := range uint32(entries) {
		if err := m.Update(i, value(i), []ebpf.MapUpdateFlags{ebpf.UpdateAny, ebpf.UpdateExist}[i&1]); err != nil {
			return err
		}
	}
	if err := errors.Join(
		expect("update that must create", m.Update(uint32(1), value(9), ebpf.UpdateNoExist), syscall.EEXIST),
		expect("update past the end", m.Update(uint32(entries), value(9), ebpf.UpdateAny), syscall.E2BIG),
		expect("delete", m.Delete(uint32(1)), syscall.EINVAL),
	); err != nil {
		return err
	}
	if v, err := m.LookupBytes(uint32(entries)); v != nil {
		return fmt.Errorf("element past the end is %q: %v", v, err)
	}
	seen := 0
	var k uint32
	var v []byte
	it := m.Iterate()
	for it.Next(&k, &v) {
		if int(k) != seen || string(v) != string(value(k)) {
			return fmt.Errorf("element %d of the dump has key %d, value %q", seen, k, v)
		}
		seen++
	}
	if seen != entries || it.Err() != nil {
		return fmt.Errorf("dump has %d of %d elements: %v", seen, entries, it.Err())
	}
	return nil
}

func hash(dev netdev) (usPerUpdate float64, err error) {
	const entries = 200
	m, err := newMap(dev.link, ebpf.Hash, 6, 9, entries)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	key := func(i int) []byte { return binary.BigEndian.AppendUint32([]byte{1, 2}, uint32(i)) }
	value := func(i int) []byte { return fmt.Appendf(nil, "v%08d", i) }
	start := time.Now()
	for i := range entries {
		flag := []ebpf.MapUpdateFlags{ebpf.UpdateAny, ebpf.UpdateNoExist}[i&1]
		if err := m.Update(key(i), value(i), flag); err != nil {
			return 0, fmt.Errorf("update %d: %w", i, err)
		}
	}
	usPerUpdate = float64(time.Since(start).Microseconds()) / entries
	if err := errors.Join(
		expect("one too many", m.Update(key(entries), value(0), ebpf.UpdateAny), syscall.E2BIG),
		expect("update that must create", m.Update(key(3), value(0), ebpf.UpdateNoExist), syscall.EEXIST),
		expect("update that must find", m.Update(key(3), value(1003), ebpf.UpdateExist), nil),
		expect("delete", m.Delete(key(4)), nil),
		expect("delete again", m.Delete(key(4)), syscall.ENOENT),
		expect("update that must find", m.Update(key(4), value(0), ebpf.UpdateExist), syscall.ENOENT),
	); err != nil {
		return 0, err
	}
	if v, err := m.LookupBytes(key(4)); v != nil || err != nil {
		return 0, fmt.Errorf("deleted element is %q: %v", v, err)
	}
	var got []string
	var k, v []byte
	it := m.Iterate()
	for it.Next(&k, &v) {
		got = append(got, fmt.Sprintf("%x=%s", k, v))
	}
	if it.Err() != nil {
		return 0, fmt.Errorf("dump: %w", it.Err())
	}
	var want []string
	for i := range entries {
		switch i {
		case 3:
			want = append(want, fmt.Sprintf("%x=%s", key(i), value(1003)))
		case 4:
		default:
			want = append(want, fmt.Sprintf("%x=%s", key(i), value(i)))
		}
	}
	sort.Strings(got)
	sort.Strings(want)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		return 0, fmt.Errorf("dump has %d elements, want %d: %q", len(got), len(want), got)
	}
	return usPerUpdate, nil
}

// refused is the kernel's answer to a map that the card cannot have.
type refused struct {
	Case  string   `json:"case"`
	Error string   `json:"error"`
	Log   []string `json:"log"` // what the driver logged
}

// limits creates maps past each limit of the card.
func limits(*env, string) (any, error) {
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	link := devs[0].link
	create := func(typ ebpf.MapType, key, value, entries uint32) func() error {
		return func() error {
			m, err := newMap(link, typ, key, value, entries)
			if err == nil {
				m.Close()
			}
			return err
		}
	}
	var found []refused
	for _, c := range []struct {
		name string
		do   func() error
	}{
		// First, as its error names the free entries: maps are freed in the
		// background.
		{"entries", create(ebpf.Hash, 4, 4, 1<<22)},
		{"kernel's types", create(ebpf.LRUHash, 4, 4, 1)},
		{"card's types", create(ebpf.Array, 4, 4, 1)},
		{"key", create(ebpf.Hash, 60, 4, 1)},
		{"value", create(ebpf.Hash, 4, 60, 1)},
		{"element", create(ebpf.Hash, 56, 56, 1)},
		{"count", func() error {
			for {
				m, err := newMap(link, ebpf.Hash, 4, 4, 1)
				if err != nil {
					return err
				}
				defer m.Close()
			}
		}},
	} {
		before, err := kernelLog()
		if err != nil {
			return found, err
		}
		r := refused{Case: c.name}
		if err := c.do(); err != nil {
			r.Error = err.Error()
		}
		after, err := kernelLog()
		if err != nil {
			return found, err
		}
		r.Log = after[min(len(before), len(after)):]
		found = append(found, r)
	}
	// All earlier maps are freed in the background; then there is room again.
	err = eventually(func() error { return create(ebpf.Hash, 4, 4, 1)() })
	return found, err
}

// countInto is a program that drops frames of the tests' type and adds each to an
// element of an array of 64-bit numbers.
func countInto(m *ebpf.Map, element int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Imm(asm.R0, xdpPass),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, ethHeader),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMem(asm.R4, asm.R2, ethHeader-2, asm.Half),
		asm.JNE.Imm(asm.R4, etherType<<8&0xff00|etherType>>8, "out"), // others' frames
		asm.Mov.Imm(asm.R2, element),
		asm.StoreMem(asm.R10, -4, asm.R2, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("drop"),
		asm.Return().WithSymbol("out"),
	}
}

// count counts frames in an array on the card: the program adds, the guest reads.
func count(*env, string) (any, error) {
	const element = 2
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	m, err := newMap(devs[0].link, ebpf.Array, 4, 8, 4)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	p, err := load(devs[0].link, countInto(m, element))
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	defer p.Close()
	if err := attach(devs[0].link, p); err != nil {
		return nil, err
	}
	defer attach(devs[0].link, nil)
	f, err := flow(devs[1], devs[0], 50, 0)
	if err != nil {
		return nil, err
	}
	var all [4]uint64
	for i := range all {
		if err := m.Lookup(uint32(i), &all[i]); err != nil {
			return nil, err
		}
	}
	stats, err := statistics(devs[0].Name)
	if err != nil {
		return nil, err
	}
	late, err := countLate(devs[0], element)
	return map[string]any{"flow": f, "counts": all, "late": late, "app": map[string]uint64{
		"frames": stats["bpf_app1_pkts"], "bytes": stats["bpf_app1_bytes"],
	}}, err
}

// countLate returns the driver's error for a counter in a map that was written before:
// it swaps the bytes of counters, and learns from the program which words are
// counters.
func countLate(dev netdev, element int32) (string, error) {
	m, err := newMap(dev.link, ebpf.Array, 4, 8, 4)
	if err != nil {
		return "", err
	}
	defer m.Close()
	if err := m.Put(uint32(0), uint64(1)); err != nil {
		return "", err
	}
	p, err := load(dev.link, countInto(m, element))
	if err == nil {
		p.Close()
	}
	return fmt.Sprint(err), nil
}
