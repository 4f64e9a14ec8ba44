package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/internal/capture"
)

// maxPacket is the longest packet the card's buffers take, in bytes.
const maxPacket = 9600

// parseHex reads bytes written as hex digits; blanks and colons may separate
// them.
func parseHex(s string) ([]byte, error) {
	s = strings.NewReplacer(" ", "", ":", "", "\n", "", "\t", "").Replace(strings.TrimPrefix(s, "0x"))
	data, err := hex.DecodeString(s)
	var odd hex.InvalidByteError
	switch {
	case errors.As(err, &odd):
		at := strings.IndexByte(s, byte(odd))
		return nil, fmt.Errorf("not hex: %q is digit %d", s[at:at+1], at+1)
	case err != nil:
		return nil, fmt.Errorf("not hex: %d digits, and a byte has two", len(s))
	}
	return data, nil
}

// stdinOnce refuses arguments that read standard input twice: the second would
// find it empty.
func stdinOnce(args ...string) error {
	n := 0
	for _, a := range args {
		if a == "-" || strings.HasPrefix(a, "-:") {
			n++
		}
	}
	if n > 1 {
		return usagef("standard input (-) is given %d times; write all but one to files", n)
	}
	return nil
}

func checkPacket(data []byte) error {
	if len(data) > maxPacket {
		return fmt.Errorf("packet of %d bytes is longer than the card's buffers (%d)", len(data), maxPacket)
	}
	return nil
}

// captureHelp describes captures in the help of commands that replay them.
const captureHelp = `
A packet of a capture that cannot be run is left out, listed and counted, and the
others are run: one captured in part or longer than on the wire, longer than the
card's buffers, damaged, of an unknown interface, or no Ethernet frame. If the
file is cut or damaged so that the next packet cannot be found, the results are
those of the packets before, and the exit status is 1. It is 1, too, if no packet
can be run. docs/run.md has the details.`

// packets holds the packets that a command runs, and counts those of the capture that
// were left out.
type packets struct {
	file   string // "" if they come from no capture
	list   []capture.Packet
	left   []capture.Left
	count  string // of left, by reason
	damage error  // why the rest of the capture was not read
}

// origin is the source of packets in their context. Zero values select the defaults.
type origin struct{ ifindex, egress, rxQueue uint32 }

func (o *origin) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Uint32Var(&o.ifindex, "ifindex", helper.DefaultIfindex, "`NUMBER` of the interface that packets come from: ingress_ifindex, and ifindex of tc programs")
	f.Uint32Var(&o.rxQueue, "rx-queue", 0, "`NUMBER` of the queue that packets come from: rx_queue_index")
}

// check refuses values that no kernel gives.
func (o *origin) check() error {
	for _, flag := range []struct {
		name      string
		v         uint32
		low, high uint32
	}{{"ifindex", o.ifindex, 1, math.MaxInt32}, {"egress-ifindex", o.egress, 0, math.MaxInt32}, {"rx-queue", o.rxQueue, 0, maxQueue}} {
		if flag.v < flag.low || flag.v > flag.high {
			return usagef("--%s is %d, must be %d to %d", flag.name, flag.v, flag.low, flag.high)
		}
	}
	return nil
}

// maxQueue is the largest queue number that fits the packet vector: docs/firmware-contract.md,
// section 3.
const maxQueue = 511

// onePacket returns the packet that the command line gives.
func onePacket(data []byte) *packets {
	return &packets{list: []capture.Packet{{Number: 1, Data: data, Time: time.Unix(0, 0)}}}
}

// maxListed is the number of left-out packets that are listed one by one.
const maxListed = 10

// readCapture reads a capture, "-" for standard input. Packets that cannot be run
// are left out: those shorter than shortest, those too long for the card, and
// those that are damaged or no Ethernet. Each is listed on stderr. It fails if
// none is left.
func readCapture(path string, stdin io.Reader, stderr io.Writer, shortest int) (*packets, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	c, err := capture.Read(in, capture.Limits{Min: shortest, Max: maxPacket})
	if err != nil {
		return nil, prefix(path, err)
	}
	var lines []string
	for _, l := range c.Left {
		lines = append(lines, fmt.Sprintf("packet %d: left out: %s", l.Packet, l.Detail))
	}
	listed(stderr, path, lines)
	listed(stderr, path, c.Notes)
	p := &packets{path, c.Packets, c.Left, c.Count(), c.Damage}
	switch {
	case len(p.list) > 0:
	case p.damage != nil:
		return nil, fmt.Errorf("%s: no packet can be run: %w", path, p.damage)
	case len(p.left) > 0:
		return nil, fmt.Errorf("%s: no packet can be run, %d left out: %s", path, len(p.left), p.count)
	}
	return p, nil
}

// listed prints the first lines, and how many more there are.
func listed(stderr io.Writer, path string, lines []string) {
	for i, line := range lines {
		if i == maxListed {
			fmt.Fprintf(stderr, "nfpsim: %s: and %d more\n", path, len(lines)-i)
			return
		}
		fmt.Fprintf(stderr, "nfpsim: %s: %s\n", path, line)
	}
}

// missing describes the part of the capture that was not run: the number of packets left
// out, by reason, and the damage after which nothing was read. It is "" if all was run.
func (p *packets) missing() string {
	var parts []string
	if len(p.left) > 0 {
		parts = append(parts, p.leftOut())
	}
	if p.damage != nil {
		parts = append(parts, "the rest of the capture was not read: "+p.damage.Error())
	}
	return strings.Join(parts, "; ")
}

func (p *packets) leftOut() string {
	return fmt.Sprintf("%s run, %d left out: %s", counted(len(p.list), "packet"), len(p.left), p.count)
}

// whole ends a command that has shown its results. It prints the number of
// left-out packets to w. It fails if the capture was damaged, since the rest of
// it is unknown.
func (p *packets) whole(w, stderr io.Writer) error {
	if len(p.left) > 0 {
		fmt.Fprintln(w, p.leftOut())
	}
	if p.damage == nil {
		return nil
	}
	fmt.Fprintf(stderr, "nfpsim: %s: %v\n", p.file, p.damage)
	return errNo
}

// counted returns a number of things: "1 packet", "2 packets".
func counted[N int | uint64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

// writePcap writes packets atomically, in the format that the file's name implies.
func writePcap(path string, stdout, stderr io.Writer, list []capture.Packet) error {
	format, err := capture.FormatOf(path)
	if err != nil {
		return err
	}
	return writeFile(path, stdout, func(w io.Writer) error {
		out, err := capture.NewWriter(w, format)
		if err != nil {
			return err
		}
		for _, p := range list {
			if err := out.Write(p.Time, p.Data); err != nil {
				return err
			}
		}
		if out.Moved > 0 {
			fmt.Fprintf(stderr, "nfpsim: %s: the times of %s are outside what the format holds; the nearest is written\n", path, counted(uint64(out.Moved), "packet"))
		}
		return out.Close()
	})
}

// writeFile writes a file atomically: to a temporary file in the same
// directory, which is renamed when complete. "-" is stdout. An existing file
// that is not a plain one (a device, a pipe) is written directly.
func writeFile(path string, stdout io.Writer, fill func(io.Writer) error) error {
	if path == "-" {
		return fill(stdout)
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return writeDevice(path, fill)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".nfpsim-*")
	var fault *fs.PathError
	if errors.As(err, &fault) {
		return fmt.Errorf("%s: %w", path, fault.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	w := bufio.NewWriter(f)
	if err := errors.Join(fill(w), w.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func writeDevice(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(fill(w), w.Flush(), f.Close())
}
