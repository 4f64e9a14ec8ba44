//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nfpkit/nfpkit/internal/runbook"
)

// verbs returns the commands of nfpsim, without those of cobra.
func verbs() []*cobra.Command {
	return slices.DeleteFunc(newRoot().Commands(), func(c *cobra.Command) bool { return c.Name() == "help" || c.Name() == "completion" })
}

// Each verb's help has a summary, says what the arguments and flags are, and has an example.
func TestHelp(t *testing.T) {
	for _, c := range verbs() {
		if c.Short == "" || c.Long == "" || c.Example == "" || len(c.Short) > 80 {
			t.Errorf("%s: summary %q of at most 80 bytes, description of %d bytes, example %q", c.Name(), c.Short, len(c.Long), c.Example)
		}
		for _, word := range regexp.MustCompile(`\b[A-Z][A-Z]+\b`).FindAllString(c.Use, -1) {
			if c.Flag(strings.ToLower(word)) == nil && !strings.Contains(c.Long, word) && !strings.Contains(c.Flags().FlagUsages(), word) {
				t.Errorf("%s: the help does not say what %s is", c.Name(), word)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			value, usage := pflag.UnquoteUsage(f)
			if usage == "" || value != strings.ToUpper(value) && f.Value.Type() != "bool" && !strings.Contains(value, ".") && !strings.Contains(value, "x") {
				t.Errorf("%s --%s %s: %q: the value is not named, or not described", c.Name(), f.Name, value, usage)
			}
		})
	}
}

// The examples of all verbs can be typed in the directory of the examples.
func TestHelpExamples(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, c := range verbs() {
		ran := 0
		for line := range strings.Lines(c.Example) {
			if runExample(t, strings.TrimSpace(line)) {
				ran++
			}
		}
		if ran == 0 {
			t.Errorf("%s: no example was run", c.Name())
		}
	}
}

// runExample runs a pipeline. It reports false for the driver's code, which needs a guest:
// TestCompareKernel runs that.
func runExample(t *testing.T, line string) bool {
	t.Helper()
	var in io.Reader = strings.NewReader("")
	for part := range strings.SplitSeq(line, " | ") {
		args, err := runbook.Split(part)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if args[0] == "echo" {
			in = strings.NewReader(strings.Join(args[1:], " ") + "\n")
			continue
		}
		if args[0] != "nfpsim" {
			t.Fatalf("%s: %s is not run here", line, args[0])
		}
		if slices.Contains(args, "--kernel") && args[1] == "compare" {
			return false
		}
		var out, errs bytes.Buffer
		code := 0
		if args[1] == "card" {
			code = interrupted(t, args[1:], &out, &errs)
		} else {
			code = run(args[1:], in, &out, &errs)
		}
		if code != exitDone {
			t.Errorf("%s: exit status %d: %s", part, code, &errs)
		}
		in = &out
	}
	return true
}
