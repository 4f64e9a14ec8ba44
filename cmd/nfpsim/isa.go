package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/nfp"
)

// isaForm is one form in isa's JSON. Mask and value are words in hex.
type isaForm struct {
	Form     string   `json:"form"`
	Mask     string   `json:"mask"`
	Value    string   `json:"value"`
	Syntax   []string `json:"syntax"`
	Timing   string   `json:"timing"`
	Slots    int      `json:"slots"` // defer slots
	Reserved bool     `json:"reserved"`
	Meaning  string   `json:"meaning"`
}

func isaRows() []isaForm {
	var rows []isaForm
	for _, f := range nfp.Forms() {
		r := isaForm{
			Form: f.Name, Mask: fmt.Sprintf("%011x", uint64(f.Mask)), Value: fmt.Sprintf("%011x", uint64(f.Value)),
			Timing: f.Latency.String(), Slots: int(f.MaxDefer), Reserved: f.Reserved, Meaning: f.Doc,
		}
		for _, s := range f.Syntax {
			r.Syntax = append(r.Syntax, s.Text)
		}
		rows = append(rows, r)
	}
	return rows
}

func newISA() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "isa",
		Short: "print the micro-engine's instruction forms",
		Long: `Prints each form of each micro-engine instruction: its text, its bits, and what it
does. With --json, as one array.`,
		Example: `  nfpsim isa
  nfpsim isa --json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), isaRows())
			}
			_, err := io.WriteString(cmd.OutOrStdout(), nfp.Manual())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
