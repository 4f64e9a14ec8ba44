package jit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

func parseIR(t testing.TB, text string) *ir.Module {
	t.Helper()
	m, err := ir.Parse("module \"test\"\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Check(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// numbered is a packet of n bytes, each its own place.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// helperCall is a program that calls a helper with the context and a number, and
// returns 2 if the helper returned 0, 1 if it returned -22, else 0.
func helperCall(id int, arg string) string {
	return fmt.Sprintf(`func main() i32 frame=0 {
b0:
  v1:i64 = ctxaddr
%s
  v3:i64 = helper.%d v1, v2
  v4:i64 = const 0
  v5:i32 = eq v3, v4
  v6:i32 = const 2
  branch v5 b2(v6) b1
b1:
  v7:i64 = const -22
  v8:i32 = eq v3, v7
  jump b2(v8)
b2(v9:i32):
  return v9
}`, arg, id)
}

// constant and loaded are arguments: a number known to the compiler, and one it
// finds at the end of a 64-byte packet.
func knownArg(n int) string { return fmt.Sprintf("  v2:i64 = const %d", n) }

const loadedArg = `  v20:i32 = packetstart
  v21:i32 = const 60
  v22:i32 = add v20, v21
  v23:i32 = load.packet.4 v22
  v2:i64 = sext32 v23`

func TestAdjust(t *testing.T) {
	p := stock(t)
	for _, c := range []struct {
		id, delta, length int
		action            uint32
	}{
		{44, -20, 64, 2}, {44, -84, 64, 2}, {44, -85, 64, 1}, {44, 0, 64, 2}, {44, 14, 64, 2}, {44, 50, 64, 2},
		{44, 51, 64, 1}, {44, 120, 134, 2}, {44, 121, 500, 1}, {44, 1 << 30, 64, 1}, {44, -1 << 31, 64, 1},
		{65, 0, 64, 2}, {65, -1, 64, 2}, {65, -50, 64, 2}, {65, -51, 64, 1}, {65, 1, 64, 1}, {65, -1 << 31, 64, 1}, {65, 1<<31 - 1, 64, 1},
	} {
		for _, arg := range []string{knownArg(c.delta), loadedArg} {
			packet := numbered(c.length)
			for i := range 4 {
				packet[60+i] = byte(c.delta >> (8 * i))
			}
			r := runXDP(t, p, helperCall(c.id, arg), ebpf.XDP, packet)
			want := packet
			if c.action == 2 && c.id == 44 {
				want = append(make([]byte, max(0, -c.delta)), packet[max(0, c.delta):]...)
			} else if c.action == 2 {
				want = packet[:len(packet)+c.delta]
			}
			same := len(r.Packet) == len(want) && string(r.Packet[max(0, len(r.Packet)-60):]) == string(want[max(0, len(want)-60):])
			if r.Action != c.action || !same {
				t.Errorf("helper %d, delta %d of %d (%.12s): action %d, %d bytes, want %d, %d", c.id, c.delta, c.length, strings.TrimSpace(arg),
					r.Action, len(r.Packet), c.action, len(want))
			}
		}
	}
}

func stock(t testing.TB) *firmware.Profile {
	t.Helper()
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runXDP(t *testing.T, p *firmware.Profile, text string, kind ebpf.ProgramType, packet []byte) *driver.Result {
	t.Helper()
	im, err := jit.CompileIR(parseIR(t, text), kind, p, &jit.Options{Check: true})
	if err != nil {
		t.Fatal(err)
	}
	nic, err := driver.New(p, &driver.Options{ZeroBuffer: true})
	if err != nil {
		t.Fatal(err)
	}
	prog, err := nic.Load(im, kind)
	if err != nil {
		t.Fatal(err)
	}
	r, err := nic.Run(prog, &driver.Input{Packet: packet, RxQueue: 77})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestVerdicts compares every return code, known and not known, with the
// profile's table.
func TestVerdicts(t *testing.T) {
	for _, name := range []string{"stock", "unlimited"} {
		p, err := firmware.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
			for code := range uint32(10) {
				want := driver.ResultWord(p, kind, code)
				packet := numbered(64)
				packet[0] = byte(code)
				for _, text := range []string{
					"func main() i32 frame=0 {\nb0:\n  v1:i32 = packetstart\n  v2:i32 = load.packet.1 v1\n  return v2\n}",
					fmt.Sprintf("func main() i32 frame=0 {\nb0:\n  v1:i32 = const %d\n  return v1\n}", code),
				} {
					if r := runXDP(t, p, text, kind, packet); r.Word != want {
						t.Errorf("%s %v code %d: word %#x, want %#x", name, kind, code, r.Word, want)
					}
				}
			}
			r := runXDP(t, p, "func main() i32 frame=0 {\nb0:\n  abort\n}", kind, numbered(64))
			if want := driver.ResultWord(p, kind, 0); r.Word != want {
				t.Errorf("%s %v abort: word %#x, want %#x", name, kind, r.Word, want)
			}
		}
	}
}

func TestQueueSelect(t *testing.T) {
	for _, c := range []struct{ value, queue uint32 }{{0, 0}, {5, 5}, {255, 255}, {256, 64}, {1 << 31, 64}} {
		r := runXDP(t, stock(t), fmt.Sprintf(`func main() i32 frame=0 {
b0:
  v1:i32 = const %d
  ctxstore rx_queue_index, v1
  v2:i32 = const 2
  return v2
}`, c.value), ebpf.XDP, numbered(64))
		if r.Queue == nil || *r.Queue != c.queue {
			t.Errorf("store %d: queue %v, want %d", c.value, r.Queue, c.queue)
		}
	}
}

// TestBigAccess loads and stores pieces of counter words at every place.
func TestBigAccess(t *testing.T) {
	const value = 0x0807060504030201
	p := unlimited(t)
	for _, known := range []bool{true, false} {
		for size := 1; size <= 8; size *= 2 {
			for at := 0; at+size <= 16; at++ {
				if size == 8 && at > 8 {
					continue
				}
				align := ""
				if known {
					align = fmt.Sprintf(" align=4 phase=%d", at%4)
					if at%4 == 0 {
						align = " align=4"
					}
				}
				ty, widen := "i32", "zext32"
				if size == 8 {
					ty, widen = "i64", "add v1,"
				}
				conv := fmt.Sprintf("  v21:i64 = %s v20", widen)
				x := fmt.Sprintf("  v15:%s = const %d", ty, uint64(value)>>(64-8*size))
				text := fmt.Sprintf(`func main(v0:i64, v50:i64) i64 frame=8 {
b0:
  v1:i64 = const 0
  v2:i32 = stackaddr 0
  v3:i32 = const 0
  store.stack.4 v2, v3 align=8
  v4:i32 = maphandle m
  v5:i64 = zext32 v4
  v6:i64 = zext32 v2
  v7:i64 = helper.1 v5, v6 kinds=0x60
  v8:i64 = const %d
  v9:i64 = add v7, v8
%s
  store.map.%d v9, v15 big%s
  v20:%s = load.map.%d v9 big%s
%s
  return v21
}`, at, x, size, align, ty, size, align, conv)
				im, err := jit.CompileIR(parseIR(t, text), ebpf.UnspecifiedProgram, p, &jit.Options{Check: true})
				if err != nil {
					t.Fatal(err)
				}
				nic, err := driver.New(p, nil)
				if err != nil {
					t.Fatal(err)
				}
				m, err := nic.CreateMap(&ebpf.MapSpec{Name: "m", Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 1})
				if err != nil {
					t.Fatal(err)
				}
				im.Maps = []nfp.MapUse{{Name: "m", Words: []nfp.WordUse{2, 2, 2, 2, 2, 2}}}
				prog, err := nic.Load(im, ebpf.UnspecifiedProgram)
				if err != nil {
					t.Fatal(err)
				}
				r, err := nic.Run(prog, &driver.Input{})
				if err != nil {
					t.Fatalf("size %d at %d: %v", size, at, err)
				}
				want := uint64(value) >> (64 - 8*size)
				got, err := m.LookupAll(make([]byte, 4)) // as the host sees it
				if err != nil {
					t.Fatal(err)
				}
				wantBytes := make([]byte, 24)
				for i := range size {
					wantBytes[at+i] = byte(want >> (8 * i))
				}
				if r.R0 != want || string(got) != string(wantBytes) {
					t.Errorf("size %d at %d known %v: r0 %#x, want %#x; value %x, want %x", size, at, known, r.R0, want, got, wantBytes)
				}
			}
		}
	}
}

// TestRefusals: what does not fit is said with numbers.
func TestRefusals(t *testing.T) {
	var long strings.Builder
	long.WriteString("func main() i32 frame=0 {\nb0:\n  v0:i32 = packetlen\n")
	for i := range 3000 {
		fmt.Fprintf(&long, "  v%d:i32 = mul v%d, v%d\n", i+1, i, i)
	}
	long.WriteString("  return v3000\n}")
	for _, c := range []struct{ name, text, reason, message string }{
		{"code-size", long.String(), "code-size", "words, firmware stock has 2800"},
		{"stack-size", "func main() i32 frame=520 {\nb0:\n  v1:i32 = const 2\n  return v1\n}", "stack-size", "needs 520 bytes of stack, firmware stock has 512"},
		{"helper", helperCall(5, knownArg(1)), "helper-missing", "helper 5"},
		{"field", "func main() i32 frame=0 {\nb0:\n  v1:i32 = ctxload mark\n  return v1\n}", "ctx-field", "mark"},
	} {
		_, err := jit.CompileIR(parseIR(t, c.text), ebpf.XDP, stock(t), &jit.Options{Check: true})
		var u *jit.Unsupported
		if !errors.As(err, &u) || u.Reasons[0].Reason != c.reason || !strings.Contains(u.Reasons[0].Message, c.message) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestSecondDirectArray: firmware that keeps one array refuses a lookup in another, and
// the checkers accept the code that was generated by then.
func TestSecondDirectArray(t *testing.T) {
	p, err := firmware.Load("corenic-direct")
	if err != nil {
		t.Fatal(err)
	}
	f := verified(t, `.map odd array key=4 value=8 entries=3
.program xdp prog
	*(u32 *)(r10 - 4) = 1
	r1 = map[odd]
	r2 = r10
	r2 += -4
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r0 = *(u64 *)(r0 + 0)
out:
	exit
`, "prog")
	_, err = jit.Compile(f, p, &jit.Options{Check: true})
	var u *jit.Unsupported
	if !errors.As(err, &u) || u.Reasons[0].Reason != "map-type" {
		t.Errorf("got %v, want map-type", err)
	}
}

// TestDeterministic: the same module gives the same words.
func TestDeterministic(t *testing.T) {
	p := unlimited(t)
	p.Stack = 960
	for seed := range 30 {
		var first []nfp.Word
		for range 3 {
			r := newRand(seed)
			im, err := jit.CompileIR(randomModule(r, 60, 20), ebpf.UnspecifiedProgram, p, &jit.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = im.Words
			} else if fmt.Sprint(first) != fmt.Sprint(im.Words) {
				t.Fatalf("seed %d: words differ from one compilation to the next", seed)
			}
		}
	}
}
