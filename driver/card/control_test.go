package card

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
)

// TestMapMessages sends the messages of an archive's script and prints the replies. A
// line is an operation:
//
//	alloc TYPE KEY VALUE ENTRIES | free TABLE
//	lookup TABLE KEY | update TABLE KEY VALUE FLAGS | delete TABLE KEY
//	next TABLE KEY COUNT | first TABLE COUNT | raw HEX
//
// with keys and values in hex. A reply prints as its code and, for entries, the
// contents of its slots up to the last byte that is not zero.
func TestMapMessages(t *testing.T) {
	golden.Run(t, "testdata/maps/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		f := strings.Fields(files["card"])
		h := newHost(t, &Options{Firmware: profile(t, f[0]), SingleEntry: slices.Contains(f[1:], "single")})
		h.boot()
		p := h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0)
		var out strings.Builder
		for line := range strings.Lines(files["script"]) {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			p.send(0, request(t, h.card, strings.Fields(line)))
			reply, _ := p.receive()
			fmt.Fprintf(&out, "%s: %s\n", line, describe(h.card, reply))
			for _, l := range h.lines {
				fmt.Fprintf(&out, "  log: %s\n", l)
			}
			h.lines = nil
		}
		return map[string]string{"replies": out.String()}
	})
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// request builds a message as the driver writes it. Unused bytes are garbage.
func request(t testing.TB, c *Card, f []string) []byte {
	num := func(i int) uint32 {
		v, err := strconv.ParseUint(f[i], 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(v)
	}
	types := map[string]byte{"alloc": msgAlloc, "free": msgFree, "lookup": msgLookup, "update": msgUpdate, "delete": msgDelete, "next": msgGetNext, "first": msgGetFirst}
	head := []byte{types[f[0]], msgVersion, 0x12, 0x34}
	switch f[0] {
	case "raw":
		return unhex(t, f[1])
	case "alloc":
		return be(head, num(2), num(3), num(4), map[string]uint32{"hash": 1, "array": 2, "lru": 9}[f[1]], 0)
	case "free":
		return be(head, num(1))
	}
	count, flags := uint32(1), uint32(0)
	keySlot, valueSlot := c.slots()
	slots := bytes.Repeat([]byte{0xa5}, keySlot+valueSlot)
	switch f[0] {
	case "update":
		copy(slots[keySlot:], unhex(t, f[3]))
		flags = num(4)
		copy(slots, unhex(t, f[2]))
	case "next":
		count = num(3)
		copy(slots, unhex(t, f[2]))
	case "first":
		count = num(2)
	default:
		copy(slots, unhex(t, f[2]))
	}
	return append(be(head, num(1), count, flags), slots...)
}

func describe(c *Card, m []byte) string {
	if m == nil {
		return "no reply"
	}
	if len(m) < 12 || m[0]&msgReply == 0 || m[1] != msgVersion || m[2] != 0x12 || m[3] != 0x34 {
		return fmt.Sprintf("odd reply % x", m)
	}
	if m[0] <= msgReply|msgFree {
		return fmt.Sprintf("rc %d, %d", word(m, 1), word(m, 2))
	}
	keySlot, valueSlot := c.slots()
	rc, count := word(m, 1), word(m, 2)
	want := int(count)
	if rc != 0 {
		want++
	}
	if len(m) != msgEntry+want*(keySlot+valueSlot) {
		return fmt.Sprintf("rc %d, count %d in %d bytes", rc, count, len(m))
	}
	out := fmt.Sprintf("rc %d, %d", rc, count)
	for i := range int(count) {
		slot := m[msgEntry+i*(keySlot+valueSlot):]
		trim := func(b []byte) string { return hex.EncodeToString(bytes.TrimRight(b, "\x00")) }
		out += fmt.Sprintf(" [%s=%s]", trim(slot[:keySlot]), trim(slot[keySlot:keySlot+valueSlot]))
	}
	return out
}

// TestOddProfiles checks that a limit of a user's profile is not advertised if
// messages cannot carry it.
func TestOddProfiles(t *testing.T) {
	for _, abi := range []int{2, 3} {
		for _, bytes := range []int{0, 1, 100, 1 << 20} {
			p := *profile(t, "stock")
			p.ABI, p.Maps.Key, p.Maps.Value, p.Maps.Entry = abi, bytes, bytes, 0
			h := newHost(t, &Options{Firmware: &p})
			h.boot()
			ctrl := h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0)
			caps := h.card.profile.Maps
			for _, line := range []string{
				fmt.Sprintf("alloc hash %d %d 4", caps.Key, caps.Value), "update 1 01 02 0", "update 1 01 02 1", "lookup 1 01",
			} {
				ctrl.send(0, request(t, h.card, strings.Fields(line)))
				if reply, _ := ctrl.receive(); reply == nil || describe(h.card, reply) == "" {
					t.Errorf("abi %d, %d bytes: %s: no reply, log %q", abi, bytes, line, h.lines)
				}
			}
			if caps.Key > bytes && bytes >= 4 || caps.Key < 4 || caps.Value < 4 {
				t.Errorf("abi %d, %d bytes: keys of %d and values of %d are advertised", abi, bytes, caps.Key, caps.Value)
			}
		}
	}
}

// TestCounter runs a program as compiled by the Linux driver. It counts packets in a
// map that the host creates and reads by messages, both through the vNIC's own path.
func TestCounter(t *testing.T) {
	h, a, b := pair(t, &Options{})
	ctrl := h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0)
	ctrl.send(0, request(t, h.card, strings.Fields("alloc array 4 4 4")))
	if reply, _ := ctrl.receive(); word(reply, 1) != 0 || word(reply, 2) != 1 {
		t.Fatalf("alloc: %x", reply)
	}
	if !b.load(counter) || !b.control(ctlBPF) {
		t.Fatalf("%q", h.lines)
	}
	for range 3 {
		a.send(0, frame(60))
		if got, _ := b.receive(); len(got) != 60 {
			t.Fatalf("packet lost: %q", h.lines)
		}
	}
	ctrl.send(0, request(t, h.card, strings.Fields("lookup 1 01000000")))
	reply, _ := ctrl.receive()
	if got := describe(h.card, reply); got != "rc 0, 1 [01=00000003]" {
		t.Errorf("the counter reads %s", got) // big-endian: the host swaps
	}
	ctrl.send(0, request(t, h.card, strings.Fields("free 1")))
	ctrl.receive()
	a.send(0, frame(60)) // uses a freed table
	if got, _ := b.receive(); got != nil || len(h.lines) != 1 {
		t.Errorf("a program with a freed map: %d bytes pass, log %q", len(got), h.lines)
	}
}

// counter adds one to element 1 of table 1 and passes the packet.
const counter = `
immed[gprA_12, 0x1], gpr_wrboth
alu[*l$index0, --, B, gprA_12]
immed[gprB_2, 0x1]
br[.15001], defer[2] @helper 1
alu[gprA_0, --, B, gprB_2]
immed[gprB_0, 0x6] @immed
alu[--, gprA_0, OR, gprB_1]
beq[.11]
immed[gprB_21, 0x890]
alu_shf[--, gprB_21, OR, gprA_12, <<16]
mem[add_imm, $xfer_0, gprB_1, <<8, gprA_0, 1], indirect_ref
br[.13], defer[1] @done
immed[gprA_0, 0x11, <<16]
`

// TestEvents checks that records reach the host as messages.
func TestEvents(t *testing.T) {
	h, a, b := pair(t, &Options{})
	ctrl := h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0)
	if !b.load(event) || !b.control(ctlBPF) {
		t.Fatalf("%q", h.lines)
	}
	a.send(0, frame(60))
	if got, _ := b.receive(); got == nil {
		t.Fatalf("packet lost: %q", h.lines)
	}
	m, _ := ctrl.receive()
	want := be([]byte{msgEvent, msgVersion, 0, 0}, 0, 0, 77, 4, 18)
	want = append(append(want, frame(60)[:18]...), 0, 0)
	want = append(want, 0x78, 0x56, 0x34, 0x12)
	if !bytes.Equal(m, want) {
		t.Errorf("event\n% x, want\n% x", m, want)
	}
}

// event sends 4 bytes of stack and 18 of the packet to the host's map 77.
const event = `
immed[gprA_12, 0x5678]
immed_w1[gprA_12, 0x1234]
alu[*l$index0, --, B, gprA_12]
immed[gprA_1, 0x6]
immed[gprA_4, 77]
immed_w0[gprA_6, 0xffff]
immed_w1[gprA_6, 0xffff]
immed[gprA_7, 18]
alu[gprA_8, --, B, gprA_22]
immed[gprA_9, 0]
immed[gprA_10, 4]
br[.15025], defer[1] @helper 25
immed[gprB_0, 13] @immed
br[.14], defer[1] @done
immed[gprA_0, 0x11, <<16]
`

// FuzzControl sends random messages: the card must drop or answer them, and keep
// running.
func FuzzControl(f *testing.F) {
	for _, line := range []string{"alloc hash 4 8 16", "alloc array 4 4 4", "free 1", "lookup 1 01000000", "update 1 01 02 0", "delete 1 01", "next 1 01 4", "first 1 4"} {
		c, err := New(&Options{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(request(f, c, strings.Fields(line)))
	}
	h := newHost(f, &Options{})
	h.boot()
	p := h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0)
	f.Fuzz(func(t *testing.T, m []byte) {
		h.t = t
		if len(m) > bufSize {
			return
		}
		p.send(0, m)
		reply, _ := p.receive()
		if reply != nil && (len(m) < 8 || reply[0] != m[0]|msgReply || binary.BigEndian.Uint16(reply[2:]) != binary.BigEndian.Uint16(m[2:])) {
			t.Errorf("% x answered by % x", m, reply)
		}
		if h.refused > 0 {
			t.Error("memory outside what was granted")
		}
	})
}
