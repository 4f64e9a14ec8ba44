// Package live implements offload.Kernel with a simulated card, so that a manager can
// be tested without an operating system. Programs are compiled by nfp/jit and run on
// the packets that Receive is given. Maps are in the card's memory.
//
// A Card is created by New. Card.Open starts a process and returns its Kernel, and
// Kernel.Close ends the process. Objects have the kernel's lifetimes: a program or map
// exists as long as a process holds it, a pin names it, or it is attached to a port. A
// process that dies releases everything that it held. So a test can kill a manager at
// any step, within one test process, and count the objects that remain (Card.Left).
//
// The simulated card has no host: modes that run programs on the host are refused.
package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/offload"
)

// Options configures New. The zero value is a card of two ports with stock firmware.
type Options struct {
	Firmware *firmware.Profile // nil selects stock
	Ports    []offload.Ref     // nil selects nfp0 and nfp1
	Bus      string            // the card's address; empty selects 0000:01:00.0
}

// Card is a card together with the operating system's state for it. It is safe for
// concurrent use. Packets are processed one at a time, and programs are replaced only
// between two packets.
type Card struct {
	opt      Options
	profile  *firmware.Profile
	mu       sync.Mutex
	nic      *driver.NIC
	ports    []*port // nil while the card is unplugged
	programs map[uint32]*program
	maps     map[uint32]*table
	pins     map[string]object
	lastID   uint32
	watchers map[chan offload.Event]bool
	loaded   int64 // number of loads so far, used as a clock
	boots    int
}

// port is a network interface of the card.
type port struct {
	offload.Port
	start    int // start of its slot in the code store
	mode     offload.Mode
	runs     *program
	placed   *driver.Program
	verdicts offload.Verdicts
}

// object is a program or a map. It exists as long as there are references to it.
type object interface {
	refs() *int
	free(*Card)
}

// New returns a plugged-in card.
func New(opt *Options) (*Card, error) {
	c := &Card{
		programs: map[uint32]*program{}, maps: map[uint32]*table{}, pins: map[string]object{},
		watchers: map[chan offload.Event]bool{},
	}
	if opt != nil {
		c.opt = *opt
	}
	if c.opt.Ports == nil {
		c.opt.Ports = []offload.Ref{{Name: "nfp0"}, {Name: "nfp1"}}
	}
	c.opt.Bus = cmp.Or(c.opt.Bus, "0000:01:00.0")
	if c.profile = c.opt.Firmware; c.profile == nil {
		var err error
		if c.profile, err = firmware.Load("stock"); err != nil {
			return nil, err
		}
	}
	if end := c.profile.Start + len(c.opt.Ports)*c.profile.MaxLen; end > nfp.StoreWords {
		return nil, fmt.Errorf("%d ports of %d words end at word %d of %d", len(c.opt.Ports), c.profile.MaxLen, end, nfp.StoreWords)
	}
	var err error
	if c.nic, err = driver.New(c.profile, nil); err != nil {
		return nil, err
	}
	c.Plug()
	return c, nil
}

// Plug plugs an unplugged card in again: its ports appear, without programs.
func (c *Card) Plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ports != nil {
		return
	}
	for i, ref := range c.opt.Ports {
		c.ports = append(c.ports, &port{start: c.profile.Start + i*c.profile.MaxLen, Port: offload.Port{
			Netns: ref.Netns, Name: ref.Name, Index: i + 2, Driver: "nfp", Firmware: "0.0.5.0 0.31 simulated ebpf",
			Card: c.opt.Bus, Up: true, MTU: 1500, TCOffload: true,
		}})
		c.notify(offload.Event{Port: ref})
	}
}

// Unplug removes the card, even if it is in use. Programs and maps that are held or
// pinned stay as objects without a device.
func (c *Card) Unplug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.ports {
		if p.runs != nil {
			c.drop(p.runs)
		}
		c.notify(offload.Event{Port: p.Ref(), Gone: true})
	}
	c.ports = nil
	for _, p := range c.programs {
		p.gone = true
	}
	for _, t := range c.maps {
		t.gone, t.m = !t.host, nil // a map in host memory outlives the card
	}
	c.nic.Reset()
}

// Reboot resets all state except the card itself. All processes must have been closed.
func (c *Card) Reboot() {
	c.Unplug()
	c.mu.Lock()
	for _, path := range slices.Sorted(maps.Keys(c.pins)) {
		o := c.pins[path]
		delete(c.pins, path)
		c.drop(o)
	}
	c.lastID = 0
	c.boots++
	c.mu.Unlock()
	c.Plug()
}

// Received is the outcome of a packet.
type Received struct {
	Program uint32 // id of the program that processed it; 0 if there was none
	Action  uint32 // XDP or TC code
	Packet  []byte
}

// Receive delivers a packet from the wire to a port.
func (c *Card) Receive(ref offload.Ref, packet []byte) (*Received, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.find(ref)
	if err != nil {
		return nil, err
	}
	if p.runs == nil {
		return &Received{Action: driver.XDPPass, Packet: packet}, nil
	}
	res, err := c.nic.Run(p.placed, &driver.Input{Packet: packet, Ifindex: uint32(p.Index)})
	if err != nil {
		return nil, err
	}
	c.deliver(res.Events)
	for i, n := range []*offload.Count{&p.verdicts.Pass, &p.verdicts.Drop, &p.verdicts.Redirect, &p.verdicts.Aborted} {
		if res.Word&(firmware.ResultStat0<<i) != 0 {
			n.Packets++
			n.Bytes += uint64(len(res.Packet))
		}
	}
	return &Received{Program: p.runs.id, Action: res.Action, Packet: res.Packet}, nil
}

func (c *Card) find(ref offload.Ref) (*port, error) {
	for _, p := range c.ports {
		if p.Ref() == ref {
			return p, nil
		}
	}
	return nil, &offload.Error{Op: "find port", Object: ref.String(), Reason: "no-port", Msg: "no such interface"}
}

// byIndex returns the port that p describes, or an error if it no longer exists.
func (c *Card) byIndex(op string, p *offload.Port) (*port, error) {
	for _, q := range c.ports {
		if q.Index == p.Index && q.Card == p.Card {
			return q, nil
		}
	}
	return nil, &offload.Error{Op: op, Object: p.Ref().String(), Reason: "port-gone", Msg: "the interface no longer exists"}
}

// hold and drop count the references to an object.
func (c *Card) hold(o object) { *o.refs()++ }

func (c *Card) drop(o object) {
	if *o.refs()--; *o.refs() == 0 {
		o.free(c)
	}
}

// notify sends an event to all watchers of ports. A watcher whose channel is full
// instead receives the empty event, which means that events were lost.
func (c *Card) notify(e offload.Event) {
	for w := range c.watchers {
		select {
		case w <- e:
		default:
			<-w
			w <- offload.Event{} // there is room: only notify sends, and it holds the lock
		}
	}
}

// Left is the number of objects on the card and of references to them, for tests of
// leaks.
type Left struct{ Programs, Maps, Pins, Ports, Tables int }

// Left counts programs, maps, pins, ports that run a program, and maps in the card's
// memory.
func (c *Card) Left() Left {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := Left{Programs: len(c.programs), Maps: len(c.maps), Pins: len(c.pins)}
	for _, p := range c.ports {
		if p.runs != nil {
			l.Ports++
		}
	}
	for _, m := range c.nic.Maps() {
		if c.nic.Table(m.ID) != nil {
			l.Tables++
		}
	}
	return l
}
