package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/nfp"
)

func newISA() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "isa",
		Short: "print the micro-engine's instruction forms",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), nfp.Forms())
			}
			_, err := io.WriteString(cmd.OutOrStdout(), nfp.Manual())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
