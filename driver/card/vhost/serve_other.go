//go:build !linux

package vhost

import (
	"context"
	"errors"
	"net"

	"github.com/nfpkit/nfpkit/driver/card"
)

var errLinux = errors.New("vhost: needs Linux")

// Listen fails here.
func Listen(string) (*net.UnixListener, error) { return nil, errLinux }

// Serve fails here.
func (t *Transport) Serve(context.Context, *net.UnixConn, card.Device) error { return errLinux }
