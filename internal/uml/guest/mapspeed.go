//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/offload"
)

// mapSpeed is how long it took to write and to read all entries of a map, in
// microseconds by the guest's clock.
type mapSpeed struct {
	Entries int     `json:"entries"`
	Update  float64 `json:"update"`
	Dump    float64 `json:"dump"`
}

// bpftoolPath is where the host puts bpftool, if it has one.
const bpftoolPath = "/bin/bpftool"

// mapspeed fills and dumps a hash, in host memory and on the card, by the manager's
// kernel and by bpftool. Its argument is the number of entries, and that for bpftool on the
// card; it takes four times as many on the host.
func mapspeed(_ *env, arg string) (any, error) {
	var n, slow int
	if _, err := fmt.Sscanf(arg, "%d,%d", &n, &slow); err != nil {
		return nil, err
	}
	k := offload.NewLinux(nil)
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	all, err := k.Ports("", devs[0].Name)
	if err != nil {
		return nil, err
	}
	found := map[string]mapSpeed{}
	for _, c := range []struct {
		name string
		on   *offload.Port
		slow int // entries for bpftool
	}{{"host", nil, 4 * slow}, {"card", &all[0], slow}} {
		s, err := ownSpeed(k, c.on, n)
		if err != nil {
			return found, fmt.Errorf("%s: %w", c.name, err)
		}
		found[c.name] = s
		if _, err := os.Stat(bpftoolPath); err != nil {
			continue
		}
		if s, err = bpftoolSpeed(k, c.on, c.slow); err != nil {
			return found, fmt.Errorf("%s, bpftool: %w", c.name, err)
		}
		found[c.name+", bpftool"] = s
	}
	return found, nil
}

func speedSpec(n int) *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: "speed", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: uint32(n)}
}

// micros is the time since start.
func micros(start time.Time) float64 { return float64(time.Since(start).Microseconds()) }

func ownSpeed(k *offload.Linux, on *offload.Port, n int) (mapSpeed, error) {
	s := mapSpeed{Entries: n}
	m, err := k.CreateMap(speedSpec(n), on)
	if err != nil {
		return s, err
	}
	defer m.Close()
	var keys, values []byte
	for i := range n {
		keys = binary.NativeEndian.AppendUint32(keys, uint32(i))
		values = binary.NativeEndian.AppendUint64(values, uint64(7*i))
	}
	start := time.Now()
	if done, err := m.Fill(keys, values); err != nil || done != n {
		return s, fmt.Errorf("%d of %d entries written: %w", done, n, err)
	}
	s.Update = micros(start)
	seen, wrong := make([]bool, n), 0
	start = time.Now()
	err = m.Dump(func(key, value []byte) bool {
		i := binary.NativeEndian.Uint32(key)
		if int(i) >= n || seen[i] || binary.NativeEndian.Uint64(value) != 7*uint64(i) {
			wrong++
			return true
		}
		seen[i] = true
		return true
	})
	s.Dump = micros(start)
	for _, ok := range seen {
		if !ok {
			wrong++
		}
	}
	if err != nil || wrong > 0 {
		return s, fmt.Errorf("the dump has %d entries wrong or missing: %w", wrong, err)
	}
	return s, nil
}

// bpftoolSpeed does the same with bpftool: a batch file of updates, and a dump as JSON.
func bpftoolSpeed(k *offload.Linux, on *offload.Port, n int) (mapSpeed, error) {
	s := mapSpeed{Entries: n}
	m, err := k.CreateMap(speedSpec(n), on)
	if err != nil {
		return s, err
	}
	defer m.Close()
	const batch = "/run/batch"
	f, err := os.Create(batch)
	if err != nil {
		return s, err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		k, v := binary.NativeEndian.AppendUint32(nil, uint32(i)), binary.NativeEndian.AppendUint64(nil, uint64(7*i))
		fmt.Fprintf(w, "map update id %d key %d %d %d %d value %d %d %d %d %d %d %d %d\n", m.ID(), k[0], k[1], k[2], k[3], v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7])
	}
	if err := w.Flush(); err != nil {
		return s, err
	}
	if err := f.Close(); err != nil {
		return s, err
	}
	defer os.Remove(batch)
	run := func(args ...string) (float64, error) {
		c := exec.Command(bpftoolPath, args...)
		var said tail
		c.Stderr = &said
		start := time.Now()
		err := c.Run()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return micros(start), err
	}
	if s.Update, err = run("batch", "file", batch); err != nil {
		return s, err
	}
	s.Dump, err = run("-j", "map", "dump", "id", fmt.Sprint(m.ID()))
	return s, err
}

// tail keeps the first bytes that are written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p[:min(len(p), 300-min(300, len(*t)))]...)
	return len(p), nil
}
