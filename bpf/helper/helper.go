// Package helper holds what the kernel and the verifier agree on about helpers,
// map types and contexts, as tables.
package helper

import "github.com/cilium/ebpf/asm"

// Arg is what a helper asks of an argument register.
type Arg uint8

const (
	ArgNone          Arg = iota
	ArgAnything          // an initialised register
	ArgConstMap          // map handle
	ArgMapKey            // key_size readable bytes
	ArgMapValue          // value_size readable bytes
	ArgMem               // readable bytes, size in the next argument
	ArgMemOrNull         // same, or NULL with size 0
	ArgUninitMem         // writable bytes, size in the next argument
	ArgConstSize         // size > 0
	ArgConstSizeZero     // size >= 0
	ArgCtx               // context pointer
	ArgConstScalar       // known constant
	ArgFunc              // bpf-to-bpf callback
	ArgStackOrNull       // callback context: stack pointer or NULL
)

// Ret is what a helper leaves in R0.
type Ret uint8

const (
	RetInteger Ret = iota
	RetVoid
	RetMapValueOrNull
)

// Proto is one helper's prototype.
type Proto struct {
	ID          asm.BuiltinFunc
	Name        string // as in bpf_helpers.h, without bpf_
	Args        [5]Arg
	Ret         Ret
	MovesPacket bool // packet pointers are invalid afterwards
	GPL         bool
	Doc         string // one line
}
