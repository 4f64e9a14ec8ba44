package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/internal/explain"
)

// TestCures tries the cure of each reason as a user does. An archive of testdata/cures
// is named by a reason. It holds programs, and above them a session:
//
//	clang ARGUMENT...         makes the objects; so do dd and nfpsim compile
//	refused: nfpsim COMMAND   the command fails, or warns, for the reason
//	cured: nfpsim COMMAND     what the cure says was done; the command succeeds
//
// Several cured lines follow one refused line if the cure names several ways. nfpsim
// check must accept the cured program for both compilers, or for the one that --for
// names.
func TestCures(t *testing.T) {
	archives, err := filepath.Glob("testdata/cures/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal(archives, err)
	}
	include, err := filepath.Abs("../../examples/include")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CPATH", include+":/usr/include/x86_64-linux-gnu:/usr/include/aarch64-linux-gnu")
	tried := map[string]bool{}
	for _, path := range archives {
		word := strings.TrimSuffix(filepath.Base(path), ".txtar")
		tried[word] = true
		t.Run(word, func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for _, f := range ar.Files {
				if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			t.Chdir(dir)
			tryCures(t, word, string(ar.Comment))
		})
	}
	for _, e := range explain.Programs() {
		why, elsewhere := curedElsewhere[e.Reason]
		if tried[e.Reason] == elsewhere {
			t.Errorf("%s needs either testdata/cures/%s.txtar or a line of curedElsewhere (it has %q)", e.Reason, e.Reason, why)
		}
		delete(tried, e.Reason)
	}
	for word := range tried {
		t.Errorf("%s is no reason", word)
	}
}

// tryCures runs the session of one archive.
func tryCures(t *testing.T, word, session string) {
	refused, cured := 0, 0
	for line := range strings.Lines(session) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		what, command, _ := strings.Cut(line, ": nfpsim ")
		switch args := strings.Fields(command); {
		case what == "refused":
			refused++
			checkRefused(t, word, args)
		case what == "cured":
			cured++
			checkCured(t, word, args)
		case strings.HasPrefix(line, "nfpsim "):
			if stdout, stderr, code := nfpsim(strings.Fields(line)[1:]...); code != exitDone {
				t.Fatalf("%s: exit %d\n%s%s", line, code, stdout, stderr)
			}
		case strings.HasPrefix(line, "clang "), strings.HasPrefix(line, "dd "):
			makeObject(t, strings.Fields(line))
		default:
			t.Fatalf("unknown line %q", line)
		}
	}
	if refused == 0 || cured == 0 {
		t.Errorf("%d programs are refused and %d cured", refused, cured)
	}
}

// checkRefused fails the test unless the command fails for the reason, or warns of it.
func checkRefused(t *testing.T, word string, args []string) {
	t.Helper()
	stdout, stderr, code := nfpsim(args...)
	if !strings.Contains(stdout+stderr, "("+word+")") {
		t.Errorf("nfpsim %s: no %s\n%s%s", strings.Join(args, " "), word, stdout, stderr)
	}
	warning := slices.ContainsFunc(explain.Programs(), func(e explain.Row) bool { return e.Reason == word && e.Family == verify.FamilyWarning })
	if (code == exitDone) != warning {
		t.Errorf("nfpsim %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
}

// checkCured fails the test unless the command succeeds and the reason is gone.
func checkCured(t *testing.T, word string, args []string) {
	t.Helper()
	stdout, stderr, code := nfpsim(args...)
	both := args[0] == "check" && !slices.Contains(args, "--for")
	if code != exitDone || strings.Contains(stdout+stderr, "("+word+")") || both && strings.Contains(stdout, ": reject") {
		t.Errorf("nfpsim %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
}

// makeObject runs a command. Clang must be of version 14, with which the archives were
// written: another one may compile a program to instructions that have another fault, or
// none.
func makeObject(t *testing.T, command []string) {
	t.Helper()
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Skip("clang is not installed")
	}
	if !bytes.Contains(version, []byte("clang version 14.")) {
		t.Skip("clang is not of version 14")
	}
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// curedElsewhere lists the reasons whose cure cannot be tried by the commands of an
// archive, and says why.
var curedElsewhere = map[string]string{
	"empty-program":       "no file holds a program without instructions: readers of text and objects refuse it first",
	"mem-bounds":          "a program of nfpsim plugin, which runs it unverified",
	"driver-pointer-type": "driver-ctx-field refuses the load of such a pointer first",
	"map-use":             "two programs on one card: driver/testdata/maps.txtar",

	// A program that nfpsim check accepts does not fail at run time for these.
	"atomic-place":       unverified,
	"bad-address":        unverified,
	"bad-callback":       unverified,
	"bad-map":            unverified,
	"helper-unsupported": "the reference interpreter lacks the helper, whatever the program does",
	"map-operation":      unverified,
	"map-read-only":      unverified,
	"map-write-only":     unverified,
	"memory-bounds":      unverified,
	"step-limit":         unverified,
	"guard":              unverified,
	"trap":               unverified,
	"watchdog":           unverified,

	"alignment":         byHand,
	"breakpoint":        byHand,
	"carry":             byHand,
	"ctm-bounds":        byHand,
	"emem-bounds":       byHand,
	"firmware-register": byHand,
	"lm-bounds":         byHand,
	"multiply":          byHand,
	"pointer-delay":     byHand,
	"shift-amount":      byHand,
	"signal":            byHand,
	"unset":             byHand,
	"xfer-early":        byHand,
	"xfer-overwrite":    byHand,

	"link":        "the image is for another card: compile it again",
	"unsupported": "a fault of nfpkit, not of the program",
}

const (
	unverified = "only a program that was not verified comes to it"
	byHand     = "micro-engine text that was written by hand: the compiler writes none that fails so"
)
