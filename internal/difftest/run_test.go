package difftest

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
)

// Random programs: all engines agree. NFPKIT_DIFF_N and NFPKIT_DIFF_SEED choose
// others, and more, than the ordinary run's share of those of `make soak`.
func TestRandomPrograms(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // short-lived garbage is most of what there is
	cfg := Config{N: 5_000, Seed: 1, Kernel: true}
	if err := Permitted(); err != nil {
		t.Logf("suite: kernel not compared: %v", err)
		cfg.Kernel = false
	}
	if testing.Short() {
		cfg.N = 500
	}
	if n, err := strconv.Atoi(os.Getenv("NFPKIT_DIFF_N")); err == nil {
		cfg.N = n
	}
	if seed, err := strconv.ParseUint(os.Getenv("NFPKIT_DIFF_SEED"), 0, 64); err == nil {
		cfg.Seed = seed
	}
	sum, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", sum)
	t.Logf("suite: %d random programs, %d packets, %d differences, compared: %v", sum.Programs, sum.Packets, len(sum.Differences), sum.Compared)
	for i, d := range sum.Differences {
		t.Error(d)
		if i >= 3 {
			continue
		}
		data, err := Reduce(d, cfg.Kernel)
		if err != nil {
			t.Log(err)
			continue
		}
		// As go test's fuzzing does, the failing input becomes a test.
		name := fmt.Sprintf("testdata/fixed/seed-%d.txtar", d.Seed)
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Error(err)
		}
		t.Logf("reduced to %s:\n%s", name, data)
	}
}
