//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// diagnosed is the output of nfpctl doctor.
type diagnosed struct {
	Exit int `json:"exit"`
	Host struct {
		Capabilities []string `json:"capabilities"`
		More         bool     `json:"more_capabilities"`
		Release      string   `json:"release"`
	} `json:"host"`
	Broken struct{ Port, Link, Reason, What, Cure string } `json:"broken"`
	Limits map[string]int                                  `json:"limits"`
}

// doctor runs the real nfpctl doctor, with the user and capabilities of as.
func doctor(as *syscall.SysProcAttr, args ...string) (diagnosed, error) {
	c := exec.Command(nfpctlFile, append([]string{"doctor", "--json"}, args...)...)
	c.SysProcAttr = as
	text, err := c.Output()
	if err := exited(err); err != nil {
		return diagnosed{}, err
	}
	var d struct {
		diagnosed
		Probed []struct {
			Limits []struct {
				Name    string
				AtLeast int `json:"at_least"`
			}
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d.diagnosed, fmt.Errorf("%w in %q", err, text)
	}
	d.Exit, d.diagnosed.Limits = c.ProcessState.ExitCode(), map[string]int{}
	for _, p := range d.Probed {
		for _, l := range p.Limits {
			d.diagnosed.Limits[l.Name] = l.AtLeast
		}
	}
	return d.diagnosed, nil
}

// asOld runs do with a kernel that says it is 2.6: UNAME26 of linux/personality.h.
func asOld(do func() error) error {
	const uname26 = 0x0020000
	runtime.LockOSThread() // whose children believe it
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.Syscall(unix.SYS_PERSONALITY, uname26, 0, 0); errno != 0 {
		return errno
	}
	defer unix.Syscall(unix.SYS_PERSONALITY, 0, 0, 0)
	return do()
}

// doctors breaks one requirement after another, and runs the doctor each time.
func doctors(_ *env, where string) (any, error) {
	found := map[string]diagnosed{}
	ask := func(name string, as *syscall.SysProcAttr, args ...string) error {
		d, err := doctor(as, args...)
		found[name] = d
		return err
	}
	if where == "nofirmware" {
		return found, ask("missing firmware", nil)
	}
	if err := ask("well", nil); err != nil {
		return found, err
	}
	// The binary is root's, whose journal others cannot look for.
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := ask("no permission", nobody, "--journal", "/nowhere"); err != nil {
		return found, err
	}
	if err := ask("no such port", nil, "dev", "eth99"); err != nil {
		return found, err
	}
	if err := ask("driver without offload", nil, "dev", "lo"); err != nil {
		return found, err
	}
	if err := asOld(func() error { return ask("old kernel", nil) }); err != nil {
		return found, err
	}
	if err := unix.Unmount("/sys/fs/bpf", 0); err != nil {
		return found, err
	}
	if err := ask("no bpf file system", nil); err != nil {
		return found, err
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		return found, err
	}
	dir, err := pciDevice()
	if err != nil {
		return found, err
	}
	if err := os.WriteFile(pciDriver+"/unbind", []byte(filepath.Base(dir)), 0); err != nil {
		return found, err
	}
	if err := gone(); err != nil {
		return found, err
	}
	if err := ask("no driver", nil); err != nil {
		return found, err
	}
	if err := os.WriteFile(filepath.Join(dir, "remove"), []byte("1"), 0); err != nil {
		return found, err
	}
	return found, ask("no card", nil)
}
