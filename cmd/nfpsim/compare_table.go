package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/internal/bound"
	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/internal/difftest"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// subject is one program of the table with its input.
type subject struct {
	name    string
	facts   *verify.Facts
	packets []capture.Packet
	damaged bool              // more packets may have been in the capture
	fill    func(rival) error // the maps
}

// comparison is the table's JSON.
type comparison struct {
	Programs []comparedProgram `json:"programs"`
	Means    []comparedMean    `json:"geometric_means"`
	Refused  []comparedRefusal `json:"refused"`
}

// comparedProgram is a row: both compilers' code of one program, and the lower bound for
// any code (package bound). Numbers are means over packets.
type comparedProgram struct {
	Name    string        `json:"name"`
	Packets int           `json:"packets"`
	Linux   comparedCost  `json:"linux"`
	Nfpkit  comparedCost  `json:"nfpkit"`
	Bound   comparedBound `json:"bound"`
	Differ  []string      `json:"differences"`
}

// comparedBound is the lower limits of issued and elapsed cycles.
type comparedBound struct {
	Issue   float64 `json:"issue_cycles"`
	Latency float64 `json:"latency_cycles"`
}

// excess returns the ratio of our elapsed cycles above the latency bound to the
// driver's. ok is false if the driver has none.
func (r *comparedProgram) excess() (ratio float64, ok bool) {
	ours, theirs := r.Nfpkit.Elapsed-r.Bound.Latency, r.Linux.Elapsed-r.Bound.Latency
	return ours / theirs, ours > 0 && theirs > 0
}

// comparedCost is the cost of code: words with padding, and cycles from the program's
// entry to its exit, averaged over packets. Own cycles are those that the program
// issues itself; helpers are firmware, with any compiler.
type comparedCost struct {
	Words   float64 `json:"words"`
	Own     float64 `json:"own_cycles"`
	Issue   float64 `json:"issue_cycles"` // helpers included
	Elapsed float64 `json:"elapsed_cycles"`
}

// comparedMean is the geometric means of some rows.
type comparedMean struct {
	Of       string       `json:"of"`
	Programs int          `json:"programs"`
	Linux    comparedCost `json:"linux"`
	Nfpkit   comparedCost `json:"nfpkit"`
	Excess   float64      `json:"excess_ratio"` // of cycles above the latency bound, if both have some
}

// comparedRefusal is a program that one of the compilers does not take.
type comparedRefusal struct {
	Name string `json:"name"`
	By   string `json:"by"`
	Why  string `json:"why"`
}

func (o *compareOptions) runTable(cmd *cobra.Command) error {
	p, err := o.profile()
	if err != nil {
		return err
	}
	var list []subject
	listed := 0
	if o.list != "" {
		if list, err = readList(cmd, o.list); err != nil {
			return err
		}
		listed = len(list)
	}
	if o.corpus {
		more, err := corpusSubjects(cmd)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	table, err := compareAll(cmd, o.kernel, list, listed, p)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(cmd.OutOrStdout(), table)
	} else {
		err = table.print(cmd.OutOrStdout())
	}
	damaged := slices.ContainsFunc(list, func(s subject) bool { return s.damaged })
	if err == nil && (damaged || table.differs()) {
		err = errNo
	}
	return err
}

// readList reads a list of comparisons.
func readList(cmd *cobra.Command, file string) ([]subject, error) {
	text, err := readText(file, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	var list []subject
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		s, err := readListed(cmd, filepath.Dir(file), words)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		list = append(list, *s)
	}
	return list, nil
}

// readListed reads one line of a list whose files are relative to dir.
func readListed(cmd *cobra.Command, dir string, words []string) (*subject, error) {
	var hex, pcap string
	var maps []string
	f := pflag.NewFlagSet("line", pflag.ContinueOnError)
	f.StringVar(&hex, "packet", "", "")
	f.StringVar(&pcap, "pcap", "", "")
	f.StringArrayVar(&maps, "map", nil, "")
	var from reading
	f.StringVar(&from.progType, "type", "", "")
	f.StringArrayVar(&from.set, "set", nil, "")
	f.StringArrayVar(&from.entries, "entries", nil, "")
	if err := f.Parse(words); err != nil {
		return nil, usageError{err}
	}
	if f.NArg() != 1 || (hex == "") == (pcap == "") {
		return nil, usagef("a line has one PROG and one of --packet and --pcap")
	}
	in := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	for i, m := range maps {
		name, file, _ := strings.Cut(m, "=")
		maps[i] = name + "=" + in(file)
	}
	arg := in(f.Arg(0))
	obj, _, err := from.open(cmd, arg)
	if err != nil {
		return nil, err
	}
	spec, err := obj.Program("")
	if err != nil {
		return nil, err
	}
	s := &subject{name: strings.TrimSuffix(filepath.Base(arg), filepath.Ext(arg)), fill: func(r rival) error { return eachMap(r.engine, maps, preload) }}
	if s.facts, err = verified(obj, spec.Name, nil); err != nil {
		return nil, err
	}
	if pcap != "" {
		p, err := readCapture(in(pcap), cmd.InOrStdin(), cmd.ErrOrStderr(), 0)
		if err != nil {
			return nil, err
		}
		s.packets = p.list
		s.damaged = p.whole(cmd.ErrOrStderr(), cmd.ErrOrStderr()) != nil
		return s, nil
	}
	data, err := parseHex(hex)
	if err != nil {
		return nil, err
	}
	s.packets = onePacket(data).list
	return s, checkPacket(data)
}

// corpusSubjects are the programs of the kernel's samples and selftests.
func corpusSubjects(cmd *cobra.Command) ([]subject, error) {
	dir, _, err := difftest.BuildCorpus(cmd.Context())
	if err != nil {
		return nil, err
	}
	objects, err := filepath.Glob(filepath.Join(dir, "*.o"))
	if err != nil {
		return nil, err
	}
	var list []subject
	for _, o := range objects {
		for _, found := range difftest.Subjects(o) {
			s := subject{name: found.Name, facts: found.Facts}
			for _, data := range found.Program.Packets {
				s.packets = append(s.packets, capture.Packet{Number: len(s.packets) + 1, Data: data})
			}
			s.fill = func(r rival) error { return found.Program.Fill(r.engine.nic) }
			list = append(list, s)
		}
	}
	return list, nil
}

// compareAll compares the programs of list, the first listed of which are the
// user's own, with the code of a release's driver.
func compareAll(cmd *cobra.Command, release string, list []subject, listed int, p *firmware.Profile) (*comparison, error) {
	var all []*verify.Facts
	for _, s := range list {
		all = append(all, s.facts)
	}
	found, err := translations(cmd, release, p, all)
	if err != nil {
		return nil, err
	}
	table := &comparison{Programs: []comparedProgram{}, Refused: []comparedRefusal{}}
	own := 0
	bar := newProgress(cmd.ErrOrStderr(), "programs", len(list))
	defer bar.done()
	for i := range list {
		row, refusal, err := compareOne(&list[i], p, &found[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list[i].name, err)
		}
		if refusal != nil {
			table.Refused = append(table.Refused, *refusal)
		} else {
			table.Programs = append(table.Programs, *row)
		}
		if i+1 == listed {
			own = len(table.Programs)
		}
		bar.at(i + 1)
	}
	table.mean("listed", table.Programs[:own])
	table.mean("corpus", table.Programs[own:])
	if len(table.Means) > 1 {
		table.mean("all", table.Programs)
	}
	return table, nil
}

// compareOne returns the row of a program, or which compiler refuses it.
func compareOne(s *subject, p *firmware.Profile, t *uml.Translation) (*comparedProgram, *comparedRefusal, error) {
	both, err := bothCompilers(s.facts, p, t)
	var driver *driverRefusal
	var ours *jit.Unsupported
	switch {
	case errors.As(err, &driver):
		return nil, &comparedRefusal{s.name, "linux", driver.why}, nil
	case errors.As(err, &ours):
		return nil, &comparedRefusal{s.name, "nfpkit", ours.Error()}, nil
	case err != nil:
		return nil, nil, err
	}
	for _, r := range both {
		if err := s.fill(r); err != nil {
			return nil, nil, err
		}
	}
	limit, err := boundOf(s, p)
	if err != nil {
		return nil, nil, err
	}
	r, err := contest(both, s.packets)
	if err != nil {
		return nil, nil, err
	}
	cost := func(side *compareSide) comparedCost {
		return comparedCost{float64(side.Words), side.Own, side.Issue, side.Elapsed}
	}
	return &comparedProgram{s.name, r.Packets, cost(&r.Sides[0]), cost(&r.Sides[1]), limit, r.Differ}, nil, nil
}

// boundOf runs the program in the interpreter, on maps of a card of its own.
func boundOf(s *subject, p *firmware.Profile) (comparedBound, error) {
	var total comparedBound
	engine, err := loadAll([]*verify.Facts{s.facts}, p)
	if err != nil {
		return total, err
	}
	if err := s.fill(rival{engine: engine}); err != nil {
		return total, err
	}
	var ms []maps.Map
	for _, spec := range s.facts.Code.Maps {
		ms = append(ms, engine.nic.Map(spec.Name).Map)
	}
	model, err := nfp.ModelByName("")
	if err != nil {
		return total, err
	}
	meter, err := bound.New(s.facts.Code, ms, p, model)
	if err != nil {
		return total, err
	}
	for _, pkt := range s.packets {
		b, err := meter.Packet(pkt.Data)
		if err != nil {
			return total, fmt.Errorf("packet %d: %w", pkt.Number, err)
		}
		total.Issue += float64(b.Issue) / float64(len(s.packets))
		total.Latency += float64(b.Latency) / float64(len(s.packets))
	}
	return total, nil
}

// mean adds the geometric means of rows, if there are any.
func (c *comparison) mean(of string, rows []comparedProgram) {
	if len(rows) == 0 {
		return
	}
	geometric := func(value func(*comparedProgram) float64) float64 {
		sum := 0.0
		for i := range rows {
			sum += math.Log(value(&rows[i]))
		}
		return math.Exp(sum / float64(len(rows)))
	}
	side := func(cost func(*comparedProgram) *comparedCost) comparedCost {
		return comparedCost{
			geometric(func(r *comparedProgram) float64 { return cost(r).Words }),
			geometric(func(r *comparedProgram) float64 { return cost(r).Own }),
			geometric(func(r *comparedProgram) float64 { return cost(r).Issue }),
			geometric(func(r *comparedProgram) float64 { return cost(r).Elapsed }),
		}
	}
	c.Means = append(c.Means, comparedMean{of, len(rows),
		side(func(r *comparedProgram) *comparedCost { return &r.Linux }),
		side(func(r *comparedProgram) *comparedCost { return &r.Nfpkit }), geometricExcess(rows)})
}

func geometricExcess(rows []comparedProgram) float64 {
	sum, n := 0.0, 0
	for i := range rows {
		if e, ok := rows[i].excess(); ok {
			sum, n = sum+math.Log(e), n+1
		}
	}
	if n == 0 {
		return 0
	}
	return math.Exp(sum / float64(n))
}

func (c *comparison) differs() bool {
	for i := range c.Programs {
		if len(c.Programs[i].Differ) > 0 {
			return true
		}
	}
	return false
}

// comparedHead are the columns of the table, one line for a person and in documents.
var comparedHead = []string{"program", "packets", "linux: words", "own", "issued", "elapsed", "nfpkit: words", "own", "issued", "elapsed", "ratio: words", "own", "issued", "elapsed", "bound: issued", "latency", "excess"}

// cells are the rows of the table as text.
func (c *comparison) cells() [][]string {
	row := func(name string, n int, a, b comparedCost) []string {
		cells := []string{name, fmt.Sprint(n)}
		for _, side := range []comparedCost{a, b} {
			cells = append(cells, fmt.Sprintf("%.0f", side.Words), fmt.Sprintf("%.1f", side.Own), fmt.Sprintf("%.1f", side.Issue), fmt.Sprintf("%.1f", side.Elapsed))
		}
		for _, ratio := range []float64{b.Words / a.Words, b.Own / a.Own, b.Issue / a.Issue, b.Elapsed / a.Elapsed} {
			cells = append(cells, fmt.Sprintf("%.2f", ratio))
		}
		return cells
	}
	var all [][]string
	for i := range c.Programs {
		r := &c.Programs[i]
		cells := append(row(r.Name, r.Packets, r.Linux, r.Nfpkit), fmt.Sprintf("%.1f", r.Bound.Issue), fmt.Sprintf("%.1f", r.Bound.Latency), "-")
		if e, ok := r.excess(); ok {
			cells[len(cells)-1] = fmt.Sprintf("%.2f", e)
		}
		all = append(all, cells)
	}
	for _, m := range c.Means {
		all = append(all, row(fmt.Sprintf("geometric mean of %d, %s", m.Programs, m.Of), 0, m.Linux, m.Nfpkit))
		all[len(all)-1][1] = ""
		all[len(all)-1] = append(all[len(all)-1], "", "", fmt.Sprintf("%.2f", m.Excess))
	}
	return all
}

func (c *comparison) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(comparedHead, "\t"))
	for _, cells := range c.cells() {
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range c.Programs {
		for _, d := range r.Differ {
			fmt.Fprintf(w, "%s: %s\n", r.Name, d)
		}
	}
	for _, r := range c.Refused {
		fmt.Fprintf(w, "%s: refused by %s: %s\n", r.Name, r.By, r.Why)
	}
	return nil
}
