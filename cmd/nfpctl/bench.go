package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
	"github.com/nfpkit/nfpkit/nfp/sim"
	"github.com/nfpkit/nfpkit/offload"
)

// Limits of the bench before a load: some tenths of a second, and a moderate amount of
// memory.
const (
	benchPackets   = 20_000
	benchInterval  = 3 // per cent
	benchMapMemory = 256 << 20
	benchFlows     = 64
	benchFrame     = 60 // bytes, without CRC
)

// runBench measures a program on a simulated card, with empty maps and the smallest
// frames. It refuses only a program that is slower than required; the card decides
// about one that cannot be measured.
func (c *changeFlags) runBench(d *offload.Deployment, facts *verify.Facts, p *firmware.Profile) (speed string, err error) {
	fail := func(format string, args ...any) (string, error) {
		return "", &offload.Error{Op: "bench", Object: d.Source, Reason: "too-slow", Msg: fmt.Sprintf(format, args...)}
	}
	r, err := measure(facts, p)
	if err != nil {
		if c.minimum > 0 {
			return fail("it cannot be measured: %s", oneLine(err))
		}
		return fmt.Sprintf("%s cannot be measured: %s", d.Source, oneLine(err)), nil
	}
	speed = fmt.Sprintf("%.1f Mpps of %d-byte frames on a simulated %s, %.0f cycles a packet, bound by %s; compiled by nfpkit, the driver's own code is usually slower",
		r.Mpps, benchFrame+4, r.Card, r.CyclesPerPacket, r.Bottleneck)
	if r.Mpps < c.minimum {
		return fail("%.1f million packets per second, wanted are %g", r.Mpps, c.minimum)
	}
	return speed, nil
}

func measure(facts *verify.Facts, p *firmware.Profile) (*driver.BenchResult, error) {
	model, err := nfp.ModelByName(nfp.DefaultModel)
	if err != nil {
		return nil, err
	}
	image, err := jit.Compile(facts, p, &jit.Options{Model: model})
	var unsupported *jit.Unsupported
	if errors.As(err, &unsupported) {
		first, _ := summary(unsupported.Reasons)
		return nil, errors.New(first)
	}
	if err != nil {
		return nil, err
	}
	nic, err := driver.New(p, &driver.Options{Spec: sim.NewSpec(model)})
	if err != nil {
		return nil, err
	}
	memory := uint64(0)
	for _, m := range facts.Code.Maps {
		memory += uint64(m.MaxEntries) * uint64(m.KeySize+m.ValueSize)
	}
	if memory > benchMapMemory {
		return nil, fmt.Errorf("its maps take %d MB", memory>>20)
	}
	for _, m := range facts.Code.Maps {
		if _, err := nic.CreateMap(m); err != nil {
			return nil, err
		}
	}
	prog, err := nic.Load(image, facts.Code.Type)
	if err != nil {
		return nil, err
	}
	return nic.Bench(prog, &driver.Bench{Traffic: sim.Traffic{Packets: frames()}, Measure: sim.Measure{Packets: benchPackets, CIPercent: benchInterval}})
}

// frames returns UDP packets of several flows, of Ethernet's minimum size.
func frames() [][]byte {
	all := make([][]byte, benchFlows)
	for i := range all {
		f := make([]byte, benchFrame)
		copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0})
		binary.BigEndian.PutUint16(f[16:], benchFrame-14)
		f[22], f[23] = 64, 17
		copy(f[26:], []byte{10, 0, 0, byte(i), 10, 1, 0, 1})
		binary.BigEndian.PutUint16(f[34:], uint16(1024+i))
		binary.BigEndian.PutUint16(f[36:], 53)
		binary.BigEndian.PutUint16(f[38:], benchFrame-34)
		all[i] = f
	}
	return all
}
