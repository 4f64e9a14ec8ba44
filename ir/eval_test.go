package ir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// world is a small Env: flat memories, one map, helpers that mix their
// arguments.
type world struct {
	mem    map[Space][]byte
	fields map[string]uint32
	jumps  bool // tail calls succeed
}

// Addresses of the memories.
const (
	stackAt  = 0x40
	packetAt = 0x80000100
	mapAt    = 0x7_0000_0000
)

func newWorld() *world {
	w := &world{mem: map[Space][]byte{}, fields: map[string]uint32{"rx_queue_index": 3}}
	for _, s := range []Space{Stack, Packet, MapMem} {
		w.mem[s] = make([]byte, 512)
		for i := range w.mem[s] {
			w.mem[s][i] = byte(i + 1)
		}
	}
	return w
}

func (w *world) PacketStart() uint32 { return packetAt }
func (w *world) PacketLen() uint32   { return 60 }
func (w *world) StackBase() uint32   { return stackAt }

func (w *world) CtxLoad(field string) (uint32, error) {
	v, ok := w.fields[field]
	if !ok {
		return 0, fmt.Errorf("no field %s", field)
	}
	return v, nil
}

func (w *world) CtxStore(field string, v uint32) error {
	w.fields[field] = v
	return nil
}

func (w *world) at(s Space, addr uint64, size int) ([]byte, error) {
	addr -= map[Space]uint64{Stack: stackAt, Packet: packetAt, MapMem: mapAt}[s]
	if addr > 512 || int(addr)+size > 512 {
		return nil, fmt.Errorf("%v: no %d bytes at %#x", s, size, addr)
	}
	return w.mem[s][addr:][:size], nil
}

func (w *world) Load(s Space, addr uint64, size int) (uint64, error) {
	b, err := w.at(s, addr, size)
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:]), nil
}

func (w *world) Store(s Space, addr uint64, size int, v uint64) error {
	b, err := w.at(s, addr, size)
	if err != nil {
		return err
	}
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], v)
	copy(b, word[:])
	return nil
}

func (w *world) Atomic(op AtomicOp, s Space, addr uint64, size int, v, expected uint64) (uint64, error) {
	old, err := w.Load(s, addr, size)
	if err != nil {
		return 0, err
	}
	next := map[AtomicOp]uint64{AtomicAdd: old + v, AtomicAnd: old & v, AtomicOr: old | v, AtomicXor: old ^ v, AtomicXchg: v, AtomicCmpXchg: old}[op.Base()]
	if op.Base() == AtomicCmpXchg && old == expected {
		next = v
	}
	return old, w.Store(s, addr, size, next)
}

func (w *world) Helper(id int32, args [5]uint64) (uint64, error) {
	if id == 99 {
		return 0, errors.New("no such helper")
	}
	return uint64(id)<<32 + args[0] + 2*args[1] + 3*args[2] + 4*args[3] + 5*args[4], nil
}

func (w *world) TailCall(handle, index uint32) (uint64, bool, error) {
	return uint64(handle)<<16 | uint64(index), w.jumps, nil
}

func (w *world) MapHandle(name string) (uint32, error) { return uint32(len(name)), nil }

func (w *world) MapValueAddr(name string, off int64) (uint64, error) {
	return mapAt + uint64(off), nil
}

const (
	min64 = -1 << 63
	min32 = 0x80000000
	ones  = -1
)

// evalCases: code with x in v1 and y in v2 (I64), their low halves in v3 and v4,
// that leaves its result in v9.
var evalCases = []struct {
	code string
	x, y int64
	want uint64
}{
	{"v9:i64 = const -5", 0, 0, 1<<64 - 5},
	{"v9:i32 = const -5", 0, 0, 1<<32 - 5},
	{"v9:i64 = add v1, v2", ones, 2, 1},
	{"v9:i32 = add v3, v4", ones, 2, 1},
	{"v9:i64 = sub v1, v2", 1, 2, 1<<64 - 1},
	{"v9:i32 = sub v3, v4", 1, 2, 1<<32 - 1},
	{"v9:i64 = mul v1, v2", 1 << 33, 1 << 31, 0},
	{"v9:i32 = mul v3, v4", 0x10001, 0x10001, 0x20001},
	{"v9:i64 = udiv v1, v2", ones, 3, (1<<64 - 1) / 3},
	{"v9:i64 = udiv v1, v2", 7, 0, 0},
	{"v9:i32 = udiv v3, v4", ones, 2, 0x7fffffff},
	{"v9:i64 = umod v1, v2", 17, 5, 2},
	{"v9:i64 = umod v1, v2", 17, 0, 17},
	{"v9:i32 = umod v3, v4", 1<<32 + 17, 0, 17},
	{"v9:i64 = sdiv v1, v2", -7, 2, 1<<64 - 3},
	{"v9:i64 = sdiv v1, v2", -7, 0, 0},
	{"v9:i64 = sdiv v1, v2", min64, -1, 1 << 63},
	{"v9:i32 = sdiv v3, v4", min32, -1, min32},
	{"v9:i32 = sdiv v3, v4", 7, -2, 1<<32 - 3},
	{"v9:i64 = smod v1, v2", -7, 2, 1<<64 - 1},
	{"v9:i64 = smod v1, v2", -7, 0, 1<<64 - 7},
	{"v9:i64 = smod v1, v2", min64, -1, 0},
	{"v9:i32 = smod v3, v4", min32, -1, 0},
	{"v9:i32 = smod v3, v4", -7, 0, 1<<32 - 7},
	{"v9:i64 = and v1, v2", 0xff0f, 0x0fff, 0x0f0f},
	{"v9:i64 = or v1, v2", 0xf0, 0x0f, 0xff},
	{"v9:i64 = xor v1, v2", 0xff, 0x0f, 0xf0},
	{"v9:i64 = shl v1, v4", 1, 63, 1 << 63},
	{"v9:i64 = shl v1, v4", 1, 65, 2},
	{"v9:i32 = shl v3, v4", 1, 31, min32},
	{"v9:i32 = shl v3, v4", 1, 33, 2},
	{"v9:i64 = shr v1, v4", min64, 63, 1},
	{"v9:i32 = shr v3, v4", ones, 28, 0xf},
	{"v9:i64 = sar v1, v4", min64, 63, 1<<64 - 1},
	{"v9:i32 = sar v3, v4", min32, 31, 1<<32 - 1},
	{"v9:i32 = sar v3, v4", min32, 32, min32},
	{"v9:i64 = sext8 v1", 0x180, 0, 1<<64 - 0x80},
	{"v9:i32 = sext8 v3", 0x180, 0, 1<<32 - 0x80},
	{"v9:i64 = sext16 v1", 0x18000, 0, 1<<64 - 0x8000},
	{"v9:i64 = sext32 v3", min32, 0, 1<<64 - 1<<31},
	{"v9:i64 = zext32 v3", ones, 0, 1<<32 - 1},
	{"v9:i32 = trunc v1", ones, 0, 1<<32 - 1},
	{"v9:i32 = bswap.16 v3", 0x123456, 0, 0x5634},
	{"v9:i32 = bswap.32 v3", 0x12345678, 0, 0x78563412},
	{"v9:i64 = bswap.64 v1", 0x0102030405060708, 0, 0x0807060504030201},
	{"v9:i32 = eq v1, v2", 1 << 32, 0, 0},
	{"v9:i32 = eq v3, v4", 1 << 32, 0, 1},
	{"v9:i32 = ne v1, v2", 1, 2, 1},
	{"v9:i32 = ult v1, v2", 1, -1, 1},
	{"v9:i32 = ule v1, v2", -1, -1, 1},
	{"v9:i32 = slt v1, v2", -1, 1, 1},
	{"v9:i32 = slt v3, v4", min32, 1, 1},
	{"v9:i32 = sle v1, v2", 1, -1, 0},
	{"v9:i32 = test v1, v2", 1 << 40, 3 << 40, 1},
	{"v9:i32 = test v3, v4", 1 << 40, 3 << 40, 0},
	{"v9:i64 = select v3, v1, v2", 5, 7, 5},
	{"v9:i64 = select v4, v1, v2", 5, 0, 0},
	{"v9:i32 = packetstart", 0, 0, packetAt},
	{"v9:i32 = packetlen", 0, 0, 60},
	{"v9:i32 = ctxload rx_queue_index", 0, 0, 3},
	{"ctxstore rx_queue_index, v3\nv9:i32 = ctxload rx_queue_index", 9, 0, 9},
	{"v9:i32 = stackaddr 8", 0, 0, stackAt + 8},
	{"v9:i32 = maphandle abc", 0, 0, 3},
	{"v9:i64 = mapvalueaddr abc, 5", 0, 0, mapAt + 5},
	{"v8:tuple = mapvalueaddr abc, 5\nv9:i32 = part.1 v8", 0, 0, 7},
	{"v9:i64 = ctxaddr", 0, 0, ctxAddr},
	{"v5:i32 = stackaddr 1\nv9:i32 = load.stack.2 v5", 0, 0, 0x0302},
	{"v5:i32 = packetstart\nv9:i64 = load.packet.8 v5", 0, 0, 0x0807060504030201},
	{"v5:i64 = mapvalueaddr m, 4\nv9:i32 = load.map.4 v5 big", 0, 0, 0x08070605},
	{"v5:i32 = stackaddr 0\nstore.stack.1 v5, v3\nv9:i32 = load.stack.4 v5", 0xeff, 0, 0x040302ff},
	{"v5:i32 = stackaddr 0\nstore.stack.8 v5, v1\nv9:i64 = load.stack.8 v5", ones, 0, 1<<64 - 1},
	{"v5:i32 = stackaddr 0\nv9:i32 = atomic.add.fetch.stack.4 v5, v3", 1, 0, 0x04030201},
	{"v5:i32 = stackaddr 0\natomic.add.stack.4 v5, v3\nv9:i32 = load.stack.4 v5", 1, 0, 0x04030202},
	{"v5:i32 = stackaddr 0\natomic.xor.stack.8 v5, v1\nv9:i32 = load.stack.4 v5", 1, 0, 0x04030200},
	{"v5:i32 = stackaddr 0\nv6:i32 = const 0x04030201\nv7:i32 = atomic.cmpxchg.fetch.stack.4 v5, v3, v6\nv9:i32 = load.stack.4 v5", 77, 0, 77},
	{"v5:i32 = stackaddr 0\nv7:i32 = atomic.cmpxchg.fetch.stack.4 v5, v3, v4\nv9:i32 = load.stack.4 v5", 77, 0, 0x04030201},
	{"v9:i64 = helper.3 v1, v2", 1, 10, 3<<32 + 21},
	{"v8:tuple = helper.3 v3, v4, v4, v3\nv9:i32 = part.0 v8", 1, 0, 1},
	{"v9:i64 = call sub, v1, v2", 10, 4, 14},
	{"tailcall progs, v1\nv9:i64 = add v1, v2", 1, 2, 3},
	{"v9:i32 = addhi v3, v4, v3, v4", 0xffffffff, 1, 1},
	{"v9:i32 = addhi v3, v4, v3, v4", 0xfffffffe, 1, 0xffffffff},
	{"v9:i32 = subhi v3, v4, v3, v4", 1, 2, 1<<32 - 2},
	{"v9:i32 = subhi v3, v4, v3, v4", 3, 2, 1},
	{"v8:tuple = mulwide v3, v4\nv9:i32 = part.1 v8", ones, ones, 0xfffffffe},
	{"v8:tuple = mulwide v3, v4\nv9:i32 = part.0 v8", ones, ones, 1},
	{"v5:i32 = const 36\nv9:i32 = funnel v3, v4, v5", 0x12345678, 0xf0, 0x8000000f},
	{"v5:i32 = const 32\nv9:i32 = funnel v3, v4, v5", 1, 2, 2},
	{"v9:i32 = ult64 v3, v4, v4, v3", ones, 0, 1},
	{"v9:i32 = slt64 v3, v4, v4, v3", ones, 0, 0},
	{"v5:i32 = stackaddr 0\nv8:tuple = read.stack.2 v5\nv9:i32 = part.1 v8", 0, 0, 0x08070605},
	{"v5:i32 = stackaddr 0\nwrite.stack.7 v5, v3, v4\nv9:i64 = load.stack.8 v5", ones, ones, 0x08ffffffffffffff},
	{"v5:i32 = stackaddr 0\nwrite.stack.5 v5, v3, v4\nv9:i64 = load.stack.8 v5", 0, 0, 0x0807060000000000},
}

func TestEval(t *testing.T) {
	covered := map[Op]bool{OpParam: true}
	for _, c := range evalCases {
		result, widen := "v9", ""
		if strings.Contains(c.code, "v9:i32") {
			result, widen = "v10", "v10:i64 = zext32 v9\n"
		}
		text := "func main(v1:i64, v2:i64) i64 frame=64 {\nb0:\nv3:i32 = trunc v1\nv4:i32 = trunc v2\n" + c.code + "\n" + widen + "return " + result + "\n}\n" +
			"func sub(v1:i64, v2:i64) i64 frame=8 {\nb0:\nv3:i64 = add v1, v2\nreturn v3\n}\n"
		m, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", c.code, err)
		}
		for _, v := range m.Funcs[0].Blocks[0].Values {
			covered[v.Op] = true
		}
		out, err := Eval(m, newWorld(), []uint64{uint64(c.x), uint64(c.y)}, 100)
		if err != nil {
			t.Errorf("%s: %v", c.code, err)
		} else if out.R0 != c.want {
			t.Errorf("x=%#x y=%#x: %s: got %#x, want %#x", c.x, c.y, c.code, out.R0, c.want)
		}
	}
	for op := OpInvalid + 1; op < numOps; op++ {
		if !covered[op] {
			t.Errorf("no case evaluates %v", op)
		}
	}
}

func TestEvalControl(t *testing.T) {
	const loop = `func main(v1:i64) i64 frame=0 {
b0:
  v2:i64 = const 0
  jump b1(v1, v2)
b1(v3:i64, v4:i64):
  v5:i64 = const 1
  v6:i64 = sub v3, v5
  v7:i64 = const 0
  v8:i32 = eq v6, v7
  branch v8 b2 b1(v6, v3)
b2:
  return v4
}`
	const swap = `func main(v1:i64, v2:i64) i64 frame=0 {
b0:
  v3:i32 = const 1
  jump b1(v1, v2, v3)
b1(v4:i64, v5:i64, v6:i32):
  v7:i32 = const 0
  branch v6 b1(v5, v4, v7) b2
b2:
  return v4
}`
	const recursion = `func main() i64 frame=0 {
b0:
  v1:i64 = call f
  return v1
}
func f() i64 frame=64 {
b0:
  v1:i64 = call f
  return v1
}`
	const nested = `func main() i32 frame=8 {
b0:
  v1:i64 = call f
  v2:i32 = trunc v1
  return v2
}
func f() i64 frame=0 {
b0:
  v1:i32 = stackaddr 0
  v2:i64 = zext32 v1
  %s
}`
	const legal = `func main(v1:i32, v2:i32) i64 frame=0 {
b0:
  v3:tuple = call f, v2, v1
  v4:i32 = part.0 v3
  v5:i32 = part.1 v3
  return v4, v5
}
func f(v1:i32, v2:i32) i64 frame=0 {
b0:
  return v1, v2
}`
	for _, c := range []struct {
		name, text string
		args       []uint64
		budget     int
		jumps      bool
		want       Outcome
		err        string
	}{
		{name: "loop", text: loop, args: []uint64{3}, budget: 100, want: Outcome{R0: 2, Steps: 18}},
		{name: "watchdog", text: loop, args: []uint64{1 << 40}, budget: 100, want: Outcome{Steps: 100}, err: "step budget used up"},
		{name: "arguments pass at once", text: swap, args: []uint64{1, 2}, budget: 100, want: Outcome{R0: 2, Steps: 7}},
		{name: "recursion", text: recursion, budget: 1000, want: Outcome{Steps: 65}, err: "calls nested too deep"},
		{name: "frame of a callee", text: fmt.Sprintf(nested, "return v2"), budget: 100, want: Outcome{R0: stackAt + 64, Steps: 6}},
		{name: "abort in a callee", text: fmt.Sprintf(nested, "abort"), budget: 100, want: Outcome{Aborted: true, Steps: 4}},
		{name: "tail call in a callee", text: fmt.Sprintf(nested, "tailcall progs, v2\nreturn v2"), budget: 100, jumps: true,
			want: Outcome{R0: 5<<16 | stackAt + 64, Steps: 4}},
		{name: "arguments missing", text: loop, budget: 100, err: "0 arguments for 1 parameters"},
		{name: "halves", text: legal, args: []uint64{5 | 7<<32}, budget: 100, want: Outcome{R0: 7 | 5<<32, Steps: 5}},
	} {
		m, err := Parse(c.text)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		w := newWorld()
		w.jumps = c.jumps
		out, err := Eval(m, w, c.args, c.budget)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
		if out != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, out, c.want)
		}
	}
}

// An error names the function, the value and its pc.
func TestEvalError(t *testing.T) {
	m, err := Parse("func main() i64 frame=0 {\nb0:\n  v1:i64 = helper.99 ; pc 3\n  return v1\n}")
	if err != nil {
		t.Fatal(err)
	}
	const want = "func main: v1:i64 = helper.99 ; pc 3: no such helper"
	if _, err := Eval(m, newWorld(), nil, 10); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
