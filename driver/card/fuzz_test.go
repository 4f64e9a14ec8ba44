package card

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// storm applies a stream of bytes to a running card, 12 bytes a step: accesses to
// registers and memory, doorbells, descriptors, frames. Half of the addresses are
// valid.
func storm(h *host, a, b *port, ctrl *port, data []byte) {
	c := h.card
	places := []uint64{
		addrNSP + nspCommand, addrNSP + nspBuffer, addrNSPBuffer, addrResources, addrNFFW, addrMIP, addrSymbols,
		a.base, a.base + barUpdate, a.base + barTXAddr, a.base + barTXSize, a.base + barRXAddr, a.base + barTXVector, a.base + barBPFWords,
		a.base + barBPFAddr, a.base + barCause, b.base + barControl, b.base + barMTU, b.base + barBuffer, ctrl.base, ctrl.base + barTXEnable,
	}
	for ; len(data) >= 12; data = data[12:] {
		kind, pick, v := data[0], data[1], binary.LittleEndian.Uint64(data[4:])
		wild := uint64(binary.LittleEndian.Uint16(data[2:]))
		bytes8 := data[4:12]
		switch kind % 12 {
		case 0:
			c.ConfigWrite(int(wild), int(pick%9), v)
			c.Read(0, windowCSR, make([]byte, 4))
			c.ConfigWrite(commandOffset, 2, commandMemory|v&commandMaster) // the other steps need windows
		case 1:
			c.ConfigRead(int(wild)-100, int(pick%9))
		case 2:
			c.Write(int(pick%7), v, bytes8[:wild%9])
		case 3:
			c.Read(int(pick%7), v%(1<<28), make([]byte, wild%600))
		case 4: // a window, and an access through it
			c.Write(0, windowCSR+4*(wild%24), bytes8[:4])
			c.Write(int(pick%3)*2, uint64(binary.LittleEndian.Uint32(bytes8[4:])), bytes.Repeat(bytes8, 1+int(pick/3)))
		case 5:
			h.write(places[int(pick)%len(places)]+wild%16, bytes8)
		case 6:
			h.write64(places[int(pick)%len(places)], ramBase+v%ramBytes)
		case 7:
			h.bell(uint64(pick)%64, int(wild%4)*4, uint32(v>>(v%32)))
		case 8: // a command, usually an existing one
			h.write64(addrNSP+nspCommand, v>>32%70000<<32|uint64(pick%26)<<16|uint64(wild&3))
		case 9: // a descriptor, a frame or a message
			at := v % (ramBytes - 64)
			copy(h.ram[at:], bytes8)
			copy(h.ram[a.tx-ramBase+uint64(pick)*8:], bytes8)
		case 10:
			p := []*port{a, b, ctrl}[pick%3]
			p.bell(p.txQ+configQueue, queueAddWrite, 1)
			p.bell(p.txQ, queueAddWrite, uint32(wild%300))
		case 11:
			// A frame that is too short must be refused.
			_ = c.Receive(int(pick%3), bytes.Repeat(bytes8, int(wild%300)))
		}
	}
}

// alive returns an error if the card no longer answers, or uses too much memory.
func alive(h *host) error {
	c := h.card
	c.ConfigWrite(commandOffset, 2, commandMemory|commandMaster)
	if id := h.xpb(xpbChipID); id != chipID {
		return fmt.Errorf("the chip's id reads 0x%x", id)
	}
	if len(c.mem.pages) > maxPages {
		return fmt.Errorf("%d pages of memory", len(c.mem.pages))
	}
	h.write64(addrNSP+nspCommand, 1<<16|1) // a reset, then the firmware again
	h.write64(addrNSP+nspCommand, 16<<16|1)
	if h.read64(addrNSP)>>8&0xff != 0 || !c.loaded {
		return fmt.Errorf("the management processor answers 0x%x", h.read64(addrNSP))
	}
	return nil
}

func stormy(t testing.TB, data []byte) {
	h, a, b := pair(t, &Options{})
	ctrl := h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0)
	if !b.load(verdict(0x44)) || !b.control(ctlBPF) {
		t.Fatalf("%q", h.lines)
	}
	for i := range uint32(8) { // frames that a random doorbell sends
		var d [txDescBytes]byte
		binary.LittleEndian.PutUint16(d[1:], 60)
		d[3] = txEnd
		binary.LittleEndian.PutUint32(d[4:], uint32(ramBase+1000*i))
		copy(h.ram[a.tx-ramBase+txDescBytes*uint64(i):], d[:])
		copy(h.ram[ctrl.tx-ramBase+txDescBytes*uint64(i):], d[:])
		copy(h.ram[1000*i:], request(t, h.card, []string{"alloc", "hash", "4", "8", "16"}))
	}
	storm(h, a, b, ctrl, data)
	if err := alive(h); err != nil {
		t.Error(err)
	}
}

// TestStorm checks that the card survives random accesses.
func TestStorm(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 12*2000)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		stormy(t, data)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestBlocksPastTheEnd copies blocks that extend past the end of each part of the PCIe
// block.
func TestBlocksPastTheEnd(t *testing.T) {
	h := newHost(t, &Options{})
	const queues = 256
	for _, end := range []uint64{sramBytes, msixTable + msixEntry*msixVectors, msixTable + 0x1000, windowCSR + 4*24, queueOffset + queues*queueBytes} {
		for _, before := range []uint64{4, 8, 60} {
			bar, off := h.bulk(targetPCIe, end-before)
			h.card.Read(bar, off, make([]byte, 64))
			h.card.Write(bar, off, make([]byte, 64))
		}
	}
}

// TestRepeatable checks that the same accesses give the same state of card and host
// memory.
func TestRepeatable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 12*1000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	var first []byte
	var lines string
	for range 2 {
		h, a, b := pair(t, &Options{})
		storm(h, a, b, h.open(h.syms["_pf0_net_ctrl_bar"].addr, 0, 0), data)
		if first != nil && (!bytes.Equal(first, h.ram) || lines != fmt.Sprint(h.lines, h.irqs)) {
			t.Error("the second run differs")
		}
		first, lines = h.ram, fmt.Sprint(h.lines, h.irqs)
	}
}

func FuzzRegisters(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 4 {
		data := make([]byte, 12*50)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { stormy(t, data[:min(len(data), 12*500)]) })
}

// BenchmarkRegister measures one register write and read through a window.
func BenchmarkRegister(b *testing.B) {
	h := newHost(b, &Options{})
	bar, off := h.bulk(targetMU, addrNSPBuffer)
	p := make([]byte, 8)
	b.ReportAllocs()
	for b.Loop() {
		h.card.Write(bar, off, p)
		h.card.Read(bar, off, p)
	}
}

// BenchmarkPacket measures a frame from one host ring through the other port's program
// to the other host ring.
func BenchmarkPacket(b *testing.B) {
	_, p, q := pair(b, &Options{})
	if !q.load(verdict(0x11)) || !q.control(ctlBPF) {
		b.Fatal("load")
	}
	f := frame(60)
	b.ReportAllocs()
	for b.Loop() {
		p.send(0, f)
		if got, _ := q.receive(); got == nil {
			b.Fatal("lost")
		}
	}
}
