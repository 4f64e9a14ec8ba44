//go:build linux

package offload

import (
	"errors"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// This file sends rtnetlink requests and parses attributes, by the nl package of
// vishvananda/netlink. Its typed links and filters lack the attributes that a manager
// needs: the expected program of an XDP change, hardware flags, and the text of
// extended acknowledgements.

// dumpTries is how often a dump is repeated that the kernel reports as inconsistent:
// the tables changed while it was read.
const dumpTries = 5

// route opens rtnetlink in a network namespace, as a member of multicast groups. Errors
// of its requests carry the kernel's text, if the kernel has one.
func (l *Linux) route(netns string, groups ...uint) (*nl.NetlinkSocket, error) {
	var s *nl.NetlinkSocket
	err := l.in(netns, func() (err error) {
		s, err = nl.Subscribe(unix.NETLINK_ROUTE, groups...)
		return err
	})
	var ours *Error
	switch {
	case errors.As(err, &ours):
		return nil, err
	case err != nil:
		return nil, errnoError("open netlink", netns, err)
	}
	_ = s.SetExtAck(true) // kernels before 4.12 have none
	return s, nil
}

// ask sends one request, a fixed header and attributes, and returns the payloads of the
// answers.
func (l *Linux) ask(netns string, typ int, flags int, header []byte, attrs ...*nl.RtAttr) ([][]byte, error) {
	s, err := l.route(netns)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := errors.Join(s.SetSendTimeout(&nl.SocketTimeoutTv), s.SetReceiveTimeout(&nl.SocketTimeoutTv)); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		req := nl.NewNetlinkRequest(typ, flags)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Seq: req.Seq, Socket: s}}
		req.AddData(fixedHeader(header))
		for _, a := range attrs {
			req.AddData(a)
		}
		answers, err := req.Execute(unix.NETLINK_ROUTE, 0)
		if !errors.Is(err, nl.ErrDumpInterrupted) || try == dumpTries {
			return answers, err
		}
	}
}

// fixedHeader is the part of a request before its attributes.
type fixedHeader []byte

func (h fixedHeader) Len() int          { return len(h) }
func (h fixedHeader) Serialize() []byte { return h }

// words returns a netlink error as an *Error with its errno and the kernel's text.
func words(op, object string, err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := errnoError(op, object, err)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if text, ok := strings.CutPrefix(err.Error(), errno.Error()+": "); ok {
			e = errnoError(op, object, errno)
			e.Extack = strings.TrimSpace(text)
		}
	}
	return e
}

// attributes calls do with each attribute of a message or of a nested attribute.
func attributes(data []byte, do func(typ uint16, value []byte)) error {
	attrs, err := nl.ParseRouteAttr(data)
	for _, a := range attrs {
		do(a.Attr.Type&nl.NLA_TYPE_MASK, a.Value)
	}
	return err
}

// number returns a 32-bit attribute's value, 0 if it has another size.
func number(value []byte) uint32 {
	if len(value) != 4 {
		return 0
	}
	return native.Uint32(value)
}

func uint32Bytes(v uint32) []byte { return native.AppendUint32(nil, v) }
