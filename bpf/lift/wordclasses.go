package lift

// Which words of map values are counters.
//
// The memory engine's atomic operations take a 32-bit word as big-endian, plain
// accesses as little-endian, so a word that any program changes atomically is
// kept big-endian by all of them and by the host. Words are joined in classes:
// an access joins all words it may touch, in all maps it may reach, because one
// instruction has one form. A class is of counters if an atomic operation
// accesses it, or if it is one in another program. If another program accesses
// it plainly, it is plain, and atomic operations take the form that is correct
// on plain words.

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// WordUse is how programs use a 4-byte word of a map's values.
type WordUse uint8

const (
	Unused  WordUse = iota // no program reads it or adds to it
	Plain                  // in the byte order of eBPF
	Counter                // target of atomic operations: big-endian in memory, swapped for the host
)

// MapUse is how programs use the words of one map's values.
type MapUse struct {
	Name  string
	Words []WordUse // one for each 4 bytes of a value
}

// UsesWith returns how a program uses the words of its maps' values, one entry for each
// map in the order of Code.Maps. Other programs that share maps use them as others
// says.
func UsesWith(f *verify.Facts, others []MapUse) []MapUse {
	names := MapNames(f.Code)
	u := wordUses(f, names, others)
	out := make([]MapUse, len(names))
	for m, name := range names {
		words := make([]WordUse, u.words(m))
		for w := range words {
			switch flags := u.flags[u.find(u.first[m]+int32(w))]; {
			case counterClass(flags):
				words[w] = Counter
			case flags != 0:
				words[w] = Plain
			}
		}
		out[m] = MapUse{Name: name, Words: words}
	}
	return out
}

// What is known of a class of words.
const (
	touched      = 1 << iota // by this program, plainly
	atomic                   // by this program's atomic operations
	givenPlain               // by others
	givenCounter             // by others
)

func counterClass(flags uint8) bool {
	return flags&givenCounter != 0 || flags&atomic != 0 && flags&givenPlain == 0
}

// conflict is a word that other programs use in another way than this one must.
type conflict struct{ insn, mp, word int }

// wordUse is a union-find structure over all words of all maps.
type wordUse struct {
	first     []int32 // per map: its first word; one entry more at the end
	parent    []int32
	skip      []int32 // by word: the first word at or after it that is not joined to its successor
	flags     []uint8 // of a class, at its root
	conflicts []conflict
}

func wordUses(f *verify.Facts, names []string, given []MapUse) *wordUse {
	u := &wordUse{first: make([]int32, len(names)+1)}
	for m, spec := range f.Code.Maps {
		u.first[m+1] = u.first[m] + int32((spec.ValueSize+3)/4)
	}
	n := u.first[len(names)]
	u.parent, u.skip, u.flags = make([]int32, n), make([]int32, n), make([]uint8, n)
	for w := range n {
		u.parent[w], u.skip[w] = w, w
	}
	u.others(names, given)
	for i := range f.Code.Insns {
		if f.Reachable[i] {
			u.insn(f, i)
		}
	}
	return u
}

// others adds the uses of the maps by other programs.
func (u *wordUse) others(names []string, given []MapUse) {
	for _, g := range given {
		for m, name := range names {
			if name != g.Name {
				continue
			}
			for w, use := range g.Words {
				if w >= u.words(m) {
					break
				}
				switch use {
				case Plain:
					u.flags[u.first[m]+int32(w)] |= givenPlain
				case Counter:
					u.flags[u.first[m]+int32(w)] |= givenCounter
				}
			}
		}
	}
}

// words is the number of words of map m's value.
func (u *wordUse) words(m int) int { return int(u.first[m+1] - u.first[m]) }

// insn adds the use by instruction i.
func (u *wordUse) insn(f *verify.Facts, i int) {
	ins := &f.Code.Insns[i]
	if isAccess(ins) {
		flag := uint8(touched)
		if isAtomic(ins) {
			flag = atomic
		}
		u.access(i, accessOf(f, i), ins.OpCode.Size().Sizeof(), flag)
	}
	if i >= len(f.Calls) || f.Calls[i] == nil {
		return
	}
	call := f.Calls[i]
	for a := range call.Mem {
		if call.Mem[a].Size > 0 {
			u.access(i, &call.Mem[a], call.Mem[a].Size, touched)
		}
	}
	if asm.BuiltinFunc(ins.Constant) == asm.FnMapUpdateElem && ins.Callee == code.None {
		u.together(i, call.Maps)
		for _, m := range call.Maps { // it writes every word, each in its own form
			for w := u.first[m]; w < u.first[m+1]; w++ {
				u.flags[u.find(w)] |= touched
			}
		}
	}
}

// isAtomic reports whether the instruction is an atomic read-modify-write.
func isAtomic(ins *code.Insn) bool {
	if ins.OpCode.Class() != asm.StXClass || ins.OpCode.Mode() != asm.AtomicMode {
		return false
	}
	a := ins.OpCode.AtomicOp()
	return a != loadAcquire && a != storeRelease
}

// maps returns the maps that an access may reach.
func (u *wordUse) maps(acc *verify.Access) []int {
	switch acc.Kind {
	case verify.PtrMapValue, verify.PtrMapValueOrNull:
		return acc.Maps
	case verify.PtrUnsure:
		if len(acc.Maps) > 0 {
			return acc.Maps
		}
		all := make([]int, len(u.first)-1)
		for m := range all {
			all[m] = m
		}
		return all
	}
	return nil
}

// access joins the words that acc may touch and flags them.
func (u *wordUse) access(i int, acc *verify.Access, size int, flag uint8) {
	root := int32(-1)
	for _, m := range u.maps(acc) {
		u.footprint(acc, size, m, func(from, to int32) {
			r := u.joinRange(i, from, to)
			if root >= 0 {
				r = u.union(i, root, r)
			}
			root = r
		})
	}
	if root >= 0 {
		u.flags[root] |= flag
	}
}

// footprint calls do with each run of words [from, to] that acc may touch in map m:
// one run or, for an access with a stride, one for each step.
func (u *wordUse) footprint(acc *verify.Access, size, m int, do func(from, to int32)) {
	end := int64(u.words(m)) * 4
	low, high := max(acc.Min, 0), acc.Max
	stride := int64(1)
	if acc.Kind == verify.PtrUnsure {
		low, high = 0, end // offsets of several regions in one
	} else if known, bits := knownLow(acc); known >= 2 && known < 32 {
		stride = 1 << known
		low += (int64(bits) - low) & (stride - 1)
	}
	high = min(high, end-int64(size))
	run := func(first, last int64) {
		last = min(last, end-1)
		if first <= last {
			do(u.first[m]+int32(first/4), u.first[m]+int32(last/4))
		}
	}
	if stride < 4 || low > high {
		run(low, max(high, low)+int64(size)-1)
		return
	}
	for at := low; at <= high; at += stride {
		run(at, at+int64(size)-1)
	}
}

// joinRange joins the words from..to and returns their class.
func (u *wordUse) joinRange(i int, from, to int32) int32 {
	root := u.find(from)
	for w := u.last(from); w < to; w = u.last(w + 1) {
		root = u.union(i, w, w+1)
		u.skip[w] = w + 1
	}
	return u.find(root)
}

// last is the last word of the joined run that w is in.
func (u *wordUse) last(w int32) int32 {
	for u.skip[w] != w {
		u.skip[w] = u.skip[u.skip[w]]
		w = u.skip[w]
	}
	return w
}

func (u *wordUse) find(w int32) int32 {
	for u.parent[w] != w {
		u.parent[w] = u.parent[u.parent[w]]
		w = u.parent[w]
	}
	return w
}

func (u *wordUse) union(i int, x, y int32) int32 {
	x, y = u.find(x), u.find(y)
	if x == y {
		return x
	}
	const both = givenPlain | givenCounter
	before := u.flags[x]&both == both || u.flags[y]&both == both
	u.parent[y] = x
	u.flags[x] |= u.flags[y]
	if !before && u.flags[x]&both == both {
		u.clash(i, y)
	}
	return x
}

func (u *wordUse) clash(i int, word int32) {
	for m := range len(u.first) - 1 {
		if word < u.first[m+1] {
			u.conflicts = append(u.conflicts, conflict{i, m, int(word - u.first[m])})
			return
		}
	}
}

// together joins equal words of several maps, into which one call writes.
func (u *wordUse) together(i int, maps []int) {
	for k := 1; k < len(maps); k++ {
		for w := range int32(min(u.words(maps[0]), u.words(maps[k]))) {
			u.union(i, u.first[maps[0]]+w, u.first[maps[k]]+w)
		}
	}
}

// counters reports whether the words that acc may touch are counters; all of
// them are, or none.
func (u *wordUse) counters(acc *verify.Access, size int) bool {
	found := false
	for _, m := range u.maps(acc) {
		first := true
		u.footprint(acc, size, m, func(from, _ int32) {
			if first {
				found, first = u.counter(from), false
			}
		})
		if !first {
			break
		}
	}
	return found
}

func (u *wordUse) counter(word int32) bool { return counterClass(u.flags[u.find(word)]) }

// hasCounters reports whether a map's value has counter words.
func (u *wordUse) hasCounters(m int) bool {
	for w := u.first[m]; w < u.first[m+1]; w++ {
		if u.counter(w) {
			return true
		}
	}
	return false
}
