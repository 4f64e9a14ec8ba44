package verify

import (
	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// loadField returns the value of a load from the context.
func (x *explorer) loadField(s *state, i int, base *val, off, size int) val {
	f, ok := x.field(s, i, base, off, size, false)
	if !ok && f.Name == "sk" {
		return unmodelled()
	}
	if !ok {
		return scalar(sized(size))
	}
	switch f.Kind {
	case helper.FieldPacket:
		return pointer(PtrPacket)
	case helper.FieldPacketMeta:
		return pointer(PtrPacketMeta)
	case helper.FieldPacketEnd:
		return pointer(PtrPacketEnd)
	}
	return scalar(sized(size))
}

func (x *explorer) storeField(s *state, i int, base *val, off, size int) {
	x.field(s, i, base, off, size, true)
}

// field returns the context field that an access reaches, if the rules allow it.
func (x *explorer) field(s *state, i int, base *val, off, size int, write bool) (f helper.Field, ok bool) {
	at := base.min() + int64(off)
	if !base.fixed() {
		x.fail(s, i, "ctx-access", "the context is accessed at a variable offset of %s", base.n.phrase())
		return f, false
	}
	x.note(s, i, base, at, at, int64(off), size)
	if x.ctx == nil {
		x.fail(s, i, "ctx-access", "programs of type %v have no context", x.c.Type)
		return f, false
	}
	f, ok = x.ctx.Access(int(at), size, write)
	if ok && x.c.Type == ebpf.XDP && f.Name == "egress_ifindex" && x.c.Attach != ebpf.AttachXDPDevMap {
		x.fail(s, i, "ctx-access", "egress_ifindex is for programs that are attached to a devmap's entries")
	}
	if ok && base.off != 0 {
		x.fail(s, i, "ctx-access", "the context is accessed through a pointer that was moved by %d", base.off)
		return f, true
	}
	if !ok && f.Name == "sk" && !write {
		x.fail(s, i, "feature-unsupported", "sockets (__sk_buff.sk) are not modelled")
		return f, false
	}
	if !ok {
		verb := "load from"
		if write {
			verb = "store to"
		}
		switch {
		case f.Name == "" || at < 0:
			x.fail(s, i, "ctx-access", "%d-byte %s %s at offset %d, where no field is", size, verb, x.ctx.Name, at)
		default:
			x.fail(s, i, "ctx-access", "%d-byte %s %s.%s (offset %d, %d bytes) at offset %d is not allowed", size, verb, x.ctx.Name, f.Name, f.Off, f.Size, at)
		}
	}
	return f, ok
}
