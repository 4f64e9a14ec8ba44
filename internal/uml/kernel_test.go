package uml

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kernel is the guest kernel, built once per machine.
func kernel(t testing.TB) string {
	t.Helper()
	path, err := Build(context.Background(), func(line string) { t.Log(line) })
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("the guest kernel cannot be had: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEditNamesWhatItMisses(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "f.c"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e := edit{"f.c", "shift 24", "shift 28"}
	write("a\nshift 24\nb\n")
	if err := e.apply(dir); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "f.c")); string(got) != "a\nshift 28\nb\n" {
		t.Errorf("edited text is %q", got)
	}
	for text, want := range map[string]string{"shift 23": "0 times", "shift 24 shift 24": "2 times"} {
		write(text)
		if err := e.apply(dir); err == nil || !strings.Contains(err.Error(), "f.c") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with f.c and %q", text, err, want)
		}
	}
}

func TestBuildKernel(t *testing.T) {
	path := kernel(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 32<<20 {
		t.Errorf("the kernel has %d bytes, expected about 9 MB", info.Size())
	}
}
