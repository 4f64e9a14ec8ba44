package interp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// TestPrograms runs the programs of testdata/programs.txt.
func TestPrograms(t *testing.T) {
	text, err := os.ReadFile("testdata/programs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n== ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		src, want, ok := strings.Cut(rest, "expect:")
		if !ok {
			t.Fatalf("%s: no expect line", name)
		}
		want, _, _ = strings.Cut(want, "\n")
		t.Run(name, func(t *testing.T) {
			got := describe(runText(t, src, strings.Contains(want, "tail=")))
			if want = strings.TrimSpace(want); got != normal(want) {
				t.Errorf("got  %s\nwant %s", got, normal(want))
			}
		})
	}
}

var numbers = regexp.MustCompile(`(action)=(\S+)`)

// normal writes the action as describe does.
func normal(want string) string {
	return numbers.ReplaceAllStringFunc(want, func(s string) string {
		var v uint32
		if _, err := fmt.Sscanf(s, "action=%v", &v); err != nil {
			return s
		}
		return fmt.Sprintf("action=%#x", v)
	})
}

type outcome struct {
	r    *Result
	err  error
	tail bool
}

func runText(t *testing.T, src string, tail bool) outcome {
	f, err := asmtext.Parse("test", src)
	if err != nil {
		t.Fatal(err)
	}
	spec := f.Spec.Programs["p"]
	opt := &Options{MaxSteps: 100000}
	m := machine(t, spec, f.Spec.Maps, opt)
	again := m.prog
	m.opt.Tail = func(_ *maps.Targets, number uint32) *Program {
		if number == 101 {
			return again
		}
		return answer(t)
	}
	for _, x := range m.maps {
		if err := maps.LoadContents(x, nil); err != nil {
			t.Fatal(err)
		}
		if targets, ok := x.(*maps.Targets); ok && x.Spec().Type != ebpf.PerfEventArray {
			for i := range uint32(3) {
				if i == 0 || x.Spec().Type == ebpf.DevMap && i == 1 {
					continue // no entry
				}
				key, value := binary.LittleEndian.AppendUint32(nil, i), binary.LittleEndian.AppendUint32(nil, i+100)
				if err := targets.UpdateAll(key, value, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	in := &Input{Ifindex: 7, RxQueue: 3}
	for i := range 64 {
		in.Packet = append(in.Packet, byte(i))
	}
	r, err := m.Run(in)
	return outcome{r, err, tail}
}

// answer returns a program that returns 42 from a fresh stack.
func answer(t *testing.T) *Program {
	f, err := asmtext.Parse("answer", ".program xdp p\nr0 = *(u64 *)(r10 - 8)\nr0 += 42\nexit\n")
	if err != nil {
		t.Fatal(err)
	}
	c, faults := code.New(f.Spec.Programs["p"], nil)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return &Program{Code: c}
}

func describe(o outcome) string {
	var fault *Fault
	if errors.As(o.err, &fault) {
		return "fault=" + fault.Reason
	}
	r := o.r
	s := fmt.Sprintf("action=%#x", r.Action)
	if o.tail {
		n := len(r.Packet)
		s += fmt.Sprintf(" tail=%x:%x", r.Packet[n-5], r.Packet[n-4:])
	}
	if r.RxQueue != nil {
		s += fmt.Sprintf(" rxqueue=%d", *r.RxQueue)
	}
	if d := r.Redirect; d != nil && d.Map != nil {
		s += fmt.Sprintf(" redirect=%s:%d", d.Map.Name, d.Key)
	} else if d != nil {
		s += fmt.Sprintf(" redirect=ifindex:%d", d.Ifindex)
	}
	for _, e := range r.Events {
		s += fmt.Sprintf(" events=%s:%d:%x:%x", e.Map.Name, e.CPU, e.Data, e.Packet)
	}
	for _, p := range r.Printk {
		s += fmt.Sprintf(" printk=%q", p)
	}
	if r.TailCalls > 0 {
		s += fmt.Sprintf(" tails=%d", r.TailCalls)
	}
	return s
}

// TestFaultText checks the text of a fault.
func TestFaultText(t *testing.T) {
	o := runText(t, ".program xdp p\nr1 = *(u32 *)(r1 + 0)\nr0 = *(u16 *)(r1 + 63)\nexit\n", false)
	want := "pc 1: r0 = *(u16 *)(r1 + 63): 2 bytes at 0x8001013f: outside the packet, 64 bytes at 0x80010100 (packet-bounds)"
	if o.err == nil || o.err.Error() != want {
		t.Errorf("got  %v\nwant %s", o.err, want)
	}
}
