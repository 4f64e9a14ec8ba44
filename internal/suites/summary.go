package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
)

// event is one line of test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// suite is the state of a package.
type suite struct {
	expected, hasTests      bool
	passed, failed, skipped int
	seconds                 float64
	ended                   string              // the action that ended it
	running                 map[string]bool     // tests that started and did not end
	output                  map[string][]string // by test; "" is the package's own
	failures                []string
	skips                   []string
	notes                   []string // lines a test marked with "suite: "
}

// summary gathers a run's events. Lines of packages are printed when they end.
type summary struct {
	w        io.Writer
	filtered bool // packages may run no test
	suites   map[string]*suite
	build    map[string][]string
	faults   []string // errors of the run itself
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, suites: map[string]*suite{}, build: map[string][]string{}}
}

func (s *summary) suite(pkg string) *suite {
	if s.suites[pkg] == nil {
		s.suites[pkg] = &suite{output: map[string][]string{}, running: map[string]bool{}}
	}
	return s.suites[pkg]
}

// expect records that a package must end in a good run.
func (s *summary) expect(pkg string, hasTests bool) {
	p := s.suite(pkg)
	p.expected, p.hasTests = true, hasTests
}

// fault records an error of the run itself.
func (s *summary) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// badLines is the maximum number of shown lines that are not events.
const badLines = 20

// read reads the events of a stream.
func (s *summary) read(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	bad := 0
	for in.Scan() {
		var e event
		err := json.Unmarshal(in.Bytes(), &e)
		switch {
		case err == nil && e.Action != "":
			s.add(&e)
		case bad < badLines:
			s.fault("go test printed a line that is no event: %.200s", in.Text())
			fallthrough
		default:
			bad++
		}
	}
	if bad > badLines {
		s.fault("and %d more such lines", bad-badLines)
	}
	return in.Err()
}

// add processes one event.
func (s *summary) add(e *event) {
	if e.Package == "" {
		if e.Output != "" {
			s.build[e.ImportPath] = append(s.build[e.ImportPath], e.Output)
		}
		return
	}
	p := s.suite(e.Package)
	switch e.Action {
	case "run":
		p.running[e.Test] = true
	case "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
		if _, note, ok := strings.Cut(e.Output, "suite: "); ok {
			p.notes = append(p.notes, strings.TrimSpace(note))
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			p.ended, p.seconds = e.Action, e.Elapsed
			s.close(e.Package, p)
			return
		}
		delete(p.running, e.Test)
		switch e.Action {
		case "pass":
			p.passed++
			delete(p.output, e.Test)
		case "skip":
			p.skipped++
			p.skips = append(p.skips, e.Test+": "+reason(p.output[e.Test]))
		case "fail":
			p.fail(e.Test)
		}
	}
}

// fail records that a test failed; "" is the package itself.
func (p *suite) fail(test string) {
	p.failed++
	p.failures = append(p.failures, test)
}

// close ends a package and prints it.
func (s *summary) close(name string, p *suite) {
	for _, test := range slices.Sorted(maps.Keys(p.running)) {
		p.output[test] = append(p.output[test], "the test started and did not end\n")
		p.fail(test)
	}
	clear(p.running)
	tests := p.passed + p.failed + p.skipped
	switch {
	case p.ended == "fail" && p.failed == 0:
		p.fail("")
	case p.ended == "":
		p.output[""] = append(p.output[""], "the package did not end: go test or its output was cut off\n")
		p.fail("")
	case p.hasTests && tests == 0 && !s.filtered:
		p.output[""] = append(p.output[""], "the package has test files, and no test ran\n")
		p.fail("")
	case tests == 0:
		return
	}
	fmt.Fprintf(s.w, "%-28s %5d passed %3d failed %3d skipped %7.1fs\n", short(name), p.passed, p.failed, p.skipped, p.seconds)
	for _, n := range p.notes {
		fmt.Fprintln(s.w, "   ", n)
	}
	for _, skip := range p.skips {
		fmt.Fprintln(s.w, "    skipped", skip)
	}
	for _, f := range p.failures {
		fmt.Fprintln(s.w, "    FAILED", f)
		for _, line := range p.output[f] {
			fmt.Fprint(s.w, "        ", line)
		}
	}
}

// short returns a package's path in the project.
func short(pkg string) string { return strings.TrimPrefix(pkg, "github.com/nfpkit/nfpkit/") }

// reason returns the test's message when it skipped: the text after "file.go:12: ".
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if _, msg, ok := strings.Cut(line, ": "); ok && strings.Contains(line, ".go:") {
			return msg
		}
		return line
	}
	return "no reason given"
}

// exit processes the exit status of go test. Status 1 means that a test failed.
func (s *summary) exit(err error) {
	failed := false
	for _, p := range s.suites {
		failed = failed || p.failed > 0
	}
	exit := new(exec.ExitError)
	switch {
	case err == nil || errors.As(err, &exit) && exit.ExitCode() == 1 && failed:
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		s.fault("go test was killed: %v", err)
	default:
		s.fault("go test: %v", err)
	}
}

// end prints the rest and reports whether the run was good.
func (s *summary) end() bool {
	names := slices.Sorted(maps.Keys(s.suites))
	for _, name := range names {
		if p := s.suites[name]; p.ended == "" {
			s.close(name, p)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(s.build)) {
		fmt.Fprint(s.w, "build ", pkg, ":\n", strings.Join(s.build[pkg], ""))
	}
	var passed, failed, skipped int
	for _, name := range names {
		p := s.suites[name]
		passed, failed, skipped = passed+p.passed, failed+p.failed, skipped+p.skipped
		for _, test := range p.failures {
			fmt.Fprintln(s.w, strings.TrimRight("FAILED "+short(name)+" "+test, " "))
		}
	}
	if passed+failed+skipped == 0 {
		s.fault("no test ran")
	}
	for _, f := range s.faults {
		failed++
		fmt.Fprintln(s.w, "FAILED:", f)
	}
	fmt.Fprintf(s.w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed == 0
}
