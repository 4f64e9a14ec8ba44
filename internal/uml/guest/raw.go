//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// Requests that the manager never makes, for steps that show what the kernel does with
// them.

// ackTLVs says that an acknowledgement has words of the kernel's (NLM_F_ACK_TLVS).
const ackTLVs = 0x200

// answer is what the kernel said to a request.
type answer struct {
	errno error
	words string // the kernel's message, of a warning too
}

// failed checks that a request was refused in the kernel's words.
func (a answer) failed(says string) error {
	if a.errno == nil {
		return errors.New("the kernel did what it should refuse")
	}
	if !strings.Contains(a.words, says) {
		return fmt.Errorf("refused with %v, %q; want words %q", a.errno, a.words, says)
	}
	return nil
}

// ok checks that a request was granted, silently.
func (a answer) ok() error {
	if a.errno != nil {
		return fmt.Errorf("%w: %q", a.errno, a.words)
	}
	if a.words != "" {
		return fmt.Errorf("granted, with the words %q", a.words)
	}
	return nil
}

// request sends one request of rtnetlink.
func request(typ uint16, flags netlink.HeaderFlags, data []byte) answer {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return answer{err, ""}
	}
	defer conn.Close()
	if err := conn.SetOption(netlink.ExtendedAcknowledge, true); err != nil {
		return answer{err, ""}
	}
	msgs, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Acknowledge | flags}, Data: data,
	})
	var op *netlink.OpError
	if errors.As(err, &op) {
		return answer{op.Err, op.Message}
	}
	a := answer{errno: err}
	for _, m := range msgs {
		const errnoAndHeader = 4 + 16
		if m.Header.Type != netlink.Error || m.Header.Flags&ackTLVs == 0 || len(m.Data) < errnoAndHeader {
			continue
		}
		if attrs, err := netlink.UnmarshalAttributes(m.Data[errnoAndHeader:]); err == nil {
			for _, attr := range attrs {
				if attr.Type == 1 { // NLMSGERR_ATTR_MSG
					a.words += strings.TrimRight(string(attr.Data), "\x00")
				}
			}
		}
	}
	return a
}

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
	ae := netlink.NewAttributeEncoder()
	ae.Nested(unix.IFLA_XDP, func(ae *netlink.AttributeEncoder) error {
		ae.Int32(unix.IFLA_XDP_FD, int32(fd))
		ae.Uint32(unix.IFLA_XDP_FLAGS, flags)
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		return answer{err, ""}
	}
	return request(unix.RTM_SETLINK, 0, append(b, attrs...))
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

func (f *tcFilter) encode(p *offload.Port, full bool) ([]byte, error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	b := make([]byte, 20)
	ne := binary.NativeEndian
	ne.PutUint32(b[4:], uint32(p.Index))
	ne.PutUint32(b[8:], f.handle)
	ne.PutUint32(b[12:], 0xfffffff2) // clsact's ingress
	ne.PutUint32(b[16:], uint32(f.prio)<<16|all)
	ae := netlink.NewAttributeEncoder()
	ae.String(1, "bpf")
	if f.chain != 0 {
		ae.Uint32(11, f.chain) // TCA_CHAIN
	}
	if full {
		ae.Nested(2, func(ae *netlink.AttributeEncoder) error {
			if f.fd != 0 {
				ae.Uint32(6, uint32(f.fd))
			} else {
				ae.Uint16(4, 1)                                         // TCA_BPF_OPS_LEN
				ae.Bytes(5, []byte{6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}) // TCA_BPF_OPS: return -1
			}
			ae.String(7, "selftest")
			if !f.indirect && f.fd != 0 {
				ae.Uint32(8, 1)
			}
			if f.skip != 0 {
				ae.Uint32(9, f.skip)
			}
			return nil
		})
	}
	attrs, err := ae.Encode()
	return append(b, attrs...), err
}

// add, replace and remove do what they say.
func (f tcFilter) add(p *offload.Port) answer { return f.ask(p, netlink.Create|netlink.Excl, true) }
func (f tcFilter) replace(p *offload.Port) answer {
	return f.ask(p, netlink.Create, true)
}
func (f tcFilter) remove(p *offload.Port) answer {
	data, err := f.encode(p, false)
	if err != nil {
		return answer{err, ""}
	}
	return request(unix.RTM_DELTFILTER, 0, data)
}

func (f *tcFilter) ask(p *offload.Port, flags netlink.HeaderFlags, full bool) answer {
	data, err := f.encode(p, full)
	if err != nil {
		return answer{err, ""}
	}
	return request(unix.RTM_NEWTFILTER, flags, data)
}

// shownFilter is a filter as the kernel shows it.
type shownFilter struct {
	program, flags uint32
	tag            string
}

// filtersOf lists the bpf filters on ingress.
func filtersOf(p *offload.Port) ([]shownFilter, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	binary.NativeEndian.PutUint32(b[12:], 0xfffffff2)
	msgs, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETTFILTER, Flags: netlink.Request | netlink.Dump}, Data: b})
	if err != nil {
		return nil, err
	}
	var all []shownFilter
	for _, m := range msgs {
		if len(m.Data) < 20 || binary.NativeEndian.Uint32(m.Data[8:]) == 0 {
			continue
		}
		var f shownFilter
		ad, err := netlink.NewAttributeDecoder(m.Data[20:])
		if err != nil {
			return nil, err
		}
		for ad.Next() {
			if ad.Type() != 2 {
				continue
			}
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case 9:
						f.flags = ad.Uint32()
					case 10:
						f.tag = fmt.Sprintf("%x", ad.Bytes())
					case 11:
						f.program = ad.Uint32()
					}
				}
				return nil
			})
		}
		all = append(all, f)
	}
	return all, nil
}

// setMTU changes a port's MTU.
func setMTU(p *offload.Port, mtu uint32) answer {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_MTU, mtu)
	attrs, err := ae.Encode()
	if err != nil {
		return answer{err, ""}
	}
	return request(unix.RTM_SETLINK, 0, append(b, attrs...))
}

// moveTo puts a port into the namespace that a file stands for; fd is the file's.
func moveTo(p *offload.Port, fd int) answer {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(p.Index))
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_NET_NS_FD, uint32(fd))
	attrs, err := ae.Encode()
	if err != nil {
		return answer{err, ""}
	}
	return request(unix.RTM_SETLINK, 0, append(b, attrs...))
}

// deleteClsact removes the qdisc with whatever hangs on it.
func deleteClsact(p *offload.Port) answer {
	b := make([]byte, 20)
	ne := binary.NativeEndian
	ne.PutUint32(b[4:], uint32(p.Index))
	ne.PutUint32(b[8:], 0xffff0000)
	ne.PutUint32(b[12:], 0xfffffff1)
	return request(unix.RTM_DELQDISC, 0, b)
}
