package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// isMicrocode reports whether a PROG argument holds micro-engine code, as text
// or as an image, and so needs no compiler.
func isMicrocode(arg string) bool {
	switch filepath.Ext(arg) {
	case ".s", ".nfp":
		return true
	}
	return false
}

// elfMagic begins every ELF object.
const elfMagic = "\x7fELF"

// microcode reads micro-engine text, a listing or an image.
func microcode(arg string, stdin io.Reader) (*nfp.Image, error) {
	if filepath.Ext(arg) == ".nfp" {
		return readImage(arg, stdin)
	}
	src, err := readText(arg, stdin)
	if err != nil {
		return nil, err
	}
	im, err := assemble(arg, src)
	if err != nil {
		return nil, err
	}
	im.Name = strings.TrimSuffix(filepath.Base(arg), ".s")
	return im, nil
}

// assemble assembles the micro-engine text of a file.
func assemble(arg, src string) (*nfp.Image, error) {
	if strings.HasPrefix(src, elfMagic) {
		return nil, fmt.Errorf("%s: is an ELF object, and a .s file holds micro-engine text: rename it to .o", arg)
	}
	im, err := nfp.Assemble(src)
	return im, prefix(arg, err)
}

// open reads a PROG argument that holds eBPF. It returns the names of the programs that
// the argument selects: the named one, or all.
func (r *reading) open(cmd *cobra.Command, arg string) (*object.Object, []string, error) {
	if isMicrocode(arg) {
		return nil, nil, fmt.Errorf("%s: is microcode already; eBPF is wanted (an object, or text in a .bpf file)", arg)
	}
	opt, err := r.options(cmd)
	if err != nil {
		return nil, nil, err
	}
	obj, err := object.Load(arg, opt)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range obj.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "nfpsim: note:", n)
	}
	switch {
	case obj.Selected != "":
		return obj, []string{obj.Selected}, nil
	case len(obj.Programs) == 0:
		return nil, nil, fmt.Errorf("%s: no programs in it", obj.Path)
	}
	return obj, obj.Programs, nil
}

// verified resolves and verifies one program.
func verified(obj *object.Object, name string, opt *verify.Options) (*verify.Facts, error) {
	c, err := obj.Code(name)
	if err != nil {
		return nil, err
	}
	return verify.Verify(c, opt)
}

// compiled takes one program through the verifier and the compiler.
func compiled(obj *object.Object, name string, p *firmware.Profile, ran *counts, opt *jit.Options) (*nfp.Image, error) {
	facts, err := verified(obj, name, nil)
	if err != nil {
		return nil, err
	}
	if opt.Counts, err = ran.of(facts); err != nil {
		return nil, err
	}
	im, err := jit.Compile(facts, p, opt)
	return im, withMaps(err, []*verify.Facts{facts}, p)
}

// withMaps adds to err, the compiler's error for the first program, the reasons for which
// the firmware refuses the maps of all programs together.
func withMaps(err error, programs []*verify.Facts, p *firmware.Profile) error {
	refused := &jit.Unsupported{Program: programs[0].Code.Name}
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	all := slices.Clone(refused.Reasons)
	for _, r := range driver.CheckMaps(programs, p) {
		told := func(q verify.Reason) bool { return q.PC == r.PC && strings.HasPrefix(q.Reason, "map-") }
		if !slices.ContainsFunc(refused.Reasons, told) {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return err
	}
	slices.SortStableFunc(all, func(x, y verify.Reason) int { return x.PC - y.PC })
	return &jit.Unsupported{Program: refused.Program, Reasons: all}
}

// reasonsOf returns the reasons of a refusal, or nil if err is not one.
func reasonsOf(err error) []verify.Reason {
	var rejection *verify.Rejection
	var unsupported *jit.Unsupported
	var faults *object.FaultError
	var broken *object.Error
	switch {
	case errors.As(err, &rejection):
		return rejection.Reasons
	case errors.As(err, &unsupported):
		return unsupported.Reasons
	case errors.As(err, &broken):
		return []verify.Reason{{Reason: broken.Reason, Message: broken.Error()}}
	case errors.As(err, &faults):
		return verify.NewRejection("", faults.Faults).Reasons
	}
	return nil
}

// reading is how the eBPF of a PROG argument is read.
type reading struct {
	progType     string
	set, entries []string
}

func (r *reading) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.progType, "type", "", "`TYPE` of the programs, whatever their sections are called: xdp, tc or action")
	cmd.Flags().StringArrayVar(&r.set, "set", nil, "give a global variable, or NAME.member or NAME[2] of it, a value, as `NAME=VALUE` (repeatable)")
	cmd.Flags().StringArrayVar(&r.entries, "entries", nil, "give a map so many entries, as `MAP=N` (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(progTypes, cobra.ShellCompDirectiveNoFileComp))
}

// progTypes are the words that --type takes.
var progTypes = []string{"xdp", "tc", "action"}

func (r *reading) options(cmd *cobra.Command) (*object.Options, error) {
	opt := &object.Options{Set: r.set, Entries: r.entries, Stdin: cmd.InOrStdin()}
	if r.progType != "" {
		if !slices.Contains(progTypes, r.progType) {
			return nil, usagef("--type is xdp, tc or action, not %q", r.progType)
		}
		opt.Type, _ = asmtext.ProgramType(r.progType)
	}
	return opt, nil
}

// target is the firmware for which a command compiles, and the file with the counts of
// executed instructions.
type target struct{ firmware, counts string }

func (t *target) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.firmware, "firmware", "stock",
		"`PROFILE` of the firmware: "+strings.Join(firmware.Names(), ", ")+", or a .json file")
	_ = cmd.RegisterFlagCompletionFunc("firmware", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return firmware.Names(), cobra.ShellCompDirectiveDefault
	})
}

// countsFlag adds the flag that takes measured frequencies.
func (t *target) countsFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.counts, "profile", "", "lay code out for what ran most: `FILE` that run --counts wrote")
}

func (t *target) profile() (*firmware.Profile, error) { return firmware.Load(t.firmware) }
