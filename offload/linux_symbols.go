//go:build linux

package offload

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// Symbols returns the names of the kernel functions that a translated program calls,
// by the constants of its calls: distances from __bpf_call_base. It returns none if
// the kernel hides addresses from this process, or has no table of symbols.
func (l *Linux) Symbols(insns asm.Instructions) map[int64]string {
	wanted := map[int64]bool{}
	for i := range insns {
		if insns[i].IsBuiltinCall() {
			wanted[insns[i].Constant] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil
	}
	defer f.Close()
	base, addresses := uint64(0), map[uint64]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		// "ffffffff81234560 T bpf_map_lookup_elem", and the module's name for modules
		words := strings.Fields(s.Text())
		if len(words) < 3 || words[1] != "t" && words[1] != "T" {
			continue
		}
		address, err := strconv.ParseUint(words[0], 16, 64)
		if err != nil || address == 0 {
			continue
		}
		if words[2] == "__bpf_call_base" {
			base = address
		}
		if addresses[address] == "" {
			addresses[address] = words[2]
		}
	}
	names := map[int64]string{}
	for distance := range wanted {
		if name := addresses[base+uint64(distance)]; base != 0 && name != "" {
			names[distance] = name
		}
	}
	return names
}
