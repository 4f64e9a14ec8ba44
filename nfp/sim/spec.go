package sim

import "github.com/nfpkit/nfpkit/nfp"

// Spec is constant during a run: the card, with its times in engine cycles, and
// whether breaches of the engines' rules are faults.
type Spec struct {
	nfp.Model

	// Lax ignores breaches that on real silicon show only as a wrong value, which
	// are faults otherwise. They are the use of carry after a logic operation, of
	// a transfer register before its signal, and of a multiplier group torn
	// apart.
	Lax bool
	// Seed chooses the garbage that registers and local memory start with, and the
	// pseudo-random numbers.
	Seed uint64
	// Island and Engine are the numbers that status registers show.
	Island, Engine int
}

// NewSpec is the spec of a card, with strict rules.
func NewSpec(m *nfp.Model) *Spec { return &Spec{Model: *m, Seed: 1} }

// NFP4000 is the spec of an Agilio CX 2x40, nfp.DefaultModel.
func NFP4000() *Spec {
	m, err := nfp.ModelByName("")
	if err != nil {
		panic(err) // the default is in the table
	}
	return NewSpec(m)
}
