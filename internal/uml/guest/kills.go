//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nfpkit/nfpkit/offload"
)

// killed is the result for processes that were killed at random moments of the
// manager's operations.
type killed struct {
	Kills     int            `json:"kills"`
	Recovered map[string]int `json:"recovered"` // phases that were found in the journal
	Wrong     []string       `json:"wrong"`     // what did not converge, or leaked
	Runs      int            `json:"runs"`      // times that a deployment was found running
}

// kills starts a process that loads, reloads and unloads, kills it with SIGKILL, and
// checks the recovery by the next one. Its argument is the number of repetitions.
func kills(_ *env, arg string) (any, error) {
	var want int
	var where string
	if _, err := fmt.Sscanf(arg, "%d,%s", &want, &where); err != nil {
		return nil, err
	}
	names, err := portsFor(where)
	if err != nil {
		return nil, err
	}
	out := killed{Recovered: map[string]int{}}
	m, k := newManager(nil)
	base, err := k.Objects()
	if err != nil {
		return nil, err
	}
	dice := rand.New(rand.NewPCG(uint64(len(where)), 1))
	lifespan := lifespan{operation: 10 * time.Millisecond}
	for out.Kills < want && len(out.Wrong) < 5 {
		c := exec.Command("/proc/self/exe", fmt.Sprintf("churn=%d,%s,%s", dice.Uint32(), names[0], names[1]))
		stdout, err := c.StdoutPipe()
		if err != nil {
			return out, err
		}
		if err := c.Start(); err != nil {
			return out, err
		}
		if err := lifespan.wait(stdout, dice); err != nil {
			return out, fmt.Errorf("the process to kill: %w", err)
		}
		if err := c.Process.Signal(syscall.SIGKILL); err != nil {
			return out, err
		}
		said, err := io.ReadAll(stdout)
		if err != nil {
			return out, err
		}
		c.Wait() // says that it was killed
		if said := strings.Trim(string(said), string(didOne)); said != "" {
			out.Wrong = append(out.Wrong, fmt.Sprintf("the process said %.400q", said))
		}
		out.Kills++
		s, err := offload.ReadJournal(journalPath)
		if err != nil {
			return out, err
		}
		for _, r := range s.Records {
			if r.Phase != offload.Idle {
				out.Recovered[string(r.Phase)]++
			}
		}
		out.check(m, k, len(base), names)
	}
	for _, name := range []string{"a", "b"} {
		if err := m.Unload(background, name); err != nil && offload.ReasonOf(err) != "unknown-deployment" {
			return out, err
		}
	}
	out.check(m, k, len(base), names)
	return out, nil
}

// didOne is printed by the process at its start, and after each operation.
const didOne = '.'

// lifespan chooses the lifetime of processes: some operations, and a part of one. It
// measures the duration of an operation, so that processes are killed in the middle of
// one on a busy machine too.
type lifespan struct {
	operation time.Duration
}

func (l *lifespan) wait(stdout io.Reader, dice *rand.Rand) error {
	var one [1]byte
	start := time.Now()
	for i := range 1 + dice.IntN(4) {
		if _, err := stdout.Read(one[:]); err != nil {
			return err
		}
		if one[0] != didOne {
			rest, _ := io.ReadAll(io.LimitReader(stdout, 400))
			return fmt.Errorf("it says %q", string(one[:])+string(rest))
		}
		if i > 0 {
			l.operation += (time.Since(start) - l.operation) / 8
		}
		start = time.Now()
	}
	time.Sleep(time.Duration(dice.Int64N(int64(l.operation*3/2) + 1)))
	return nil
}

// portsFor are two interfaces of the card, or of a netdevsim device.
func portsFor(where string) ([]string, error) {
	if where == "netdevsim" {
		d, err := newSim(2)
		if err != nil {
			return nil, err
		}
		return d.names, nil
	}
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	return []string{devs[0].Name, devs[1].Name}, nil
}

// check recovers, and compares the remaining objects with the journal.
func (out *killed) check(m *offload.Manager, k *offload.Linux, base int, names []string) {
	wrong := func(format string, args ...any) {
		out.Wrong = append(out.Wrong, fmt.Sprintf("kill %d: ", out.Kills)+fmt.Sprintf(format, args...))
	}
	var status *offload.Status
	err := eventually(func() (err error) { // the kernel frees in the background
		if status, err = m.Status(background); err == nil && len(status.Orphans) > 0 {
			err = fmt.Errorf("orphans %v", status.Orphans)
		}
		return err
	})
	if err != nil {
		wrong("%v", err)
		return
	}
	objects, pins, clsact := base, []string{}, map[string]bool{}
	for _, d := range status.Deployments {
		out.Runs++
		objects += 1 + len(d.Maps)
		pins = append(pins, fmt.Sprintf("%s/gen-%d/program", d.Name, d.Generation))
		for _, e := range d.Maps {
			pins = append(pins, fmt.Sprintf("%s/gen-%d/maps/%s", d.Name, d.Generation, e.Name))
		}
		if len(d.Drift) > 0 {
			wrong("drift %v", d.Drift)
		}
		for _, p := range d.Ports {
			clsact[p.Port.Name] = clsact[p.Port.Name] || d.Mode.TC()
		}
	}
	if got, err := settled(k, objects); err != nil || got != objects {
		wrong("%d programs and maps, want %d: %v", got, objects, err)
	}
	var found []string
	filepath.WalkDir(pinRoot, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(pinRoot, path)
			found = append(found, rel)
		}
		return nil
	})
	slices.Sort(found)
	slices.Sort(pins)
	if !slices.Equal(found, pins) {
		wrong("pins %q, want %q", found, pins)
	}
	ports, err := k.Ports("", names...)
	if err != nil {
		wrong("%v", err)
	}
	for _, p := range ports {
		if p.Clsact != clsact[p.Name] {
			wrong("port %s has a clsact qdisc: %v, want %v", p.Name, p.Clsact, clsact[p.Name])
		}
	}
}

const pinRoot = "/sys/fs/bpf/nfpkit"

// settled waits until the kernel, which frees in the background, has a number of objects.
func settled(k *offload.Linux, want int) (got int, err error) {
	eventually(func() error {
		var objects []offload.Object
		objects, err = k.Objects()
		if got = len(objects); err == nil && got != want {
			return errors.New("it still frees")
		}
		return nil
	})
	return got, err
}

// churn loads, reloads and unloads at random until it is killed. It prints a byte
// before each operation, and otherwise only errors.
func churn(_ *env, arg string) (any, error) {
	var seed uint64
	rest := ""
	if _, err := fmt.Sscanf(arg, "%d,%s", &seed, &rest); err != nil {
		return nil, err
	}
	names := splitComma(rest)
	dice := rand.New(rand.NewPCG(seed, 2))
	m, _ := newManager(nil)
	for {
		os.Stdout.Write([]byte{didOne})
		d := deploy(recipe{Mark: int32(1 + dice.IntN(200)), Verdict: xdpPass, Entries: 1 + uint32(dice.IntN(2)), Value: 8}, offload.XDPOffload, names[:1+dice.IntN(2)]...)
		d.Name = "a"
		if dice.IntN(3) == 0 {
			d = deploy(recipe{Verdict: -1, TC: true, Entries: 1, Value: 8}, offload.TCSoftware, names[dice.IntN(2)])
			d.Name = "b"
		}
		change := &offload.Change{Migrate: map[string]offload.Migration{"counts": offload.Resize}}
		if dice.IntN(4) == 0 {
			change.Window = time.Millisecond
		}
		var err error
		switch dice.IntN(4) {
		case 0:
			err = m.Unload(background, d.Name)
		default:
			if err = m.Reload(background, d, change); offload.ReasonOf(err) == "unknown-deployment" {
				err = m.Load(background, d, change)
			}
		}
		if r := offload.ReasonOf(err); err != nil && r != "unknown-deployment" && r != "name-taken" {
			return nil, err
		}
	}
}
