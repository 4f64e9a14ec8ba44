package uml

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// VirtioID is the virtio device id by which the guest knows a PCI card
// (CONFIG_UML_PCI_OVER_VIRTIO_DEVICE_ID in kernel.config).
const VirtioID = 4242

// Options configures Boot. Kernel and Init are required.
type Options struct {
	Kernel string            // path of the kernel that Build built
	Init   string            // path of a static program
	Files  map[string][]byte // more files of the guest, by path
	Steps  []string          // Init's arguments; one line of 4 KiB holds them all
	Memory int               // MiB; 0 selects 96
	// Socket is the path of the card's vhost-user socket, or "" for a guest without a
	// card. The card must be listening already, and it shares the guest's CPU.
	Socket  string
	Console io.Writer // receives all output of the guest, if not nil
}

// Guest is a running guest.
type Guest struct {
	cmd     *exec.Cmd
	dir     string
	stdin   io.WriteCloser
	reports chan report.Report
	wait    func() error

	mu   sync.Mutex
	done bool     // the guest reported that its steps are done
	off  bool     // its kernel printed that it powers off or halts
	said []string // the first lines of the console that are not reports, for errors
}

// saysOff reports whether a line is the last one that a kernel prints. Linux 6.1 cannot
// power User Mode Linux off, so it halts instead.
func saysOff(line []byte) bool {
	return bytes.HasSuffix(line, []byte("reboot: Power down")) || bytes.HasSuffix(line, []byte("reboot: System halted"))
}

// saidLines is the number of lines of the console in the error of a guest that crashed.
// The first lines suffice: a guest prints little before the crash and a long dump after.
const saidLines = 40

// Boot runs a guest until it ends and returns its reports. The error is not nil if the
// guest did not end by itself. Failures of steps are reports, not errors.
func Boot(ctx context.Context, o *Options) ([]report.Report, error) {
	g, err := Start(ctx, o)
	if err != nil {
		return nil, err
	}
	var all []report.Report
	for {
		r, err := g.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
}

// Start boots a guest, which lives until it powers off or ctx ends. The caller
// must call Next until that gives an error.
func Start(ctx context.Context, o *Options) (*Guest, error) {
	dir, err := os.MkdirTemp("", "nfpkit-uml-")
	if err != nil {
		return nil, err
	}
	g, err := start(ctx, o, dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("boot: %w", err)
	}
	return g, nil
}

func start(ctx context.Context, o *Options, dir string) (*Guest, error) {
	root := filepath.Join(dir, "root.cpio.gz")
	if err := createInitramfs(root, o.Init, o.Files); err != nil {
		return nil, err
	}
	memory := o.Memory
	if memory == 0 {
		memory = 96
	}
	args := []string{
		fmt.Sprintf("mem=%dM", memory), "initrd=" + root, "rdinit=/init", "con=null", "con0=fd:0,fd:1",
		"quiet", "loglevel=3", "panic=-1", "uml_dir=" + dir, "umid=guest",
		// Without it Linux 6.1 does not take the host's random numbers for random, and getrandom fails.
		"random.trust_cpu=on",
	}
	if o.Socket != "" {
		args = append(args, fmt.Sprintf("virtio_uml.device=%s:%d", o.Socket, VirtioID))
	}
	args = append(append(append(args, "--"), o.Steps...), report.End)
	g := &Guest{cmd: exec.CommandContext(ctx, o.Kernel, args...), dir: dir, reports: make(chan report.Report, 64)}
	g.cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin", "TMPDIR=" + memoryDir(dir)}
	g.cmd.Dir = dir
	killGroup(g.cmd)
	var err error
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	console, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	g.cmd.Stdout, g.cmd.Stderr = w, w
	if o.Socket != "" {
		err = startTied(g.cmd)
	} else {
		err = g.cmd.Start()
	}
	w.Close()
	if err != nil {
		console.Close()
		return nil, err
	}
	g.wait = sync.OnceValue(func() error { return g.finish(ctx) })
	go g.listen(console, o.Console)
	return g, nil
}

// memoryDir returns the directory for the file of the guest's memory: on a tmpfs, if
// any.
func memoryDir(fallback string) string {
	const shm = "/dev/shm"
	if f, err := os.CreateTemp(shm, "nfpkit-"); err == nil {
		f.Close()
		os.Remove(f.Name())
		return shm
	}
	return fallback
}

// listen sorts console lines until the guest has closed it.
func (g *Guest) listen(console io.ReadCloser, copyTo io.Writer) {
	defer close(g.reports)
	defer console.Close()
	for r := bufio.NewReaderSize(console, 1<<16); ; {
		line, err := r.ReadBytes('\n')
		if copyTo != nil && len(line) > 0 {
			copyTo.Write(line) // a listener that is gone is no reason to stop the guest
		}
		if rep, ok := report.Parse(line); ok {
			if rep.Step == report.Done {
				g.mu.Lock()
				g.done = true
				g.mu.Unlock()
			} else {
				g.reports <- rep
			}
		} else if line := bytes.TrimSpace(line); len(line) > 0 {
			g.mu.Lock()
			g.off = g.off || saysOff(line)
			if len(g.said) < saidLines {
				g.said = append(g.said, string(line))
			}
			g.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Next returns the guest's next report, or, when it has powered off, io.EOF. Any
// other error says why the guest stopped.
func (g *Guest) Next() (report.Report, error) {
	if r, ok := <-g.reports; ok {
		return r, nil
	}
	if err := g.wait(); err != nil {
		return report.Report{}, err
	}
	return report.Report{}, io.EOF
}

// Tell answers a waiting step.
func (g *Guest) Tell(line string) error {
	_, err := io.WriteString(g.stdin, line+"\n")
	return err
}

// finish waits for the processes of the guest and removes its files.
//
// A guest that has powered off may still end with an abort. After its kernel has
// finished, User Mode Linux returns to its main function and handles pending signals
// there (arch/um/os-Linux/main.c, Linux 6.12). A signal for a file descriptor, such as
// our reading of the console sends, refers to a descriptor that is already closed. The
// message about it needs the current task, which does not exist on that stack, and the
// fault is a panic. By then every step is complete and reported, so finish accepts
// this end. It does not accept an abort before the kernel has printed that it powers
// off.
func (g *Guest) finish(ctx context.Context) error {
	g.stdin.Close()
	err := g.cmd.Wait()
	os.RemoveAll(g.dir)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case g.done && (err == nil || g.off && aborted(err)):
		return nil
	case err == nil:
		err = errors.New("it powered off before its steps were done")
	}
	return fmt.Errorf("guest: %w; it said:\n\t%s", err, strings.Join(g.said, "\n\t"))
}
