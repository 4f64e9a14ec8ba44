package difftest

import "github.com/cilium/ebpf/asm"

// rewrite stores to the same few offsets on both paths of a branch, with other stores
// before and after it. Programs that translate addresses do so.
func (b *body) rewrite() {
	p := b.pointer(pktPtr, valPtr)
	x := b.st.r[p]
	if !b.storable(&x) {
		return
	}
	defer b.keep(p)()
	type place struct {
		off  int
		size asm.Size
	}
	var places []place
	at := b.between(-x.low, x.size-1)
	for range b.between(1, 4) {
		size := pick(b.gen, sizes)
		if at+size.Sizeof() > x.size {
			break
		}
		places = append(places, place{at, size})
		at += size.Sizeof() + b.n(4)/3
	}
	store := func(some bool) {
		for _, l := range places {
			switch {
			case some && b.chance(2), b.chance(10):
			case b.chance(3):
				b.emit(asm.Instruction{OpCode: asm.StoreImmOp(l.size), Dst: asm.Register(p), Offset: int16(l.off), Constant: int64(b.immediate())})
			default:
				b.emit(asm.StoreMem(asm.Register(p), int16(l.off), asm.Register(b.source()), l.size))
			}
		}
	}
	if b.chance(2) {
		store(true)
	}
	b.split(b.condition, func() {
		if b.chance(2) {
			b.alu()
		}
		store(false)
		if b.chance(6) {
			b.access()
		}
	}, func() {
		if !b.chance(3) {
			b.alu()
			store(false)
		}
	})
	if b.chance(2) {
		store(true)
	}
}
