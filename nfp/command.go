package nfp

import "sync"

// CommandInfo is one memory or I/O command.
type CommandInfo struct {
	Target, Name string
	Code         uint8 // target and action, bits 38:32
	Token        uint8
	Lengths      uint8 // bit n: length field n belongs to it
	MemoryCommand
}

// MemoryCommand describes the effect of a command of the memory units, as far as it is
// published.
type MemoryCommand struct {
	Op   MemoryOp
	Unit uint8 // bytes a unit of length of reads and writes
	Swap bool  // of reads and writes: words have their least significant byte first
	LE   bool  // of reads and writes: the words of a 64-bit unit are exchanged
	Test bool  // of atomics: the old value comes back
	Imm  bool  // of atomics: the data is in the command, not in transfer registers
}

// MemoryOp is the operation of a memory command.
type MemoryOp uint8

const (
	MemoryUnknown MemoryOp = iota // no source says
	MemoryRead
	MemoryWrite
	AtomicRead // from here on: a read-modify-write of big-endian words
	AtomicWrite
	AtomicCompare
	AtomicSet
	AtomicClr
	AtomicXor
	AtomicAdd
	AtomicAddSat
	AtomicSub
	AtomicSubSat
)

// Atomic reports whether the operation is a read-modify-write.
func (op MemoryOp) Atomic() bool { return op >= AtomicRead }

// sends and gets report whether a command reads data from the out-registers, and
// writes data to the in-registers.
func (c *MemoryCommand) sends() bool {
	return c.Op == MemoryWrite || c.Op.Atomic() && c.Op != AtomicRead && !c.Imm
}

func (c *MemoryCommand) gets() bool { return c.Op == MemoryRead || c.Op.Atomic() && c.Test }

// commandRow is the commands of a code for some lengths, one a token.
type commandRow struct {
	code    uint8
	target  string
	lengths uint8
	names   [4]string
	op      MemoryOp
	unit    uint8
}

// command returns the row's command with a token. In an atomic, bit 0 of the token
// requests the old value, and bit 1 means that the data is in the command. In a read
// or write, bit 0 exchanges words and bit 1 bytes. The two exceptions are read8, which
// has one form, and the atomics of its code, which have no data in the command.
func (r *commandRow) command(token int) MemoryCommand {
	c := MemoryCommand{Op: r.op, Unit: r.unit}
	low, high := token&1 != 0, token&2 != 0
	switch {
	case r.op == MemoryUnknown || r.op == MemoryRead && r.unit == 1:
	case r.op == AtomicRead:
		c.Test = true
	case r.op == AtomicCompare:
		c.Test = low
	case r.op.Atomic():
		c.Test, c.Imm = low, high
	default:
		c.LE, c.Swap = low, high
	}
	return c
}

// The names are the disassembler's; if one code has another meaning in each kind of
// memory it prints all names, with slashes. Units: docs/isa-notes.md.
var commandRows = []commandRow{
	{code: 0x00, target: "ila", lengths: 0xff, names: [4]string{"read", "read_check_error"}},
	{code: 0x01, target: "ila", lengths: 0xff, names: [4]string{"write", "write_check_error"}},
	{code: 0x02, target: "ila", lengths: 0xff, names: [4]string{"read_int"}},
	{code: 0x03, target: "ila", lengths: 0x01, names: [4]string{"write_int"}},
	{code: 0x03, target: "ila", lengths: 0x08, names: [4]string{"write_dma"}},
	{code: 0x04, target: "nbi", lengths: 0xff, names: [4]string{"read"}},
	{code: 0x05, target: "nbi", lengths: 0xff, names: [4]string{"write"}},
	{code: 0x07, target: "nbi", lengths: 0xff, names: [4]string{"packet_ready_drop", "packet_ready_unicast", "packet_ready_multicast_dont_free", "packet_ready_multicast_free_on_last"}},
	{code: 0x0c, target: "pcie", lengths: 0xff, names: [4]string{"read", "read_rid"}},
	{code: 0x0d, target: "pcie", lengths: 0xff, names: [4]string{"write", "write_rid", "write_vdm"}},
	{code: 0x0e, target: "pcie", lengths: 0xff, names: [4]string{"read_int"}},
	{code: 0x0f, target: "pcie", lengths: 0xff, names: [4]string{"write_int"}},
	{code: 0x14, target: "crypto", lengths: 0xff, names: [4]string{"read"}},
	{code: 0x15, target: "crypto", lengths: 0xff, names: [4]string{"write"}},
	{code: 0x16, target: "crypto", lengths: 0xff, names: [4]string{"write_fifo"}},
	{code: 0x18, target: "arm", lengths: 0xff, names: [4]string{"read"}},
	{code: 0x19, target: "arm", lengths: 0xff, names: [4]string{"write"}},
	{code: 0x1c, target: "ct", lengths: 0xff, names: [4]string{"xpb_read", "ring_get", "interthread_signal"}},
	{code: 0x1d, target: "ct", lengths: 0xff, names: [4]string{"xpb_write", "ring_put", "ctnn_write"}},
	{code: 0x1e, target: "ct", lengths: 0xff, names: [4]string{"reflect_read_none", "reflect_read_sig_init", "reflect_read_sig_remote", "reflect_read_sig_both"}},
	{code: 0x1f, target: "ct", lengths: 0xff, names: [4]string{"reflect_write_none", "reflect_write_sig_init", "reflect_write_sig_remote", "reflect_write_sig_both"}},
	{code: 0x40, target: "mem", lengths: 0xff, names: [4]string{"read", "read_le", "read_swap", "read_swap_le"}, op: MemoryRead, unit: 8},
	{code: 0x41, target: "mem", lengths: 0xff, names: [4]string{"write", "write_le", "write_swap", "write_swap_le"}, op: MemoryWrite, unit: 8},
	{code: 0x42, target: "mem", lengths: 0xff, names: [4]string{"write8", "write8_le", "write8_swap", "write8_swap_le"}, op: MemoryWrite, unit: 1},
	{code: 0x43, target: "mem", lengths: 0xff, names: [4]string{1: "read8"}, op: MemoryRead, unit: 1},
	{code: 0x43, target: "mem", lengths: 0xff, names: [4]string{0: "atomic_read"}, op: AtomicRead},
	{code: 0x43, target: "mem", lengths: 0xff, names: [4]string{2: "compare_write_or_incr/mask_compare_write", 3: "test_compare_write_or_incr/test_mask_compare_write"}, op: AtomicCompare},
	{code: 0x44, target: "mem", lengths: 0xff, names: [4]string{"atomic_write", "swap", "atomic_write_imm", "swap_imm"}, op: AtomicWrite},
	{code: 0x45, target: "mem", lengths: 0xff, names: [4]string{"set", "test_set", "set_imm", "test_set_imm"}, op: AtomicSet},
	{code: 0x46, target: "mem", lengths: 0xff, names: [4]string{"clr", "test_clr", "clr_imm", "test_clr_imm"}, op: AtomicClr},
	{code: 0x47, target: "mem", lengths: 0x0f, names: [4]string{"add", "test_add", "add_imm", "test_add_imm"}, op: AtomicAdd},
	{code: 0x47, target: "mem", lengths: 0xf0, names: [4]string{"add64", "test_add64", "add64_imm", "test_add64_imm"}, op: AtomicAdd},
	{code: 0x48, target: "mem", lengths: 0x0f, names: [4]string{"addsat", "test_addsat", "addsat_imm", "test_addsat_imm"}, op: AtomicAddSat},
	{code: 0x48, target: "mem", lengths: 0xf0, names: [4]string{"addsat64", "test_addsat64", "addsat64_imm", "test_addsat64_imm"}, op: AtomicAddSat},
	{code: 0x49, target: "mem", lengths: 0x0f, names: [4]string{"sub", "test_sub", "sub_imm", "test_sub_imm"}, op: AtomicSub},
	{code: 0x49, target: "mem", lengths: 0xf0, names: [4]string{"sub64", "test_sub64", "sub64_imm", "test_sub64_imm"}, op: AtomicSub},
	{code: 0x4a, target: "mem", lengths: 0x0f, names: [4]string{"subsat", "test_subsat", "subsat_imm", "test_subsat_imm"}, op: AtomicSubSat},
	{code: 0x4a, target: "mem", lengths: 0xf0, names: [4]string{"subsat64", "test_subsat64", "subsat64_imm", "test_subsat64_imm"}, op: AtomicSubSat},
	{code: 0x4b, target: "mem", lengths: 0xff, names: [4]string{"ticket_release", "ticket_release_ind"}},
	{code: 0x4c, target: "mem", lengths: 0x01, names: [4]string{"cam128_lookup8/cam384_lookup8", "cam128_lookup8_add/cam384_lookup8_add", "tcam128_lookup8/tcam384_lookup8", "lock128/lock384"}},
	{code: 0x4c, target: "mem", lengths: 0x02, names: [4]string{"cam128_lookup16/cam384_lookup16", "cam128_lookup16_add/cam384_lookup16_add", "tcam128_lookup16/tcam384_lookup16"}},
	{code: 0x4c, target: "mem", lengths: 0x04, names: [4]string{"cam128_lookup24/cam384_lookup24", "cam128_lookup24_add/cam384_lookup24_add", "tcam128_lookup24/tcam384_lookup24", "cam128_lookup24_add_inc/cam384_lookup24_add_inc"}},
	{code: 0x4c, target: "mem", lengths: 0x08, names: [4]string{"cam128_lookup32/cam384_lookup32", "cam128_lookup32_add/cam384_lookup32_add", "tcam128_lookup32/tcam384_lookup32"}},
	{code: 0x4c, target: "mem", lengths: 0x10, names: [4]string{"cam256_lookup8/cam512_lookup8", "cam256_lookup8_add/cam512_lookup8_add", "tcam256_lookup8/tcam512_lookup8", "lock256/lock512"}},
	{code: 0x4c, target: "mem", lengths: 0x20, names: [4]string{"cam256_lookup16/cam512_lookup16", "cam256_lookup16_add/cam512_lookup16_add", "tcam256_lookup16/tcam512_lookup16"}},
	{code: 0x4c, target: "mem", lengths: 0x40, names: [4]string{"cam256_lookup24/cam512_lookup24", "cam256_lookup24_add/cam512_lookup24_add", "tcam256_lookup24/tcam512_lookup24", "cam256_lookup24_add_inc/cam512_lookup24_add_inc"}},
	{code: 0x4c, target: "mem", lengths: 0x80, names: [4]string{"cam256_lookup32/cam512_lookup32", "cam256_lookup32_add/cam512_lookup32_add", "tcam256_lookup32/tcam512_lookup32"}},
	{code: 0x4d, target: "mem", lengths: 0x01, names: [4]string{"microq128_get", "microq128_pop", "microq128_put"}},
	{code: 0x4d, target: "mem", lengths: 0x10, names: [4]string{"microq256_get", "microq256_pop", "microq256_put"}},
	{code: 0x4e, target: "mem", lengths: 0x01, names: [4]string{"queue128_lock", "queue128_unlock"}},
	{code: 0x4e, target: "mem", lengths: 0x10, names: [4]string{"queue256_lock", "queue256_unlock"}},
	{code: 0x4f, target: "mem", lengths: 0xff, names: [4]string{"xor", "test_xor", "xor_imm", "test_xor_imm"}, op: AtomicXor},
	{code: 0x50, target: "mem", lengths: 0xff, names: [4]string{"ctm.packet_wait_packet_status/emem.rd_qdesc/imem.stats_log", "ctm.packet_read_packet_status/emem.wr_qdesc/imem.stats_log_sat", "emem.push_qdesc/imem.stats_log_event", "imem.stats_log_sat_event"}},
	{code: 0x51, target: "mem", lengths: 0xff, names: [4]string{"ctm.packet_alloc/emem.enqueue/imem.stats_push", "ctm.packet_credit_get/emem.enqueue_tail/imem.stats_push_clear", "ctm.packet_alloc_poll/emem.dequeue", "ctm.packet_add_thread"}},
	{code: 0x52, target: "mem", lengths: 0xff, names: [4]string{"ctm.packet_free/emem.read_queue/imem.lb_write_desc", "ctm.packet_free_and_signal/emem.read_queue_ring/imem.lb_read_desc", "ctm.packet_free_and_return_pointer/emem.write_queue", "ctm.packet_return_pointer/emem.write_queue_ring"}},
	{code: 0x53, target: "mem", lengths: 0xff, names: [4]string{"ctm.packet_complete_drop/emem.add_tail/imem.lb_write_idtable", "ctm.packet_complete_unicast/emem.qadd_thread/imem.lb_read_idtable", "ctm.packet_complete_multicast/emem.qadd_work", "ctm.packet_complete_multicast_free/emem.qadd_work_imm"}},
	{code: 0x54, target: "mem", lengths: 0xff, names: [4]string{"ctm.pe_dma_to_memory_packet/emem.put/imem.lb_bucket_write_local", "ctm.pe_dma_to_memory_packet_swap/imem.lb_bucket_write_dcache", "ctm.pe_dma_to_memory_packet_free/emem.journal", "ctm.pe_dma_to_memory_packet_free_swap"}},
	{code: 0x55, target: "mem", lengths: 0xff, names: [4]string{"ctm.pe_dma_to_memory_indirect/emem.get/imem.lb_bucket_read_local", "ctm.pe_dma_to_memory_indirect_swap/emem.get_eop/imem.lb_bucket_read_dcache", "ctm.pe_dma_to_memory_indirect_free/emem.get_freely", "ctm.pe_dma_to_memory_indirect_free_swap"}},
	{code: 0x56, target: "mem", lengths: 0xff, names: [4]string{"ctm.pe_dma_to_memory_buffer/emem.pop/imem.lb_lookup_bundleid", "ctm.pe_dma_to_memory_buffer_le/emem.pop_eop/imem.lb_lookup_dcache", "ctm.pe_dma_to_memory_buffer_swap/emem.pop_freely/imem.lb_lookup_idtable", "ctm.pe_dma_to_memory_buffer_le_swap"}},
	{code: 0x57, target: "mem", lengths: 0xff, names: [4]string{"ctm.pe_dma_from_memory_buffer/emem.fast_journal/imem.lb_push_stats_local", "ctm.pe_dma_from_memory_buffer_le/emem.fast_journal_sig/imem.lb_push_stats_dcache", "ctm.pe_dma_from_memory_buffer_swap/imem.lb_push_stats_local_clr", "ctm.pe_dma_from_memory_buffer_le_swap/imem.lb_push_stats_dcache_clr"}},
	{code: 0x5a, target: "mem", lengths: 0xff, names: [4]string{"emem.lookup/imem.lookup"}},
	{code: 0x5c, target: "mem", lengths: 0xff, names: [4]string{"read32", "read32_le", "read32_swap", "read32_swap_le"}, op: MemoryRead, unit: 4},
	{code: 0x5d, target: "mem", lengths: 0xff, names: [4]string{"", "cam_lookup_add_lock", "cam_lookup_add_extend", "cam_lookup_add_inc"}},
	{code: 0x5e, target: "mem", lengths: 0xff, names: [4]string{"", "", "meter"}},
	{code: 0x5f, target: "mem", lengths: 0xff, names: [4]string{"write32", "write32_le", "write32_swap", "write32_swap_le"}, op: MemoryWrite, unit: 4},
	{code: 0x60, target: "cls", lengths: 0xff, names: [4]string{"read", "read_le", "swap/test_compare_write", "xor"}},
	{code: 0x61, target: "cls", lengths: 0xff, names: [4]string{"write", "write_le", "write8_be", "write8_le"}},
	{code: 0x62, target: "cls", lengths: 0xff, names: [4]string{"set", "clr", "test_set", "test_clr"}},
	{code: 0x63, target: "cls", lengths: 0xff, names: [4]string{"set_imm", "clr_imm", "test_set_imm", "test_clr_imm"}},
	{code: 0x64, target: "cls", lengths: 0xff, names: [4]string{"add", "add64", "addsat"}},
	{code: 0x65, target: "cls", lengths: 0xff, names: [4]string{"add_imm", "add64_imm", "addsat_imm"}},
	{code: 0x66, target: "cls", lengths: 0xff, names: [4]string{"sub", "sub64", "subsat"}},
	{code: 0x67, target: "cls", lengths: 0xff, names: [4]string{"sub_imm", "sub64_imm", "subsat_imm"}},
	{code: 0x68, target: "cls", lengths: 0xff, names: [4]string{"queue_lock", "queue_unlock", "hash_mask", "hash_mask_clear"}},
	{code: 0x69, target: "cls", lengths: 0xff, names: [4]string{"get", "pop", "get_safe", "pop_safe"}},
	{code: 0x6a, target: "cls", lengths: 0xff, names: [4]string{"ring_put", "", "ring_journal"}},
	{code: 0x6b, target: "cls", lengths: 0xff, names: [4]string{"cam_lookup32", "cam_lookup32_add", "cam_lookup24", "cam_lookup24_add"}},
	{code: 0x6c, target: "cls", lengths: 0xff, names: [4]string{"cam_lookup8", "cam_lookup8_add", "cam_lookup16", "cam_lookup16_add"}},
	{code: 0x6d, target: "cls", lengths: 0xff, names: [4]string{"tcam_lookup32", "tcam_lookup24", "tcam_lookup16", "tcam_lookup8"}},
	{code: 0x6e, target: "cls", lengths: 0xff, names: [4]string{"reflect_write_sig_local", "reflect_write_sig_remote", "reflect_write_sig_both"}},
	{code: 0x6f, target: "cls", lengths: 0xff, names: [4]string{"reflect_read_sig_remote", "reflect_read_sig_local", "reflect_read_sig_both"}},
	{code: 0x70, target: "cls", lengths: 0xff, names: [4]string{"", "cam_lookup32_add_lock", "cam_lookup24_add_inc", "cam_lookup32_add_extend"}},
	{code: 0x71, target: "cls", lengths: 0xff, names: [4]string{"meter", "", "statistic", "statistic_imm"}},
	{code: 0x74, target: "cls", lengths: 0xff, names: [4]string{"test_add", "test_add64", "test_addsat"}},
	{code: 0x75, target: "cls", lengths: 0xff, names: [4]string{"test_add_imm", "test_add64_imm", "test_addsat_imm"}},
	{code: 0x76, target: "cls", lengths: 0xff, names: [4]string{"test_sub", "test_sub64", "test_subsat"}},
	{code: 0x77, target: "cls", lengths: 0xff, names: [4]string{"test_sub_imm", "test_sub64_imm", "test_subsat_imm"}},
	{code: 0x78, target: "cls", lengths: 0xff, names: [4]string{"ring_read", "ring_write", "ring_ordered_lock", "ring_ordered_unlock"}},
	{code: 0x79, target: "cls", lengths: 0xff, names: [4]string{"ring_workq_add_thread", "ring_workq_add_work"}},
}

// commandTable is the rows, one element a command, with their indexes.
type commandTable struct {
	all   []CommandInfo             // in code order
	byKey [128 * 4 * 8]*CommandInfo // by commandKey
	names map[string][]*CommandInfo // by target, bracket and name
}

// commands returns the table of commands. It is built on first use.
var commands = sync.OnceValue(newCommandTable)

func newCommandTable() *commandTable {
	t := &commandTable{names: map[string][]*CommandInfo{}}
	for _, r := range commandRows {
		for k, n := range r.names {
			if n != "" {
				t.all = append(t.all, CommandInfo{Target: r.target, Name: n, Code: r.code, Token: uint8(k), Lengths: r.lengths, MemoryCommand: r.command(k)})
			}
		}
	}
	for i := range t.all {
		c := &t.all[i]
		for l := range uint8(8) {
			if c.Lengths>>l&1 != 0 {
				t.byKey[commandKey(c.Code, c.Token, l)] = c
			}
		}
		name := c.Target + "[" + c.Name
		t.names[name] = append(t.names[name], c)
	}
	return t
}

// Commands that a compiler issues, without length and registers. Token bit 0 of
// an atomic requests the old value; bit 1 means that the data is in the command's
// word.
var (
	CmdRead32      = Command{Code: 0x5c}
	CmdRead32Swap  = Command{Code: 0x5c, Token: 2}
	CmdRead8       = Command{Code: 0x43, Token: 1}
	CmdCompareSwap = Command{Code: 0x43, Token: 3}
	CmdWrite32     = Command{Code: 0x5f}
	CmdWrite32Swap = Command{Code: 0x5f, Token: 2}
	CmdWrite8Swap  = Command{Code: 0x42, Token: 2}
	CmdSwap        = Command{Code: 0x44, Token: 1}
	CmdSet         = Command{Code: 0x45}
	CmdClr         = Command{Code: 0x46}
	CmdAdd         = Command{Code: 0x47}
	CmdAddImm      = Command{Code: 0x47, Token: 2}
	CmdXor         = Command{Code: 0x4f}
)

func commandKey(code, token, length uint8) int {
	return int(code&127)<<5 | int(token&3)<<3 | int(length&7)
}

// CommandOf finds a command, nil if there is none. length is the field: units - 1.
func CommandOf(code, token, length uint8) *CommandInfo {
	if code > 127 || token > 3 || length > 7 {
		return nil
	}
	return commands().byKey[commandKey(code, token, length)]
}

// command returns the command of an OpCmd, nil if it is undefined.
func (in *Inst) command() *CommandInfo {
	if in.Cmd.Mode == 6 {
		return CommandOf(in.Cmd.Code, 0, uint8(in.Imm>>23&7))
	}
	return CommandOf(in.Cmd.Code, in.Cmd.Token, in.Cmd.Len)
}

// Transfer returns how many transfer registers, from Cmd.Xfer up, the command sends
// (out-registers) and gets (in-registers). An indirect reference may change the
// numbers. known is false if no source gives them.
func (in *Inst) Transfer() (sends, gets int, known bool) {
	c := in.command()
	if in.Op != OpCmd || c == nil || c.Op == MemoryUnknown {
		return 0, 0, false
	}
	_, sends, gets = c.Transfer(in.Cmd.Len)
	return sends, gets, true
}

// Transfer returns how many 32-bit words of memory a read, write or atomic with a
// length field touches, rounded up, and how many transfer registers it sends and gets.
// Of an atomic, length bit 2 says that it has 64 bits. Without it, read, write, set,
// clr and xor take as many words as the length gives, and the others one (assumed:
// published for add and sub alone). compare_write takes the expected value, then the
// new one.
func (c *MemoryCommand) Transfer(length uint8) (words, sends, gets int) {
	words = (int(c.Unit)*(int(length)+1) + 3) / 4
	if c.Op.Atomic() {
		words = 1
		switch {
		case length&4 != 0, c.Op == AtomicCompare && length == 3:
			words = 2
		case !c.Imm && c.Op <= AtomicXor && c.Op != AtomicCompare:
			words = int(length&3) + 1
		}
	}
	if c.sends() {
		sends = words
		if c.Op == AtomicCompare {
			sends = 2 * words
		}
	}
	if c.gets() {
		gets = words
	}
	return words, sends, gets
}
