package maps

// hash is a hash or LRU hash, per-CPU or not.
type hash struct {
	base
	lru    bool
	perCPU bool
	keys   keyTable
	slots  slots
	recent order // entries, most recently used last; LRU only
}

func newHash(b base, lru, perCPU bool, opt *Options) *hash {
	h := &hash{base: b, lru: lru, perCPU: perCPU, slots: newSlots(int(b.spec.MaxEntries), opt.first())}
	h.keys.init()
	h.recent.init()
	return h
}

func (h *hash) Lookup(key []byte) (int, bool) {
	e, ok := h.keys.find(key)
	if !ok {
		return 0, false
	}
	if h.lru {
		h.recent.toBack(e)
	}
	return h.mine(h.keys.entries[e].slot), true
}

func (h *hash) LookupCPU(key []byte, cpu int) (int, bool) {
	e, ok := h.keys.find(key)
	if !ok || cpu < 0 || cpu >= h.cpus {
		return 0, false
	}
	if h.lru {
		h.recent.toBack(e)
	}
	return h.slot(h.keys.entries[e].slot) + cpu*h.stride, true
}

func (h *hash) Update(key, value []byte, flags uint64) error {
	if len(value) != int(h.spec.ValueSize) {
		return EINVAL
	}
	slot, fresh, err := h.place(key, flags)
	if err != nil {
		return err
	}
	if fresh && h.perCPU {
		clear(h.storage[h.slot(slot) : h.slot(slot)+h.cpus*h.stride])
	}
	copy(h.storage[h.mine(slot):], value)
	return nil
}

func (h *hash) UpdateAll(key, value []byte, flags uint64) error {
	if len(value) != h.hostSize(h.perCPU) {
		return EINVAL
	}
	slot, _, err := h.place(key, flags)
	if err != nil {
		return err
	}
	copy(h.storage[h.slot(slot):], value)
	return nil
}

// place applies an update's checks. It returns the slot for the value, and reports
// whether the key is new.
func (h *hash) place(key []byte, flags uint64) (slot int, fresh bool, err error) {
	if len(key) != int(h.spec.KeySize) {
		return 0, false, EINVAL
	}
	if flags > Exist { // lock included: values here have no spin lock
		return 0, false, EINVAL
	}
	e, found := h.keys.find(key)
	switch {
	case found && flags == NoExist:
		return 0, false, EEXIST
	case !found && flags == Exist:
		return 0, false, ENOENT
	case found:
		if !h.perCPU {
			h.keys.entries[e].slot = h.slots.exchange(h.keys.entries[e].slot)
		}
		if h.lru {
			h.recent.toBack(e)
		}
		return h.keys.entries[e].slot, false, nil
	}
	slot, ok := h.slots.take()
	if !ok {
		if !h.lru {
			return 0, false, E2BIG
		}
		h.remove(h.recent.first())
		slot, _ = h.slots.take()
	}
	e = h.keys.add(key, slot)
	if h.lru {
		h.recent.toBack(e)
	}
	return slot, true, nil
}

func (h *hash) remove(e int) {
	h.slots.give(h.keys.entries[e].slot)
	h.keys.remove(e)
	if h.lru {
		h.recent.drop(e)
	}
}

func (h *hash) Delete(key []byte) error {
	e, ok := h.keys.find(key)
	if !ok {
		return ENOENT
	}
	h.remove(e)
	return nil
}

func (h *hash) NextKey(key []byte) ([]byte, error) { return h.keys.next(key) }

func (h *hash) LookupAll(key []byte) ([]byte, error) {
	e, ok := h.keys.find(key)
	if !ok {
		return nil, ENOENT
	}
	return h.all(h.keys.entries[e].slot, h.perCPU), nil
}
