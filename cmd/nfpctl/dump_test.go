package main

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/offload"
)

// entries is a map of so many entries whose dump costs nothing: what is measured is the
// printing. Nothing else of it is asked for.
type entries struct {
	offload.Map
	n int
}

func (e entries) Dump(yield func(key, value []byte) bool) error {
	key, value := make([]byte, 4), make([]byte, 16)
	for i := range e.n {
		binary.NativeEndian.PutUint32(key, uint32(i))
		binary.NativeEndian.PutUint64(value, uint64(i)*3)
		if !yield(key, value) {
			break
		}
	}
	return nil
}

func BenchmarkDump(b *testing.B) {
	const n = 10_000
	u32, u64 := &btf.Int{Name: "unsigned int", Size: 4}, &btf.Int{Name: "unsigned long", Size: 8}
	count := &btf.Struct{Name: "count", Size: 16, Members: []btf.Member{{Name: "packets", Type: u64}, {Name: "bytes", Type: u64, Offset: 64}}}
	for _, bench := range []struct {
		name       string
		key, value btf.Type
		asJSON     bool
	}{
		{"bytes", nil, nil, false}, {"typed", u32, count, false},
		{"json", nil, nil, true}, {"typed json", u32, count, true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			spec := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 16, Key: bench.key, Value: bench.value}
			m := &opened{Map: entries{n: n}, codec: maps.NewCodec(spec, 1)}
			for b.Loop() {
				if got, err := dump(io.Discard, m, bench.asJSON); err != nil || got != n {
					b.Fatalf("%d entries, %v", got, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
		})
	}
}
