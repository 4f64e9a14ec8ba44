// Command suites reads `go test -json` on standard input and prints one line a
// package: how many tests passed, failed and were skipped, and each skip's
// reason. A failing test's output follows. It exits 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

func main() {
	s := newSummary()
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
	if s.print(os.Stdout) > 0 {
		os.Exit(1)
	}
}

// event is one line of test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

type suite struct {
	passed, failed, skipped int
	seconds                 float64
	output                  map[string][]string // by test; "" is the package's own
	failures                []string
	skips                   []string
	notes                   []string // lines a test marked with "suite: "
}

type summary struct {
	suites map[string]*suite
	build  map[string][]string
}

func newSummary() *summary {
	return &summary{suites: map[string]*suite{}, build: map[string][]string{}}
}

func (s *summary) suite(pkg string) *suite {
	if s.suites[pkg] == nil {
		s.suites[pkg] = &suite{output: map[string][]string{}}
	}
	return s.suites[pkg]
}

func (s *summary) read(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			fmt.Println(in.Text()) // a build error outside the JSON stream
			continue
		}
		s.add(e)
	}
	return in.Err()
}

func (s *summary) add(e event) {
	if e.Package == "" {
		s.build[e.ImportPath] = append(s.build[e.ImportPath], e.Output)
		return
	}
	p := s.suite(e.Package)
	switch e.Action {
	case "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
		if _, note, ok := strings.Cut(e.Output, "suite: "); ok {
			p.notes = append(p.notes, strings.TrimSpace(note))
		}
	case "pass":
		if e.Test != "" {
			p.passed++
			delete(p.output, e.Test)
		} else {
			p.seconds = e.Elapsed
		}
	case "skip":
		if e.Test != "" {
			p.skipped++
			p.skips = append(p.skips, e.Test+": "+reason(p.output[e.Test]))
		}
	case "fail":
		if e.Test != "" {
			p.failed++
			p.failures = append(p.failures, e.Test)
		} else {
			p.seconds = e.Elapsed
			if p.failed == 0 {
				p.failed++
				p.failures = append(p.failures, "")
			}
		}
	}
}

// reason is what the test said when it skipped: the line behind "file.go:12: ".
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

// print writes the table and returns how many tests failed.
func (s *summary) print(w io.Writer) int {
	names := make([]string, 0, len(s.suites))
	for name := range s.suites {
		names = append(names, name)
	}
	sort.Strings(names)
	var passed, failed, skipped int
	for _, name := range names {
		p := s.suites[name]
		if p.passed+p.failed+p.skipped == 0 {
			continue
		}
		passed, failed, skipped = passed+p.passed, failed+p.failed, skipped+p.skipped
		fmt.Fprintf(w, "%-28s %5d passed %3d failed %3d skipped %7.1fs\n",
			strings.TrimPrefix(name, "github.com/nfpkit/nfpkit/"), p.passed, p.failed, p.skipped, p.seconds)
		for _, n := range p.notes {
			fmt.Fprintln(w, "   ", n)
		}
		for _, skip := range p.skips {
			fmt.Fprintln(w, "    skipped", skip)
		}
		for _, f := range p.failures {
			fmt.Fprintln(w, "    FAILED", f)
			for _, line := range p.output[f] {
				fmt.Fprint(w, "        ", line)
			}
		}
	}
	for pkg, out := range s.build {
		fmt.Fprint(w, "build ", pkg, ":\n", strings.Join(out, ""))
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed
}
