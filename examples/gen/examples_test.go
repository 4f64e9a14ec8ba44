package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// An example is a program, what it is run on, and what must come of it.
type example struct {
	file, pcap string
	maps       map[string]string // name -> file with its contents
	verdicts   map[uint32]int    // return code -> packets of the capture, -1 for any number
	dump       map[string]string // name -> a line of its contents afterwards
	driver     bool              // the Linux driver's own compiler takes it, says the comment
}

var programs = []example{
	{
		file: "counters.o", driver: true, pcap: "mixed.pcap", verdicts: map[uint32]int{pass: 38},
		dump: map[string]string{"counters": `{"key":1,"value":{"packets":4,"bytes":392}}`},
	},
	{
		file: "firewall.o", driver: true, pcap: "mixed.pcap",
		maps:     map[string]string{"blocked": "blocked.json", "blocked6": "blocked6.json"},
		verdicts: map[uint32]int{pass: 27, drop: 11},
		dump: map[string]string{
			"blocked":  `{"key":"c6 33 64 07","value":{"packets":5,"bytes":1560}}`,
			"blocked6": `{"key":{"words":[3087860000,44299,0,117440512]},"value":{"packets":3,"bytes":246}}`,
		},
	},
	{
		file: "ddos.o", driver: true, pcap: "attack.pcap",
		maps:     map[string]string{"settings": "ddos-settings.json", "reflectors": "reflectors.json"},
		verdicts: map[uint32]int{pass: 46, drop: 54},
		dump:     map[string]string{"drops": `{"key":1,"value":30}`},
	},
	{
		file: "ratelimit.o", pcap: "mixed.pcap", maps: map[string]string{"limit": "limit.json"},
		verdicts: map[uint32]int{pass: -1, drop: -1}, // the clock decides
	},
	{
		file: "l4lb.o", driver: true, pcap: "web.pcap",
		maps:     map[string]string{"services": "services.json", "slots": "slots.json"},
		verdicts: map[uint32]int{pass: 4, tx: 96},
	},
	{file: "ttl.bpf", pcap: "mixed.pcap", verdicts: map[uint32]int{pass: 15, tx: 23}},
	{
		file: "average.bpf", pcap: "sensors.pcap", verdicts: map[uint32]int{pass: 20, drop: 40},
		dump: map[string]string{"readings": `{"key":5,"value":"a4 a1 01 00 e8 03 00 00 14 00 00 00 00 00 00 00"}`},
	},
}

const (
	drop = 1
	pass = 2
	tx   = 3
)

func readPcap(t *testing.T, name string) [][]byte {
	t.Helper()
	f, err := os.Open("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	for {
		data, _, err := r.ReadPacketData()
		if err != nil {
			return packets
		}
		packets = append(packets, data)
	}
}

// TestCurrent checks that the committed captures and maps equal the command's output.
func TestCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range made {
		want, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile("../" + e.Name()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current: run make -C examples traffic (%v)", e.Name(), err)
		}
	}
}

// TestListed checks that no example is left out of the tests.
func TestListed(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.o", "../*.bpf"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			files = append(files, filepath.Base(n))
		}
	}
	sources, err := filepath.Glob("../*.c")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		if o := strings.TrimSuffix(filepath.Base(s), ".c") + ".o"; !slices.Contains(files, o) {
			t.Errorf("%s has no object: run make examples", s)
		}
	}
	for _, f := range files {
		if !slices.ContainsFunc(programs, func(e example) bool { return e.file == f }) {
			t.Errorf("%s is not tested", f)
		}
	}
}

// TestObjects checks what a loader sees, with no kernel's help: whole programs
// with source lines that name no directory of the machine they were built on.
func TestObjects(t *testing.T) {
	for _, p := range programs {
		o, err := object.Load("../"+p.file, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(o.Notes) > 0 {
			t.Errorf("%s: %v", p.file, o.Notes)
		}
		c, err := o.Code("")
		if err != nil {
			t.Error(err)
			continue
		}
		l := c.Line(0)
		if l == nil || filepath.IsAbs(l.FileName()) {
			t.Errorf("%s: first instruction comes from line %v", p.file, l)
		}
	}
}

// TestDriver checks what the comments say of the Linux driver, by its rules.
func TestDriver(t *testing.T) {
	stock, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		o, err := object.Load("../"+p.file, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := o.Code("")
		if err != nil {
			t.Fatal(err)
		}
		facts, err := verify.Verify(c, nil)
		if err != nil {
			t.Errorf("%s: %+v", p.file, err)
			continue
		}
		if reasons := linux.NewView(facts, nil).Check(stock, 0); p.driver != (len(reasons) == 0) {
			t.Errorf("%s: the comment says %v, the rules say %v", p.file, p.driver, reasons)
		}
	}
}

// TestObjectsCurrent compiles the sources again: the committed objects must hold
// the same instructions. Another clang than 14 may choose others, so there only
// that it compiles is checked.
func TestObjectsCurrent(t *testing.T) {
	for _, tool := range []string{"make", "clang", "llvm-strip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("make", "-C", "..", "OUT="+dir).CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	same := bytes.Contains(version, []byte("clang version 14."))
	for _, p := range programs {
		if filepath.Ext(p.file) != ".o" {
			continue
		}
		made, err := object.Load(filepath.Join(dir, p.file), nil)
		if err != nil {
			t.Error(err)
			continue
		}
		committed, err := object.Load("../"+p.file, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, want := asmtext.PrintSpec(committed.Spec), asmtext.PrintSpec(made.Spec); same && got != want {
			t.Errorf("%s is not current: run make examples", p.file)
		}
	}
}

// kernel loads a program and its maps, or skips.
func kernel(t *testing.T, file string) (*object.Object, *ebpf.Collection, *ebpf.Program) {
	t.Helper()
	o, err := object.Load("../"+file, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.Program("")
	if err != nil {
		t.Fatal(err)
	}
	_ = rlimit.RemoveMemlock() // kernels before 5.11 count maps against it
	coll, err := ebpf.NewCollection(o.Spec)
	switch {
	case errors.Is(err, os.ErrPermission):
		t.Skipf("bpf(2) is not permitted here: %v", err)
	case errors.Is(err, ebpf.ErrNotSupported):
		t.Skipf("this kernel cannot load it: %v", err)
	case err != nil:
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	return o, coll, coll.Programs[p.Name]
}

// check compares what became of a capture with the table. dump gives a map's
// contents.
func (e *example) check(t *testing.T, verdicts map[uint32]int, dump func(name string) string) {
	t.Helper()
	for v, n := range verdicts {
		if want, ok := e.verdicts[v]; !ok || want >= 0 && want != n {
			t.Errorf("verdict %d: %d packets, want %d", v, n, want)
		}
	}
	for name, line := range e.dump {
		if got := dump(name); !strings.Contains(got, line) {
			t.Errorf("map %s has no %s:\n%s", name, line, got)
		}
	}
}

// TestKernel runs each example in the kernel: its verifier must accept it, and
// the results must be the ones of the table.
func TestKernel(t *testing.T) {
	for _, p := range programs {
		t.Run(p.file, func(t *testing.T) {
			o, coll, prog := kernel(t, p.file)
			for name, file := range p.maps {
				fill(t, coll.Maps[name], o.Spec.Maps[name], file)
			}
			got := map[uint32]int{}
			for i, data := range readPcap(t, p.pcap) {
				ret, out, err := prog.Test(data)
				if err != nil {
					t.Fatalf("packet %d: %v", i+1, err)
				}
				got[ret]++
				if p.file == "l4lb.o" && ret == tx {
					checkWrapped(t, data, out)
				}
			}
			p.check(t, got, func(name string) string { return contents(t, coll.Maps[name], o.Spec.Maps[name]) })
		})
	}
}

// TestInterp runs each example on the reference interpreter, which needs no
// kernel. Its clock is the capture's: a packet every 100 µs.
func TestInterp(t *testing.T) {
	for _, p := range programs {
		t.Run(p.file, func(t *testing.T) {
			o, err := object.Load("../"+p.file, nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := o.Code("")
			if err != nil {
				t.Fatal(err)
			}
			tables, list := map[string]maps.Map{}, []maps.Map{}
			for _, spec := range c.Maps {
				m := twin(t, spec)
				tables[spec.Name] = m
				list = append(list, m)
			}
			for name, file := range p.maps {
				load(t, tables[name], file)
			}
			var now uint64
			m, err := interp.New(c, list, &interp.Options{Time: func() uint64 { return now }})
			if err != nil {
				t.Fatal(err)
			}
			got, model := map[uint32]int{}, bucketModel{}
			for i, data := range readPcap(t, p.pcap) {
				now = uint64(i+1) * 100_000
				r, err := m.Run(&interp.Input{Packet: data})
				if err != nil {
					t.Fatalf("packet %d: %v", i+1, err)
				}
				ret := uint32(r.R0)
				got[ret]++
				switch {
				case p.file == "l4lb.o" && ret == tx:
					checkWrapped(t, data, r.Packet)
				case p.file == "ratelimit.o" && (ret == drop) == model.takes(data, now):
					t.Errorf("packet %d: verdict %d", i+1, ret)
				}
			}
			if p.file == "ratelimit.o" && (got[drop] == 0 || got[pass] == 0) {
				t.Errorf("a limit that does nothing, or everything: %v", got)
			}
			p.check(t, got, func(name string) string {
				data, err := maps.DumpJSON(tables[name])
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			})
		})
	}
}

// A bucketModel is a token bucket for each source, in tokens as textbooks have
// it: one a millisecond, five at most (limit.json).
type bucketModel map[[4]byte]struct{ tokens, last float64 }

// takes reports whether a packet is let through.
func (m bucketModel) takes(packet []byte, now uint64) bool {
	if len(packet) < 34 || packet[12] != 8 || packet[13] != 0 {
		return true
	}
	source, ms := [4]byte(packet[26:30]), float64(now)/1e6
	b, known := m[source]
	if !known {
		b.tokens, b.last = 5, ms
	}
	b.tokens = min(5, b.tokens+ms-b.last)
	b.last = ms
	ok := b.tokens >= 1-1e-9
	if ok {
		b.tokens--
	}
	m[source] = b
	return ok
}

// twin returns an empty map of ours with the shape of one of the kernel's.
func twin(t *testing.T, spec *ebpf.MapSpec) maps.Map {
	t.Helper()
	size, err := maps.StorageSize(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := maps.New(spec, make([]byte, size), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// load puts a JSON file's entries into a map of ours.
func load(t *testing.T, m maps.Map, file string) {
	t.Helper()
	f, err := os.Open("../" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := maps.LoadJSON(m, f); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// fill puts a JSON file's entries into a kernel map.
func fill(t *testing.T, to *ebpf.Map, spec *ebpf.MapSpec, file string) {
	t.Helper()
	m := twin(t, spec)
	load(t, m, file)
	var key []byte
	var err error
	for {
		if key, err = m.NextKey(key); err != nil {
			return
		}
		value, err := m.LookupAll(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Update(key, value, ebpf.UpdateAny); err != nil {
			t.Fatal(err)
		}
	}
}

// contents returns a kernel map's contents as nfpsim dumps them.
func contents(t *testing.T, from *ebpf.Map, spec *ebpf.MapSpec) string {
	t.Helper()
	m := twin(t, spec)
	var key, value []byte
	for iter := from.Iterate(); iter.Next(&key, &value); {
		if err := m.UpdateAll(key, value, 0); err != nil {
			t.Fatal(err)
		}
	}
	data, err := maps.DumpJSON(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// checkWrapped checks that a packet was put whole after a new IPv4 header with
// a right checksum.
func checkWrapped(t *testing.T, in, out []byte) {
	t.Helper()
	if len(out) != len(in)+20 || !bytes.Equal(out[34:], in[14:]) {
		t.Fatalf("packet of %d bytes became\n%x", len(in), out)
	}
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(out[i])<<8 | uint32(out[i+1])
	}
	if sum = sum&0xffff + sum>>16; sum&0xffff+sum>>16 != 0xffff {
		t.Errorf("checksum of the outer header: %x", out[14:34])
	}
}
