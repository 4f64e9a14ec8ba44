package linux

import (
	"regexp"
	"slices"
	"strings"
)

// Meaning returns the reasons for which the kernel or its nfp driver may print a line
// about a program or a map. The line may come from the verifier's log, the netlink
// answer or the kernel's log, or be a literal part of a rule's Says.
func Meaning(line string) []string {
	var words []string
	for _, r := range rules {
		if r.Says != "" && (regexp.MustCompile(r.Says).MatchString(line) || quotes(r.Says, line)) {
			words = append(words, r.Reason)
		}
	}
	for _, v := range verifierWords {
		if regexp.MustCompile(v.says).MatchString(line) {
			words = append(words, v.words...)
			break
		}
	}
	return slices.Compact(words)
}

// quotes reports whether a line of at least two words is a part of one alternative of
// a rule's Says.
func quotes(says, line string) bool {
	line = strings.TrimSpace(line)
	return strings.Contains(line, " ") && slices.ContainsFunc(strings.Split(says, "|"), func(s string) bool { return strings.Contains(s, line) })
}

// verifierWords maps messages of the kernel's verifier to our reasons. The first match
// counts.
var verifierWords = []struct {
	says  string // regular expression
	words []string
}{
	// The driver checks an instruction before the verifier does, and may be the first
	// to refuse it although no rule of the driver is broken.
	{`\[nfp\] unsupported ptr type: 0$`, []string{"uninit-register"}},
	{`\[nfp\] unsupported ptr type: 1$`, []string{"not-a-pointer", "uninit-register"}},
	{`\[nfp\] unsupported ptr type: 260$`, []string{"null-check"}}, // PTR_TO_MAP_VALUE | PTR_MAYBE_NULL
	{`\[nfp\] atomic add not to a map value pointer: [01]$`, []string{"not-a-pointer", "uninit-register"}},
	{`\[nfp\] atomic add not to a map value pointer: 260$`, []string{"null-check"}},
	{`\[nfp\] .*(within u32|is not constant)`, []string{"uninit-register"}},
	{`!read_ok`, []string{"uninit-register", "exit-value"}},
	{`invalid access to packet`, []string{"packet-bounds"}},
	{`invalid access to map value|map value access out-of-bounds`, []string{"map-value-bounds"}},
	{`math between .* with unbounded`, []string{"pointer-offset", "pointer-arithmetic"}},
	{`(min|max) value is (negative|outside)|unbounded (min|max) value`, []string{"map-value-bounds", "packet-bounds", "pointer-offset", "size-bounds", "stack-bounds"}},
	{`invalid (write to|read from|variable-offset read from|variable-offset write to|unbounded variable-offset.*|zero-size read|indirect.*|indirect access to.*) ?stack`, []string{"stack-bounds"}},
	{`invalid mem access '[a-z_]*(map_value_or_null|_or_null)`, []string{"null-check"}},
	{`invalid mem access`, []string{"not-a-pointer", "bad-pointer", "null-check", "mixed-pointer"}},
	{`invalid bpf_context access`, []string{"ctx-access", "feature-unsupported"}},
	{`BPF_ST stores into R\d+ ctx`, []string{"ctx-access", "driver-store-immediate"}}, // 6.1
	{`helper access to the packet is not allowed`, []string{"helper-arg"}},
	{`cannot write into packet`, []string{"packet-bounds"}},
	{`BPF_ATOMIC stores into`, []string{"atomic-target"}},
	{`misaligned (value|stack|packet|pkt|access|ctx)`, []string{"misaligned-atomic", "misaligned-stack", "stack-bounds", "ctx-access"}}, // checked before the bounds
	{`makes [a-z_]+ pointer be out of bounds`, []string{"pointer-offset", "pointer-arithmetic"}},
	{`invalid size of register (spill|fill)`, []string{"spill-partial"}},
	{`unknown func|program of this type cannot use helper`, []string{"helper-not-allowed", "unknown-helper"}},
	{`type=.* expected=`, []string{"helper-arg", "not-a-pointer", "null-check", "uninit-register"}},
	{`combined stack size|the call stack of`, []string{"stack-depth"}},
	{`unreachable insn`, []string{"unreachable-insn"}},
	{`div by zero`, []string{"div-by-zero"}},
	{`invalid shift`, []string{"bad-shift"}},
	{`infinite loop|back-edge`, []string{"infinite-loop"}},
	{`pointer arithmetic|pointer from scalar|math between|pointer operation|prohibited`, []string{"pointer-arithmetic", "pointer-offset", "null-check"}},
	{`leaks addr`, []string{"atomic-target", "pointer-arithmetic", "exit-value"}},
	{`dereference of modified ctx|variable ctx access`, []string{"ctx-access"}},
	{`BPF program is too large|too many states|jumps is too complex`, []string{"too-complex"}},
	{`GPL-restricted`, []string{"gpl-only"}},
	{`uses reserved fields`, []string{"reserved-field", "bad-opcode", "indirect-call"}},
	{`unknown opcode|BPF_(LDX|STX|ALU|JMP|END|MOV|LD_IMM64)? ?unknown`, []string{"bad-opcode"}},
	{`BPF_LD_\[ABS\|IND\] instructions not allowed`, []string{"bad-opcode"}},
	{`caller`, []string{"call-depth", "stack-pointer-escape"}},
	{`At program exit|R0 `, []string{"exit-value"}},
}
