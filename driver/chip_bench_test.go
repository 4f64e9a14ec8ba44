//go:build unix

package driver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// mixedWords is a program of about n words that executes nearly all of them on
// every packet. They are arithmetic on both banks with carries, fields of transfer
// registers, local memory and constants. Every 18 words there is a comparison with
// a branch, every 36 a read of the packet with its wait.
func mixedWords(n int) string {
	var b strings.Builder
	b.WriteString("immed[gprB_22, 0x3fff]\nalu[gprB_22, gprB_22, AND, *l$index1]\n")
	for i := 0; 18*i+5 < n; i++ {
		if i%2 == 0 {
			fmt.Fprintf(&b, "mem[read32_swap, $xfer_0, *l$index1[2], 0x%x, 4], ctx_swap[sig1]\n", 12+i%16)
		} else {
			b.WriteString("alu[gprA_8, gprA_8, XOR, gprB_4], gpr_wrboth\n")
		}
		fmt.Fprintf(&b, `ld_field_w_clr[gprA_2, 0011, $xfer_0], gpr_wrboth
immed[gprA_3, 0x0], gpr_wrboth
alu[gprA_4, --, B, $xfer_1], gpr_wrboth
alu[gprA_4, gprA_4, +, gprB_2], gpr_wrboth
alu[gprA_5, gprA_5, +carry, gprB_3], gpr_wrboth
alu[*l$index0[%[1]d], --, B, gprB_4]
alu_shf[gprA_6, gprA_4, AND, gprB_5, >>4], gpr_wrboth
ld_field_w_clr[gprA_7, 0001, *l$index0[%[1]d], >>8], gpr_wrboth
alu_shf[gprA_6, --, B, gprB_6, <<3], gpr_wrboth
immed[gprA_21, 0x1234]
ld_field[gprA_21, 1100, gprB_6, <<16]
alu[gprA_6, gprA_6, XOR, gprB_7], gpr_wrboth
alu[gprA_9, gprA_21, OR, gprB_6], gpr_wrboth
alu[--, gprA_6, -, gprB_2]
bcc[l%[2]d]
alu[gprA_10, gprA_10, +, 0x1], gpr_wrboth
alu[gprA_11, gprA_11, +carry, 0x0], gpr_wrboth
l%[2]d:
`, i%8, i)
	}
	b.WriteString("br[.15000], defer[2]\nimmed[gprA_0, 0x22, <<16]\nalu[gprA_1, --, B, 0x0]\n")
	return b.String()
}

// BenchmarkChip is microwords executed per second of CPU, one core: by size of the
// program, timed on 5 and 50 workers (20 and 200 contexts) and functional.
func BenchmarkChip(b *testing.B) {
	p, err := firmware.Load("corenic")
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{600, 2500} {
		im, err := nfp.Assemble(mixedWords(size))
		if err != nil {
			b.Fatal(err)
		}
		packet := make([]byte, 60)
		for i := range packet {
			packet[i] = byte(7 * i)
		}
		for _, c := range []struct {
			name    string
			workers int
		}{{"functional", 0}, {"20-contexts", 5}, {"200-contexts", 50}} {
			b.Run(fmt.Sprintf("%d/%s", size, c.name), func(b *testing.B) {
				words, before := 0.0, cpuTime(b)
				for b.Loop() {
					nic, err := driver.New(p, nil)
					if err != nil {
						b.Fatal(err)
					}
					prog, err := nic.Load(im, ebpf.XDP)
					if err != nil {
						b.Fatal(err)
					}
					r, err := nic.Bench(prog, &driver.Bench{
						Workers: c.workers, Functional: c.workers == 0, Traffic: sim.Traffic{Packets: [][]byte{packet}},
						Measure: sim.Measure{Packets: uint64(60_000_000 / size), CIPercent: 1e-9},
					})
					if err != nil {
						b.Fatal(err)
					}
					words += r.WordsPerPacket * float64(r.Packets+r.WarmUp)
				}
				b.ReportMetric(words/(cpuTime(b)-before).Seconds()/1e6, "Mwords/cpu-s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkAnswer is how long a whole measurement takes: 600 words, 50 workers,
// until the interval is below half a per cent.
func BenchmarkAnswer(b *testing.B) {
	p, err := firmware.Load("corenic")
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{600, 2500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			im, err := nfp.Assemble(mixedWords(size))
			if err != nil {
				b.Fatal(err)
			}
			before := cpuTime(b)
			n := 0
			for b.Loop() {
				nic, err := driver.New(p, nil)
				if err != nil {
					b.Fatal(err)
				}
				prog, err := nic.Load(im, ebpf.XDP)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := nic.Bench(prog, &driver.Bench{Traffic: sim.Traffic{Packets: [][]byte{make([]byte, 60)}}}); err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()*1e3/float64(n), "cpu-ms/op")
		})
	}
}
