//go:build !unix

package cache

import (
	"context"
	"fmt"
	"runtime"
)

// Lock has nothing to guard: what the cache keeps is built on Unix only.
func Lock(_ context.Context, path string, _ func()) (unlock func(), err error) {
	return nil, fmt.Errorf("lock %s: no file locks on %s", path, runtime.GOOS)
}
