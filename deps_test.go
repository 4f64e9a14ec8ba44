package nfpkit

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nfpkit/nfpkit/"

// allowed is the shape of the house: what each package may import of ours.
// Imports only ever point down this list. Two machines, eBPF and the NFP, are
// each described once, and whatever knows one does not know the other; only the
// compiler and the NIC stand on both.
var allowed = map[string][]string{
	// eBPF
	"bpf/code":    {},
	"bpf/helper":  {},
	"bpf/asmtext": {},
	"bpf/maps":    {},
	"bpf/interp":  {"bpf/code", "bpf/helper", "bpf/maps", "bpf/asmtext"},
	"bpf/verify":  {"bpf/code", "bpf/helper", "bpf/asmtext"},
	"bpf/object":  {"bpf/code", "bpf/asmtext", "bpf/maps"},
	"bpf/lift":    {"bpf/code", "bpf/helper", "bpf/verify", "bpf/asmtext", "ir"},
	// the NFP
	"nfp":          {"internal/jsonfile"},
	"nfp/firmware": {"internal/jsonfile"},
	"nfp/sim":      {"nfp", "nfp/firmware"},
	// the bridge
	"ir":                {},
	"nfp/jit/mach":      {"nfp", "nfp/firmware"},
	"nfp/jit":           {"ir", "nfp", "nfp/jit/mach", "nfp/firmware", "bpf/lift", "bpf/code", "bpf/verify", "bpf/asmtext"},
	"driver":            {"nfp/sim", "nfp/firmware", "nfp", "bpf/code", "bpf/helper", "bpf/maps", "bpf/verify"},
	"driver/linux":      {"driver", "nfp", "nfp/firmware", "bpf/asmtext", "bpf/code", "bpf/helper", "bpf/maps", "bpf/verify"},
	"driver/card":       {"driver", "nfp", "nfp/firmware", "bpf/maps"},
	"driver/card/vhost": {"driver/card"},
	// the manager: it knows a card only by what the kernel says of it
	"offload":         {"bpf/helper"}, // the kernel's own facts of map types
	"offload/metrics": {"offload"},
	"driver/live":     {"driver", "driver/linux", "offload", "bpf/helper", "nfp", "nfp/firmware", "nfp/jit", "bpf/code", "bpf/maps", "bpf/verify"},
	// tests and tools
	"internal/golden":   {},
	"internal/cache":    {},
	"internal/capture":  {},
	"internal/objdump":  {"internal/cache"},
	"internal/suites":   {},
	"internal/prepare":  {"internal/difftest", "internal/objdump", "internal/uml"},
	"internal/bound":    {"bpf/code", "bpf/interp", "bpf/maps", "nfp", "nfp/firmware"},
	"internal/jsonfile": {},
	"internal/voice":    {},
	// what was measured on silicon, and the fit to it
	"internal/silicon":   {"nfp", "nfp/firmware", "nfp/sim"},
	"internal/calibrate": {"internal/silicon", "driver", "nfp", "nfp/firmware", "nfp/sim"},
	// the kernel test bed; its guest talks to a kernel and knows nothing of ours but the manager
	"internal/uml/report": {},
	"internal/uml": {"internal/cache", "internal/uml/report", "driver", "driver/card", "driver/card/vhost", "nfp/firmware",
		"bpf/code"},
	"internal/uml/guest": {"internal/uml/report", "internal/runbook", "offload"},
	"internal/runbook":   {},
	"internal/flagerror": {},
	"internal/explain":   {"bpf/verify", "driver/linux", "offload"},
	"internal/difftest": {"internal/cache", "driver", "driver/linux", "nfp", "nfp/firmware", "nfp/jit", "ir",
		"bpf/asmtext", "bpf/code", "bpf/helper", "bpf/interp", "bpf/lift", "bpf/maps", "bpf/object", "bpf/verify"},
}

// unbound may import anything below them: commands, tests of docs, examples and the root.
var unbound = []string{"cmd/", "docs", "examples/"}

func TestImportsPointDown(t *testing.T) {
	used := map[string][]string{}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkg := strings.TrimPrefix(p.ImportPath, module)
		used[pkg] = p.Imports
		checkImports(t, pkg, p.Imports)
	}
	if runtime.GOOS != "linux" {
		return // packages for Linux alone look empty
	}
	for pkg, may := range allowed {
		imports, exists := used[pkg]
		if !exists {
			t.Errorf("%s has a row here but is no package: delete the row", pkg)
		}
		for _, ours := range may {
			if exists && !slices.Contains(imports, module+ours) {
				t.Errorf("%s may import %s but does not: delete the entry", pkg, ours)
			}
		}
	}
}

func checkImports(t *testing.T, pkg string, imports []string) {
	t.Helper()
	if strings.HasPrefix(pkg, "offload") || pkg == "cmd/nfpctl" {
		if slices.Contains(imports, "os/exec") {
			t.Errorf("%s imports os/exec: what runs as root on a host with cards starts no other program", pkg)
		}
	}
	if slices.ContainsFunc(unbound, func(p string) bool { return strings.HasPrefix(pkg, p) }) || pkg+"/" == module {
		return
	}
	may, known := allowed[pkg]
	if !known {
		t.Errorf("%s has no row here: say what it may import, so that the tree keeps its shape", pkg)
		return
	}
	for _, imp := range imports {
		ours, ok := strings.CutPrefix(imp, module)
		if ok && !slices.Contains(may, ours) {
			t.Errorf("%s imports %s: imports point down only (two machines, two languages, one bridge); "+
				"move the shared piece down, or hand it in as plain data", pkg, ours)
		}
	}
}
