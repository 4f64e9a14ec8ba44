package firmware

// The constants of docs/firmware-contract.md, which has their meaning and their sources.
// Compiler, simulated card and bounds take them from here.

// Registers of both banks (section 1). Numbers up to LastRegister are the program's.
const (
	StackRegister = 22 // A22: byte address of the stack in local memory
	LastRegister  = 22
	MapRegister   = 23 // B23: bits 39:8 of the address of a direct array

	FirstKept = 12 // registers FirstKept to LastKept of both banks, A22 and B22
	LastKept  = 19 // survive the call of a helper (section 4)
)

// Words of the packet vector, to which LM1 points (section 3).
const (
	VectorLength = 0 // 13:0: packet length in bytes
	VectorSplit  = 1 // 31: set if the packet is longer than what CTM holds
	VectorStart  = 2 // address of the packet's first byte; 12:0: its offset in the buffer
	VectorFlags  = 4 // bit 4: a queue is selected
	VectorQueue  = 6 // 31:23: receive queue; 7:0: selected queue
	VectorPort   = 7 // ingress_ifindex

	VectorBytes = 64 // a multiple of which its address is
)

// Fields of those words.
const (
	LengthMask    = 0x3fff
	OffsetMask    = 0x1fff
	QueueSelected = 1 << 4 // of VectorFlags
	QueueShift    = 23     // of the receive queue in VectorQueue
	QueueMask     = 0xff   // of the selected queue in VectorQueue
)

// A packet's buffer in CTM (section 3).
const (
	BufferBytes    = 2048
	PacketOffset   = 128 // where a packet begins: the headroom
	ShortestPacket = 14  // that adjust_head and adjust_tail leave
)

// Kinds of the pointers that helpers receive (section 4), four bits for each argument.
const (
	KindScalar = 1 // NULL
	KindMap    = 4
	KindStack  = 6
	KindPacket = 8
)
