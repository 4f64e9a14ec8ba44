package interp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// received are packets whose context the tests compare, to an interface with the
// given address.
func received(mac net.HardwareAddr) map[string][]byte {
	all := map[string][]byte{}
	for name, b := range map[string]string{
		"IPv4": "\x08\x00", "802.3 length": "\x00\x32", "Novell": "\x00\x32\xff\xff", "lowest EtherType": "\x06\x00",
		"broadcast": "\x08\x06", "multicast": "\x86\xdd",
	} {
		packet := make([]byte, 64)
		copy(packet, mac)
		copy(packet[12:], b)
		switch name {
		case "broadcast":
			copy(packet, "\xff\xff\xff\xff\xff\xff")
		case "multicast":
			copy(packet, "\x33\x33\x00\x00\x00\x01")
		}
		all[name] = packet
	}
	all["headers alone"] = all["IPv4"][:20]
	return all
}

// scalars returns the fields that a program of this type reads as numbers. Programs of
// a devmap alone may read egress_ifindex.
func scalars(t ebpf.ProgramType) []helper.Field {
	c, _ := helper.Context(t)
	var fields []helper.Field
	for _, f := range c.Fields {
		if f.Kind == helper.FieldScalar && f.Name != "egress_ifindex" && f.Name != "cb" {
			fields = append(fields, f)
		}
	}
	return fields
}

// contextProgram stores the n-th of fields as the n-th value of an array, and gives
// the verdict to let the packet go on.
func contextProgram(t ebpf.ProgramType, fields []helper.Field) *ebpf.ProgramSpec {
	insns := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	sizes := map[int]asm.Size{1: asm.Byte, 4: asm.Word, 8: asm.DWord}
	for i, f := range fields {
		insns = append(insns,
			asm.LoadMem(asm.R7, asm.R6, int16(f.Off), sizes[f.Size]),
			asm.StoreMem(asm.R10, -8, asm.R7, asm.DWord),
			asm.StoreImm(asm.R10, -12, int64(i), asm.Word),
			asm.LoadMapPtr(asm.R1, 0).WithReference("out"),
			asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -12),
			asm.Mov.Reg(asm.R3, asm.R10), asm.Add.Imm(asm.R3, -8), asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call())
	}
	verdict := map[ebpf.ProgramType]int32{ebpf.XDP: 2, ebpf.SchedCLS: 0}[t]
	insns = append(insns, asm.Mov.Imm(asm.R0, verdict), asm.Return())
	return &ebpf.ProgramSpec{Name: "context", Type: t, Instructions: insns, License: "GPL"}
}

var outMap = &ebpf.MapSpec{Name: "out", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 32}

// contextHere returns the fields of the interpreter's context for a packet.
func contextHere(t *testing.T, typ ebpf.ProgramType, in *Input) map[string]uint64 {
	t.Helper()
	fields := scalars(typ)
	m := machine(t, contextProgram(typ, fields), map[string]*ebpf.MapSpec{"out": outMap}, nil)
	if _, err := m.Run(in); err != nil {
		t.Fatal(err)
	}
	values := map[string]uint64{}
	for i, f := range fields {
		v, err := m.maps[0].LookupAll(binary.LittleEndian.AppendUint32(nil, uint32(i)))
		if err != nil {
			t.Fatal(err)
		}
		values[f.Name] = binary.LittleEndian.Uint64(v)
	}
	return values
}

// kernelContext is a program of the kernel's that says what its context is.
type kernelContext struct {
	fields []helper.Field
	prog   *ebpf.Program
	out    *ebpf.Map
}

func newKernelContext(t *testing.T, typ ebpf.ProgramType) *kernelContext {
	t.Helper()
	k := &kernelContext{fields: scalars(typ)}
	spec := &ebpf.CollectionSpec{
		Programs: map[string]*ebpf.ProgramSpec{"context": contextProgram(typ, k.fields)},
		Maps:     map[string]*ebpf.MapSpec{"out": outMap},
	}
	c, err := ebpf.NewCollection(spec)
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("bpf(2) does not take programs here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	k.prog, k.out = c.Programs["context"], c.Maps["out"]
	return k
}

func (k *kernelContext) values(t *testing.T) map[string]uint64 {
	t.Helper()
	values := map[string]uint64{}
	for i, f := range k.fields {
		var v uint64
		if err := k.out.Lookup(uint32(i), &v); err != nil {
			t.Fatal(err)
		}
		values[f.Name] = v
	}
	return values
}

// contextIn returns a context for BPF_PROG_TEST_RUN with the given numbers.
func contextIn(typ ebpf.ProgramType, size int, values map[string]uint32) []byte {
	c, _ := helper.Context(typ)
	b := make([]byte, c.Size)
	for _, f := range c.Fields {
		if v, ok := values[f.Name]; ok {
			binary.LittleEndian.PutUint32(b[f.Off:], v)
		}
	}
	if typ == ebpf.XDP {
		binary.LittleEndian.PutUint32(b[4:], uint32(size)) // data_end
	}
	return b
}

// TestContextAgainstTestRun compares every field of both contexts with those of
// BPF_PROG_TEST_RUN, to which the interface is given.
func TestContextAgainstTestRun(t *testing.T) {
	for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
		k := newKernelContext(t, typ)
		for name, packet := range received(make([]byte, 6)) {
			switch {
			case name == "broadcast": // the loopback, on which this runs, has no broadcast address
				continue
			case name == "headers alone" && typ == ebpf.SchedCLS: // refused
				continue
			}
			const lo = 1
			in := map[string]uint32{"ingress_ifindex": lo, "ifindex": lo}
			_, err := k.prog.Run(&ebpf.RunOptions{Data: packet, DataOut: make([]byte, 256), Context: contextIn(typ, len(packet), in)})
			if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, os.ErrPermission) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatalf("%v, %s: %v", typ, name, err)
			}
			kernel := k.values(t)
			delete(kernel, "wire_len") // has the link header here, and not at a device
			sameContext(t, fmt.Sprint(typ, ", ", name), kernel, contextHere(t, typ, &Input{Packet: packet, Ifindex: lo}))
		}
	}
}

func sameContext(t *testing.T, what string, kernel, ours map[string]uint64) {
	t.Helper()
	for name, want := range kernel {
		if got := ours[name]; got != want {
			t.Errorf("%s: %s is %#x, the kernel's %#x", what, name, got, want)
		}
	}
}

// TestContextAgainstWire compares them with those of packets that arrive at a
// virtual Ethernet device, at XDP and at tc's ingress.
func TestContextAgainstWire(t *testing.T) {
	from, to := vethPair(t)
	for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
		k := newKernelContext(t, typ)
		var l link.Link
		var err error
		if typ == ebpf.XDP {
			l, err = link.AttachXDP(link.XDPOptions{Program: k.prog, Interface: to.Index, Flags: link.XDPGenericMode})
		} else {
			l, err = link.AttachTCX(link.TCXOptions{Program: k.prog, Interface: to.Index, Attach: ebpf.AttachTCXIngress})
		}
		if errors.Is(err, ebpf.ErrNotSupported) {
			t.Logf("%v programs cannot be attached by links: %v", typ, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for name, packet := range received(to.HardwareAddr) {
			if err := k.out.Put(uint32(0), uint64(0)); err != nil {
				t.Fatal(err)
			}
			ours := contextHere(t, typ, &Input{Packet: packet, Ifindex: uint32(to.Index)})
			kernel := map[string]uint64{}
			first := k.fields[0].Name // which is never 0
			for try := 0; kernel[first] == 0 && try < 500; try++ {
				send(t, from, packet) // again, as a device that comes up loses packets
				time.Sleep(2 * time.Millisecond)
				kernel = k.values(t)
			}
			sameContext(t, fmt.Sprint(typ, ", ", name), kernel, ours)
		}
	}
}

// vethPair creates two connected devices that carry only the test's packets.
func vethPair(t *testing.T) (from, to *net.Interface) {
	t.Helper()
	names := [2]string{"nfpkit-a", "nfpkit-b"}
	if out, err := exec.Command("ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]).CombinedOutput(); err != nil {
		t.Skipf("no virtual Ethernet devices here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", names[0]).Run() })
	var pair [2]*net.Interface
	for i, name := range names {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		if out, err := exec.Command("ip", "link", "set", name, "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var err error
		if pair[i], err = net.InterfaceByName(name); err != nil {
			t.Fatal(err)
		}
	}
	return pair[0], pair[1]
}

func send(t *testing.T, from *net.Interface, packet []byte) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
	if err != nil {
		t.Skip(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, packet, 0, &syscall.SockaddrLinklayer{Ifindex: from.Index}); err != nil {
		t.Fatal(err)
	}
}
