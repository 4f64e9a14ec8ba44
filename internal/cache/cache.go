// Package cache provides the directory of test tools that take minutes to build, such
// as the reference disassembler and the guest kernel. Its lock lets test packages
// that run in parallel build each tool only once. Call Dir, then Lock a path in it
// while building.
package cache

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir returns $NFPKIT_CACHE, or nfpkit in the user's cache directory, and creates it.
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
