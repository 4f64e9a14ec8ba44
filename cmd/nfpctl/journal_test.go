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

// What journal check and the doctor print of a damaged journal; the others print nothing.
const (
	checked = `journal ...: journal-damaged
copy: whole, version 3, write 5 of ..., deployments: edge
`
	doctored = `port nfp0:
ok      port                  up, card 0000:01:00.0, mtu 1500
ok      driver                nfp
ok      firmware application  0.0.5.0 0.31 simulated ebpf
ok      capability            a program of 16 bytes was translated to 10 words
ok      map                   an array of one element was created
ok      attachment            xdpoffload program 3
port nfp1:
ok      port                  up, card 0000:01:00.0, mtu 1500
ok      driver                nfp
ok      firmware application  0.0.5.0 0.31 simulated ebpf
ok      capability            a program of 16 bytes was translated to 10 words
ok      map                   an array of one element was created
ok      attachment            no program
machine:
broken  journal               REASON
        cure: nfpctl journal check says more; nfpctl journal rebuild restores it from its copy and from what the kernel runs

first broken link: journal: REASON
`
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
		reason := ""
		for _, line := range needsJournal {
			args := strings.Fields(line)
			for i, a := range args {
				if a == "saved" || strings.HasSuffix(a, ".yaml") || strings.HasSuffix(a, ".bpf") {
					args[i] = filepath.Join(dir, a)
				}
			}
			var stdout, stderr bytes.Buffer
			if code := b.nfpctl(args, nil, &stdout, &stderr); code != exitNo {
				t.Errorf("damage %d: nfpctl %s: exit status %d, want %d", i, line, code, exitNo)
			}
			if reason == "" { // the first command's error is that of all
				reason = strings.TrimSuffix(strings.TrimPrefix(stderr.String(), "nfpctl: "), "\n")
				if !strings.HasPrefix(reason, "read journal "+journal+": ") || !strings.HasSuffix(reason, " (journal-damaged)") || strings.Contains(reason, "\n") {
					t.Fatalf("damage %d: %s", i, reason)
				}
			}
			out, errs := "", "nfpctl: "+reason+"\n"
			switch line {
			case "journal check":
				out = checked
			case "doctor --probe=false":
				out, errs = strings.ReplaceAll(doctored, "REASON", reason), ""
			}
			shows(t, stdout.String(), strings.Split(out, "\n")[:strings.Count(out, "\n")]...)
			if stderr.String() != errs {
				t.Errorf("damage %d: nfpctl %s: says %s, want %s", i, line, &stderr, errs)
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
