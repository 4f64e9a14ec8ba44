package capture

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Format is a file format for captures.
type Format struct{ NG, Gzip bool }

// FormatOf returns the format that a file's name asks for. A name without an
// extension, such as that of a device, asks for pcap.
func FormatOf(name string) (Format, error) {
	base := strings.ToLower(filepath.Base(name))
	plain, zipped := strings.CutSuffix(base, ".gz")
	switch filepath.Ext(plain) {
	case ".pcap", ".cap", ".dmp":
		return Format{Gzip: zipped}, nil
	case ".pcapng", ".ntar":
		return Format{NG: true, Gzip: zipped}, nil
	case "":
		if !zipped {
			return Format{}, nil
		}
	}
	return Format{}, fmt.Errorf("%s: a capture is written to a name that ends in .pcap, .pcapng, .pcap.gz or .pcapng.gz", name)
}

// Writer writes a capture of Ethernet frames with times in nanoseconds.
type Writer struct {
	Moved int // packets whose time the format does not hold; the nearest that it holds was written

	write       func(gopacket.CaptureInfo, []byte) error
	close       []func() error // in this order
	first, last time.Time      // that the format holds
}

// maxFrame is the snap length written, the longest that libpcap takes.
const maxFrame = 262144

// NewWriter begins a capture. Close completes it; w stays open.
func NewWriter(w io.Writer, f Format) (*Writer, error) {
	out := &Writer{first: time.Unix(0, 0)}
	if f.Gzip {
		z := gzip.NewWriter(w)
		out.close = append(out.close, z.Close)
		w = z
	}
	if f.NG {
		ng, err := pcapgo.NewNgWriterInterface(w,
			pcapgo.NgInterface{LinkType: layers.LinkTypeEthernet, SnapLength: maxFrame},
			pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "nfpkit"}})
		if err != nil {
			return nil, err
		}
		out.write, out.last = ng.WritePacket, time.Unix(0, math.MaxInt64)
		out.close = append([]func() error{ng.Flush}, out.close...)
		return out, nil
	}
	classic := pcapgo.NewWriterNanos(w)
	out.write, out.last = classic.WritePacket, time.Unix(math.MaxUint32, 999999999)
	return out, classic.WriteFileHeader(maxFrame, layers.LinkTypeEthernet)
}

// Write adds a frame. The zero time is written as second 0.
func (w *Writer) Write(at time.Time, data []byte) error { return w.WriteCut(at, data, len(data)) }

// WriteCut is Write of a frame whose length on the wire was more than what is there of it.
func (w *Writer) WriteCut(at time.Time, data []byte, wire int) error {
	switch {
	case at.IsZero():
		at = w.first
	case at.Before(w.first):
		at = w.first
		w.Moved++
	case at.After(w.last):
		at = w.last
		w.Moved++
	}
	return w.write(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(data), Length: max(wire, len(data))}, data)
}

// Close completes the capture.
func (w *Writer) Close() error {
	var err error
	for _, fn := range w.close {
		err = errors.Join(err, fn())
	}
	return err
}
