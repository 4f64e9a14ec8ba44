package nfp

import (
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
)

// TestManual keeps docs/isa.md current.
func TestManual(t *testing.T) {
	golden.File(t, "../docs/isa.md", Manual())
}
