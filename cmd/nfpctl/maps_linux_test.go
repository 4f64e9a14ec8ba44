package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"

	"github.com/nfpkit/nfpkit/offload"
)

const kindsObject = "testdata/maps/kinds.o"

// tools are nfpctl on the running kernel's maps, nfpsim, and bpftool.
type tools struct {
	t            *testing.T
	dir          string
	sim, bpftool string
	kernel       offload.Kernel
	spec         *ebpf.CollectionSpec
}

func newTools(t *testing.T) *tools {
	x := &tools{t: t, dir: t.TempDir(), kernel: offload.NewLinux(nil)}
	rlimit.RemoveMemlock()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Skipf("bpf(2) is not permitted here: %v", err)
	}
	m.Close()
	if x.bpftool, err = exec.LookPath("bpftool"); err != nil {
		x.bpftool = "/usr/sbin/bpftool"
		if _, err := os.Stat(x.bpftool); err != nil {
			t.Skip("bpftool is not installed")
		}
	}
	x.sim = filepath.Join(x.dir, "nfpsim")
	if out, err := exec.Command("go", "build", "-o", x.sim, "../nfpsim").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if x.spec, err = ebpf.LoadCollectionSpec(kindsObject); err != nil {
		t.Fatal(err)
	}
	return x
}

// output runs a program and returns what it prints.
func (x *tools) output(name string, args ...string) string {
	x.t.Helper()
	var stdout, stderr bytes.Buffer
	if name == "nfpctl" {
		code := run(func(string) (offload.Kernel, error) { return x.kernel, nil }, append([]string{"--journal", filepath.Join(x.dir, "journal")}, args...), strings.NewReader(""), &stdout, &stderr)
		if code != 0 {
			x.t.Fatalf("nfpctl %v: exit code %d: %s", args, code, &stderr)
		}
		return stdout.String()
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		x.t.Fatalf("%s %v: %v: %s%s", name, args, err, &stdout, &stderr)
	}
	return stdout.String()
}

// file writes text to a file.
func (x *tools) file(text string) string {
	x.t.Helper()
	f, err := os.CreateTemp(x.dir, "*.txt")
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return f.Name()
}

// simulated fills a map of an object in nfpsim, and returns its dump.
func (x *tools) simulated(object, name, file string) string {
	x.t.Helper()
	out := filepath.Join(x.dir, "dump.json")
	x.output(x.sim, "run", object, "--engine", "interp", "--firmware", "unlimited", "--packet", strings.Repeat("00", 64), "--map", name+"="+file, "--dump", name+"="+out)
	data, err := os.ReadFile(out)
	if err != nil {
		x.t.Fatal(err)
	}
	return string(data)
}

// newMap makes a map of the running kernel and returns its id.
func (x *tools) newMap(spec *ebpf.MapSpec) string {
	x.t.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { m.Close() })
	info, err := m.Info()
	if err != nil {
		x.t.Fatal(err)
	}
	id, _ := info.ID()
	return fmt.Sprint(id)
}

// TestOneLanguage writes maps of every kind with each tool and reads them with
// every other: nfpsim, nfpctl and bpftool.
func TestOneLanguage(t *testing.T) {
	x := newTools(t)
	t.Run("examples", x.examples)
	t.Run("references", x.references)
	t.Run("queue", x.queue)
	const route = `{"packets":1,"via":"10.0.0.254","vlan":100,"priority":"0x6","drop":1,"mac":"02:00:00:00:00:07","port":"eth0","on":true}`
	for name, entries := range map[string]string{
		"flows": `[{"key":{"address":"10.0.0.1","port":"00 50","zone":7},"value":{"peer":{"address":"10.0.0.2"},"state":"HALF_OPEN","delta":-5,` +
			`"bytes":[1,2,3,4],"low":[[-1,2],[3]],"samples":[1,18446744073709551615],"next":"0x10","wide":"0x123456789abcdef0123456789"}},
			{"key":"0a 00 00 01 00 35 00 00","value":{}}]`,
		"table":    `[{"key":1,"value":` + route + `},{"key":7,"value":{"via":1}}]`,
		"percpu":   `[{"key":"OPEN","values":[-1]},{"key":0,"values":[{"cpu":0,"value":5}]}]`,
		"counts":   `[{"key":3,"values":[12]}]`,
		"recent":   `[{"key":"192.0.2.1","value":"01 bb"}]`,
		"sessions": `[{"key":18446744073709551615,"values":[{"address":"10.0.0.1","port":80}]}]`,
		"routes":   `[{"key":"10.0.0.0/8","value":` + route + `},{"key":{"length":32,"address":"10.0.0.7"},"value":{"on":true}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			x := *x
			x.t = t
			spec, types := x.spec.Maps[name], []string{"--types", kindsObject + ":" + name}
			input := x.file(entries)
			want := x.simulated(kindsObject, name, input)
			id := x.newMap(spec)
			x.output("nfpctl", append([]string{"map", "update", "id", id, "--file", input}, types...)...)
			kernel := x.output(x.bpftool, "-j", "map", "dump", "id", id)
			for who, text := range map[string]string{
				"nfpsim":         want,
				"nfpctl":         x.output("nfpctl", append([]string{"map", "dump", "id", id}, types...)...),
				"nfpctl --json":  x.output("nfpctl", append([]string{"map", "dump", "--json", "id", id}, types...)...),
				"nfpctl, bytes":  x.output("nfpctl", "map", "dump", "id", id),
				"nfpctl, no BTF": x.output("nfpctl", "map", "dump", "--json", "id", id),
				"bpftool":        x.output(x.bpftool, "map", "dump", "id", id),
				"bpftool -j":     kernel,
				"bpftool -p":     x.output(x.bpftool, "-p", "map", "dump", "id", id),
			} {
				file := x.file(text)
				if got := x.simulated(kindsObject, name, file); got != want {
					t.Errorf("nfpsim reads from %s:\n%s, want\n%s", who, got, want)
				}
				again := x.newMap(spec)
				x.output("nfpctl", append([]string{"map", "update", "id", again, "--file", file}, types...)...)
				if got := x.simulated(kindsObject, name, x.file(x.output(x.bpftool, "-j", "map", "dump", "id", again))); got != want {
					t.Errorf("nfpctl reads from %s:\n%s, want\n%s", who, got, want)
				}
			}
		})
	}
}

// examples fills maps with every file of the examples in both tools.
func (x tools) examples(t *testing.T) {
	x.t = t
	files, err := filepath.Glob("../../examples/*.json")
	if err != nil {
		t.Fatal(err)
	}
	maps := map[string]string{
		"blocked": "firewall:blocked", "blocked6": "firewall:blocked6", "ddos-settings": "ddos:settings", "limit": "ratelimit:limit",
		"reflectors": "ddos:reflectors", "services": "l4lb:services", "slots": "l4lb:slots",
	}
	for _, file := range files {
		base := strings.TrimSuffix(filepath.Base(file), ".json")
		object, name, ok := strings.Cut(maps[base], ":")
		if !ok {
			t.Errorf("%s: of which map is it?", file)
			continue
		}
		object = "../../examples/" + object + ".o"
		spec, err := ebpf.LoadCollectionSpec(object)
		if err != nil {
			t.Fatal(err)
		}
		if spec.Maps[name] == nil {
			t.Fatalf("%s has no map %s", object, name)
		}
		id := x.newMap(spec.Maps[name])
		x.output("nfpctl", "map", "update", "id", id, "--file", file, "--types", object+":"+name)
		dump := x.output("nfpctl", "map", "dump", "--json", "id", id, "--types", object+":"+name)
		want := x.simulated(object, name, file)
		if got := x.simulated(object, name, x.file(dump)); got != want || len(want) < 10 {
			t.Errorf("%s:\n%s, want\n%s", file, got, want)
		}
	}
}

// references writes dumps of maps whose values name programs and maps into others: the
// kernel shows ids and takes file descriptors.
func (x tools) references(t *testing.T) {
	x.t = t
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	programID, _ := info.ID()
	inner := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	innerID := x.newMap(inner)
	for _, c := range []struct {
		spec  *ebpf.MapSpec
		value string
	}{
		{&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4}, fmt.Sprint(programID)},
		{&ebpf.MapSpec{Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 4, InnerMap: inner}, innerID},
		{&ebpf.MapSpec{Type: ebpf.HashOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 4, InnerMap: inner}, innerID},
		{&ebpf.MapSpec{Type: ebpf.DevMap, KeySize: 4, ValueSize: 8, MaxEntries: 4}, "1"},
	} {
		id, again := x.newMap(c.spec), x.newMap(c.spec)
		x.output("nfpctl", "map", "update", "id", id, "key", "2", "value", c.value)
		dump := x.output(x.bpftool, "-j", "map", "dump", "id", id)
		x.output("nfpctl", "map", "update", "id", again, "--file", x.file(dump))
		if got := x.output(x.bpftool, "-j", "map", "dump", "id", again); got != dump {
			t.Errorf("%v: %s, want %s", c.spec.Type, got, dump)
		}
		value := make([]byte, c.spec.ValueSize)
		n, err := strconv.ParseUint(c.value, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(value, uint32(n))
		if got, want := x.output("nfpctl", "map", "lookup", "id", id, "key", "2"), fmt.Sprintf("key: 02 00 00 00  value: % x\n", value); got != want {
			t.Errorf("%v: %s, want %s", c.spec.Type, got, want)
		}
	}
}

// queue writes and reads a map without keys.
func (x tools) queue(t *testing.T) {
	x.t = t
	id := x.newMap(&ebpf.MapSpec{Type: ebpf.Queue, ValueSize: 4, MaxEntries: 8})
	x.output("nfpctl", "map", "update", "id", id, "value", "5")
	x.output("nfpctl", "map", "update", "id", id, "--file", x.file(`[{"value":"06 00 00 00"},{"value":7}]`))
	if got := x.output("nfpctl", "map", "lookup", "--json", "id", id); got != `{"value":["0x05","0x00","0x00","0x00"]}`+"\n" {
		t.Error(got)
	}
	for _, want := range []string{"05", "06", "07"} {
		if got := x.output(x.bpftool, "map", "dequeue", "id", id); got != "value: "+want+" 00 00 00\n" {
			t.Error(got)
		}
	}
}
