//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// device is a PCI device as sysfs shows it.
type device struct {
	Address  string   `json:"address"`
	ID       string   `json:"id"`
	Driver   string   `json:"driver"`
	Netdevs  []string `json:"netdevs"`
	BARSizes []uint64 `json:"bar_sizes"`
	Config   []byte   `json:"config"`
}

// pci lists the devices of the bus.
func pci(*env, string) (any, error) { return devices() }

func devices() ([]device, error) {
	dirs, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil {
		return nil, err
	}
	all := []device{}
	for _, dir := range dirs {
		d := device{Address: filepath.Base(dir), ID: sysfs(dir, "vendor") + ":" + sysfs(dir, "device")}
		if target, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
			d.Driver = filepath.Base(target)
		}
		nets, _ := filepath.Glob(filepath.Join(dir, "net/*"))
		for _, n := range nets {
			d.Netdevs = append(d.Netdevs, filepath.Base(n))
		}
		for line := range strings.Lines(sysfs(dir, "resource")) {
			var first, last, flags uint64
			if _, err := fmt.Sscan(line, &first, &last, &flags); err == nil && last > first {
				d.BARSizes = append(d.BARSizes, last-first+1)
			}
		}
		if d.Config, err = os.ReadFile(filepath.Join(dir, "config")); err != nil {
			return all, err
		}
		all = append(all, d)
	}
	return all, nil
}

// sysfs returns the text of an attribute, or "" if it does not exist.
func sysfs(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

// pciBurst writes a range of the first device's configuration space over and over,
// back to back: each register write is posted, and none may be lost. Its argument
// is the range's offset and size, and the number of words to write; the words
// count up.
func pciBurst(_ *env, arg string) (any, error) {
	var off, size, n int64
	if _, err := fmt.Sscanf(arg, "%d,%d,%d", &off, &size, &n); err != nil {
		return nil, fmt.Errorf("want offset,size,count: %w", err)
	}
	dirs, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil || len(dirs) == 0 {
		return nil, fmt.Errorf("no PCI device: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dirs[0], "config"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start := time.Now()
	block := make([]byte, 0, size)
	for i := int64(0); i < n; {
		block = block[:0]
		for ; i < n && int64(len(block)) < size; i++ {
			block = binary.LittleEndian.AppendUint32(block, uint32(i))
		}
		if k, err := f.WriteAt(block, off); err != nil {
			return nil, fmt.Errorf("%d of %d bytes written: %w", k, len(block), err)
		}
	}
	return map[string]any{"writes": n, "us_per_write": float64(time.Since(start).Microseconds()) / float64(n)}, nil
}
