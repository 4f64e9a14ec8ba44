package uml

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kernel is a guest kernel that tests boot.
type kernel struct{ version, path string }

// kernelOf returns the kernel of a version. `make test` builds it before; a test that
// has to build it prints that.
func kernelOf(t testing.TB, version string) *kernel {
	t.Helper()
	path, err := Build(context.Background(), version, func(line string) { t.Log("suite:", line) })
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("the guest kernel cannot be had: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &kernel{version, path}
}

// everyKernel runs a test on each kernel, side by side.
func everyKernel(t *testing.T, test func(*testing.T, *kernel)) {
	for _, version := range Versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, kernelOf(t, version))
		})
	}
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

func TestBuildKernel(t *testing.T) { everyKernel(t, testBuildKernel) }

func testBuildKernel(t *testing.T, k *kernel) {
	info, err := os.Stat(k.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 32<<20 {
		t.Errorf("the kernel has %d bytes, expected about 9 MB", info.Size())
	}
}

func TestBuildOfUnknownVersion(t *testing.T) {
	_, err := Build(t.Context(), "2.6", nil)
	if want := "guest kernel 2.6: there are 6.1 and 6.12"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

// The configuration of an older kernel is kernel.config without the options that
// it lacks.
func TestConfigOfVersion(t *testing.T) {
	for _, r := range releases {
		lines := strings.Split(r.config(), "\n")
		for _, line := range r.lacks {
			if !strings.Contains(fragment, line+"\n") {
				t.Errorf("%s: kernel.config has no line %s", r.version, line)
			}
		}
		if want := strings.Count(fragment, "\n") - len(r.lacks) + 1; len(lines) != want {
			t.Errorf("%s: %d lines, want %d", r.version, len(lines), want)
		}
	}
}

// fakeTools puts a fake tar, which unpacks the files that are edited, and a make that
// runs script, before the real ones in PATH.
func fakeTools(t *testing.T, script string) {
	t.Helper()
	bin, sources := t.TempDir(), t.TempDir()
	for _, e := range edits {
		path := filepath.Join(sources, e.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(path)
		if err := os.WriteFile(path, append(text, e.find...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"tar":  "echo unpacked >>" + bin + "/log; cp -r " + sources + "/. .",
		"make": "case $2 in tinyconfig) touch .config ;; olddefconfig) ;; *) echo compiled >>" + bin + "/log; " + script + " ;; esac",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("TOOLS", bin)
}

// toolLog returns the actions of the fake tools since its last call.
func toolLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.Getenv("TOOLS"), "log")
	text, _ := os.ReadFile(path)
	os.Remove(path)
	return strings.Join(strings.Fields(string(text)), " ")
}

// A killed build goes on from the objects it has; one that fails with an earlier
// build's objects starts over the next time.
func TestKilledBuildGoesOn(t *testing.T) {
	fakeTools(t, `if [ ! -e half.o ]; then touch half.o started; sleep 60; fi
if [ -e broken ]; then echo "x.c:1: error: half a file"; exit 2; fi
echo kernel >linux`)
	dir := t.TempDir()
	final := filepath.Join(dir, "uml-9-recipe")
	r := &releases[len(releases)-1]
	build := func(ctx context.Context) ([]string, error) {
		var said []string
		err := r.build(ctx, dir, final, func(line string) { said = append(said, line) })
		return said, err
	}
	for _, name := range []string{"uml.build-1", "uml.tree-" + r.version + "-old"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}

	killed := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				if started, _ := filepath.Glob(filepath.Join(dir, "*", "started")); len(started) > 0 {
					cancel()
				}
				time.Sleep(time.Millisecond)
			}
		}()
		if _, err := build(ctx); err == nil {
			t.Fatal("a build was killed and says nothing")
		}
		cancel()
	}
	killed()
	if log := toolLog(t); log != "unpacked compiled" {
		t.Errorf("the first build: %s", log)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 1 || !exists(filepath.Join(left[0], "half.o")) {
		t.Fatalf("left behind: %v, want one tree with an object", left)
	}

	broken := filepath.Join(left[0], "broken")
	if err := os.WriteFile(broken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := build(t.Context()); err == nil || !strings.Contains(err.Error(), "half a file") {
		t.Errorf("error %v, want the compiler's", err)
	}
	if log := toolLog(t); log != "compiled" || exists(left[0]) {
		t.Errorf("the second build: %s; its tree is there: %v", log, exists(left[0]))
	}

	killed()
	toolLog(t)
	said, err := build(t.Context())
	if err != nil || !exists(filepath.Join(final, "linux")) {
		t.Fatalf("%v: no kernel; it said %q", err, said)
	}
	if log := toolLog(t); log != "compiled" || !strings.Contains(said[0], "earlier build") {
		t.Errorf("the last build: %s; it said %q", log, said)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "uml.*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
