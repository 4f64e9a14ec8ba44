package jit_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// TestBackend compiles in.ir for the program type and firmware that the file
// options names. It compares the stages of which the archive has a file:
// legal.ir after legalize, select.s with virtual registers, alloc.s with
// physical ones, and the words of final.s. The file error holds a refusal.
func TestBackend(t *testing.T) {
	golden.Run(t, "testdata/backend/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		m, err := ir.Parse(files["in.ir"])
		if err != nil {
			t.Fatal(err)
		}
		if err := ir.Check(m); err != nil {
			t.Fatal(err)
		}
		options := append(strings.Fields(files["options"]), "xdp", "stock")
		kind := map[string]ebpf.ProgramType{"xdp": ebpf.XDP, "tc": ebpf.SchedCLS, "raw": ebpf.UnspecifiedProgram}[options[0]]
		name := "stock"
		if len(options) > 3 {
			name = options[1]
		}
		p, err := firmware.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		dump := func(pass, text string) {
			switch name, _, _ := strings.Cut(pass, " "); name {
			case "legalize":
				got["legal.ir"] = text
			case "select", "regalloc":
				got[map[string]string{"select": "select.s", "regalloc": "alloc.s"}[name]] += text
			}
		}
		off := slices.DeleteFunc(jit.Optional(), func(pass string) bool {
			return strings.HasPrefix(pass, "deadcode") || slices.Contains(mach.Optional(), pass)
		})
		im, err := jit.CompileIR(m, kind, p, &jit.Options{Check: true, Dump: dump, Off: off})
		if err != nil {
			got["error"] = err.Error()
		} else {
			got["final.s"] = nfp.Disassemble(im)
		}
		for name := range got {
			if _, wanted := files[name]; !wanted {
				delete(got, name)
			}
		}
		return got
	})
}
