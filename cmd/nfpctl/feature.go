package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
)

func newFeature(e *env) *cobra.Command {
	return group("feature", "find out what a card takes", e.completes(newFeatureProbe(e), nil, "dev"))
}

func newFeatureProbe(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "probe dev PORT", Short: "probe the features and limits of a port's card",
		Long: `Tries program types, map types, helpers, instructions and sizes on the card of a
port, with programs that are attached nowhere and maps that are freed at once. What
was accepted is true; limits are lower bounds, each with its source. Meanwhile, for
some hundredths of a second, most of the card's free room for maps is taken.`,
		Example: `  nfpctl feature probe dev nfp0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var at where
			if err := at.parse(args); err != nil {
				return err
			}
			if len(at.ports) != 1 || at.mode != "" {
				return usagef("feature probe wants one dev PORT")
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			p, err := findPort(k, at.ports[0])
			if err == nil {
				err = offloads(k, p)
			}
			if err != nil {
				return err
			}
			f, err := offload.Probe(cmd.Context(), k, p)
			if err != nil {
				return err
			}
			if e.json {
				return writeJSON(cmd.OutOrStdout(), featureJSON(f))
			}
			printFeatures(cmd.OutOrStdout(), f)
			return nil
		},
	}
}

// featuresJSON has bpftool's names, and our own for features that bpftool does not
// probe.
type featuresJSON struct {
	Port         offload.Ref         `json:"port"`
	ProgramTypes map[string]bool     `json:"program_types"`
	MapTypes     map[string]bool     `json:"map_types"`
	Helpers      map[string][]string `json:"helpers"`
	Instructions map[string]bool     `json:"instructions"`
	Limits       []offload.Limit     `json:"limits"`
	Refusals     []offload.Feature   `json:"refusals"`
}

func featureJSON(f *offload.Features) featuresJSON {
	const xdp = "xdp_available_helpers"
	out := featuresJSON{Port: f.Port, ProgramTypes: map[string]bool{}, MapTypes: map[string]bool{}, Helpers: map[string][]string{xdp: {}},
		Instructions: map[string]bool{}, Limits: f.Limits, Refusals: []offload.Feature{}}
	for _, x := range f.Features {
		switch x.Kind {
		case "program_type":
			out.ProgramTypes["have_"+x.Name+"_prog_type"] = x.Have
		case "map_type":
			out.MapTypes["have_"+x.Name+"_map_type"] = x.Have
		case "helper":
			if x.Have {
				out.Helpers[xdp] = append(out.Helpers[xdp], x.Name)
			}
		default:
			out.Instructions[x.Name] = x.Have
		}
		if !x.Have {
			out.Refusals = append(out.Refusals, x)
		}
	}
	return out
}

func printFeatures(w io.Writer, f *offload.Features) {
	titles := []struct{ kind, title, line string }{
		{"program_type", "Scanning eBPF program types...", "eBPF program_type %s is %savailable\n"},
		{"map_type", "Scanning eBPF map types...", "eBPF map_type %s is %savailable\n"},
		{"helper", "Scanning eBPF helper functions...", "eBPF helper %s is %savailable for program type xdp\n"},
		{"instruction", "Scanning instructions...", "%s is %savailable\n"},
	}
	for _, t := range titles {
		fmt.Fprintln(w, t.title)
		for _, x := range f.Features {
			if x.Kind == t.kind {
				fmt.Fprintf(w, t.line, x.Name, map[bool]string{true: "", false: "NOT "}[x.Have])
			}
		}
		fmt.Fprintln(w)
	}
	printLimits(w, f)
}
