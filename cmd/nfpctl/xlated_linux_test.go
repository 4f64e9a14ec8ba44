package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/offload"
)

// Every line of prog dump xlated is that of bpftool, which writes the same instructions in
// the kernel's words.
func TestDumpXlatedAsBpftool(t *testing.T) {
	if _, err := exec.LookPath("bpftool"); err != nil {
		t.Skip("bpftool is not installed")
	}
	k := offload.NewLinux(nil)
	objects, err := filepath.Glob("../../examples/*.o")
	if err != nil || len(objects) == 0 {
		t.Fatalf("no objects: %v", err)
	}
	const kinds = "testdata/xlated.bpf"
	lines := 0
	for _, object := range append(objects, kinds) {
		s, err := readSource(nil, object)
		if err != nil {
			t.Fatal(err)
		}
		coll, err := openObject(s.data, offload.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		for name, spec := range coll.Programs {
			if object == kinds { // bpftool 7.1 dies of lines without functions
				for i := range spec.Instructions {
					spec.Instructions[i] = spec.Instructions[i].WithSource(nil)
				}
			}
			id := loadOnHost(t, k, coll, spec)
			var out, errs bytes.Buffer
			if code := run(func(string) (offload.Kernel, error) { return k, nil }, []string{"--journal", filepath.Join(t.TempDir(), "j"), "prog", "dump", "xlated", "id", fmt.Sprint(id)}, nil, &out, &errs); code != 0 {
				t.Fatalf("%s: exit status %d: %s", name, code, &errs)
			}
			theirs, err := exec.Command("bpftool", "prog", "dump", "xlated", "id", fmt.Sprint(id)).Output()
			if err != nil {
				t.Fatal(err)
			}
			want := ourWords(string(theirs))
			got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%s %s: line %d of\n%s\ndiffers from bpftool's\n%s", object, name, i, &out, strings.Join(want, "\n"))
				}
				lines++
			}
		}
	}
	if lines < 100 {
		t.Errorf("%d lines were compared", lines)
	}
}

// loadOnHost loads a program for the host, with maps of its own, and returns its id.
func loadOnHost(t *testing.T, k *offload.Linux, coll *ebpf.CollectionSpec, spec *ebpf.ProgramSpec) uint32 {
	t.Helper()
	maps := map[string]offload.Map{}
	for _, ins := range spec.Instructions {
		name := ins.Reference()
		if !ins.IsLoadFromMap() || maps[name] != nil {
			continue
		}
		m, err := k.CreateMap(coll.Maps[name], nil)
		if offload.ReasonOf(err) == "no-permission" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		maps[name] = m
	}
	p, err := k.LoadProgram(spec, maps, nil)
	if offload.ReasonOf(err) == "no-permission" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.ID()
}

var (
	offsetOf  = regexp.MustCompile(`\((r\d+) ([+-])(\d+)\)`)
	compared  = regexp.MustCompile(`0x([0-9a-f]+) goto`)
	wideHex   = regexp.MustCompile(`(\(18\) r\d+ = )(0x[0-9a-f]+)$`)
	exchanged = regexp.MustCompile(`(= )atomic64_xchg\(\(u64 \*\)\((r\d+ [+-] \d+)\), (r\d+)\)`)
	codeName  = regexp.MustCompile(`(call pc[+-]\d+)#\w+`)
)

// ourWords are the instructions of bpftool's dump as package asmtext writes them.
func ourWords(dump string) []string {
	var all []string
	for line := range strings.Lines(dump) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, ";") || strings.HasSuffix(line, ":") {
			continue // the source, and the head of a function
		}
		line = offsetOf.ReplaceAllString(line, "($1 $2 $3)")
		line = exchanged.ReplaceAllString(line, "${1}xchg_64($2, $3)")
		line = strings.Replace(line, "atomic64_", "atomic_", 1)
		line = codeName.ReplaceAllString(line, "$1")
		line = compared.ReplaceAllStringFunc(line, func(s string) string {
			n, _ := strconv.ParseUint(strings.TrimSuffix(s[2:], " goto"), 16, 32)
			return fmt.Sprintf("%d goto", int32(n))
		})
		if m := wideHex.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[2], 0, 64)
			constant := m[2] + " ll"
			if int64(n) == int64(int32(n)) {
				constant = fmt.Sprintf("%d ll", n)
			}
			line = wideHex.ReplaceAllString(line, "${1}"+constant)
		}
		all = append(all, line)
	}
	return all
}
