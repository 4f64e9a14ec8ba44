// Package asmtext parses and prints eBPF assembly text, in the C-like syntax of the
// kernel's verifier log and of llvm-objdump.
//
// Parse reads a whole text and returns a File: an *ebpf.CollectionSpec, which
// cilium/ebpf can load, and the order of its maps and programs. Print writes a File
// back as text, and the round trip loses nothing. ParseInsn and Format do the same for
// one instruction. Parse reports all errors of a text at once, as Errors; each has
// line and column. A text:
//
//	; count packets by protocol
//	.map counts hash key=4 value=8 entries=256
//	.license "Dual BSD/GPL"
//
//	.program xdp count
//	    r2 = *(u32 *)(r1 + 4)
//	    r1 = *(u32 *)(r1 + 0)
//	    r3 = r1
//	    r3 += 14
//	    if r3 > r2 goto pass
//	    r3 = *(u16 *)(r1 + 12)
//	    r3 = be16 r3
//	    *(u32 *)(r10 - 4) = r3
//	    r2 = r10
//	    r2 += -4
//	    r1 = map[counts]
//	    call bpf_map_lookup_elem#1
//	    if r0 == 0 goto pass
//	    r1 = 1
//	    lock *(u64 *)(r0 + 0) += r1
//	pass:
//	    r0 = 2
//	    exit
//
// Each line has one instruction. A comment begins with ; or //, or with # except
// directly after a name. Jumps go to labels or to pc+N, which counts 8-byte slots from
// the next instruction. Names that are not identifiers are quoted. A pc before an
// instruction ("12:") is checked, and so are an opcode or bytes after the pc.
//
// The text may also be a whole listing of llvm-objdump -d, bpftool prog dump xlated or
// the verifier, with the prefixes of libbpf and of the kernel's log. The parser does
// not guess what a listing omits:
//
//   - llvm-objdump without -r does not show which map, variable or function an
//     instruction refers to. Without bytes, a call of a helper and of a function of
//     .text have the same text, and old versions print ISA v4 as v3.
//   - bpftool names maps by id: the output of bpftool map show before it, or a .map
//     with id=, declares them. The instructions are those that the kernel rewrote:
//     loads of ctx fields and inlined helpers differ from the program's.
//   - A verifier log names a map only if the verifier visits the load. Before Linux
//     6.16 it has only instructions that the verifier visits. It does not show maps'
//     types and sizes: .map lines declare them.
//
// The directives:
//
//	.map NAME TYPE key=N value=N entries=N [flags=N] [inner=MAP] [data=HEX] [id=N]
//	.license "TEXT"                 of the programs that follow
//	.program TYPE NAME [section="TEXT"] [attach=N] [flags=N]
//	.func NAME                      a function of the program, to be called
//	.insn OPCODE DST SRC OFFSET CONSTANT [REFERENCE]   an instruction, field by field
//
// Types are bpftool's words (hash, lpm_trie, xdp, sched_cls; also tc). data= is the
// value at key 0, as for global variables. inner= names the map that describes the
// inner maps of an array or hash of maps. id= is the map's number in a kernel, for
// map[id:N]. Functions and labels belong to the program that contains them. Text
// without .program is one XDP program named "main".
//
// The parser resolves jumps to distances in 8-byte slots. A call of a function is a
// reference to the callee's symbol, as in an object that cilium/ebpf reads.
package asmtext

import "github.com/cilium/ebpf"

// A File is a parsed text. Programs and Maps hold the names of Spec's programs
// and maps in the order of the text.
type File struct {
	Spec     *ebpf.CollectionSpec
	Programs []string
	Maps     []string
}
