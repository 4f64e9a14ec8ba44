//go:build unix

package sim

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// sixHundredWords returns a program that executes nearly all of its 600 words on every
// packet: arithmetic with carries, fields of transfer registers, local memory, constants.
// Every 18 words there is a comparison with a branch, every 36 a read of the packet with
// its wait.
func sixHundredWords() string {
	var b strings.Builder
	at := 0
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, format+"\n", args...)
		at++
	}
	for i := 0; at < 580; i++ {
		if i%2 == 0 {
			line("mem[read32_swap, $xfer_0, gprA_20, 0x%x, 4], ctx_swap[sig1]", 12+i%16)
		} else {
			line("alu[gprA_8, gprA_8, XOR, gprB_4], gpr_wrboth")
		}
		line("ld_field_w_clr[gprA_2, 0011, $xfer_0], gpr_wrboth")
		line("immed[gprA_3, 0x0], gpr_wrboth")
		line("alu[gprA_4, --, B, $xfer_1], gpr_wrboth")
		line("alu[gprA_4, gprA_4, +, gprB_2], gpr_wrboth")
		line("alu[gprA_5, gprA_5, +carry, gprB_3], gpr_wrboth")
		line("alu[*l$index0[%d], --, B, gprB_4]", i%8)
		line("alu_shf[gprA_6, gprA_4, AND, gprB_5, >>4], gpr_wrboth")
		line("ld_field_w_clr[gprA_7, 0001, *l$index0[%d], >>8], gpr_wrboth", i%8)
		line("alu_shf[gprA_6, --, B, gprB_6, <<3], gpr_wrboth")
		line("immed[gprA_21, 0x1234]")
		line("ld_field[gprA_21, 1100, gprB_6, <<16]")
		line("alu[gprA_6, gprA_6, XOR, gprB_7], gpr_wrboth")
		line("alu[gprA_9, gprA_21, OR, gprB_6], gpr_wrboth")
		line("alu[--, gprA_6, -, gprB_2]")
		line("bcc[.%d]", at+3)
		line("alu[gprA_10, gprA_10, +, 0x1], gpr_wrboth")
		line("alu[gprA_11, gprA_11, +carry, 0x0], gpr_wrboth")
	}
	line("br[.%d]", programEnd)
	return b.String()
}

// bareLoop executes the decoded words of sixHundredWords until the trap at their end, and
// returns how many. It is the least that an interpreter of these ops can do: a loop, a
// switch, operands, results and condition codes. It counts no time, orders no contexts,
// and checks nothing.
func bareLoop(s *Store, r *[regCount]uint32, lm *[LMWords]uint32, packet []byte) int {
	var (
		pc, z, nz, carry uint32
		sum              uint64
		n                int
	)
	for {
		o := &s.ops[pc&storeMask]
		pc++
		n++
		code := o.run
		if code == opXfer {
			code = o.fast
		}
		if code == opSlow {
			code = o.code
		}
		x, y := r[o.a&regMask], r[o.b&regMask]
		switch code {
		case opTrap:
			return n - 1
		case opLoadLM:
			z = lm[o.p&15]
		case opStoreLM:
			lm[o.p&15] = y
			continue
		case opMergeShr:
			z = x&^o.imm | lm[o.p&15]>>(o.sh&31)&o.imm
		case opQuickB, opB:
			z = y
		case opQuickXor, opXor:
			z = x ^ y
		case opQuickOr, opOr:
			z = x | y
		case opQuickAdd:
			z = x + y
		case opAdd:
			sum = uint64(x) + uint64(y)
			z, carry = uint32(sum), uint32(sum>>32)
			nz = z
		case opAddC:
			sum = uint64(x) + uint64(y) + uint64(carry)
			z, carry = uint32(sum), uint32(sum>>32)
			nz = z
		case opSub:
			sum = uint64(x) + uint64(^y) + 1
			z, carry = uint32(sum), uint32(sum>>32)
			nz = z
		case opQuickShrAnd, opShrAnd:
			z = x & (y >> (o.sh & 31))
		case opQuickShlB, opShlB:
			z = y << (o.sh & 31)
		case opQuickLdRot, opLdRot:
			z = x&^o.imm | bits.RotateLeft32(y, -int(o.sh))&o.imm
		case opQuickLdShr, opLdShr:
			z = x&^o.imm | y>>(o.sh&31)&o.imm
		case opQuickLdShl, opLdShl:
			z = x&^o.imm | y<<(o.sh&31)&o.imm
		case opQuickImmed, opImmed:
			z = o.imm
		case opQuickImmedPart, opImmedPart:
			z = x&^o.imm | o.val
		case opBr:
			pc = o.imm
			continue
		case opBCC:
			if carry == 0 {
				pc = o.imm
			}
			continue
		case opCmd:
			at := r[o.b&regMask] & 63
			for i := range uint32(4) {
				r[regIn+i] = binary.BigEndian.Uint32(packet[at+4*i:])
			}
			continue
		default:
			panic(fmt.Sprintf("word %d: dispatch code %d", pc-1, code))
		}
		r[o.d&regMask], r[o.e&regMask] = z, z
		_ = nz
	}
}

// cpuTime is the processor time that the process has used.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRatio reports the speed of the chip in full timing as a part of bareLoop's
// over the same decoded words. The two take turns, so that other
// load slows both.
func BenchmarkRatio(b *testing.B) {
	for _, workers := range []int{5, 50} {
		b.Run(fmt.Sprintf("%d-workers", workers), func(b *testing.B) {
			m := model(b)
			m.Workers = workers
			fw, err := firmware.Load("corenic")
			if err != nil {
				b.Fatal(err)
			}
			store := NewStore()
			if err := store.LoadInsts(0, parse(b, sixHundredWords()), NewSpec(m)); err != nil {
				b.Fatal(err)
			}
			store.Trap(programEnd, func(*Context) (int, Cost, error) { return Halt, Cost{}, nil })
			ch, err := NewChip(store, NewMemory().External, fw, &Options{Model: m})
			if err != nil {
				b.Fatal(err)
			}
			for _, island := range ch.Islands {
				if err := island.SetPacket(0, 0, firmware.BufferBytes); err != nil {
					b.Fatal(err)
				}
			}
			traffic := &Traffic{Packets: [][]byte{make([]byte, 60)}}
			if err := traffic.Start(); err != nil {
				b.Fatal(err)
			}
			ch.program = &Program{
				Enter: func(c *Context, _ int) error {
					c.SetA(20, 1<<31)
					for i := range 12 {
						c.SetA(i, 7)
						c.SetB(i, 7)
					}
					c.SetLMPointer(0, uint32(64*c.n), 8)
					return nil
				},
				Exit: func(*Context) (Verdict, error) { return Verdict{Bytes: 60}, nil },
			}
			ch.packets = newPackets(m, traffic, programEnd, true)
			ch.start()
			ch.begin = epoch
			var (
				r                    [regCount]uint32
				lm                   [LMWords]uint32
				packet               = make([]byte, firmware.BufferBytes)
				chipTime, bareTime   time.Duration
				chipWords, bareWords uint64
			)
			for v := range uint32(256) {
				r[regConst+v] = v
			}
			for b.Loop() {
				begin, words, done := cpuTime(b), ch.Stats.Issue, ch.Stats.done
				if err := ch.advance(done + 2000); err != nil {
					b.Fatal(err)
				}
				chipTime, chipWords = chipTime+cpuTime(b)-begin, chipWords+ch.Stats.Issue-words
				begin = cpuTime(b)
				for range 2000 {
					bareWords += uint64(bareLoop(store, &r, &lm, packet))
				}
				bareTime += cpuTime(b) - begin
			}
			bare := float64(bareWords) / bareTime.Seconds()
			b.ReportMetric(float64(chipWords)/chipTime.Seconds()/bare, "of-bare-loop")
			b.ReportMetric(bare/1e6, "bare-Mwords/cpu-s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
