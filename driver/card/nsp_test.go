package card

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
)

// TestPortControl checks that a port reads as the host set it, and that an unsupported
// speed is refused.
func TestPortControl(t *testing.T) {
	h := newHost(t, &Options{Model: "cx-2x25"})
	const size = mediaEntries * mediaBytes
	read := func(port int) (table []byte, state uint64) {
		_, _, table = h.command(7, size, nil, size)
		return table, binary.LittleEndian.Uint64(table[portSlot(port)*mediaBytes+8:])
	}
	table, state := read(1)
	if state&3 != 3 {
		t.Errorf("after power-up the state is 0x%x", state)
	}
	e := table[portSlot(1)*mediaBytes:]
	binary.LittleEndian.PutUint64(e[8:], state&^(3<<26)|2<<26)
	binary.LittleEndian.PutUint64(e[24:], mediaEnabled|mediaSetFEC)
	if _, result, _ := h.command(8, size, table, 0); result != 0 {
		t.Errorf("set: result %d", result)
	}
	if _, state = read(1); state&3 != mediaEnabled || state>>26&3 != 2 {
		t.Errorf("state 0x%x after it was set", state)
	}
	if _, state = read(0); state&3 != 3 || state>>26&3 != 0 {
		t.Errorf("the other port's state 0x%x", state)
	}
	binary.LittleEndian.PutUint64(e[8:], 3<<8)
	binary.LittleEndian.PutUint64(e[24:], mediaConfigured|mediaSetRate)
	if ret, result, _ := h.command(8, size, table, 0); ret != mediaRefused || result != errInvalid {
		t.Errorf("1G on a 25G port: %d, result %d", ret, result)
	}
	if _, result, _ := h.command(8, 16, table[:16], 0); result != errInvalid {
		t.Errorf("short table: result %d", result)
	}
}

func TestSmallCommands(t *testing.T) {
	h := newHost(t, &Options{})
	_, _, s := h.command(12, 0xf, nil, 16)
	if temp := binary.LittleEndian.Uint32(s); temp != 45_000 {
		t.Errorf("temperature %d", temp)
	}
	_, _, v := h.command(21, 512, nil, 512)
	if at := binary.LittleEndian.Uint16(v[10:]); binary.LittleEndian.Uint16(v) != 14 || cstring(v[at:]) != "nfpkit-stock" {
		t.Errorf("versions % x", v[:64])
	}
	// 16 bytes of a module at its vendor's name.
	in := make([]byte, 24)
	in[0], in[7] = 1, 1
	binary.LittleEndian.PutUint16(in[1:], 16)
	binary.LittleEndian.PutUint16(in[3:], 148)
	_, result, out := h.command(22, 24, in, 24)
	if got := string(out[8:]); result != 0 || got != "NFPKIT          " || out[5] != 16 {
		t.Errorf("module: result %d, %q", result, got)
	}
	in[7] = 2
	if _, result, _ := h.command(22, 24, in, 24); result != errInvalid {
		t.Errorf("module of a port that is not there: result %d", result)
	}
	binary.LittleEndian.PutUint16(in[3:], 1000)
	in[7] = 0
	if _, _, out := h.command(22, 24, in, 24); out[5] != 0 {
		t.Errorf("%d bytes behind a module's end", out[5])
	}
	if _, result, _ := h.command(23, 40, make([]byte, 40), 40); result != 0 {
		t.Errorf("media: result %d", result)
	}
	for i := range maxOverrides + 1 {
		_, result, _ := h.command(18, 64, fmt.Appendf(nil, "key%d=value\x00", i), 0)
		if want := map[bool]uint8{true: errInvalid}[i == maxOverrides]; result != want {
			t.Errorf("hwinfo %d: result %d", i, result)
		}
	}
	if _, result, _ := h.command(18, 64, []byte("key3=other\x00"), 0); result != 0 {
		t.Errorf("hwinfo again: result %d", result)
	}
	if _, _, v := h.command(17, 64, []byte("key3\x00"), 64); cstring(v) != "other" {
		t.Errorf("hwinfo reads %q", cstring(v))
	}
	if _, result, _ := h.command(18, 64, bytes.Repeat([]byte("x"), 64), 0); result != errInvalid {
		t.Errorf("hwinfo without a value: result %d", result)
	}
}

// TestModelsDoc keeps the table of cards in docs/cards.md current.
func TestModelsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString("| card | product | part number | ports |\n|---|---|---|---|\n")
	for _, m := range Models() {
		p := m.Ports[0]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %d x %d Gbit/s, lanes of each: %d x %d |\n", m.Name, m.Product, m.PartNo, len(m.Ports), p.Gbps(), p.Lanes, p.LaneGbps)
		for _, q := range m.Ports {
			if q != p {
				t.Errorf("%s: ports differ: the table cannot show that", m.Name)
			}
		}
	}
	b.WriteString(speeds(t))
	golden.File(t, "../../docs/cards.md", "# Cards\n\nThese are the values of `--card`. "+
		"Part numbers are those of the firmware files that the Linux driver asks for; the LX card's number and lanes are assumed.\n\n"+b.String())
}

// speeds returns the table of the same cards in nfp.Models.
func speeds(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n## Speeds\n\n`nfpsim bench --card` takes the same names, or a JSON file with the fields of nfp.Model that differ, " +
		"`Name` being the card that they differ from:\n\n    {\"Name\": \"cx-2x25\", \"Workers\": 54, \"MACMpps\": 60}\n\n" +
		"All have the chip of [accuracy.md](accuracy.md), which was calibrated on the 2x40; clocks are of the open NIC firmware's platform table. " +
		"The other cards are assumed to differ in clock and ports only; the LX has an NFP-6000, which no measurement here covers.\n\n" +
		"| card | clock, MHz | engines | workers | line rate, 60 bytes, Mpps | MAC, Mpps |\n|---|---|---|---|---|---|\n")
	models := Models()
	for i, m := range nfp.Models() {
		if m.Name != models[i].Name || m.Product != models[i].Product || m.Ports != len(models[i].Ports) || m.PortGbps != models[i].Ports[0].Gbps() {
			t.Errorf("nfp.Models has %s, %d x %d, the card %s", m.Name, m.Ports, m.PortGbps, models[i].Name)
		}
		line := float64(m.Ports*m.PortGbps) * 1000 / 8 / 84
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %.2f | %.1f |\n", m.Name, m.ClockMHz, m.Islands*m.EnginesPerIsland, m.Workers, line, m.MACMpps)
	}
	return b.String()
}
