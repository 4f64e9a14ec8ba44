package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/driver/live"
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
	text := metrics()
	has(text,
		`nfpkit_verdict_packets_total{card="0000:01:00.0",port="nfp0",verdict="pass"} 7`,
		`nfpkit_verdict_bytes_total{card="0000:01:00.0",port="nfp0",verdict="pass"} 448`,
		`nfpkit_verdict_packets_total{card="0000:01:00.0",port="nfp0",verdict="drop"} 0`,
		`nfpkit_generation{deployment="fw",mode="xdpoffload"} 2`,
		`nfpkit_map_entries{deployment="fw",map="blocked"} 1`,
		`nfpkit_map_max_entries{deployment="fw",map="blocked"} 16384`,
		`nfpkit_map_entries_complete{deployment="fw",map="blocked"} 1`,
		`nfpkit_map_entries{deployment="other",map="counters"} 260`,
		`nfpkit_orphans{kind="program"} 0`)
	if !regexp.MustCompile(`\nnfpkit_last_change_seconds\{deployment="fw"\} [0-9.e-]+\n`).MatchString(text) {
		t.Errorf("no duration of the last change in\n%s", text)
	}

	// A journal that cannot be read hides nothing that was known before.
	journal := filepath.Join(b.dir, "state", "journal.db")
	if err := os.Chmod(journal, 0o644); err != nil {
		t.Fatal(err)
	}
	text = metrics()
	has(text, `nfpkit_verdict_packets_total{card="0000:01:00.0",port="nfp0",verdict="pass"} 7`)
	if strings.Contains(text, "nfpkit_scrape_errors_total 0\n") {
		t.Error("a scrape without the journal counts no error")
	}
	if err := os.Chmod(journal, 0o600); err != nil {
		t.Fatal(err)
	}

	// Another process detaches the program, and later attaches another one.
	detach(t, b.card)
	for _, want := range []string{"appeared", "repaired"} {
		var r offload.WatchReport
		if err := json.Unmarshal([]byte(w.line(w.lines)), &r); err != nil {
			t.Fatal(err)
		}
		if r.State != want || r.Drift.Kind != "removed" || r.Drift.Port.Name != "nfp0" {
			t.Errorf("report %+v, want that drift was %s", r, want)
		}
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
	if code != exitNo || !strings.Contains(stderr.String(), "(unhealthy)") {
		t.Errorf("exit code %d, want %d and reason unhealthy: %s", code, exitNo, &stderr)
	}
	if text := b.ok(t, "status"); !strings.Contains(text, "generation 1,") {
		t.Errorf("the first generation is not back:\n%s", text)
	}
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
	if code := <-w.code; code != exitNo || !strings.Contains(strings.Join(said, "\n"), "(port-gone)\n  broken link: port\n") {
		t.Errorf("exit code %d, said:\n%s", code, strings.Join(said, "\n"))
	}
	b.card.Plug()
	var stdout, stderr bytes.Buffer
	if code := b.nfpctl([]string{"status"}, nil, &stdout, &stderr); code != exitNo || !strings.Contains(stdout.String(), "device-gone") {
		t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
	}
	b.ok(t, "prog", "unload", "fw")
	if left := b.card.Left(); left != (live.Left{}) {
		t.Errorf("left: %+v", left)
	}
}
