package driver

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// CheckMaps returns the reasons why the firmware cannot hold all maps of the programs,
// which share maps of the same name. It creates no map. Each reason is an error of
// CreateMap, at the first use of the map.
func CheckMaps(programs []*verify.Facts, p *firmware.Profile) []verify.Reason {
	var found []verify.Reason
	seen := map[string]bool{}
	used, entries := 0, 0
	for _, f := range programs {
		for i := range f.Code.Insns {
			k := f.Code.Insns[i].Map
			if k == code.None || seen[f.Code.Maps[k].Name] {
				continue
			}
			spec := f.Code.Maps[k]
			seen[spec.Name] = true
			var err error
			if !neutral(p, spec) {
				err = checkMap(p, spec, used, entries)
				used, entries = used+1, entries+int(spec.MaxEntries)
			}
			if err == nil {
				_, err = tableSize(p, spec)
			}
			if err != nil {
				found = append(found, mapReason(f, i, err))
			}
		}
	}
	return found
}

// mapReason converts a MapError to a reason, at the instruction that uses the map.
func mapReason(f *verify.Facts, i int, err error) verify.Reason {
	r := verify.Reason{Message: err.Error()}
	var fault *MapError
	if errors.As(err, &fault) {
		r.Reason, r.Message = fault.Reason, fmt.Sprintf("map %s: %s", fault.Map, fault.Msg)
	}
	return verify.Place(f.Code, i, r)
}

// neutral reports whether a map stays with the host and counts against no limit.
func neutral(p *firmware.Profile, spec *ebpf.MapSpec) bool {
	return helper.OffloadNeutral(spec.Type) && p.Offers(25)
}

// maxTable is the size limit of a table: 512 MiB, so that adding small offsets to the
// low word of a value pointer never carries (open CoreNIC firmware).
const maxTable = 512 << 20

// checkMap compares a spec with the profile's limits. used and entries are the numbers
// of other maps and of their entries.
func checkMap(p *firmware.Profile, spec *ebpf.MapSpec, used, entries int) error {
	fail := func(reason, format string, args ...any) error {
		return &MapError{Map: spec.Name, Reason: reason, Msg: fmt.Sprintf(format, args...)}
	}
	info, known := helper.MapTypeInfo(spec.Type)
	offered := false
	for _, t := range p.Maps.Types {
		offered = offered || known && t == info.Name
	}
	m, key, value, n := &p.Maps, int(spec.KeySize), int(spec.ValueSize), int(spec.MaxEntries)
	over := func(n, limit int) bool { return limit != 0 && n > limit }
	entry := (key+7)&^7 + (value+7)&^7
	switch {
	case !offered:
		name := info.Name
		if !known {
			name = spec.Type.String()
		}
		return fail("map-type", "firmware %s has no maps of type %s", p.Name, name)
	case over(used+1, m.Count):
		return fail("map-count", "firmware %s limits the number of maps to %d", p.Name, m.Count)
	case over(entries+n, m.Entries):
		return fail("map-entries", "%d entries, %d of %d are left", n, m.Entries-entries, m.Entries)
	case over(key, m.Key):
		return fail("map-key", "key of %d bytes, the most is %d", key, m.Key)
	case over(value, m.Value):
		return fail("map-value", "value of %d bytes, the most is %d", value, m.Value)
	case over(entry, m.Entry):
		return fail("map-entry", "key and value take %d bytes, the most is %d", entry, m.Entry)
	case p.DirectMap && used > 0:
		return fail("map-count", "firmware %s has one map", p.Name)
	case p.DirectMap && bits.OnesCount(uint(n)) != 1:
		return fail("map-entries", "%d entries, a power of two is needed", n)
	}
	return nil
}

// tableSize returns the bytes of external memory for a map's values.
func tableSize(p *firmware.Profile, spec *ebpf.MapSpec) (int64, error) {
	size, err := maps.StorageSize(spec, nil)
	if err != nil {
		return 0, createError(spec, err)
	}
	if p.DirectMap {
		size = int64(directStride(spec)) * int64(spec.MaxEntries)
	}
	if size > maxTable {
		return 0, &MapError{Map: spec.Name, Reason: "map-address", Msg: fmt.Sprintf("values take %d bytes, a table has %d at most", size, maxTable)}
	}
	return size, nil
}

// createError converts an error of bpf/maps to a MapError, which names the map too.
func createError(spec *ebpf.MapSpec, err error) *MapError {
	return &MapError{Map: spec.Name, Reason: "map-create", Msg: strings.TrimPrefix(err.Error(), "map "+spec.Name+": "), Err: err}
}
