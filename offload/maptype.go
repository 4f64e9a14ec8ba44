package offload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// mapTypes holds bpftool's names of map types.
var mapTypes = []struct {
	name string
	typ  ebpf.MapType
}{
	{"hash", ebpf.Hash},
	{"array", ebpf.Array},
	{"prog_array", ebpf.ProgramArray},
	{"perf_event_array", ebpf.PerfEventArray},
	{"percpu_hash", ebpf.PerCPUHash},
	{"percpu_array", ebpf.PerCPUArray},
	{"stack_trace", ebpf.StackTrace},
	{"cgroup_array", ebpf.CGroupArray},
	{"lru_hash", ebpf.LRUHash},
	{"lru_percpu_hash", ebpf.LRUCPUHash},
	{"lpm_trie", ebpf.LPMTrie},
	{"array_of_maps", ebpf.ArrayOfMaps},
	{"hash_of_maps", ebpf.HashOfMaps},
	{"devmap", ebpf.DevMap},
	{"sockmap", ebpf.SockMap},
	{"cpumap", ebpf.CPUMap},
	{"xskmap", ebpf.XSKMap},
	{"sockhash", ebpf.SockHash},
	{"queue", ebpf.Queue},
	{"stack", ebpf.Stack},
	{"devmap_hash", ebpf.DevMapHash},
	{"ringbuf", ebpf.RingBuf},
}

// MapTypeName returns a map type's name, or its number if it is unknown.
func MapTypeName(t ebpf.MapType) string {
	for _, m := range mapTypes {
		if m.typ == t {
			return m.name
		}
	}
	return fmt.Sprintf("type_%d", uint32(t))
}

// ParseMapType is the inverse of MapTypeName.
func ParseMapType(name string) (ebpf.MapType, error) {
	i := slices.IndexFunc(mapTypes, func(m struct {
		name string
		typ  ebpf.MapType
	}) bool {
		return m.name == name
	})
	if i >= 0 {
		return mapTypes[i].typ, nil
	}
	var n uint32
	if _, err := fmt.Sscanf(name, "type_%d", &n); err == nil {
		return ebpf.MapType(n), nil
	}
	names := make([]string, len(mapTypes))
	for i, m := range mapTypes {
		names[i] = m.name
	}
	return 0, fmt.Errorf("map type %q is none of %s", name, strings.Join(names, ", "))
}
