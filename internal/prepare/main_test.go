package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/uml"
)

func TestAll(t *testing.T) {
	lacks := fmt.Errorf("%w: install the package linux-source-6.12", uml.ErrUnavailable)
	broken := errors.New("make linux: exit status 2")
	for name, test := range map[string]struct {
		errs   []error
		strict bool
		ok     bool
		said   []string
	}{
		"all there":        {[]error{nil, nil}, true, true, nil},
		"one lacks":        {[]error{lacks, nil}, false, true, []string{"install the package linux-source-6.12; tests that need it skip"}},
		"one lacks in CI":  {[]error{lacks, nil}, true, false, []string{"CI=true, so that is a failure"}},
		"one fails":        {[]error{nil, broken}, false, false, []string{"piece 1: make linux: exit status 2"}},
		"one lacks, fails": {[]error{lacks, broken}, false, false, []string{"tests that need it skip", "piece 1: make"}},
		"none is wanted":   {nil, true, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var list []piece
			for i, err := range test.errs {
				list = append(list, piece{fmt.Sprintf("piece %d", i), func(context.Context, func(string)) error { return err }})
			}
			var said []string
			if ok := all(t.Context(), list, test.strict, func(line string) { said = append(said, line) }); ok != test.ok {
				t.Errorf("ok is %v, want %v", ok, test.ok)
			}
			if len(said) != len(test.said) {
				t.Fatalf("it said %q, want %d lines", said, len(test.said))
			}
			for i, want := range test.said {
				if !strings.Contains(said[i], want) {
					t.Errorf("it said %q, want %q", said[i], want)
				}
			}
		})
	}
}

// A build that is interrupted ends the list.
func TestAllInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	built := 0
	build := func(ctx context.Context, _ func(string)) error {
		built++
		cancel()
		return ctx.Err()
	}
	if all(ctx, []piece{{"one", build}, {"two", build}}, false, func(string) {}) || built != 1 {
		t.Errorf("%d pieces were built, want one and a failure", built)
	}
}
