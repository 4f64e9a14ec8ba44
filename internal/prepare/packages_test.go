package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// scripts/packages on a machine whose id, dpkg-query, apt-get and sleep are ours.
func TestPackages(t *testing.T) {
	const locked = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt)"
	for name, test := range map[string]struct {
		uid, ci  string
		missing  []string
		apt      string // what apt-get does before it installs: a script that may exit
		exit     int
		says     []string
		saysNone bool
	}{
		"all there":               {uid: "0", ci: "true", saysNone: true},
		"one is installed":        {uid: "0", ci: "true", missing: []string{"z3"}, says: []string{"installing z3"}},
		"the lists are locked":    {uid: "0", ci: "true", missing: []string{"z3"}, apt: `[ -e $D/again ] || { touch $D/again; echo "` + locked + `"; exit 100; }`, says: []string{"locked by another process; try 1 of 6"}},
		"locked for ever":         {uid: "0", missing: []string{"z3"}, apt: `echo "` + locked + `"; exit 100`, says: []string{"try 6 of 6", "z3: E: Could not get lock", "z3 is missing (proves the rewrite rules of the compiler); tests that need it skip"}},
		"locked for ever in CI":   {uid: "0", ci: "true", missing: []string{"z3"}, apt: `echo "` + locked + `"; exit 100`, exit: 1, says: []string{"CI=true, so that is a failure"}},
		"one of two, in CI":       {uid: "0", ci: "true", missing: []string{"bc", "z3"}, apt: `case "$*" in *z3*) echo "E: Unable to locate package z3"; exit 100;; esac`, exit: 1, says: []string{"z3: E: Unable to locate package z3", "z3 is missing"}},
		"one of two":              {uid: "0", missing: []string{"bc", "z3"}, apt: `case "$*" in *z3*) echo "E: Unable to locate package z3"; exit 100;; esac`, says: []string{"z3 is missing"}},
		"apt-get installs not":    {uid: "0", ci: "true", missing: []string{"z3"}, apt: "exit 0", exit: 1, says: []string{"z3 is missing"}},
		"not root":                {uid: "1000", missing: []string{"bc", "z3"}, says: []string{"apt-get install bc z3", "bc is missing"}},
		"not root, in CI":         {uid: "1000", ci: "true", missing: []string{"bc"}, exit: 1, says: []string{"CI=true"}},
		"an update that does not": {uid: "0", ci: "true", missing: []string{"z3"}, apt: `case "$*" in *update*) echo "E: no network"; exit 100;; esac`, says: []string{"old lists: E: no network"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, p := range test.missing {
				if err := os.WriteFile(filepath.Join(dir, "missing-"+p), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for tool, text := range map[string]string{
				"id":         "echo " + test.uid,
				"sleep":      ":",
				"dpkg-query": `for p; do :; done; [ -e $D/missing-$p ] || echo installed`,
				"apt-get":    test.apt + "\n" + `case "$*" in *install*) for p; do rm -f $D/missing-$p; done;; esac`,
			} {
				if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c := exec.Command("../../scripts/packages")
			c.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "D=" + dir, "CI=" + test.ci}
			out, err := c.CombinedOutput()
			exit := new(exec.ExitError)
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := c.ProcessState.ExitCode(); code != test.exit {
				t.Errorf("exit status %d, want %d", code, test.exit)
			}
			for _, want := range test.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("it lacks %q", want)
				}
			}
			if test.saysNone && len(out) > 0 {
				t.Error("it says something")
			}
			if t.Failed() {
				t.Logf("it said:\n%s", out)
			}
		})
	}
}
