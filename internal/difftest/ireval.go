package difftest

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/ir"
)

// runIR evaluates a module with the interpreter's machine as its environment.
func runIR(p *Program, c *code.Code, mod *ir.Module) (*Result, error) {
	w, err := newWorld(p, c, cardWorld())
	if err != nil {
		return nil, err
	}
	res := &Result{}
	for i, pkt := range p.Packets {
		in := input(pkt)
		in.Mem = make([]byte, irStack)
		w.mach.Reset(in)
		env := &irEnv{world: w}
		out, err := ir.Eval(mod, env, nil, 1<<24)
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i, err)
		}
		end := w.mach.Result()
		if t := env.after; t != nil {
			end.Packet, end.Events = t.Packet, append(end.Events, t.Events...)
			if t.Redirect != nil {
				end.Redirect = t.Redirect
			}
		}
		end.Action = uint32(out.R0)
		res.Packets = append(res.Packets, packetResult(end))
	}
	res.Maps, err = w.contents()
	return res, err
}

// irStack is the memory for stack frames: eight of 512 bytes, with room for their
// alignment and for scratch. It uses the addresses of raw programs' memory.
const irStack = 16 << 10

// irEnv is an ir.Env over the interpreter's memory and helpers. Map handles are
// the map's index plus one, as table ids are.
type irEnv struct {
	*world
	after *interp.Result // of the program that a tail call went on in
}

func (e *irEnv) PacketStart() uint32 { return e.mach.PacketStart() }
func (e *irEnv) PacketLen() uint32   { return uint32(e.mach.PacketLen()) }
func (e *irEnv) StackBase() uint32   { return uint32(e.mach.MemAddr()) }

// field finds a context field's address and size.
func (e *irEnv) field(name string) (addr uint64, size int, err error) {
	ctx, ok := helper.Context(e.code.Type)
	if ok {
		for _, f := range ctx.Fields {
			if f.Name == name {
				return e.mach.CtxAddr() + uint64(f.Off), f.Size, nil
			}
		}
	}
	return 0, 0, fmt.Errorf("context has no field %s", name)
}

func (e *irEnv) CtxLoad(name string) (uint32, error) {
	addr, size, err := e.field(name)
	if err != nil {
		return 0, err
	}
	v, err := e.mach.Load(addr, size)
	return uint32(v), err
}

func (e *irEnv) CtxStore(name string, v uint32) error {
	addr, size, err := e.field(name)
	if err != nil {
		return err
	}
	return e.mach.Store(addr, size, uint64(v))
}

// Load reads memory. As on the card, a read of whole words may extend up to 3 bytes past
// a region, and past a packet further into its buffer. Results must not depend on those
// bytes.
func (e *irEnv) Load(space ir.Space, addr uint64, size int) (uint64, error) {
	v, err := e.mach.Load(addr, size)
	if err == nil || size != 4 {
		return v, err
	}
	buf := [4]byte{0, 0xa5, 0x5a, 0xa5}
	for i := range buf {
		b, err2 := e.mach.Load(addr+uint64(i), 1)
		if err2 != nil {
			if i == 0 && !e.pastEnd(space, addr) {
				return 0, err
			}
			break
		}
		buf[i] = byte(b)
	}
	return uint64(binary.LittleEndian.Uint32(buf[:])), nil
}

// window is the number of bytes past a packet's end that reads may reach.
const window = 64

// pastEnd reports whether an address is in the packet's buffer, past the packet's end.
func (e *irEnv) pastEnd(space ir.Space, addr uint64) bool {
	end := uint64(e.PacketStart()) + uint64(e.PacketLen())
	return space == ir.Packet && addr >= end && addr < end+window
}

func (e *irEnv) Store(space ir.Space, addr uint64, size int, v uint64) error {
	return e.mach.Store(addr, size, v)
}

func (e *irEnv) Atomic(op ir.AtomicOp, space ir.Space, addr uint64, size int, v, expected uint64) (uint64, error) {
	ops := map[ir.AtomicOp]asm.AtomicOp{
		ir.AtomicAdd: asm.FetchAdd, ir.AtomicAnd: asm.FetchAnd, ir.AtomicOr: asm.FetchOr,
		ir.AtomicXor: asm.FetchXor, ir.AtomicXchg: asm.Xchg, ir.AtomicCmpXchg: asm.CmpXchg,
	}
	return e.mach.Atomic(ops[op.Base()], addr, size, v, expected)
}

// Helper calls a helper with the interpreter's map handles and context.
func (e *irEnv) Helper(id int32, args [5]uint64) (uint64, error) {
	proto, ok := helper.ByID(asm.BuiltinFunc(id))
	if !ok {
		return 0, fmt.Errorf("no helper %d", id)
	}
	for i, a := range proto.Args {
		switch a {
		case helper.ArgConstMap:
			n := int(args[i]) - 1
			if n < 0 || n >= len(e.maps) {
				return 0, fmt.Errorf("helper %s: no map %d", proto.Name, args[i])
			}
			args[i] = e.mach.MapHandle(n)
		case helper.ArgCtx:
			args[i] = e.mach.CtxAddr()
		}
	}
	return e.mach.Helper(asm.BuiltinFunc(id), args)
}

// TailCall continues in the interpreter, on a machine of its own with the same
// maps and the current packet.
func (e *irEnv) TailCall(handle, index uint32) (uint64, bool, error) {
	n := int(handle) - 1
	if n < 0 || n >= len(e.maps) {
		return 0, false, fmt.Errorf("tail call through map %d", handle)
	}
	jump, ok := e.maps[n].(*maps.Targets)
	if !ok {
		return 0, false, fmt.Errorf("tail call through map %s", e.maps[n].Spec().Name)
	}
	value, there := jump.Target(index)
	if !there {
		return 0, false, nil
	}
	next := e.tails[binary.LittleEndian.Uint32(value)]
	if next == nil {
		return 0, false, nil
	}
	mach, err := interp.New(next.Code, next.Maps, cardWorld())
	if err != nil {
		return 0, false, err
	}
	e.after, err = mach.Run(input(e.mach.Result().Packet))
	if err != nil {
		return 0, false, err
	}
	return e.after.R0, true, nil
}

func (e *irEnv) index(name string) (int, error) {
	for i, m := range e.maps {
		if m.Spec().Name == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no map %s", name)
}

func (e *irEnv) MapHandle(name string) (uint32, error) {
	i, err := e.index(name)
	return uint32(i + 1), err
}

func (e *irEnv) MapValueAddr(name string, off int64) (uint64, error) {
	i, err := e.index(name)
	if err != nil {
		return 0, err
	}
	return e.mach.MapValueAddr(i, int(off)), nil
}
