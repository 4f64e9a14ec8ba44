package driver

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// TestPrograms runs micro-engine text on a card: what is sent in, what comes
// out. "setup" has a line for each thing to do, in order: see rig.do.
func TestPrograms(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		r := &rig{t: t, files: files, profile: "stock", typ: ebpf.XDP}
		for _, line := range strings.Split(files["setup"], "\n") {
			if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(f[0], "#") {
				if err := r.do(f); err != nil {
					fmt.Fprintf(&r.out, "%s: %v\n", line, err)
				}
			}
		}
		return map[string]string{"out": r.out.String()}
	})
}

// An image that contradicts itself is refused with the place.
func TestLoadUnlinked(t *testing.T) {
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	im := &nfp.Image{Name: "odd", Words: []nfp.Word{0}, Relocs: []nfp.Reloc{{Kind: nfp.RelocMap, Addr: 7}}}
	_, err = n.Load(im, ebpf.XDP)
	if err == nil || !strings.Contains(err.Error(), "7") || !strings.HasSuffix(err.Error(), "(link)") {
		t.Errorf("relocation outside of the image: %v", err)
	}
}

type rig struct {
	t       *testing.T
	files   map[string]string
	profile string
	typ     ebpf.ProgramType
	opt     Options
	nic     *NIC
	progs   map[string]*Program
	out     strings.Builder
}

func (r *rig) card() *NIC {
	if r.nic == nil {
		p, err := firmware.Load(r.profile)
		if err != nil {
			r.t.Fatal(err)
		}
		if r.nic, err = New(p, &r.opt); err != nil {
			r.t.Fatal(err)
		}
		r.progs = map[string]*Program{}
	}
	return r.nic
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 0, 32)
	return uint32(n)
}

// do carries out one line:
//
//	firmware NAME
//	type xdp|tc|raw
//	guard                      GuardPacket
//	map NAME TYPE KEY VALUE ENTRIES
//	put MAP KEY VALUE          hexadecimal, as the host sees it
//	get MAP KEY
//	load FILE
//	tail MAP INDEX FILE
//	run FILE PACKET            hexadecimal; xN repeats the byte before: aax60
func (r *rig) do(f []string) error {
	switch f[0] {
	case "firmware":
		r.profile = f[1]
	case "type":
		r.typ = map[string]ebpf.ProgramType{"xdp": ebpf.XDP, "tc": ebpf.SchedCLS, "raw": ebpf.UnspecifiedProgram}[f[1]]
	case "guard":
		r.opt.Guard = GuardPacket
	case "map":
		info, _ := helper.MapTypeByName(f[2])
		_, err := r.card().CreateMap(&ebpf.MapSpec{Name: f[1], Type: info.Type, KeySize: number(f[3]), ValueSize: number(f[4]), MaxEntries: number(f[5])})
		return err
	case "put":
		return r.card().Map(f[1]).UpdateAll(bytesOf(f[2]), bytesOf(f[3]), 0)
	case "get":
		v, err := r.card().Map(f[1]).LookupAll(bytesOf(f[2]))
		if err == nil {
			fmt.Fprintf(&r.out, "%s[%s] = %x\n", f[1], f[2], v)
		}
		return err
	case "load":
		im, err := nfp.Assemble(r.files[f[1]])
		if err != nil {
			return err
		}
		if im.Name == "" {
			im.Name = f[1]
		}
		r.progs[f[1]], err = r.card().Load(im, r.typ)
		return err
	case "tail":
		return r.card().SetProgArray(r.card().Map(f[1]), number(f[2]), r.progs[f[3]])
	case "run":
		return r.run(f)
	default:
		r.t.Fatalf("no command %s", f[0])
	}
	return nil
}

func (r *rig) run(f []string) error {
	if r.progs[f[1]] == nil {
		return fmt.Errorf("not loaded")
	}
	var data []byte
	if len(f) > 2 {
		data = bytesOf(f[2])
	}
	res, err := r.card().Run(r.progs[f[1]], &Input{Packet: data, Mem: data, RxQueue: 3, Ifindex: 7})
	if err != nil {
		return err
	}
	w := &r.out
	if raw(r.typ) {
		fmt.Fprintf(w, "r0 0x%x", res.R0)
	} else {
		fmt.Fprintf(w, "action %d word 0x%06x", res.Action, res.Word)
	}
	fmt.Fprintf(w, " issue %d elapsed %d\n", res.Issue, res.Elapsed)
	if string(res.Packet) != string(data) {
		fmt.Fprintf(w, " packet %d bytes %x\n", len(res.Packet), res.Packet[:min(32, len(res.Packet))])
	}
	if res.Queue != nil {
		fmt.Fprintf(w, " queue %d\n", *res.Queue)
	}
	if res.Redirect != nil {
		fmt.Fprintf(w, " redirect %+v\n", *res.Redirect)
	}
	if res.Tails > 0 {
		fmt.Fprintf(w, " tail calls %d\n", res.Tails)
	}
	for _, e := range res.Events {
		fmt.Fprintf(w, " event %s cpu %d data %x packet %x\n", e.Map, e.CPU, e.Data, e.Packet)
	}
	for _, s := range res.Warnings {
		fmt.Fprintf(w, " warning %s\n", s)
	}
	return nil
}

// bytesOf reads hexadecimal text; xN repeats the byte before to N in all.
func bytesOf(s string) []byte {
	var b []byte
	for s != "" {
		if s[0] == 'x' {
			i := 1
			for i < len(s) && s[i] >= '0' && s[i] <= '9' && s[i-1] != ',' {
				i++
			}
			n, _ := strconv.Atoi(s[1:i])
			for last := b[len(b)-1]; n > 1; n-- {
				b = append(b, last)
			}
			s = strings.TrimPrefix(s[i:], ",")
			continue
		}
		v, err := hex.DecodeString(s[:2])
		if err != nil {
			panic(err)
		}
		b = append(b, v...)
		s = s[2:]
	}
	return b
}
