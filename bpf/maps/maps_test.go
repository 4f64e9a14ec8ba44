package maps

import (
	"errors"
	"syscall"
)

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}
