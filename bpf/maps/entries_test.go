package maps

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func BenchmarkEntries(b *testing.B) {
	const n = 10_000
	count := &btf.Struct{Name: "count", Size: 16, Members: []btf.Member{{Name: "packets", Type: u64}, {Name: "bytes", Type: u64, Offset: 64}}}
	c := NewCodec(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 16, MaxEntries: n, Key: u32, Value: count}, 1)
	for form, name := range []string{"own", "json", "plain"} {
		var text []byte
		for i := range n {
			text = append(c.Append(text, Entry{le(4, uint64(i)), append(le(8, uint64(i)*3), make([]byte, 8)...)}, Form(form)), '\n')
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range c.Entries(strings.NewReader(string(text))) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
		})
	}
}
