package main

import (
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nfpkit/nfpkit/internal/golden"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"nfpsim": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// unhex FROM TO writes the bytes that a text file gives as hex digits; # begins a
// comment.
func unhex(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unhex FROM TO")
	}
	var digits strings.Builder
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		text, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(text), ""))
	}
	data, err := hex.DecodeString(digits.String())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
}

// What a run measures on this machine.
var (
	measured = regexp.MustCompile(`"(seconds_wall|words_per_second)": [0-9.e+]+`)
	speed    = regexp.MustCompile(`nfpsim: [0-9.]+ s, [0-9.]+ million words a second`)
)

// settle prints again what the last command printed, with what differs from run to run
// replaced, so that a script compares whole lines: measured times become TIME, and the
// repository's directories their variables.
func settle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: settle")
	}
	settled := func(text string) string {
		for _, name := range []string{"EXAMPLES", "BAD", "KINDS", "OBJECTS", "WORK"} {
			text = strings.ReplaceAll(text, ts.Getenv(name), "$"+name)
		}
		text = speed.ReplaceAllString(text, "nfpsim: TIME s, SPEED million words a second")
		return measured.ReplaceAllString(text, `"$1": TIME`)
	}
	stdout, stderr := settled(ts.ReadFile("stdout")), settled(ts.ReadFile("stderr"))
	io.WriteString(ts.Stdout(), stdout)
	io.WriteString(ts.Stderr(), stderr)
}

// Each script is a session of a user: commands and what they print.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: golden.Updating(),
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"unhex": unhex, "settle": settle},
		Setup: func(e *testscript.Env) error {
			e.Setenv("EXAMPLES", examples)
			e.Setenv("BAD", filepath.Join(filepath.Dir(examples), "testdata", "bad"))
			e.Setenv("KINDS", filepath.Join(filepath.Dir(examples), "cmd", "nfpctl", "testdata", "maps", "kinds.o"))
			e.Setenv("PACKET", strings.Repeat("00", 64))
			e.Setenv("OBJECTS", filepath.Join(filepath.Dir(examples), "bpf", "object", "testdata"))
			return nil
		},
	})
}
