package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
)

// A finding is doctor's result for one link of the chain.
type finding struct {
	Port   string       `json:"port,omitempty"` // empty for the machine
	Link   offload.Link `json:"link"`
	State  string       `json:"state"` // ok, broken, or note
	What   string       `json:"what"`
	Reason string       `json:"reason,omitempty"`
	Cure   string       `json:"cure,omitempty"`
}

// diagnosis is doctor's JSON.
type diagnosis struct {
	Host     *offload.Host       `json:"host,omitempty"`
	Findings []finding           `json:"findings"`
	Broken   *finding            `json:"broken"` // the first broken link, or null
	Probed   []*offload.Features `json:"probed"`
}

// doctor checks the chain, link by link.
type doctor struct {
	ctx    context.Context
	env    *env
	kernel offload.Kernel
	out    diagnosis
}

func newDoctor(e *env) *cobra.Command {
	probe := true
	cmd := &cobra.Command{
		Use: "doctor [dev PORT]...", Short: "find the first broken link between the card and a program",
		Long: `Checks each link of the chain on which a program on a card depends: permission,
kernel, port, driver, firmware application, capability, map, instruction, attachment,
journal; names the first broken link, and the remedy. Checks all ports of cards,
or those named. Nothing is attached or changed; a tiny program and a map are loaded
and freed. With --probe (the default), finds the card's limits by more of these,
which holds most of the card's free room for maps for some hundredths of a second.
Exit status 1 if a link is broken.`,
		Example: `  nfpctl doctor
  nfpctl doctor dev nfp0 --probe=false`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var at where
			if err := at.parse(args); err != nil {
				return err
			}
			if at.mode != "" {
				return usagef("doctor has no mode")
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			d := &doctor{ctx: cmd.Context(), env: e, kernel: k, out: diagnosis{Findings: []finding{}, Probed: []*offload.Features{}}}
			d.machine()
			d.ports(at.ports, probe)
			d.journal()
			if e.json {
				err = writeJSON(cmd.OutOrStdout(), d.out)
			} else {
				d.print(cmd.OutOrStdout())
			}
			if err == nil && d.out.Broken != nil {
				err = errNo
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&probe, "probe", true, "probe the card's limits")
	return cmd
}

// add records a finding. The first broken one is doctor's result.
func (d *doctor) add(f finding) {
	d.out.Findings = append(d.out.Findings, f)
	if f.State == "broken" && d.out.Broken == nil {
		d.out.Broken = &f
	}
}

func (d *doctor) ok(port string, link offload.Link, format string, args ...any) {
	d.add(finding{Port: port, Link: link, State: "ok", What: fmt.Sprintf(format, args...)})
}

// broken records a broken link whose remedy is in the table of reasons.
func (d *doctor) broken(port string, link offload.Link, reason, format string, args ...any) {
	d.add(finding{Port: port, Link: link, State: "broken", What: fmt.Sprintf(format, args...), Reason: reason, Cure: offload.Explain(reason).Hint})
}

// failed records an error at the link that it names.
func (d *doctor) failed(port string, err error) {
	var e *offload.Error
	if errors.As(err, &e) {
		d.broken(port, e.Link(), e.Reason, "%s", oneLine(e))
		return
	}
	d.broken(port, offload.LinkKernel, "unexpected", "%s", oneLine(err))
}

// machine checks the links that all ports share, if the kernel is that of a real
// machine.
func (d *doctor) machine() {
	on, ok := d.kernel.(interface{ Host() *offload.Host })
	if !ok {
		return
	}
	h := on.Host()
	d.out.Host = h
	missing := slices.DeleteFunc(slices.Clone(h.Missing), func(name string) bool { return name == "cap_syslog" })
	switch {
	case slices.Contains(h.Capabilities, "cap_sys_admin"): // which includes the other capabilities
		what := strings.Join(h.Capabilities, ", ")
		if h.More {
			what += ", and others"
		}
		d.ok("", offload.LinkPermission, "%s", what)
	default:
		d.broken("", offload.LinkPermission, "no-permission", "%s missing", strings.Join(missing, ", "))
	}
	if slices.Contains(h.Missing, "cap_syslog") {
		d.add(finding{Link: offload.LinkPermission, State: "note", What: "without cap_syslog the driver's words in the kernel's log may be hidden"})
	}
	switch {
	case h.Major < 4 || h.Major == 4 && h.Minor < 16:
		d.broken("", offload.LinkKernel, "old-kernel", "linux %s has no maps on cards", h.Release)
	case h.Major < 5 || h.Major == 5 && h.Minor < 7:
		d.broken("", offload.LinkKernel, "old-kernel", "linux %s cannot compare and swap programs", h.Release)
	case !h.BPFMount:
		d.broken("", offload.LinkKernel, "pin", "linux %s; no bpf file system holds %s", h.Release, h.Pins)
	case h.Hardened != "" && h.Hardened != "0":
		d.broken("", offload.LinkKernel, "jit-hardened", "linux %s; net.core.bpf_jit_harden is %s", h.Release, h.Hardened)
	default:
		d.ok("", offload.LinkKernel, "linux %s; pins go to %s", h.Release, h.Pins)
	}
}

// ofCard reports whether a driver runs programs in hardware.
func ofCard(p *offload.Port) bool { return p.Driver == "nfp" || p.Driver == "netdevsim" }

// ports checks the named ports, or all ports of cards.
func (d *doctor) ports(named []offload.Ref, probe bool) {
	records, err := d.env.records()
	if err != nil {
		records = nil // journal reports it
	}
	all, err := portsOf(d.kernel, records, named)
	if err != nil {
		d.failed("", err)
		return
	}
	probed := map[string]bool{}
	found := false
	for i := range all {
		p := &all[i]
		if len(named) == 0 && !ofCard(p) {
			continue
		}
		found = true
		if d.port(p) && probe && !probed[p.Card] { // ports of one card have the same limits
			probed[p.Card] = true
			d.limits(p)
		}
	}
	if !found {
		d.noPort()
	}
}

// noPort reports why there is no port of a card, from the state of the cards on the
// bus.
func (d *doctor) noPort() {
	var cards []offload.PCICard
	if d.out.Host != nil {
		cards = d.out.Host.Cards
	}
	if len(cards) == 0 {
		d.add(finding{Link: offload.LinkPort, State: "broken", Reason: "no-port", What: "no interface of a card, and no netronome card on the pci bus",
			Cure: "seat the card; lspci -d 19ee: must list it"})
		return
	}
	for _, c := range cards {
		switch {
		case c.Driver == "":
			d.broken("", offload.LinkDriver, "no-driver", "card %s (19ee:%s) has no driver", c.Address, strings.TrimPrefix(c.Device, "0x"))
		case len(c.Ports) == 0:
			d.broken("", offload.LinkFirmware, "no-firmware", "driver %s of card %s made no interface", c.Driver, c.Address)
		default:
			d.broken("", offload.LinkPort, "foreign-namespace", "card %s has ports %s, none in this namespace", c.Address, strings.Join(c.Ports, ", "))
		}
	}
}

// port checks one port, and reports whether programs run there.
func (d *doctor) port(p *offload.Port) bool {
	name := p.Ref().String()
	if !p.Up {
		d.add(finding{Port: name, Link: offload.LinkPort, State: "note", What: fmt.Sprintf("it is down; ip link set %s up lets packets in", p.Name)})
	} else {
		d.ok(name, offload.LinkPort, "up, card %s, mtu %d", p.Card, p.MTU)
	}
	// The first load shows whether the links from here on are intact.
	prog, err := d.kernel.LoadProgram(offload.Pass(), nil, p)
	if err != nil {
		d.failed(name, err)
		return false
	}
	defer prog.Close()
	d.ok(name, offload.LinkDriver, "%s", p.Driver)
	if p.Driver == "nfp" {
		d.ok(name, offload.LinkFirmware, "%s", p.Firmware)
	}
	info, err := prog.Info()
	if err != nil {
		d.failed(name, err)
		return false
	}
	d.ok(name, offload.LinkCapability, "a program of %d bytes was translated to %d words", info.Insns, info.Words)
	if !p.TCOffload {
		d.add(finding{Port: name, Link: offload.LinkCapability, State: "note", What: "hw-tc-offload is off: xdpoffload works, tcoffload does not", Cure: fmt.Sprintf("ethtool -K %s hw-tc-offload on", p.Name)})
	}
	m, err := d.kernel.CreateMap(&ebpf.MapSpec{Name: "doctor", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}, p)
	if err != nil {
		d.failed(name, err)
		return false
	}
	m.Close()
	d.ok(name, offload.LinkMap, "an array of one element was created")
	stand, err := d.kernel.Attached(p)
	if err != nil {
		d.failed(name, err)
		return false
	}
	var text []string
	for _, a := range stand {
		text = append(text, fmt.Sprintf("%s program %d", a.Mode, a.Program))
	}
	if len(text) == 0 {
		text = []string{"no program"}
	}
	d.ok(name, offload.LinkAttach, "%s", strings.Join(text, ", "))
	return true
}

// limits probes the card of a port.
func (d *doctor) limits(p *offload.Port) {
	f, err := offload.Probe(d.ctx, d.kernel, p)
	if err != nil {
		d.failed(p.Ref().String(), err)
		return
	}
	d.out.Probed = append(d.out.Probed, f)
}

// journal checks the recorded deployments, without settling anything.
func (d *doctor) journal() {
	records, err := d.env.records()
	if err != nil {
		d.failed("", err)
		return
	}
	if records == nil {
		d.ok("", offload.LinkState, "no journal yet at %s", d.env.journal)
		return
	}
	half := 0
	for _, r := range records {
		if r.Phase != offload.Idle {
			half++
		}
	}
	if half > 0 {
		d.add(finding{Link: offload.LinkState, State: "note", What: "interrupted changes: " + fmt.Sprint(half), Cure: "nfpctl status finishes or rolls them back"})
		return
	}
	d.ok("", offload.LinkState, "%s", counted(len(records), "deployment"))
}

func (d *doctor) print(w io.Writer) {
	last := ""
	for _, f := range d.out.Findings {
		if f.Port != last {
			fmt.Fprintf(w, "%s:\n", map[bool]string{true: "machine", false: "port " + f.Port}[f.Port == ""])
			last = f.Port
		}
		reason := ""
		if f.Reason != "" && !strings.HasSuffix(f.What, "("+f.Reason+")") {
			reason = " (" + f.Reason + ")"
		}
		fmt.Fprintf(w, "%-8s%-22s%s%s\n", f.State, f.Link, f.What, reason)
		if f.Cure != "" {
			fmt.Fprintf(w, "        cure: %s\n", f.Cure)
		}
	}
	for _, f := range d.out.Probed {
		fmt.Fprintln(w)
		printLimits(w, f)
	}
	fmt.Fprintln(w)
	if b := d.out.Broken; b != nil {
		at := ""
		if b.Port != "" {
			at = " at port " + b.Port
		}
		fmt.Fprintf(w, "first broken link: %s%s: %s\n", b.Link, at, b.What)
		return
	}
	fmt.Fprintln(w, "no link is broken")
}

// printLimits prints lower bounds and their sources.
func printLimits(w io.Writer, f *offload.Features) {
	fmt.Fprintf(w, "limits of the card of port %s, found by trying:\n", f.Port)
	for _, l := range f.Limits {
		fmt.Fprintf(w, "  %-12s at least %-9d %s\n", l.Name, l.AtLeast, l.Source)
	}
}
