package verify_test

import (
	"path/filepath"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestExamples checks that every program of examples/ is accepted without warnings.
func TestExamples(t *testing.T) {
	files, _ := filepath.Glob("../../examples/*.o")
	if len(files) == 0 {
		t.Fatal("no examples")
	}
	for _, name := range files {
		f, err := object.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, prog := range f.Spec.Programs {
			c, faults := code.New(prog, f.Spec.Maps)
			if len(faults) > 0 {
				t.Errorf("%s: %v", name, faults[0])
				continue
			}
			facts, err := verify.Verify(c, nil)
			if err != nil {
				t.Errorf("%s: %+v", name, err)
				continue
			}
			for _, w := range facts.Warnings {
				t.Errorf("%s: pc %d: %s", name, w.PC, w.Message)
			}
		}
	}
}
