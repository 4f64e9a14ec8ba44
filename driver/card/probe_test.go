package card

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/golden"
)

// TestProbe makes the same requests as the Linux driver when it binds, and prints the
// answers. The model and firmware are in the archive's file card.
func TestProbe(t *testing.T) {
	golden.Run(t, "testdata/probe/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		f := strings.Fields(files["card"])
		if len(f) != 2 {
			t.Fatal("card: model and firmware are wanted")
		}
		h := newHost(t, &Options{Model: f[0], Firmware: profile(t, f[1])})
		var out strings.Builder
		probe(t, h, &out)
		return map[string]string{"probe": out.String()}
	})
}

func probe(t *testing.T, h *host, out *strings.Builder) {
	c := h.card
	fmt.Fprintf(out, "pci %04x:%04x class %06x\n", c.ConfigRead(0, 2), c.ConfigRead(2, 2), c.ConfigRead(9, 4)&0xffffff)
	for bar := 0; bar < 6; bar += 2 {
		at := 0x10 + 4*bar
		c.ConfigWrite(at, 4, 0xffffffff)
		c.ConfigWrite(at+4, 4, 0xffffffff)
		mask := c.ConfigRead(at, 4)&^15 | c.ConfigRead(at+4, 4)<<32
		fmt.Fprintf(out, "bar %d: %d MiB, flags 0x%x\n", bar, -mask>>20, c.ConfigRead(at, 4)&15)
	}
	out.WriteString("capabilities:")
	for at := c.ConfigRead(0x34, 1); at != 0; at = c.ConfigRead(int(at)+1, 1) {
		fmt.Fprintf(out, " 0x%02x", c.ConfigRead(int(at), 1))
	}
	fmt.Fprintf(out, "\nserial %08x %08x\n", c.ConfigRead(extDSN+8, 4), c.ConfigRead(extDSN+4, 4))
	fmt.Fprintf(out, "chip %08x, memory map %04x\n", h.xpb(xpbChipID), h.xpb(xpbAddrMap+4*targetMU))

	e, addr, size := h.lock("nfp.info")
	info := h.read(addr, int(size))
	h.unlock(e)
	n := binary.LittleEndian.Uint32(info[4:])
	if crc := binary.LittleEndian.Uint32(info[n-4:]); crc != cksum(info[:n-4]) {
		t.Errorf("hwinfo: crc 0x%x, sums to 0x%x", crc, cksum(info[:n-4]))
	}
	for b := info[16 : n-4]; len(b) > 0 && b[0] != 0; {
		key := cstring(b)
		b = b[len(key)+1:]
		value := cstring(b)
		b = b[len(value)+1:]
		fmt.Fprintf(out, "hwinfo %s=%s\n", key, value)
	}
	probeNSP(t, h, out)
	probeFirmware(t, h, out)
	if len(h.lines) > 0 {
		t.Errorf("the card logs %q", h.lines)
	}
}

func probeNSP(t *testing.T, h *host, out *strings.Builder) {
	_, _, id := h.command(13, 64, nil, 64)
	fmt.Fprintf(out, "nsp %s, sensors 0x%x\n", cstring(id[:40]), binary.LittleEndian.Uint64(id[56:]))
	ret, _, table := h.command(7, mediaEntries*mediaBytes, nil, mediaEntries*mediaBytes)
	fmt.Fprintf(out, "%d ports\n", ret)
	for i := range mediaEntries {
		e := table[i*mediaBytes:]
		if word, state := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:]); word&15 != 0 {
			fmt.Fprintf(out, "slot %d: port %d, %d lanes, rate %d, cage %d, state 0x%x, mac % x\n", i, word>>8&255, word&15, state>>8&15, state>>12&255, state&15, e[16:22])
		}
	}
	for _, key := range []string{"abi_drv_reset", "assembly.partno"} {
		_, result, value := h.command(17, 64, append([]byte(key), 0), 64)
		fmt.Fprintf(out, "lookup %s: result %d %q\n", key, result, cstring(value))
	}
	_, result, _ := h.command(99, 0, nil, 0)
	fmt.Fprintf(out, "unknown command: result %d\n", result)
	loaded, _, _ := h.command(19, 0, nil, 0)
	fmt.Fprintf(out, "firmware loaded: %d\n", loaded)
	ret, result, _ = h.command(16, 0, nil, 0)
	fmt.Fprintf(out, "load stored firmware: 0x%x, result %d\n", ret, result)
	if _, result, _ := h.command(18, 16, []byte("sp_indiff=0\x00"), 0); result != 0 {
		t.Errorf("set hwinfo: result %d", result)
	}
	if _, _, v := h.command(17, 64, []byte("sp_indiff\x00"), 64); cstring(v) != "0" {
		t.Errorf("hwinfo that was set reads %q", cstring(v))
	}
}

func probeFirmware(t *testing.T, h *host, out *strings.Builder) {
	for _, name := range h.symbols() {
		s := h.syms[name]
		if s.absolute {
			fmt.Fprintf(out, "symbol %s = %d\n", name, s.addr)
		} else {
			fmt.Fprintf(out, "symbol %s at 0x%x, %d bytes\n", name, s.addr, s.size)
		}
	}
	s := h.syms["_abi_bpf_capabilities"]
	caps, err := driver.ParseCaps(h.read(s.addr, int(s.size)))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(out, "bpf abi %d, maps %+v, several entries %v\n", caps.ABI, *caps.Maps, caps.MultiEnt)
	for i := range h.syms["nfd_cfg_pf0_num_ports"].addr {
		b := h.syms["_pf0_net_bar0"].addr + i*barBytesVNIC
		fmt.Fprintf(out, "vnic %d: version 0x%x, caps 0x%08x, queues %d %d, rings %d %d, mtu %d, mac %08x%04x, status 0x%x\n", i,
			h.read32(b+barVersion), h.read32(b+barCaps), h.read32(b+barStartTX), h.read32(b+barStartRX), h.read32(b+barMaxTX), h.read32(b+barMaxRX),
			h.read32(b+barMaxMTU), h.read32(b+barMAC), h.read32(b+barMAC+4)>>16, h.read32(b+barStatus))
		bpf := h.read(b+barBPFABI, 16)
		le := binary.LittleEndian
		fmt.Fprintf(out, "  bpf abi %d, caps %d, %d words at %d, done %d, stack %d, packet %d\n", bpf[0], bpf[1], le.Uint16(bpf[2:]), le.Uint16(bpf[4:]), le.Uint16(bpf[6:]), bpf[8], bpf[9])
	}
	b := h.syms["_pf0_net_ctrl_bar"].addr
	fmt.Fprintf(out, "control vnic: caps 0x%08x, queues %d %d\n", h.read32(b+barCaps), h.read32(b+barStartTX), h.read32(b+barStartRX))
}

// TestReset checks that a soft reset unloads the firmware and that an image from the
// driver loads it again.
func TestReset(t *testing.T) {
	h := newHost(t, &Options{})
	h.boot()
	if _, result, _ := h.command(cmdLoad, 4, []byte("nffw"), 0); result != errBusy {
		t.Errorf("load over running firmware: result %d", result)
	}
	h.command(1, 0, nil, 0)
	if names := h.symbols(); names != nil {
		t.Errorf("symbols after a reset: %v", names)
	}
	image := bytes.Repeat([]byte("nffw"), 1000)
	if ret, result, _ := h.command(cmdLoad, uint32(len(image)), image, 0); ret != 0 || result != 0 {
		t.Errorf("load: 0x%x, result %d", ret, result)
	}
	if got, _ := h.card.Images(); got != ImageOf(image) {
		t.Errorf("firmware arrived as %+v", got)
	}
	if len(h.symbols()) == 0 {
		t.Error("no symbols after a load")
	}
}

// TestFlash writes an image longer than the default buffer, scattered over host
// memory.
func TestFlash(t *testing.T) {
	h := newHost(t, &Options{})
	data := make([]byte, 3<<20+100)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	buf, at := h.alloc(len(data)), h.alloc(16+16*(len(data)/4096+1))
	copy(h.ram[buf-ramBase:], data)
	n := 0
	for off := 0; off < len(data); off += 4096 {
		d := h.ram[at-ramBase+16+16*uint64(n):]
		binary.LittleEndian.PutUint32(d, uint32(min(4096, len(data)-off)))
		binary.LittleEndian.PutUint64(d[8:], buf+uint64(off))
		n++
	}
	binary.LittleEndian.PutUint32(h.ram[at-ramBase:], uint32(n))
	e, base, _ := h.lock("nfp.sp")
	h.write64(base+nspBuffer, at)
	h.write64(base+nspCommand, uint64(len(data))<<32|cmdFlash<<16|2|1)
	if status := h.read64(base); status>>8&0xff != 0 {
		t.Errorf("status 0x%x, %q", status, h.lines)
	}
	h.unlock(e)
	if _, got := h.card.Images(); got != ImageOf(data) {
		t.Errorf("flash arrived as %+v", got)
	}
}

// TestChecksumTool compares the CRC with the output of the cksum tool.
func TestChecksumTool(t *testing.T) {
	if got := cksum([]byte("nfp.sp\x00\x00")); got != cksumOfSP {
		t.Errorf("cksum of nfp.sp: %d", got)
	}
}

// cksumOfSP: printf 'nfp.sp\0\0' | cksum
const cksumOfSP = 3751264384
