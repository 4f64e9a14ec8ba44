package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// needsJournal are commands that must not go on without a journal that is whole. Those of
// noJournal need none.
var (
	needsJournal = []string{
		"status", "watch", "apply -f none.yaml", "apply -f none.yaml --prune", "apply -f none.yaml --dry-run",
		"prog show", "prog show id 3", "prog load pass.bpf new dev nfp1 --bench=false", "prog reload pass.bpf edge --bench=false", "prog unload edge", "prog dump xlated name edge", "prog dump jited name edge",
		"net show", "net attach xdpoffload name edge dev nfp1", "net detach xdpoffload dev nfp0",
		"map show", "map dump name blocked", "map lookup name blocked key 1", "map update name blocked key 1 value 1", "map delete name blocked key 1",
		"journal check", "journal export saved", "doctor --probe=false",
	}
	noJournal = []string{"feature probe", "journal rebuild", "explain", "man", "completion", "help", "map create", "map getnext", "map unpin", "map pin", "map event_pipe"}
)

// Every command ends with the reason and exit status 1, whatever happened to the journal, and
// changes nothing on the card.
func TestCommandsRefuseDamagedJournals(t *testing.T) {
	dir := t.TempDir()
	b, err := newBed(dir)
	if err != nil {
		t.Fatal(err)
	}
	b.ok(t, "prog", "load", "../../examples/firewall.o", "edge", "dev", "nfp0", "--bench=false")
	before := b.card.Left()
	for name, text := range map[string]string{"none.yaml": "deployments: []\n", "pass.bpf": ".program xdp pass\n\tr0 = 2\n\texit\n"} {
		write(t, filepath.Join(dir, name), text)
	}
	journal := filepath.Join(dir, "state", "journal.db")
	good, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(7, 7))
	bad := [][]byte{nil, good[:len(good)/2], []byte("garbage"), make([]byte, len(good)), append(bytes.Clone(good), 0)}
	for range 4 {
		flipped := bytes.Clone(good)
		flipped[dice.IntN(len(good))] ^= 1 << dice.IntN(8)
		bad = append(bad, flipped)
	}
	for i, data := range bad {
		write(t, journal, string(data))
		for _, line := range needsJournal {
			args := strings.Fields(line)
			for i, a := range args {
				if a == "saved" || strings.HasSuffix(a, ".yaml") || strings.HasSuffix(a, ".bpf") {
					args[i] = filepath.Join(dir, a)
				}
			}
			var stdout, stderr bytes.Buffer
			code := b.nfpctl(args, nil, &stdout, &stderr)
			said := stderr.String()
			if args[0] == "doctor" {
				said = stdout.String()
			}
			if code != exitNo || !strings.Contains(said, "(journal-damaged)") || strings.Count(stderr.String(), "\n") > 1 {
				t.Errorf("damage %d: nfpctl %s: exit status %d, want %d and one line of reason journal-damaged:\n%s%s", i, line, code, exitNo, &stdout, &stderr)
			}
		}
	}
	if left := b.card.Left(); left != before {
		t.Errorf("on the card is %+v, was %+v", left, before)
	}
	b.ok(t, "journal", "rebuild")
	b.ok(t, "status")
}

// A verb that is new must say whether it needs the journal.
func TestAllCommandsAreListed(t *testing.T) {
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		for _, sub := range c.Commands() {
			walk(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
		if path == "" || len(c.Commands()) > 0 {
			return
		}
		listed := slices.ContainsFunc(append(slices.Clone(needsJournal), noJournal...), func(line string) bool {
			return line == path || strings.HasPrefix(line, path+" ") || strings.HasPrefix(path, line+" ")
		})
		if !listed {
			t.Errorf("nfpctl %s is in neither list of this file", path)
		}
	}
	walk(newRoot(&env{}), "")
}
