package main

import (
	"encoding/binary"
	"fmt"

	"github.com/nfpkit/nfpkit/offload"
)

// references holds the programs and maps to which values refer. The kernel shows their
// ids in a dump, and takes file descriptors in an update.
type references struct {
	kernel offload.Kernel
	open   []offload.Pinner
	fds    map[uint32]uint32 // by id
}

func (r *references) Close() {
	for _, o := range r.open {
		o.Close()
	}
}

// resolve replaces the id in a value by a file descriptor.
func (r *references) resolve(shape offload.Shape, value []byte) error {
	at, open := 0, func(id uint32) (offload.Pinner, error) { return r.kernel.Program(id) }
	switch shape.Type {
	case "prog_array":
	case "array_of_maps", "hash_of_maps":
		open = func(id uint32) (offload.Pinner, error) { return r.kernel.Map(id) }
	case "devmap", "devmap_hash", "cpumap": // the program of an entry, if there is one
		at = 4
	default:
		return nil
	}
	if len(value) < at+4 {
		return nil
	}
	id := binary.NativeEndian.Uint32(value[at:])
	if at > 0 && int32(id) <= 0 {
		return nil
	}
	fd, ok := r.fds[id]
	if !ok {
		o, err := open(id)
		if err != nil {
			return err
		}
		r.open = append(r.open, o)
		with, ok := o.(interface{ FD() int })
		if !ok {
			return &offload.Error{Op: "update", Object: fmt.Sprint("object ", id), Reason: "map-type", Msg: "no map of this kernel holds it"}
		}
		fd = uint32(with.FD())
		if r.fds == nil {
			r.fds = map[uint32]uint32{}
		}
		r.fds[id] = fd
	}
	binary.NativeEndian.PutUint32(value[at:], fd)
	return nil
}
