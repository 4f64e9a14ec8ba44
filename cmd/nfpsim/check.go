package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// checkResult is one element of check's JSON.
type checkResult struct {
	Program string          `json:"program"`
	Linux   string          `json:"linux"` // the release whose rules kernel_driver goes by
	Kernel  judgement       `json:"kernel_driver"`
	Ours    judgement       `json:"nfpkit"`
	Budget  map[string]use  `json:"budget"`
	Warns   []verify.Reason `json:"warnings"`
	Error   string          `json:"error,omitempty"` // why the program cannot be read; then there is nothing to check
	unread  error           // of the file as a whole
}

// judgement is one compiler's answer.
type judgement struct {
	Verdict string          `json:"verdict"` // accept, reject, or attach-only
	Reasons []verify.Reason `json:"reasons"`
}

func judge(reasons []verify.Reason) judgement {
	if len(reasons) == 0 {
		return judgement{"accept", []verify.Reason{}}
	}
	if linux.NeverRuns(reasons) {
		return judgement{attachOnly, reasons}
	}
	return judgement{"reject", reasons}
}

// attachOnly is the verdict on a program that the kernel attaches and no packet runs.
const attachOnly = "attach-only"

func newCheck() *cobra.Command {
	var t target
	var from reading
	var asJSON bool
	var who string
	var at checkTarget
	cmd := &cobra.Command{
		Use:   "check PROG",
		Short: "say whether a program will run on a card and, if not, why",
		Long: `Checks each program of PROG against the verifier, against what the Linux nfp
driver accepts, and against nfpkit's compiler for a firmware, and names every
reason with its place and cure. The Linux driver's verdict is attach-only for a
program that the kernel attaches and no packet runs. Exit status 1 unless the
compiler asked for with --for accepts all. --card says how much memory there is
for maps, --mtu what the driver compares with the packet bytes that a program
may reach.` + ebpfHelp,
		Example: `  nfpsim check firewall.o
  nfpsim check counters.o --kernel 6.1 --json`,
		Args: exactly("PROG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if who != "kernel" && who != "nfpkit" {
				return usagef("--for is kernel or nfpkit, not %q", who)
			}
			if err := at.load(&t); err != nil {
				return err
			}
			if at.note != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "nfpsim: check: %s\n", at.note)
			}
			results := checkAll(cmd, &from, args[0], &at)
			if len(results) == 1 && results[0].unread != nil && !asJSON {
				return results[0].unread
			}
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), results); err != nil {
					return err
				}
			} else if err := printChecks(cmd.OutOrStdout(), results); err != nil {
				return err
			}
			countUnread(cmd.ErrOrStderr(), results)
			for _, r := range results {
				if r.Error != "" || who == "kernel" && r.Kernel.Verdict != "accept" || who == "nfpkit" && r.Ours.Verdict != "accept" {
					return errNo
				}
			}
			return nil
		},
	}
	t.flags(cmd)
	from.flags(cmd)
	cardFlag(cmd, &at.card)
	cmd.Flags().IntVar(&at.mtu, "mtu", 1500, "mtu of the port, `BYTES`: the driver attaches no program that may reach past what the firmware keeps near")
	cmd.Flags().StringVar(&at.release, "kernel", linux.DefaultKernel, "`RELEASE` of Linux whose verifier and driver are meant, as 6.1 or 6.18.3")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&who, "for", "kernel", "`WHO` decides the exit status: kernel (the Linux driver) or nfpkit")
	return cmd
}

// checkTarget is the target for which programs are checked.
type checkTarget struct {
	card    string
	mtu     int
	release string
	note    string // if the rules are another release's
	kernel  linux.Kernel
	model   *nfp.Model
	profile *firmware.Profile
}

// The range of an interface's mtu: the minimum of IPv4, and the maximum of 16 bits.
const leastMTU, mostMTU = 68, 65535

func (c *checkTarget) load(t *target) (err error) {
	if c.mtu < leastMTU || c.mtu > mostMTU {
		return usagef("--mtu is %d, must be %d to %d", c.mtu, leastMTU, mostMTU)
	}
	if c.kernel, c.note, err = linux.KernelFor(c.release); err != nil {
		return usagef("--kernel: %w", err)
	}
	if c.model, err = nfp.ModelByName(c.card); err != nil {
		return usageError{err}
	}
	c.profile, err = t.profile()
	return err
}

// checkAll checks each program that arg selects. If the object cannot be read, there is
// one result, with the error.
func checkAll(cmd *cobra.Command, from *reading, arg string, at *checkTarget) []checkResult {
	obj, names, err := from.open(cmd, arg)
	if err != nil {
		r := newResult(arg, at)
		r.unread = prefix(arg, err)
		r.Error = r.unread.Error()
		return []checkResult{r}
	}
	var results []checkResult
	for _, name := range names {
		results = append(results, checkOne(obj, name, at))
	}
	return results
}

// countUnread prints how many of several programs cannot be read.
func countUnread(w io.Writer, results []checkResult) {
	n := 0
	for _, r := range results {
		if r.Error != "" {
			n++
		}
	}
	if n > 0 && len(results) > 1 {
		fmt.Fprintf(w, "nfpsim: %d of %d programs cannot be read\n", n, len(results))
	}
}

// unread reports whether the reasons are for the object, not for its program.
func unread(reasons []verify.Reason) bool {
	d, _ := verify.Explain(reasons[0].Reason)
	return d.Family == verify.FamilyObject
}

// newResult returns a result to be filled in: both compilers refuse, without reasons.
func newResult(program string, at *checkTarget) checkResult {
	no := judgement{Verdict: "reject", Reasons: []verify.Reason{}}
	return checkResult{Program: program, Linux: at.kernel.Release, Kernel: no, Ours: no, Budget: map[string]use{}, Warns: []verify.Reason{}}
}

func checkOne(obj *object.Object, name string, at *checkTarget) checkResult {
	r, p := newResult(name, at), at.profile
	c, err := obj.Code(name)
	if err != nil {
		reasons := reasonsOf(err)
		if reasons == nil || unread(reasons) {
			r.Error = err.Error()
		}
		if reasons != nil {
			r.Kernel, r.Ours = judge(reasons), judge(reasons)
		}
		return r
	}
	facts, refused := verify.Survey(c, nil)
	if facts == nil {
		r.Kernel, r.Ours = judge(refused.Reasons), judge(refused.Reasons)
		return r
	}
	view := linux.NewView(facts, &at.kernel)
	r.Budget = budget(facts, view, at)
	memory := memoryReasons(name, at, r.Budget["map_bytes"])
	r.Kernel = judge(append(view.Check(p, at.mtu), memory...))
	r.Warns = append(r.Warns, slices.Concat(facts.Warnings, view.Warnings(p), linux.WarnCard(facts, p))...)
	slices.SortStableFunc(r.Warns, func(x, y verify.Reason) int { return x.PC - y.PC })
	if refused != nil {
		r.Ours = judge(refused.Reasons)
		return r
	}
	im, err := jit.Compile(facts, p, &jit.Options{Model: at.model})
	if im != nil {
		r.Budget["words"], r.Budget["stack"] = left(int64(len(im.Words)), int64(p.MaxLen)), left(int64(im.Stack), int64(p.Stack))
	}
	err = withMaps(err, []*verify.Facts{facts}, p)
	reasons := reasonsOf(err)
	if err != nil && reasons == nil {
		r.Error = err.Error()
		return r
	}
	r.Ours = judge(append(reasons, memory...))
	return r
}

// memoryReasons returns the reasons why the card cannot take the maps, with any
// compiler.
func memoryReasons(name string, at *checkTarget, need use) []verify.Reason {
	if need.Used <= need.Max {
		return nil
	}
	msg := fmt.Sprintf("the maps take %d bytes, card %s has %d", need.Used, at.model.Name, need.Max)
	return verify.NewRejection(name, []code.Fault{{Reason: "map-address", Msg: msg}}).Reasons
}

func printChecks(w io.Writer, results []checkResult) error {
	for _, r := range results {
		if r.Error != "" {
			fmt.Fprintf(w, "%s: cannot be checked: %s\n", r.Program, r.Error)
			if reasons := r.Ours.Reasons; len(reasons) > 0 && reasons[0].Hint != "" {
				fmt.Fprintf(w, "    cure: %s\n", reasons[0].Hint)
			}
			continue
		}
		verdict := r.Kernel.Verdict
		if verdict == attachOnly {
			verdict += " (the kernel attaches it, no packet runs it)"
		}
		fmt.Fprintf(w, "%s: Linux driver: %s, nfpkit: %s\n", r.Program, verdict, r.Ours.Verdict)
		printReasons(w, "Linux driver", r.Kernel.Reasons)
		printReasons(w, "nfpkit", r.Ours.Reasons)
		printReasons(w, "warning", r.Warns)
		fmt.Fprintf(w, "  %-16s %s\n", "linux", r.Linux)
		for _, what := range budgetOrder {
			if u, ok := r.Budget[what]; ok {
				fmt.Fprintf(w, "  %-16s %s\n", what, u)
			}
		}
	}
	return nil
}

// Of one reason a program often has hundreds of places: the first ones are printed.
const placesPrinted = 8

// printReasons prints each reason with its places, and its cure after the first of them.
func printReasons(w io.Writer, who string, reasons []verify.Reason) {
	places, cured := map[string]int{}, map[string]bool{}
	for _, r := range reasons {
		if places[r.Reason]++; places[r.Reason] > placesPrinted {
			continue
		}
		fmt.Fprintf(w, "  %s: ", who)
		if r.File != "" {
			fmt.Fprintf(w, "%s:%d: ", r.File, r.Line)
		}
		fmt.Fprintf(w, "pc %d: ", r.PC)
		if r.Insn != "" {
			fmt.Fprintf(w, "%s: ", r.Insn)
		}
		fmt.Fprintf(w, "%s (%s)\n", r.Message, r.Reason)
		if r.Hint != "" && !cured[r.Hint] {
			cured[r.Hint] = true
			fmt.Fprintf(w, "    cure: %s\n", r.Hint)
		}
	}
	for _, r := range reasons {
		if n := places[r.Reason]; n > placesPrinted {
			fmt.Fprintf(w, "  %s: %s of %s; --json lists all\n", who, counted(n-placesPrinted, "more place"), r.Reason)
			delete(places, r.Reason)
		}
	}
}
