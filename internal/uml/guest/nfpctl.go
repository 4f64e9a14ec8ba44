//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/internal/runbook"
)

// nfpctlFile and runbookFile are the files that the host puts into the guest.
const (
	nfpctlFile  = "/nfpctl"
	runbookFile = "/runbook.json"
)

// told is the result of one step of the runbook.
type told struct {
	Output string
	Exit   int
}

// operator executes the runbook.
type operator struct {
	devs    map[string]netdev
	goesOn  *exec.Cmd
	said    chan string // what goesOn says after its first line
	results []told
}

// followRunbook executes all steps of the runbook with the real nfpctl; the host
// compares the results.
func followRunbook(*env, string) (any, error) {
	data, err := os.ReadFile(runbookFile)
	if err != nil {
		return nil, err
	}
	var steps []runbook.Step
	if err := json.Unmarshal(data, &steps); err != nil {
		return nil, err
	}
	o := &operator{}
	if err := o.ready(); err != nil {
		return nil, err
	}
	for i := range steps {
		t, err := o.do(&steps[i])
		if err != nil {
			return o.results, fmt.Errorf("line %d: %v: %w", steps[i].Line, steps[i].Args, err)
		}
		o.results = append(o.results, t)
	}
	return o.results, nil
}

// ready names the ports as the runbook does, and takes the loopback interface up.
func (o *operator) ready() error {
	if err := os.Chdir("/"); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	devs, err := netdevs()
	if err != nil {
		return err
	}
	for i, d := range devs {
		if err := netlink.LinkSetName(d.link, fmt.Sprintf("nfp%d", i)); err != nil {
			return err
		}
	}
	if devs, err = ports(2); err != nil {
		return err
	}
	o.devs = map[string]netdev{}
	for _, d := range devs {
		o.devs[d.Name] = d
	}
	return nil
}

func (o *operator) do(s *runbook.Step) (told, error) {
	switch s.Do {
	case "file":
		return told{}, os.WriteFile(s.Args[0], []byte(s.Text), 0o600)
	case "test":
		return told{}, o.test(s.Args)
	case "start":
		first, err := o.start(s.Args[1:])
		return told{Output: first}, err
	case "stop":
		if err := o.goesOn.Process.Signal(syscall.SIGINT); err != nil {
			return told{}, err
		}
		err := o.goesOn.Wait()
		return told{<-o.said, o.goesOn.ProcessState.ExitCode()}, exited(err)
	}
	if s.Args[0] == "curl" {
		text, err := fetch("127.0.0.1:9464")
		return told{Output: text}, err
	}
	if s.Args[0] != "nfpctl" {
		return told{}, errors.New("it is not run here")
	}
	c := exec.Command(nfpctlFile, s.Args[1:]...)
	text, err := c.CombinedOutput()
	if c.ProcessState == nil {
		return told{}, err
	}
	return told{string(text), c.ProcessState.ExitCode()}, exited(err)
}

// start begins a command that goes on, and returns its first line, which says that it
// has begun.
func (o *operator) start(args []string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	o.goesOn = exec.Command(nfpctlFile, args...)
	o.goesOn.Stdout, o.goesOn.Stderr = w, w
	err = o.goesOn.Start()
	w.Close()
	if err != nil {
		return "", err
	}
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	o.said = make(chan string, 1)
	go func() {
		rest, _ := io.ReadAll(lines)
		r.Close()
		o.said <- string(rest)
	}()
	return first, err
}

// exited returns nil for an error that the exit status shows already.
func exited(err error) error {
	var e *exec.ExitError
	if errors.As(err, &e) && e.Exited() {
		return nil
	}
	return err
}

// fetch returns the metrics, as curl prints them.
func fetch(address string) (string, error) {
	var c net.Conn
	err := eventually(func() error {
		var err error
		c, err = net.Dial("tcp", address)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	_, body, ok := strings.Cut(string(text), "\r\n\r\n")
	if err == nil && !ok {
		err = fmt.Errorf("no answer to a request for metrics: %q", text)
	}
	return body, err
}

// test performs an event of the runbook that the operator does not cause.
func (o *operator) test(args []string) error {
	switch args[0] {
	case "traffic":
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		source, err := netip.ParseAddr(args[2])
		if err != nil {
			return err
		}
		return o.traffic(args[1], source, n)
	case "feature":
		return setFeature(args[1], "hw-tc-offload", args[2] == "on")
	case "netns":
		return newNetns(args[1], o.devs[args[2]].link)
	case "detach":
		return attach(o.devs[args[1]].link, nil)
	case "reboot":
		return o.reboot()
	case "damage":
		return os.Truncate(operatorsJournal, 200)
	case "repaired":
		return eventually(func() error { // the watch of the runbook has repaired it
			text, err := fetch("127.0.0.1:9464")
			if err == nil && !strings.Contains(text, `nfpkit_repairs_total{deployment="edge",result="repaired"} 1`) {
				err = errors.New("no repair was counted")
			}
			return err
		})
	}
	return errors.New("no such step")
}

// operatorsJournal is the path of nfpctl's journal.
const operatorsJournal = "/var/lib/nfpkit/journal.db"

// reboot removes the objects that a reboot removes, and sets the id of another
// boot.
func (o *operator) reboot() error {
	for _, d := range o.devs {
		if err := attach(d.link, nil); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(pinRoot); err != nil {
		return err
	}
	const other = "/another-boot"
	if err := os.WriteFile(other, []byte("00000000-0000-4000-8000-000000000001\n"), 0o444); err != nil {
		return err
	}
	return unix.Mount(other, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, "")
}

// newNetns creates a named namespace and moves an interface into it, up.
func newNetns(name string, link netlink.Link) error {
	path := "/run/netns/" + name
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := netlink.LinkSetNsFd(link, int(f.Fd())); err != nil {
		return err
	}
	return onThread(func() error {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		moved, err := netlink.LinkByName(link.Attrs().Name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(moved)
	})
}

// traffic sends udp packets of a source to a port: out of the other one.
func (o *operator) traffic(to string, source netip.Addr, n int) error {
	from := map[string]string{"nfp0": "nfp1", "nfp1": "nfp0"}[to]
	out, err := newTap(o.devs[from])
	if err != nil {
		return err
	}
	defer out.close()
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0})
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14))
	f[22], f[23] = 64, 17
	copy(f[26:], source.AsSlice())
	for range n {
		if _, err := unix.Write(int(out), f); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(quiet)
	return nil
}
