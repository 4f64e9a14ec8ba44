package driver

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/silicon"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// This file compares the simulated chip with the micro-benchmarks that were measured on
// silicon (silicon.Sweeps). The words of the programs were not published; ours are
// written as the Linux driver translates. docs/accuracy.md is the output of these tests
// and of internal/calibrate.

// TestCalibration prints measured against simulated and fails past the limits.
func TestCalibration(t *testing.T) {
	c := calibration{t: t, measured: map[string][]float64{}, simulated: map[string][]float64{}}
	for _, s := range silicon.Sweeps() {
		c.sweep(&s)
	}
	c.derived()
	printed(t, "points", c.doc.String())
}

// printed keeps a part of docs/accuracy.md as the code prints it.
func printed(t *testing.T, part, text string) {
	t.Helper()
	const file = "../docs/accuracy.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- printed: %s -->\n", part), "<!-- end -->"
	head, rest, ok1 := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: no part %s", file, part)
	}
	golden.File(t, file, head+begin+text+end+tail)
}

// TestQueueSelectionWordsOrWaits checks what docs/accuracy.md says of queue selection:
// instructions and waits that cost drop the same cost slow the same. Contexts that are
// not preempted run in step. Each pays a quarter of a wait whatever the program issues
// elsewhere.
func TestQueueSelectionWordsOrWaits(t *testing.T) {
	one := func(name string, waits int) float64 {
		p, err := firmware.Load("corenic")
		if err != nil {
			t.Fatal(err)
		}
		if waits > 0 { // in place of the step that corenic-direct does not have
			before := append([]firmware.Step{}, p.Before[:2]...)
			for range waits {
				before = append(before, firmware.Step{Issue: 2, Wait: "imem", Op: "add"})
			}
			p.Before = append(before, p.Before[3])
		}
		nic, err := New(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := calibrationProgram(t, name)
		im, err := nfp.Assemble(text)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := nic.Load(im, ebpf.XDP)
		if err != nil {
			t.Fatal(err)
		}
		r, err := nic.Bench(prog, &Bench{Workers: 10, Traffic: sim.Traffic{Packets: [][]byte{udpFrame()}}})
		if err != nil {
			t.Fatal(err)
		}
		return r.CyclesPerPacket
	}
	for _, c := range []struct {
		name     string
		measured float64
	}{{"drop", 417}, {"slow", 1266}} {
		words, waits := one(c.name, 0), one(c.name, queueWaits)
		t.Logf("%s: %.1f cycles a packet with instructions, %.1f with %d waits, measured %.0f", c.name, words, waits, queueWaits, c.measured)
		if math.Abs(words/c.measured-1) > pointLimit/100 {
			t.Errorf("%s: %.1f cycles a packet, measured %.0f", c.name, words, c.measured)
		}
		if math.Abs(waits/words-1) > pointLimit/100 {
			t.Errorf("%s: %.1f cycles a packet with %d waits, %.1f with instructions", c.name, waits, queueWaits, words)
		}
	}
}

// queueWaits is how many waits for a memory of 124 cycles cost drop as much as queue
// selection does.
const queueWaits = 6

// TestConstantsDoc prints the card's numbers with their sources.
func TestConstantsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n| constant | value | unit | source |\n|---|---|---|---|\n")
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		for i := range v.NumField() {
			f, x := v.Type().Field(i), v.Field(i)
			switch {
			case f.Type == reflect.TypeFor[nfp.Unit]():
				for j := range x.NumField() {
					name := f.Type.Field(j).Name
					unit := "cycles"
					switch name {
					case "Bytes", "Interleave", "Line":
						unit = "bytes"
					case "Banks", "Queue":
						unit = ""
					}
					fmt.Fprintf(&b, "| %s.%s | %s | %s | %s |\n", f.Name, name, figure(x.Field(j)), unit, nfp.UnitSource(f.Name, name))
				}
			case f.Anonymous:
				walk(x)
			case f.Type.Kind() != reflect.String:
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Name, figure(x), f.Tag.Get("unit"), f.Tag.Get("source"))
			}
		}
	}
	walk(reflect.ValueOf(sim.NFP4000().Model))
	printed(t, "constants", b.String())
}

func figure(v reflect.Value) string {
	if v.CanFloat() {
		return fmt.Sprintf("%.4g", v.Float())
	}
	return fmt.Sprint(v.Int())
}

type calibration struct {
	t         *testing.T
	doc       strings.Builder
	measured  map[string][]float64 // Mpps of a sweep's points
	simulated map[string][]float64
}

// near is a point with its limit in per cent.
func (c *calibration) near(what string, measured, simulated, limit float64) {
	off := 100 * (simulated/measured - 1)
	if math.Abs(off) > limit {
		c.t.Errorf("%s: measured %.4g, simulated %.4g: %+.2f %%, the limit is %.1f %%", what, measured, simulated, off, limit)
	}
	c.row(what, measured, simulated, fmt.Sprintf("%+.2f %%", off), fmt.Sprintf("%.1f %%", limit))
}

// mac is a point at which the MAC is the bottleneck.
func (c *calibration) mac(what string, measured, simulated float64) {
	if simulated < silicon.MACLow || simulated > silicon.MACHigh {
		c.t.Errorf("%s: simulated %.2f Mpps, the MAC's plateau is %.1f to %.1f", what, simulated, silicon.MACLow, silicon.MACHigh)
	}
	c.row(what, measured, simulated, fmt.Sprintf("%+.2f %%", 100*(simulated/measured-1)), fmt.Sprintf("%.1f to %.1f", silicon.MACLow, silicon.MACHigh))
}

func (c *calibration) row(what string, measured, simulated float64, off, limit string) {
	line := fmt.Sprintf("| %s | %.3f | %.3f | %s | %s |\n", what, measured, simulated, off, limit)
	c.doc.WriteString(line)
	c.t.Logf("%s", strings.TrimSpace(line))
}

func (c *calibration) head(title string) {
	fmt.Fprintf(&c.doc, "\n%s\n\n| point | measured | simulated | difference | limit |\n|---|---|---|---|---|\n", title)
}

func (c *calibration) run(text, profile string, workers int, array *ebpf.MapSpec) float64 {
	c.t.Helper()
	p, err := firmware.Load(profile)
	if err != nil {
		c.t.Fatal(err)
	}
	nic, err := New(p, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if array != nil {
		if _, err := nic.CreateMap(array); err != nil {
			c.t.Fatal(err)
		}
	}
	im, err := nfp.Assemble(text)
	if err != nil {
		c.t.Fatal(err)
	}
	prog, err := nic.Load(im, ebpf.XDP)
	if err != nil {
		c.t.Fatal(err)
	}
	r, err := nic.Bench(prog, &Bench{Workers: workers, Traffic: sim.Traffic{Packets: [][]byte{udpFrame()}}})
	if err != nil {
		c.t.Fatal(err)
	}
	return r.Mpps
}

// udpFrame is a UDP packet of 60 bytes whose bytes 14 to 29 differ.
func udpFrame() []byte {
	p := make([]byte, 60)
	p[12] = 8
	copy(p[14:], []byte{0x45, 0, 0, 46, 0x12, 0x34, 0, 0, 64, 17, 0x64, 0xb5, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0, 16, 146, 0, 26})
	return p
}

// calibrationProgram returns the text of a program: a file, or the output of
// kernelReads and kernelAdds.
func calibrationProgram(t *testing.T, name string) (text string, array *ebpf.MapSpec) {
	t.Helper()
	var n int
	file := filepath.Join("testdata", "calibration", name+".s")
	switch {
	case scan(name, "read%d", &n):
		array = &ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 4 << 20, MaxEntries: 1}
		golden.File(t, file, kernelReads(n))
	case scan(name, "add%d", &n):
		array = &ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 4096, MaxEntries: 32}
		golden.File(t, file, kernelAdds(n))
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(src), array
}

func scan(s, format string, n *int) bool {
	got, err := fmt.Sscanf(s, format, n)
	return got == 1 && err == nil
}

// sweep is a program on several numbers of workers.
func (c *calibration) sweep(s *silicon.Sweep) {
	text, array := calibrationProgram(c.t, s.Name)
	c.head(fmt.Sprintf("`%s`, profile `%s`, Mpps by workers", s.Name, s.Firmware))
	for _, p := range s.Points {
		got := c.run(text, s.Firmware, p.Workers, array)
		c.measured[s.Name] = append(c.measured[s.Name], p.Mpps)
		c.simulated[s.Name] = append(c.simulated[s.Name], got)
		if what := fmt.Sprint(p.Workers); p.MAC {
			c.mac(what, p.Mpps, got)
		} else {
			c.near(what, p.Mpps, got, pointLimit)
		}
	}
}

// pointLimit is the limit of single points and of what follows from them, in per cent.
const pointLimit = 1.5

// readLimit is the limit of what reads 9 to 12 cost. On silicon they cost what reads 5 to 8
// do. Here they cost more, since latencies that vary take contexts out of step one by one.
const readLimit = 2.5

// derived prints the values that follow from the points together.
func (c *calibration) derived() {
	c.head("What the points say together")
	slope := func(y []float64) float64 { // least squares through the origin over 5, 10, ...
		xy, xx := 0.0, 0.0
		for j, v := range y {
			x := float64(5 * (j + 1))
			xy, xx = xy+x*v, xx+x*x
		}
		return xy / xx
	}
	both := func(what string, limit float64, f func(mpps map[string][]float64) float64) {
		c.near(what, f(c.measured), f(c.simulated), limit)
	}
	drop := func(m map[string][]float64) float64 { return slope(m["drop"][:5]) } // below the MAC
	slow := func(m map[string][]float64) float64 { return slope(m["slow"]) }
	cycles := func(m map[string][]float64, name string) float64 { return 800 * 5 / m[name][0] }
	both("drop, slope to 25 workers, Mpps a worker", pointLimit, drop)
	both("slow, slope, Mpps a worker", pointLimit, slow)
	both("drop to slow, ratio of slopes", pointLimit, func(m map[string][]float64) float64 { return drop(m) / slow(m) })
	both("slow - drop, cycles a packet", 4, func(m map[string][]float64) float64 { return 800/slow(m) - 800/drop(m) })
	both("drop, linearity: 5 workers to 25", pointLimit, func(m map[string][]float64) float64 { return m["drop"][4] / m["drop"][0] })
	both("slow, linearity: 5 workers to 50", pointLimit, func(m map[string][]float64) float64 { return m["slow"][9] / m["slow"][0] })
	both("cycles a read, 4 to 8 reads", pointLimit, func(m map[string][]float64) float64 { return (cycles(m, "read8") - cycles(m, "read4")) / 4 })
	both("cycles a read, 8 to 12 reads", readLimit, func(m map[string][]float64) float64 { return (cycles(m, "read12") - cycles(m, "read8")) / 4 })
	both("cycles a read, 4 to 12 reads", pointLimit, func(m map[string][]float64) float64 { return (cycles(m, "read12") - cycles(m, "read4")) / 8 })
	both("cycles an add, 10 adds", pointLimit, func(m map[string][]float64) float64 { return 80 / m["add10"][0] })
	both("cycles an add, 20 adds", pointLimit, func(m map[string][]float64) float64 { return 40 / m["add20"][0] })
}

// listing builds a program as the Linux driver translates: numbered words, branches to
// labels.
type listing struct{ strings.Builder }

func (l *listing) words(text string) {
	for _, w := range strings.Split(strings.TrimSpace(text), "\n") {
		fmt.Fprintln(l, strings.TrimSpace(w))
	}
}

// kernelIntro and kernelOut are the beginning and the common exit of the
// driver's code. kernelLookup is the inline lookup of profile corenic-direct, in
// place of the driver's call of the helper: the array's base is in B23, the key
// is the second word of the stack.
const (
	kernelIntro = `
		immed[gprB_22, 0x3fff]
		alu[gprB_22, gprB_22, AND, *l$index1]`
	kernelOut = `
		exit:
		br[.15000]
		br[.15000], defer[2]
		alu[gprA_0, --, B, 0x0]
		ld_field[gprA_0, 1100, 0x82, <<16]
		alu[--, 0x3, -, gprB_0]
		bcc[stub]
		immed[gprB_2, 0x2282]
		immed_w1[gprB_2, 0x4411]
		alu_shf[gprA_1, --, B, gprB_0, <<3]
		alu[--, gprA_1, OR, 0x0]
		alu_shf[gprB_2, 0xff, AND, gprB_2, >>indirect]
		br[.15000], defer[2]
		alu[gprA_0, --, B, 0x0]
		ld_field[gprA_0, 1100, gprB_2, <<16]
		nop
		nop
		nop
		nop
		nop
		nop
		nop
		nop`
)

// lookup writes key to the stack and looks it up. Stride and size of the table
// are powers of two.
func (l *listing) lookup(key, shift int, mask uint32, miss string) {
	l.words(fmt.Sprintf(`
		immed[gprA_2, 0x%x], gpr_wrboth
		immed[gprA_3, 0x0], gpr_wrboth
		alu[*l$index0[1], --, B, gprB_2]
		alu[gprA_4, gprA_22, +, 0x8], gpr_wrboth
		immed[gprA_5, 0x0], gpr_wrboth
		alu[gprA_4, gprA_4, -, 0x4], gpr_wrboth
		alu[gprA_5, gprA_5, -carry, 0x0], gpr_wrboth
		alu_shf[gprA_0, --, B, *l$index0[1], <<%d], gpr_wrboth
		immed[gprB_21, 0x%x]
		immed_w1[gprB_21, 0x%x]
		alu[gprA_0, gprA_0, AND, gprB_21], gpr_wrboth
		alu[gprA_1, --, B, gprB_23], gpr_wrboth
		alu[gprA_2, --, B, gprB_0], gpr_wrboth
		alu[gprA_3, --, B, gprB_1], gpr_wrboth
		immed[gprA_0, 0x2], gpr_wrboth
		immed[gprA_1, 0x0], gpr_wrboth
		alu[--, gprA_2, OR, gprB_3]
		beq[%s]`, key, shift, mask&0xffff, mask>>16, miss))
}

const kernelLicense = "// SPDX-License-Identifier: Apache-2.0\n//\n// "

// kernelReads looks key 0 of an array of one 4 MiB entry up and tests n words of
// it in turn.
func kernelReads(n int) string {
	l := &listing{}
	fmt.Fprintf(l, "%s%d blocking reads of one location, for firmware corenic-direct: written by driver/calibration_test.go.\n", kernelLicense, n)
	l.words(kernelIntro)
	l.lookup(0, 22, 4<<20-1, "exit")
	l.words("immed[gprA_0, 0x1], gpr_wrboth\nimmed[gprA_1, 0x0], gpr_wrboth")
	for i := range n {
		if i == 0 {
			l.words("mem[read32_swap, $xfer_0, gprB_3, <<8, gprA_2, 1], ctx_swap[sig1]")
		} else {
			l.words(fmt.Sprintf(`
				alu[gprA_21, gprA_2, +, 0x%x]
				alu[gprB_21, gprB_3, +carry, 0x0]
				mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]`, 4*i))
		}
		if i == n-1 {
			l.words(`
				alu[gprA_2, --, B, $xfer_0], gpr_wrboth
				immed[gprA_3, 0x0], gpr_wrboth
				immed[gprA_0, 0x2], gpr_wrboth
				immed[gprA_1, 0x0], gpr_wrboth
				alu[--, gprA_2, OR, gprB_3]
				beq[exit]
				immed[gprA_0, 0x1], gpr_wrboth
				immed[gprA_1, 0x0], gpr_wrboth`)
			break
		}
		l.words(`
			alu[gprA_4, --, B, $xfer_0], gpr_wrboth
			immed[gprA_5, 0x0], gpr_wrboth
			alu[--, gprA_4, OR, gprB_5]
			bne[exit]`)
	}
	l.words(strings.Replace(kernelOut, "br[.15000], defer[2]", "stub:\nbr[.15000], defer[2]", 1))
	return l.String()
}

// kernelAdds adds 1 to a word of each of the first n entries of an array of 32
// entries of 4 KiB.
func kernelAdds(n int) string {
	l := &listing{}
	fmt.Fprintf(l, "%s%d posted adds, for firmware corenic-direct and --array 32x4096: written by driver/calibration_test.go.\n", kernelLicense, n)
	l.words(kernelIntro)
	for i := range n {
		l.lookup(i, 12, 32*4096-1, "exit")
		l.words(`
			immed[gprA_4, 0x1], gpr_wrboth
			immed[gprA_5, 0x0], gpr_wrboth
			immed[gprA_21, 0x890]
			ld_field[gprA_21, 1100, gprB_4, <<16]
			mem[add_imm, $xfer_0, gprB_3, <<8, gprA_2, 1], indirect_ref`)
	}
	l.words("immed[gprA_0, 0x1], gpr_wrboth\nimmed[gprA_1, 0x0], gpr_wrboth")
	l.words(strings.Replace(kernelOut, "br[.15000], defer[2]", "stub:\nbr[.15000], defer[2]", 1))
	return l.String()
}

// randomAdds adds 1 to ten random words of an array of size bytes, a power of two.
func randomAdds(size int) string {
	l := &listing{}
	mask := uint32(size-1) &^ 3
	l.words(fmt.Sprintf("immed[gprB_5, 0x%x]\nimmed_w1[gprB_5, 0x%x]\nimmed[gprB_6, 1]", mask&0xffff, mask>>16))
	for range 10 {
		l.words(`
			local_csr_rd[PseudoRndNum]
			immed[gprA_4, 0x0]
			alu[gprA_4, gprA_4, AND, gprB_5]
			immed[gprA_21, 0x890]
			ld_field[gprA_21, 1100, gprB_6, <<16]
			mem[add_imm, $xfer_0, gprB_23, <<8, gprA_4, 1], indirect_ref`)
	}
	l.words("br[.15000], defer[2]\nimmed[gprA_0, 0x22, <<16]\nnop")
	return l.String()
}

// TestCacheKnee checks external memory's cache: random adds are many times faster up
// to its size than far beyond. Published are about 67 M/s uncached and a knee at 3 MB
// (Netmon/HeteroSketch). The rate within the cache was never measured separately from
// the engines that issued the adds.
func TestCacheKnee(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("\n| table | million adds a second | cache hits | bound by |\n|---|---|---|---|\n")
	for _, mib := range []int{1, 2, 4, 8, 16, 32} {
		p, err := firmware.Load("corenic-direct")
		if err != nil {
			t.Fatal(err)
		}
		nic, err := New(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nic.CreateMap(&ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 1 << 20, MaxEntries: uint32(mib)}); err != nil {
			t.Fatal(err)
		}
		im, err := nfp.Assemble(randomAdds(mib << 20))
		if err != nil {
			t.Fatal(err)
		}
		prog, err := nic.Load(im, ebpf.XDP)
		if err != nil {
			t.Fatal(err)
		}
		b := &Bench{Traffic: sim.Traffic{Packets: [][]byte{udpFrame()}}, Measure: sim.Measure{MinBatches: 40}}
		r, err := nic.Bench(prog, b)
		if err != nil {
			t.Fatal(err)
		}
		rate := 10 * r.Mpps
		fmt.Fprintf(&doc, "| %d MiB | %.0f | %.1f %% | %s |\n", mib, rate, 100*r.CacheHits, r.Bottleneck)
		if mib <= 2 && r.CacheHits < 0.9 || mib >= 16 && (rate < 60 || rate > 85 || r.Bottleneck != "dram") {
			t.Errorf("%d MiB: %.0f M adds/s, %.1f %% hits, bound by %s", mib, rate, 100*r.CacheHits, r.Bottleneck)
		}
	}
	t.Log(doc.String())
	printed(t, "cache", doc.String())
}
