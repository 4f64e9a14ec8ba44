// Package cache is where test tools that take minutes to build are kept:
// the reference disassembler and the guest kernel.
package cache

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir is $NFPKIT_CACHE, or nfpkit in the user's cache directory; it exists
// afterwards.
func Dir() (string, error) {
	d := os.Getenv("NFPKIT_CACHE")
	if d == "" {
		u, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("cache directory: %w", err)
		}
		d = filepath.Join(u, "nfpkit")
	}
	if err := os.MkdirAll(d, 0o755); err != nil {
		return "", fmt.Errorf("cache directory: %w", err)
	}
	return d, nil
}
