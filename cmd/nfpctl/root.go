package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/internal/explain"
	"github.com/nfpkit/nfpkit/internal/flagerror"
	"github.com/nfpkit/nfpkit/offload"
)

// Exit codes: success; no (refused, failed, drifted); usage.
const (
	exitDone = iota
	exitNo
	exitUsage
)

// errNo ends a command with exit code 1 after everything has been printed.
var errNo = errors.New("no")

// usageError is an error of the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// opener opens the kernel on which a command works. pins is the directory of pins, or
// empty for the default.
type opener func(pins string) (offload.Kernel, error)

// run runs the command line. Data goes to stdout, everything else to stderr.
func run(kernel opener, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return runContext(ctx, kernel, args, stdin, stdout, stderr)
}

// runContext is like run, and ends long-running commands when ctx ends.
func runContext(ctx context.Context, kernel opener, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{open: kernel}
	root := newRoot(e)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "nfpctl: %v\n", err)
		return exitUsage
	}
	printError(stderr, err, e.verbose)
	return exitNo
}

// printError prints each of the joined errors as one line, or in full if verbose is
// set.
func printError(w io.Writer, err error, verbose bool) {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range all.Unwrap() {
			printError(w, err, verbose)
		}
		return
	}
	if verbose {
		fmt.Fprintf(w, "nfpctl: %+v\n", err)
	} else {
		fmt.Fprintf(w, "nfpctl: %s\n", oneLine(err))
	}
}

const long = `nfpctl loads eBPF programs onto Agilio cards, replaces them while traffic runs,
and takes them off. What should run is kept in a journal, so that an operation
that was interrupted is finished or rolled back by the next one.

An OBJ argument is an ELF object (file.o) or eBPF text (file.bpf); file.o:name
picks one program of several. "-" is standard input. A PORT is an interface, or
NETNS/INTERFACE.`

// env holds the root's flags, which all commands share, and the state derived from
// them.
type env struct {
	open    opener
	journal string
	pins    string
	json    bool
	verbose bool
	types   string // flag of the map commands
	known   map[string]*offload.Record
	wait    time.Duration
}

// kernel opens the kernel on which the command works.
func (e *env) kernel() (offload.Kernel, error) { return e.open(e.pins) }

// manager returns a manager of that kernel, which prints its steps with -v.
func (e *env) manager(cmd *cobra.Command) (*offload.Manager, error) { return e.managerThat(cmd, nil) }

// managerThat is like manager, and calls took with the duration of each change.
func (e *env) managerThat(cmd *cobra.Command, took func(op string, d time.Duration)) (*offload.Manager, error) {
	k, err := e.kernel()
	if err != nil {
		return nil, err
	}
	opt := offload.Options{Journal: e.journal, Patience: e.wait, Open: openObject, Took: took}
	if e.verbose {
		opt.Log = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), "nfpctl:", line) }
	}
	return offload.New(k, opt), nil
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "nfpctl",
		Short:         "run eBPF programs on Agilio cards",
		Long:          long,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; nfpctl help lists them", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagerror.Of(err)} })
	f := root.PersistentFlags()
	f.StringVar(&e.journal, "journal", "/var/lib/nfpkit/journal.db", "`FILE` of the deployments")
	f.StringVar(&e.pins, "pins", "/sys/fs/bpf/nfpkit", "`DIR` of the bpf file system for pins")
	f.BoolVarP(&e.json, "json", "j", false, "print JSON")
	f.BoolVarP(&e.verbose, "verbose", "v", false, "print each step, and errors with logs and remedies")
	f.DurationVar(&e.wait, "wait", 10*time.Second, "wait for another nfpctl for `TIME`, such as 10s or 1m")
	root.AddCommand(newDoctor(e), newProg(e), newNet(e), newMap(e), newFeature(e), newStatus(e), newApply(e), newWatch(e), newJournal(e), explain.Command("nfpctl", &e.json), newMan(root))
	return root
}

// writeJSON prints v, indented.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
