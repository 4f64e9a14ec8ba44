package ir

import "strings"

var typeNames = [...]string{Void: "void", I32: "i32", I64: "i64", Tuple: "tuple"}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "type?"
}

var spaceNames = [...]string{NoSpace: "", Stack: "stack", Packet: "packet", MapMem: "map"}

func (s Space) String() string {
	if int(s) < len(spaceNames) {
		return spaceNames[s]
	}
	return "space?"
}

var atomicNames = [...]string{"add", "and", "or", "xor", "xchg", "cmpxchg"}

func (a AtomicOp) String() string {
	if int(a.Base()) >= len(atomicNames) {
		return "atomic?"
	}
	if a.Fetches() {
		return atomicNames[a.Base()] + ".fetch"
	}
	return atomicNames[a.Base()]
}

func typeNamed(s string) (Type, bool) {
	for t, name := range typeNames {
		if name == s {
			return Type(t), true
		}
	}
	return Void, false
}

func spaceNamed(s string) (Space, bool) {
	for p, name := range spaceNames {
		if name == s && name != "" {
			return Space(p), true
		}
	}
	return NoSpace, false
}

func opNamed(s string) (Op, bool) {
	for _, r := range rows {
		if r.Name == s {
			return r.Op, true
		}
	}
	return OpInvalid, false
}

// atomicNamed reads the operation at the start of a dotted suffix and returns
// the rest.
func atomicNamed(s string) (a AtomicOp, rest string, ok bool) {
	word, rest, _ := strings.Cut(s, ".")
	for i, name := range atomicNames {
		if name == word {
			if more, found := strings.CutPrefix(rest, "fetch."); found {
				return AtomicOp(i) | AtomicFetch, more, true
			}
			return AtomicOp(i), rest, true
		}
	}
	return 0, s, false
}
