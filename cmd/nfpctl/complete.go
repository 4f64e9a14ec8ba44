package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/offload"
)

// completes adds completion to a command. positional describes its first arguments,
// one word each (file, deployment, mode, what, or empty), and keywords lists the
// keywords that may follow. Lists that cannot be read give no completions.
func (e *env) completes(cmd *cobra.Command, positional []string, keywords ...string) *cobra.Command {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if n := len(args); n < len(positional) {
			if positional[n] == "file" {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return e.candidates(positional[n]), cobra.ShellCompDirectiveNoFileComp
		}
		if len(args) > len(positional) || len(positional) == 0 && len(args) > 0 {
			last := args[len(args)-1]
			if last == "pinned" {
				return nil, cobra.ShellCompDirectiveDefault
			}
			if slices.Contains(keywords, last) {
				return e.candidates(last), cobra.ShellCompDirectiveNoFileComp
			}
		}
		return keywords, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// candidates returns the possible words at a position or after a keyword.
func (e *env) candidates(what string) []string {
	var all []string
	switch what {
	case "mode":
		for _, m := range offload.Modes() {
			all = append(all, string(m))
		}
	case "dump":
		all = []string{"xlated", "jited"}
	case "type":
		for t := ebpf.Hash; t < ebpf.MapType(64); t++ {
			if name := offload.MapTypeName(t); !strings.HasPrefix(name, "type_") {
				all = append(all, name)
			}
		}
	case "deployment", "name":
		records, err := e.records()
		if err != nil {
			return nil
		}
		for name, r := range records {
			all = append(all, name)
			if what == "name" && r.Current != nil {
				for _, m := range r.Current.Maps {
					all = append(all, name+"/"+m.Name)
				}
			}
		}
		slices.Sort(all)
	case "dev":
		k, err := e.kernel()
		if err != nil {
			return nil
		}
		ports, err := k.Ports("")
		if err != nil {
			return nil
		}
		for i := range ports {
			if ofCard(&ports[i]) {
				all = append(all, ports[i].Name)
			}
		}
	}
	return all
}

// newMan returns the command that writes the manual pages, for packagers.
func newMan(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "write manual pages into a directory", Args: exactly("DIR"), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Section: "8", Source: "nfpkit", Manual: "nfpkit"}, args[0])
		},
	}
}
