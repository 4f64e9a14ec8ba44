package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/internal/jsonfile"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// counts is the number of times that each instruction of each program ran, by pc. run
// --counts writes it to a file and --profile reads it:
//
//	{"packets": 38, "programs": {"firewall": {"0": 38, "1": 38, "12": 7}}}
//
// Keys are pcs, as bpftool counts them; instructions that never ran are left out.
type counts struct {
	Packets  int                   `json:"packets"`
	Programs map[string]jit.Counts `json:"programs"`
}

// note counts one instruction.
func (c *counts) note(of *code.Code, index int) {
	p := c.Programs[of.Name]
	if p == nil {
		p = jit.Counts{}
		c.Programs[of.Name] = p
	}
	p[of.Insns[index].PC]++
}

// readCounts reads a file of counts; no name is none.
func readCounts(cmd *cobra.Command, file string) (*counts, error) {
	if file == "" {
		return &counts{}, nil
	}
	text, err := readText(file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	c := &counts{}
	if err := jsonfile.Decode([]byte(text), c); err != nil {
		return nil, fmt.Errorf("%s:%w; a file of counts is what run --counts writes", file, err)
	}
	if len(c.Programs) == 0 {
		return nil, fmt.Errorf("%s: no counts in it", file)
	}
	return c, nil
}

// of returns the counts of a program. It fails if the program was not counted, or has
// no instruction where one was counted: then it is not the program that ran.
func (c *counts) of(f *verify.Facts) (jit.Counts, error) {
	name := f.Code.Name
	if len(c.Programs) == 0 {
		return nil, nil
	}
	found, ok := c.Programs[name]
	if !ok {
		return nil, fmt.Errorf("profile: no counts of program %s; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(c.Programs)), ", "))
	}
	for pc := range found {
		if f.Code.Index(pc) == code.None {
			return nil, fmt.Errorf("profile: counts of an instruction at pc %d, which program %s does not have: it is of another version", pc, name)
		}
	}
	return found, nil
}

func (c *counts) write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(c)
}
