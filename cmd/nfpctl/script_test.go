package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/offload"
)

// bed is a simulated card that a script's commands work on, each as a process of its own.
type bed struct {
	card *live.Card
	dir  string
}

// nfpctl runs the command in a new process of the card.
func (b *bed) nfpctl(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	k := b.card.Open()
	defer k.Close()
	args = append([]string{"--journal", filepath.Join(b.dir, "state", "journal.db")}, args...)
	return run(func(string) (offload.Kernel, error) { return k, nil }, args, stdin, stdout, stderr)
}

func newBed(dir string) (*bed, error) {
	c, err := live.New(nil)
	return &bed{c, dir}, err
}

// TestScripts runs testdata/script: nfpctl CODE ARGS..., send PORT COUNT [HEX], unplug,
// plug, reboot, detach PORT, vanish DEPLOYMENT PORT (detached, and its pins removed), newer
// JOURNAL, microcode LISTING JSON.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: golden.Updating(),
		Setup: func(env *testscript.Env) error {
			b, err := newBed(env.WorkDir)
			env.Values["bed"] = b
			env.Setenv("EXAMPLES", examples)
			env.Setenv("OBJECTS", filepath.Join(filepath.Dir(examples), "bpf", "object", "testdata"))
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"nfpctl": func(ts *testscript.TestScript, neg bool, args []string) {
				if len(args) == 0 || neg {
					ts.Fatalf("usage: nfpctl EXIT-CODE ARGS...")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				var stdout, stderr bytes.Buffer
				for i, a := range args {
					if strings.HasSuffix(a, ".o") || strings.HasSuffix(a, ".bpf") || strings.HasSuffix(a, ".json") || strings.HasSuffix(a, ".yaml") {
						args[i] = ts.MkAbs(a)
					}
				}
				got := ts.Value("bed").(*bed).nfpctl(args[1:], strings.NewReader(""), &stdout, &stderr)
				io.WriteString(ts.Stdout(), settled(ts, &stdout))
				if got != want {
					ts.Fatalf("exit code %d, want %d: %s", got, want, &stderr)
				}
				io.WriteString(ts.Stderr(), settled(ts, &stderr))
			},
			"send": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(send(ts, args)) },
			"unplug": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value("bed").(*bed).card.Unplug()
			},
			"plug":   func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("bed").(*bed).card.Plug() },
			"reboot": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("bed").(*bed).card.Reboot() },
			"detach": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Value("bed").(*bed).detach(args[0]))
			},
			"vanish": func(ts *testscript.TestScript, _ bool, args []string) {
				b := ts.Value("bed").(*bed)
				ts.Check(b.detach(args[1]))
				k := b.card.Open()
				defer k.Close()
				ts.Check(k.Unpin(args[0]))
			},
			"microcode": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(microcode(ts.ReadFile(args[0]), ts.ReadFile(args[1])))
			},
			"newer": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(newer(ts.MkAbs(args[0]))) },
			"left": func(ts *testscript.TestScript, _ bool, args []string) {
				if got := fmt.Sprintf("%+v", ts.Value("bed").(*bed).card.Left()); got != strings.Join(args, " ") {
					ts.Fatalf("left %s, want %s", got, strings.Join(args, " "))
				}
			},
		},
	})
}

// What differs from one run of a script to the next.
var (
	rulesOf   = regexp.MustCompile(`rules of Linux [\d.]+`)
	timeStamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)|\d{8}T\d{6}\.\d{3}`)
	duration  = regexp.MustCompile(`"took_ns": \d+`)
)

// microcode checks that every line of a dump of microcode assembles to the word that the
// same dump has as JSON.
func microcode(text, asJSON string) error {
	im, err := nfp.Assemble(text)
	if err != nil {
		return err
	}
	var dump struct{ Words []string }
	if err := json.Unmarshal([]byte(asJSON), &dump); err != nil {
		return err
	}
	words := make([]string, len(im.Words))
	for i, w := range im.Words {
		words[i] = fmt.Sprintf("0x%016x", uint64(w))
	}
	if len(words) == 0 || !slices.Equal(words, dump.Words) {
		return fmt.Errorf("the listing assembles to %v, the words are %v", words, dump.Words)
	}
	return nil
}

// settled replaces text that differs from run to run, so that a script can compare whole
// lines. Times become TIME, the duration of a load NS, and the running kernel's release
// VERSION. The directories of the script and of the repository become their variables.
func settled(ts *testscript.TestScript, output *bytes.Buffer) string {
	text := strings.ReplaceAll(output.String(), ts.Getenv("WORK"), "$WORK")
	text = strings.ReplaceAll(text, ts.Getenv("EXAMPLES"), "$EXAMPLES")
	text = strings.ReplaceAll(text, ts.Getenv("OBJECTS"), "$OBJECTS")
	text = rulesOf.ReplaceAllString(text, "rules of Linux VERSION")
	return duration.ReplaceAllString(timeStamp.ReplaceAllString(text, "TIME"), `"took_ns": NS`)
}

// detach detaches the program of a port without the manager.
func (b *bed) detach(port string) error {
	k := b.card.Open()
	defer k.Close()
	return swap(k, offload.Ref{Name: port}, offload.XDPOffload, nil, true)
}

// newer makes a journal one of a version that is not known yet, as its program would write it.
func newer(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	line, body, _ := bytes.Cut(data, []byte("\n"))
	var version, sequence, length int
	if _, err := fmt.Sscanf(string(line), "nfpkit-journal %d %d %d", &version, &sequence, &length); err != nil {
		return err
	}
	numbers := fmt.Sprintf("%d %d %d", version+1, sequence, length)
	sum := sha256.Sum256(append([]byte(numbers+"\n"), body...))
	return os.WriteFile(path, append(fmt.Appendf(nil, "nfpkit-journal %s %x\n", numbers, sum), body...), 0o600)
}

// send gives packets to a port and prints what became of the last.
func send(ts *testscript.TestScript, args []string) error {
	packet := make([]byte, 64)
	if len(args) > 2 {
		var err error
		if packet, err = hex.DecodeString(args[2]); err != nil {
			return err
		}
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range n {
		r, err := ts.Value("bed").(*bed).card.Receive(offload.Ref{Name: args[0]}, bytes.Clone(packet))
		if err != nil {
			return err
		}
		fmt.Fprintf(ts.Stdout(), "program %d action %d\n", r.Program, r.Action)
	}
	return nil
}
