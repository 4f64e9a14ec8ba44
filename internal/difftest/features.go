package difftest

// Features is the set of features that generated programs may use. A kernel without
// ISA v4, or a firmware without some helper, can thus be compared on the rest.
type Features uint32

const (
	V4             Features = 1 << iota // sign extension, signed division, bswap, gotol
	Atomics                             // and, or, xor, exchange, fetch; plain adds are always there
	Subprograms                         // bpf-to-bpf calls
	Loops                               // bounded loops
	Lookups                             // maps at all
	Updates                             // map_update_elem, map_delete_elem
	ValueStores                         // stores to map values
	DirectValues                        // map values addressed without a lookup
	LRU                                 // LRU hash maps, never full
	LPM                                 // longest prefix match
	PerCPU                              // per-CPU maps
	AdjustHead                          // bpf_xdp_adjust_head
	AdjustTail                          // bpf_xdp_adjust_tail, shrinking
	Checksums                           // bpf_csum_diff
	Redirect                            // bpf_redirect, bpf_redirect_map
	TailCalls                           // bpf_tail_call
	PerfOutput                          // bpf_perf_event_output
	Clock                               // ktime_get_ns, get_prandom_u32, get_smp_processor_id
	ClassicLoads                        // LD_ABS and LD_IND, in tc programs
	TC                                  // tc programs at all
	VariableStack                       // stack at variable offsets
	UnalignedStack                      // beyond the kernel: stack access off its natural boundary
	numFeatures             = iota
	// AllFeatures is the set that all engines but the kernel must support.
	AllFeatures Features = 1<<numFeatures - 1
	// KernelFeatures is the set that the kernel's verifier accepts too.
	KernelFeatures = AllFeatures &^ UnalignedStack
)

// has reports whether f includes all of want.
func (f Features) has(want Features) bool { return f&want == want }
