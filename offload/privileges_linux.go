package offload

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Privilege is a capability that managing cards needs.
type Privilege struct {
	Name string `json:"name"`
	For  string `json:"for"`
	bit  uint
}

// Privileges returns all capabilities that are needed; DropPrivileges keeps only
// these.
func Privileges() []Privilege {
	return []Privilege{
		{"cap_bpf", "loading programs", unix.CAP_BPF},
		{"cap_net_admin", "loading them for a card, and attaching them", unix.CAP_NET_ADMIN},
		{"cap_sys_admin", "maps on a card, objects by id, other network namespaces", unix.CAP_SYS_ADMIN},
		{"cap_syslog", "the card's driver's lines in the kernel's log, if access to it is restricted", unix.CAP_SYSLOG},
	}
}

// wanted returns the set of Privileges.
func wanted() uint64 {
	var set uint64
	for _, p := range Privileges() {
		set |= 1 << p.bit
	}
	return set
}

// effective returns this thread's effective set of capabilities.
func effective() (uint64, error) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	return 0, fmt.Errorf("/proc/thread-self/status has no CapEff")
}

// droppedMark is set in the environment of a program that DropPrivileges has executed
// again.
const droppedMark = "NFPKIT_PRIVILEGES_DROPPED"

// DropPrivileges permanently drops all capabilities except those of Privileges. It
// must be called before anything else. Capabilities belong to threads, of which a Go
// program has several. So DropPrivileges removes the others from the bounding set,
// forbids new privileges, and executes the program again, which then returns from here
// at once. If the process has only needed capabilities, DropPrivileges does nothing.
func DropPrivileges() error {
	fail := func(what string, err error) error {
		return &Error{Op: "drop privileges", Reason: "no-permission", Msg: fmt.Sprintf("%s: %v", what, err), Err: err}
	}
	have, err := effective()
	if err != nil {
		return fail("look", err)
	}
	if os.Getenv(droppedMark) != "" {
		os.Unsetenv(droppedMark)
		if more := have &^ wanted(); more != 0 {
			return fail("begin again", fmt.Errorf("capabilities %#x are still there", more))
		}
		return nil
	}
	if have&^wanted() == 0 || have&(1<<unix.CAP_SETPCAP) == 0 {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Kernels before 5.11 count maps against this limit of the process.
	if major, minor := release(); major < 5 || major == 5 && minor < 11 {
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	}
	for c := uint(0); c < 64; c++ {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break // past the kernel's last capability
		}
		if in == 1 && wanted()&(1<<c) == 0 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				return fail("bounding set", err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fail("ambient set", err)
	}
	if err := inheritNothing(); err != nil {
		return fail("inheritable set", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("no new privileges", err)
	}
	return fail("begin again", syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), droppedMark+"=1")))
}

// inheritNothing clears the inheritable set, which would be restored at the next exec.
func inheritNothing() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	return unix.Capset(&hdr, &data[0])
}
