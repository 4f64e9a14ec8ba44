package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// sender sends each packet of 60 bytes behind a header on the stack: %s are instructions that
// write it, %d is its size.
const sender = `.map packets perf_event_array key=4 value=4 entries=1
.license "GPL"
.program xdp sender
%s	r2 = map[packets]
	r3 = 0x3cffffffff ll
	r4 = r10
	r4 += -%d
	r5 = %d
	call bpf_perf_event_output#25
	r0 = 2
	exit
`

// Headers of the formats that event_pipe knows.
const (
	sampleHead  = "\tr2 = 0x3cdead\n\t*(u32 *)(r10 - 4) = r2\n"
	xdpdumpHead = `	r2 = 2
	*(u32 *)(r10 - 20) = r2
	*(u32 *)(r10 - 4) = r2
	r2 = 0
	*(u32 *)(r10 - 16) = r2
	*(u32 *)(r10 - 8) = r2
	r2 = 0x3c003c
	*(u32 *)(r10 - 12) = r2
`
)

// applied is a simulated card on which apply put a sender.
func applied(t *testing.T, head string, size int) *bed {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "sender.bpf", fmt.Sprintf(sender, head, size, size))
	write(t, "state.yaml", "deployments:\n  - {name: pipe, object: sender.bpf, ports: [nfp0]}\n")
	b, err := newBed(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pipe: load: it is not loaded; map packets: new\n", "pipe: nothing: it runs\n"} {
		var out bytes.Buffer
		if code := b.nfpctl([]string{"apply", "-f", "state.yaml"}, nil, &out, &out); code != 0 || out.String() != want {
			t.Fatalf("apply: exit status %d: %s want %s", code, &out, want)
		}
	}
	return b
}

// listen runs event_pipe, and then while it listens; it returns what follows the line that says so.
func listen(t *testing.T, b *bed, stdout io.Writer, meanwhile func(), args ...string) (string, int) {
	t.Helper()
	k := b.card.Open()
	defer k.Close()
	args = append([]string{"--journal", "state/journal.db", "map", "event_pipe", "name", "packets"}, args...)
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- runContext(t.Context(), func(string) (offload.Kernel, error) { return k, nil }, args, strings.NewReader(""), stdout, w)
		w.Close()
	}()
	first := make([]byte, 1<<10)
	n, _ := r.Read(first)
	if got := string(first[:n]); got != "nfpctl: listening to map 1; end with an interrupt\n" {
		t.Fatalf("%v: %s", args, got)
	}
	said := make(chan []byte, 1)
	go func() {
		rest, _ := io.ReadAll(r)
		said <- rest
	}()
	meanwhile()
	return string(<-said), <-ended
}

// give sends a packet to the card.
func give(t *testing.T, c *live.Card, packet []byte) {
	t.Helper()
	if _, err := c.Receive(offload.Ref{Name: "nfp0"}, bytes.Clone(packet)); err != nil {
		t.Fatal(err)
	}
}

// Packets that a deployment of apply sends arrive in captures whole, whatever is in front of
// them, by the format that is named and by the one that is found.
func TestEventFormats(t *testing.T) {
	packet := bytes.Repeat([]byte{0x5a}, 60)
	for _, c := range []struct {
		format, head string
		size         int
		want         []byte
	}{
		{"sample", sampleHead, 4, packet},
		{"xdpdump", xdpdumpHead, 20, packet},
		{"raw", "\tr2 = 0x11223344\n\t*(u32 *)(r10 - 4) = r2\n", 4, append(append([]byte{0x44, 0x33, 0x22, 0x11}, packet...), 0, 0, 0, 0)},
	} {
		t.Run(c.format, func(t *testing.T) {
			b := applied(t, c.head, c.size)
			for _, args := range [][]string{{"--format", c.format}, nil} {
				said, code := listen(t, b, io.Discard, func() { give(t, b.card, packet); give(t, b.card, packet) }, append(args, "--out", "x.pcap", "--count", "2")...)
				if want := fmt.Sprintf("nfpctl: 2 packets written to x.pcap: 2 as %s\n", c.format); said != want || code != 0 {
					t.Fatalf("exit status %d: %s want %s", code, said, want)
				}
				got, err := os.ReadFile("x.pcap")
				if err != nil {
					t.Fatal(err)
				}
				if n := bytes.Count(got, c.want); n != 2 || len(got) != 24+2*(16+len(c.want)) {
					t.Errorf("%v: %d packets in a capture of %d bytes: %x", args, n, len(got), got)
				}
			}
		})
	}
}

// gate says that something is to be written, and waits before it is until it is opened once,
// or closed for good.
type gate struct {
	entered, open chan struct{}
	text          bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	select {
	case <-g.open: // it was closed
	case g.entered <- struct{}{}:
		<-g.open
	}
	return g.text.Write(p)
}

// Events that come faster than they are read are counted, in their place and at the end.
func TestEventsLost(t *testing.T) {
	const ring, lost = 1024, 10
	b := applied(t, sampleHead, 4)
	packet := make([]byte, 60)
	g := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	said, code := listen(t, b, g, func() {
		give(t, b.card, packet)
		<-g.entered
		for range ring + lost {
			give(t, b.card, packet)
		}
		for range 3 { // makes room for the note and one more
			g.open <- struct{}{}
			<-g.entered
		}
		give(t, b.card, packet)
		close(g.open)
	}, "--count", fmt.Sprint(1+ring+1))
	if want := fmt.Sprintf("nfpctl: %d events lost: they came faster than nfpctl read them\n", lost); said != want || code != 0 {
		t.Errorf("exit status %d: %s want %s", code, said, want)
	}
	text := g.text.String()
	if n := strings.Count(text, "== @"); n != 1+ring+1 {
		t.Errorf("%d events were printed, want %d", n, 1+ring+1)
	}
	before, after, ok := strings.Cut(text, fmt.Sprintf("\nlost %d events\n", lost))
	if n := strings.Count(after, "== @"); !ok || n != 1 || strings.Contains(before, "lost") {
		t.Errorf("the note of lost events stands before %d events, want 1 (found: %v)", n, ok)
	}
}
