//go:build linux

// Command guest is the first and only program of the kernel test bed's guest. It
// mounts file systems, runs the steps that its arguments name, prints a report of
// each on the console, and powers off. It is linked statically and put into the
// initramfs by package uml's tests.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// lifetime is the time after which a guest powers off by itself, if the host has died.
const lifetime = 25 * time.Minute

func main() {
	if os.Getpid() != 1 {
		onHost()
		return
	}
	time.AfterFunc(lifetime, func() { unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) })
	c, err := newConsole()
	if err == nil {
		err = mount()
	}
	if err != nil {
		c.say(report.Report{Step: "start", Error: err.Error()})
	} else {
		c.runAll(os.Args[1:])
	}
	c.say(report.Report{Step: report.Done})
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// onHost runs steps as an ordinary program on the host's kernel, against a real
// card.
func onHost() {
	c := &console{out: os.Stdout, in: bufio.NewReader(os.Stdin)}
	c.runAll(os.Args[1:])
	c.say(report.Report{Step: report.Done})
}

// runAll does steps up to the last.
func (c *console) runAll(words []string) {
	for _, word := range words {
		if word == report.End {
			break
		}
		c.run(word)
	}
}

// mount mounts the file systems that steps read.
func mount() error {
	for _, m := range []struct{ fs, on string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"},
		{"debugfs", "/sys/kernel/debug"}, {"bpf", "/sys/fs/bpf"},
	} {
		if err := unix.Mount(m.fs, m.on, m.fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.fs, err)
		}
	}
	return nil
}

// console is the guest's line to the host.
type console struct {
	out *os.File
	in  *bufio.Reader
}

// newConsole sets the console to pass lines unchanged, in both directions.
func newConsole() (*console, error) {
	c := &console{out: os.Stdout, in: bufio.NewReader(os.Stdin)}
	t, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return c, fmt.Errorf("console: %w", err)
	}
	t.Lflag &^= unix.ECHO
	t.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(0, unix.TCSETS, t); err != nil {
		return c, fmt.Errorf("console: %w", err)
	}
	return c, nil
}

func (c *console) say(r report.Report) {
	line, err := r.Line()
	if err != nil {
		line = []byte(err.Error())
	}
	c.out.Write(append(line, '\n')) // an error cannot be reported anywhere
}

// run executes one step; a panic is the step's error, and the guest continues.
func (c *console) run(word string) {
	name, arg := report.Split(word)
	r := report.Report{Step: name}
	defer func() {
		if p := recover(); p != nil {
			r.Error = fmt.Sprintf("panic: %v", p)
		}
		c.say(r)
	}()
	step, ok := steps()[name]
	if !ok {
		r.Error = "no such step"
		return
	}
	data, err := step(&env{console: c, name: name}, arg)
	if err != nil {
		r.Error = err.Error()
	}
	if data != nil {
		if r.Data, err = json.Marshal(data); err != nil {
			r.Error = err.Error()
		}
	}
}

// env holds the resources of a step.
type env struct {
	*console
	name string
}

// ask reports data and waits for the host's answer.
func (e *env) ask(data any) (string, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	e.say(report.Report{Step: e.name, Waits: true, Data: b})
	line, err := e.in.ReadString('\n')
	return strings.TrimSpace(line), err
}

// A step does one thing and returns its results; with an error, the results
// until then.
type step func(e *env, arg string) (data any, err error)

// steps returns all steps of the guest.
func steps() map[string]step {
	return map[string]step{
		"uname":     uname,
		"wait":      wait,
		"crash":     crash,
		"dmesg":     dmesg,
		"netdevsim": netdevsim,
		"pci":       pci,
		"pciburst":  pciBurst,
		"probe":     probe,
		"rebind":    rebind,
		"rescan":    rescan,
		"xdp":       xdp,
		"replace":   replace,
		"death":     death,
		"maps":      maps,
		"limits":    limits,
		"updates":   updates,
		"scribble":  scribble,
		"busy":      busy,
		"wire":      wire,
		"flash":     flash,
		"count":     count,
		"tc":        tc,
		"translate": translate,
		"reloads":   reloads,
		"kills":     kills,
		"damages":   damages,
		"selftest":  selftest,
		"churn":     churn,
		"mapspeed":  mapspeed,
		"manage":    manage,
		"refusals":  refusals,
		"caps":      privileges,
		"runbook":   followRunbook,
		"doctors":   doctors,
	}
}

// uname reports the running kernel, and the time until the first step.
func uname(*env, string) (any, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	return map[string]string{
		"release": unix.ByteSliceToString(u.Release[:]),
		"machine": unix.ByteSliceToString(u.Machine[:]),
		"uptime":  strings.Fields(string(uptime) + " ?")[0],
	}, err
}

// wait returns the host's answer.
func wait(e *env, _ string) (any, error) { return e.ask(nil) }

// crash ends the kernel: it cannot do without init.
func crash(*env, string) (any, error) {
	os.Exit(1)
	return nil, nil
}

// dmesg is the kernel's log.
func dmesg(*env, string) (any, error) {
	lines, err := kernelLog()
	return lines, err
}

// kernelLog reads all lines that the kernel has logged so far.
func kernelLog() ([]string, error) {
	buf := make([]byte, 1<<18)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	if err != nil {
		return nil, fmt.Errorf("kernel log: %w", err)
	}
	return strings.Split(strings.TrimSpace(string(buf[:n])), "\n"), nil
}
