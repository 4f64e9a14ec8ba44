//go:build !linux

package vhost

import (
	"context"
	"errors"
	"net"

	"github.com/nfpkit/nfpkit/driver/card"
)

var errLinux = errors.New("vhost: needs Linux")

// Listen always fails: it needs Linux.
func Listen(string) (*net.UnixListener, error) { return nil, errLinux }

// Serve always fails: it needs Linux.
func (t *Transport) Serve(context.Context, *net.UnixConn, card.Device) error { return errLinux }
