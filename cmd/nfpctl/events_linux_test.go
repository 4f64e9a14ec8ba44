package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/internal/runbook"
	"github.com/nfpkit/nfpkit/offload"
)

// host is a veth pair in a network namespace of the test's thread: what is sent out of the
// peer comes in at nfp1, on this kernel.
type host struct {
	t      *testing.T
	k      *offload.Linux
	dir    string
	socket int
}

// newHost skips the test where the kernel does not let it do so.
func newHost(t *testing.T) *host {
	t.Helper()
	var fs unix.Statfs_t
	if os.Getuid() != 0 {
		t.Skip("root is needed for network namespaces and programs")
	}
	if err := unix.Statfs("/sys/fs/bpf", &fs); err != nil || fs.Type != unix.BPF_FS_MAGIC {
		t.Skip("no bpf file system at /sys/fs/bpf")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespace: %v", err)
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nfp1"}, PeerName: "peer"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Skipf("veth pair: %v", err)
	}
	for _, name := range []string{"nfp1", "peer"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	peer, err := netlink.LinkByName("peer")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: t.TempDir()}
	h.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err == nil {
		err = unix.Bind(h.socket, &unix.SockaddrLinklayer{Ifindex: peer.Attrs().Index})
	}
	if err != nil {
		t.Fatal(err)
	}
	pins := fmt.Sprintf("/sys/fs/bpf/nfpkit-test-%d", os.Getpid())
	h.k = offload.NewLinux(&offload.LinuxOptions{Pins: pins})
	t.Cleanup(func() { unix.Close(h.socket); os.RemoveAll(pins) })
	return h
}

func (h *host) args(args []string) []string {
	return append([]string{"--journal", filepath.Join(h.dir, "journal.db")}, args...)
}

func (h *host) open(string) (offload.Kernel, error) { return h.k, nil }

func (h *host) send(packet []byte) {
	h.t.Helper()
	if _, err := unix.Write(h.socket, packet); err != nil {
		h.t.Fatal(err)
	}
}

// listen starts map event_pipe, and calls act when it listens.
func (h *host) listen(args []string, act func()) (out, errs string, code int) {
	h.t.Helper()
	ctx, stop := context.WithTimeout(h.t.Context(), time.Minute)
	defer stop()
	var stdout bytes.Buffer
	said := make(chan string, 100)
	done := make(chan int)
	go func() {
		done <- runContext(ctx, h.open, h.args(args), nil, &stdout, lineWriter(said))
	}()
	errs = <-said
	if !strings.Contains(errs, "listening") {
		return stdout.String(), errs, <-done
	}
	act()
	code = <-done
	close(said)
	for line := range said {
		errs += line
	}
	return stdout.String(), errs, code
}

type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) { w <- string(b); return len(b), nil }

// frame is 60 bytes that say which they are.
func frame(n int) []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, byte(n)})
	for i := 15; i < len(f); i++ {
		f[i] = byte(i * (n + 1))
	}
	return f
}

// The dumper of docs/events.md on this kernel, in generic mode: what it sends is printed as
// it is, and written as the packets that came in.
func TestEventsOnHost(t *testing.T) {
	h := newHost(t)
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := runbook.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(h.dir, "dumper.bpf")
	// The rings are those of all CPUs; the map of the document has one element.
	program := strings.Replace(steps[0].Text, "entries=1", fmt.Sprintf("entries=%d", runtime.NumCPU()), 1)
	write(t, file, program)
	var out bytes.Buffer
	if code := run(h.open, h.args([]string{"prog", "load", file, "dump", "dev", "nfp1", "mode", "xdpgeneric"}), nil, &out, &out); code != 0 {
		t.Fatalf("load: exit status %d: %s", code, &out)
	}
	t.Cleanup(func() { run(h.open, h.args([]string{"prog", "unload", "dump"}), nil, &out, &out) })

	printed, errs, code := h.listen([]string{"map", "event_pipe", "name", "packets", "--count", "2"}, func() {
		h.send(frame(1))
		h.send(frame(2))
	})
	if code != 0 {
		t.Fatalf("exit status %d: %s", code, errs)
	}
	var want strings.Builder
	for n := 1; n <= 2; n++ {
		data := append([]byte{0xad, 0xde, 60, 0}, frame(n)...)
		data = append(data, make([]byte, -(len(data)+4)&7)...)
		want.WriteString("== @TIME CPU: N index: N =====\n" + hexDump(data))
	}
	heads := regexp.MustCompile(`(?m)^== @\d+\.\d{9} CPU: (\d+) index: (\d+) =====$`)
	if got := heads.ReplaceAllString(printed, "== @TIME CPU: N index: N ====="); got != want.String() {
		t.Errorf("printed\n%swant\n%s", got, want.String())
	}

	printed, errs, code = h.listen([]string{"map", "event_pipe", "name", "packets", "--count", "1", "--json"}, func() { h.send(frame(3)) })
	data := append([]byte{0xad, 0xde, 60, 0}, frame(3)...)
	data = append(data, make([]byte, -(len(data)+4)&7)...)
	list := ""
	for _, b := range data {
		list += fmt.Sprintf(",%q", "0x"+hex.EncodeToString([]byte{b}))
	}
	if line := regexp.MustCompile(`^\{"cpu":\d+,"index":\d+,"timestamp":\d+,"data":\[(.*)\]\}\n$`).FindStringSubmatch(printed); code != 0 || line == nil || line[1] != list[1:] {
		t.Errorf("exit status %d, %sprinted %s, want data %s", code, errs, printed, list[1:])
	}

	pcap := filepath.Join(h.dir, "x.pcap")
	const many = 200
	_, errs, code = h.listen([]string{"map", "event_pipe", "name", "packets", "--count", fmt.Sprint(many), "--out", pcap}, func() {
		for n := range many {
			h.send(frame(n))
		}
	})
	if said := fmt.Sprintf("nfpctl: %d packets written to %s: %d as sample\n", many, pcap, many); code != 0 || !strings.HasSuffix(errs, said) {
		t.Fatalf("exit status %d: %s want %s", code, errs, said)
	}
	f, err := os.Open(pcap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := capture.Read(f, capture.Limits{Min: 1, Max: 1 << 16})
	if err != nil || len(c.Packets) != many {
		t.Fatalf("%v, want %d packets", err, many)
	}
	for n, p := range c.Packets {
		if !bytes.Equal(p.Data, frame(n)) {
			t.Fatalf("packet %d is %x, want %x", n, p.Data, frame(n))
		}
	}

	for _, bad := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"name", "packets", "cpu", "0"}, 2, "nfpctl: cpu N and index M go together\n"},
		{[]string{"name", "packets", "cpu", "4000", "index", "0"}, 1, "nfpctl: open the events of map N: no such CPU is online: invalid argument (unexpected)\n"},
		{[]string{"name", "packets", "cpu", "0", "index", "4000"}, 1, "nfpctl: update map N packets: the map takes N entries: argument list too long (map-full)\n"},
		{[]string{"name", "packets", "--format", "raw"}, 2, "nfpctl: --format goes with --out\n"},
		{[]string{"name", "packets", "--out", "x.txt"}, 2, "nfpctl: --out: x.txt: a capture is written to a name that ends in .pcap, .pcapng, .pcap.gz or .pcapng.gz\n"},
	} {
		_, errs, code := h.listen(append([]string{"map", "event_pipe"}, bad.args...), func() { t.Errorf("%v is taken", bad.args) })
		if got := regexp.MustCompile(`(map |takes )\d+`).ReplaceAllString(errs, "${1}N"); code != bad.code || got != bad.want {
			t.Errorf("%v: exit status %d: %s want %d: %s", bad.args, code, got, bad.code, bad.want)
		}
	}
}

// A port whose driver cannot offload is the first reason, for any program or map.
func TestNoOffload(t *testing.T) {
	h := newHost(t)
	trie := filepath.Join(h.dir, "trie.bpf")
	write(t, trie, ".map big lpm_trie key=8 value=8 entries=4 flags=1\n\tr2 = 0\n\t*(u64 *)(r10 - 8) = r2\n\tr2 = r10\n\tr2 += -8\n\tr1 = map[big]\n\tcall bpf_map_lookup_elem#1\n\tr0 = 2\n\texit\n")
	want := map[string]string{
		"lo":   "nfpctl: offload to port lo: port lo does not take programs: operation not supported (no-offload)\n",
		"nfp1": "nfpctl: offload to port nfp1: driver veth of port nfp1 has no device for programs: invalid argument (no-offload)\n",
	}
	for _, args := range [][]string{
		{"prog", "load", "../../examples/firewall.o", "fw", "dev"},
		{"prog", "load", trie, "fw", "dev"},
		{"prog", "load", trie, "fw", "--check=false", "--bench=false", "dev"},
		{"map", "create", "m", "type", "lpm_trie", "key", "8", "value", "8", "entries", "4", "dev"},
		{"map", "create", "m", "type", "hash", "key", "4", "value", "4", "entries", "4", "dev"},
		{"feature", "probe", "dev"},
	} {
		for port, line := range want {
			var out bytes.Buffer
			if code := run(h.open, h.args(append(args[:len(args):len(args)], port)), nil, &out, &out); code != 1 || out.String() != line {
				t.Errorf("%v %s: exit status %d: %s want %s", args, port, code, &out, line)
			}
		}
	}
}
