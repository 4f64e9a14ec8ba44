package uml

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// BuildInit compiles the Go command pkg into a static program at out, for Init.
func BuildInit(ctx context.Context, pkg, out string) error {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, text)
	}
	return nil
}
