// Package helper holds what the kernel and the verifier agree on about helpers,
// map types and contexts, as tables.
//
// Sources: the prototypes and the program types that may call them are those of
// Linux 6.12 (net/core/filter.c and kernel/bpf/*.c: facts of the kernel's
// interface, in our own rows); ids and names are include/uapi/linux/bpf.h's.
package helper

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Arg is what a helper asks of an argument register.
type Arg uint8

const (
	ArgNone           Arg = iota
	ArgAnything           // an initialised register
	ArgConstMap           // map handle
	ArgMapKey             // key_size readable bytes
	ArgMapValue           // value_size readable bytes
	ArgMem                // readable bytes, size in the next argument
	ArgMemOrNull          // same, or NULL with size 0
	ArgUninitMem          // writable bytes, size in the next argument
	ArgConstSize          // size > 0
	ArgConstSizeZero      // size >= 0
	ArgCtx                // context pointer
	ArgConstScalar        // known constant
	ArgFunc               // bpf-to-bpf callback
	ArgStackOrNull        // callback context: stack pointer or NULL
	ArgUninitMapValue     // value_size writable bytes
	ArgFixedMem           // Proto.Fixed readable bytes
	ArgUninitFixedMem     // Proto.Fixed writable bytes, aligned to their size
	ArgConstStr           // NUL-terminated text in a read-only map
	ArgSpinLock           // struct bpf_spin_lock in a map value
	ArgTimer              // struct bpf_timer in a map value
	ArgSock               // socket from a lookup helper or the context
	ArgDynptr             // struct bpf_dynptr on the stack
	ArgRingbufMem         // record from ringbuf_reserve
	ArgKernel             // pointer to another kernel object
)

// Ret is what a helper leaves in R0.
type Ret uint8

const (
	RetInteger Ret = iota
	RetVoid
	RetMapValueOrNull
	RetMemOrNull    // bytes of the size given by the constant size argument, or NULL
	RetSockOrNull   // socket, to be released with sk_release when a lookup helper made it
	RetKernelOrNull // pointer to another kernel object, or NULL
)

// ProgTypes is a set of program types.
type ProgTypes uint8

const (
	XDP ProgTypes = 1 << iota
	SchedCLS
)

// Proto is one helper's prototype.
type Proto struct {
	ID          asm.BuiltinFunc
	Name        string // as in bpf_helpers.h, without bpf_
	Args        [5]Arg
	Ret         Ret
	MovesPacket bool   // packet pointers are invalid afterwards
	GPL         bool   // only for programs whose license GPLCompatible accepts
	Doc         string // one line

	ProgTypes ProgTypes // who may call it; none for a helper of other program types
	Packet    bool      // memory arguments may point into the packet
	Fixed     int       // bytes of an ArgFixedMem or ArgUninitFixedMem argument
}

// Allows reports whether programs of type t may call the helper. A raw program
// (ebpf.UnspecifiedProgram) may call what an XDP program may.
func (p Proto) Allows(t ebpf.ProgramType) bool { return p.ProgTypes&typeBit(t) != 0 }

func typeBit(t ebpf.ProgramType) ProgTypes {
	switch t {
	case ebpf.XDP, ebpf.UnspecifiedProgram:
		return XDP
	case ebpf.SchedCLS, ebpf.SchedACT:
		return SchedCLS
	}
	return 0
}

// GPLCompatible reports whether a program of that license may call the kernel's
// GPL-only helpers: include/linux/license.h's list, to the letter.
func GPLCompatible(license string) bool {
	switch license {
	case "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL":
		return true
	}
	return false
}

// ByID returns the prototype of helper id, and whether it is known.
func ByID(id asm.BuiltinFunc) (Proto, bool) {
	i, ok := slices.BinarySearchFunc(protos, id, func(p Proto, id asm.BuiltinFunc) int { return int(p.ID) - int(id) })
	if !ok {
		return Proto{}, false
	}
	return protos[i], true
}

// ByName returns the prototype of the helper called name, with or without bpf_.
func ByName(name string) (Proto, bool) {
	for _, p := range protos {
		if p.Name == name || "bpf_"+p.Name == name {
			return p, true
		}
	}
	return Proto{}, false
}

// All returns every known prototype by ascending id.
func All() []Proto { return slices.Clone(protos) }
