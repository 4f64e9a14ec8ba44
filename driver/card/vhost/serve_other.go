//go:build !unix

package vhost

import (
	"context"
	"errors"
	"net"

	"github.com/nfpkit/nfpkit/driver/card"
)

var errUnix = errors.New("vhost: needs a Unix system")

// Listen fails here.
func Listen(string) (*net.UnixListener, error) { return nil, errUnix }

// Serve fails here.
func (t *Transport) Serve(context.Context, *net.UnixConn, card.Device) error { return errUnix }
