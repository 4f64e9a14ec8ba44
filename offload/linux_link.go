//go:build linux

package offload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// This file uses rtnetlink for ports and XDP, with the messages of
// include/uapi/linux/rtnetlink.h and if_link.h.

// xdpFlags are the XDP_FLAGS_*_MODE of if_link.h; xdpReplace makes a change conditional on
// the program that EXPECTED_FD names.
var xdpFlags = map[Mode]uint32{XDPGeneric: 1 << 1, XDPDriver: 1 << 2, XDPOffload: 1 << 3}

const xdpReplace = 1 << 4

// xdpIDs are the attributes with the program ids of each mode.
var xdpIDs = []struct {
	mode Mode
	attr uint16
}{{XDPOffload, unix.IFLA_XDP_HW_PROG_ID}, {XDPDriver, unix.IFLA_XDP_DRV_PROG_ID}, {XDPGeneric, unix.IFLA_XDP_SKB_PROG_ID}}

// ifinfo returns struct ifinfomsg.
func ifinfo(index int) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	native.PutUint32(b[4:], uint32(index))
	return b
}

// link is the description of an interface in RTM_GETLINK's answer.
type link struct {
	index, mtu int
	name       string
	up         bool
	programs   map[Mode]uint32
}

func parseLink(data []byte) (link, error) {
	var l link
	if len(data) < unix.SizeofIfInfomsg {
		return l, fmt.Errorf("link of %d bytes", len(data))
	}
	l.index = int(int32(native.Uint32(data[4:])))
	l.up = native.Uint32(data[8:])&unix.IFF_UP != 0
	err := attributes(data[unix.SizeofIfInfomsg:], func(typ uint16, value []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(value)
		case unix.IFLA_MTU:
			l.mtu = int(number(value))
		case unix.IFLA_XDP:
			l.programs = map[Mode]uint32{}
			_ = attributes(value, func(typ uint16, value []byte) {
				for _, x := range xdpIDs {
					if typ == x.attr {
						l.programs[x.mode] = number(value)
					}
				}
			})
		}
	})
	return l, err
}

// Ports lists interfaces: all, or those of the given names.
func (l *Linux) Ports(netns string, names ...string) ([]Port, error) {
	fail := func(err error) ([]Port, error) { return nil, words("list ports", netns, err) }
	var msgs [][]byte
	if len(names) == 0 {
		var err error
		if msgs, err = l.ask(netns, unix.RTM_GETLINK, unix.NLM_F_DUMP, ifinfo(0)); err != nil {
			return fail(err)
		}
	}
	for _, name := range names {
		one, err := l.ask(netns, unix.RTM_GETLINK, 0, ifinfo(0), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) { // the last two mean an impossible name
			continue
		}
		if err != nil {
			return fail(err)
		}
		msgs = append(msgs, one...)
	}
	var all []Port
	for _, m := range msgs {
		k, err := parseLink(m)
		if err != nil {
			return fail(err)
		}
		if k.name != "" {
			all = append(all, Port{Netns: netns, Name: k.name, Index: k.index, Up: k.up, MTU: k.mtu})
		}
	}
	qdiscs, err := l.clsacts(netns)
	if err != nil {
		return fail(err)
	}
	err = l.in(netns, func() error {
		for i := range all {
			all[i].Clsact = qdiscs[all[i].Index]
			l.describe(&all[i])
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Port) int { return a.Index - b.Index })
	return all, err
}

// Elsewhere returns a named namespace other than but that has a port called name, or
// "" if there is none.
func (l *Linux) Elsewhere(name, but string) string {
	for _, ns := range l.Namespaces() {
		if ns == but {
			continue
		}
		if ports, err := l.Ports(ns, name); err == nil && len(ports) > 0 {
			return ns
		}
	}
	return ""
}

// Attached lists the programs attached to a port.
func (l *Linux) Attached(p *Port) ([]Attachment, error) {
	msgs, err := l.ask(p.Netns, unix.RTM_GETLINK, 0, ifinfo(p.Index))
	if err != nil {
		return nil, words("read", p.Ref().String(), err)
	}
	if len(msgs) == 0 {
		return nil, nil
	}
	k, err := parseLink(msgs[0])
	if err != nil {
		return nil, words("read", p.Ref().String(), err)
	}
	var all []Attachment
	var held map[uint32]bool
	for _, x := range xdpIDs {
		if id := k.programs[x.mode]; id != 0 {
			if held == nil {
				held = heldByLinks(p.Index)
			}
			all = append(all, Attachment{Mode: x.mode, Program: id, InHardware: x.mode == XDPOffload, Link: held[id]})
		}
	}
	filters, err := l.filters(p, ingress)
	if err != nil {
		return nil, words("read", p.Ref().String(), err)
	}
	for _, f := range filters {
		if mode := f.mode(); f.kind == "bpf" && f.program != 0 && mode != "" {
			all = append(all, Attachment{Mode: mode, Program: f.program, InHardware: f.flags&inHW != 0})
		}
	}
	return all, nil
}

// descriptor returns the descriptor of a program, or -1 for none.
func descriptor(p Program) (int32, error) {
	if p == nil {
		return -1, nil
	}
	n, ok := p.(*linuxProgram)
	if !ok {
		return -1, fmt.Errorf("%T is not of this kernel", p)
	}
	return int32(n.int()), nil
}

// Swap replaces old by new.
func (l *Linux) Swap(p *Port, mode Mode, old, new Program) error {
	op := "attach"
	if new == nil {
		op = "detach"
	}
	fd, err := descriptor(new)
	if n, ok := new.(*linuxProgram); ok && (n.typ == ebpf.SchedCLS) != mode.TC() {
		return &Error{Op: op, Object: p.Ref().String(), Reason: "wrong-type", Msg: fmt.Sprintf("program %d is of type %v, mode %s takes another", n.id, n.typ, mode)}
	}
	if err == nil && mode.TC() {
		return l.swapFilter(op, p, mode, old, new, fd)
	}
	expected, err2 := descriptor(old)
	if err = errors.Join(err, err2); err != nil {
		return &Error{Op: op, Object: p.Ref().String(), Reason: "wrong-device", Msg: err.Error()}
	}
	xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
	xdp.AddRtAttr(unix.IFLA_XDP_FD, uint32Bytes(uint32(fd)))
	xdp.AddRtAttr(unix.IFLA_XDP_FLAGS, uint32Bytes(xdpFlags[mode]|xdpReplace))
	xdp.AddRtAttr(unix.IFLA_XDP_EXPECTED_FD, uint32Bytes(uint32(expected)))
	log := listenKernelLog()
	defer log.close()
	if _, err := l.ask(p.Netns, unix.RTM_SETLINK, unix.NLM_F_ACK, ifinfo(p.Index), xdp); err != nil {
		e := words(op, p.Ref().String(), err)
		e.Kernel = log.lines()
		return l.attachError(e, p, mode, new)
	}
	return nil
}

// attachReasons distinguishes errors of attaching by errno and by a part of the
// kernel's message. The kernel has no other names for them.
var attachReasons = []struct {
	errno  unix.Errno
	says   string
	reason string
}{
	{unix.EEXIST, "does not match expected", "program-changed"},
	{unix.EEXIST, "can't be active at the same time", "mode-conflict"},
	{unix.EEXIST, "upper device", "port-busy"},
	{unix.EEXIST, "", "program-changed"},
	{unix.EBUSY, "already attached", "program-changed"},
	{unix.EBUSY, "XDP link", "link-held"},
	{unix.EBUSY, "live reload", "no-live-replace"},
	{unix.EBUSY, "", "card-busy"},
	{unix.EINVAL, "different dev", "wrong-device"}, // "device"; before Linux 6.3 netdevsim said "dev", nfp nothing
	{unix.EINVAL, "not bound to every device", "wrong-device"},
	{unix.EINVAL, "non-bound", "wrong-device"},
	{unix.EINVAL, "HW_MODE", "mode-conflict"},
	{unix.EINVAL, "generic mode", "mode-conflict"},
	{unix.EINVAL, "offloaded prog to drv", "mode-conflict"},
	{unix.EINVAL, "ambiguous", "mode-conflict"},
	{unix.EINVAL, "MTU", "port-busy"},
	{unix.EOPNOTSUPP, "native mode", "no-native"},
	{unix.EOPNOTSUPP, "packet split", "program-size"},
	{unix.EOPNOTSUPP, "stack too large", "program-size"},
	{unix.EOPNOTSUPP, "program too long", "program-size"},
	{unix.EOPNOTSUPP, "offload is disabled", "tc-offload-off"},
	{unix.EOPNOTSUPP, "does not support eBPF", "no-firmware"},
	{unix.EOPNOTSUPP, "", "no-offload"},
	{unix.EIO, "", "firmware-error"},
	{unix.ETIMEDOUT, "", "firmware-timeout"},
	{unix.ENODEV, "", "port-gone"},
}

// attachError sets the reason of an error of attaching.
func (l *Linux) attachError(e *Error, p *Port, mode Mode, prog Program) error {
	if e.Reason == "no-permission" {
		e.Msg = "the kernel does not let this process attach programs"
		return e
	}
	for _, r := range attachReasons {
		if errors.Is(e.Err, r.errno) && strings.Contains(e.Extack, r.says) {
			e.Reason = r.reason
			e.Msg = fmt.Sprintf("mode %s: %v", mode, r.errno)
			return e
		}
	}
	if errors.Is(e.Err, unix.EINVAL) && e.Extack == "" && l.olderThan(5, 7) {
		e.Reason, e.Msg = "old-kernel", fmt.Sprintf("kernel %d.%d cannot compare and swap programs", l.version[0], l.version[1])
		return e
	}
	if n, ok := prog.(*linuxProgram); ok && !n.bound && mode.Offloaded() && errors.Is(e.Err, unix.EINVAL) {
		e.Reason, e.Msg = "wrong-device", fmt.Sprintf("mode %s: program %d was loaded for the host", mode, n.id)
		return e
	}
	if n, ok := prog.(*linuxProgram); ok && n.bound && mode.Offloaded() && errors.Is(e.Err, unix.EINVAL) && e.Extack == "" && l.foreign(n, p) {
		e.Reason, e.Msg = "wrong-device", fmt.Sprintf("mode %s: program %d was loaded for another card", mode, n.id)
		return e
	}
	if e.Reason == "unexpected" {
		e.Reason = "attach-failed"
	}
	e.Msg = fmt.Sprintf("mode %s: %s", mode, e.Msg)
	return e
}

// foreign reports whether a program is bound to a device that was removed or that is
// known to belong to another card than p.
func (l *Linux) foreign(n *linuxProgram, p *Port) bool {
	info, err := n.Info()
	if err != nil || info.Gone {
		return err == nil
	}
	ports, err := l.Ports(p.Netns)
	i := slices.IndexFunc(ports, func(q Port) bool { return q.Index == info.Device })
	return err == nil && i >= 0 && ports[i].Card != p.Card
}

// Watch sends changes of links and filters.
func (l *Linux) Watch(ctx context.Context, netns ...string) (<-chan Event, error) {
	if len(netns) == 0 {
		netns = []string{""}
	}
	events := make(chan Event, 64)
	running := make(chan struct{}, len(netns))
	started := 0
	for _, ns := range netns {
		conn, err := l.route(ns, unix.RTNLGRP_LINK, unix.RTNLGRP_TC)
		if ReasonOf(err) == "no-port" && ns != "" {
			continue // the namespace was removed; its ports are in the first one now
		}
		if err != nil {
			return nil, err // the goroutines that were started end with ctx
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		started++
		go func() {
			defer func() { running <- struct{}{} }()
			defer stop()
			defer conn.Close()
			for ctx.Err() == nil {
				msgs, _, err := conn.Receive()
				if errors.Is(err, unix.ENOBUFS) {
					msgs, err = []syscall.NetlinkMessage{{}}, nil // some messages were lost
				}
				if err != nil {
					return
				}
				for _, m := range msgs {
					select {
					case events <- event(ns, m):
					case <-ctx.Done():
						return
					}
				}
			}
		}()
	}
	go func() {
		for range started {
			<-running
		}
		close(events)
	}()
	return events, nil
}

// event converts a message to an event.
func event(netns string, m syscall.NetlinkMessage) Event {
	if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK {
		return Event{}
	}
	k, err := parseLink(m.Data)
	if err != nil {
		return Event{}
	}
	return Event{Port: Ref{netns, k.name}, Gone: m.Header.Type == unix.RTM_DELLINK}
}
