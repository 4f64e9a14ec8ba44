package linux

import (
	"slices"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// This file lists what the Linux driver's verifier hooks and translator accept, beyond
// the kernel's verifier: kernel 6.12, drivers/net/ethernet/netronome/nfp/bpf and
// kernel/bpf/offload.c. Each row states one of the driver's rules over verify.Facts.
//
// The driver checks each instruction whenever the kernel's verifier walks over it,
// whereas facts are joined over all paths. So a rule here is broken if any path breaks
// it. The kernel prunes paths that it finds similar to earlier ones. The driver then
// never sees such a path, and may accept a program although the path breaks a rule.
// Whether the kernel prunes depends on heuristics; such a program is refused here.

// A Stage is the step of loading at which the driver, or the kernel on its behalf,
// checks a rule.
type Stage string

// The stages of loading an offloaded program, in order.
const (
	StageMap       Stage = "map"       // BPF_MAP_CREATE
	StageLoad      Stage = "load"      // BPF_PROG_LOAD, before verification
	StageVerify    Stage = "verify"    // before each instruction that the kernel's verifier walks over
	StageFinalize  Stage = "finalize"  // at the end of verification
	StageTranslate Stage = "translate" // code generation: an errno only, details are in the kernel's log
	StageAttach    Stage = "attach"    // netlink
)

// A Rule is one requirement of the Linux driver.
type Rule struct {
	Reason string // stable word
	Stage  Stage
	Source string // source of the rule: kernel 6.12, file and function
	Why    string // why the requirement exists
	Hint   string // the usual remedy
	Says   string // what the driver says, as a regular expression over log, extack or kernel log; "" where it says nothing of its own
	insn   func(*ruleCheck, int) string
	whole  func(*ruleCheck) []finding
}

// A finding is a broken rule at an instruction.
type finding struct {
	insn int
	msg  string
}

// ruleCheck applies rules to a view of a program, for a firmware.
type ruleCheck struct {
	*View
	profile *firmware.Profile
	caps    *driver.Caps
	mtu     int
	demand  []verify.Demand // nil until first needed
}

// rules is in the order in which the driver checks them at one instruction.
var rules = []Rule{
	{Reason: "driver-map-create", Stage: StageMap, Source: "kernel/bpf/syscall.c map_create; arraymap.c and hashtab.c map_alloc_check",
		Why:  "the kernel creates no map whose sizes, entries or flags its type does not allow, on the card or in host memory",
		Hint: "correct key, value, max_entries or flags in the map's definition as the message says; --entries MAP=N sets max_entries", whole: mapCreate},
	{Reason: "driver-map-type", Stage: StageMap, Source: "kernel/bpf/offload.c bpf_map_offload_map_alloc; offload.c nfp_bpf_map_alloc",
		Why:  "the kernel offloads arrays and hash maps, and of these what the firmware's MAPS capability names",
		Says: "map type not supported", Hint: "use an array or a hash map", whole: mapRule(mapType)},
	{Reason: "driver-map-flags", Stage: StageMap, Source: "offload.c nfp_bpf_map_alloc",
		Why: "offloaded maps take no flags and no NUMA node", Says: "map flags are not supported",
		Hint: "drop map_flags and numa_node from the definition", whole: mapRule(mapFlags)},
	{Reason: "driver-map-count", Stage: StageMap, Source: "offload.c nfp_bpf_map_alloc",
		Why: "the firmware has room for a fixed number of maps", Says: "too many maps for a device", Hint: "merge maps: several values in one struct, or a part of the key that says which", whole: mapCount},
	{Reason: "driver-map-entries", Stage: StageMap, Source: "offload.c nfp_bpf_map_alloc",
		Why: "all maps of a card share a fixed number of entries", Says: "map with too many elements",
		Hint: "make max_entries smaller", whole: mapEntries},
	{Reason: "driver-map-size", Stage: StageMap, Source: "offload.c nfp_bpf_map_alloc",
		Why: "keys and values lie in table rows of a fixed size", Says: "map (elements too large|key size|value size)",
		Hint: "make key or value smaller: hash long keys down, split values over two maps", whole: mapRule(mapSize)},

	{Reason: "driver-program-type", Stage: StageLoad, Source: "kernel/bpf/offload.c bpf_prog_dev_bound_init",
		Why: "the kernel offloads XDP programs and tc classifiers", Hint: "write an XDP program, or a tc classifier with direct action", whole: programType},
	{Reason: "driver-load-flags", Stage: StageLoad, Source: "kernel/bpf/offload.c bpf_prog_dev_bound_init",
		Why: "offloaded programs take no flags; with BPF_F_XDP_DEV_BOUND_ONLY the kernel loads the program and runs it itself", Hint: `use section "xdp" instead of "xdp.frags"`, whole: loadFlags},

	{Reason: "driver-kernel", Stage: StageVerify, Source: "kernel/bpf/verifier.c of the release", Says: "reserved fields|unknown opcode|invalid BPF_",
		Why: "the instruction came with Linux 6.6 (-mcpu=v4), and older kernels refuse it", Hint: "compile with -mcpu=v3, or use a kernel from 6.6 on", insn: tooNew},
	{Reason: "driver-global-data", Stage: StageVerify, Source: "kernel/bpf/verifier.c resolve_pseudo_ldimm64", Says: "no direct value access support|instruction 0x18 not supported",
		Why:  "global variables, tables of constants and string literals are values of maps that loaders make, and maps of a card have no addresses that a program may hold",
		Hint: "write constants as #define or enum, keep variables and tables in an array map and look them up, choose between few values by if, and drop bpf_printk", insn: globalData},
	{Reason: "driver-opcode", Stage: StageVerify, Source: "verifier.c nfp_verify_insn; jit.c instr_cb", Says: "instruction 0x[0-9a-f]+ not supported",
		Why:  "the driver's translator has no case for the instruction",
		Hint: "compile with -mcpu=v3 or older, write byte order with bpf_htons and friends, and modulo as q = x / k; x - (q & mask) * k, where the mask tells the kernel's verifier how large q is", insn: badOpcode},
	{Reason: "driver-helper", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_helper_call",
		Says: "not supported by FW|unsupported function id|doesn't support random|FW requires shifting metadata",
		Why:  "the firmware does not offer the helper, or the driver does not know it",
		Hint: "do without the helper: nfpctl feature probe lists what the card's firmware offers", insn: missingHelper},
	{Reason: "driver-helper-pointer", Stage: StageVerify, Source: "verifier.c nfp_bpf_stack_arg_ok",
		Says: "(map_lookup|map_update|map_delete|event_output): (unsupported ptr type|variable pointer|unaligned stack pointer)",
		Why:  "keys and values are taken from the stack, at a constant offset that is a multiple of 4",
		Hint: "copy the key to an aligned variable on the stack", insn: helperPointer},
	{Reason: "driver-map-update", Stage: StageVerify, Source: "verifier.c nfp_bpf_map_update_value_ok", Says: "may be non-zero, bpf_map_update_elem",
		Why:  "a counter is in the card's byte order, and an update writes the host's: only zero is the same in both",
		Hint: "store zeros by words at offsets that are no multiple of 8 (the kernel's verifier forgets others), or create entries from user space", insn: mapUpdate},
	{Reason: "driver-event-flags", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_helper_call", Says: "event_output: must use BPF_F_CURRENT_CPU",
		Why: "the firmware reports its own CPU", Hint: "pass BPF_F_CURRENT_CPU as flags", insn: eventFlags},
	{Reason: "driver-event-pointer", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_helper_call", Says: "event_output: (unsupported ptr type|ptr type changed)",
		Why:  "an event's data come from stack, packet or a map value, of one kind on every path",
		Hint: "copy the data to the stack", insn: eventPointer},
	{Reason: "driver-tc-exit", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_exit", Says: "unsupported exit state",
		Why:  "the card does not distinguish TC_ACT_OK from passing on, so each return value, of functions too, must be a constant 2, 4, 5 or above 7",
		Hint: "return TC_ACT_UNSPEC to pass the packet on, TC_ACT_SHOT or TC_ACT_STOLEN to drop it, as constants; inline functions", insn: tcExit},
	{Reason: "driver-ctx-store", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_store", Says: "unsupported store to context field|queue selection not supported by FW",
		Why:  "an XDP program may store only rx_queue_index, and only if the firmware selects queues",
		Hint: "do without the store, or choose a firmware that selects queues", insn: ctxStore},
	{Reason: "driver-atomic-op", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_atomic", Says: "atomic op not implemented",
		Why: "the driver translates atomic add without fetch, nothing else", Hint: "use __sync_fetch_and_add and ignore its result", insn: atomicOp},
	{Reason: "driver-atomic-target", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_atomic", Says: "atomic add not (to a map value|of a scalar)",
		Why: "atomic add works on map values, with a number", Hint: "keep the counter in a map", insn: atomicTarget},
	{Reason: "driver-pointer-type", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_ptr", Says: `unsupported ptr type: \d+`,
		Why: "only context, stack, packet and map values have an address form", Hint: "copy the data to the stack or read it from the packet", insn: pointerType},
	{Reason: "driver-pointer-changed", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_ptr", Says: "ptr type changed for instruction",
		Why: "code for an access is chosen once, so its pointer must be of one kind on every path", Hint: "duplicate the access in each branch", insn: pointerChanged},
	{Reason: "driver-stack-variable", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_stack_access", Says: "variable ptr stack access",
		Why: "stack bytes are merged with constant masks", Hint: "index the array with constants: unroll the loop", insn: stackVariable},
	{Reason: "driver-stack-moved", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_stack_access", Says: "stack access changed location",
		Why:  "an access may reach different places on different paths only at the same byte of a word",
		Hint: "align the objects to which the pointer may point equally, or duplicate the access in each branch", insn: stackMoved},
	{Reason: "driver-map-store", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_ptr", Says: "map writes not supported",
		Why: "the firmware contract has no plain store to a map value", Hint: "use __sync_fetch_and_add for counters, or bpf_map_update_elem if the firmware offers it", insn: mapStore},
	{Reason: "driver-map-variable", Stage: StageVerify, Source: "verifier.c nfp_bpf_map_mark_used", Says: "map value offset is variable",
		Why: "the driver records the use of each word of a value, so an offset must be one constant on each path", Hint: "look up a smaller value, or unroll the index", insn: mapVariable},
	{Reason: "driver-map-word-use", Stage: StageVerify, Source: "verifier.c nfp_bpf_map_mark_used_one", Says: "map value use type conflict",
		Why: "atomics see big-endian words and loads host order, so a word cannot serve both", Hint: "keep two words: one that is counted, one that is read", insn: mapWordUse},
	{Reason: "driver-map-counter", Stage: StageVerify, Source: "verifier.c nfp_bpf_map_mark_used_one", Says: "may already be initialized to non-zero value",
		Why:  "a word that bpf_map_update_elem may have set to a value other than zero is in the host's byte order and cannot be used as a counter",
		Hint: "store zeros by words at offsets that are no multiple of 8 (the kernel's verifier forgets others), or create entries from user space", insn: mapCounter},
	{Reason: "driver-mul-range", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_alu", Says: "multipli(er|cand) (is not|won't be) within u32",
		Why: "the multiplier is 32 x 32 to 64 bits, unsigned", Hint: "mask or compare both factors so that each is provably below 2^32", insn: mulRange},
	{Reason: "driver-div-range", Stage: StageVerify, Source: "verifier.c nfp_bpf_check_alu", Says: "divi(dend|sor) is not|divide by negative constant",
		Why: "division is a multiplication by a reciprocal, so the divisor must be one constant and the dividend 32 bits", Hint: "divide a 32-bit value by a constant", insn: divRange},

	{Reason: "driver-stack-size", Stage: StageFinalize, Source: "verifier.c nfp_bpf_finalize", Says: "stack too large: program",
		Why:  "frames lie in local memory, each rounded up to 64 bytes; a function's has 4 bytes for its return address, and 32 if it writes r6 to r9",
		Hint: "use smaller or fewer local variables, inline functions", whole: stackSize},

	{Reason: "driver-store-immediate", Stage: StageTranslate, Source: "jit.c mem_st", Says: "Translation failed with error -95",
		Why:  "the driver records no pointer type for stores of constants and then cannot translate them",
		Hint: "move the constant to a register first: clang does so below -mcpu=v4 when the value is a variable", insn: storeImmediate},
	{Reason: "driver-ctx-field", Stage: StageTranslate, Source: "jit.c mem_ldx_xdp, mem_ldx_skb", Says: "Translation failed with error -95",
		Why: "XDP programs may load data and data_end, tc programs len, data and data_end, each as 32 bits", Hint: "take the value from the packet", insn: ctxField},

	{Reason: "driver-caller-byte", Stage: StageTranslate, Source: "jit.c mem_op_stack, wrp_lmem_load, wrp_lmem_store", Says: "Translation failed with error -95",
		Why:  "the translator counts from the bottom of the running function's frame, so that a caller's bytes have negative offsets. It treats an access to one of the middle two bytes of a word at such an offset as one that crosses into the next word",
		Hint: "copy whole words of the caller's variable, pass the byte by value, or inline the function", insn: callerByte},

	{Reason: "driver-shift-constant", Stage: StageTranslate, Source: "jit.c __emit_shf", Says: "Translation failed with error -14",
		Why: "a shift by a register that holds one constant is translated to a shift by its low byte, which must be below the width", Hint: "mask the amount", insn: shiftConstant},

	{Reason: "driver-code-size", Stage: StageTranslate, Source: "jit.c nfp_prog_push", Says: "instruction limit reached|program too long",
		Why: "the program's code must fit what is left of the code store", Hint: "shorten the program or unroll loops less", whole: codeSize},
	{Reason: "driver-attach-type", Stage: StageAttach, Source: "net/core/dev.c dev_xdp_attach; kernel/bpf/tcx.c tcx_prog_attach; drivers/net/netkit.c",
		Says: "programs can not be attached to a device", Why: "only XDP's hardware mode and tc filters reach the card. A program for devmap or cpumap entries or netkit runs on the host",
		Hint: `use SEC("xdp"), or SEC("tc") and a tc filter (nfpctl prog load ... mode tcoffload, or tc filter add ... skip_sw)`, whole: attachType},
	{Reason: "driver-tcx", Stage: StageAttach, Source: "kernel/bpf/tcx.c tcx_prog_attach",
		Why:  "a tcx link takes a program that was loaded for the card, and then no packet runs it. A card gets programs by XDP's hardware mode and tc filters, and the host cannot run a card's code",
		Hint: `use SEC("tc") and a tc filter (nfpctl prog load ... mode tcoffload, or tc filter add ... skip_sw)`, whole: tcx},
	{Reason: "driver-packet-split", Stage: StageAttach, Source: "offload.c nfp_bpf_offload_check_mtu", Says: "potential packet access beyond HW packet split boundary",
		Why: "programs reach only the bytes of a packet that are kept near the micro-engine", Hint: "read headers only, or lower the interface's MTU to what is kept there", whole: packetSplit},
}

// NeverRuns reports whether the kernel takes a program that is refused for these reasons
// only, attaches it, and no packet runs it.
func NeverRuns(reasons []verify.Reason) bool {
	return len(reasons) > 0 && !slices.ContainsFunc(reasons, func(r verify.Reason) bool { return r.Reason != "driver-tcx" })
}

// Rules lists the requirements of the Linux driver, for explanations.
func Rules() []Rule { return slices.Clone(rules) }

// indirectFirst moves calls through a register to the front, and drops the reasons of the
// instructions that load what they call.
func indirectFirst(f *verify.Facts, found []verify.Reason) []verify.Reason {
	var calls, others []verify.Reason
	loads := map[int]bool{}
	for i := range f.Code.Insns {
		loads[f.Code.Insns[i].PC] = callee(f.Code, &f.Code.Insns[i])
	}
	for _, r := range found {
		switch {
		case r.Reason == "indirect-call":
			calls = append(calls, r)
		case r.Reason != "driver-opcode" && r.Reason != "driver-global-data" || !loads[r.PC]:
			others = append(others, r)
		}
	}
	if len(calls) == 0 {
		return found
	}
	return append(calls, others...)
}

func newRuleCheck(v *View, p *firmware.Profile) *ruleCheck {
	c := &ruleCheck{View: v, profile: p, mtu: defaultMTU}
	// The capabilities that the driver would read from the card. A profile that was
	// loaded always encodes.
	if caps, err := driver.ParseCaps(driver.EncodeCaps(p)); err == nil {
		c.caps = caps
	}
	return c
}
