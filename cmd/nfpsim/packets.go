package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// maxPacket is the longest packet the card's buffers take, in bytes.
const maxPacket = 9600

// packet is one frame and when it was captured.
type packet struct {
	data []byte
	time time.Time
}

// parseHex reads bytes written as hex digits; blanks and colons may part them.
func parseHex(s string) ([]byte, error) {
	s = strings.NewReplacer(" ", "", ":", "", "\n", "", "\t", "").Replace(strings.TrimPrefix(s, "0x"))
	data, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("not hex: %w", err)
	}
	return data, nil
}

func checkPacket(data []byte) error {
	if len(data) > maxPacket {
		return fmt.Errorf("packet of %d bytes is longer than the card's buffers (%d)", len(data), maxPacket)
	}
	return nil
}

// readPcap reads every packet of a pcap or pcapng file, "-" for standard input.
// A file that is cut short is an error that names the packet.
func readPcap(path string, stdin io.Reader) ([]packet, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	packets, err := readPackets(bufio.NewReader(in))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return packets, nil
}

func readPackets(in *bufio.Reader) ([]packet, error) {
	src, err := newPacketSource(in)
	if err != nil {
		return nil, err
	}
	var packets []packet
	for {
		data, info, err := src.ReadPacketData()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return packets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", len(packets)+1, err)
		}
		if info.Length > info.CaptureLength {
			return nil, fmt.Errorf("packet %d: only %d of its %d bytes were captured; capture whole packets (tcpdump -s 0)",
				len(packets)+1, info.CaptureLength, info.Length)
		}
		if err := checkPacket(data); err != nil {
			return nil, fmt.Errorf("packet %d: %w", len(packets)+1, err)
		}
		packets = append(packets, packet{data, info.Timestamp})
	}
}

// newPacketSource tells pcapng from pcap by its first bytes.
func newPacketSource(in *bufio.Reader) (gopacket.PacketDataSource, error) {
	magic, err := in.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("not a capture: %d bytes", len(magic))
	}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{ErrorOnMismatchingLinkType: true})
		if err != nil {
			return nil, fmt.Errorf("pcapng header: %w", err)
		}
		return r, ethernet(r.LinkType())
	}
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("pcap header: %w", err)
	}
	return r, ethernet(r.LinkType())
}

func ethernet(t layers.LinkType) error {
	if t != layers.LinkTypeEthernet {
		return fmt.Errorf("link type %v: only Ethernet captures can be replayed", t)
	}
	return nil
}

// writePcap writes packets whole or not at all.
func writePcap(path string, stdout io.Writer, packets []packet) error {
	return writeFile(path, stdout, func(w io.Writer) error {
		out := pcapgo.NewWriterNanos(w)
		if err := out.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
			return err
		}
		for _, p := range packets {
			info := gopacket.CaptureInfo{Timestamp: p.time, CaptureLength: len(p.data), Length: len(p.data)}
			if err := out.WritePacket(info, p.data); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeFile writes a file whole or not at all: into a neighbour first, renamed
// when complete. "-" is stdout. What is there and no plain file (a device, a
// pipe) is written to as it is.
func writeFile(path string, stdout io.Writer, fill func(io.Writer) error) error {
	if path == "-" {
		return fill(stdout)
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return writeDevice(path, fill)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".nfpsim-*")
	var fault *fs.PathError
	if errors.As(err, &fault) {
		return fmt.Errorf("%s: %w", path, fault.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	w := bufio.NewWriter(f)
	if err := errors.Join(fill(w), w.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func writeDevice(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(fill(w), w.Flush(), f.Close())
}
