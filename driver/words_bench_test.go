//go:build unix

package driver_test

import (
	"os"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// BenchmarkExample runs whole programs on the card, packet by packet through a
// capture, and reports instructions executed per second of one core. That includes
// delivery of the packets, garbage for all state that the contract leaves undefined,
// and helpers.
func BenchmarkExample(b *testing.B) {
	for _, e := range []struct{ program, capture string }{
		{"counters", "mixed.pcap"},
		{"firewall", "mixed.pcap"},
		{"l4lb", "web.pcap"},
		{"ddos", "attack.pcap"},
		{"ratelimit", "mixed.pcap"},
	} {
		b.Run(e.program, func(b *testing.B) {
			packets := capture(b, e.capture)
			nic, prog := loaded(b, "../examples/"+e.program+".o")
			words, runs, before := uint64(0), 0, cpuTime(b)
			for b.Loop() {
				for _, p := range packets {
					r, err := nic.Run(prog, &driver.Input{Packet: p})
					if err != nil {
						b.Fatal(err)
					}
					words += r.Words
				}
				runs += len(packets)
			}
			b.ReportMetric(float64(words)/(cpuTime(b)-before).Seconds()/1e6, "Mwords/cpu-s")
			b.ReportMetric(float64(words)/b.Elapsed().Seconds()/1e6, "Mwords/s")
			b.ReportMetric(float64(words)/float64(runs), "words/packet")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(runs), "ns/packet")
		})
	}
}

// BenchmarkParserWords is the large parser of BenchmarkVerifyCompile on one
// packet that keeps it going: what an engine does when words outweigh packets.
func BenchmarkParserWords(b *testing.B) {
	c := parser(b, 4000)
	nic, prog := place(b, c)
	packet := make([]byte, 256)
	for i := range packet {
		packet[i] = byte(i)
	}
	words, before := uint64(0), cpuTime(b)
	for b.Loop() {
		r, err := nic.Run(prog, &driver.Input{Packet: packet})
		if err != nil {
			b.Fatal(err)
		}
		words += r.Words
	}
	b.ReportMetric(float64(words)/(cpuTime(b)-before).Seconds()/1e6, "Mwords/cpu-s")
	b.ReportMetric(float64(words)/b.Elapsed().Seconds()/1e6, "Mwords/s")
	b.ReportMetric(float64(words)/float64(b.N), "words/packet")
}

// loaded is a card with the first program of an object, firmware unlimited. Maps
// are empty.
func loaded(tb testing.TB, path string) (*driver.NIC, *driver.Program) {
	tb.Helper()
	o, err := object.Load(path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := o.Code(o.Programs[0])
	if err != nil {
		tb.Fatal(err)
	}
	return place(tb, c)
}

func place(tb testing.TB, c *code.Code) (*driver.NIC, *driver.Program) {
	tb.Helper()
	f, err := verify.Verify(c, nil)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := firmware.Load("unlimited")
	if err != nil {
		tb.Fatal(err)
	}
	im, err := jit.Compile(f, p, nil)
	if err != nil {
		tb.Fatal(err)
	}
	nic, err := driver.New(p, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range c.Maps {
		if _, err := nic.CreateMap(m); err != nil {
			tb.Fatal(err)
		}
	}
	prog, err := nic.Load(im, c.Type)
	if err != nil {
		tb.Fatal(err)
	}
	return nic, prog
}

// capture is the packets of one of examples' captures.
func capture(tb testing.TB, name string) [][]byte {
	tb.Helper()
	f, err := os.Open("../examples/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for {
		data, _, err := r.ReadPacketData()
		if err != nil {
			return out
		}
		out = append(out, data)
	}
}
