//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// The kernel's selftest for BPF offload (tools/testing/selftests/net/bpf_offload.py)
// names 75 steps when it runs. Each has a check here of the behaviour that it is about, on
// a netdevsim device of its own: by the manager's kernel where the manager does such a
// thing, and by bare requests where it never would.

// bench is what one check works with.
type bench struct {
	k    *offload.Linux
	sims []*sim
	undo []func()
}

// A check is one step of the selftest.
type selfCheck struct {
	name string
	do   func(b *bench) error
}

// checked is what came of it.
type checked struct {
	Name   string `json:"name"`
	Error  string `json:"error,omitempty"`
	Millis int64  `json:"ms"`
}

func selftest(*env, string) (any, error) {
	var all []checked
	for _, list := range [][]selfCheck{tcChecks(), xdpChecks(), multiChecks(), mixedChecks(), mapChecks(), cardChecks()} {
		for _, c := range list {
			b := &bench{k: offload.NewLinux(nil)}
			r := checked{Name: c.name}
			if err := b.run(c.do); err != nil {
				r.Error = err.Error()
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// run does a check, cleans up behind it, and fails too if anything is left then.
func (b *bench) run(do func(*bench) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		for i := len(b.undo) - 1; i >= 0; i-- {
			b.undo[i]()
		}
		for _, d := range b.sims {
			d.remove() // those that are gone already are not removed twice
		}
		if n, left := settled(b.k, 0); err == nil && (left != nil || n != 0) {
			err = fmt.Errorf("%d objects are left: %v", n, left)
		}
	}()
	return do(b)
}

// later is done when the check is over.
func (b *bench) later(do func()) { b.undo = append(b.undo, do) }

// sim makes a device, with offload of traffic control switched on, and gives its ports.
func (b *bench) sim(count int) []*offload.Port {
	d, err := newSim(count)
	if err != nil {
		panic(err)
	}
	b.sims = append(b.sims, d)
	var all []*offload.Port
	for _, name := range d.names {
		if err := setFeature(name, "hw-tc-offload", true); err != nil {
			panic(err)
		}
		all = append(all, b.port(name))
	}
	return all
}

// port looks a port up again.
func (b *bench) port(name string) *offload.Port {
	all, err := b.k.Ports("", name)
	if err != nil || len(all) != 1 {
		panic(fmt.Sprintf("port %s: %v", name, err))
	}
	return &all[0]
}

// clsact makes the qdisc for filters.
func (b *bench) clsact(p *offload.Port) {
	if _, err := b.k.Hook(p, offload.TCOffload, true); err != nil {
		panic(err)
	}
}

// smallest is a program that gives 0.
func smallest() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
}

// program loads the smallest program; on is the port whose hardware it is for, nil: the
// host.
func (b *bench) program(typ ebpf.ProgramType, on *offload.Port) *ebpf.Program {
	p, err := tryProgram(typ, on, smallest())
	if err != nil {
		panic(err)
	}
	b.later(func() { p.Close() })
	return p
}

func tryProgram(typ ebpf.ProgramType, on *offload.Port, insns asm.Instructions) (*ebpf.Program, error) {
	spec := &ebpf.ProgramSpec{Type: typ, Instructions: insns, License: "GPL", Name: "selftest"}
	if on != nil {
		spec.Ifindex = uint32(on.Index)
	}
	return ebpf.NewProgram(spec)
}

// loaded loads the smallest program through the manager's kernel.
func (b *bench) loaded(typ ebpf.ProgramType, on *offload.Port) offload.Program {
	p, err := b.k.LoadProgram(&ebpf.ProgramSpec{Type: typ, Instructions: smallest(), License: "GPL", Name: "selftest"}, nil, on)
	if err != nil {
		panic(err)
	}
	b.later(func() { p.Close() })
	return p
}

// refusal checks an error's reason and the kernel's words in it.
func refusal(err error, reason, words string) error {
	var e *offload.Error
	switch {
	case !errors.As(err, &e) || e.Reason != reason:
		return fmt.Errorf("error %v, want reason %s", err, reason)
	case !strings.Contains(e.Extack+"\n"+strings.Join(e.Log, "\n"), words):
		return fmt.Errorf("error %+v lacks %q", e, words)
	}
	return nil
}

// objects waits for a number of programs and maps.
func (b *bench) objects(want int) error {
	if n, err := settled(b.k, want); err != nil || n != want {
		return fmt.Errorf("%d programs and maps, want %d: %v", n, want, err)
	}
	return nil
}

// debug is the directory of a device in debugfs; "" gives the device's, a port's name
// that of its port.
func debug(d *sim, port int) string {
	dir := fmt.Sprintf("/sys/kernel/debug/netdevsim/netdevsim%d", d.id)
	if port >= 0 {
		dir = fmt.Sprintf("%s/ports/%d", dir, port)
	}
	return dir
}

// knob sets a switch of the device (port < 0) or of a port.
func knob(d *sim, port int, name, value string) {
	if err := os.WriteFile(filepath.Join(debug(d, port), name), []byte(value), 0); err != nil {
		panic(err)
	}
}

// bound are the programs that the device knows of: id, state, loaded.
func bound(d *sim) [][3]string {
	dirs, err := filepath.Glob(debug(d, -1) + "/bpf_bound_progs/*")
	if err != nil {
		panic(err)
	}
	var all [][3]string
	for _, dir := range dirs {
		all = append(all, [3]string{sysfs(dir, "id"), sysfs(dir, "state"), sysfs(dir, "loaded")})
	}
	return all
}

// isBound checks that one program is bound: the given one, translated, and in use.
func isBound(d *sim, id uint32) error {
	if got := bound(d); len(got) != 1 || got[0] != [3]string{fmt.Sprint(id), "xlated", "Y"} {
		return fmt.Errorf("bound programs %q, want program %d, xlated and loaded", got, id)
	}
	return nil
}

// idOf is a program's id.
func idOf(p *ebpf.Program) uint32 {
	info, err := p.Info()
	if err != nil {
		panic(err)
	}
	id, _ := info.ID()
	return uint32(id)
}

// stands checks which programs stand in front of a port.
func (b *bench) stands(p *offload.Port, want ...offload.Attachment) error {
	got, err := b.k.Attached(p)
	if err != nil {
		return err
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("port %s: %v, want %v", p.Ref(), got, want)
	}
	return nil
}

// inMode is an attachment.
func inMode(m offload.Mode, id uint32) offload.Attachment {
	return offload.Attachment{Mode: m, Program: id, InHardware: m.Offloaded()}
}

// netns makes a network namespace and returns its name.
func (b *bench) netns() string {
	const dir = "/run/netns"
	name := fmt.Sprintf("ns%d", time.Now().UnixNano())
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		panic(err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		panic(err)
	}
	b.later(func() {
		unix.Unmount(path, 0)
		os.Remove(path)
	})
	return name
}

// move puts a port into a namespace; "" is the guest's first.
func (b *bench) move(p *offload.Port, netns string) {
	path := "/proc/1/ns/net"
	if netns != "" {
		path = "/run/netns/" + netns
	}
	f, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	var a answer
	if err := inNetns(p.Netns, func() { a = moveTo(p, int(f.Fd())) }); err != nil {
		panic(err)
	}
	if err := a.ok(); err != nil {
		panic(err)
	}
}

// inNetns does something in a namespace.
func inNetns(netns string, do func()) error {
	if netns == "" {
		do()
		return nil
	}
	f, err := os.Open("/run/netns/" + netns)
	if err != nil {
		return err
	}
	defer f.Close()
	return onThread(func() error {
		err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			do()
		}
		return err
	})
}

// onThread runs do on a thread of its own, which ends with it, and is not the first: the
// namespace of that one is the process's.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- do()
			return
		}
		err := onThread(do)
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}
