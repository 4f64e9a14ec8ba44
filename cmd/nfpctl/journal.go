package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/nfpkit/nfpkit/offload"
)

func newJournal(e *env) *cobra.Command {
	return group("journal", "check, rebuild and export the journal", newJournalCheck(e), newJournalRebuild(e), newJournalExport(e))
}

func newJournalCheck(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "check the journal", Args: cobra.NoArgs,
		Long: `Reads the journal and its copy, checks each byte and each object against its
digest, and compares with what the kernel has pinned. Changes nothing, and needs no
writable file system. Exit status 1 if the journal is not to be used.`,
		Example: `  nfpctl journal check`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := e.manager(cmd)
			if err != nil {
				return err
			}
			r, err := m.CheckJournal()
			if e.json {
				if writeErr := writeJSON(cmd.OutOrStdout(), r); writeErr != nil {
					return writeErr
				}
				return err
			}
			w := cmd.OutOrStdout()
			printJournal(w, "journal "+r.Path, r.Journal)
			printJournal(w, "copy", r.Copy)
			for _, d := range r.Differs {
				fmt.Fprintf(w, "kernel: %s\n", d)
			}
			return err
		},
	}
}

func printJournal(w io.Writer, what string, s offload.JournalState) {
	if s.State != "whole" {
		fmt.Fprintf(w, "%s: %s\n", what, s.State)
		return
	}
	names := strings.Join(s.Deployments, ", ")
	if names == "" {
		names = "none"
	}
	fmt.Fprintf(w, "%s: whole, version %d, write %d of %s, deployments: %s\n", what, s.Version, s.Sequence, s.Written, names)
}

func newJournalRebuild(e *env) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "rebuild", Short: "rebuild a damaged journal", Args: cobra.NoArgs,
		Long: `Rebuilds a damaged journal from its copy and from what the kernel has pinned and
attached, and prints the source of each deployment. No attachment changes; an
operation that was under way is finished or rolled back by the next command. The
damaged file stays beside the new one. A journal that is whole is left alone.`,
		Example: `  nfpctl journal rebuild --dry-run
  nfpctl journal rebuild`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := e.manager(cmd)
			if err != nil {
				return err
			}
			r, err := m.RebuildJournal(cmd.Context(), dry)
			if err != nil {
				return err
			}
			if e.json {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			printRebuilt(cmd.OutOrStdout(), r, dry)
			return nil
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print the result")
	return cmd
}

func printRebuilt(w io.Writer, r *offload.Rebuilt, dry bool) {
	if r.Whole {
		fmt.Fprintf(w, "%s: nothing to rebuild\n", r.Why)
		return
	}
	fmt.Fprintf(w, "why: %s\n", r.Why)
	if r.Copy.State == "whole" {
		fmt.Fprintf(w, "copy: whole, write %d of %s\n", r.Copy.Sequence, r.Copy.Written)
	} else {
		fmt.Fprintf(w, "copy: %s\n", r.Copy.State)
	}
	from := map[string]string{"copy": "from the copy", "kernel": "from the kernel", "both": "from the copy and the kernel"}
	for _, d := range r.Deployments {
		var ports []string
		for _, p := range d.Ports {
			ports = append(ports, p.String())
		}
		fmt.Fprintf(w, "%s: %s: generation %d, program %d, %s on %s\n", d.Name, from[d.From], d.Generation, d.Program, d.Mode, strings.Join(ports, ", "))
		if d.Note != "" {
			fmt.Fprintf(w, "  note: %s\n", d.Note)
		}
		if !d.Object {
			fmt.Fprintf(w, "  note: its object is lost; give it again before the next reboot: nfpctl prog reload FILE %s\n", d.Name)
		}
	}
	for _, l := range r.Left {
		fmt.Fprintf(w, "left alone: %s\n", l)
	}
	verb := "rebuilt"
	if dry {
		verb = "would be rebuilt"
	}
	fmt.Fprintf(w, "%s: %s", verb, counted(len(r.Deployments), "deployment"))
	if r.Kept != "" {
		fmt.Fprintf(w, "; the damaged file is %s", r.Kept)
	}
	fmt.Fprintln(w)
}

func newJournalExport(e *env) *cobra.Command {
	var useCopy bool
	cmd := &cobra.Command{
		Use: "export DIR", Short: "write the desired state as files for apply", Args: exactly("DIR"),
		Long: `Writes DIR/state.yaml and the objects that it names, NAME.o or NAME.bpf, for
nfpctl apply -f DIR/state.yaml on this machine or another. With --copy, the copy
beside the journal is exported. Exit status 1 if the object of a deployment is not
known: the rest is exported.`,
		Example: `  nfpctl journal export saved
  nfpctl apply -f saved/state.yaml --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := e.journal
			if useCopy {
				path += ".last"
			}
			s, err := offload.ReadJournal(path)
			if err != nil {
				return err
			}
			if s.Version == 0 {
				return &offload.Error{Op: "export journal", Object: path, Reason: "journal", Msg: "there is none"}
			}
			return e.export(cmd, s, args[0])
		},
	}
	cmd.Flags().BoolVar(&useCopy, "copy", false, "export the journal's copy")
	return cmd
}

// exportEntry is a deployment in an exported file; stateEntry reads it.
type exportEntry struct {
	Name    string   `yaml:"name" json:"name"`
	Object  string   `yaml:"object" json:"object"`
	Program string   `yaml:"program,omitempty" json:"program,omitempty"`
	Mode    string   `yaml:"mode" json:"mode"`
	Ports   []string `yaml:"ports,flow" json:"ports"`
	Type    string   `yaml:"type,omitempty" json:"type,omitempty"`
	Set     []string `yaml:"set,omitempty" json:"set,omitempty"`
	Entries []string `yaml:"entries,omitempty" json:"entries,omitempty"`
}

func (e *env) export(cmd *cobra.Command, s *offload.Snapshot, dir string) error {
	fail := func(err error) error {
		return &offload.Error{Op: "export journal", Object: dir, Reason: "journal", Msg: oneLine(err), Err: err}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	var out struct {
		Deployments []exportEntry `yaml:"deployments" json:"deployments"`
		Missing     []string      `yaml:"-" json:"missing"`
	}
	out.Deployments, out.Missing = []exportEntry{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(s.Records)) {
		d := s.Records[name].Want
		if d == nil {
			continue // it is being unloaded
		}
		if len(d.Object) == 0 {
			out.Missing = append(out.Missing, name)
			continue
		}
		x := exportEntry{Name: name, Object: name + ".bpf", Program: d.Program, Mode: string(d.Mode), Type: d.Settings.Type, Set: d.Settings.Set, Entries: d.Settings.Entries}
		if bytes.HasPrefix(d.Object, []byte("\x7fELF")) {
			x.Object = name + ".o"
		}
		for _, p := range d.Ports {
			x.Ports = append(x.Ports, p.String())
		}
		if err := os.WriteFile(filepath.Join(dir, x.Object), d.Object, 0o600); err != nil {
			return fail(err)
		}
		out.Deployments = append(out.Deployments, x)
	}
	text, err := yaml.Marshal(&out)
	if err != nil {
		return fail(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.yaml"), text, 0o600); err != nil {
		return fail(err)
	}
	if e.json {
		if err := writeJSON(cmd.OutOrStdout(), &out); err != nil {
			return err
		}
	} else {
		for _, x := range out.Deployments {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", x.Name, filepath.Join(dir, x.Object))
		}
		fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(dir, "state.yaml"))
	}
	if len(out.Missing) > 0 {
		return fail(fmt.Errorf("the objects of %s are not known: the journal was rebuilt without them", strings.Join(out.Missing, ", ")))
	}
	return nil
}
