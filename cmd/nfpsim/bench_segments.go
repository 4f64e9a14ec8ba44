package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/silicon"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// pathResult is a path's measurement. Measured and Difference are left out if the run
// is not what was measured: the default card, firmware corenic-direct, 5 workers.
type pathResult struct {
	ID         string   `json:"id"`
	Program    string   `json:"program"`
	Measured   *float64 `json:"measured_cycles,omitempty"`
	Difference *float64 `json:"difference_percent,omitempty"`
	*measurement
}

// The set-up of the paths that were measured.
const segmentsFirmware, segmentsWorkers = "corenic-direct", 5

// runSegments measures the rows of a table of paths.
func (o *benchOptions) runSegments(cmd *cobra.Command) error {
	for _, name := range []string{"packet", "pcap", "imix", "size", "mix", "flows", "zipf", "maps", "map", "functional", "profile", "array-fill"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s does not go with --segments, whose rows say what runs and on which packets", name)
		}
	}
	paths, err := readSegments(o.segments)
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("firmware") {
		o.firmware = segmentsFirmware
	}
	if o.workers == "" {
		o.workers = fmt.Sprint(segmentsWorkers)
	}
	fw, err := o.profile()
	if err != nil {
		return err
	}
	model, err := nfp.ModelByName(o.card)
	if err != nil {
		return err
	}
	points, err := o.points(model)
	if err != nil {
		return err
	}
	if len(points) > 1 {
		return usagef("--segments takes one number of --workers and of --offered")
	}
	results := make([]pathResult, len(paths))
	err = o.inParallel(cmd, len(paths), func(i int, progress func(uint64, float64) bool) error {
		r, err := o.onePath(&paths[i], points[0], fw, model, progress)
		if err != nil {
			return fmt.Errorf("%s: id %s: %w", o.segments, paths[i].ID, err)
		}
		results[i] = pathResult{ID: paths[i].ID, Program: paths[i].Of, measurement: r}
		if paths[i].Cycles > 0 && o.card == nfp.DefaultModel && o.firmware == segmentsFirmware && points[0].workers == segmentsWorkers && o.offered == "" {
			off := 100 * (r.CyclesPerPacket/paths[i].Cycles - 1)
			results[i].Measured, results[i].Difference = &paths[i].Cycles, &off
		}
		return nil
	})
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(cmd.OutOrStdout(), results)
	}
	return printPaths(cmd.OutOrStdout(), results)
}

// readSegments reads FILE.csv, or the row ID of FILE.csv:ID.
func readSegments(arg string) ([]silicon.Path, error) {
	file, id := arg, ""
	if i := strings.LastIndex(arg, ".csv:"); i >= 0 {
		file, id = arg[:i+len(".csv")], arg[i+len(".csv:"):]
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--segments: %w", err)
	}
	defer f.Close()
	paths, err := silicon.ReadPaths(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if id == "" {
		return paths, nil
	}
	for i := range paths {
		if paths[i].ID == id {
			return paths[i : i+1], nil
		}
	}
	return nil, fmt.Errorf("%s: no row has id %q", file, id)
}

// onePath measures a path on a card of its own.
func (o *benchOptions) onePath(p *silicon.Path, at point, fw *firmware.Profile, m *nfp.Model, progress func(uint64, float64) bool) (*measurement, error) {
	im, err := p.Image()
	if err != nil {
		return nil, err
	}
	nic, err := driver.New(fw, &driver.Options{Spec: sim.NewSpec(m)})
	if err != nil {
		return nil, err
	}
	if fw.DirectMap {
		var entries, bytes uint32
		if n, err := fmt.Sscanf(o.array, "%dx%d", &entries, &bytes); n != 2 || err != nil || entries == 0 || bytes == 0 {
			return nil, usagef("--array: %q is not ENTRIESxBYTES", o.array)
		}
		if _, err := nic.CreateMap(&ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: bytes, MaxEntries: entries}); err != nil {
			return nil, err
		}
	}
	prog, err := nic.Load(im, ebpf.XDP)
	if err != nil {
		return nil, err
	}
	packets := [][]byte{make([]byte, p.Bytes)}
	r, err := nic.Bench(prog, &driver.Bench{
		Workers: at.workers, Seed: o.seed, Ifindex: o.ifindex, RxQueue: o.rxQueue,
		Traffic: sim.Traffic{Packets: packets, OfferedMpps: at.offered},
		Measure: sim.Measure{Packets: o.packets, CIPercent: o.ci, Progress: progress},
	})
	if err != nil {
		return nil, err
	}
	return judged(r, packets)
}

// printPaths is a row for each path, and the errors together.
func printPaths(w io.Writer, results []pathResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "id\tprogram\tbytes\tflows\tworkers\tcycles\tMpps\texpected\tmeasured\tdifference\tbottleneck\t")
	sum, worst, at, n := 0.0, 0.0, "", 0
	for i := range results {
		r := &results[i]
		measured, off := "-", "-"
		if r.Measured != nil {
			measured, off = fmt.Sprintf("%.1f", *r.Measured), fmt.Sprintf("%+.2f %%", *r.Difference)
			e := math.Abs(*r.Difference)
			if sum, n = sum+e, n+1; e > worst {
				worst, at = e, r.ID
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%d\t%d\t%.1f\t%.3f\t%s\t%s\t%s\t%s\t\n", r.ID, r.Program, r.Bytes, r.Flows, r.Workers, r.CyclesPerPacket, r.Mpps, r.Expect.Range(), measured, off, r.Bottleneck)
	}
	if err := t.Flush(); err != nil || n < 2 {
		return err
	}
	_, err := fmt.Fprintf(w, "%d paths with a measurement: mean error %.2f %%, worst %.2f %% (id %s)\n", n, sum/float64(n), worst, at)
	return err
}
