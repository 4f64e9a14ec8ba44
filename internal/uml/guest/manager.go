//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// Steps of the offload manager on the guest's kernel.

// recipe is an object file of the steps: a program that writes a mark into frames,
// counts them in element 0 of an array, and gives a verdict.
type recipe struct {
	Mark    int32  `json:"mark"` // below 0: none
	Verdict int32  `json:"verdict"`
	Entries uint32 `json:"entries"` // of the map; 0: no map
	Value   uint32 `json:"value"`   // bytes
	TC      bool   `json:"tc"`
	Map     string `json:"map"` // its type; empty: array
}

func (r recipe) object() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return b
}

// openRecipe is the manager's reader of such objects.
func openRecipe(data []byte, _ offload.Settings) (*ebpf.CollectionSpec, error) {
	var r recipe
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	spec := &ebpf.ProgramSpec{Name: "mark", Type: ebpf.XDP, License: "GPL"}
	dataAt, endAt := int16(0), int16(4)
	if r.TC {
		spec.Type, dataAt, endAt = ebpf.SchedCLS, 76, 80
	}
	coll := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"mark": spec}, Maps: map[string]*ebpf.MapSpec{}}
	insns := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, dataAt, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, endAt, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R6),
		asm.Add.Imm(asm.R4, frameSize),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMem(asm.R4, asm.R6, ethHeader-2, asm.Half),
		asm.JNE.Imm(asm.R4, etherType<<8&0xff00|etherType>>8, "out"), // others' frames
	}
	if !r.TC && r.Mark >= 0 {
		insns = append(insns, asm.Mov.Imm(asm.R5, r.Mark), asm.StoreMem(asm.R6, markAt, asm.R5, asm.Byte))
	}
	if r.Entries > 0 {
		typ := ebpf.Array
		if r.Map != "" {
			var err error
			if typ, err = offload.ParseMapType(r.Map); err != nil {
				return nil, err
			}
		}
		coll.Maps["counts"] = &ebpf.MapSpec{Name: "counts", Type: typ, KeySize: 4, ValueSize: r.Value, MaxEntries: r.Entries}
		insns = append(insns,
			asm.Mov.Imm(asm.R2, 0),
			asm.StoreMem(asm.R10, -4, asm.R2, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R10),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, 0).WithReference("counts"),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		)
	}
	spec.Instructions = append(insns, asm.Mov.Imm(asm.R0, r.Verdict).WithSymbol("out"), asm.Return())
	return coll, nil
}

// journalPath is the path of the guest's journal.
const journalPath = "/run/nfpkit/journal.db"

func newManager(took func(op string, d time.Duration)) (*offload.Manager, *offload.Linux) {
	k := offload.NewLinux(nil)
	return offload.New(k, offload.Options{Journal: journalPath, Open: openRecipe, Took: took}), k
}

// deploy is a deployment of a recipe on interfaces.
func deploy(r recipe, mode offload.Mode, names ...string) *offload.Deployment {
	d := &offload.Deployment{Name: "fw", Object: r.object(), Source: "recipe", Mode: mode}
	for _, n := range names {
		d.Ports = append(d.Ports, offload.Ref{Name: n})
	}
	return d
}

// counted is element 0 of the deployment's map.
func counted(k offload.Kernel, path string) (uint64, error) {
	m, err := k.PinnedMap(path)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	v, err := m.Lookup(make([]byte, 4))
	if err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(v), nil
}

// reloading is the result of reloads under traffic.
type reloading struct {
	flowed
	Reloads    int       `json:"reloads"`
	Unfiltered int       `json:"unfiltered"` // frames that met no program
	Backwards  int       `json:"backwards"`  // frames that met an older program than one before them
	Counted    uint64    `json:"counted"`    // by the programs, in the one map that all had
	Micros     []float64 `json:"micros"`     // of each reload
	Left       int       `json:"left"`       // objects of bpf that are left in the end
}

// traffic is a flow of frames from one tap to another.
type traffic struct {
	in, out tap
	sent    int
	marks   []byte // in the order in which the frames came in
}

// run sends frames, and takes those that come in, until stop is closed.
func (t *traffic) run(stop <-chan struct{}) error {
	for ; ; t.sent++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := t.out.send(t.sent); err != nil {
			return err
		}
		for frame := t.in.take(); frame != nil; frame = t.in.take() {
			t.marks = append(t.marks, frame[markAt])
		}
		time.Sleep(pace)
	}
}

// rest receives the frames that were sent and have not arrived yet.
func (t *traffic) rest() error {
	for {
		wait := quiet
		if len(t.marks) < t.sent {
			wait = patience
		}
		frame, ok, err := t.in.receive(wait)
		if err != nil || !ok {
			return err
		}
		t.marks = append(t.marks, frame[markAt])
	}
}

// pace is the time between two frames, short enough that several arrive during each
// reload. Frames and reloads share a processor.
const pace = 300 * time.Microsecond

// take returns a frame that has already arrived, or nil if there is none.
func (t tap) take() []byte {
	buf := make([]byte, 2048)
	for {
		n, from, err := unix.Recvfrom(int(t), buf, unix.MSG_DONTWAIT)
		if err != nil {
			return nil
		}
		if ll, isLL := from.(*unix.SockaddrLinklayer); !isLL || ll.Pkttype != unix.PACKET_OUTGOING {
			return buf[:n]
		}
	}
}

// reloads replaces the program of port 0 over and over while port 1 sends it frames.
func reloads(_ *env, arg string) (any, error) {
	var want int
	if _, err := fmt.Sscan(arg, &want); err != nil {
		return nil, err
	}
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	out := reloading{flowed: flowed{Marks: map[int]int{}}}
	m, k := newManager(func(op string, d time.Duration) {
		if op == "reload" {
			out.Micros = append(out.Micros, float64(d.Nanoseconds())/1000)
		}
	})
	ctx := background
	program := func(i int) *offload.Deployment {
		return deploy(recipe{Mark: int32(i%250 + 1), Verdict: xdpPass, Entries: 4, Value: 8}, offload.XDPOffload, devs[0].Name)
	}
	if err := m.Load(ctx, program(0), nil); err != nil {
		return nil, err
	}
	in, err := newTap(devs[0])
	if err != nil {
		return nil, err
	}
	defer in.close()
	source, err := newTap(devs[1])
	if err != nil {
		return nil, err
	}
	defer source.close()

	t := &traffic{in: in, out: source}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- t.run(stop) }()
	for i := 1; i <= want && err == nil; i++ {
		if err = m.Reload(ctx, program(i), nil); err == nil {
			out.Reloads++
		}
	}
	close(stop)
	if err = errors.Join(err, <-stopped, t.rest()); err != nil {
		return out, err
	}
	out.Sent = t.sent
	out.tally(t.marks)
	if out.Counted, err = counted(k, fmt.Sprintf("fw/gen-%d/maps/counts", out.Reloads+1)); err != nil {
		return out, err
	}
	if err := m.Unload(ctx, "fw"); err != nil {
		return out, err
	}
	out.Left, err = settled(k, 0)
	return out, err
}

// tally counts the frames without a mark and those with an older mark than a
// frame before. order has the marks in the order of arrival.
func (r *reloading) tally(order []byte) {
	r.Received = len(order)
	last := 1
	for _, mark := range order {
		if mark == 0 {
			r.Unfiltered++
			continue
		}
		// Marks go from 1 to 250 and start again.
		if step := (int(mark) - last + 250) % 250; step > 125 {
			r.Backwards++
		}
		last = int(mark)
	}
	r.Marks = map[int]int{}
	for _, mark := range order {
		r.Marks[int(mark)]++
	}
	slices.Sort(r.Micros)
	if len(r.Marks) > 20 {
		r.Marks = nil // too many to report
	}
}

// background is the context of steps: the guest's life bounds them all.
var background = context.Background()

// splitComma returns the parts of an argument.
func splitComma(arg string) []string { return strings.Split(arg, ",") }
