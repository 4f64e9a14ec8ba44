package card

import (
	"encoding/binary"
	"fmt"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// This file loads and runs BPF programs. The host links a program for the vNIC's slot
// of the code store, adds check bits, and passes its address. The card reads the
// program before it answers, so every packet sees either the old program or the new
// one.

// loadProgram reads and places the program that the control BAR describes.
func (v *vnic) loadProgram() error {
	if v.port < 0 {
		return fmt.Errorf("program: the control vnic runs none")
	}
	count := int(v.c.mem.u16(v.base + barBPFWords))
	addr := v.c.mem.u64(v.base + barBPFAddr)
	switch max := v.c.profile.MaxLen; {
	case count == 0 || count > max:
		return fmt.Errorf("program of %d words: 1 to %d are possible", count, max)
	case addr&7 != 0:
		return fmt.Errorf("program in mode %d: there is only mode 0", addr&7)
	}
	data := make([]byte, 8*count)
	if err := v.c.dmaRead(addr, data); err != nil {
		return fmt.Errorf("program of %d words: %w", count, err)
	}
	raw, words := make([]uint64, count), make([]nfp.Word, count)
	for i := range raw {
		u := binary.LittleEndian.Uint64(data[8*i:])
		if u>>52 != 0 {
			return fmt.Errorf("program: word %d: 0x%016x has bits above its check bits", i, u)
		}
		w, err := nfp.CheckECC(u)
		if err != nil {
			return fmt.Errorf("program: word %d: %w", i, err)
		}
		raw[i], words[i] = u, w
	}
	prog, err := v.c.nic.Place(fmt.Sprintf("port%d", v.port), v.start(), words)
	if err != nil {
		return err
	}
	v.program, v.words = prog, raw
	return nil
}

// Words returns the control-store words of a port's program as the host wrote them,
// with check bits, or nil if there is none. running reports whether packets pass
// through it.
func (c *Card) Words(port int) (words []uint64, running bool) {
	if port < 0 || port >= len(c.model.Ports) {
		return nil, false
	}
	v := c.vnics[port]
	return v.words, v.control&ctlBPF != 0
}

// arrive passes a frame from the wire through the port's program and then to the
// destination that the verdict selects.
func (v *vnic) arrive(frame []byte, hops int) {
	if !v.c.loaded || !v.enabled {
		return
	}
	v.count(0, frame)
	if v.control&ctlBPF == 0 || v.program == nil {
		v.receive(0, frame)
		return
	}
	res, err := v.c.nic.Run(v.program, &driver.Input{Packet: frame})
	if err != nil {
		v.c.logf("%v: program: %v: the packet is dropped", v, err)
		v.stat(statErrors, 1)
		return
	}
	for _, e := range res.Events {
		v.c.event(&e)
	}
	for i := range 4 {
		if res.Word&(firmware.ResultStat0<<i) != 0 {
			v.stat(statApp+2*i, 1)
			v.stat(statApp+2*i+1, uint64(len(res.Packet)))
		}
	}
	switch {
	case res.Word&firmware.ResultPass != 0:
		r := 0
		if res.Queue != nil {
			r = int(*res.Queue)
		}
		v.receive(r, res.Packet)
	case res.Word&firmware.ResultTX != 0 && res.Word&firmware.ResultTarget == 0:
		v.count(1, res.Packet)
		v.c.emit(v.port, res.Packet, hops)
	}
}
