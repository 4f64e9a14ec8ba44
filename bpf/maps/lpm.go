package maps

import (
	"encoding/binary"
	"math/bits"
	"sort"
)

// trie is a longest-prefix-match map. A key is 4 bytes of prefix length in bits
// (host order) and the data the prefix is of, most significant bit first.
//
// It keeps one table of keys for all lengths, under length and masked data, and
// a count of entries for each length; a lookup tries the lengths from the
// key's own downwards. Iteration follows the kernel's: a trie walked children
// first, so that a more specific prefix comes before the ones that contain it.
type trie struct {
	base
	keys   keyTable // under the masked key
	given  []string // entry -> key as last given, with the bits after the prefix
	slots  slots
	counts []int // entries with each prefix length
	sorted []int // entries in order of iteration, when not stale
	stale  bool
}

func newTrie(b base) *trie {
	t := &trie{base: b, slots: newSlots(int(b.spec.MaxEntries), 0), stale: true}
	t.counts = make([]int, t.maxPrefix()+1)
	t.keys.init()
	return t
}

func (t *trie) maxPrefix() int { return (int(t.spec.KeySize) - 4) * 8 }

// prefix returns the key's prefix length; ok is false if the key is invalid.
func (t *trie) prefix(key []byte) (n int, ok bool) {
	if len(key) != int(t.spec.KeySize) {
		return 0, false
	}
	p := binary.LittleEndian.Uint32(key)
	return int(p), uint64(p) <= uint64(t.maxPrefix())
}

// mask writes into buf the key cut to its first n bits, and n itself.
func mask(buf *[4 + trieDataMax]byte, key []byte, n int) []byte {
	k := buf[:len(key)]
	clear(k)
	binary.LittleEndian.PutUint32(k, uint32(n))
	copy(k[4:4+n/8], key[4:])
	if n%8 != 0 {
		k[4+n/8] = key[4+n/8] & (0xff << (8 - n%8))
	}
	return k
}

// longest returns the entry of the longest prefix of key's first n bits.
func (t *trie) longest(key []byte, n int) (int, bool) {
	var buf [4 + trieDataMax]byte
	for ; n >= 0; n-- {
		if t.counts[n] == 0 {
			continue
		}
		if e, ok := t.keys.find(mask(&buf, key, n)); ok {
			return e, true
		}
	}
	return 0, false
}

func (t *trie) exact(key []byte, n int) (int, bool) {
	var buf [4 + trieDataMax]byte
	return t.keys.find(mask(&buf, key, n))
}

func (t *trie) Lookup(key []byte) (int, bool) {
	n, ok := t.prefix(key)
	if !ok {
		return 0, false
	}
	e, ok := t.longest(key, n)
	if !ok {
		return 0, false
	}
	return t.slot(t.keys.entries[e].slot), true
}

func (t *trie) Update(key, value []byte, flags uint64) error {
	n, ok := t.prefix(key)
	if !ok || flags > Exist || len(value) != int(t.spec.ValueSize) {
		return EINVAL
	}
	e, found := t.exact(key, n)
	switch {
	case found && flags == NoExist:
		return EEXIST
	case !found && flags == Exist:
		return ENOENT
	case found:
		t.keys.entries[e].slot = t.slots.exchange(t.keys.entries[e].slot)
	default:
		slot, ok := t.slots.take()
		if !ok {
			return ENOSPC
		}
		var buf [4 + trieDataMax]byte
		e = t.keys.add(mask(&buf, key, n), slot)
		if e == len(t.given) {
			t.given = append(t.given, "")
		}
		t.counts[n]++
		t.stale = true
	}
	t.given[e] = string(key)
	copy(t.storage[t.slot(t.keys.entries[e].slot):], value)
	return nil
}

func (t *trie) Delete(key []byte) error {
	n, ok := t.prefix(key)
	if !ok {
		return EINVAL
	}
	e, ok := t.exact(key, n)
	if !ok {
		return ENOENT
	}
	if !t.stale {
		at := t.rank(e)
		t.sorted = append(t.sorted[:at], t.sorted[at+1:]...)
	}
	t.slots.give(t.keys.entries[e].slot)
	t.keys.remove(e)
	t.given[e] = ""
	t.counts[n]--
	return nil
}

func (t *trie) NextKey(key []byte) ([]byte, error) {
	t.sort()
	at := 0
	if key != nil {
		if n, ok := t.prefix(key); ok {
			if e, ok := t.exact(key, n); ok {
				at = t.rank(e) + 1
			}
		}
	}
	if at == len(t.sorted) {
		return nil, ENOENT
	}
	return []byte(t.given[t.sorted[at]]), nil
}

// sort brings the order of iteration up to date.
func (t *trie) sort() {
	if !t.stale {
		return
	}
	t.sorted = t.sorted[:0]
	for e := t.keys.order.first(); e != none; e = t.keys.order.after(e) {
		t.sorted = append(t.sorted, e)
	}
	sort.Slice(t.sorted, func(i, j int) bool { return t.before(t.sorted[i], t.sorted[j]) })
	t.stale = false
}

// rank returns an entry's place in the order of iteration.
func (t *trie) rank(e int) int {
	return sort.Search(len(t.sorted), func(i int) bool { return !t.before(t.sorted[i], e) })
}

// before reports whether entry a precedes entry b in the order of iteration. At the
// first bit that differs, the entry with 0 precedes. If one prefix contains the other,
// the longer precedes.
func (t *trie) before(a, b int) bool {
	ka, kb := t.keys.entries[a].key, t.keys.entries[b].key
	na, nb := int(binary.LittleEndian.Uint32([]byte(ka[:4]))), int(binary.LittleEndian.Uint32([]byte(kb[:4])))
	n := min(na, nb)
	for i := 0; i*8 < n; i++ {
		if x := ka[4+i] ^ kb[4+i]; x != 0 {
			if at := i*8 + bits.LeadingZeros8(x); at < n {
				return ka[4+i] < kb[4+i]
			}
		}
	}
	return na > nb
}

func (t *trie) LookupAll(key []byte) ([]byte, error) {
	off, ok := t.Lookup(key)
	if !ok {
		return nil, ENOENT
	}
	return append([]byte(nil), t.Value(off)...), nil
}

func (t *trie) UpdateAll(key, value []byte, flags uint64) error { return t.Update(key, value, flags) }
