package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/runbook"
	"github.com/nfpkit/nfpkit/offload"
)

// watching is a running nfpctl watch.
type watching struct {
	t      *testing.T
	lines  *bufio.Scanner
	stderr *bufio.Scanner
	stop   context.CancelFunc
	code   chan int
}

// start runs a command that goes on until it is stopped.
func (b *bed) start(t *testing.T, args ...string) *watching {
	k := b.card.Open()
	stdout, toStdout := io.Pipe()
	stderr, toStderr := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	w := &watching{t, bufio.NewScanner(stdout), bufio.NewScanner(stderr), stop, make(chan int, 1)}
	args = append([]string{"--journal", filepath.Join(b.dir, "state", "journal.db")}, args...)
	go func() {
		w.code <- runContext(ctx, func(string) (offload.Kernel, error) { return k, nil }, args, strings.NewReader(""), toStdout, toStderr)
		toStdout.Close()
		toStderr.Close()
		k.Close()
	}()
	t.Cleanup(stop)
	return w
}

// line waits for the next one that a watch prints.
func (w *watching) line(s *bufio.Scanner) string {
	w.t.Helper()
	if !s.Scan() {
		w.t.Fatalf("the watch ended: %v", s.Err())
	}
	return s.Text()
}

func (b *bed) ok(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := b.nfpctl(args, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("nfpctl %v: exit code %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// shows checks all lines of an output. "..." stands for text that differs from run to run.
func shows(t *testing.T, output string, lines ...string) {
	t.Helper()
	s := runbook.Step{Args: []string{"output"}, Want: lines}
	if err := s.Check(output, 0); err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	b, err := newBed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const object = "../../examples/firewall.o"
	b.ok(t, "prog", "load", object, "fw", "dev", "nfp0")
	b.ok(t, "prog", "reload", object, "fw")
	b.ok(t, "map", "update", "name", "blocked", "key", "10.0.0.1", "value", "{}")
	b.ok(t, "prog", "load", "../../examples/counters.o", "other", "dev", "nfp1")

	w := b.start(t, "watch", "--repair", "--json", "--metrics", "127.0.0.1:0")
	url := regexp.MustCompile(`http://\S+`).FindString(w.line(w.stderr))
	packet := make([]byte, 64)
	for range 7 {
		if _, err := b.card.Receive(offload.Ref{Name: "nfp0"}, packet); err != nil {
			t.Fatal(err)
		}
	}
	metrics := func() string {
		t.Helper()
		r, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v\n%s", r.Status, err, text)
		}
		return string(text)
	}
	has := func(text string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("no line %q in\n%s", line, text)
			}
		}
	}
	golden.File(t, "testdata/metrics.txt", regexp.MustCompile(`(last_change_seconds\{.*\}) [0-9.e-]+\n`).ReplaceAllString(metrics(), "$1 SECONDS\n"))

	// A journal that cannot be read hides nothing that was known before.
	journal := filepath.Join(b.dir, "state", "journal.db")
	known := metrics()
	if err := os.Chmod(journal, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := metrics(), strings.Replace(known, "nfpkit_scrape_errors_total 0\n", "nfpkit_scrape_errors_total 1\n", 1); got != want || want == known {
		t.Errorf("without a journal:\n%swant\n%s", got, want)
	}
	if err := os.Chmod(journal, 0o600); err != nil {
		t.Fatal(err)
	}

	// Another process detaches the program, and later attaches another one.
	detach(t, b.card)
	for _, want := range []string{
		`{"time":"...","drift":{"deployment":"fw","port":{"name":"nfp0"},"mode":"xdpoffload","kind":"removed","want_id":4},"state":"appeared"}`,
		`{"time":"...","drift":{"deployment":"fw","port":{"name":"nfp0"},"mode":"xdpoffload","kind":"removed","want_id":4},"state":"repaired","duration":"..."}`,
	} {
		shows(t, w.line(w.lines), want)
	}
	b.ok(t, "status")
	has(metrics(),
		`nfpkit_drifts_total{deployment="fw",kind="removed"} 1`,
		`nfpkit_repairs_total{deployment="fw",result="repaired"} 1`,
		`nfpkit_change_seconds_count{op="repair"} 1`)
	w.stop()
	if code := <-w.code; code != 0 {
		t.Errorf("exit code %d of a watch that was stopped", code)
	}
}

// detach detaches the program of nfp0 without the manager.
func detach(t *testing.T, c *live.Card) {
	t.Helper()
	k := c.Open()
	defer k.Close()
	if err := swap(k, offload.Ref{Name: "nfp0"}, offload.XDPOffload, nil, true); err != nil {
		t.Fatal(err)
	}
}

func TestMetricsStayHome(t *testing.T) {
	b, err := newBed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:0", ":9464", "192.0.2.1:80", "[::]:0", "example.org:80", "9464"} {
		var stdout, stderr bytes.Buffer
		if code := b.nfpctl([]string{"watch", "--metrics", address}, nil, &stdout, &stderr); code != exitUsage {
			t.Errorf("watch --metrics %s: exit code %d, want %d: %s", address, code, exitUsage, &stderr)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A program on trial that drops too much is taken back.
func TestHealth(t *testing.T) {
	b, err := newBed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pass, drop := filepath.Join(dir, "pass.bpf"), filepath.Join(dir, "drop.bpf")
	write(t, pass, ".program xdp pass\n\tr0 = 2\n\texit\n")
	write(t, drop, ".program xdp drop\n\tr0 = 1\n\texit\n")
	b.ok(t, "prog", "load", pass, "fw", "dev", "nfp0")
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		packet := make([]byte, 64)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Microsecond):
				b.card.Receive(offload.Ref{Name: "nfp0"}, packet)
			}
		}
	}()
	var stdout, stderr bytes.Buffer
	code := b.nfpctl([]string{"prog", "reload", drop, "fw", "--window", "20s", "--max-drop", "0.5"}, nil, &stdout, &stderr)
	close(done)
	<-stopped
	if code != exitNo {
		t.Errorf("exit code %d, want %d", code, exitNo)
	}
	shows(t, stderr.String(),
		"nfpctl: reload fw: port nfp0 dropped ... of ... packets, a share of ...; the most is 0.500 (unhealthy)")
	shows(t, b.ok(t, "status"),
		"fw: "+pass+", mode xdpoffload, program 1, tag ..., generation 1, loaded ...",
		"  port nfp0: xdpoffload 1")
}

// A card that goes while a program is on trial ends the operation, and nothing is left
// half done.
func TestGoneMidOperation(t *testing.T) {
	b, err := newBed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const object = "../../examples/firewall.o"
	b.ok(t, "prog", "load", object, "fw", "dev", "nfp0", "--bench=false")
	w := b.start(t, "-v", "prog", "reload", object, "fw", "--window", "1m", "--bench=false")
	var said []string
	for w.stderr.Scan() {
		said = append(said, w.stderr.Text())
		if strings.Contains(w.stderr.Text(), "runs program") {
			b.card.Unplug() // the new program stands there, on trial
		}
	}
	if code := <-w.code; code != exitNo {
		t.Errorf("exit code %d, want %d", code, exitNo)
	}
	shows(t, strings.Join(said, "\n"),
		"nfpctl: reload fw: map blocked: carried, id 1",
		"nfpctl: reload fw: map blocked6: carried, id 2",
		"nfpctl: reload fw: port nfp0 runs program 4",
		"nfpctl: fw: rolled back",
		"nfpctl: read nfp0: the interface no longer exists (port-gone)",
		"  broken link: port",
		"  cure: see the kernel's log for why the card left; after it is back, nfpctl apply restores what should run")
	b.card.Plug()
	var stdout bytes.Buffer
	if code := b.nfpctl([]string{"status"}, nil, &stdout, &stdout); code != exitNo {
		t.Errorf("exit code %d, want %d", code, exitNo)
	}
	shows(t, stdout.String(),
		"fw: "+object+", mode xdpoffload, program 3, tag ..., generation 1, loaded ...",
		"  port nfp0: nothing",
		"  map blocked: gone, hash 4:16 x 16384",
		"  map blocked6: gone, hash 16:16 x 16384",
		"  drift: fw: port nfp0, xdpoffload: device-gone: want program 3")
	b.ok(t, "prog", "unload", "fw")
	if left := b.card.Left(); left != (live.Left{}) {
		t.Errorf("left: %+v", left)
	}
}
