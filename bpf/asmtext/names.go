package asmtext

import (
	"strings"
	"sync"
	"unicode"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// programTypes are bpftool's words for program types, indexed by the kernel's number
// (enum bpf_prog_type). "tc" and "action" are the common names of two of them.
var programTypes = [...]string{
	"unspec", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp", "perf_event",
	"cgroup_skb", "cgroup_sock", "lwt_in", "lwt_out", "lwt_xmit", "sock_ops", "sk_skb", "cgroup_device",
	"sk_msg", "raw_tracepoint", "cgroup_sock_addr", "lwt_seg6local", "lirc_mode2", "sk_reuseport",
	"flow_dissector", "cgroup_sysctl", "raw_tracepoint_writable", "cgroup_sockopt", "tracing",
	"struct_ops", "ext", "lsm", "sk_lookup", "syscall", "netfilter",
}

// mapTypes are bpftool's words for map types, by the kernel's number (enum
// bpf_map_type).
var mapTypes = [...]string{
	"unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array",
	"stack_trace", "cgroup_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "array_of_maps",
	"hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap", "sockhash", "cgroup_storage",
	"reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack", "sk_storage", "devmap_hash",
	"struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter", "user_ringbuf",
	"cgrp_storage", "arena",
}

// ProgramTypeName returns bpftool's word for a program type, or "" if bpftool has none.
func ProgramTypeName(t ebpf.ProgramType) string {
	if int64(t) < int64(len(programTypes)) {
		return programTypes[t]
	}
	return ""
}

// ProgramType is the inverse of ProgramTypeName. It also knows the short words
// "tc", "action" and "socket".
func ProgramType(name string) (ebpf.ProgramType, bool) {
	switch name {
	case "tc", "classifier":
		return ebpf.SchedCLS, true
	case "action":
		return ebpf.SchedACT, true
	case "socket":
		return ebpf.SocketFilter, true
	}
	for i, n := range programTypes {
		if n == name {
			return ebpf.ProgramType(i), true
		}
	}
	return 0, false
}

// MapTypeName returns bpftool's word for a map type, or "" if bpftool has none.
func MapTypeName(t ebpf.MapType) string {
	if int64(t) < int64(len(mapTypes)) {
		return mapTypes[t]
	}
	return ""
}

// MapType is the inverse of MapTypeName.
func MapType(name string) (ebpf.MapType, bool) {
	for i, n := range mapTypes {
		if n == name {
			return ebpf.MapType(i), true
		}
	}
	return 0, false
}

// helpers holds the kernel's helper names, by number: cilium/ebpf's constant
// FnMapLookupElem is the kernel's bpf_map_lookup_elem.
var helpers = sync.OnceValue(func() []string {
	var names []string
	for id := asm.BuiltinFunc(0); ; id++ {
		name, ok := strings.CutPrefix(id.String(), "Fn")
		if !ok {
			return names
		}
		names = append(names, "bpf"+snake(name))
	}
})

var helperIDs = sync.OnceValue(func() map[string]int64 {
	ids := map[string]int64{}
	for id, name := range helpers() {
		ids[name] = int64(id)
	}
	return ids
})

// snake turns MapLookupElem into _map_lookup_elem.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// HelperName returns a helper's name as in bpf_helpers.h, with its bpf_, or
// "unknown" as the kernel prints it.
func HelperName(id int64) string {
	if names := helpers(); id > 0 && id < int64(len(names)) {
		return names[id]
	}
	return "unknown"
}
