package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
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

// A profile of a damaged capture says which packets it is not of.
func TestProfileOfDamagedCapture(t *testing.T) {
	whole, err := os.ReadFile("../../examples/mixed.pcap")
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(cut, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	for capture, want := range map[string]*regexp.Regexp{
		"../../examples/mixed.pcap": regexp.MustCompile(`^[^\n]*, firmware stock, 1600 packets, seed 1$`),
		cut:                         regexp.MustCompile(`^[^\n]*, firmware stock, 1600 packets, seed 1\n37 packets run, 1 left out: 1 damaged; the rest of the capture was not read: packet 38: [^\n]+$`),
	} {
		var out, errs bytes.Buffer
		if code := run([]string{"profile", "../../examples/firewall.o", "--pcap", capture, "--packets", "1000", "-o", "-"}, nil, &out, &errs); (code == exitDone) == (capture == cut) {
			t.Fatalf("exit %d: %s", code, &errs)
		}
		p, err := profile.Parse(&out)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(p.Comments, "\n"); !want.MatchString(text) {
			t.Errorf("%s: comments %q, want %s", capture, text, want)
		}
	}
}
