package main

import (
	"fmt"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// use is the part of a limit that a program uses.
type use struct {
	Used int64  `json:"used"`
	Max  int64  `json:"max"`            // 0: no limit
	Left *int64 `json:"left,omitempty"` // absent if there is no limit; less than 0 if it is exceeded
}

// left is a use with its headroom.
func left(used, limit int64) use {
	u := use{Used: used, Max: limit}
	if limit != 0 {
		n := limit - used
		u.Left = &n
	}
	return u
}

func (u use) String() string {
	if u.Max == 0 {
		return fmt.Sprintf("%d, no limit", u.Used)
	}
	if u.Used > u.Max {
		return fmt.Sprintf("%d of %d, %d too many", u.Used, u.Max, u.Used-u.Max)
	}
	return fmt.Sprintf("%d of %d, %d left", u.Used, u.Max, u.Max-u.Used)
}

// budgetOrder has the fields of a budget in the order of printing. words and
// stack are those of nfpkit's code; those with driver are the Linux driver's.
var budgetOrder = []string{"words", "driver_words_min", "driver_words_max", "stack", "driver_stack", "maps", "map_entries", "map_bytes", "helpers"}

// budget returns the resource use that is known without compiling.
func budget(f *verify.Facts, view *linux.View, at *checkTarget) map[string]use {
	p := at.profile
	count, entries, bytes := int64(0), int64(0), int64(0)
	for _, m := range f.Code.Maps {
		if helper.OffloadNeutral(m.Type) {
			continue
		}
		count, entries = count+1, entries+int64(m.MaxEntries)
		if n, err := maps.StorageSize(m, nil); err == nil {
			bytes += n
		}
	}
	least, most := view.Words()
	return map[string]use{
		"driver_words_min": left(int64(least), int64(p.MaxLen)),
		"driver_words_max": left(int64(most), int64(p.MaxLen)),
		"driver_stack":     left(int64(view.Stack()), int64(p.Stack)),
		"maps":             left(count, int64(p.Maps.Count)),
		"map_entries":      left(entries, int64(p.Maps.Entries)),
		"map_bytes":        left(bytes, int64(at.model.EMEM.Bytes)),
		"helpers":          left(int64(called(f)), int64(offered(p))),
	}
}

// called counts the helpers that a program calls, each once.
func called(f *verify.Facts) int {
	ids := map[int64]bool{}
	for i := range f.Code.Insns {
		if ins := &f.Code.Insns[i]; f.Reachable[i] && ins.IsBuiltinCall() && ins.Callee == code.None {
			ids[ins.Constant] = true
		}
	}
	return len(ids)
}

// offered counts the helpers that a firmware has.
func offered(p *firmware.Profile) int {
	ids := map[int32]bool{}
	for id := range p.Helpers {
		ids[id] = true
	}
	for _, id := range p.Inline {
		ids[id] = true
	}
	if p.DirectMap {
		ids[1] = true
	}
	return len(ids)
}
