package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/offload"
)

// bringAbout loads or reloads a deployment, after the requested pre-flight checks.
func (e *env) bringAbout(cmd *cobra.Command, d *offload.Deployment, flags *changeFlags, do func(*offload.Manager, context.Context, *offload.Deployment, *offload.Change) error) error {
	m, err := e.manager(cmd)
	if err != nil {
		return err
	}
	change, err := flags.change(m.Kernel(), d.Ports)
	if err != nil {
		return err
	}
	for _, ref := range d.Ports {
		p, err := findPort(m.Kernel(), ref)
		if err == nil && (d.Mode.Offloaded() || d.Mode == "") {
			err = offloads(m.Kernel(), p)
		}
		if err != nil {
			return err
		}
	}
	speed, err := flags.preflight(cmd, m.Kernel(), d)
	if err != nil {
		return err
	}
	if err := do(m, cmd.Context(), d, change); err != nil {
		return err
	}
	if speed != "" { // not before: the first line of a refusal is its reason
		fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: bench: %s\n", speed)
	}
	return e.printLoaded(cmd, d.Name)
}

// offloads returns the reason why no program can run in a port's hardware, before any
// error of a program or a map. The simulated card's ports always can.
func offloads(k offload.Kernel, p *offload.Port) error {
	if on, ok := k.(interface{ Offloads(*offload.Port) error }); ok {
		return on.Offloads(p)
	}
	return nil
}

// printLoaded prints the state after a load.
func (e *env) printLoaded(cmd *cobra.Command, name string) error {
	m, err := e.manager(cmd)
	if err != nil {
		return err
	}
	s, err := m.Status(cmd.Context())
	if err != nil {
		return err
	}
	for _, d := range s.Deployments {
		if d.Name != name {
			continue
		}
		if e.json {
			return writeJSON(cmd.OutOrStdout(), d)
		}
		var ports []string
		for _, p := range d.Ports {
			ports = append(ports, p.Port.String())
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: program %d, generation %d, %s on %s\n", name, d.ID, d.Generation, d.Mode, strings.Join(ports, ", "))
		for _, m := range d.Maps {
			if m.Lost {
				fmt.Fprintf(cmd.OutOrStdout(), "  map %s: started empty: what it held before was lost\n", m.Name)
			}
		}
		for _, x := range d.Drift { // drift that appeared a moment ago
			fmt.Fprintf(cmd.OutOrStdout(), "  drift: %v\n", x)
			err = errNo
		}
	}
	return err
}

// safely reads an untrusted object as openObject does, and converts a panic to an
// error.
func safely(data []byte, settings offload.Settings) (coll *ebpf.CollectionSpec, err error) {
	defer func() {
		if p := recover(); p != nil {
			coll, err = nil, fmt.Errorf("its reader failed: %.200v", p)
		}
	}()
	return openObject(data, settings)
}

// preflight checks, before it changes anything, whether the card's driver will take
// the program at the ports' MTU, and how fast it will be. It does not check programs
// for the host: the kernel does.
func (c *changeFlags) preflight(cmd *cobra.Command, k offload.Kernel, d *offload.Deployment) (speed string, err error) {
	if !d.Mode.Offloaded() || !c.check && !c.bench {
		return "", nil
	}
	profile, err := firmware.Load(c.firmware)
	if err != nil {
		return "", usagef("--firmware: %w", err)
	}
	facts, err := factsOf(d)
	if err != nil && !c.check {
		return oneLine(err), nil // the card decides
	}
	if err == nil && c.check {
		kernel := runningRules()
		err = refusal(d, "driver-rejected", linux.NewView(facts, &kernel).Check(profile, largestMTU(k, d.Ports)))
	}
	if err == nil && c.bench {
		return c.runBench(d, facts, profile)
	}
	var refused *offload.Error
	if errors.As(err, &refused) && len(refused.Log) > 0 {
		for _, line := range refused.Log {
			fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: %s\n", line)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: checked by the rules of Linux %s; --check=false leaves the decision to the card\n", runningRules().Release)
	}
	return "", err
}

// runningRules returns the running kernel's rules or, if there are none for it, the
// default.
func runningRules() linux.Kernel {
	k, _, err := linux.KernelFor(kernelRelease())
	if err != nil {
		k, _, _ = linux.KernelFor(linux.DefaultKernel)
	}
	return k
}

// largestMTU returns the largest MTU of the ports, or 0 if none is found: loading
// reports it.
func largestMTU(k offload.Kernel, ports []offload.Ref) int {
	mtu := 0
	for _, ref := range ports {
		if p, err := findPort(k, ref); err == nil {
			mtu = max(mtu, p.MTU)
		}
	}
	return mtu
}

// factsOf verifies a deployment's program.
func factsOf(d *offload.Deployment) (f *verify.Facts, err error) {
	fail := func(reason, msg string, err error) (*verify.Facts, error) {
		return nil, &offload.Error{Op: "check", Object: d.Source, Reason: reason, Msg: msg, Err: err}
	}
	defer func() {
		if p := recover(); p != nil {
			f, err = fail("bad-object", fmt.Sprintf("its reader failed: %.200v", p), nil)
		}
	}()
	want := ebpf.XDP
	if d.Mode.TC() {
		want = ebpf.SchedCLS
	}
	opt, err := readOptions(d.Settings)
	if err != nil {
		return nil, err
	}
	opt.Hook = want
	o, err := object.Read(d.Source, d.Object, opt)
	if err != nil {
		return fail(readReason(err), reasonText(err), nil)
	}
	spec, err := o.Program(d.Program)
	if err != nil {
		return fail("no-program", reasonText(err), nil)
	}
	if spec.Type != want {
		return fail("wrong-type", fmt.Sprintf("program %s is of type %v, mode %s takes %v", spec.Name, spec.Type, d.Mode, want), nil)
	}
	c, faults := code.New(spec, o.Spec.Maps)
	if len(faults) > 0 {
		return fail("bad-object", fmt.Sprintf("pc %d: %s", faults[0].PC, faults[0].Msg), nil)
	}
	f, err = verify.Verify(c, nil)
	var rejected *verify.Rejection
	if errors.As(err, &rejected) {
		return nil, refusal(d, "rejected", rejected.Reasons)
	}
	if err != nil {
		return fail("rejected", oneLine(err), err)
	}
	return f, nil
}

// reasonText returns the text of an error of the object's reader, without the path.
func reasonText(err error) string {
	var e *object.Error
	if errors.As(err, &e) {
		return oneLine(e.Err)
	}
	return oneLine(err)
}

// refusal returns an error with all reasons, or nil if there are none.
func refusal(d *offload.Deployment, reason string, reasons []verify.Reason) error {
	if len(reasons) == 0 {
		return nil
	}
	e := &offload.Error{Op: "check", Object: d.Source, Reason: reason}
	e.Msg, e.Log = summary(reasons)
	return e
}

// summary returns the first reason, and all of them as lines.
func summary(reasons []verify.Reason) (first string, lines []string) {
	for _, r := range reasons {
		place := ""
		if r.File != "" {
			place = fmt.Sprintf("%s:%d: ", r.File, r.Line)
		}
		line := fmt.Sprintf("%spc %d: %s: %s (%s)", place, r.PC, r.Insn, r.Message, r.Reason)
		if r.Hint != "" {
			line += "; cure: " + r.Hint
		}
		lines = append(lines, line)
	}
	r := reasons[0]
	first = fmt.Sprintf("pc %d: %s: %s (%s)", r.PC, r.Insn, r.Message, r.Reason)
	if len(reasons) > 1 {
		first += fmt.Sprintf(", and %d more", len(reasons)-1)
	}
	return first, lines
}
