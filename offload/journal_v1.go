package offload

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// This file reads version 1 of the journal, a bbolt database with two buckets. It is
// read from memory and never mapped, because a mapped file that is truncated kills the
// process. Every offset is checked, because only bbolt's two meta pages have
// checksums. Buckets are B+ trees of pages; see bbolt's
// internal/common/{meta,page,bucket}.go.

const (
	v1Magic   = 0xED0CDAED
	v1Header  = 16 // of a page: id, flags, count, overflow
	v1Meta    = 64 // magic, version, page size, flags, root, freelist, end, transaction, checksum
	v1Branch  = 0x01
	v1Leaf    = 0x02
	v1Nested  = 0x01 // flag of a leaf's element: the value is a bucket
	v1Element = 16
	v1Depth   = 16 // maximum depth of trees: a deeper tree, even of minimal nodes, would hold more than any journal
)

var v1Order = binary.NativeEndian // bbolt writes its structures in the machine's byte order

// isV1 reports whether a file begins like a bbolt database, or has its second meta
// page at the end of a page of a usual size.
func isV1(data []byte) bool {
	for _, at := range []int{0, 4096, 16384, 65536} {
		if len(data) >= at+v1Header+v1Meta && v1Order.Uint32(data[at+v1Header:]) == v1Magic {
			return true
		}
	}
	return false
}

// v1File is a database in memory.
type v1File struct {
	data []byte
	page int    // size in bytes
	end  uint64 // number of pages
	seen map[uint64]bool
	left int // remaining limit of bytes in keys: elements of a damaged page can overlap
}

// v1Root is the contents of a meta page.
type v1Root struct {
	root, end, transaction uint64
	page                   int
}

func v1MetaAt(data []byte, at int) (v1Root, error) {
	if len(data) < at+v1Header+v1Meta {
		return v1Root{}, fmt.Errorf("it ends in its meta page at byte %d", at)
	}
	m := data[at+v1Header : at+v1Header+v1Meta]
	sum := fnv.New64a()
	sum.Write(m[:v1Meta-8])
	if v1Order.Uint32(m) != v1Magic || v1Order.Uint32(m[4:]) != 2 || v1Order.Uint64(m[v1Meta-8:]) != sum.Sum64() {
		return v1Root{}, fmt.Errorf("its meta page at byte %d is damaged", at)
	}
	return v1Root{v1Order.Uint64(m[16:]), v1Order.Uint64(m[40:]), v1Order.Uint64(m[48:]), int(v1Order.Uint32(m[8:]))}, nil
}

// decodeV1 parses a journal of version 1. If a meta page is damaged, bbolt uses the
// other one, which may be an older state; here that is an error.
func decodeV1(data []byte) (*Snapshot, error) {
	a, err := v1MetaAt(data, 0)
	if err != nil {
		return nil, err
	}
	if a.page < 1024 || a.page > 1<<16 || a.page&(a.page-1) != 0 {
		return nil, fmt.Errorf("its pages have %d bytes", a.page)
	}
	b, err := v1MetaAt(data, a.page)
	if err != nil {
		return nil, err
	}
	if b.transaction+1 == a.transaction {
		a, b = b, a
	}
	if a.transaction+1 != b.transaction || a.page != b.page {
		return nil, errors.New("its two meta pages are not of one time")
	}
	f := &v1File{data, b.page, b.end, map[uint64]bool{}, len(data)}
	if b.end > uint64(len(data)/b.page) {
		return nil, fmt.Errorf("it has %d bytes, and %d pages of %d", len(data), b.end, b.page)
	}
	top, objects, records := map[string][]byte{}, map[string][]byte{}, map[string][]byte{}
	if err := f.walk(b.root, v1Depth, true, top); err != nil {
		return nil, err
	}
	for name, into := range map[string]map[string][]byte{"deployments": records, "objects": objects} {
		if err := f.bucket(top[name], into); err != nil {
			return nil, fmt.Errorf("its part %s: %w", name, err)
		}
	}
	s := &Snapshot{Version: 1, Sequence: b.transaction, Records: map[string]*Record{}}
	for name, text := range records {
		r := &Record{}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("deployment %.80q: %w", name, err)
		}
		if err := r.resolve(name, objects); err != nil {
			return nil, err
		}
		for _, d := range r.deployments() {
			if d.Name != name || d.check() != nil {
				return nil, fmt.Errorf("deployment %.80q: its record is not one", name)
			}
		}
		for _, g := range []*Generation{r.Current, r.Next} {
			if g != nil && g.Loaded.After(s.Written) {
				s.Written = g.Loaded.UTC().Truncate(time.Second)
			}
		}
		s.Records[name] = r
	}
	return s, nil
}

// bucket reads a nested bucket: the number of its root page or, if that is 0, one page
// within the value.
func (f *v1File) bucket(value []byte, into map[string][]byte) error {
	if len(value) < 16 {
		return errors.New("it is missing")
	}
	if root := v1Order.Uint64(value); root != 0 {
		return f.walk(root, v1Depth, false, into)
	}
	return f.read(value[16:], v1Depth, false, into)
}

// walk reads the tree below a page.
func (f *v1File) walk(id uint64, depth int, nested bool, into map[string][]byte) error {
	if id >= f.end || depth == 0 || f.seen[id] {
		return fmt.Errorf("page %d is not in its tree", id)
	}
	f.seen[id] = true
	page := f.data[int(id)*f.page:]
	if v1Order.Uint64(page) != id {
		return fmt.Errorf("page %d says it is page %d", id, v1Order.Uint64(page))
	}
	size := (uint64(v1Order.Uint32(page[12:])) + 1) * uint64(f.page)
	if size > uint64(len(page)) {
		return fmt.Errorf("page %d ends past the file", id)
	}
	if err := f.read(page[:size], depth, nested, into); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// read reads the elements of a page and, for a branch page, the pages below it.
func (f *v1File) read(page []byte, depth int, nested bool, into map[string][]byte) error {
	if len(page) < v1Header {
		return errors.New("it is cut off")
	}
	flags, count := v1Order.Uint16(page[8:]), int(v1Order.Uint16(page[10:]))
	if v1Header+count*v1Element > len(page) {
		return fmt.Errorf("%d elements do not fit", count)
	}
	for i := range count {
		e := page[v1Header+i*v1Element:]
		if flags == v1Branch {
			if err := f.walk(v1Order.Uint64(e[8:]), depth-1, nested, into); err != nil {
				return err
			}
			continue
		}
		at, key, value := uint64(v1Order.Uint32(e[4:])), uint64(v1Order.Uint32(e[8:])), uint64(v1Order.Uint32(e[12:]))
		if flags != v1Leaf || at+key+value > uint64(len(e)) || (v1Order.Uint32(e)&v1Nested != 0) != nested {
			return fmt.Errorf("element %d is damaged", i)
		}
		if f.left -= int(key); f.left < 0 {
			return errors.New("its elements overlap")
		}
		name := string(e[at : at+key])
		if _, twice := into[name]; twice {
			return fmt.Errorf("key %.80q is there twice", name)
		}
		into[name] = e[at+key : at+key+value]
	}
	if flags != v1Branch && flags != v1Leaf {
		return fmt.Errorf("it has type %#x", flags)
	}
	return nil
}
