package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

const examplesStart = "<!-- printed by TestExamplesTable -->\n"

// exampleCost is the cost of an example under one firmware: words with padding, cycles
// of a packet alone on the card, and a whole card's rate on its capture.
type exampleCost struct {
	words        int
	own, elapsed []float64           // by packet, sorted
	few, all     *driver.BenchResult // on one worker an island, and on the card's
}

// What the examples cost is in docs/performance.md, which -update rewrites, with
// the compiler's passes and without. Our code may have become better, not worse.
func TestExamplesTable(t *testing.T) {
	list, err := readList(&cobra.Command{}, "../../examples/compare.list")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("| program | firmware | words: plain | now | own cycles: plain | now | elapsed: plain | now | Mpps on 5 workers: plain | now | binds | Mpps on 50: plain | now | binds | next |\n|" + strings.Repeat("---|", 15) + "\n")
	now := map[string]exampleCost{}
	for i := range list {
		for _, name := range firmware.Names() {
			p, err := firmware.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := measureExample(&list[i], p, jit.Optional())
			var refused *jit.Unsupported
			if errors.As(err, &refused) {
				continue
			}
			if err != nil {
				t.Fatalf("%s, firmware %s: %v", list[i].name, name, err)
			}
			best, err := measureExample(&list[i], p, nil)
			if err != nil {
				t.Fatalf("%s, firmware %s: %v", list[i].name, name, err)
			}
			row := fmt.Sprintf("| %s | %s ", list[i].name, name)
			now[row] = *best
			fmt.Fprintf(&text, "%s| %d | %d | %.0f | %s | %.0f | %s | %.2f | %.2f | %s | %.2f | %.2f | %s | %s |\n", row, plain.words, best.words,
				mean(plain.own), spread(best.own), mean(plain.elapsed), spread(best.elapsed),
				plain.few.Mpps, best.few.Mpps, best.few.Bottleneck, plain.all.Mpps, best.all.Mpps, best.all.Bottleneck, best.all.NextBottleneck)
		}
	}
	doc, err := os.ReadFile(performanceDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), examplesStart)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the examples", performanceDoc)
	}
	if golden.Updating() {
		if err := os.WriteFile(performanceDoc, []byte(before+examplesStart+text.String()+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	checkExamples(t, old, now)
}

// checkExamples fails if code is worse than on the page.
func checkExamples(t *testing.T, page string, now map[string]exampleCost) {
	t.Helper()
	const worse = 1.02 // rounding, and what a model's number changes
	for row, c := range now {
		_, rest, ok := strings.Cut(page, row+"|")
		if !ok {
			t.Errorf("%sis not on the page (-update rewrites it)", row)
			continue
		}
		cells := strings.Split(rest, "|")
		var words int
		var own float64
		fmt.Sscan(cells[1], &words)
		fmt.Sscan(cells[3], &own) // the mean stands first
		if float64(c.words) > worse*float64(words) || mean(c.own) > worse*own+0.5 {
			t.Errorf("%s: %d words, %.0f cycles; the page says %d and %.0f (-update rewrites it)", row, c.words, mean(c.own), words, own)
		}
	}
}

// measureExample compiles with the passes that off leaves, and runs.
func measureExample(s *subject, p *firmware.Profile, off []string) (*exampleCost, error) {
	im, err := jit.Compile(s.facts, p, &jit.Options{Off: off})
	if err != nil {
		return nil, err
	}
	fresh := func() (*simEngine, error) {
		nic, err := driver.New(p, nil)
		if err != nil {
			return nil, err
		}
		for _, spec := range s.facts.Code.Maps {
			if _, err := nic.CreateMap(spec); err != nil {
				return nil, err
			}
		}
		prog, err := nic.Load(im, s.facts.Code.Type)
		if err != nil {
			return nil, err
		}
		e := &simEngine{nic: nic, prog: prog}
		return e, s.fill(rival{engine: e})
	}
	e, err := fresh()
	if err != nil {
		return nil, err
	}
	c := &exampleCost{words: len(im.Words)}
	traffic := sim.Traffic{}
	for _, pkt := range s.packets {
		out, err := e.packet(pkt.Data)
		if err != nil {
			return nil, err
		}
		c.own, c.elapsed = append(c.own, float64(out.issue-out.helpers)), append(c.elapsed, float64(out.elapsed))
		traffic.Packets = append(traffic.Packets, pkt.Data)
	}
	slices.Sort(c.own)
	slices.Sort(c.elapsed)
	for workers, r := range map[int]**driver.BenchResult{5: &c.few, 50: &c.all} {
		if e, err = fresh(); err != nil {
			return nil, err
		}
		if *r, err = e.nic.Bench(e.prog, &driver.Bench{Workers: workers, Traffic: traffic}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// spread is mean, lowest, median and highest of what is sorted.
func spread(x []float64) string {
	return fmt.Sprintf("%.0f (%.0f, %.0f, %.0f)", mean(x), x[0], x[len(x)/2], x[len(x)-1])
}
