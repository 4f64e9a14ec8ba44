package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// memory is a directory of the memory, where there is one: a journal's writes wait for the
// disk.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "nfpkit-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// seeds are the examples' objects and texts, whole and cut.
func seeds(f *testing.F) {
	files, err := filepath.Glob("../../examples/*.o")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range append(files, "../../examples/ttl.bpf") {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte(".map m hash key=4 value=8 entries=4294967295\n.program xdp x\n\tr0 = 2\n\texit\n"))
	f.Add([]byte(".map ../../m array key=4 value=8 entries=1\n.program xdp x\n\tr1 = map[../../m]\n\tr0 = 2\n\texit\n"))
}

// An untrusted object is loaded, or refused with a reason in one line; it
// does not make the process panic, and leaves no objects.
func FuzzObject(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		card, err := live.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		k := card.Open()
		defer k.Close()
		d := &offload.Deployment{Name: "fuzz", Object: data, Source: "fuzz", Mode: offload.XDPOffload, Ports: []offload.Ref{{Name: "nfp0"}}}
		if _, err := factsOf(d); err != nil {
			refused(t, err)
		}
		// No patience: a card that is full stays full, and the fuzzer would try that over and over.
		m := offload.New(k, offload.Options{Journal: filepath.Join(memory(t), "journal.db"), Open: openObject, Patience: time.Nanosecond})
		if err := m.Load(context.Background(), d, nil); err != nil {
			refused(t, err)
		} else if err := m.Unload(context.Background(), "fuzz"); err != nil {
			t.Fatal(err)
		}
		k.Close()
		if left := card.Left(); left != (live.Left{}) {
			t.Fatalf("left: %+v", left)
		}
	})
}

// refused wants a reason and one line.
func refused(t *testing.T, err error) {
	t.Helper()
	var e *offload.Error
	if !errors.As(err, &e) || e.Reason == "" || strings.Contains(e.Error(), "\n") {
		t.Fatalf("%q has no reason, or more than a line", err)
	}
	if offload.Explain(e.Reason).Word != e.Reason {
		t.Fatalf("reason %s is not in the table", e.Reason)
	}
}

// An untrusted state file is read, or refused in one line.
func FuzzState(f *testing.F) {
	f.Add([]byte("deployments:\n  - {name: a, object: x.o, ports: [nfp0, b/nfp1], window: 5s, max_drop: 0.5}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("deployments: &x\n  - name: {*x : 1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseState(data)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
	})
}

// Words that stand for a key or value are its bytes, or an error.
func FuzzBytes(f *testing.F) {
	f.Add("10 0 0 1")
	f.Add("hex 0a")
	f.Add("10.0.0.1")
	f.Fuzz(func(t *testing.T, line string) {
		for size := range 20 {
			codec := maps.NewCodec(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: uint32(size), ValueSize: 4}, 1)
			if b, err := bytesOf(append(strings.Fields(line), "x"), size, codec.ParseKey); err == nil && len(b) != size {
				t.Fatalf("%q: %d bytes, want %d", line, len(b), size)
			}
			if b, err := bytesOf([]string{line}, size, codec.ParseKey); err == nil && len(b) != size {
				t.Fatalf("%q: %d bytes, want %d", line, len(b), size)
			}
		}
	})
}

// Any words of a command line end in an exit code.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{"prog show id 1", "net attach xdpoffload id 1 dev nfp0 overwrite", "map update name m key 1 value 2 any", "map create m type hash key 4 value 4 entries 4 dev nfp0",
		"prog dump jited tag x", "doctor dev nfp0 --probe=false", "feature probe dev a/b", "map show pinned ../x", "net detach xdpdrv dev /x", "prog load - x dev nfp0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		for _, a := range args { // what goes on, writes files, or reads mine
			if a == "watch" || a == "man" || strings.HasPrefix(a, "--") && a != "--json" || strings.HasPrefix(a, "-") {
				return
			}
		}
		b, err := newBed(memory(t))
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		if code := b.nfpctl(args, strings.NewReader(""), io.Discard, &stderr); code < exitDone || code > exitUsage {
			t.Fatalf("exit code %d", code)
		}
	})
}
