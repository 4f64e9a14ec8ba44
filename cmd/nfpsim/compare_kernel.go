package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// compilers loads one program as the driver's code and as ours.
func (o *compareOptions) compilers(cmd *cobra.Command, arg string, p *firmware.Profile) (both [2]rival, err error) {
	obj, _, err := o.open(cmd, arg)
	if err != nil {
		return both, err
	}
	spec, err := obj.Program("")
	if err != nil {
		return both, err
	}
	f, err := verified(obj, spec.Name, nil)
	if err != nil {
		return both, err
	}
	if o.listing == "" {
		all, err := translations(cmd, o.kernel, p, []*verify.Facts{f})
		if err != nil {
			return both, err
		}
		return bothCompilers(f, p, &all[0])
	}
	theirs, err := o.listed(cmd, f, p)
	if err != nil {
		return both, err
	}
	return withOurs(f, p, theirs)
}

// translations returns the code that the driver of a release of Linux generates, from a
// guest or from the cache.
func translations(cmd *cobra.Command, release string, p *firmware.Profile, list []*verify.Facts) ([]uml.Translation, error) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	var codes []*code.Code
	for _, f := range list {
		codes = append(codes, f.Code)
	}
	all, err := uml.Captured(ctx, release, p, codes, func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), "nfpsim:", line) })
	if errors.Is(err, uml.ErrUnavailable) {
		return nil, fmt.Errorf("%w (a captured listing can be given with --listing)", err)
	}
	return all, err
}

// bothCompilers loads a program as compiled by the driver, which may have refused it,
// and by us.
func bothCompilers(f *verify.Facts, p *firmware.Profile, t *uml.Translation) (both [2]rival, err error) {
	if t.Words == nil {
		return both, &driverRefusal{t.Refused}
	}
	nic, err := linux.NewCard(p, nil, f, t.Tables)
	if err != nil {
		return both, err
	}
	prog, err := linux.Load(nic, "linux", t.Words, f.Code.Type)
	if err != nil {
		return both, err
	}
	return withOurs(f, p, &simEngine{nic: nic, prog: prog})
}

// driverRefusal is the driver's reason for refusing a program.
type driverRefusal struct{ why string }

func (e *driverRefusal) Error() string { return "the driver refuses the program: " + e.why }

func withOurs(f *verify.Facts, p *firmware.Profile, theirs *simEngine) (both [2]rival, err error) {
	ours, err := loadAll([]*verify.Facts{f}, p)
	if err != nil {
		return both, err
	}
	both[0] = rival{"linux", theirs.prog.Words, theirs, f.Code.Type}
	both[1] = rival{"nfpkit", ours.prog.Words, ours, f.Code.Type}
	return both, nil
}

// listed takes the driver's code from a listing. Its maps have the table ids 1, 2
// and so on, in the order in which the program first names them.
func (o *compareOptions) listed(cmd *cobra.Command, f *verify.Facts, p *firmware.Profile) (*simEngine, error) {
	src, err := readText(o.listing, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	im, err := nfp.Assemble(src)
	if err != nil {
		return nil, prefix(o.listing, err)
	}
	var tables []uint32
	for _, spec := range f.Code.Maps {
		if spec.Type != ebpf.PerfEventArray { // the host keeps those
			tables = append(tables, uint32(len(tables)+1))
		}
	}
	nic, err := linux.NewCard(p, nil, f, tables)
	if err != nil {
		return nil, err
	}
	prog, err := nic.Load(im, f.Code.Type)
	return &simEngine{nic: nic, prog: prog}, err
}
