package bound_test

import (
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/internal/bound"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// TestBounds checks limits. Expected latencies are in packet reads and writes, helpers
// of the array kind, and map operations.
func TestBounds(t *testing.T) {
	model, err := nfp.ModelByName("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	lookup := p.Costs["lookup_array"].Issue + p.Costs["lookup_array"].Reads*model.EMEM.Read
	const data = "r6 = *(u32 *)(r1 + 0)\nr7 = *(u32 *)(r1 + 4)\nr8 = r6\nr8 += 34\nif r8 > r7 goto out\n"
	const find = "*(u32 *)(r10 - 4) = 1\nr2 = r10\nr2 += -4\nr1 = map[m]\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto out\n"
	for _, c := range []struct {
		name, text     string
		latency, issue int
	}{
		{"nothing", "r0 = 2\nexit\n", 0, 3},
		{"a read nobody waits for", data + "r3 = *(u8 *)(r6 + 12)\nout:\nr0 = 2\nexit\n", 0, 3 + 1 + 1},
		{"verdict from the packet", data + "r0 = *(u8 *)(r6 + 12)\nexit\nout:\nr0 = 2\nexit\n", model.CTM.Read, 5},
		{"two reads of one window", data + "r0 = *(u8 *)(r6 + 0)\nr3 = *(u8 *)(r6 + 20)\nr0 += r3\nexit\nout:\nr0 = 2\nexit\n", model.CTM.Read, 5},
		{"a read whose address was read", data + "r3 = *(u8 *)(r6 + 1)\nr3 &= 15\nr6 += r3\nr0 = *(u8 *)(r6 + 2)\nexit\nout:\nr0 = 2\nexit\n", 2 * model.CTM.Read, 5},
		{"a write completes before exit", data + "r3 = 5\n*(u8 *)(r6 + 3) = r3\nout:\nr0 = 2\nexit\n", model.CTM.Write, 3 + 1 + 2},
		{"writes side by side", data + "r3 = 5\n*(u16 *)(r6 + 3) = r3\n*(u16 *)(r6 + 5) = r3\n*(u8 *)(r6 + 4) = r3\nout:\nr0 = 2\nexit\n", model.CTM.Write, 3 + 1 + 2},
		{"what was stored is known", data + "r3 = 5\n*(u8 *)(r6 + 3) = r3\nr0 = *(u8 *)(r6 + 3)\nexit\nout:\nr0 = 2\nexit\n", model.CTM.Write, 6},
		{"lookup", find + "r0 = 1\nexit\nout:\nr0 = 2\nexit\n", lookup, 3 + 4 + p.Costs["lookup_array"].Issue + 1 + 1},
		{"posted addition", find + "r1 = 1\nlock *(u64 *)(r0 + 0) += r1\nout:\nr0 = 2\nexit\n", lookup, 3 + 4 + p.Costs["lookup_array"].Issue + 1 + 1 + 2},
		{"value", find + "r0 = *(u32 *)(r0 + 8)\nexit\nout:\nr0 = 2\nexit\n", lookup + model.EMEM.Read, 3 + 4 + p.Costs["lookup_array"].Issue + 1 + 1 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := asmtext.Parse("t", ".map m array key=4 value=16 entries=4\n.program xdp p\n"+c.text)
			if err != nil {
				t.Fatal(err)
			}
			prog, faults := code.New(f.Spec.Programs["p"], f.Spec.Maps)
			if len(faults) > 0 {
				t.Fatal(faults[0])
			}
			var ms []maps.Map
			for _, spec := range prog.Maps {
				m, err := maps.New(spec, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				ms = append(ms, m)
			}
			meter, err := bound.New(prog, ms, p, model)
			if err != nil {
				t.Fatal(err)
			}
			got, err := meter.Packet(make([]byte, 64))
			if err != nil {
				t.Fatal(err)
			}
			if got.Latency != c.latency || got.Issue != c.issue {
				t.Errorf("latency %d, issue %d; want %d, %d", got.Latency, got.Issue, c.latency, c.issue)
			}
		})
	}
}
