package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
)

// explanation is one row of the table of reasons.
type explanation struct {
	Reason      string `json:"reason"`
	Family      string `json:"family"`
	Explanation string `json:"explanation"`
	Hint        string `json:"hint"`
}

// explanations joins the verifier's and compiler's reasons with the Linux
// driver's rules, sorted.
func explanations() []explanation {
	var all []explanation
	for _, r := range verify.Reasons() {
		all = append(all, explanation{r.Word, r.Family, r.Explanation, r.Hint})
	}
	for _, r := range linux.Rules() {
		all = append(all, explanation{r.Reason, "Linux driver", sentence(r.Why), r.Hint})
	}
	for _, f := range append(linux.Faults(), linux.CardFaults()...) {
		all = append(all, explanation{f.Reason, verify.FamilyWarning, f.Why, f.Hint})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Reason < all[j].Reason })
	return all
}

// sentence is a reason's why as the other families have it.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

func newExplain() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [REASON | LINE]",
		Short: "say what a reason, or a line of the driver's, means and what usually cures it",
		Long: `Explains a reason, or a line that the kernel's verifier or its nfp driver printed:
of the verifier's log, of what tc, ip or bpftool answered, or of the kernel's log.
Quote the line. Without an argument it lists all reasons.`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var words []string
			for _, e := range explanations() {
				words = append(words, e.Reason)
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := explanations()
			if len(args) > 0 {
				var err error
				if chosen, err = pickReason(chosen, strings.Join(args, " ")); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), chosen)
			}
			for _, e := range chosen {
				if len(args) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%-24s %s\n", e.Reason, e.Explanation)
				} else {
					fmt.Fprintf(cmd.OutOrStdout(), "%s (%s)\n  %s\n  cure: %s\n", e.Reason, e.Family, e.Explanation, e.Hint)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// pickReason returns the reasons that a word names, or that a line which the kernel
// said stands for.
func pickReason(all []explanation, word string) ([]explanation, error) {
	if i := slices.IndexFunc(all, func(e explanation) bool { return e.Reason == word }); i >= 0 {
		return all[i : i+1], nil
	}
	var near, meant []string
	for line := range strings.Lines(word) {
		meant = append(meant, linux.Meaning(strings.TrimSpace(line))...)
	}
	if said := slices.DeleteFunc(slices.Clone(all), func(e explanation) bool { return !slices.Contains(meant, e.Reason) }); len(said) > 0 {
		return said, nil
	}
	for _, e := range all {
		if strings.Contains(e.Reason, word) {
			near = append(near, e.Reason)
		}
	}
	if len(near) > 0 {
		return nil, fmt.Errorf("explain: no reason %q; did you mean %s?", word, strings.Join(near, ", "))
	}
	return nil, fmt.Errorf("explain: no reason %.80q, nor a line that the driver is known to say; nfpsim explain lists the reasons", word)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
