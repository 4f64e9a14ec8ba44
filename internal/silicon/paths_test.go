package silicon

import (
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// TestPaths reads the table that comes with nfpkit, and assembles every path.
func TestPaths(t *testing.T) {
	paths, err := Paths()
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 304 {
		t.Errorf("%d paths, want 304", len(paths))
	}
	for i := range paths {
		im, err := paths[i].Image()
		if err != nil {
			t.Fatalf("path %s: %v", paths[i].ID, err)
		}
		if len(im.Words) > 2560 {
			t.Errorf("path %s: %d words do not fit the firmware's area", paths[i].ID, len(im.Words))
		}
	}
}

// TestSweeps parses the segments of the micro-benchmarks.
func TestSweeps(t *testing.T) {
	for _, s := range Sweeps() {
		list, err := ParseSegments(s.Segments)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if err := (&Path{Segments: list}).check(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

// TestRefusedTables checks that a bad table gives one line that names the place.
func TestRefusedTables(t *testing.T) {
	const head = "id,packet_bytes,segments\n"
	for _, c := range []struct{ table, want string }{
		{"", "line 1: no column names"},
		{"id,segments\n", "line 1: no column packet_bytes"},
		{head, "line 2: no paths"},
		{head + "1,60\n", "line 2: wrong number of fields"},
		{head + "1,60,9.0.0.1:end0\n1,60,9.0.0.1:end0\n", "line 3: id 1 occurs twice"},
		{head + ",60,9.0.0.1:end0\n", "line 2: id is empty"},
		{head + "1,13,9.0.0.1:end0\n", `line 2: packet_bytes is "13"`},
		{head + "1,x,9.0.0.1:end0\n", `line 2: packet_bytes is "x"`},
		{head + "1,60,\n", "line 2: segments: none"},
		{head + "1,60,9.0.0.1:end\n", `line 2: segments: "9.0.0.1:end" is not WORDS`},
		{head + "1,60,9.0.0.0:end0\n", "no unconditional branch"},
		{head + "1,60,9.0.0.0:cr1\n", "end must be the last"},
		{head + "1,60,9.0.0.1:end0 9.0.0.1:end0\n", "end must be the last"},
		{head + "1,60,9.0.0.0:cr9 9.0.0.1:end0\n", "length of cr is 9, must be 1 to 8"},
		{head + "1,60,9.0.0.0:dma1 9.0.0.1:end0\n", `kind "dma" is unknown`},
		{head + "1,60,3x(9.0.0.0:cr1 9.0.0.1:end0\n", "no closing parenthesis"},
		{head + "1,60,99999999x(9.0.0.0:cr1) 9.0.0.1:end0\n", "must be 1 to 10000"},
		{head + "1,60,1.0.0.1:end0\n", "no instruction is left"},
	} {
		_, err := ReadPaths(strings.NewReader(c.table))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", c.table, err, c.want)
		}
	}
}

// TestCost checks the cost of segments by the rules of nfp.Timing.
func TestCost(t *testing.T) {
	timing := &nfp.Timing{Branch: 3, Settled: 2, Swap: 2}
	list, err := ParseSegments("2x(20.1.2.1:cr1) 9.0.0.0:add1 12.0.0.2:end0")
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for i := range list {
		got = append(got, list[i].Idle(timing))
	}
	for i, want := range []int{12, 12, 0, 6} {
		if got[i] != want {
			t.Errorf("segment %d: %d idle cycles, want %d", i+1, got[i], want)
		}
	}
}
