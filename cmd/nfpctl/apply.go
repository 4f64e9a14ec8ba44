package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
)

const applyHelp = `Brings about what a file says should run, and prints what was done for each
deployment; done twice, the second does nothing. Programs that were removed, or lost
in a reboot or with their card, are put back; ones that others replaced only with
--repair. Deployments that are not in the file stay, unless --prune is given.

  deployments:
    - name: edge
      object: firewall.o        # beside the file; firewall.o:PROGRAM, or program:
      mode: xdpoffload          # the default
      ports: [nfp0, nfp1]       # or NETNS/PORT
      fresh: [blocked]          # maps that start empty if their shape changed
      migrate: []               # or keep what fits
      type: xdp                 # of its programs, whatever their sections are called
      set: ["limits.high=8"]    # values of global variables, NAME=VALUE
      entries: [blocked=65536]  # sizes of maps, MAP=N
      window: 10s               # on trial; with max_drop, max_aborted as shares`

func newApply(e *env) *cobra.Command {
	var opt offload.ApplyOptions
	var file string
	flags := changeFlags{}
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "load, reload and unload programs as a file describes", Long: applyHelp, Args: cobra.NoArgs,
		Example: `  nfpctl apply -f state.yaml --dry-run
  nfpctl apply -f state.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("-f FILE is missing")
			}
			m, err := e.manager(cmd)
			if err != nil {
				return err
			}
			s, err := readState(cmd, file)
			if err != nil {
				return err
			}
			want, changes, err := s.deployments(cmd, m.Kernel(), filepath.Dir(file))
			if err != nil {
				return err
			}
			for _, d := range want {
				if _, err := flags.preflight(cmd, m.Kernel(), d); err != nil {
					return err
				}
			}
			opt.Change = func(name string) *offload.Change { return changes[name] }
			steps, err := m.Apply(cmd.Context(), want, &opt)
			if e.json {
				if steps == nil {
					steps = []offload.Step{}
				}
				return errors.Join(writeJSON(cmd.OutOrStdout(), steps), failed(steps, err))
			}
			printSteps(cmd.OutOrStdout(), steps, opt.DryRun)
			return failed(steps, err)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "YAML `FILE`, \"-\" for standard input")
	f.BoolVar(&opt.DryRun, "dry-run", false, "only print the steps")
	f.BoolVar(&opt.Prune, "prune", false, "unload deployments that are not in the file")
	f.BoolVar(&opt.Repair, "repair", false, "restore programs that others replaced")
	f.BoolVar(&flags.check, "check", true, "check first whether the card will take the programs; --check=false skips that")
	f.StringVar(&flags.firmware, "firmware", "stock", "`PROFILE` of the card's firmware that check assumes")
	return cmd
}

// failed returns an error for steps that cannot be done.
func failed(steps []offload.Step, err error) error {
	for _, s := range steps {
		if err == nil && s.Error != "" {
			return errNo
		}
	}
	return err
}

// fateWords describes the fates of a map for which one word is not enough.
var fateWords = map[string]string{"lost": "contents lost, starts empty"}

func printSteps(w io.Writer, steps []offload.Step, dry bool) {
	for _, s := range steps {
		do := s.Do
		if dry && do != "nothing" {
			do = "would " + do
		}
		fmt.Fprintf(w, "%s: %s: %s", s.Deployment, do, s.Why)
		for _, m := range s.Maps {
			fmt.Fprintf(w, "; map %s: %s", m.Map, cmp.Or(fateWords[m.Fate], m.Fate))
		}
		fmt.Fprintln(w)
		for _, d := range s.Drift {
			fmt.Fprintf(w, "  drift: %v\n", d)
		}
		if s.Error != "" {
			fmt.Fprintf(w, "  error: %s\n", s.Error)
		}
	}
}

// readState reads the file. Unknown members are errors.
func readState(cmd *cobra.Command, file string) (*state, error) {
	bad := func(err error) (*state, error) {
		object := file
		var in *lineError
		if errors.As(err, &in) {
			object, err = fmt.Sprintf("%s:%d", file, in.line), errors.New(in.msg)
		}
		return nil, &offload.Error{Op: "read", Object: object, Reason: "bad-state", Msg: oneLine(err)}
	}
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return bad(err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxState+1))
	if err != nil {
		return bad(err)
	}
	s, err := parseState(data)
	if err != nil {
		return bad(err)
	}
	return s, nil
}

// deployments reads the objects, and returns the change of each deployment.
func (s *state) deployments(cmd *cobra.Command, k offload.Kernel, dir string) ([]*offload.Deployment, map[string]*offload.Change, error) {
	var all []*offload.Deployment
	changes := map[string]*offload.Change{}
	for _, e := range s.Deployments {
		d := &offload.Deployment{Name: e.Name, Program: e.Program, Mode: e.Mode, Ports: e.Ports, Settings: e.Settings}
		path := e.Object
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		src, err := readSource(cmd, path)
		if err != nil {
			return nil, nil, err
		}
		d.Object, d.Source = src.data, src.path
		if src.program != "" {
			d.Program = src.program
		}
		flags := changeFlags{migrate: e.Migrate, fresh: e.Fresh, window: e.Window, maxDrop: e.MaxDrop, maxAbort: e.MaxAborted}
		if changes[e.Name], err = flags.change(k, d.Ports); err != nil {
			return nil, nil, &offload.Error{Op: "apply", Object: e.Name, Reason: "bad-state", Msg: fmt.Sprintf("line %d: %v", e.Line, err)}
		}
		all = append(all, d)
	}
	return all, changes, nil
}
