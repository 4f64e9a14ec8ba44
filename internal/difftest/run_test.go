package difftest

import (
	"os"
	"strconv"
	"testing"
)

// Random programs: all engines agree. NFPKIT_DIFF_N and NFPKIT_DIFF_SEED choose
// others, and more, than the ordinary run's.
func TestRandomPrograms(t *testing.T) {
	cfg := Config{N: 1000, Seed: 1, Kernel: true}
	if err := Permitted(); err != nil {
		t.Logf("suite: kernel not compared: %v", err)
		cfg.Kernel = false
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
	if len(sum.Differences) > 0 {
		t.Errorf("%d differences", len(sum.Differences))
	}
}
