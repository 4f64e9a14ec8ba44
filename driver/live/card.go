// Package live is a simulated card as an offload.Kernel: what an operating system
// keeps of a card's programs and maps, without an operating system. Programs are
// compiled by nfp/jit and run on the packets that Receive is given; maps lie in the
// card's memory. Objects live as the kernel's do, as long as a process holds them, a
// pin names them, or they stand in front of a port, and a process that dies lets go of
// all it held: so a manager can be killed at any step, in one test process, and what it
// left can be counted.
//
// There is no host behind the card: modes that run programs there are refused.
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

// Options for New; the zero value is a card of two ports with stock firmware.
type Options struct {
	Firmware *firmware.Profile // nil: stock
	Ports    []offload.Ref     // nil: nfp0 and nfp1
	Bus      string            // the card's address; empty: 0000:01:00.0
}

// Card is a card with what the operating system keeps of it. It is safe for concurrent
// use; packets are processed one at a time, as programs are replaced between two.
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
	loaded   int64 // a clock that counts loads
	boots    int
}

// port is a network interface of the card.
type port struct {
	offload.Port
	start    int // of its slot in the code store
	mode     offload.Mode
	runs     *program
	placed   *driver.Program
	verdicts offload.Verdicts
}

// object is a program or a map, which is there while something refers to it.
type object interface {
	refs() *int
	free(*Card)
}

// New plugs a card in.
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

// Plug puts an unplugged card back: its ports appear, without programs.
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
		c.tell(offload.Event{Port: ref})
	}
}

// Unplug takes the card away under whatever uses it: programs and maps that are held or
// pinned stay as objects without a device.
func (c *Card) Unplug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.ports {
		if p.runs != nil {
			c.drop(p.runs)
		}
		c.tell(offload.Event{Port: p.Ref(), Gone: true})
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

// Reboot forgets everything but the card itself. Processes must have been closed.
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

// Received is what became of a packet.
type Received struct {
	Program uint32 // id of the program that decided; 0: none was there
	Action  uint32 // XDP or TC code
	Packet  []byte
}

// Receive gives a packet from the wire to a port.
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

// byIndex finds a port as it was looked at before.
func (c *Card) byIndex(op string, p *offload.Port) (*port, error) {
	for _, q := range c.ports {
		if q.Index == p.Index && q.Card == p.Card {
			return q, nil
		}
	}
	return nil, &offload.Error{Op: op, Object: p.Ref().String(), Reason: "port-gone", Msg: "the interface is no more"}
}

// hold and drop count what refers to an object.
func (c *Card) hold(o object) { *o.refs()++ }

func (c *Card) drop(o object) {
	if *o.refs()--; *o.refs() == 0 {
		o.free(c)
	}
}

// tell passes an event on; a watcher that does not keep up gets one that says so.
func (c *Card) tell(e offload.Event) {
	for w := range c.watchers {
		select {
		case w <- e:
		default:
			<-w
			w <- offload.Event{} // there is room: only tell sends, under the lock
		}
	}
}

// Left counts what is on the card and what names it: for tests of leaks.
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
