package asmtext

import (
	"strings"
	"testing"
)

// Parts of listings as they are pasted into reports, and the text that each is read as.
func TestWholeListings(t *testing.T) {
	for _, c := range []struct{ name, listing, want string }{
		{"objdump", `
ctr.o:	file format elf64-bpf

Disassembly of section .text:

0000000000000000 <half>:
       0:	bf 10 00 00 00 00 00 00	r0 = r1
       1:	77 00 00 00 01 00 00 00	r0 >>= 1
       2:	95 00 00 00 00 00 00 00	exit

Disassembly of section tc/ingress:

0000000000000000 <count>:
; int count(struct __sk_buff *skb)
       0:	b7 02 00 00 00 00 00 00	r2 = 0
       1:	18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00	r1 = 0 ll
		0000000000000008:  R_BPF_64_64	hits
       3:	85 10 00 00 ff ff ff ff	call -1
		0000000000000018:  R_BPF_64_32	half
       4:	15 00 01 00 00 00 00 00	if r0 == 0 goto +1 <LBB0_2>
       5:	b7 00 00 00 01 00 00 00	r0 = 1

0000000000000030 <LBB0_2>:
       6:	95 00 00 00 00 00 00 00	exit

0000000000000038 <second>:
       7:	b7 00 00 00 00 00 00 00	r0 = 0
       8:	95 00 00 00 00 00 00 00	exit
`, `.program sched_cls count section="tc/ingress"
	r2 = 0
	r1 = map[hits]
	call half
	if r0 == 0 goto L6
	r0 = 1
L6:
	exit
.func half
	r0 = r1
	r0 >>= 1
	exit

.program sched_cls second section="tc/ingress"
	r0 = 0
	exit
`},
		{"objdump without addresses", `Disassembly of section xdp:

<p>:
	r0 = 2
	if r1 > 7 goto +1 <LBB0_2>
	r0 = 1

<LBB0_2>:
	exit
`, `.program xdp p
	r0 = 2
	if r1 > 7 goto L3
	r0 = 1
L3:
	exit
`},
		{"bpftool", `41: xdp  name fw  tag 0123456789abcdef  gpl
	loaded_at 2026-01-01T00:00:00+0000  uid 0
	xlated 64B  jited 61B  memlock 4096B  map_ids 9
	btf_id 77
9: hash  name seen  flags 0x0
	key 4B  value 8B  max_entries 64  memlock 5632B
int fw(struct xdp_md * ctx):
; int x = 3;
   0: (b7) r1 = 3
   1: (18) r2 = map[id:9]
   3: (85) call pc+2#bpf_prog_0123456789abcdef_sub
   4: (15) if r0 == 0xffffffff goto pc+0
   5: (95) exit
int sub(int a):
   6: (bf) r0 = r1
   7: (95) exit
`, `.map seen hash key=4 value=8 entries=64

.program xdp fw
	r1 = 3
	r2 = map[seen]
	call pc+2
	if r0 == -1 goto L5
L5:
	exit
.func sub
	r0 = r1
	exit
`},
		{"log", `libbpf: prog 'drop': BPF program load failed: Permission denied
libbpf: prog 'drop': -- BEGIN PROG LOAD LOG --
libbpf: 0: R1=ctx() R10=fp0
libbpf: ; if (x) @ a.c:3
libbpf: 0: (18) r1 = 0xffff888101234500       ; R1_w=map_ptr(map=seen,ks=4,vs=8)
libbpf: 2: (b7) r2 = 1                        ; R2_w=1
libbpf: 3: (15) if r2 == 0x1 goto pc-2
libbpf: from 3 to 2: R2=1
libbpf: 2: (b7) r2 = 1
libbpf: 4: (95) exit
libbpf: R0 !read_ok
libbpf: processed 4 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
libbpf: -- END PROG LOAD LOG --
`, `.program xdp drop
	r1 = map[seen]
L2:
	r2 = 1
	if r2 == 1 goto L2
	exit
`},
		{"kernel log", "[   12.000001] func#0 @0\n[   12.000002] 0: (b7) r0 = 0\n[   12.000003] 1: (95) exit\n[   12.000004] processed 2 insns (limit 1000000)\n", `.program xdp main
	r0 = 0
	exit
`},
	} {
		f, err := Parse("", c.listing)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := Print(f); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// What a listing does not show is an error that says so, on its line.
func TestListingsWithout(t *testing.T) {
	for _, c := range []struct{ listing, want string }{
		{"Disassembly of section xdp:\n<p>:\n       0:\t18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00\tr1 = 0 ll\n       2:\t95 00 00 00 00 00 00 00\texit\n",
			"l:3:1: the listing does not show which map or variable this is: use llvm-objdump -dr"},
		{"Disassembly of section xdp:\n<p>:\n       0:\tcall -1\n       1:\texit\n",
			"l:3:1: the listing does not show which function this calls: use llvm-objdump -dr"},
		{"Disassembly of section .text:\n\n0000000000000000 <a>:\n       0:\tcall 1\n       1:\texit\n\n0000000000000010 <b>:\n       2:\texit\n",
			"l:4:1: call 1 is helper bpf_map_lookup_elem or function b: use llvm-objdump without --no-show-raw-insn"},
		{"Disassembly of section xdp:\n<p>:\n       0:\tb7 00 00 00 01 00 00 00\tr0 = 2\n       1:\t95 00 00 00 00 00 00 00\texit\n",
			`l:3:35: the listing's bytes are "r0 = 1", not this`},
		{"Disassembly of section xdp:\n<p>:\n       0:\t<unknown>\n       1:\texit\n",
			"l:3:1: llvm-objdump does not know this instruction: use a newer one, or leave out --no-show-raw-insn"},
		{"int f(void):\n   0: (91) BUG_ldx_91\n   1: (95) exit\n",
			"l:2:12: the tool that made the listing does not know this instruction: use bpftool prog dump xlated with opcodes, or a newer one"},
		{"   0: (b7) r0 = *(u32 *)(r1 +0)\n", "l:1:12: the listing's opcode is b7, that of the text is 61"},
		{"func#0 @0\n0: (b7) r0 = 0\n3: (95) exit\n",
			"l:2:1: the log does not show the instructions at pc 1 to 2: the verifier prints those that it visits; paste bpftool prog dump xlated or llvm-objdump -dr"},
		{"func#0 @0\n0: (b7) r0 = 0\n1999999999: (95) exit\n",
			"l:2:1: the log does not show the instructions at pc 1 to 1999999998: the verifier prints those that it visits; paste bpftool prog dump xlated or llvm-objdump -dr"},
		{"func#0 @0\n0: (18) r1 = 0xffff888101234500\n2: (95) exit\n",
			"l:2:1: pc 0: the log has the address of a map and not its name: write map[NAME] in its place"},
		{"func#0 @0\nprocessed 2 insns (limit 1000000)\n",
			"l:1:1: the verifier's log has no instructions: load with log level 2, or paste bpftool prog dump xlated"},
		{"0: R1=ctx() R10=fp0\n0: (b7) r0 = 0\n1: (95) exit\n0: (b7) r0 = 1\n",
			`l:4:1: pc 0 is "r0 = 1" here and "0: (b7) r0 = 0" on line 2: the log is of several programs; paste one`},
	} {
		_, err := Parse("l", c.listing)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.listing, err, c.want)
		}
	}
}
