package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/internal/difftest"
)

func newDiff() *cobra.Command {
	var cfg difftest.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "run random programs on every engine and compare",
		Long: `Makes random verified programs and runs each on the reference interpreter, on
the compiler's intermediate form after every pass, on the simulated card, and,
with --kernel and where bpf(2) is permitted, on the running kernel. The first
program on which they differ is shrunk and printed. Exit status 1 if any differ.`,
		Example: `  nfpsim diff -n 50 --seed 7`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.N < 1 {
				return usagef("--number is at least 1, not %d", cfg.N)
			}
			bar := newProgress(cmd.ErrOrStderr(), "diff", cfg.N)
			cfg.Progress = bar.at
			sum, err := difftest.Run(cmd.Context(), cfg)
			bar.done()
			if err != nil {
				return err
			}
			if asJSON {
				if sum.Differences == nil {
					sum.Differences = []*difftest.Difference{} // [] in JSON
				}
				err = writeJSON(cmd.OutOrStdout(), sum)
			} else {
				_, err = fmt.Fprint(cmd.OutOrStdout(), sum)
			}
			if err == nil && len(sum.Differences) > 0 {
				err = errNo
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVarP(&cfg.N, "number", "n", 1000, "make `N` programs")
	f.Uint64Var(&cfg.Seed, "seed", 1, "`SEED` of the programs: the same seed makes the same ones")
	f.BoolVar(&cfg.Kernel, "kernel", false, "compare with the running kernel too (needs bpf(2))")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
