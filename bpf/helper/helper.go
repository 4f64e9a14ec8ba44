// Package helper contains tables of the eBPF interface of Linux: helper prototypes,
// map types and program contexts.
//
// A Proto is one helper: its number, name, argument kinds (Arg), result (Ret), and the
// program types that may call it. A MapType is one map type: its key rule, its
// properties, and the helpers that accept it. A Ctx is the layout of a program type's
// context, struct xdp_md or struct __sk_buff, as Fields with access rules. The
// verifier, the interpreter and the compiler read these tables and contain no second
// copy. Tables are sorted by number, and their rows do not change at run time.
//
// Sources: the prototypes, and the program types that may call them, are those of
// Linux 6.18 (net/core/filter.c and kernel/bpf/*.c; the rows are our own). Proto.Since
// compares them with 6.12 and 6.1. Numbers and names are those of
// include/uapi/linux/bpf.h.
package helper

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Arg is the kind of value that a helper requires in an argument register.
type Arg uint8

const (
	ArgNone           Arg = iota // the helper has no such argument
	ArgAnything                  // an initialised register
	ArgConstMap                  // map handle
	ArgMapKey                    // key_size readable bytes
	ArgMapValue                  // value_size readable bytes
	ArgMem                       // readable bytes, size in the next argument
	ArgMemOrNull                 // same, or NULL with size 0
	ArgUninitMem                 // writable bytes, size in the next argument
	ArgConstSize                 // size > 0
	ArgConstSizeZero             // size >= 0
	ArgCtx                       // context pointer
	ArgConstScalar               // known constant
	ArgFunc                      // bpf-to-bpf callback
	ArgStackOrNull               // callback context: stack pointer or NULL
	ArgUninitMapValue            // value_size writable bytes
	ArgFixedMem                  // Proto.Fixed readable bytes
	ArgUninitFixedMem            // Proto.Fixed writable bytes, aligned to their size
	ArgConstStr                  // NUL-terminated text in a read-only map
	ArgSpinLock                  // struct bpf_spin_lock in a map value
	ArgTimer                     // struct bpf_timer in a map value
	ArgSock                      // socket from a lookup helper or the context
	ArgDynptr                    // struct bpf_dynptr on the stack
	ArgRingbufMem                // record from ringbuf_reserve
	ArgKernel                    // pointer to another kernel object
)

// Ret is the kind of value that a helper returns in R0.
type Ret uint8

const (
	RetInteger        Ret = iota // a number
	RetVoid                      // nothing: r0 is uninitialised
	RetMapValueOrNull            // pointer to a value of the map argument, or NULL
	RetMemOrNull                 // bytes of the size given by the constant size argument, or NULL
	RetSockOrNull                // socket or NULL; one that a lookup helper returned must be released with sk_release
	RetKernelOrNull              // pointer to another kernel object, or NULL
)

// ProgTypes is a set of program types.
type ProgTypes uint8

// The program types of which a set may consist.
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

	ProgTypes ProgTypes // the types that may call it; 0 for a helper of other program types
	Since     [2]int    // the release of Linux since which they may, of those compared: 6.12 or 6.18; zero if in 6.1
	Packet    bool      // memory arguments may point into the packet
	Fixed     int       // bytes of an ArgFixedMem or ArgUninitFixedMem argument
}

// Allows reports whether programs of type t may call the helper. A raw program
// (ebpf.UnspecifiedProgram) may call the helpers of XDP programs.
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
// GPL-only helpers. The accepted texts are exactly those of include/linux/license.h.
func GPLCompatible(license string) bool {
	switch license {
	case "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL":
		return true
	}
	return false
}

// ByID returns the prototype of helper id, and reports whether the helper is known.
func ByID(id asm.BuiltinFunc) (Proto, bool) {
	i, ok := slices.BinarySearchFunc(protos, id, func(p Proto, id asm.BuiltinFunc) int { return int(p.ID) - int(id) })
	if !ok {
		return Proto{}, false
	}
	return protos[i], true
}

// ByName returns the prototype of the helper called name, with or without the prefix
// bpf_, and reports whether the helper is known.
func ByName(name string) (Proto, bool) {
	for _, p := range protos {
		if p.Name == name || "bpf_"+p.Name == name {
			return p, true
		}
	}
	return Proto{}, false
}

// All returns every known prototype in ascending order of id.
func All() []Proto { return slices.Clone(protos) }
