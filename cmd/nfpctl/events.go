package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/internal/capture"
	"github.com/nfpkit/nfpkit/offload"
)

// eventPipe implements map event_pipe.
type eventPipe struct {
	out    string
	format string
	count  int
	opt    offload.SampleOptions
}

func newMapEvents(e *env) *cobra.Command {
	p := &eventPipe{}
	cmd := &cobra.Command{
		Use: "event_pipe MAP [cpu N index M]", Short: "print the events of an array of perf events, or write them to a capture",
		Long: `Prints what programs send with bpf_perf_event_output, until it is interrupted or
has --count of them. The kernel adds up to 7 bytes of zeros to each. With cpu and
index, reads only the events of CPU N, at element M of the map: a card's firmware
chooses the element, whatever CPU its driver runs on.

With --out, the packets in them go to a capture (.pcap or .pcapng, also .gz):

  sample   2 bytes 0xdead, 2 bytes length, packet (the kernel's xdp_sample_pkts)
  xdpdump  20 bytes that begin with interface and queue, packet (xdp-tools)
  raw      all bytes are the packet

--format selects one; by default it is detected for each event. A map has one
reader at a time: a later one replaces the first.

MAP is id ID, name NAME, name DEPLOYMENT/NAME, or pinned FILE.`,
		Example: `  nfpctl map event_pipe name packets --out packets.pcap`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withMap(args, func(m *opened, w words) error {
				if err := p.parse(w); err != nil {
					return err
				}
				k, err := e.kernel()
				if err != nil {
					return err
				}
				return p.run(cmd, k, m, e.json)
			})
		},
	}
	cmd.Flags().StringVarP(&p.out, "out", "o", "", "write packets to capture `FILE`")
	cmd.Flags().StringVar(&p.format, "format", "", "`HEADER` before a packet: sample, xdpdump or raw")
	cmd.Flags().IntVarP(&p.count, "count", "c", 0, "end after `N` events; 0: never")
	return cmd
}

// parse parses "cpu N index M" and checks the flags.
func (p *eventPipe) parse(w words) error {
	seen := map[string]bool{}
	for len(w) > 0 {
		keyword := w.next()
		if keyword != "cpu" && keyword != "index" || seen[keyword] {
			return usagef("%q is neither cpu N nor index M", keyword)
		}
		n, err := w.number(keyword)
		if err != nil {
			return err
		}
		if n > 1<<16 {
			return usagef("%s %d is above 65536", keyword, n)
		}
		seen[keyword] = true
		if keyword == "cpu" {
			p.opt.CPU = int(n)
		} else {
			p.opt.Index = int(n)
		}
	}
	if p.opt.Only = len(seen) > 0; p.opt.Only && len(seen) != 2 {
		return usagef("cpu N and index M go together")
	}
	if _, ok := dumpers[p.format]; !ok && p.format != "" {
		return usagef("--format %q is none of sample, xdpdump, raw", p.format)
	}
	if p.format != "" && p.out == "" {
		return usagef("--format goes with --out")
	}
	if p.count < 0 {
		return usagef("--count %d is negative", p.count)
	}
	return nil
}

// maxLate is the maximum number of events read after the interrupt.
const maxLate = 1 << 16

// run reads events until ctx ends or there were enough.
func (p *eventPipe) run(cmd *cobra.Command, k offload.Kernel, m *opened, asJSON bool) (err error) {
	sink := p.text(cmd.OutOrStdout(), asJSON)
	var c *captured
	if p.out != "" {
		if c, err = createCapture(p.out, p.format); err != nil {
			return err
		}
		sink = c.add
	}
	s, err := k.Samples(m.Map, &p.opt)
	if err != nil {
		return errors.Join(err, c.close(nil))
	}
	defer s.Close()
	fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: listening to map %d; end with an interrupt\n", m.info.ID)
	var lost uint64
	late := 0 // events that were read after the interrupt
	for n := 0; (p.count == 0 || n < p.count) && late < maxLate; {
		if cmd.Context().Err() != nil {
			late++
		}
		sample, readErr := s.Read(cmd.Context())
		if errors.Is(readErr, context.Canceled) {
			break
		}
		if err = readErr; err != nil {
			break
		}
		lost += sample.Lost
		if sample.Lost == 0 {
			n++
		}
		if err = sink(&sample); err != nil {
			break
		}
	}
	if lost > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: %s lost: they came faster than nfpctl read them\n", counted(lost, "event"))
	}
	return errors.Join(err, c.close(cmd.ErrOrStderr()))
}

// text prints events as bpftool does, or one JSON object a line.
func (p *eventPipe) text(w io.Writer, asJSON bool) func(*offload.Sample) error {
	return func(s *offload.Sample) error {
		index := s.CPU
		if p.opt.Only {
			index = p.opt.Index
		}
		b := bufio.NewWriter(w)
		switch {
		case asJSON && s.Lost > 0:
			fmt.Fprintf(b, "{\"cpu\":%d,\"index\":%d,\"lost\":{\"count\":%d}}\n", s.CPU, index, s.Lost)
		case asJSON:
			data := make([]string, len(s.Data))
			for i, c := range s.Data {
				data[i] = fmt.Sprintf("0x%02x", c)
			}
			line, err := json.Marshal(struct {
				CPU       int      `json:"cpu"`
				Index     int      `json:"index"`
				Timestamp int64    `json:"timestamp"`
				Data      []string `json:"data"`
			}{s.CPU, index, int64(s.At), data})
			if err != nil {
				return err
			}
			b.Write(append(line, '\n'))
		case s.Lost > 0:
			fmt.Fprintf(b, "lost %s\n", counted(s.Lost, "event"))
		default:
			fmt.Fprintf(b, "== @%d.%09d CPU: %d index: %d =====\n%s", s.At/time.Second, s.At%time.Second, s.CPU, index, hexDump(s.Data))
		}
		return b.Flush()
	}
}

// hexDump returns 16 bytes per line, with the printable characters next to them.
func hexDump(data []byte) string {
	var b strings.Builder
	for line := range strings.Lines(hex.Dump(data)) {
		if len(line) > 10 { // the last line is only an offset
			b.WriteString(line[4:])
		}
	}
	return b.String()
}

// A dumper extracts the packet from an event, and the packet's length on the wire. ok
// is false if the event does not have the dumper's format.
type dumper func(data []byte) (packet []byte, wire int, ok bool)

var dumpers = map[string]dumper{
	// struct { u16 cookie, length } of samples/bpf/xdp_sample_pkts_kern.c
	"sample": func(data []byte) ([]byte, int, bool) {
		if len(data) < 4 || binary.NativeEndian.Uint16(data) != 0xdead {
			return nil, 0, false
		}
		wire := int(binary.NativeEndian.Uint16(data[2:]))
		return data[4:min(len(data), 4+wire)], wire, wire > 0
	},
	// struct pkt_trace_metadata of xdp-tools: ifindex, rx_queue, pkt_len, cap_len, flags,
	// prog_index, action.
	"xdpdump": func(data []byte) ([]byte, int, bool) {
		const size = 20
		if len(data) < size {
			return nil, 0, false
		}
		wire, captured := int(binary.NativeEndian.Uint16(data[8:])), int(binary.NativeEndian.Uint16(data[10:]))
		rest := len(data) - size
		return data[size:min(len(data), size+captured)], wire, captured > 0 && captured <= wire && captured <= rest && rest-captured < 8
	},
	"raw": func(data []byte) ([]byte, int, bool) { return data, len(data), len(data) > 0 },
}

// captured is a capture to which events are written.
type captured struct {
	path   string
	format string
	f      *os.File
	w      *capture.Writer
	counts map[string]int
	odd    int
}

func createCapture(path, format string) (*captured, error) {
	form, err := capture.FormatOf(path)
	if err != nil {
		return nil, usagef("--out: %w", err)
	}
	c := &captured{path: path, format: format, counts: map[string]int{}}
	if c.f, err = os.Create(path); err == nil {
		c.w, err = capture.NewWriter(c.f, form)
	}
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return c, nil
}

// add writes the packet of an event, if it has one.
func (c *captured) add(s *offload.Sample) error {
	if s.Lost > 0 {
		return nil
	}
	for _, name := range []string{"sample", "xdpdump", "raw"} {
		if c.format != "" && c.format != name {
			continue
		}
		if packet, wire, ok := dumpers[name](s.Data); ok {
			c.counts[name]++
			if err := c.w.WriteCut(time.Now(), packet, wire); err != nil {
				return fmt.Errorf("%s: %w", c.path, err)
			}
			return nil
		}
	}
	c.odd++
	return nil
}

// close completes the capture, and prints a summary to talk, if not nil.
func (c *captured) close(talk io.Writer) error {
	if c == nil {
		return nil
	}
	err := errors.Join(c.w.Close(), c.f.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	if talk != nil {
		var parts []string
		total := 0
		for _, name := range []string{"sample", "xdpdump", "raw"} {
			if n := c.counts[name]; n > 0 {
				parts, total = append(parts, fmt.Sprintf("%d as %s", n, name)), total+n
			}
		}
		if c.odd > 0 {
			parts = append(parts, counted(c.odd, "event")+" without a packet left out")
		}
		said := ""
		if len(parts) > 0 {
			said = ": " + strings.Join(parts, ", ")
		}
		fmt.Fprintf(talk, "nfpctl: %s written to %s%s\n", counted(total, "packet"), c.path, said)
	}
	return nil
}
