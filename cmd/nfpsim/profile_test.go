package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// TestProfile checks that a profile names words, instructions, functions and, if the
// object has them, C lines, and that its values are those of bench.
func TestProfile(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"profile", "../../examples/firewall.o", "--packets", "4000", "-o", "-"}, nil, &out, &errs); code != exitDone {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	p, err := profile.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	total := map[string]int64{}
	frames := map[string]bool{}
	for _, s := range p.Sample {
		for i, v := range s.Value {
			total[p.SampleType[i].Type] += v
		}
		for _, l := range s.Location[0].Line {
			word, _, _ := strings.Cut(l.Function.Name, " ")
			frames[word] = true
		}
		if n := len(s.Location[0].Line); n < 2 {
			t.Errorf("%s: %d frames", s.Location[0].Line[0].Function.Name, n)
		}
	}
	if !frames["word"] || !frames["pc"] || !frames["firewall"] {
		t.Errorf("frames %v", frames)
	}
	if total["words"] == 0 || total["cycles"] < total["words"] || total["stall"] < total["stall-ctm"] || total["stall-ctm"] == 0 || total["stall-helper"] == 0 {
		t.Errorf("values %v", total)
	}
}
