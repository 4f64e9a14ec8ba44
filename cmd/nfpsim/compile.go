package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// compileResult is compile's JSON.
type compileResult struct {
	Program string          `json:"program"`
	Words   int             `json:"words"`
	Stack   int             `json:"stack"` // bytes
	Maps    []string        `json:"maps"`
	Symbols []compileSymbol `json:"symbols"`
}

// compileSymbol names a word.
type compileSymbol struct {
	Name string `json:"name"`
	Addr int    `json:"addr"`
}

func newCompile() *cobra.Command {
	var t target
	var from reading
	var out, dump string
	var off []string
	var listing, asJSON bool
	cmd := &cobra.Command{
		Use:   "compile PROG",
		Short: "compile a program to NFP microcode",
		Long: `Compiles a program for a firmware, and prints how many control-store words and
bytes of stack it takes. -o writes an image that run, bench and dis read; --listing
prints the code; --dump prints the program between passes (docs/compiler.md has
their names).` + ebpfHelp,
		Example: `  nfpsim compile firewall.o -o firewall.nfp
  nfpsim compile firewall.o --listing
  nfpsim compile ttl.bpf --dump lift`,
		Args: exactly("PROG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := t.profile()
			if err != nil {
				return err
			}
			obj, _, err := from.open(cmd, args[0])
			if err != nil {
				return err
			}
			stdout := cmd.OutOrStdout()
			for i, name := range off {
				if now := jit.CurrentName(name); now != name {
					fmt.Fprintf(cmd.ErrOrStderr(), "nfpsim: note: --off %s: the pass is called %s now; the old name goes with the next release\n", name, now)
					off[i], name = now, now
				}
				if !slices.Contains(jit.Optional(), name) {
					return usagef("--off: no pass %q that can be left out; there are: %s", name, strings.Join(jit.Optional(), ", "))
				}
			}
			opt := &jit.Options{Off: off}
			d := &dumper{want: dump, w: stdout}
			if dump != "" {
				opt.Dump = d.pass
			}
			ran, err := readCounts(cmd, t.counts)
			if err != nil {
				return err
			}
			im, err := compiled(obj, "", p, ran, opt)
			if err != nil {
				return explainRefusal(cmd.ErrOrStderr(), args[0], err)
			}
			if dump != "" && !d.found {
				return usagef("--dump: no pass %q; there are: all, %s", dump, strings.Join(d.names, ", "))
			}
			if out != "" {
				if err := writeFile(out, stdout, im.Write); err != nil {
					return err
				}
			}
			switch {
			case asJSON:
				return writeJSON(stdout, summarize(im))
			case listing:
				_, err = io.WriteString(stdout, nfp.Listing(im))
			case out == "" && dump == "":
				_, err = fmt.Fprintf(stdout, "%s: %d words of %d, %d bytes of stack of %d, %s\n",
					im.Name, len(im.Words), p.MaxLen, im.Stack, p.Stack, counted(len(im.Maps), "map"))
			}
			return err
		},
	}
	t.flags(cmd)
	from.flags(cmd)
	t.countsFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "write the image to `FILE`")
	f.BoolVar(&listing, "listing", false, "print C line, eBPF and microcode interleaved")
	f.StringVar(&dump, "dump", "", "print the program after `PASS`, or after each with \"all\"")
	f.StringSliceVar(&off, "off", nil, "leave out `PASS`, or several with commas (for bisection)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// dumper prints the program after the selected passes, and records the names of all
// passes.
type dumper struct {
	want  string
	w     io.Writer
	found bool
	names []string // in order, each once
}

func (d *dumper) pass(name, text string) {
	if !slices.Contains(d.names, name) {
		d.names = append(d.names, name)
	}
	if d.want == "all" || d.want == name {
		d.found = true
		fmt.Fprintf(d.w, "after %s:\n%s\n", name, strings.TrimRight(text, "\n"))
	}
}

func summarize(im *nfp.Image) compileResult {
	r := compileResult{Program: im.Name, Words: len(im.Words), Stack: im.Stack, Maps: []string{}, Symbols: []compileSymbol{}}
	for _, m := range im.Maps {
		r.Maps = append(r.Maps, m.Name)
	}
	for _, s := range im.Symbols {
		r.Symbols = append(r.Symbols, compileSymbol(s))
	}
	return r
}

// explainRefusal prints every reason of a refusal; other errors pass through.
func explainRefusal(w io.Writer, place string, err error) error {
	reasons := reasonsOf(err)
	if len(reasons) < 2 {
		var bug *jit.Bug
		if errors.As(err, &bug) {
			return fmt.Errorf("%s: %w; please report it with the program", place, err)
		}
		err = prefix(place, err)
		if len(reasons) == 1 && reasons[0].Hint != "" {
			err = fmt.Errorf("%w; cure: %s", err, reasons[0].Hint)
		}
		return err
	}
	printReasons(w, place, reasons)
	return errNo
}
