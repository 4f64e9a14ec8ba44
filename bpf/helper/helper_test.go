package helper

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestProtosAreWellFormed checks that ids are sorted, that names agree with cilium's,
// and that a size argument follows the memory that it measures.
func TestProtosAreWellFormed(t *testing.T) {
	all := All()
	if !slices.IsSortedFunc(all, func(a, b Proto) int { return int(a.ID) - int(b.ID) }) {
		t.Error("table is not sorted by id")
	}
	names := map[string]bool{}
	for i, p := range all {
		if i > 0 && all[i-1].ID == p.ID {
			t.Errorf("id %d twice", p.ID)
		}
		if names[p.Name] {
			t.Errorf("name %s twice", p.Name)
		}
		names[p.Name] = true
		if want := ciliumName(p.ID); p.Name != want {
			t.Errorf("helper %d: name %q, cilium says %q", p.ID, p.Name, want)
		}
		if p.Doc == "" || strings.HasSuffix(p.Doc, ".") {
			t.Errorf("%s: doc %q wants one line without a full stop", p.Name, p.Doc)
		}
		ended := false
		for k, a := range p.Args {
			if a == ArgNone {
				ended = true
				continue
			}
			if ended {
				t.Errorf("%s: argument %d follows a missing one", p.Name, k+1)
			}
			sized := a == ArgMem || a == ArgMemOrNull || a == ArgUninitMem
			if sized && (k == 4 || p.Args[k+1] != ArgConstSize && p.Args[k+1] != ArgConstSizeZero) {
				t.Errorf("%s: argument %d is not followed by a size", p.Name, k+1)
			}
			if fixed := a == ArgFixedMem || a == ArgUninitFixedMem; fixed && p.Fixed == 0 {
				t.Errorf("%s: argument %d needs a fixed size", p.Name, k+1)
			}
		}
	}
}

// ciliumName turns FnMapLookupElem into map_lookup_elem.
func ciliumName(id asm.BuiltinFunc) string {
	s := strings.TrimPrefix(fmt.Sprint(id), "Fn")
	s = regexp.MustCompile(`([A-Z][a-z]*|[0-9]+)`).ReplaceAllString(s, "_$1")
	s = regexp.MustCompile(`_([0-9]+)`).ReplaceAllString(s, "$1")
	return strings.TrimPrefix(strings.ToLower(s), "_")
}

func TestLookups(t *testing.T) {
	for _, p := range All() {
		if q, ok := ByID(p.ID); !ok || q.Name != p.Name {
			t.Errorf("ByID(%d) = %v, %v", p.ID, q.Name, ok)
		}
		if q, ok := ByName("bpf_" + p.Name); !ok || q.ID != p.ID {
			t.Errorf("ByName(bpf_%s) = %v, %v", p.Name, q.ID, ok)
		}
	}
	if _, ok := ByID(9999); ok {
		t.Error("ByID(9999) found something")
	}
	head, _ := ByID(asm.FnXdpAdjustHead)
	if !head.Allows(ebpf.XDP) || head.Allows(ebpf.SchedCLS) || !head.Allows(ebpf.UnspecifiedProgram) || head.Allows(ebpf.Kprobe) {
		t.Error("xdp_adjust_head is for XDP and raw programs alone")
	}
}

func TestContextsHaveNoOverlap(t *testing.T) {
	for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
		c, ok := Context(typ)
		if !ok {
			t.Fatalf("no context for %v", typ)
		}
		end := 0
		for _, f := range c.Fields {
			if f.Off < end {
				t.Errorf("%s.%s at %d overlaps what ends at %d", c.Name, f.Name, f.Off, end)
			}
			end = f.Off + f.Size
		}
		if end != c.Size {
			t.Errorf("%s ends at %d, not %d", c.Name, end, c.Size)
		}
	}
	if _, ok := Context(ebpf.Kprobe); ok {
		t.Error("kprobe programs have no context here")
	}
}

func TestContextAccess(t *testing.T) {
	for _, c := range []struct {
		typ       ebpf.ProgramType
		off, size int
		write, ok bool
	}{
		{ebpf.XDP, 0, 4, false, true},
		{ebpf.XDP, 0, 2, false, false},
		{ebpf.XDP, 0, 4, true, false},
		{ebpf.XDP, 16, 4, true, true},
		{ebpf.XDP, 14, 4, false, false},
		{ebpf.XDP, 24, 4, false, false},
		{ebpf.SchedCLS, 0, 1, false, true},
		{ebpf.SchedCLS, 48, 8, true, true},
		{ebpf.SchedCLS, 49, 1, true, true},
		{ebpf.SchedCLS, 64, 8, true, false},
		{ebpf.SchedCLS, 8, 4, true, true},
		{ebpf.SchedCLS, 8, 2, true, false},
		{ebpf.SchedCLS, 92, 4, false, false},
		{ebpf.SchedCLS, 181, 1, false, false},
		{ebpf.SchedCLS, -4, 4, false, false},
	} {
		ctx, _ := Context(c.typ)
		if _, ok := ctx.Access(c.off, c.size, c.write); ok != c.ok {
			t.Errorf("%s: access of %d bytes at %d, write %v: %v, want %v", ctx.Name, c.size, c.off, c.write, ok, c.ok)
		}
	}
}

func TestMapTypes(t *testing.T) {
	all := MapTypes()
	for i, m := range all {
		if i > 0 && all[i-1].Type >= m.Type {
			t.Errorf("%s out of order", m.Name)
		}
		if n, ok := MapTypeByName(m.Name); !ok || n.Type != m.Type {
			t.Errorf("MapTypeByName(%s) = %v, %v", m.Name, n.Type, ok)
		}
		if m.Unsupported == "" && len(m.Ops) == 0 {
			t.Errorf("%s is supported but nothing may be done with it", m.Name)
		}
	}
	if m, _ := MapTypeInfo(ebpf.ProgramArray); m.Allows(asm.FnMapLookupElem) || !m.Allows(asm.FnTailCall) {
		t.Error("a prog_array is for tail calls only")
	}
	if _, ok := MapTypeInfo(ebpf.MapType(999)); ok {
		t.Error("map type 999 is known")
	}
}

// Only perf event arrays stay in host memory (bpf_map_offload_neutral).
func TestOffloadNeutral(t *testing.T) {
	for _, m := range MapTypes() {
		if got, want := OffloadNeutral(m.Type), m.Type == ebpf.PerfEventArray; got != want {
			t.Errorf("%s: neutral %v, want %v", m.Name, got, want)
		}
	}
	if OffloadNeutral(ebpf.MapType(9999)) {
		t.Error("an unknown type is neutral")
	}
}
