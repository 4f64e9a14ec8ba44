// Command suites runs `go test` on packages and prints one line per package: the
// numbers of tests that passed, failed and were skipped, and the reason of each skip.
// A failing test's output follows its package's line, and the names of all failed
// tests come last.
//
// A run is good only if go test exits with status 0 and all of these hold: Each
// package that go list names has ended, each test that started has ended, and each
// package with test files ran a test. So a run that was killed, or whose output was
// truncated, fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	r := run{out: os.Stdout, err: os.Stderr}
	flag.StringVar(&r.goCommand, "go", "go", "the go `command`")
	flags := flag.String("flags", "", "`flags` of go test")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: suites [--go COMMAND] [--flags FLAGS] PACKAGE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	r.flags, r.patterns = strings.Fields(*flags), flag.Args()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	good := r.do(ctx)
	stop()
	if !good {
		os.Exit(1)
	}
}

// run is one run of go test.
type run struct {
	goCommand       string
	flags, patterns []string
	out, err        io.Writer
}

// do runs the tests and reports whether the run was good.
func (r *run) do(ctx context.Context) bool {
	s := newSummary(r.out)
	s.filtered = slices.ContainsFunc(r.flags, filters)
	listed, err := r.list(ctx)
	if err != nil {
		s.fault("%v", err)
		return s.end()
	}
	for _, l := range listed {
		s.expect(l.path, l.hasTests)
	}
	c := exec.CommandContext(ctx, r.goCommand, slices.Concat([]string{"test", "-json"}, r.flags, r.patterns)...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 5 * time.Second // a process that outlives go may hold the pipe
	events, w := io.Pipe()
	c.Stdout, c.Stderr = w, r.err
	read := make(chan error)
	go func() {
		err := s.read(events)
		_, _ = io.Copy(io.Discard, events) // go must not wait for a reader that gave up
		read <- err
	}()
	err = c.Run()
	w.Close()
	if err := <-read; err != nil {
		s.fault("the output of go test: %v", err)
	}
	s.exit(err)
	return s.end()
}

// filters reports whether a flag of go test may leave a package without tests to run.
func filters(flag string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
	return slices.Contains([]string{"run", "skip", "list", "bench", "fuzz", "short"}, strings.TrimPrefix(name, "test."))
}

// listed is a package that go list names.
type listed struct {
	path     string
	hasTests bool
}

// list returns the packages that must end in a good run.
func (r *run) list(ctx context.Context) ([]listed, error) {
	const form = "{{.ImportPath}} {{len .TestGoFiles}} {{len .XTestGoFiles}}"
	c := exec.CommandContext(ctx, r.goCommand, append([]string{"list", "-f", form}, r.patterns...)...)
	c.Stderr = r.err
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", strings.Join(r.patterns, " "), err)
	}
	var all []listed
	for line := range strings.Lines(string(out)) {
		var path string
		var inside, outside int
		if _, err := fmt.Sscan(line, &path, &inside, &outside); err != nil {
			return nil, fmt.Errorf("go list printed %q: %w", strings.TrimSpace(line), err)
		}
		all = append(all, listed{path, inside+outside > 0})
	}
	if len(all) == 0 {
		return nil, errors.New("go list names no package")
	}
	return all, nil
}
