package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
)

func newNet(e *env) *cobra.Command {
	return group("net", "show ports, attach programs to them and detach programs",
		e.completes(newNetShow(e), nil, "dev"),
		e.completes(newNetAttach(e), []string{"mode"}, "id", "tag", "name", "pinned", "dev", "overwrite"),
		e.completes(newNetDetach(e), []string{"mode"}, "dev"))
}

// netJSON is the JSON form of net show: bpftool's members, and the ports of
// cards.
type netJSON struct {
	XDP   []netEntry     `json:"xdp"`
	TC    []netEntry     `json:"tc"`
	Ports []offload.Port `json:"ports"`
}

type netEntry struct {
	Device     string `json:"devname"`
	Ifindex    int    `json:"ifindex"`
	Kind       string `json:"kind,omitempty"` // traffic control
	Mode       string `json:"mode"`
	ID         uint32 `json:"id"`
	InHardware bool   `json:"in_hw"`
	Link       bool   `json:"link,omitempty"`
	Deployment string `json:"deployment,omitempty"`
}

// modeWords holds bpftool's words for the XDP modes.
var modeWords = map[offload.Mode]string{
	offload.XDPOffload: "offload", offload.XDPDriver: "driver", offload.XDPGeneric: "generic",
	offload.TCOffload: "skip_sw", offload.TCSoftware: "skip_hw",
}

func newNetShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "show [dev PORT]", Aliases: []string{"list"}, Short: "show ports and their programs",
		Long: "Shows the ports of cards, and every program attached to a port, in the caller's\nnamespace and those of deployments.",
		Example: `  nfpctl net show
  nfpctl net show dev nfp0 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var at where
			if err := at.parse(args); err != nil {
				return err
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			records, err := e.records()
			if err != nil {
				return err
			}
			ports, err := portsOf(k, records, at.ports)
			if err != nil {
				return err
			}
			out, err := netOf(k, ports, ownersOf(records))
			if err != nil {
				return err
			}
			if e.json {
				return writeJSON(cmd.OutOrStdout(), out)
			}
			printNet(cmd.OutOrStdout(), out)
			return nil
		},
	}
}

// portsOf returns the named ports, or all ports that can be read.
func portsOf(k offload.Kernel, records map[string]*offload.Record, named []offload.Ref) ([]offload.Port, error) {
	var all []offload.Port
	for _, ref := range named {
		p, err := findPort(k, ref)
		if err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	if len(named) > 0 {
		return all, nil
	}
	for _, netns := range namespaces(records) {
		ports, err := k.Ports(netns)
		if err != nil && netns == "" {
			return nil, err
		}
		all = append(all, ports...) // a removed namespace has none
	}
	return all, nil
}

func netOf(k offload.Kernel, ports []offload.Port, own owners) (*netJSON, error) {
	out := &netJSON{XDP: []netEntry{}, TC: []netEntry{}, Ports: []offload.Port{}}
	for i := range ports {
		p := &ports[i]
		stand, err := k.Attached(p)
		if r := offload.ReasonOf(err); r == "no-port" || r == "port-gone" {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if p.Card != "" {
			out.Ports = append(out.Ports, *p)
		}
		for _, a := range stand {
			n := netEntry{Device: p.Ref().String(), Ifindex: p.Index, Mode: modeWords[a.Mode], ID: a.Program, InHardware: a.InHardware, Link: a.Link, Deployment: own.programs[a.Program].deployment}
			if a.Mode.TC() {
				n.Kind = "clsact/ingress"
				out.TC = append(out.TC, n)
			} else {
				out.XDP = append(out.XDP, n)
			}
		}
	}
	return out, nil
}

func printNet(w io.Writer, n *netJSON) {
	for _, part := range []struct {
		title string
		all   []netEntry
	}{{"xdp", n.XDP}, {"tc", n.TC}} {
		fmt.Fprintf(w, "%s:\n", part.title)
		for _, e := range part.all {
			fmt.Fprintf(w, "%s(%d)", e.Device, e.Ifindex)
			if e.Kind != "" {
				fmt.Fprintf(w, " %s", e.Kind)
			}
			fmt.Fprintf(w, " %s id %d", e.Mode, e.ID)
			if e.Deployment != "" {
				fmt.Fprintf(w, " deployment %s", e.Deployment)
			}
			if e.Kind != "" && e.Mode == "skip_sw" && !e.InHardware {
				fmt.Fprint(w, " not_in_hw")
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "ports:")
	for _, p := range n.Ports {
		state := "down"
		if p.Up {
			state = "up"
		}
		fmt.Fprintf(w, "%s(%d) %s %s  driver %s  firmware %q  mtu %d\n", p.Ref(), p.Index, state, p.Card, cmp.Or(p.Driver, "?"), p.Firmware, p.MTU)
	}
}

func newNetAttach(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "attach MODE PROG dev PORT [overwrite]", Short: "attach a loaded program to a port",
		Long: `Attaches a program to a port. A deployment's program gets one more port, as
prog reload would; its mode must be MODE. Any other program is attached as it is,
and is not managed. overwrite replaces a program that is attached already.

` + modeHelp + "\n\n" + progHelp,
		Args:    atLeast("MODE", "PROG"),
		Example: `  nfpctl net attach xdpoffload name edge dev nfp1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := words(args)
			mode, err := parseMode(w.next())
			if err != nil {
				return err
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			p, deployment, err := e.parseProgram(k, &w)
			if err != nil {
				return err
			}
			defer p.Close()
			overwrite := len(w) > 0 && w[len(w)-1] == "overwrite"
			if overwrite {
				w = w[:len(w)-1]
			}
			var at where
			if err := at.parse(w); err != nil {
				return err
			}
			if len(at.ports) != 1 || at.mode != "" {
				return usagef("net attach wants one dev PORT")
			}
			if deployment != "" {
				p.Close()
				return e.changePorts(cmd, deployment, mode, overwrite, func(have []offload.Ref) []offload.Ref {
					if slices.Contains(have, at.ports[0]) {
						return have
					}
					return append(slices.Clone(have), at.ports[0])
				})
			}
			return swap(k, at.ports[0], mode, p, overwrite)
		},
	}
}

// swap attaches to a port a program that belongs to no deployment. If p is nil, it
// detaches the attached one.
func swap(k offload.Kernel, ref offload.Ref, mode offload.Mode, p offload.Program, overwrite bool) error {
	port, err := findPort(k, ref)
	if err != nil {
		return err
	}
	stand, err := k.Attached(port)
	if err != nil {
		return err
	}
	var old offload.Program
	for _, a := range stand {
		if a.Mode == mode && overwrite {
			if old, err = k.Program(a.Program); err != nil {
				return err
			}
			defer old.Close()
		}
	}
	if p != nil {
		if _, err := k.Hook(port, mode, true); err != nil {
			return err
		}
	} else if old == nil {
		return &offload.Error{Op: "detach", Object: ref.String(), Reason: "no-object", Msg: fmt.Sprintf("no program is attached in mode %s", mode)}
	}
	if err := k.Swap(port, mode, old, p); err != nil || p != nil {
		return err
	}
	_, err = k.Hook(port, mode, false)
	return err
}

// changePorts changes the ports of a deployment.
func (e *env) changePorts(cmd *cobra.Command, name string, mode offload.Mode, force bool, ports func([]offload.Ref) []offload.Ref) error {
	records, err := e.records()
	if err != nil {
		return err
	}
	r := records[name]
	if r == nil || r.Current == nil {
		return &offload.Error{Op: "attach", Object: name, Reason: "unknown-deployment", Msg: "no deployment of that name"}
	}
	m, err := e.manager(cmd)
	if err != nil {
		return err
	}
	d := *r.Current.Deployment
	if d.Mode != mode {
		return &offload.Error{Op: "attach", Object: name, Reason: "mode-conflict", Msg: fmt.Sprintf("the deployment is in mode %s, not %s", d.Mode, mode)}
	}
	d.Ports = ports(d.Ports)
	switch {
	case len(d.Ports) == 0:
		return m.Unload(cmd.Context(), name)
	case slices.Equal(d.Ports, r.Current.Deployment.Ports) && !force:
		return nil
	}
	return m.Reload(cmd.Context(), &d, &offload.Change{Force: force})
}

func newNetDetach(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "detach MODE dev PORT", Short: "detach a program from a port",
		Long: "Detaches the program of a mode from a port. A deployment loses the port; one that\nloses its last is unloaded.\n\n" + modeHelp, Args: atLeast("MODE", "dev PORT"),
		Example: `  nfpctl net detach xdpoffload dev nfp1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := words(args)
			mode, err := parseMode(w.next())
			if err != nil {
				return err
			}
			var at where
			if err := at.parse(w); err != nil {
				return err
			}
			if len(at.ports) != 1 || at.mode != "" {
				return usagef("net detach wants one dev PORT")
			}
			ref := at.ports[0]
			records, err := e.records()
			if err != nil {
				return err
			}
			for name, r := range records {
				if r.Current != nil && r.Current.Deployment.Mode == mode && slices.Contains(r.Current.Deployment.Ports, ref) {
					return e.changePorts(cmd, name, mode, false, func(have []offload.Ref) []offload.Ref {
						return slices.DeleteFunc(slices.Clone(have), func(o offload.Ref) bool { return o == ref })
					})
				}
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			return swap(k, ref, mode, nil, true)
		},
	}
}
