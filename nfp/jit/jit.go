// Package jit compiles verified eBPF to micro-engine code.
//
// Compile is a pipeline of four steps. Package bpf/lift translates the program to ir.
// The passes of package ir improve it in the order that passes.go gives, with the
// reason of each constraint; one of them, legalize, reduces it to 32-bit values.
// Selection (select*.go) replaces ir by machine instructions over virtual registers.
// Package nfp/jit/mach allocates registers, schedules and lays out the image.
//
// What a firmware offers and forbids is a firmware.Profile. A program that the firmware
// cannot run is *Unsupported, with every reason; a fault of the compiler is *Bug.
package jit

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// Options for Compile; the zero value is the default.
type Options struct {
	// Use is the use of map words by other programs that share the maps. Compile
	// uses the words in the same way. See lift.Agree.
	Use []lift.MapUse
	// Model is the card whose costs of words and memories the passes use; nil is
	// nfp.DefaultModel.
	Model *nfp.Model
	// Counts has the number of times that each instruction ran, if that was
	// measured.
	Counts Counts
	// Off names passes to leave out, for bisection.
	Off []string
	// Dump is called with each pass's name and the text after it.
	Dump func(pass, text string)
	// DumpIR leaves machine code out of the dumps.
	DumpIR bool
	// Check runs the checkers between passes (tests).
	Check bool
	// small leaves out the passes that may add words.
	small bool
}

// Unsupported is the error of a program that is good but that the firmware cannot run:
// found when it is lifted, or later.
type Unsupported = lift.Unsupported

// Bug is a fault of the compiler: a pass failed on a verified program.
type Bug struct {
	Pass string
	Msg  string
	Code string // text of the function at that point
}

func (b *Bug) Error() string { return fmt.Sprintf("compiler bug in pass %s: %s", b.Pass, b.Msg) }

// Compile translates a verified program for a firmware profile. It is pure,
// deterministic and safe to call from several goroutines. Errors are *Unsupported and
// *Bug. The image
//
//   - starts at word 0, ends with eight nops and fits the profile's code store;
//   - uses only the registers, signals and local memory that are a program's
//     (docs/firmware-contract.md section 1);
//   - has a symbol for each function that is called and each routine, a line for
//     each word, and the use of each map word, opt.Use taken into account.
//
// If the code does not fit, the program is compiled again for size.
func Compile(f *verify.Facts, p *firmware.Profile, opt *Options) (im *nfp.Image, err error) {
	if opt == nil {
		opt = &Options{}
	}
	im, err = compile(f, p, opt)
	if !tooLarge(err) {
		return im, err
	}
	small := *opt
	small.small = true
	return compile(f, p, &small)
}

// tooLarge reports whether a refusal is for size alone.
func tooLarge(err error) bool {
	var u *Unsupported
	return errors.As(err, &u) && len(u.Reasons) > 0 && !slices.ContainsFunc(u.Reasons, func(r verify.Reason) bool {
		return r.Reason != "code-size" && r.Reason != "stack-size"
	})
}

func compile(f *verify.Facts, p *firmware.Profile, opt *Options) (im *nfp.Image, err error) {
	stage := &stage{name: "lift"}
	defer func() {
		if r := recover(); r != nil {
			im, err = nil, stage.bug(fmt.Sprint(r)+traceOf(debug.Stack()))
		}
	}()
	early := limits(f, p)
	m, err := lift.Lift(f, target(p), opt.Use)
	if err != nil || early != nil {
		return nil, both(early, stage.wrap(err))
	}
	foldHead(m, p)
	stage.name = "passes"
	stage.mod = m
	if m, err = runPasses(m, opt); err != nil {
		return nil, stage.wrap(err)
	}
	stage.mod = m
	env := newBackend(f, m, p, opt)
	if im, err = env.compile(m, stage); err != nil {
		return nil, stage.wrap(err)
	}
	im.Lines = lines(f.Code, env.pcs)
	im.Maps = imageUse(lift.UsesWith(f, opt.Use))
	return im, nil
}

// both combines the refusals of early and late. If one of them is another
// error, it returns that.
func both(early, late error) error {
	var e, l *Unsupported
	switch {
	case !errors.As(early, &e):
		return late
	case late == nil:
		return early
	case !errors.As(late, &l):
		return late
	}
	reasons := append(slices.Clone(e.Reasons), l.Reasons...)
	slices.SortStableFunc(reasons, func(x, y verify.Reason) int { return x.PC - y.PC })
	return &Unsupported{Program: e.Program, Reasons: reasons}
}

// stage is the current step of Compile, for the report of a bug.
type stage struct {
	name string
	mod  *ir.Module
	fn   *mach.Func
}

func (s *stage) bug(msg string) *Bug {
	b := &Bug{Pass: s.name, Msg: msg}
	switch {
	case s.fn != nil:
		b.Code = s.fn.String()
	case s.mod != nil:
		b.Code = s.mod.String()
	}
	return b
}

// wrap wraps an unexpected error in *Bug.
func (s *stage) wrap(err error) error {
	if err == nil {
		return nil
	}
	var u *Unsupported
	var b *Bug
	if errors.As(err, &u) || errors.As(err, &b) {
		return err
	}
	return s.bug(err.Error())
}

// traceOf returns the part of a stack trace with the compiler's functions below
// the panic.
func traceOf(stack []byte) string {
	var out []string
	for _, line := range strings.Split(string(stack), "\n") {
		for _, part := range []string{"nfp/jit/", "bpf/lift/"} {
			if i := strings.Index(line, part); i >= 0 && strings.Contains(line, ".go:") {
				out = append(out, strings.Fields(line[i:])[0])
			}
		}
	}
	if len(out) > 1 {
		out = out[1:] // Compile's own deferred function
	}
	return " at " + strings.Join(out[:min(len(out), 6)], ", ")
}
