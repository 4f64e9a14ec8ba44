//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
)

const (
	configHeader = 256   // bytes of configuration space with all that a driver or the kernel set up
	configBytes  = 0x600 // as many as the kernel reaches of this card
)

// scribble writes random bytes all over the card's configuration space, with the
// driver bound or, if its argument is "unbound", without, and then restores the
// contents.
func scribble(_ *env, arg string) (any, error) {
	const writes = 2000
	dir, err := pciDevice()
	if err != nil {
		return nil, err
	}
	address := []byte(filepath.Base(dir))
	if arg == "unbound" {
		if err := os.WriteFile(pciDriver+"/unbind", address, 0); err != nil {
			return nil, fmt.Errorf("unbind: %w", err)
		}
		if err := gone(); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "config"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	saved := make([]byte, configHeader)
	if _, err := f.ReadAt(saved, 0); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(4000, 6000))
	failed := 0
	for range writes {
		b := make([]byte, 1+rng.IntN(16))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		at := rng.Int64N(configHeader)
		if rng.IntN(4) == 0 {
			at = rng.Int64N(configBytes - int64(len(b)))
		}
		_, err := f.WriteAt(b, at)
		_, err2 := f.ReadAt(b, at)
		if err != nil || err2 != nil {
			failed++
		}
	}
	// The command register last: it lets the card answer.
	for _, part := range []struct{ from, to int64 }{{8, configHeader}, {4, 8}} {
		if _, err := f.WriteAt(saved[part.from:part.to], part.from); err != nil {
			return nil, fmt.Errorf("put back: %w", err)
		}
	}
	if arg == "unbound" {
		if err := os.WriteFile(pciDriver+"/bind", address, 0); err != nil {
			return nil, fmt.Errorf("bind: %w", err)
		}
	}
	return map[string]int{"writes": writes, "failed": failed}, nil
}

// busy keeps the card at work while the host changes the card's input, or writes to
// its registers: frames in both directions, programs, maps. It counts failures.
func busy(e *env, _ string) (any, error) {
	const (
		lasts = 1500 * time.Millisecond
		burst = 8
	)
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	var taps [2]tap
	for i := range taps {
		if taps[i], err = newTap(devs[i]); err != nil {
			return nil, err
		}
		defer taps[i].close()
	}
	if _, err := e.ask(nil); err != nil {
		return nil, err
	}
	found := map[string]int{}
	over := time.Now().Add(lasts)
	// If an answer of the card is lost, the driver waits five seconds.
	try := func(what string, do func() error) bool {
		if time.Now().After(over) {
			return false
		}
		found[what]++
		if err := do(); err != nil {
			found[what+", failed"]++
			return false
		}
		return true
	}
	for n := 0; time.Now().Before(over); n++ {
		for i := range 2 * burst {
			try("frames", func() error { return taps[i%2].send(i) })
		}
		try("programs", func() error { return runOnce(devs[n%2], int32(n%200)) })
		busyMap(devs[0], burst, try)
	}
	if _, err := e.ask(found); err != nil {
		return nil, err
	}
	return found, nil
}

// busyMap runs every operation on a map, each through try.
func busyMap(dev netdev, entries int, try func(what string, do func() error) bool) {
	var m *ebpf.Map
	if !try("maps", func() (err error) { m, err = newMap(dev.link, ebpf.Hash, 4, 8, uint32(entries)); return err }) {
		return
	}
	defer m.Close()
	for i := range entries {
		try("updates", func() error { return m.Put(uint32(i), uint64(i)) })
	}
	try("dumps", func() error {
		var k uint32
		var v uint64
		it := m.Iterate()
		for it.Next(&k, &v) {
		}
		return it.Err()
	})
	try("deletes", func() error { return m.Delete(uint32(1)) })
}

// runOnce has a port's hardware run a program for a moment.
func runOnce(dev netdev, mark int32) error {
	p, err := load(dev.link, marks(mark))
	if err != nil {
		return err
	}
	defer p.Close()
	return errors.Join(attach(dev.link, p), attach(dev.link, nil))
}
