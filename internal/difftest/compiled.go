package difftest

import (
	"errors"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

type engines struct{}

func newEngines() (*engines, error) { return &engines{}, nil }

func (w *worker) compiled(p *Program, f *verify.Facts, want *Result, note func(string, *Mismatch, error)) {
}

// verify asks our verifier; nil means no.
func (w *worker) verify(p *Program, c *code.Code) *verify.Facts {
	f, err := verify.Verify(c, nil)
	var no *verify.Rejection
	switch {
	case errors.As(err, &no):
		w.sum.refuse("verify", no.Reasons[0].Reason)
		return nil
	case err != nil:
		w.sum.refuse("verify", err.Error())
		return nil
	}
	return f
}
