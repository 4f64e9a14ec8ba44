// Package silicon holds what was measured on real cards, and turns a list of segments,
// which is how paths of programs were published, into microcode that costs the same.
//
// Source of all measurements: J. Krude et al., Determination of Throughput Guarantees
// for Processor-based SmartNICs, CoNEXT '21, doi 10.1145/3485983.3494842, and the data
// published with it: an Agilio CX 2x40GbE with the open CoreNIC firmware. The programs
// were not published as microcode. Nothing of the firmware's code is here; the counts of
// its instructions are in nfp/firmware.
package silicon

import (
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Path describes one path through a program: its instructions, and the cost of a packet that takes it, as
// measured. The firmware was corenic-direct on 5 workers, with
// packets back to back on both ports.
type Path struct {
	ID       string
	Of       string  // program
	Bytes    int     // of the packet, without CRC
	Cycles   float64 // measured: clock x workers / packets a second; 0 if not known
	CI       float64 // half the 98 % interval of Cycles
	Peer     float64 // cycles that the publication's own estimator gives
	Segments []Segment
}

// Segment describes the instructions from one memory command to the next, that command
// included.
type Segment struct {
	Words   int // instructions
	Late    int // of these: taken conditional branches after an instruction that sets the condition codes
	Settled int // other taken conditional branches
	Always  int // unconditional branches
	Kind    Kind
	Length  int // the command's length operand: 32-bit words of reads, bytes of writes
}

// Kind names the end of a segment.
type Kind string

const (
	ReadPacket  Kind = "cr" // waited for
	WritePacket Kind = "cw" // waited for
	ReadEMEM    Kind = "er" // waited for
	AddEMEM     Kind = "add"
	End         Kind = "end" // of the program; the exit stub follows
)

//go:embed paths.csv
var pathsCSV string

// Paths returns the measured paths that come with nfpkit.
func Paths() ([]Path, error) { return ReadPaths(strings.NewReader(pathsCSV)) }

// ReadPaths reads a table of paths: CSV with a line of column names. The columns id,
// packet_bytes and segments are required; program, cycles_mean, cycles_ci98_half and
// peer_cycles are read if present, others ignored. Errors begin with the line.
func ReadPaths(r io.Reader) ([]Path, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	names, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: no column names")
	}
	if err != nil {
		return nil, csvError(err)
	}
	t := table{column: map[string]int{}}
	for i, name := range names {
		t.column[name] = i
	}
	for _, name := range []string{"id", "packet_bytes", "segments"} {
		if _, ok := t.column[name]; !ok {
			return nil, fmt.Errorf("line 1: no column %s", name)
		}
	}
	var out []Path
	seen := map[string]bool{}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(err)
		}
		line, _ := c.FieldPos(0)
		t.row = row
		p, err := t.path()
		if err == nil && seen[p.ID] {
			err = fmt.Errorf("id %s occurs twice", p.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		seen[p.ID] = true
		out = append(out, *p)
	}
	if len(out) == 0 {
		return nil, errors.New("line 2: no paths after the column names")
	}
	return out, nil
}

// csvError writes an error of encoding/csv as the others here are written.
func csvError(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("line %d: %w", p.Line, p.Err)
	}
	return err
}

// table is a row and the columns' names.
type table struct {
	column map[string]int
	row    []string
}

func (t *table) cell(name string) string {
	if i, ok := t.column[name]; ok {
		return strings.Clone(t.row[i])
	}
	return ""
}

func (t *table) path() (*Path, error) {
	p := &Path{ID: t.cell("id"), Of: t.cell("program")}
	if p.ID == "" {
		return nil, errors.New("id is empty")
	}
	var err error
	if p.Bytes, err = strconv.Atoi(t.cell("packet_bytes")); err != nil || p.Bytes < 14 || p.Bytes > maxPacket {
		return nil, fmt.Errorf("packet_bytes is %q, must be %d to %d", t.cell("packet_bytes"), 14, maxPacket)
	}
	for _, f := range []struct {
		name string
		to   *float64
	}{{"cycles_mean", &p.Cycles}, {"cycles_ci98_half", &p.CI}, {"peer_cycles", &p.Peer}} {
		s := t.cell(f.name)
		if s == "" {
			continue
		}
		if *f.to, err = strconv.ParseFloat(s, 64); err != nil || !(*f.to >= 0 && *f.to < 1e12) {
			return nil, fmt.Errorf("%s is %q, must be a number of cycles", f.name, s)
		}
	}
	if p.Segments, err = ParseSegments(t.cell("segments")); err != nil {
		return nil, fmt.Errorf("segments: %w", err)
	}
	return p, p.check()
}

// maxPacket is the longest packet, in bytes, that a program reads whole.
const maxPacket = 1500

var segmentForm = regexp.MustCompile(`^(\d{1,5})\.(\d{1,5})\.(\d{1,5})\.(\d{1,5}):([a-z]+)(\d{1,5})$`)

// maxSegments and maxRepeat are more than a packet's time on a card allows.
const maxSegments, maxRepeat = 100_000, 10_000

// ParseSegments reads a list WORDS.LATE.SETTLED.ALWAYS:KIND+LENGTH, separated by
// spaces. 7x(a b) repeats.
func ParseSegments(text string) ([]Segment, error) {
	var out []Segment
	rest := strings.TrimSpace(text)
	for rest != "" {
		times, group := 1, ""
		if before, after, ok := strings.Cut(rest, "x("); ok && !strings.ContainsAny(before, " .:)") {
			n, err := strconv.Atoi(before)
			if err != nil || n < 1 || n > maxRepeat {
				return nil, fmt.Errorf("%q repeats %q times, must be 1 to %d", first(rest), before, maxRepeat)
			}
			group, rest, ok = strings.Cut(after, ")")
			if !ok {
				return nil, fmt.Errorf("%q has no closing parenthesis", first(before+"x("+after))
			}
			times = n
		} else {
			group, rest, _ = strings.Cut(rest, " ")
		}
		rest = strings.TrimSpace(rest)
		var list []Segment
		for _, f := range strings.Fields(group) {
			s, err := parseSegment(f)
			if err != nil {
				return nil, err
			}
			list = append(list, *s)
		}
		if len(out)+times*len(list) > maxSegments {
			return nil, fmt.Errorf("more than %d segments", maxSegments)
		}
		out = append(out, slices.Repeat(list, times)...)
	}
	return out, nil
}

// first is the beginning of a text, for an error.
func first(s string) string { return s[:min(len(s), 30)] }

func parseSegment(text string) (*Segment, error) {
	m := segmentForm.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("%q is not WORDS.LATE.SETTLED.BR:KIND+LENGTH, as 16.2.0.1:cr1", first(text))
	}
	n := [4]int{}
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // digits
	}
	length, _ := strconv.Atoi(m[6])
	s := &Segment{n[0], n[1], n[2], n[3], Kind(m[5]), length}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return s, nil
}

// least is the fewest instructions that a segment can have: an instruction before each
// taken conditional branch, one that sets the condition codes before the first settled
// one, the unconditional branches, and the command.
func (s *Segment) least() int {
	n := 2*(s.Late+s.Settled) + s.Always
	if s.Settled > 0 && s.Late == 0 {
		n++
	}
	if s.Kind != End {
		n++
	}
	return n
}

func (s *Segment) check() error {
	most := map[Kind]int{ReadPacket: 8, ReadEMEM: 8, WritePacket: 8, AddEMEM: 3, End: 0}
	least := min(1, most[s.Kind])
	n, ok := most[s.Kind]
	switch {
	case !ok:
		return fmt.Errorf("kind %q is unknown; there are cr, cw, er, add and end", s.Kind)
	case s.Length < least || s.Length > n:
		return fmt.Errorf("length of %s is %d, must be %d to %d", s.Kind, s.Length, least, n)
	case s.Kind == End && s.Always == 0:
		return errors.New("no unconditional branch, and the last is the program's exit")
	case s.Words < s.least():
		return fmt.Errorf("%d instructions, its branches and command take at least %d", s.Words, s.least())
	}
	return nil
}

func (p *Path) check() error {
	for i, s := range p.Segments {
		if (s.Kind == End) != (i == len(p.Segments)-1) {
			return errors.New("segments: end must be the last and no other")
		}
	}
	spare := 0
	for i := range p.Segments {
		spare += p.Segments[i].Words - p.Segments[i].least()
	}
	switch {
	case len(p.Segments) == 0:
		return errors.New("segments: none")
	case spare == 0:
		return errors.New("segments: no instruction is left to set the return code")
	}
	return nil
}
