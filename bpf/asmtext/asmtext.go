// Package asmtext parses and prints eBPF assembly text, in the C-like syntax
// of the kernel's verifier log and of llvm-objdump:
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
// One instruction a line. A comment begins with ; or //, or with # where it
// does not follow a name. Jumps go to labels or to pc+N, which counts 8-byte
// slots from the next instruction. Names that are no identifiers are quoted.
// A pc in front ("12:") is checked, and so are the opcode or bytes behind it.
//
// A whole listing of llvm-objdump -d, bpftool prog dump xlated or the verifier
// may be given in place of text, with the prefixes of libbpf and of the kernel's
// log. What it does not show is not guessed:
//
//   - llvm-objdump without -r does not show which map, variable or function an
//     instruction refers to; without bytes, a call of a helper and of a function
//     of .text look alike, and old versions print ISA v4 as v3.
//   - bpftool names maps by id: the lines of bpftool map show in front, or a .map
//     with id=, declare them. Instructions are those that the kernel made of the
//     program: loads of ctx fields and inlined helpers are rewritten there.
//   - A verifier log names a map only where the verifier visits the load, and
//     before Linux 6.16 has only instructions that it visits. It does not show
//     maps' types and sizes: .map lines declare them.
//
// The directives:
//
//	.map NAME TYPE key=N value=N entries=N [flags=N] [inner=MAP] [data=HEX] [id=N]
//	.license "TEXT"                 of the programs that follow
//	.program TYPE NAME [section="TEXT"] [attach=N] [flags=N]
//	.func NAME                      a function of the program, to be called
//	.insn OPCODE DST SRC OFFSET CONSTANT [REFERENCE]   an instruction, field by field
//
// Types are bpftool's words (hash, lpm_trie, xdp, sched_cls; also tc). data= is
// the value at key 0, as global variables have it; inner= names the map that
// an array or hash of maps takes as its pattern; id= is its number in a kernel, for
// map[id:N]. Functions and labels belong
// to the program they stand in. Text without .program is one XDP program named
// "main".
//
// Jumps come out of the parser resolved: numeric distances in 8-byte slots.
// Calls between functions are references to the callee's symbol, as in an
// object read by cilium/ebpf.
package asmtext

import "github.com/cilium/ebpf"

// A File is a parsed text. Programs and Maps hold the names of Spec's programs
// and maps in the order of the text.
type File struct {
	Spec     *ebpf.CollectionSpec
	Programs []string
	Maps     []string
}
