package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
)

func newStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show deployments, their drift, and unused objects",
		Long: `Shows each deployment with its ports, maps and drift, and objects on a card that
nothing uses. Exit status 1 if anything drifted, or could neither be
finished nor rolled back.`,
		Args: cobra.NoArgs,
		Example: `  nfpctl status
  nfpctl status --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := e.manager(cmd)
			if err != nil {
				return err
			}
			s, err := m.Status(cmd.Context())
			if err != nil {
				return err
			}
			if e.json {
				err = writeJSON(cmd.OutOrStdout(), s)
			} else {
				printStatus(cmd.OutOrStdout(), s)
			}
			for _, d := range s.Deployments {
				if err == nil && (len(d.Drift) > 0 || d.Error != "") {
					err = errNo
				}
			}
			return err
		},
	}
}

// bringBack returns the command that restores a deployment whose program no longer
// exists.
func bringBack(d *offload.DeploymentStatus) string {
	if !slices.ContainsFunc(d.Drift, offload.Drift.Lost) {
		return ""
	}
	if d.Source == "" || d.Source == "-" || strings.ContainsAny(d.Source, " \t\n'\"\\") {
		return "nfpctl journal export DIR && nfpctl apply -f DIR/state.yaml"
	}
	text := "nfpctl prog load " + d.Source
	if d.Program != "" {
		text += ":" + d.Program
	}
	text += " " + d.Name
	for _, p := range d.Ports {
		text += " dev " + p.Port.String()
	}
	if d.Mode != offload.XDPOffload {
		text += " mode " + string(d.Mode)
	}
	return text + flagsOf(d.Settings)
}

func printStatus(w io.Writer, s *offload.Status) {
	for _, d := range s.Deployments {
		if d.Generation == 0 {
			fmt.Fprintf(w, "%s:\n", d.Name)
		} else {
			fmt.Fprintf(w, "%s: %s, mode %s, program %d, tag %s, generation %d, loaded %s\n", d.Name, cmp.Or(d.Source, "object unknown"), d.Mode, d.ID, d.Tag, d.Generation, cmp.Or(d.Loaded, "at an unknown time"))
		}
		if !d.Settings.IsZero() {
			fmt.Fprintf(w, "  settings:%s\n", flagsOf(d.Settings))
		}
		if d.UnderWay != "" {
			fmt.Fprintf(w, "  under way: %s\n", d.UnderWay)
		}
		for _, p := range d.Ports {
			fmt.Fprintf(w, "  port %s:", p.Port)
			for _, a := range p.Attached {
				fmt.Fprintf(w, " %s %d", a.Mode, a.Program)
			}
			if len(p.Attached) == 0 {
				fmt.Fprint(w, " nothing")
			}
			if p.Error != "" {
				fmt.Fprintf(w, " (%s)", p.Error)
			}
			fmt.Fprintln(w)
		}
		gone := slices.ContainsFunc(d.Drift, func(x offload.Drift) bool { return x.Lost() || x.Kind == "device-gone" })
		for _, m := range d.Maps {
			id, lost := fmt.Sprintf("id %d", m.ID), ""
			switch {
			case gone: // another map may have its id by now
				id = "gone"
			case m.Lost:
				lost = ", started empty: what it held before was lost"
			}
			fmt.Fprintf(w, "  map %s: %s, %v%s\n", m.Name, id, m.Shape, lost)
		}
		for _, x := range d.Drift {
			fmt.Fprintf(w, "  drift: %v\n", x)
		}
		if c := bringBack(&d); c != "" {
			fmt.Fprintf(w, "  cure: %s\n", c)
		}
		if d.Error != "" {
			fmt.Fprintf(w, "  error: %s\n", d.Error)
		}
	}
	for _, o := range s.Orphans {
		fmt.Fprintf(w, "orphan: %s %d %s: %s\n", o.Kind, o.ID, o.Name, o.Why)
	}
}
