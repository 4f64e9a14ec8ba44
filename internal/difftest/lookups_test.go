package difftest

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
)

// Random programs on firmware without a lookup helper, whose one array has values
// a power of two apart; and on a card that keeps few maps, so that a key is looked
// up again. That the passes meant here find work is counted. NFPKIT_DIFF_N and
// NFPKIT_DIFF_SEED choose other programs.
func TestRandomLookups(t *testing.T) {
	array := func(value, entries uint32) []*ebpf.MapSpec {
		return []*ebpf.MapSpec{{Name: "one", Type: ebpf.Array, KeySize: 4, ValueSize: value, MaxEntries: entries}}
	}
	direct := AllFeatures &^ (Updates | DirectValues | LRU | LPM | PerCPU | Checksums | Redirect | TailCalls | PerfOutput | Clock)
	few := []*ebpf.MapSpec{
		{Name: "hash13", Type: ebpf.Hash, KeySize: 13, ValueSize: 20, MaxEntries: 8},
		{Name: "parr", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 16, MaxEntries: 3},
		{Name: "lru8", Type: ebpf.LRUHash, KeySize: 8, ValueSize: 16, MaxEntries: 4096},
	}
	for i, c := range []struct {
		firmware string
		feat     Features
		maps     []*ebpf.MapSpec
		pass     string
	}{
		{"corenic-direct", direct, array(8, 4), "array-addresses"},
		{"corenic-direct", direct, array(64, 1), "array-addresses"},
		{"corenic-direct", direct, array(4, 8), "array-addresses"},
		{"corenic-direct", direct, array(20, 2), "array-addresses"},
		{"unlimited", AllFeatures &^ (DirectValues | TailCalls | PerfOutput | Redirect), few, "redundant-lookups"},
		{"unlimited", AllFeatures &^ (DirectValues | TailCalls | PerfOutput | Redirect | Updates), few[1:], "redundant-lookups"},
	} {
		t.Run(fmt.Sprintf("%d-%s", i, c.firmware), func(t *testing.T) {
			t.Parallel()
			cfg := Config{N: 150, Seed: 1 + uint64(i)<<32, Features: c.feat, Firmware: c.firmware, Maps: c.maps, Workers: 1}
			if n, err := strconv.Atoi(os.Getenv("NFPKIT_DIFF_N")); err == nil {
				cfg.N = n
			}
			if seed, err := strconv.ParseUint(os.Getenv("NFPKIT_DIFF_SEED"), 0, 64); err == nil {
				cfg.Seed += seed
			}
			sum, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			changed := sum.Changed[c.pass]
			t.Logf("%v%d programs changed by pass %s", sum, changed, c.pass)
			for _, d := range sum.Differences {
				t.Error(d)
			}
			if changed < cfg.N/20 || sum.Compared["sim"] < cfg.N/3 {
				t.Errorf("of %d programs pass %s changed %d and %d ran on the card", cfg.N, c.pass, changed, sum.Compared["sim"])
			}
		})
	}
}
