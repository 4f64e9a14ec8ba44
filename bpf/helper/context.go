package helper

import "github.com/cilium/ebpf"

// FieldKind is the kind of value that a load from a context field gives.
type FieldKind uint8

const (
	FieldScalar     FieldKind = iota // a number
	FieldPacket                      // pointer to the packet's first byte
	FieldPacketEnd                   // pointer past the packet's last byte
	FieldPacketMeta                  // pointer to the metadata before the packet
	FieldForbidden                   // in the layout, but these program types may not access it
)

// Field is one member of a context.
type Field struct {
	Name     string
	Off      int // bytes
	Size     int // bytes; of the whole array for cb
	Kind     FieldKind
	Elem     int  // largest access in bytes: pointers and wide fields are loaded whole
	Narrow   bool // smaller, aligned loads are allowed too
	Writable bool
	Offload  bool // writable only in an offloaded program
}

// Ctx is the context of a program type.
type Ctx struct {
	Name   string
	Size   int // bytes
	Fields []Field
}

// At returns the field that holds the byte at off.
func (c *Ctx) At(off int) (Field, bool) {
	for _, f := range c.Fields {
		if off >= f.Off && off < f.Off+f.Size {
			return f, true
		}
	}
	return Field{}, false
}

// Access returns the field that a load or store of size bytes at off touches, and
// reports whether the access is allowed. An access is inside one field, aligned to its
// size, and covers the whole field unless the field is Narrow. A store is to a
// writable field.
func (c *Ctx) Access(off, size int, write bool) (Field, bool) {
	f, ok := c.At(off)
	if !ok || size <= 0 || f.Kind == FieldForbidden || off%size != 0 || off+size > f.Off+f.Size || size > f.Elem {
		return f, false
	}
	if write {
		return f, f.Writable && (size == f.Elem || f.Name == "cb")
	}
	return f, size == f.Elem || f.Narrow
}

// Context returns the context of programs of type t. Raw programs have no context.
func Context(t ebpf.ProgramType) (*Ctx, bool) {
	switch t {
	case ebpf.XDP:
		return xdpMD, true
	case ebpf.SchedCLS, ebpf.SchedACT:
		return skBuff, true
	}
	return nil, false
}

// DefaultIfindex is the interface that packets arrive on if an engine is given none.
// It is the first network card of a host: Linux numbers it 2, after the loopback's 1.
// Interface 0 does not exist.
const DefaultIfindex = 2

// xdpMD is struct xdp_md. A store to rx_queue_index selects the queue, in offloaded
// programs only. Only programs in a devmap may read egress_ifindex.
var xdpMD = &Ctx{Name: "xdp_md", Size: 24, Fields: []Field{
	{Name: "data", Off: 0, Size: 4, Elem: 4, Kind: FieldPacket},
	{Name: "data_end", Off: 4, Size: 4, Elem: 4, Kind: FieldPacketEnd},
	{Name: "data_meta", Off: 8, Size: 4, Elem: 4, Kind: FieldPacketMeta},
	{Name: "ingress_ifindex", Off: 12, Size: 4, Elem: 4},
	{Name: "rx_queue_index", Off: 16, Size: 4, Elem: 4, Writable: true, Offload: true},
	{Name: "egress_ifindex", Off: 20, Size: 4, Elem: 4},
}}

// skBuff is struct __sk_buff as tc programs may use it.
var skBuff = &Ctx{Name: "__sk_buff", Size: 192, Fields: []Field{
	{Name: "len", Off: 0, Size: 4, Elem: 4, Narrow: true},
	{Name: "pkt_type", Off: 4, Size: 4, Elem: 4, Narrow: true},
	{Name: "mark", Off: 8, Size: 4, Elem: 4, Narrow: true, Writable: true},
	{Name: "queue_mapping", Off: 12, Size: 4, Elem: 4, Narrow: true, Writable: true},
	{Name: "protocol", Off: 16, Size: 4, Elem: 4, Narrow: true},
	{Name: "vlan_present", Off: 20, Size: 4, Elem: 4, Narrow: true},
	{Name: "vlan_tci", Off: 24, Size: 4, Elem: 4, Narrow: true},
	{Name: "vlan_proto", Off: 28, Size: 4, Elem: 4, Narrow: true},
	{Name: "priority", Off: 32, Size: 4, Elem: 4, Narrow: true, Writable: true},
	{Name: "ingress_ifindex", Off: 36, Size: 4, Elem: 4, Narrow: true},
	{Name: "ifindex", Off: 40, Size: 4, Elem: 4, Narrow: true},
	{Name: "tc_index", Off: 44, Size: 4, Elem: 4, Narrow: true, Writable: true},
	{Name: "cb", Off: 48, Size: 20, Elem: 8, Narrow: true, Writable: true},
	{Name: "hash", Off: 68, Size: 4, Elem: 4, Narrow: true},
	{Name: "tc_classid", Off: 72, Size: 4, Elem: 4, Narrow: true, Writable: true},
	{Name: "data", Off: 76, Size: 4, Elem: 4, Kind: FieldPacket},
	{Name: "data_end", Off: 80, Size: 4, Elem: 4, Kind: FieldPacketEnd},
	{Name: "napi_id", Off: 84, Size: 4, Elem: 4, Narrow: true},
	{Name: "family", Off: 88, Size: 52, Elem: 4, Kind: FieldForbidden}, // family to local_port: for socket programs only
	{Name: "data_meta", Off: 140, Size: 4, Elem: 4, Kind: FieldPacketMeta},
	{Name: "flow_keys", Off: 144, Size: 8, Elem: 8, Kind: FieldForbidden},
	{Name: "tstamp", Off: 152, Size: 8, Elem: 8, Writable: true},
	{Name: "wire_len", Off: 160, Size: 4, Elem: 4, Narrow: true},
	{Name: "gso_segs", Off: 164, Size: 4, Elem: 4, Narrow: true},
	{Name: "sk", Off: 168, Size: 8, Elem: 8, Kind: FieldForbidden}, // a socket pointer, which no engine models
	{Name: "gso_size", Off: 176, Size: 4, Elem: 4, Narrow: true},
	{Name: "tstamp_type", Off: 180, Size: 1, Elem: 1},
	{Name: "hwtstamp", Off: 184, Size: 8, Elem: 8},
}}
