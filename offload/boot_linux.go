package offload

import (
	"os"
	"strings"
)

// Boot returns the id that the kernel generated at boot.
func (l *Linux) Boot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
