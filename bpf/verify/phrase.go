package verify

import (
	"fmt"
	"math"
)

// The words of messages for what a register holds. Dumps of states have shorter ones
// (Kind.String, Reg.String).

var phrases = [...]string{
	NotInit: "nothing yet", Scalar: "a number", PtrCtx: "the context pointer", PtrStack: "a pointer to the stack",
	PtrPacket: "a pointer into the packet", PtrPacketMeta: "a pointer to the packet's metadata (data_meta)",
	PtrPacketEnd: "the pointer to the packet's end (data_end)", PtrMapHandle: "a map", PtrMapValue: "a pointer to a map value",
	PtrMapValueOrNull: "a pointer to a map value, or NULL", PtrMem: "a pointer to the memory argument", PtrFunc: "a function's address",
	PtrUnsure: "a pointer of different kinds on different paths",
}

// Phrase returns what a message calls a value of the kind, with its article.
func (k Kind) Phrase() string {
	if int(k) < len(phrases) {
		return phrases[k]
	}
	return k.String()
}

// Phrase returns what a message calls the register's contents: "the number 5", "a
// pointer to the stack".
func (r Reg) Phrase() string {
	if r.Kind == Scalar && r.Bits.Known() {
		return fmt.Sprintf("the number %d", int64(r.Bits.Value))
	}
	return r.Kind.Phrase()
}

// phrase says within which bounds a number is known to lie.
func (n num) phrase() string {
	switch {
	case n.known():
		return fmt.Sprint(int64(n.bits.Value))
	case n.w.slo > math.MinInt64 && n.w.shi < math.MaxInt64:
		return fmt.Sprintf("%d to %d", n.w.slo, n.w.shi)
	case n.w.uhi < math.MaxUint64 && n.w.uhi <= 1<<62:
		return fmt.Sprintf("%d to %d", n.w.ulo, n.w.uhi)
	}
	return "any number"
}
