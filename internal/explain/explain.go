// Package explain explains the words with which nfpkit refuses, warns and fails, for
// nfpsim and nfpctl alike. The words come from three tables: the verifier's and
// compiler's reasons (bpf/verify), the Linux driver's rules and faults (driver/linux), and the
// manager's reasons (offload). A few words stand in two tables, with one meaning for a
// program in a file and another for one on its way to a card; both are explained.
package explain

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/offload"
)

// A Row explains one word.
type Row struct {
	Reason      string `json:"reason"`
	Family      string `json:"family"` // who refuses; the manager's name the broken link
	Explanation string `json:"explanation"`
	Hint        string `json:"hint"`
}

// Programs returns the reasons that concern a program by itself, sorted: each word once.
func Programs() []Row {
	var all []Row
	for _, r := range verify.Reasons() {
		all = append(all, Row{r.Word, r.Family, r.Explanation, r.Hint})
	}
	for _, r := range linux.Rules() {
		all = append(all, Row{r.Reason, "Linux driver", Sentence(r.Why), r.Hint})
	}
	for _, f := range append(linux.Faults(), linux.CardFaults()...) {
		all = append(all, Row{f.Reason, verify.FamilyWarning, f.Why, f.Hint})
	}
	return sorted(all)
}

// All returns the reasons of programs and those of the manager, sorted.
func All() []Row {
	all := Programs()
	for _, r := range offload.Reasons() {
		all = append(all, Row{r.Word, "manager: " + string(r.Link), Sentence(r.Why), r.Hint})
	}
	return sorted(all)
}

func sorted(all []Row) []Row {
	slices.SortStableFunc(all, func(a, b Row) int { return strings.Compare(a.Reason, b.Reason) })
	return all
}

// Sentence returns a rule's why as a sentence.
func Sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// Find returns the rows of a word, or those that a line of the kernel's stands for.
func Find(all []Row, word string) ([]Row, error) {
	if rows := named(all, word); len(rows) > 0 {
		return rows, nil
	}
	var meant []string
	for line := range strings.Lines(word) {
		meant = append(meant, linux.Meaning(strings.TrimSpace(line))...)
	}
	if rows := named(all, meant...); len(rows) > 0 {
		return rows, nil
	}
	var near []string
	for _, r := range all {
		if strings.Contains(r.Reason, word) {
			near = append(near, r.Reason)
		}
	}
	if len(near) > 0 {
		return nil, fmt.Errorf("explain: no reason %q; did you mean %s?", word, strings.Join(slices.Compact(near), ", "))
	}
	return nil, fmt.Errorf("explain: no reason %.80q, nor a line that the driver is known to say; without an argument, explain lists the reasons", word)
}

func named(all []Row, words ...string) []Row {
	return slices.DeleteFunc(slices.Clone(all), func(r Row) bool { return !slices.Contains(words, r.Reason) })
}

// Command returns the command explain of a program. asJSON is the flag of the root that
// asks for JSON, or nil if the command has its own.
func Command(program string, asJSON *bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [REASON | LINE]",
		Short: "explain the reason of an error, or a line that the kernel printed, and its cure",
		Long: `Explains REASON: the word in parentheses at the end of an error or a warning of
nfpsim or nfpctl. Explains LINE, too, that the kernel's verifier or its nfp driver
printed: of the verifier's log, of what tc, ip or bpftool answered, or of the kernel's
log. Quote the line. Without an argument it lists all reasons.`,
		Example: `  ` + program + ` explain packet-bounds
  ` + program + ` explain 'invalid access to packet, off=34 size=4, R2(id=0,off=34,r=0)'`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var words []string
			for _, r := range All() {
				words = append(words, r.Reason)
			}
			return slices.Compact(words), cobra.ShellCompDirectiveNoFileComp
		},
	}
	if asJSON == nil {
		asJSON = cmd.Flags().Bool("json", false, "print JSON")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		rows := All()
		if len(args) > 0 {
			var err error
			if rows, err = Find(rows, strings.Join(args, " ")); err != nil {
				return err
			}
		}
		w := cmd.OutOrStdout()
		if *asJSON {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			return enc.Encode(rows)
		}
		for _, r := range rows {
			if len(args) == 0 {
				fmt.Fprintf(w, "%-24s %s\n", r.Reason, r.Explanation)
			} else {
				fmt.Fprintf(w, "%s (%s)\n  %s\n  cure: %s\n", r.Reason, r.Family, r.Explanation, r.Hint)
			}
		}
		return nil
	}
	return cmd
}
