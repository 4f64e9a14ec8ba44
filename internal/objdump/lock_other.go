//go:build !unix

package objdump

import (
	"context"
	"fmt"
)

// lock: there is no objdump to build here.
func lock(context.Context, string) (unlock func(), err error) {
	return nil, fmt.Errorf("%w: built on Unix only", ErrUnavailable)
}
