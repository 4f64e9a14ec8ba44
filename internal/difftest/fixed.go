package difftest

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
)

// A program on which engines once differed is kept as a txtar archive, and an ordinary
// test replays it. Its comment says what was wrong. Its files:
//
// 	program    the program and its maps, eBPF assembly text; tail_N is the target
// 	           at index N of prog array jump
// 	packets    one packet a line, in hex
// 	maps       contents before the first packet: NAME KEY VALUE a line, in hex
// 	want       the interpreter's results: verdict and packet, a line for each,
// 	           then the maps' contents

// Archive writes a program and the interpreter's results.
func Archive(comment string, p *Program, want *Result) ([]byte, error) {
	spec := &ebpf.CollectionSpec{Maps: p.Maps, Programs: map[string]*ebpf.ProgramSpec{}}
	for _, prog := range p.specs() {
		spec.Programs[prog.Name] = prog
	}
	var packets strings.Builder
	for _, pkt := range p.Packets {
		fmt.Fprintf(&packets, "%x\n", pkt)
	}
	a := &txtar.Archive{Comment: []byte(comment), Files: []txtar.File{
		{Name: "program", Data: []byte(asmtext.PrintSpec(spec))},
		{Name: "packets", Data: []byte(packets.String())},
		{Name: "maps", Data: []byte(contentsText(p.Initial))},
		{Name: "want", Data: []byte(resultText(want))},
	}}
	return txtar.Format(a), nil
}

func contentsText(c Contents) string {
	var b strings.Builder
	for _, name := range sortedNames(c) {
		for _, e := range c[name] {
			fmt.Fprintf(&b, "%s %x %x\n", name, e.Key, e.Value)
		}
	}
	return b.String()
}

func resultText(r *Result) string {
	var b strings.Builder
	for _, pkt := range r.Packets {
		fmt.Fprintf(&b, "%d %x\n", pkt.Verdict, pkt.Data)
	}
	return b.String() + contentsText(r.Maps)
}

// Unarchive reads an archive that Archive wrote; want is the text of the results.
func Unarchive(name string, data []byte) (p *Program, want string, err error) {
	p = &Program{Initial: Contents{}}
	for _, f := range txtar.Parse(data).Files {
		lines := strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		if lines[0] == "" {
			lines = nil
		}
		switch f.Name {
		case "program":
			file, err := asmtext.Parse(name, string(f.Data))
			if err != nil {
				return nil, "", err
			}
			p.Maps, p.Targets = file.Spec.Maps, map[uint32]*ebpf.ProgramSpec{}
			for _, prog := range file.Programs {
				var i uint32
				if _, err := fmt.Sscanf(prog, "tail_%d", &i); err == nil {
					p.Targets[i] = file.Spec.Programs[prog]
				} else {
					p.Spec = file.Spec.Programs[prog]
				}
			}
		case "packets":
			for _, line := range lines {
				pkt, err := hex.DecodeString(line)
				if err != nil {
					return nil, "", fmt.Errorf("%s: packets: %w", name, err)
				}
				p.Packets = append(p.Packets, pkt)
			}
		case "maps":
			for _, line := range lines {
				var m string
				var e Entry
				if _, err := fmt.Sscanf(line, "%s %x %x", &m, &e.Key, &e.Value); err != nil {
					return nil, "", fmt.Errorf("%s: maps: %q: %w", name, line, err)
				}
				p.Initial[m] = append(p.Initial[m], e)
			}
		case "want":
			want = string(f.Data)
		}
	}
	if p.Spec == nil || len(p.Packets) == 0 {
		return nil, "", fmt.Errorf("%s: no program or no packets", name)
	}
	return p, want, nil
}

// Reduce shrinks the program of a difference while the same engine differs in the same
// respect, and returns the archive.
func Reduce(d *Difference, kernel bool) ([]byte, error) {
	w, err := newWorker(&Config{Kernel: kernel}, 0)
	if err != nil {
		return nil, err
	}
	defer w.close()
	same := func(q *Program) *Difference {
		c, err := resolve(q)
		if err != nil {
			return nil
		}
		f := w.verify(q, c)
		if f == nil {
			return nil
		}
		if !clean(f) {
			return nil
		}
		w.sum = newSummary(0)
		found := w.compare(q)
		if w.sum.OnlyOurs > 0 || len(w.sum.Refused["verify"]) > 0 {
			return nil
		}
		for _, e := range found {
			if e.Engine == d.Engine && e.shape() == d.shape() {
				return e
			}
		}
		return nil
	}
	small := Shrink(d.Program, func(q *Program) bool { return same(q) != nil })
	e := same(small)
	if e == nil {
		return nil, fmt.Errorf("%s: does not happen again", d)
	}
	c, err := resolve(small)
	if err != nil {
		return nil, err
	}
	want, err := runInterp(small, c)
	if err != nil {
		want = &Result{}
	}
	e.Seed = d.Seed
	return Archive(e.String()+"\n", small, want)
}

// shape returns the kind of difference, without the numbers and names that shrinking
// changes.
func (d *Difference) shape() string {
	if d.Mismatch != nil {
		field, _, _ := strings.Cut(d.Mismatch.Field, " ")
		return field
	}
	msg, _, _ := strings.Cut(general(d.Err.Error()), "\n")
	if i := strings.LastIndex(msg, ": "); i >= 0 {
		msg = msg[i:]
	}
	return msg
}
