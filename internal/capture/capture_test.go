package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

// TestGoodAgainstOthers compares what is read of good captures with pcapgo, and
// with tshark if it is installed.
func TestGoodAgainstOthers(t *testing.T) {
	tshark, missing := exec.LookPath("tshark")
	if missing != nil {
		t.Log("tshark is not installed; pcapgo alone is compared")
	}
	for name, b := range good() {
		t.Run(name, func(t *testing.T) {
			c, err := Read(bytes.NewReader(b.bytes), Limits{})
			if err != nil || c.Damage != nil || len(c.Left)+len(c.Notes) > 0 || len(c.Packets) != len(b.data) {
				t.Fatalf("%v; %+v", err, c)
			}
			for i, p := range c.Packets {
				if !bytes.Equal(p.Data, b.data[i]) || p.Number != i+1 {
					t.Errorf("packet %d is not what was written", i+1)
				}
			}
			if !strings.Contains(name, "modified") { // which pcapgo does not read
				againstPcapgo(t, b.bytes, c)
			}
			if missing == nil {
				againstTshark(t, tshark, b.bytes, c)
			}
		})
	}
}

func againstPcapgo(t *testing.T, file []byte, c *Capture) {
	t.Helper()
	var src gopacket.PacketDataSource
	var err error
	if bytes.HasPrefix(file, ngMagic) {
		src, err = pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.NgReaderOptions{})
	} else {
		src, err = pcapgo.NewReader(bytes.NewReader(file))
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		data, info, err := src.ReadPacketData()
		if errors.Is(err, io.EOF) {
			if i != len(c.Packets) {
				t.Errorf("pcapgo reads %d packets, we %d", i, len(c.Packets))
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, c.Packets[i].Data) || !info.Timestamp.Equal(c.Packets[i].Time) {
			t.Errorf("packet %d: pcapgo %v % x; ours %v % x", i+1, info.Timestamp, data, c.Packets[i].Time, c.Packets[i].Data)
		}
	}
}

func againstTshark(t *testing.T, tshark string, file []byte, c *Capture) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len").Output()
	if err != nil {
		t.Fatal(err)
	}
	var ours strings.Builder
	for _, p := range c.Packets {
		fmt.Fprintf(&ours, "%d.%09d\t%d\t%d\n", p.Time.Unix(), p.Time.Nanosecond(), len(p.Data), len(p.Data))
	}
	if got := string(out); got != ours.String() {
		t.Errorf("tshark reads\n%swe\n%s", got, ours.String())
	}
}

// TestOdd reads captures with one odd part each: the packets around it are kept.
func TestOdd(t *testing.T) {
	le := binary.LittleEndian
	data := frames(2, 60, 60, 60)
	pcap := func(minor uint16, captured, wire uint32, second []byte) []byte {
		b := pcapFile(le, magicMicro, minor)
		b.record(magicMicro, 1, 0, 60, 60, data[0]).record(magicMicro, 2, 0, captured, wire, second)
		return b.record(magicMicro, 3, 0, 60, 60, data[2]).bytes
	}
	ng := func(fill func(b *built)) []byte {
		b := (&built{order: le}).section().describe(1)
		b.enhanced(0, 1, 60, 60, data[0])
		fill(b)
		return b.enhanced(0, 3, 60, 60, data[2]).bytes
	}
	mismatch := func(b *built) { le.PutUint32(b.bytes[len(b.bytes)-4:], 7) }
	for _, test := range []struct {
		name         string
		file         []byte
		kept         []int
		left, damage string
	}{
		{"longer than on the wire", pcap(4, 60, 50, data[1]), []int{1, 3}, "2 captured longer than on the wire: 60 bytes captured of 50 on the wire", ""},
		{"wire length 0", pcap(4, 60, 0, data[1]), []int{1, 3}, "2 captured longer", ""},
		{"cut by the snap length", pcap(4, 60, 1514, data[1]), []int{1, 3}, "2 captured in part: only 60 of its 1514", ""},
		{"64 KiB", pcap(4, 75674, 75674, make([]byte, 75674)), []int{1, 3}, "2 too long: 75674 bytes, and the card's buffers take 9600", ""},
		{"runt", pcap(4, 13, 13, data[1][:13]), []int{1, 3}, "2 too short: 13 bytes are no Ethernet frame", ""},
		{"version 2.3, lengths swapped", pcap(3, 60, 50, data[1][:50]), []int{1, 3}, "2 captured in part: only 50 of its 60", ""},
		{"version 2.2, lengths swapped", pcap(2, 60, 50, data[1][:50]), []int{1, 3}, "2 captured in part: only 50 of its 60", ""},
		{"version 2.3", pcap(3, 60, 60, data[1]), []int{1, 2, 3}, "", ""},
		{"version 2.2", pcap(2, 60, 60, data[1]), []int{1, 2, 3}, "", ""},
		{"claims 2 GiB", pcap(4, math.MaxInt32, math.MaxInt32, nil), []int{1}, "2 damaged: it claims 2147483647 captured bytes, and no record has more than 262144", "packet 2: .* the last 92 bytes of the capture, from byte 100, are not read"},
		{"claims too many", pcap(4, 160, 160, data[1]), []int{1}, "2 damaged: the file ends after 136 of its 160", "packet 2"},
		{"claims too few", pcap(4, 40, 60, data[1]), []int{1}, "2 damaged: it claims 40 captured bytes of 60 on the wire, and no packet follows", "packet 2"},
		{"ng: longer than on the wire", ng(func(b *built) { b.enhanced(0, 2, 60, 50, data[1]) }), []int{1, 3}, "2 captured longer", ""},
		{"ng: cut by the snap length", ng(func(b *built) { b.enhanced(0, 2, 60, 61, data[1]) }), []int{1, 3}, "2 captured in part", ""},
		{"ng: unknown block", ng(func(b *built) { b.block(0x99, func(*built) {}) }), []int{1, 2}, "", ""},
		{"ng: packet without time", ng(func(b *built) { b.simple(data[1]) }), []int{1, 2, 3}, "", ""},
		{"ng: claims more than its block", ng(func(b *built) { b.enhanced(0, 2, 61, 61, data[1]) }), []int{1, 3}, "2 damaged: it claims 61 captured bytes, and its block has room for 60", ""},
		{"ng: short block", ng(func(b *built) { b.block(blockEnhanced, func(i *built) { i.u32(0) }) }), []int{1, 3}, "2 damaged: its block has 4 bytes", ""},
		{"ng: unknown interface", ng(func(b *built) { b.enhanced(82, 2, 60, 60, data[1]) }), []int{1, 3}, "2 of an unknown interface: interface 82, and the section describes 1", ""},
		{"ng: mixed link types", ng(func(b *built) { b.describe(113).enhanced(1, 2, 60, 60, data[1]) }), []int{1, 3}, "2 not Ethernet: interface 1: link type Linux SLL", ""},
		{"ng: short description", ng(func(b *built) {
			b.block(blockInterface, func(i *built) { i.u32(1) }).enhanced(1, 2, 60, 60, data[1])
		}), []int{1, 3}, "2 of an unknown interface: interface 1: described in 4 bytes", ""},
		{"ng: description with two lengths", ng(func(b *built) { b.describe(1); mismatch(b); b.enhanced(1, 2, 60, 60, data[1]) }), []int{1, 3}, "2 of an unknown interface: interface 1: described in a block with length 20 at its start and 7 at its end", ""},
		{"ng: packet with two lengths", ng(func(b *built) { b.enhanced(0, 2, 60, 60, data[1]); mismatch(b) }), []int{1, 3}, "2 damaged: a block with length 92 at its start and 7", ""},
		{"ng: other block with two lengths", ng(func(b *built) { b.block(blockNames, func(i *built) { i.u32(0) }); mismatch(b) }), []int{1, 2}, "", ""},
		{"ng: block of length 0", ng(func(b *built) { b.u32(0x99, 0, 0) }), []int{1}, "", "the block at byte 140 has length 0, and no block is shorter than 12; the last 104 bytes"},
		{"ng: no interface", ng(func(b *built) { b.section().enhanced(0, 2, 60, 60, data[1]).describe(1) }), []int{1, 3}, "2 of an unknown interface", ""},
		{"ng: second section of version 2", ng(func(b *built) { at := len(b.bytes); b.section(); b.bytes[at+12] = 2 }), []int{1}, "", "the section header at byte 140: version 2; version 1 is read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Read(bytes.NewReader(test.file), Limits{Min: 14, Max: 9600})
			if err != nil {
				t.Fatal(err)
			}
			var kept []int
			for _, p := range c.Packets {
				kept = append(kept, p.Number)
			}
			left := ""
			for _, l := range c.Left {
				left += fmt.Sprintf("%d %s: %s\n", l.Packet, l.Reason, l.Detail)
			}
			if !slices.Equal(kept, test.kept) || !strings.HasPrefix(left, test.left) || (test.left == "") != (left == "") {
				t.Errorf("kept %v, left out %q; want %v, %q", kept, left, test.kept, test.left)
			}
			matches(t, c.Damage, test.damage)
		})
	}
}

func matches(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil && want == "" {
		return
	}
	if err == nil || want == "" || !regexp.MustCompile(want).MatchString(err.Error()) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestRefused reads what is no capture of Ethernet frames.
func TestRefused(t *testing.T) {
	le := binary.LittleEndian
	head := pcapFile(le, magicMicro, 4).bytes
	with := func(at int, v ...byte) []byte { return slices.Replace(bytes.Clone(head), at, at+len(v), v...) }
	section := (&built{order: le}).section().bytes
	for _, test := range []struct {
		file []byte
		want string
	}{
		{nil, "^not a capture: the file is empty$"},
		{[]byte("abc"), "^not a capture: 3 bytes$"},
		{[]byte("hello world, this is text"), "^pcap header: it begins with 68 65 6c 6c, .*editcap"},
		{[]byte("snoop\x00\x00\x00"), "a snoop capture; convert it with editcap"},
		{[]byte("\x28\xb5\x2f\xfdabcd"), "a zstd archive; unpack it with zstd -d"},
		{head[:20], "^pcap header: cut after 20 of 24 bytes$"},
		{with(4, 3), "version 3.4; 2.4 and older"},
		{with(6, 5), "version 2.5"},
		{with(20, 113), "link type Linux SLL: only Ethernet"},
		{section[:20], "^pcapng header: cut after 20"},
		{slices.Replace(bytes.Clone(section), 8, 9, 0), "byte-order magic 00 3c 2b 1a"},
		{slices.Replace(bytes.Clone(section), 4, 5, 0), "length 0"},
		{[]byte{0x1f, 0x8b, 8, 0}, "^gzip: "},
	} {
		_, err := Read(bytes.NewReader(test.file), Limits{})
		matches(t, err, test.want)
	}
}

// TestTimes converts times of every resolution, with offsets, up to the last that
// 64 bits hold.
func TestTimes(t *testing.T) {
	for _, test := range []struct {
		resolution byte
		offset     int64
		units      uint64
		want       string
	}{
		{6, 0, 1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"},
		{0, 0, 1_700_000_000, "2023-11-14T22:13:20Z"},
		{9, 0, 1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"},
		{12, 0, 1_700_000_000_123_456, "1970-01-01T00:28:20.000000123Z"},
		{19, 0, math.MaxUint64, "1970-01-01T00:00:01.844674407Z"},
		{20, 0, math.MaxUint64, "1970-01-01T00:00:00.18446744Z"},
		{127, 0, math.MaxUint64, "1970-01-01T00:00:00Z"},
		{6, -100, 1_000_000, "1969-12-31T23:58:21Z"},
		{9, 0, math.MaxUint64, "2554-07-21T23:34:33.709551615Z"},
		{6, 0, 1 << 63, ""}, // the year 294247
		{0, 0, math.MaxUint64, ""},
		{0, math.MaxInt64, 1 << 62, ""},
		{0, math.MinInt64, 0, ""},
		{0x80 | 10, 0, 1_700_000_000<<10 | 512, "2023-11-14T22:13:20.5Z"},
		{0x80 | 63, 0, 1<<63 | 1<<62, "1970-01-01T00:00:01.5Z"},
		{0x80 | 64, 0, 1 << 63, "1970-01-01T00:00:00.5Z"},
		{0x80 | 65, 0, 1 << 63, "1970-01-01T00:00:00.25Z"},
		{0x80 | 127, 0, math.MaxUint64, "1970-01-01T00:00:00Z"},
	} {
		b := (&built{order: binary.BigEndian}).section()
		o := options(b.order, optResolution, test.resolution)
		o = append(options(b.order, optOffset, b.order.AppendUint64(nil, uint64(test.offset))...)[:12], o...)
		b.describe(1, o...).enhanced(0, test.units, 60, 60, make([]byte, 60))
		c, err := Read(bytes.NewReader(b.bytes), Limits{})
		if err != nil || len(c.Packets) != 1 {
			t.Fatal(err, c)
		}
		got := c.Packets[0].Time.Format(time.RFC3339Nano)
		if test.want == "" {
			if !c.Packets[0].Time.IsZero() || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "packet 1: its time") {
				t.Errorf("%d units of %#x + %d: %s, %q; want no time, and a note", test.units, test.resolution, test.offset, got, c.Notes)
			}
		} else if got != test.want || len(c.Notes) > 0 {
			t.Errorf("%d units of %#x + %d: %s, %q; want %s", test.units, test.resolution, test.offset, got, c.Notes, test.want)
		}
	}
}

// TestDamage damages each byte of each good capture in several forms, and truncates
// the capture there. Packets before the damage must be read unchanged. No other bytes
// may be read as a packet. Each packet is either kept or left out, once.
func TestDamage(t *testing.T) {
	cases, kept := 0, 0
	for name, b := range good() {
		check := func(what string, file []byte, at int) {
			cases++
			c, err := Read(bytes.NewReader(file), Limits{})
			if err != nil {
				if at >= 28 { // past the headers of both formats
					t.Errorf("%s, %s at byte %d: %v", name, what, at, err)
				}
				return
			}
			kept += len(c.Packets)
			if err := sound(c, b, at); err != nil {
				t.Errorf("%s, %s at byte %d: %v", name, what, at, err)
			}
		}
		for at := range b.bytes {
			check("cut", b.bytes[:at:at], at)
			if inData(b, at) {
				continue
			}
			for _, v := range []byte{b.bytes[at] ^ 1, b.bytes[at] ^ 0x80, b.bytes[at] + 1, 0, 0xff} {
				turned := b.bytes[at] == blockPacket && v == blockSimple // no format shows that
				if v != b.bytes[at] && !turned {
					file := bytes.Clone(b.bytes)
					file[at] = v
					check(fmt.Sprintf("%#x", v), file, at)
				}
			}
		}
	}
	t.Logf("%d damaged captures, %d packets read of them", cases, kept)
}

// inData reports whether the byte is inside a packet, in which any value is valid.
func inData(b *built, at int) bool {
	for i, end := range b.ends {
		pad := 0
		if bytes.HasPrefix(b.bytes, ngMagic) {
			pad = 4 + -len(b.data[i])&3
		}
		if at < end-pad && at >= end-pad-len(b.data[i]) {
			return true
		}
	}
	return false
}

// sound compares a damaged capture with what it was: those packets in their order,
// some of them missing, but none that ends before the damage. Only a block whose
// type was damaged is one packet less or more, and then a note says so, or the
// packet is left out.
func sound(c *Capture, b *built, at int) error {
	from := 0
	for _, p := range c.Packets {
		i := slices.IndexFunc(b.data[from:], func(d []byte) bool { return bytes.Equal(d, p.Data) })
		switch {
		case i < 0:
			return fmt.Errorf("packet %d is none of the capture's", p.Number)
		case from+i+1 != p.Number && len(c.Notes)+len(c.Left) == 0:
			return fmt.Errorf("packet %d was packet %d", p.Number, from+i+1)
		}
		from += i + 1
	}
	for i, end := range b.ends {
		if end <= at && (i >= len(c.Packets) || c.Packets[i].Number != i+1) {
			return fmt.Errorf("packet %d is lost", i+1)
		}
	}
	return accounted(c)
}

// accounted reports a packet that is not exactly once kept or left out.
func accounted(c *Capture) error {
	seen := map[int]int{}
	for _, p := range c.Packets {
		seen[p.Number]++
	}
	for _, l := range c.Left {
		seen[l.Packet]++
	}
	for n := range len(seen) {
		if seen[n+1] != 1 {
			return fmt.Errorf("packet %d is kept or left out %d times", n+1, seen[n+1])
		}
	}
	return nil
}

// TestGzip reads compressed captures, whole, cut and damaged.
func TestGzip(t *testing.T) {
	b := good()["pcap nano LittleEndian"]
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(b.bytes)
	_ = w.Close()
	for cut := range z.Len() + 1 {
		c, err := Read(bytes.NewReader(z.Bytes()[:cut]), Limits{})
		switch {
		case err != nil:
			continue
		case cut < z.Len() && c.Damage == nil, cut == z.Len() && (c.Damage != nil || len(c.Packets) != len(b.data)):
			t.Errorf("cut at %d of %d: %d packets, damage %v", cut, z.Len(), len(c.Packets), c.Damage)
		}
		if err := accounted(c); err != nil {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// TestWrite writes in every format, and reads back the same.
func TestWrite(t *testing.T) {
	packets := []Packet{
		{1, frames(3, 60)[0], time.Unix(1700000000, 123456789).UTC()},
		{2, frames(4, 1514)[0], time.Unix(0, 0).UTC()},
		{3, nil, time.Unix(math.MaxUint32, 999999999).UTC()},
	}
	for name, begins := range map[string]string{
		"a.pcap": "\x4d\x3c\xb2\xa1", "a.CAP": "\x4d\x3c\xb2\xa1", "-": "\x4d\x3c\xb2\xa1", "/dev/null": "\x4d\x3c\xb2\xa1",
		"a.pcapng": "\x0a\x0d\x0d\x0a", "a.pcap.gz": "\x1f\x8b", "a.pcapng.gz": "\x1f\x8b",
	} {
		f, err := FormatOf(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			if err := w.Write(p.Time, p.Data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil || !strings.HasPrefix(out.String(), begins) || w.Moved != 0 {
			t.Errorf("%s: %v; begins % x; %d moved", name, err, out.Bytes()[:4], w.Moved)
		}
		c, err := Read(&out, Limits{})
		if err != nil || len(c.Packets) != len(packets) {
			t.Fatalf("%s: %v, %+v", name, err, c)
		}
		for i, p := range c.Packets {
			if p.Number != i+1 || !bytes.Equal(p.Data, packets[i].Data) || !p.Time.Equal(packets[i].Time) {
				t.Errorf("%s: packet %d: %v, want %v", name, i+1, p, packets[i])
			}
		}
	}
	for _, name := range []string{"a.gz", "a.txt", "a.pcap.zst", "a.json"} {
		_, err := FormatOf(name)
		matches(t, err, "ends in .pcap, .pcapng, .pcap.gz or .pcapng.gz")
	}
}

// TestWriteMoved writes times that the format does not hold.
func TestWriteMoved(t *testing.T) {
	for _, f := range []Format{{}, {NG: true}} {
		w, err := NewWriter(io.Discard, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{{}, time.Unix(-1, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
			if err := w.Write(at, make([]byte, 60)); err != nil {
				t.Fatal(err)
			}
		}
		if want := map[bool]int{false: 3, true: 2}[f.NG]; w.Moved != want {
			t.Errorf("%+v: %d times moved, want %d", f, w.Moved, want)
		}
	}
}

// FuzzRead reads arbitrary bytes: no panic, each packet accounted for, and what is
// kept within the limits.
func FuzzRead(f *testing.F) {
	for _, b := range good() {
		f.Add(b.bytes[:min(len(b.bytes), 700)])
	}
	limits := Limits{Min: 14, Max: 9600}
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := Read(bytes.NewReader(file), limits)
		if err != nil {
			return
		}
		if err := accounted(c); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Packets {
			if len(p.Data) < limits.Min || len(p.Data) > limits.Max {
				t.Fatalf("packet %d has %d bytes", p.Number, len(p.Data))
			}
		}
	})
}
