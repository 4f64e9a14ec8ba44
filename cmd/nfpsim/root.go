package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/internal/explain"
	"github.com/nfpkit/nfpkit/internal/flagerror"
)

// Exit codes: done; no (rejected, differs, failed); usage.
const (
	exitDone = iota
	exitNo
	exitUsage
)

// errNo ends a command with exit code 1 after everything has been printed.
var errNo = errors.New("no")

// usageError is a fault of the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole command. Data goes to stdout, talk to stderr.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "nfpsim: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "nfpsim: %v\n", err)
	return exitNo
}

const long = `nfpsim compiles verified eBPF for Netronome flow processors and runs it on a
simulated card.

A PROG argument is an ELF object (file.o), eBPF text (file.bpf), micro-engine
text or a whole listing (file.s), or an image (file.nfp); file.o:name picks one
program of several. "-" is standard input. The files of the examples are in the
directory examples.`

// What PROG is, for the help of each command that takes one.
const (
	ebpfHelp = `

PROG is an ELF object (file.o, or file.o:NAME for one program of several) or eBPF
text (file.bpf); "-" is standard input.`
	progHelp = `

PROG is an ELF object (file.o, or file.o:NAME for one program of several), eBPF
text (file.bpf), micro-engine text (file.s) or an image (file.nfp); "-" is an
object or eBPF text from standard input.`
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "nfpsim",
		Short:         "compile eBPF for Netronome NICs and run it on a simulated card",
		Long:          long,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; nfpsim help lists them", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagerror.Of(err)} })
	root.AddCommand(
		newCheck(), newCompile(), newAsm(), newDis(), newRun(), newBench(), newProfile(), newReport(), newDiff(),
		explain.Command("nfpsim", nil), newISA(), newPlugin(), newCard(), newCompare(),
	)
	return root
}

// exactly requires n arguments, named for the message.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usagef("%s takes %s, got %s", cmd.Name(), cmp.Or(strings.Join(names, " "), "no arguments"), cmp.Or(strings.Join(args, " "), "nothing"))
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
