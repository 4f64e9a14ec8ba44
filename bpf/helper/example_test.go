package helper_test

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// A prototype describes a helper's arguments, result and permitted program types.
func ExampleByName() {
	p, ok := helper.ByName("bpf_map_lookup_elem")
	fmt.Println(ok, p.ID)
	fmt.Println(p.Args[0] == helper.ArgConstMap, p.Args[1] == helper.ArgMapKey, p.Ret == helper.RetMapValueOrNull)

	p, _ = helper.ByName("skb_store_bytes")
	fmt.Println(p.Allows(ebpf.SchedCLS), p.Allows(ebpf.XDP))
	// Output:
	// true FnMapLookupElem
	// true true true
	// true false
}

// A context describes which fields a program may load and store.
func ExampleCtx_Access() {
	ctx, _ := helper.Context(ebpf.XDP)
	f, ok := ctx.Access(0, 4, false)
	fmt.Println(f.Name, ok, f.Kind == helper.FieldPacket)
	_, ok = ctx.Access(0, 4, true) // the packet pointer is read-only
	fmt.Println(ok)
	// Output:
	// data true true
	// false
}

func ExampleMapTypeByName() {
	m, ok := helper.MapTypeByName("lpm_trie")
	fmt.Println(m.Type, ok)
	fmt.Println(m.Key == helper.KeyPrefix, m.NoPrealloc)
	// Output:
	// LPMTrie true
	// true true
}
