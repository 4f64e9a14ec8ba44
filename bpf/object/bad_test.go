package object_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestBad reads the files of testdata/bad, and compares the reason for which
// each is refused with the one that its first line gives.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("../../testdata/bad/*.bpf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, _, ok := strings.Cut(strings.TrimPrefix(string(src), "; REASON "), ":")
		if !ok {
			t.Fatalf("%s: first line gives no reason", path)
		}
		if got := refusal(t, path); got != want {
			t.Errorf("%s: refused for %q, want %s", path, got, want)
		}
	}
	if got := refusal(t, "../../testdata/bad/cut.o"); got != "truncated-object" {
		t.Errorf("cut.o: refused for %q", got)
	}
}

// refusal returns the first reason for which a file is refused, and checks that
// the error is one line that names the file.
func refusal(t *testing.T, path string) string {
	t.Helper()
	reason := ""
	o, err := object.Load(path, nil)
	if err == nil {
		c, cerr := o.Code("")
		if err = cerr; err == nil {
			_, err = verify.Verify(c, nil)
			var r *verify.Rejection
			if errors.As(err, &r) {
				return r.Reasons[0].Reason
			}
			return ""
		}
	}
	if s := err.Error(); strings.Contains(s, "\n") || !strings.HasPrefix(s, path) {
		t.Errorf("error %q", s)
	}
	var oe *object.Error
	var fe *object.FaultError
	switch {
	case errors.As(err, &oe):
		reason = oe.Reason
	case errors.As(err, &fe):
		reason = fe.Faults[0].Reason
	}
	return reason
}
