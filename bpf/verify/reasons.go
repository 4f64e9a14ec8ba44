package verify

import "slices"

// ReasonDoc explains one reason word. `nfpsim explain` and docs/reasons.md
// print it, and error texts have its hint.
type ReasonDoc struct {
	Word        string // stable, kebab-case
	Family      string // who refuses, see Families
	Explanation string
	Hint        string // the usual cure
}

// The families of reasons.
const (
	FamilyStructure = "structure" // the bytes are no program
	FamilyProgram   = "program"   // the verifier cannot prove the program safe
	FamilyCard      = "card"      // the program is safe; this card, firmware or driver cannot take it
	FamilyObject    = "object"    // the file could not be read
	FamilyRun       = "run"       // something went wrong while running
	FamilyWarning   = "warning"   // accepted, worth knowing
)

// Reasons returns every reason, family by family.
func Reasons() []ReasonDoc { return slices.Concat(reasons, runReasons) }

// Explain returns the row of a reason word.
func Explain(word string) (ReasonDoc, bool) {
	for _, table := range [][]ReasonDoc{reasons, runReasons} {
		if i := slices.IndexFunc(table, func(d ReasonDoc) bool { return d.Word == word }); i >= 0 {
			return table[i], true
		}
	}
	return ReasonDoc{}, false
}

func hintOf(word string) string {
	d, _ := Explain(word)
	return d.Hint
}

var reasons = []ReasonDoc{
	{"empty-program", FamilyStructure, "The program has no instructions.",
		"check the section or program name"},
	{"unknown-map", FamilyStructure, "An instruction names a map that the object does not define.",
		"define the map in the same object, or link the object that does; in front of a listing, put what bpftool map show prints, or .map NAME TYPE key=N value=N entries=N"},
	{"bad-register", FamilyStructure, "An instruction names a register above r10. Dumps of programs that the kernel hardened (net.core.bpf_jit_harden) use r11.",
		"compile the source again; for a dump, set sysctl net.core.bpf_jit_harden=0 and load the program again first"},
	{"bad-call-target", FamilyStructure, "A call between functions goes to no instruction of the program.",
		"link the function's object, or mark it static __always_inline"},
	{"frame-pointer-write", FamilyStructure, "r10, the frame pointer, is written; it is read-only.",
		"copy r10 to another register and change the copy"},
	{"fall-through", FamilyStructure, "Control runs off the end of a function.",
		"end every path with exit; in C, return a value on every path and leave no undefined behaviour, from which clang makes such code"},
	{"jump-into-wide", FamilyStructure, "A jump goes to the second half of a 64-bit load.",
		"recompute the jump's distance: a 64-bit load takes two slots"},
	{"jump-out-of-range", FamilyStructure, "A jump leaves its function.",
		"jump inside the function, and call other functions"},
	{"bad-opcode", FamilyStructure, "The instruction set (RFC 9669) has no such instruction.",
		"compile for -mcpu=v4 or older"},
	{"reserved-field", FamilyStructure, "A field that the instruction does not use is not zero. Later instruction sets may give it a meaning, so kernels refuse it.",
		"set the field to 0, or compile again: compilers do, so the bytes were edited or damaged later"},
	{"indirect-call", FamilyStructure, "A call through a register. Linux has no such calls, and no engine here either.",
		"compile with -O2, or make the function that is called static and inline (__always_inline), so that its call is direct"},
	{"unreachable-insn", FamilyStructure, "No sequence of jumps leads to the instruction. The kernel refuses such programs.",
		"remove the dead code, or compile with -O2"},
	{"recursion", FamilyStructure, "A function calls itself, directly or through others.",
		"turn the recursion into a bounded loop"},

	{"uninit-register", FamilyProgram, "A register is read that no instruction on the path has written. After a call r1 to r5 count as not written.",
		"initialise the variable on every path; keep values in r6 to r9 across calls"},
	{"not-a-pointer", FamilyProgram, "Memory is accessed through a number. Often it was a packet pointer before a call that moves the packet, or a pointer that lost its kind by arithmetic or by a narrow store.",
		"keep the pointer whole and add numbers to it; after helpers that change the packet (bpf_xdp_adjust_head and others) load data and data_end from ctx again"},
	{"bad-pointer", FamilyProgram, "Memory is accessed through a pointer that has no memory behind it for programs: data_end, a map handle, a function, or ctx as plain memory.",
		"access packets through data, map values through the result of a lookup, and ctx by its fields"},
	{"mixed-pointer", FamilyProgram, "The pointer is of different kinds on different paths that join before it is used.",
		"access the memory on each path, before they join"},
	{"null-check", FamilyProgram, "The result of a map lookup is used where it may be NULL, or a pointer that a global function takes: Linux verifies such a function for NULL too.",
		"test the pointer first: if (!value) return XDP_PASS; for a global function's argument, making the function static serves too"},
	{"packet-bounds", FamilyProgram, "The access reaches bytes that are not proved to be in the packet.",
		"compare with data_end first: if (data + N > data_end) return XDP_PASS; bound a variable offset before that: if (n > MAX) return XDP_PASS;"},
	{"map-value-bounds", FamilyProgram, "The access may reach outside of the map value.",
		"bound the index: if (i >= N) return; or mask it with a power of two less one"},
	{"stack-bounds", FamilyProgram, "The access may reach outside of the function's 512 bytes of stack.",
		"bound the index, or keep large data in a per-CPU array map"},
	{"mem-bounds", FamilyProgram, "The access may reach outside of the memory region in r1.",
		"compare with the size in r2 first"},
	{"ctx-access", FamilyProgram, "The context is accessed at an offset, with a size, or by a store, that the kernel does not allow for this program type.",
		"load whole 4-byte fields through the unchanged ctx pointer, and store no field that is read-only (struct xdp_md and __sk_buff in linux/bpf.h)"},
	{"read-only-map", FamilyProgram, "A store to values of a map that programs may only read.",
		"drop const, or BPF_F_RDONLY_PROG, or write through the map update helper"},
	{"write-only-map", FamilyProgram, "A load from values of a map that programs may only write.",
		"drop BPF_F_WRONLY_PROG"},
	{"spill-partial", FamilyProgram, "A part of a pointer is stored on the stack, or a part of one that is kept there is read as data.",
		"store and load the pointer whole, 8 bytes"},
	{"stack-pointer-escape", FamilyProgram, "A pointer to a function's stack outlives the function.",
		"let the caller own the memory and pass a pointer down"},
	{"pointer-arithmetic", FamilyProgram, "The operation is not allowed on this kind of pointer. Numbers may be added to and subtracted from pointers to memory, in 64 bits; nothing else.",
		"compute with numbers and add the result to the pointer last"},
	{"pointer-offset", FamilyProgram, "The pointer is moved by a number that is too large or has no useful lower bound.",
		"bound the number first, as unsigned: if (n > MAX) return;"},
	{"atomic-target", FamilyProgram, "Atomic operations work on map values and the stack only.",
		"use plain loads and stores on packets: only one thread has a packet"},
	{"misaligned-atomic", FamilyProgram, "An atomic operation at an address that is not a multiple of its size.",
		"align the field to its size, and do not pack the struct"},
	{"misaligned-stack", FamilyProgram, "A load or store of the stack at an offset that is not a multiple of its size. The kernel requires that on every machine.",
		"align the variable; no packed structs on the stack"},
	{"div-by-zero", FamilyProgram, "Division or modulo by the constant 0.",
		"check the constant: it is often a macro or a size that is not set"},
	{"bad-shift", FamilyProgram, "Shift by a constant that is negative or not below the operand's width.",
		"shift by 0 to 31 (32-bit) or 0 to 63 (64-bit)"},
	{"exit-value", FamilyProgram, "r0 is not a number when the program ends.",
		"return a verdict on every path"},
	{"infinite-loop", FamilyProgram, "The loop can come back to the same state, so nothing shows that it ends.",
		"count: for (int i = 0; i < N; i++), with a constant N"},
	{"too-complex", FamilyProgram, "The program has too many instructions to explore, counting every trip of every loop (1,000,000).",
		"lower loop bounds, or test less inside of loops"},
	{"too-many-jumps", FamilyProgram, "More than 8,192 branches are pending at one time, each with another state. Linux's verifier walks the fall-through first and keeps the other edge of each branch in a loop for later.",
		"lower the loop's bound or the number of branches in it, or move its body into a global function, which Linux walks once"},
	{"global-function", FamilyProgram, "Linux verifies a global function by the types of its arguments, and a call must pass what these types say.",
		"pass what the type says, or make the function static"},
	{"call-depth", FamilyProgram, "Calls between functions are more than 8 frames deep.",
		"inline some of the functions"},
	{"stack-depth", FamilyProgram, "A chain of calls needs more stack than 512 bytes (256 with a tail call inside a function).",
		"move large locals into a per-CPU array map"},
	{"unknown-helper", FamilyProgram, "No helper has that number.",
		"check the helper's number, or update nfpkit"},
	{"helper-not-allowed", FamilyProgram, "The helper exists, but not for programs of this type.",
		"call another helper, or do its work in the program: bpf-helpers(7) says what programs of this type may call"},
	{"gpl-only", FamilyProgram, "The helper is for programs with a GPL-compatible license: GPL, GPL v2, GPL and additional rights, Dual BSD/GPL, Dual MIT/GPL or Dual MPL/GPL, spelt like this.",
		`declare it: char _license[] SEC("license") = "Dual BSD/GPL"; in text .license "Dual BSD/GPL"`},
	{"map-helper", FamilyProgram, "The helper does not take maps of this type.",
		"use a map of a type that the helper takes (bpf-helpers(7)), or the helper of this map's type"},
	{"helper-arg", FamilyProgram, "An argument of a helper is of the wrong kind.",
		"pass what the helper's prototype in bpf-helpers(7) says: keys and values by their addresses, the context unchanged"},
	{"size-bounds", FamilyProgram, "The size given to a helper may be negative or huge.",
		"bound the size first, as unsigned: if (n > MAX) return;"},
	{"zero-size", FamilyProgram, "The size given to a helper may be 0, which it does not take.",
		"test for 0 first"},
	{"feature-unsupported", FamilyProgram, "The program uses a feature of the kernel that nfpkit does not model: callbacks, kernel functions, dynptrs, timers, locks, sockets, ring buffer records, maps in maps, may_goto, variables of the kernel (extern).",
		"leave the feature out of programs for the card"},

	{"helper-missing", FamilyCard, "The firmware does not offer the helper.",
		"do without the helper, or choose a firmware that has it (--firmware); nfpctl feature probe lists what a card's firmware offers"},
	{"code-size", FamilyCard, "The compiled program has more words than the card's code store leaves for it.",
		"shorten the program or unroll loops less"},
	{"stack-size", FamilyCard, "The program's stack does not fit the card's local memory.",
		"use smaller or fewer local variables"},
	{"atomic64", FamilyCard, "The memory engine has no command for this 64-bit atomic operation, and no loop can serve instead.",
		"use a 32-bit atomic, or a 64-bit addition: __sync_fetch_and_add"},
	{"map-type", FamilyCard, "The firmware does not offer maps of this type.",
		"use an array or hash map"},
	{"direct-value", FamilyCard, "The program has global data: a global or static variable, a constant table or a string. Its address is that of a map value, which this firmware or map does not give.",
		"keep the data in an array map of one entry and look it up, or index a local table with constants"},
	{"ctx-field", FamilyCard, "The card does not provide this field of the context.",
		"take the value from the packet or from a map, or choose a firmware that provides the field (--firmware)"},
	{"program-type", FamilyCard, "The card does not run programs of this type.",
		"write an XDP program, or a tc classifier with direct action"},
	{"packet-split", FamilyCard, "The program reads packet bytes beyond those the card keeps near the micro-engine.",
		"read headers only: every firmware that nfpkit knows keeps as much, and the MTU changes nothing"},
	{"map-create", FamilyCard, "The map's definition contradicts itself: sizes, entries or flags that no map of its type has.",
		"correct the size, the entries or the flag that the message names"},
	{"map-limit", FamilyCard, "The map's keys, values or entries exceed what the firmware takes.",
		"make keys, values or max_entries smaller"},
	{"map-entries", FamilyCard, "The map has more entries than the firmware has left, or a number that it does not take.",
		"make max_entries smaller; for firmware corenic-direct also a power of two"},
	{"map-key", FamilyCard, "The map's keys are larger than the firmware takes.",
		"hash long keys down"},
	{"map-value", FamilyCard, "The map's values are larger than the firmware takes.",
		"split the value over two maps"},
	{"map-entry", FamilyCard, "Key and value of the map are together larger than the firmware takes.",
		"make key or value smaller"},
	{"map-address", FamilyCard, "The map's table does not fit the card's memory, or what its addresses can reach.",
		"make max_entries smaller"},
	{"map-use", FamilyCard, "Two programs use the words of a shared map in ways that exclude each other: counters are kept in the card's byte order, plain words in the host's.",
		"load the programs together, so that they agree, or give each its map"},
	{"map-missing", FamilyCard, "The program is loaded before a map that it uses was created.",
		"run the object (file.o), which defines the map, in place of its image"},
	{"map-count", FamilyCard, "The program uses more maps than the firmware has room for.",
		"merge maps: several values in one struct, or a part of the key that says which"},

	{"unknown-type", FamilyObject, "The name of the section does not say what type of program it holds: XDP or tc.",
		`give the type with --type xdp or --type tc, or write SEC("xdp") or SEC("tc")`},
	{"bad-relocation", FamilyObject, "A reference to a variable, map or function is of an unknown form, or its target does not exist.",
		"compile with clang -target bpf -O2 -g -c; define what is declared, and keep offsets inside of the variable"},
	{"bad-setting", FamilyObject, "A variable or map to be set does not exist, or does not take the value.",
		"use a name that the message lists, and a value of its type: docs/maps.md"},
	{"bad-object", FamilyObject, "The file is no eBPF object, or its tables contradict each other.",
		"compile with clang -target bpf -O2 -g -c"},
	{"truncated-object", FamilyObject, "The file ends in the middle of something.",
		"compile or copy the file again"},
	{"no-program", FamilyObject, "The object holds no program of that name.",
		"nfpsim check FILE lists the programs"},
	{"bad-text", FamilyObject, "A text file (assembly, listing, JSON) has an error at the place given.",
		"correct the text at the line and column given"},

	{"uninit-stack", FamilyWarning, "Stack bytes are read that may not have been written. Kernels accept that from privileged users only, and the bytes can be anything.",
		"initialise the variable, padding included: struct key k = {};"},
	{"near-limit", FamilyWarning, "Linux's verifier comes within a tenth of what it allows: 1,000,000 instructions walked, or 8,192 branches that wait. Another release, or another compiler, may be past it.",
		"lower loop bounds, or test less inside of loops"},
}
