package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/runbook"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/offload"
)

const operations = "../../docs/operations.md"

// docs/operations.md ends with the table of reasons.
func TestReasonsTable(t *testing.T) {
	text, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), "<!-- reasons -->\n")
	if !ok {
		t.Fatal("no mark <!-- reasons -->")
	}
	var b strings.Builder
	b.WriteString(head + "<!-- reasons -->\n| reason | broken link | means | cure |\n|---|---|---|---|\n")
	for _, r := range offload.Reasons() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Word, r.Link, r.Why, r.Hint)
	}
	b.WriteString("<!-- end -->\n")
	golden.File(t, operations, b.String())
}

// follower does what the runbook says on a simulated card.
type follower struct {
	t       *testing.T
	bed     *bed
	stop    context.CancelFunc // the command that goes on
	output  *bytes.Buffer
	ended   chan int
	rest    chan string // what it says on standard error after its first line
	metrics string
}

// TestRunbook runs docs/operations.md on the simulated card as it is without a kernel.
func TestRunbook(t *testing.T) { follow(t, operations, 30) }

// docs/events.md is followed on the simulated card, and by TestEventsOnHost on the machine.
func TestEventsDoc(t *testing.T) { follow(t, "../../docs/events.md", 5) }

// follow does what a document says; it has so many commands or more.
func follow(t *testing.T, document string, least int) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := runbook.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for _, name := range []string{"firewall.o", "counters.o"} {
		data, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, string(data))
	}
	b, err := newBed(".")
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, bed: b}
	commands := 0
	for i := range steps {
		if s := &steps[i]; s.Do != "file" && s.Do != "test" {
			commands++
		}
		f.do(&steps[i])
	}
	if commands < least {
		t.Errorf("%d commands were run", commands)
	}
	if f.stop != nil {
		t.Error("a command goes on at the end")
	}
}

func (f *follower) do(s *runbook.Step) {
	f.t.Helper()
	switch s.Do {
	case "file":
		write(f.t, s.Args[0], s.Text)
	case "test":
		f.test(s)
	case "start":
		f.start(s)
	case "stop":
		f.stop()
		f.stop = nil
		code := <-f.ended
		f.check(s, f.output.String()+<-f.rest, code)
	case "run":
		if s.Args[0] == "curl" {
			f.check(s, f.fetch(), 0)
			return
		}
		if s.Args[0] != "nfpctl" {
			f.t.Fatalf("line %d: %s is not run here", s.Line, s.Args[0])
		}
		var out bytes.Buffer
		code := f.bed.nfpctl(s.Args[1:], strings.NewReader(""), &out, &out)
		f.check(s, out.String(), code)
		if slices.Contains(s.Args, "jited") && code == 0 { // each line is an instruction
			if im, err := nfp.Assemble(out.String()); err != nil || len(im.Words) == 0 {
				f.t.Errorf("line %d: %v:\n%s", s.Line, err, &out)
			}
		}
	}
}

func (f *follower) check(s *runbook.Step, output string, code int) {
	f.t.Helper()
	if err := s.Check(output, code); err != nil {
		f.t.Error(err)
	}
}

// start begins a command that goes on. No port of the host is fixed in a test.
func (f *follower) start(s *runbook.Step) {
	args := append([]string{"--journal", filepath.Join(f.bed.dir, "state", "journal.db")}, s.Args[1:]...)
	for i := range args {
		args[i] = strings.Replace(args[i], ":9464", ":0", 1)
	}
	k := f.bed.card.Open()
	var ctx context.Context
	ctx, f.stop = context.WithCancel(f.t.Context())
	f.output, f.ended = &bytes.Buffer{}, make(chan int, 1)
	r, w := io.Pipe()
	go func() {
		f.ended <- runContext(ctx, func(string) (offload.Kernel, error) { return k, nil }, args, strings.NewReader(""), f.output, w)
		w.Close()
		k.Close()
	}()
	lines := bufio.NewScanner(r) // the first says that the command has begun
	if !lines.Scan() {
		f.t.Fatalf("line %d: the command says nothing", s.Line)
	}
	first := lines.Text()
	if f.metrics = regexp.MustCompile(`http://\S+`).FindString(first); f.metrics != "" {
		first = strings.Replace(first, f.metrics, "http://127.0.0.1:9464/metrics", 1)
	}
	f.check(s, first+"\n", 0)
	f.rest = make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
		}
		f.rest <- all.String()
	}()
}

func (f *follower) fetch() string {
	r, err := http.Get(f.metrics)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// test does what happens without the reader's doing.
func (f *follower) test(s *runbook.Step) {
	switch {
	case s.Args[0] == "traffic" && len(s.Args) == 4:
		n, err := strconv.Atoi(s.Args[3])
		if err != nil {
			f.t.Fatal(err)
		}
		source, err := netip.ParseAddr(s.Args[2])
		if err != nil || !source.Is4() {
			f.t.Fatalf("line %d: %s is no address", s.Line, s.Args[2])
		}
		for range n {
			packet := frames()[0]
			copy(packet[26:], source.AsSlice())
			if _, err := f.bed.card.Receive(offload.Ref{Name: s.Args[1]}, packet); err != nil {
				f.t.Fatal(err)
			}
		}
	case s.Args[0] == "detach" && len(s.Args) == 2:
		detach(f.t, f.bed.card)
	case s.Args[0] == "repaired":
		f.repaired()
	case s.Args[0] == "reboot":
		f.bed.card.Reboot()
	case s.Args[0] == "damage":
		if err := os.Truncate(filepath.Join(f.bed.dir, "state", "journal.db"), 200); err != nil {
			f.t.Fatal(err)
		}
	default:
		f.t.Fatalf("line %d: no step %v", s.Line, s.Args)
	}
}

// repaired waits until the watch has repaired nfp0.
func (f *follower) repaired() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if strings.Contains(f.fetch(), "\n"+repairs) {
			return
		}
	}
	f.t.Fatal("nobody repaired nfp0 for a minute")
}

// repairs is the metric that counts the repair of the runbook.
const repairs = `nfpkit_repairs_total{deployment="edge",result="repaired"} 1`
