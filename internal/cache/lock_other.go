//go:build !unix

package cache

import (
	"context"
	"fmt"
	"runtime"
)

// Lock does nothing: the cached tools are built on Unix only.
func Lock(_ context.Context, path string, _ func()) (unlock func(), err error) {
	return nil, fmt.Errorf("lock %s: no file locks on %s", path, runtime.GOOS)
}
