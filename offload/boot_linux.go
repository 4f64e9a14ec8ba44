package offload

import (
	"os"
	"strings"
)

// Boot is the id that the kernel made when it was booted.
func (l *Linux) Boot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
