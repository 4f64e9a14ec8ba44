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
// prints 75 named steps. Each has a check here of the same behaviour, on a netdevsim
// device of its own. The checks use the manager's kernel if the manager has the
// operation, and bare requests otherwise.

// bench holds the resources of one check.
type bench struct {
	k    *offload.Linux
	card []string // interfaces of the card that takes the first device's place; nil: none does
	sims []*sim
	undo []func()
}

// A check is one step of the selftest.
type selfCheck struct {
	name string
	do   func(b *bench) error
}

// onlySim lists the checks that make no sense on a card, with the reason.
var onlySim = map[string]string{
	"TC offload by default":                           "a knob of netdevsim makes it accept programs of the host",
	"TC cBPF bytecode tries offload by default":       "a knob of netdevsim makes it accept programs of the host",
	"TC cBPF unbound bytecode doesn't offload":        "it is about netdevsim's words; the card refuses programs of the host, which another check shows",
	"TC offloads failure":                             "a knob of netdevsim makes its verifier refuse; what the card's refuses is checked with programs that break its rules",
	"XDP load failure":                                "a knob of netdevsim makes its verifier refuse; what the card's refuses is checked with programs that break its rules",
	"MTU restrictions":                                "netdevsim's limit; the card's depends on how far a program reaches",
	"netdev removal waits for translation":            "a knob of netdevsim delays translation",
	"map creation fail path":                          "a knob of netdevsim makes it refuse maps; the card's limits are checked with maps beyond them",
	"multi-dev ASIC cross-dev destruction":            "a port of the card cannot be removed alone",
	"multi-dev ASIC cross-dev destruction - move":     "a port of the card cannot be removed alone",
	"multi-dev ASIC cross-dev destruction - orphaned": "a port of the card cannot be removed alone",
}

// checked is the result of a check.
type checked struct {
	Name    string `json:"name"`
	Error   string `json:"error,omitempty"`
	Millis  int64  `json:"ms"`
	Skipped string `json:"skipped,omitempty"` // the reason why it makes no sense here
	Frames  int    `json:"frames,omitempty"`  // that came in meanwhile
}

// selftest runs all checks on netdevsim or, with the argument card, those that make
// sense on a card, while frames arrive.
func selftest(_ *env, where string) (any, error) {
	var all []checked
	for _, list := range [][]selfCheck{tcChecks(), xdpChecks(), multiChecks(), mixedChecks(), mapChecks(), cardChecks()} {
		for _, c := range list {
			b := &bench{k: offload.NewLinux(nil)}
			r := checked{Name: c.name}
			do := c.do
			if where == "card" {
				if r.Skipped = onlySim[c.name]; r.Skipped != "" {
					all = append(all, r)
					continue
				}
				do = amongFrames(&r, c.do)
			}
			start := time.Now()
			if err := b.run(do); err != nil {
				r.Error = err.Error()
			}
			r.Millis = time.Since(start).Milliseconds()
			all = append(all, r)
		}
	}
	return all, nil
}

// amongFrames does a check on the card while its second port sends frames to the first.
func amongFrames(r *checked, do func(*bench) error) func(*bench) error {
	return func(b *bench) error {
		devs, err := ports(2)
		if err != nil {
			return err
		}
		for _, d := range devs {
			b.card = append(b.card, d.Name)
			if err := setFeature(d.Name, "hw-tc-offload", false); err != nil { // as the driver has it at first
				return err
			}
		}
		in, err := newTap(devs[0])
		if err != nil {
			return err
		}
		defer in.close()
		out, err := newTap(devs[1])
		if err != nil {
			return err
		}
		defer out.close()
		t := &traffic{in: in, out: out}
		stop, stopped := make(chan struct{}), make(chan error, 1)
		go func() { stopped <- t.run(stop) }()
		err = do(b)
		close(stop)
		<-stopped // an interface may have gone away, or to another namespace
		r.Frames = t.sent
		return err
	}
}

// run performs a check and cleans up. It also fails if anything is left after that.
func (b *bench) run(do func(*bench) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		for i := len(b.undo) - 1; i >= 0; i-- {
			b.undo[i]()
		}
		for _, d := range b.sims {
			if d.id == 0 {
				b.clear(d)
				continue
			}
			d.remove() // those that are gone already are not removed twice
		}
		if n, left := settled(b.k, 0); err == nil && (left != nil || n != 0) {
			err = fmt.Errorf("%d objects are left: %v", n, left)
		}
	}()
	return do(b)
}

// clear removes the objects from a card that its removal would remove.
func (b *bench) clear(d *sim) {
	for _, name := range d.names {
		all, err := b.k.Ports("", name)
		if err != nil || len(all) == 0 {
			continue // it came back under another name
		}
		for _, flags := range []uint32{xdpHardware, xdpDriver, xdpGeneric} {
			setXDP(&all[0], -1, flags)
		}
		deleteClsact(&all[0])
	}
}

// later is done when the check is over.
func (b *bench) later(do func()) { b.undo = append(b.undo, do) }

// sim creates a device, with traffic control's offload enabled, and returns its ports.
func (b *bench) sim(count int) []*offload.Port {
	d := b.device(count)
	var all []*offload.Port
	for _, name := range d.names {
		if err := setFeature(name, "hw-tc-offload", true); err != nil {
			panic(err)
		}
		all = append(all, b.port(name))
	}
	return all
}

// device creates a device; the first one is the card, if there is one.
func (b *bench) device(count int) *sim {
	d := &sim{names: b.card}
	if b.card == nil || len(b.sims) > 0 || count > len(b.card) {
		var err error
		if d, err = newSim(count); err != nil {
			panic(err)
		}
	}
	d.names = d.names[:count]
	b.sims = append(b.sims, d)
	return d
}

// port looks a port up again.
func (b *bench) port(name string) *offload.Port {
	all, err := b.k.Ports("", name)
	if err != nil || len(all) != 1 {
		panic(fmt.Sprintf("port %s: %v", name, err))
	}
	return &all[0]
}

// clsact creates the qdisc for filters.
func (b *bench) clsact(p *offload.Port) {
	if _, err := b.k.Hook(p, offload.TCOffload, true); err != nil {
		panic(err)
	}
}

// smallest is a program that passes frames on.
func smallest(typ ebpf.ProgramType) asm.Instructions {
	verdict := int32(xdpPass)
	if typ == ebpf.SchedCLS {
		verdict = -1
	}
	return asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()}
}

// program loads the smallest program; on is the port whose hardware it is for, nil: the
// host.
func (b *bench) program(typ ebpf.ProgramType, on *offload.Port) *ebpf.Program {
	p, err := tryProgram(typ, on, smallest(typ))
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
	p, err := b.k.LoadProgram(&ebpf.ProgramSpec{Type: typ, Instructions: smallest(typ), License: "GPL", Name: "selftest"}, nil, on)
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

// ofKernel returns the guest's kernel's message for a message of Linux 6.12 about a
// port. Linux 6.3 changed both messages, when it got programs that are bound to a
// device and run on the host. Before that, nfp gave no reason.
func ofKernel(words string, p *offload.Port) string {
	if !kernelBefore(6, 3) {
		return words
	}
	switch {
	case words == "Using offloaded program without HW_MODE flag is not supported":
		return "Using device-bound program without HW_MODE flag is not supported"
	case words == "Program bound to different device" && p.Driver == "nfp":
		return ""
	case words == "Program bound to different device":
		return "program bound to different dev"
	}
	return words
}

// kernelBefore reports whether the guest's kernel is older than a version.
func kernelBefore(major, minor int) bool {
	var u unix.Utsname
	var a, b int
	if unix.Uname(&u) != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a < major || a == major && b < minor
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

// knob sets a debugfs setting of the device (port < 0) or of a port.
func knob(d *sim, port int, name, value string) {
	if err := os.WriteFile(filepath.Join(debug(d, port), name), []byte(value), 0); err != nil {
		panic(err)
	}
}

// bound returns the programs of the device: id, state, loaded.
func (b *bench) bound(d *sim) [][3]string {
	if d.id == 0 {
		return b.boundToCard(d)
	}
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

// boundToCard returns the objects of a card's driver, as the kernel shows them.
func (b *bench) boundToCard(d *sim) [][3]string {
	objects, err := b.k.Objects()
	if err != nil {
		panic(err)
	}
	at, err := b.k.Attached(b.port(d.names[0]))
	if err != nil {
		panic(err)
	}
	var all [][3]string
	for _, o := range objects {
		if o.Program == nil || o.Program.Device == 0 {
			continue
		}
		loaded := "N"
		for _, a := range at {
			if a.Program == o.Program.ID {
				loaded = "Y"
			}
		}
		all = append(all, [3]string{fmt.Sprint(o.Program.ID), "xlated", loaded})
	}
	return all
}

// offloaded is the id of the program that the first port runs in hardware, "0" for none.
func (b *bench) offloaded(d *sim) string {
	if d.id != 0 {
		return sysfs(debug(d, 0), "bpf_offloaded_id")
	}
	at, err := b.k.Attached(b.port(d.names[0]))
	if err != nil {
		panic(err)
	}
	for _, a := range at {
		if a.Mode.Offloaded() {
			return fmt.Sprint(a.Program)
		}
	}
	return "0"
}

// words returns netdevsim's message, or "" on the card, whose driver has none.
func (b *bench) words(netdevsim string) string {
	if b.card != nil {
		return ""
	}
	return netdevsim
}

// isBound checks that one program is bound: the given one, translated, and in use.
func (b *bench) isBound(d *sim, id uint32) error {
	if got := b.bound(d); len(got) != 1 || got[0] != [3]string{fmt.Sprint(id), "xlated", "Y"} {
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

// stands checks which programs are attached to a port.
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

// netns creates a network namespace and returns its name.
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
