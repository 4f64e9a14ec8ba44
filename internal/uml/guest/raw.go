//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// This file makes requests that the manager never makes, for steps that show the
// kernel's reaction.

// ackTLVs marks an acknowledgement with a message of the kernel (NLM_F_ACK_TLVS).
const ackTLVs = 0x200

// answer is the kernel's answer to a request.
type answer struct {
	errno error
	words string // the kernel's message, of a warning too
}

// failed checks that a request was refused with a message that contains says.
func (a answer) failed(says string) error {
	if a.errno == nil {
		return errors.New("the kernel did what it should refuse")
	}
	if !strings.Contains(a.words, says) {
		return fmt.Errorf("refused with %v, %q; want words %q", a.errno, a.words, says)
	}
	return nil
}

// ok checks that a request was granted without a message.
func (a answer) ok() error {
	if a.errno != nil {
		return fmt.Errorf("%w: %q", a.errno, a.words)
	}
	if a.words != "" {
		return fmt.Errorf("granted, with the words %q", a.words)
	}
	return nil
}

// request sends one request of rtnetlink and returns the acknowledgement. The library's
// own Execute drops the text of an acknowledgement that grants a request.
func request(typ, flags int, header []byte, attrs ...*nl.RtAttr) answer {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return answer{err, ""}
	}
	defer s.Close()
	if err := s.SetExtAck(true); err != nil {
		return answer{err, ""}
	}
	req := nl.NewNetlinkRequest(typ, unix.NLM_F_ACK|flags)
	req.AddData(fixedHeader(header))
	for _, a := range attrs {
		req.AddData(a)
	}
	if err := s.Send(req); err != nil {
		return answer{err, ""}
	}
	for {
		msgs, _, err := s.Receive()
		if err != nil {
			return answer{err, ""}
		}
		for _, m := range msgs {
			if m.Header.Type == unix.NLMSG_ERROR && m.Header.Seq == req.Seq {
				return acknowledgement(m)
			}
		}
	}
}

// fixedHeader is the part of a request before its attributes.
type fixedHeader []byte

func (h fixedHeader) Len() int          { return len(h) }
func (h fixedHeader) Serialize() []byte { return h }

// acknowledgement reads an error number, 0 if the request was granted, and the kernel's
// text. If the request was refused, the acknowledgement repeats the whole request
// before the text; otherwise only the request's header.
func acknowledgement(m syscall.NetlinkMessage) answer {
	const header = unix.NLMSG_HDRLEN
	if len(m.Data) < 4+header {
		return answer{fmt.Errorf("acknowledgement of %d bytes", len(m.Data)), ""}
	}
	var a answer
	echo := header
	if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
		a.errno = unix.Errno(-errno)
		echo = int(binary.NativeEndian.Uint32(m.Data[4:])+3) &^ 3
	}
	if m.Header.Flags&ackTLVs == 0 || len(m.Data) < 4+echo {
		return a
	}
	attrs, err := nl.ParseRouteAttr(m.Data[4+echo:])
	if err != nil {
		return a
	}
	for _, attr := range attrs {
		if attr.Attr.Type == nl.NLMSGERR_ATTR_MSG {
			a.words += unix.ByteSliceToString(attr.Value)
		}
	}
	return a
}

func word(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// Flags of IFLA_XDP_FLAGS.
const (
	xdpIfNoExist = 1 << 0
	xdpGeneric   = 1 << 1
	xdpDriver    = 1 << 2
	xdpHardware  = 1 << 3
)

// setXDP asks for a program by descriptor, -1 for none, without naming the one expected.
func setXDP(p *offload.Port, fd int, flags uint32) answer {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
	xdp.AddRtAttr(unix.IFLA_XDP_FD, word(uint32(fd)))
	xdp.AddRtAttr(unix.IFLA_XDP_FLAGS, word(flags))
	return request(unix.RTM_SETLINK, 0, b, xdp)
}

// tcFilter is a cls_bpf filter on ingress.
type tcFilter struct {
	fd       int // of a program; 0: the classic one that matches all
	skip     uint32
	chain    uint32
	prio     uint16 // 0: the kernel chooses
	handle   uint32
	indirect bool // no direct action
}

// skip flags of linux/pkt_cls.h beside skipSW.
const (
	skipHW = 1 << 0
	inHW   = 1 << 2
)

// header is the fixed part of a request about the filter.
func (f *tcFilter) header(p *offload.Port) []byte {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	b := make([]byte, 20)
	ne := binary.NativeEndian
	ne.PutUint32(b[4:], uint32(p.Index))
	ne.PutUint32(b[8:], f.handle)
	ne.PutUint32(b[12:], 0xfffffff2) // clsact's ingress
	ne.PutUint32(b[16:], uint32(f.prio)<<16|all)
	return b
}

// attributes names the filter; full adds its program.
func (f *tcFilter) attributes(full bool) []*nl.RtAttr {
	attrs := []*nl.RtAttr{nl.NewRtAttr(1, nl.ZeroTerminated("bpf"))}
	if f.chain != 0 {
		attrs = append(attrs, nl.NewRtAttr(11, word(f.chain))) // TCA_CHAIN
	}
	if !full {
		return attrs
	}
	options := nl.NewRtAttr(2|unix.NLA_F_NESTED, nil)
	if f.fd != 0 {
		options.AddRtAttr(6, word(uint32(f.fd)))
	} else {
		options.AddRtAttr(4, binary.NativeEndian.AppendUint16(nil, 1))   // TCA_BPF_OPS_LEN
		options.AddRtAttr(5, []byte{6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}) // TCA_BPF_OPS: return -1
	}
	options.AddRtAttr(7, nl.ZeroTerminated("selftest"))
	if !f.indirect && f.fd != 0 {
		options.AddRtAttr(8, word(1))
	}
	if f.skip != 0 {
		options.AddRtAttr(9, word(f.skip))
	}
	return append(attrs, options)
}

// add, replace and remove return the kernel's acknowledgement.
func (f tcFilter) add(p *offload.Port) answer {
	return request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, f.header(p), f.attributes(true)...)
}

func (f tcFilter) replace(p *offload.Port) answer {
	return request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE, f.header(p), f.attributes(true)...)
}

func (f tcFilter) remove(p *offload.Port) answer {
	return request(unix.RTM_DELTFILTER, 0, f.header(p), f.attributes(false)...)
}

// shownFilter is a filter as the kernel shows it.
type shownFilter struct {
	program, flags uint32
	tag            string
}

// filtersOf lists the bpf filters on ingress.
func filtersOf(p *offload.Port) ([]shownFilter, error) {
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	binary.NativeEndian.PutUint32(b[12:], 0xfffffff2)
	req := nl.NewNetlinkRequest(unix.RTM_GETTFILTER, unix.NLM_F_DUMP)
	req.AddData(fixedHeader(b))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, err
	}
	var all []shownFilter
	for _, m := range msgs {
		if len(m) < 20 || binary.NativeEndian.Uint32(m[8:]) == 0 {
			continue
		}
		f, err := parseShown(m[20:])
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// parseShown reads a filter's attributes.
func parseShown(data []byte) (shownFilter, error) {
	var f shownFilter
	attrs, err := nl.ParseRouteAttr(data)
	if err != nil {
		return f, err
	}
	for _, a := range attrs {
		if a.Attr.Type&nl.NLA_TYPE_MASK != 2 {
			continue
		}
		options, err := nl.ParseRouteAttr(a.Value)
		if err != nil {
			return f, err
		}
		for _, o := range options {
			switch o.Attr.Type & nl.NLA_TYPE_MASK {
			case 9:
				f.flags = binary.NativeEndian.Uint32(o.Value)
			case 10:
				f.tag = fmt.Sprintf("%x", o.Value)
			case 11:
				f.program = binary.NativeEndian.Uint32(o.Value)
			}
		}
	}
	return f, nil
}

// setMTU changes a port's MTU.
func setMTU(p *offload.Port, mtu uint32) answer {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	return request(unix.RTM_SETLINK, 0, b, nl.NewRtAttr(unix.IFLA_MTU, word(mtu)))
}

// moveTo puts a port into the namespace that a file stands for; fd is the file's.
func moveTo(p *offload.Port, fd int) answer {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	return request(unix.RTM_SETLINK, 0, b, nl.NewRtAttr(unix.IFLA_NET_NS_FD, word(uint32(fd))))
}

// deleteClsact removes the qdisc with all its filters.
func deleteClsact(p *offload.Port) answer {
	b := make([]byte, 20)
	ne := binary.NativeEndian
	ne.PutUint32(b[4:], uint32(p.Index))
	ne.PutUint32(b[8:], 0xffff0000)
	ne.PutUint32(b[12:], 0xfffffff1)
	return request(unix.RTM_DELQDISC, 0, b)
}
