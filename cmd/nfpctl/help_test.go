package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nfpkit/nfpkit/internal/runbook"
	"github.com/nfpkit/nfpkit/offload"
)

// verbs returns the commands of nfpctl that do something, by their words.
func verbs() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasSubCommands() && !c.Hidden && c.Name() != "help" {
			all[verb(c)] = c
		}
	}
	walk(newRoot(&env{}))
	return all
}

// Each verb's help has a summary, says what the arguments and flags are, and has an example.
func TestHelp(t *testing.T) {
	for name, c := range verbs() {
		if c.Short == "" || c.Long == "" || c.Example == "" || len(c.Short) > 85 {
			t.Errorf("%s: summary %q of at most 85 bytes, description of %d bytes, example %q", name, c.Short, len(c.Long), c.Example)
		}
		text := newRoot(&env{}).Long + c.Long + c.Flags().FlagUsages()
		for _, word := range regexp.MustCompile(`\b[A-Z][A-Z]+\b`).FindAllString(c.Use, -1) {
			if !strings.Contains(text, word) {
				t.Errorf("%s: the help does not say what %s is", name, word)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			value, usage := pflag.UnquoteUsage(f)
			if usage == "" || value != strings.ToUpper(value) && f.Value.Type() != "bool" {
				t.Errorf("%s --%s %s: %q: the value is not named, or not described", name, f.Name, value, usage)
			}
		})
	}
}

// Verbs in an order in which their examples can be typed one after the other.
var exampleOrder = []string{
	"doctor", "feature probe", "prog load", "prog reload", "prog show", "prog dump", "status", "net show",
	"map show", "map update", "map dump", "map lookup", "map delete", "map create", "map unpin",
	"watch", "apply", "journal check", "journal export", "journal rebuild", "explain",
	"net attach", "net detach", "map event_pipe", "prog unload",
}

// The examples of all verbs can be typed, on a card with ports nfp0 and nfp1, in the
// directory of the examples.
func TestHelpExamples(t *testing.T) {
	all := verbs()
	for name := range all {
		if !slices.Contains(exampleOrder, name) {
			t.Errorf("%s is not in exampleOrder", name)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	events, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := runbook.Parse(string(events))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, steps[0].Args[0]), steps[0].Text) // dumper.bpf, whose map is packets
	t.Chdir(dir)
	b, err := newBed(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range exampleOrder {
		switch name { // what was done before
		case "net attach":
			b.ok(t, "prog", "unload", "stats") // frees nfp1
		case "map event_pipe":
			b.ok(t, "prog", "load", "dumper.bpf", "dump", "dev", "nfp1")
		}
		for line := range strings.Lines(all[name].Example) {
			line = strings.TrimSpace(line)
			args, err := runbook.Split(line)
			if err != nil || args[0] != "nfpctl" {
				t.Fatalf("%s: %v", line, err)
			}
			var out, errs bytes.Buffer
			code := exitDone
			if name == "watch" || name == "map event_pipe" {
				code = b.interrupted(t, args[1:], &errs)
			} else {
				code = b.nfpctl(args[1:], strings.NewReader(""), &out, &errs)
			}
			if code != exitDone {
				t.Errorf("%s: exit status %d: %s%s", line, code, &out, &errs)
			}
		}
	}
}

// interrupted runs a command that goes on, and interrupts it after its first line.
func (b *bed) interrupted(t *testing.T, args []string, errs io.Writer) int {
	t.Helper()
	k := b.card.Open()
	defer k.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i := range args {
		args[i] = strings.Replace(args[i], ":9464", ":0", 1) // no port of the host is fixed in a test
	}
	args = append([]string{"--journal", filepath.Join(b.dir, "state", "journal.db")}, args...)
	first := writerFunc(func(p []byte) (int, error) { stop(); return errs.Write(p) })
	return runContext(ctx, func(string) (offload.Kernel, error) { return k, nil }, args, strings.NewReader(""), io.Discard, first)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
