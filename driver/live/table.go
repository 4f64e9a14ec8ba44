package live

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/offload"
)

// table is a map in the card's memory or, if its type is neutral, in the host's.
type table struct {
	count  int
	id     uint32
	spec   *ebpf.MapSpec
	m      *driver.Map // nil after removal, and for a host's map until a program uses it
	host   bool
	reader *samples // reader of a host's map; nil if there is none
	device int
	gone   bool
}

func (t *table) refs() *int { return &t.count }

func (t *table) free(c *Card) {
	delete(c.maps, t.id)
	if t.m != nil {
		_ = c.nic.FreeMap(t.m.ID) // the ID exists: only Unplug frees others, and it clears m
	}
}

func (t *table) info() offload.MapInfo {
	return offload.MapInfo{ID: t.id, Name: t.spec.Name, Shape: offload.ShapeOf(t.spec), Device: t.device, Gone: t.gone}
}

type mapHandle struct {
	*handle
	t *table
}

// CreateMap creates a map on the card.
func (k *Kernel) CreateMap(spec *ebpf.MapSpec, on *offload.Port) (offload.Map, error) {
	fail := func(reason, msg string, err error) (offload.Map, error) {
		return nil, &offload.Error{Op: "create map", Object: spec.Name, Reason: reason, Msg: msg, Err: err}
	}
	if on == nil && helper.OffloadNeutral(spec.Type) {
		return k.c.newEvents(k, spec), nil
	}
	if on == nil {
		return fail("no-native", "the simulated card has no host to keep it on", nil)
	}
	if helper.OffloadNeutral(spec.Type) {
		return fail("map-type", "the kernel keeps maps of type "+offload.MapTypeName(spec.Type)+" in the host's memory", nil)
	}
	if spec.Flags != 0 {
		return fail("map-type", fmt.Sprintf("maps on a card have no flags, these are %#x", spec.Flags), nil)
	}
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if _, err := k.c.byIndex("create map", on); err != nil {
		return nil, err
	}
	empty := spec.Copy()
	empty.Contents = nil
	m, err := k.c.nic.CreateMap(empty)
	var refused *driver.MapError
	if errors.As(err, &refused) {
		reason := "card-full"
		if refused.Reason == "map-type" || refused.Reason == "map-create" {
			reason = refused.Reason
		}
		return fail(reason, refused.Msg, refused.Err)
	}
	if err != nil {
		return fail("map-create", err.Error(), err)
	}
	k.c.lastID++
	t := &table{id: k.c.lastID, spec: empty, m: m, device: on.Index}
	k.c.maps[t.id] = t
	return mapHandle{k.handle(t), t}, nil
}

func (h mapHandle) ID() uint32 { return h.t.id }

func (h mapHandle) Info() (offload.MapInfo, error) {
	h.k.c.mu.Lock()
	defer h.k.c.mu.Unlock()
	return h.t.info(), nil
}

// do runs an operation on the map while no packet is processed.
func (h mapHandle) do(op string, fn func(m *driver.Map) error) error {
	h.k.c.mu.Lock()
	defer h.k.c.mu.Unlock()
	refuse := func(reason, msg string, err error) error {
		return &offload.Error{Op: op, Object: "map " + h.t.spec.Name, Reason: reason, Msg: msg, Err: err}
	}
	fail := func(reason string, err error) error { return refuse(reason, err.Error(), err) }
	if h.t.gone {
		return refuse("gone", "the map's card was removed", syscall.ENODEV)
	}
	if h.t.host {
		return fail("map-type", fmt.Errorf("maps of type %s have no entries to read or write", offload.MapTypeName(h.t.spec.Type)))
	}
	switch err := fn(h.t.m); {
	case err == nil:
		return nil
	case errors.Is(err, maps.ENOENT):
		return refuse("no-entry", "the map has no such key", err)
	case errors.Is(err, maps.EEXIST):
		return refuse("entry-exists", "the map has this key already", err)
	case errors.Is(err, maps.E2BIG):
		return fail("map-full", err)
	default:
		return fail("map-value", err)
	}
}

// Lookup reads one value.
func (h mapHandle) Lookup(key []byte) (value []byte, err error) {
	err = h.do("lookup", func(m *driver.Map) error {
		value, err = m.LookupAll(key)
		return err
	})
	return value, err
}

// Update writes one value.
func (h mapHandle) Update(key, value []byte, flags ebpf.MapUpdateFlags) error {
	return h.do("update", func(m *driver.Map) error { return m.UpdateAll(key, value, uint64(flags)) })
}

// Delete removes one entry.
func (h mapHandle) Delete(key []byte) error {
	return h.do("delete", func(m *driver.Map) error { return m.Delete(key) })
}

// Dump yields all entries. No packet is processed meanwhile.
func (h mapHandle) Dump(yield func(key, value []byte) bool) error {
	var keys, values [][]byte
	err := h.do("dump", func(m *driver.Map) error {
		for key, err := m.NextKey(nil); err == nil; key, err = m.NextKey(key) {
			value, err := m.LookupAll(key)
			if err != nil {
				continue // an array element that was never written
			}
			keys, values = append(keys, key), append(values, value)
		}
		return nil
	})
	for i := range keys {
		if !yield(keys[i], values[i]) {
			break
		}
	}
	return err
}

// Fill updates many entries.
func (h mapHandle) Fill(keys, values []byte) (int, error) {
	k, v := int(h.t.spec.KeySize), int(h.t.spec.ValueSize)
	done := 0
	err := h.do("update", func(m *driver.Map) error {
		if len(keys)%k != 0 || len(values) != len(keys)/k*v {
			return maps.EINVAL
		}
		for ; done < len(keys)/k; done++ {
			if err := m.UpdateAll(keys[done*k:][:k], values[done*v:][:v], maps.Any); err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}
