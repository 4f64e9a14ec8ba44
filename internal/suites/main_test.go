package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stream is what go test prints of two packages, all well; a third has no tests.
const stream = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestOne"}
{"Action":"output","Package":"m/a","Test":"TestOne","Output":"    a_test.go:9: suite: 12 things compared\n"}
{"Action":"pass","Package":"m/a","Test":"TestOne","Elapsed":0.1}
{"Action":"run","Package":"m/a","Test":"TestTwo"}
{"Action":"output","Package":"m/a","Test":"TestTwo","Output":"    a_test.go:20: no such card\n"}
{"Action":"skip","Package":"m/a","Test":"TestTwo","Elapsed":0}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.2s\n"}
{"Action":"pass","Package":"m/a","Elapsed":0.2}
{"Action":"start","Package":"m/none"}
{"Action":"output","Package":"m/none","Output":"?   \tm/none\t[no test files]\n"}
{"Action":"skip","Package":"m/none","Elapsed":0}
{"Action":"start","Package":"m/b"}
{"Action":"run","Package":"m/b","Test":"TestThree"}
{"Action":"pass","Package":"m/b","Test":"TestThree","Elapsed":0.1}
{"Action":"pass","Package":"m/b","Elapsed":0.1}
`

const packages = "m/a 1 0\nm/b 0 2\nm/none 0 0\n"

// fakeGo is a go command that prints list for `go list`, and for `go test` a stream
// before it runs a script.
func fakeGo(t *testing.T, list, stream, script string) *run {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("list", list, 0o644)
	write("stream", stream, 0o644)
	path := write("go", "#!/bin/sh\ncase $1 in\nlist) cat "+dir+"/list;;\ntest) cat "+dir+"/stream\n"+script+";;\nesac\n", 0o755)
	return &run{goCommand: path, flags: []string{"-timeout", "1m"}, patterns: []string{"./..."}, err: os.Stderr}
}

// closing matches the last line, from which CI reads the result.
var closing = regexp.MustCompile(`(?m)^\d+ passed, \d+ failed, \d+ skipped\n\z`)

func TestRuns(t *testing.T) {
	without := func(line string) string { return strings.Replace(stream, line, "", 1) }
	const endOfB = `{"Action":"pass","Package":"m/b","Elapsed":0.1}` + "\n"
	const endOfThree = `{"Action":"pass","Package":"m/b","Test":"TestThree","Elapsed":0.1}` + "\n"
	for name, test := range map[string]struct {
		list, stream, script string
		good                 bool
		says                 string
	}{
		"all well":                   {packages, stream, "exit 0", true, "2 passed, 0 failed, 1 skipped"},
		"a skip has its reason":      {packages, stream, "exit 0", true, "    skipped TestTwo: no such card\n"},
		"a note is shown":            {packages, stream, "exit 0", true, "    12 things compared\n"},
		"go is killed":               {packages, stream, "kill -9 $$", false, "FAILED: go test was killed: signal: killed\n2 passed, 1 failed"},
		"go is killed early":         {packages, stream[:strings.Index(stream, endOfThree)], "kill -9 $$", false, "FAILED m/b TestThree\n"},
		"go is killed at once":       {packages, "", "kill -9 $$", false, "FAILED: go test was killed"},
		"go fails, no test does":     {packages, stream, "exit 1", false, "FAILED: go test: exit status 1\n"},
		"go does not know a flag":    {packages, "", "exit 2", false, "FAILED: go test: exit status 2\n"},
		"a test fails":               {packages, strings.ReplaceAll(stream, `"pass","Package":"m/b"`, `"fail","Package":"m/b"`), "exit 1", false, "FAILED m/b TestThree\n1 passed, 1 failed, 1 skipped"},
		"a binary is killed":         {packages, strings.Replace(without(endOfThree), `"pass","Package":"m/b"`, `"fail","Package":"m/b"`, 1), "exit 1", false, "TestThree\n        the test started and did not end\n"},
		"the stream is empty":        {packages, "", "exit 0", false, "the package did not end"},
		"the stream is cut":          {packages, without(endOfB), "exit 0", false, "FAILED m/b\n"},
		"a line is cut":              {packages, stream + `{"Action":"pa`, "exit 0", false, `FAILED: go test printed a line that is no event: {"Action":"pa`},
		"a line is no event":         {packages, stream + "{}\nnull\n", "exit 0", false, "FAILED: go test printed a line that is no event: null\n"},
		"a package was not tested":   {packages + "m/c 1 0\n", stream, "exit 0", false, "FAILED m/c\n"},
		"a test did not end":         {packages, without(endOfThree), "exit 0", false, "FAILED m/b TestThree\n"},
		"a package runs no test":     {strings.Replace(packages, "m/none 0", "m/none 1", 1), stream, "exit 0", false, "the package has test files, and no test ran\n"},
		"a package cannot be built":  {packages, `{"Action":"build-output","ImportPath":"m/b","Output":"b.go:1: no such thing\n"}` + "\n" + stream, "exit 1", false, "build m/b:\nb.go:1: no such thing\n"},
		"no package":                 {"", "", "exit 0", false, "FAILED: go list names no package\n"},
		"go list is odd":             {"go: warning\n", "", "exit 0", false, "FAILED: go list printed \"go: warning\""},
		"there are no tests at all":  {"m/none 0 0\n", `{"Action":"skip","Package":"m/none"}`, "exit 0", false, "FAILED: no test ran\n"},
		"there is no go":             {packages, stream, "exit 127", false, "FAILED: go test: exit status 127\n"},
		"a child outlives go":        {packages, stream, "sleep 9 & kill -9 $$", false, "FAILED: go test was killed"},
		"much is no event, in short": {packages, stream + strings.Repeat("x\n", 50), "exit 0", false, "FAILED: and 30 more such lines\n2 passed, 21 failed, 1 skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			r := fakeGo(t, test.list, test.stream, test.script)
			r.out = &out
			if good := r.do(t.Context()); good != test.good {
				t.Errorf("good is %v, want %v", good, test.good)
			}
			if !strings.Contains(out.String(), test.says) {
				t.Errorf("it lacks %q", test.says)
			}
			if !closing.Match(out.Bytes()) {
				t.Error("the last line is not that of the counts")
			}
			if t.Failed() {
				t.Logf("it said:\n%s", &out)
			}
		})
	}
}

// TestCutStreams checks that a truncated stream is never good.
func TestCutStreams(t *testing.T) {
	judge := func(text string) (bool, string) {
		var out bytes.Buffer
		s := newSummary(&out)
		s.expect("m/a", true)
		s.expect("m/b", true)
		s.expect("m/none", false)
		err := s.read(strings.NewReader(text))
		s.exit(err)
		return s.end(), out.String()
	}
	if good, said := judge(stream); !good {
		t.Fatalf("the whole stream is not good:\n%s", said)
	}
	whole := strings.TrimRight(stream, "\n")
	for n := range whole {
		if good, said := judge(whole[:n]); good || !closing.MatchString(said) {
			t.Fatalf("the first %d bytes are good, or lack the counts:\n%s", n, said)
		}
	}
}

func TestFilters(t *testing.T) {
	for flag, want := range map[string]bool{"-run=X": true, "--run": true, "-test.run=X": true, "-timeout": false, "40m": false, "-count=1": false, "-race": false} {
		if filters(flag) != want {
			t.Errorf("%s: %v, want %v", flag, !want, want)
		}
	}
}

// TestKilledForReal runs go itself, with tests that kill their parent.
func TestKilledForReal(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module m\n\ngo 1.26\n",
		"a/a_test.go":      "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n",
		"self/s_test.go":   "package s\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestSelf(t *testing.T) {\n\tp, _ := os.FindProcess(os.Getpid())\n\tp.Kill()\n\tselect {}\n}\n",
		"parent/p_test.go": "package p\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestParent(t *testing.T) {\n\tp, _ := os.FindProcess(os.Getppid())\n\tp.Kill()\n}\n",
		"none/n_test.go":   "package n\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestMain(m *testing.M) { os.Exit(0) }\n\nfunc TestNone(t *testing.T) {}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	goCommand, err := exec.LookPath("go")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("go is not in PATH")
	}
	for pattern, says := range map[string]string{
		"./a":      "1 passed, 0 failed, 0 skipped",
		"./self":   "FAILED m/self TestSelf\n0 passed, 1 failed",
		"./parent": "FAILED: go test was killed: signal: killed\n",
		"./none":   "the package has test files, and no test ran\n",
	} {
		t.Run(pattern[2:], func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			wrapper := fakeGo(t, "", "", "")
			text := "#!/bin/sh\ncd " + dir + " && exec " + goCommand + " \"$@\"\n"
			if err := os.WriteFile(wrapper.goCommand, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			wrapper.patterns, wrapper.out = []string{pattern}, &out
			if good := wrapper.do(t.Context()); good != (pattern == "./a") || !strings.Contains(out.String(), says) {
				t.Errorf("good is %v; it lacks %q:\n%s", good, says, &out)
			}
		})
	}
}
