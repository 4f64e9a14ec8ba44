package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/driver/card/vhost"
	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

type cardOptions struct {
	target
	socket, model string
	in, out, tap  []string
	cable, single bool
}

func newCard() *cobra.Command {
	var o cardOptions
	cmd := &cobra.Command{
		Use:   "card --socket PATH",
		Short: "simulate a PCI card for a User Mode Linux kernel",
		Long: `Listens on a socket for a User Mode Linux kernel, which then finds the simulated
card as a PCI device that its own nfp driver binds to. Guests are served one
after the other, each with a card as it is after power-up, until interrupted.

The ports of a card with two are cabled to each other unless --cable=false.
--pcap-in replays a capture into a port from the wire a tenth of a second after
the guest has brought the port up, as fast as it takes the packets. --pcap-out writes what
leaves a port. --tap connects a port with a tap device of this host, which needs
CAP_NET_ADMIN or a device made for this user. PORT is a number from 0.`,
		Example: `  nfpsim card --socket card.sock --pcap-in 0=mixed.pcap --pcap-out 1=out.pcap`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return o.run(ctx, cmd.ErrOrStderr(), cmd.InOrStdin())
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.socket, "socket", "", "socket to listen on: `PATH` of a file that is created")
	f.StringVar(&o.model, "card", card.DefaultModel, "`MODEL` of the card: "+strings.Join(cardNames(), ", "))
	f.StringArrayVar(&o.in, "pcap-in", nil, "replay a capture into a port, as `PORT=FILE` (repeatable)")
	f.StringArrayVar(&o.out, "pcap-out", nil, "capture what leaves a port, as `PORT=FILE` (repeatable)")
	f.StringArrayVar(&o.tap, "tap", nil, "connect a port with a tap device, as `PORT=NAME` (repeatable)")
	f.BoolVar(&o.cable, "cable", true, "connect the ports of a card with two")
	f.BoolVar(&o.single, "single-entry", false, "answer map walks with one entry at a time")
	return cmd
}

func cardNames() []string {
	var names []string
	for _, m := range card.Models() {
		names = append(names, m.Name)
	}
	return names
}

// portFiles reads PORT=FILE arguments.
func portFiles(args []string, ports int, flag string) (map[int]string, error) {
	files := map[int]string{}
	for _, a := range args {
		name, file, ok := strings.Cut(a, "=")
		port, err := strconv.Atoi(name)
		switch {
		case !ok || err != nil || file == "":
			return nil, usagef("--%s %s: PORT=FILE is wanted", flag, a)
		case port < 0 || port >= ports:
			return nil, usagef("--%s %s: the card has ports 0 to %d", flag, a, ports-1)
		case files[port] != "":
			return nil, usagef("--%s %s: port %d has %s already", flag, a, port, files[port])
		}
		files[port] = file
	}
	return files, nil
}

func (o *cardOptions) run(ctx context.Context, stderr io.Writer, stdin io.Reader) error {
	if o.socket == "" {
		return usagef("card needs --socket PATH")
	}
	model, err := card.ModelByName(o.model)
	if err != nil {
		return usageError{err}
	}
	p, err := o.profile()
	if err != nil {
		return err
	}
	w, err := o.world(len(model.Ports), stdin, stderr)
	if err != nil {
		return err
	}
	return errors.Join(o.listen(ctx, stderr, model, p, w), w.close())
}

// world holds everything connected to the ports: captures to replay, captures to
// write, tap devices.
type world struct {
	replay map[int][]capture.Packet
	out    *captures
	taps   map[int]*os.File
}

func (o *cardOptions) world(ports int, stdin io.Reader, stderr io.Writer) (*world, error) {
	in, err := portFiles(o.in, ports, "pcap-in")
	if err != nil {
		return nil, err
	}
	out, err := portFiles(o.out, ports, "pcap-out")
	if err != nil {
		return nil, err
	}
	taps, err := portFiles(o.tap, ports, "tap")
	if err != nil {
		return nil, err
	}
	w := &world{map[int][]capture.Packet{}, nil, map[int]*os.File{}}
	for port, file := range in {
		p, err := readCapture(file, stdin, stderr, shortestFrame)
		if err != nil {
			return nil, err
		}
		_ = p.whole(stderr, stderr) // what is whole is replayed; the card serves on
		w.replay[port] = p.list
	}
	for port, name := range taps {
		if w.taps[port], err = openTap(name); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	if w.out, err = newCaptures(out); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// transmit is card.Options.Transmit.
func (w *world) transmit(port int, frame []byte) {
	w.out.write(port, frame)
	if f := w.taps[port]; f != nil {
		// A device that is down takes nothing, as a cable that hangs loose.
		_, _ = f.Write(frame)
	}
}

func (w *world) close() error {
	var err error
	if w.out != nil {
		err = w.out.close()
	}
	for _, f := range w.taps {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// listen serves guests until the context ends.
func (o *cardOptions) listen(ctx context.Context, stderr io.Writer, model *card.Model, p *firmware.Profile, w *world) error {
	l, err := vhost.Listen(o.socket)
	if err != nil {
		return err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	fmt.Fprintf(stderr, "%s, firmware %s, listens on %s\n", model.Product, p.Name, o.socket)
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := o.serve(ctx, stderr, conn, p, w); err != nil && ctx.Err() == nil {
			fmt.Fprintf(stderr, "guest: %v\n", err)
		}
	}
}

// serve is one guest's card.
func (o *cardOptions) serve(ctx context.Context, stderr io.Writer, conn *net.UnixConn, p *firmware.Profile, w *world) error {
	log := func(line string) { fmt.Fprintf(stderr, "card: %s\n", line) }
	t := vhost.New(log)
	c, err := card.New(&card.Options{Model: o.model, Firmware: p, Cable: o.cable, SingleEntry: o.single, Transmit: w.transmit, Log: log})
	if err != nil {
		conn.Close()
		return err
	}
	c.Attach(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var players sync.WaitGroup
	defer players.Wait()
	for port, packets := range w.replay {
		players.Go(func() { play(ctx, t, c, port, packets) })
	}
	for port, f := range w.taps {
		players.Go(func() {
			readTap(ctx, f, func(frame []byte) {
				done := make(chan struct{})
				// Receive refuses bytes that are no frame; they are dropped.
				if t.Do(func() { _ = c.Receive(port, frame); close(done) }) != nil {
					return
				}
				select {
				case <-done:
				case <-ctx.Done():
				}
			})
		})
	}
	err = t.Serve(ctx, conn, c)
	cancel()
	return err
}

const (
	playEvery = time.Millisecond // how often a replay looks for room
	// playAfter is how long a port must have had buffers first: a driver that brings a
	// port up gives buffers before its kernel lets programs listen.
	playAfter = 100 * time.Millisecond
)

// play sends packets into a port as the guest has buffers for them. Half of what
// it has is left for others.
func play(ctx context.Context, t *vhost.Transport, c *card.Card, port int, packets []capture.Packet) {
	tick := time.NewTicker(playEvery)
	defer tick.Stop()
	var up time.Time // since when the port has buffers; only Do's goroutine has it
	for len(packets) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent := make(chan int, 1)
		err := t.Do(func() {
			n := min(len(packets), (c.Room(port)+1)/2)
			switch now := time.Now(); {
			case n == 0:
				up = time.Time{}
			case up.IsZero():
				up, n = now, 0
			case now.Sub(up) < playAfter:
				n = 0
			}
			for _, p := range packets[:n] {
				// A frame too long for the port is the wire's loss, and not worth the rest.
				_ = c.Receive(port, append([]byte(nil), p.Data...))
			}
			sent <- n
		})
		if err != nil {
			return
		}
		select {
		case n := <-sent:
			packets = packets[n:]
		case <-ctx.Done():
			return
		}
	}
}

// captures are the files that frames leaving ports go to.
type captures struct {
	ports map[int]*portCapture
	err   error
}

// portCapture is one of them.
type portCapture struct {
	file *os.File
	w    *capture.Writer
}

func newCaptures(files map[int]string) (*captures, error) {
	c := &captures{map[int]*portCapture{}, nil}
	for port, name := range files {
		if err := c.open(port, name); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *captures) open(port int, name string) error {
	format, err := capture.FormatOf(name)
	if err != nil {
		return usageError{err}
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w, err := capture.NewWriter(f, format)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	c.ports[port] = &portCapture{f, w}
	return nil
}

func (c *captures) write(port int, frame []byte) {
	p := c.ports[port]
	if p == nil || c.err != nil {
		return
	}
	c.err = p.w.Write(time.Now(), frame)
}

func (c *captures) close() error {
	err := c.err
	for _, p := range c.ports {
		err = errors.Join(err, p.w.Close(), p.file.Close())
	}
	return err
}
