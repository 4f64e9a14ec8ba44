//go:build linux

package offload

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// This file implements traffic control: a clsact qdisc and one cls_bpf filter on its
// ingress side, with a preference and handle of our own
// (include/uapi/linux/pkt_sched.h, pkt_cls.h).

var native = binary.NativeEndian

const (
	clsactHandle = 0xffff0000
	clsactParent = 0xfffffff1
	ingress      = 0xfffffff2
	egress       = 0xfffffff3

	ourPreference = 1
	ourHandle     = 1

	tcaKind      = 1
	tcaOptions   = 2
	tcaBPFFD     = 6
	tcaBPFName   = 7
	tcaBPFFlags  = 8
	tcaBPFGen    = 9
	tcaBPFID     = 11
	directAction = 1

	skipHW = 1 << 0
	skipSW = 1 << 1
	inHW   = 1 << 2
)

// tcmsg returns struct tcmsg.
func tcmsg(index int, handle, parent, info uint32) []byte {
	b := make([]byte, 20)
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], handle)
	native.PutUint32(b[12:], parent)
	native.PutUint32(b[16:], info)
	return b
}

// kindAttr returns the attribute TCA_KIND.
func kindAttr(kind string) *nl.RtAttr { return nl.NewRtAttr(tcaKind, nl.ZeroTerminated(kind)) }

// clsacts returns the interfaces of a namespace with a clsact qdisc, by index.
func (l *Linux) clsacts(netns string) (map[int]bool, error) {
	msgs, err := l.ask(netns, unix.RTM_GETQDISC, unix.NLM_F_DUMP, tcmsg(0, 0, 0, 0))
	if errors.Is(err, unix.EOPNOTSUPP) { // a kernel without traffic control
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	for _, m := range msgs {
		f, err := parseFilter(m)
		if err != nil {
			return nil, err
		}
		if f.kind == "clsact" {
			found[f.index] = true
		}
	}
	return found, nil
}

// filter is the answer of RTM_GETTFILTER or RTM_GETQDISC.
type filter struct {
	index                        int
	handle, info, program, flags uint32
	kind                         string
}

// mode returns the mode of a filter that this package manages: one in hardware, or
// ours. It is empty for others, of which the host may have any number.
func (f *filter) mode() Mode {
	switch {
	case f.flags&skipSW != 0:
		return TCOffload
	case f.info>>16 == ourPreference && f.handle == ourHandle:
		return TCSoftware
	}
	return ""
}

func parseFilter(data []byte) (filter, error) {
	var f filter
	if len(data) < 20 {
		return f, fmt.Errorf("traffic control message of %d bytes", len(data))
	}
	f.index = int(int32(native.Uint32(data[4:])))
	f.handle, f.info = native.Uint32(data[8:]), native.Uint32(data[16:])
	err := attributes(data[20:], func(typ uint16, value []byte) {
		switch {
		case typ == tcaKind:
			f.kind = unix.ByteSliceToString(value)
		case typ == tcaOptions && f.kind == "bpf":
			_ = attributes(value, func(typ uint16, value []byte) {
				switch typ {
				case tcaBPFID:
					f.program = number(value)
				case tcaBPFGen:
					f.flags = number(value)
				}
			})
		}
	})
	return f, err
}

// filters lists the filters on one side of an interface's clsact qdisc.
func (l *Linux) filters(p *Port, side uint32) ([]filter, error) {
	msgs, err := l.ask(p.Netns, unix.RTM_GETTFILTER, unix.NLM_F_DUMP, tcmsg(p.Index, 0, side, 0))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // no such qdisc
	}
	if err != nil {
		return nil, err
	}
	var all []filter
	for _, m := range msgs {
		f, err := parseFilter(m)
		if err != nil {
			return nil, err
		}
		if f.index == p.Index && f.handle != 0 { // 0: the message of a chain or preference itself
			all = append(all, f)
		}
	}
	return all, nil
}

// place returns the program attached to a port in a mode, and its filter: any filter
// in hardware, but in software only ours.
func (l *Linux) place(p *Port, mode Mode) (program uint32, at filter, err error) {
	all, err := l.filters(p, ingress)
	if err != nil {
		return 0, at, err
	}
	for _, f := range all {
		if f.kind == "bpf" && f.program != 0 && f.mode() == mode {
			return f.program, f, nil
		}
	}
	return 0, at, nil
}

// swapFilter is Swap for traffic control. The kernel refuses to create a filter that
// exists, but has no condition for the other changes, so the filter is read first.
func (l *Linux) swapFilter(op string, p *Port, mode Mode, old, new Program, fd int32) error {
	object := p.Ref().String()
	found, place, err := l.place(p, mode)
	if err != nil {
		return words(op, object, err)
	}
	if found != idOf(old) {
		return &Error{Op: op, Object: object, Reason: "program-changed", Msg: fmt.Sprintf("in mode %s program %d is attached, expected is %d", mode, found, idOf(old))}
	}
	const protocol = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	msg, kind := tcmsg(p.Index, ourHandle, ingress, ourPreference<<16|protocol), kindAttr("bpf")
	if found != 0 { // the attached filter may have another preference and handle than ours
		msg = tcmsg(p.Index, place.handle, ingress, place.info)
	}
	log := listenKernelLog()
	defer log.close()
	fail := func(err error) error {
		e := words(op, object, err)
		e.Kernel = log.lines()
		return l.attachError(e, p, mode, new)
	}
	if fd < 0 {
		if _, err := l.ask(p.Netns, unix.RTM_DELTFILTER, unix.NLM_F_ACK, msg, kind); err != nil {
			return fail(err)
		}
		return nil
	}
	if mode == TCOffload && !p.TCOffload {
		return &Error{Op: op, Object: object, Reason: "tc-offload-off", Msg: "its feature hw-tc-offload is off"}
	}
	options := nl.NewRtAttr(tcaOptions|unix.NLA_F_NESTED, nil)
	options.AddRtAttr(tcaBPFFD, uint32Bytes(uint32(fd)))
	options.AddRtAttr(tcaBPFName, nl.ZeroTerminated("nfpkit"))
	options.AddRtAttr(tcaBPFFlags, uint32Bytes(directAction))
	if mode == TCOffload {
		options.AddRtAttr(tcaBPFGen, uint32Bytes(skipSW))
	} else {
		options.AddRtAttr(tcaBPFGen, uint32Bytes(skipHW))
	}
	flags := unix.NLM_F_ACK | unix.NLM_F_CREATE
	if old == nil {
		flags |= unix.NLM_F_EXCL
	}
	if _, err := l.ask(p.Netns, unix.RTM_NEWTFILTER, flags, msg, kind, options); err != nil {
		return fail(err)
	}
	return nil
}

// Hook creates or removes the clsact qdisc.
func (l *Linux) Hook(p *Port, mode Mode, on bool) (bool, error) {
	if !mode.TC() {
		return false, nil
	}
	object := p.Ref().String()
	msg, kind := tcmsg(p.Index, clsactHandle, clsactParent, 0), kindAttr("clsact")
	if on {
		qdiscs, err := l.clsacts(p.Netns)
		if err != nil {
			return false, words("add qdisc", object, err)
		}
		if qdiscs[p.Index] {
			return false, nil
		}
		_, err = l.ask(p.Netns, unix.RTM_NEWQDISC, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, msg, kind)
		if errors.Is(err, unix.EEXIST) {
			e := words("add qdisc", object, err)
			e.Reason, e.Msg = "port-busy", "the port has another ingress qdisc"
			return false, e
		}
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			e := words("add qdisc", object, err)
			e.Reason, e.Msg = "old-kernel", "the kernel has no clsact qdisc"
			return false, e
		}
		if err != nil {
			return false, words("add qdisc", object, err)
		}
		return true, nil
	}
	qdiscs, err := l.clsacts(p.Netns)
	if err != nil || !qdiscs[p.Index] {
		return false, err
	}
	for _, side := range []uint32{ingress, egress} {
		filters, err := l.filters(p, side)
		if err != nil {
			return false, words("remove qdisc", object, err)
		}
		if len(filters) > 0 {
			return false, nil // it is still in use
		}
	}
	if _, err := l.ask(p.Netns, unix.RTM_DELQDISC, unix.NLM_F_ACK, msg, kind); err != nil && !errors.Is(err, unix.ENOENT) {
		return false, words("remove qdisc", object, err)
	}
	return true, nil
}
