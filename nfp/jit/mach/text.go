package mach

import (
	"fmt"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
)

// The text of a function:
//
//	func NAME frame=16 spill=0 [vregs=12] [entry] ...
//	b0: [depth=1]
//	    alu[v0, v1, +, 0x4] ; pc 3
//	  | alu[v2, v0, -, v1] ; port-a, no-cc
//	  # alu[v3, --, B, v3]
//	    beq[.0] ; to b2, likely
//	    next b1
//
// A bar marks an instruction that must directly follow the one before it, a hash
// one that takes no control-store word. Attributes follow a semicolon, separated
// by commas. String omits details that a reader of a dump does not need. Text is
// complete, so that Parse returns an equal function.

// String returns the function's text for dumps and listings.
func (f *Func) String() string {
	return f.print(fmt.Sprintf("func %s frame=%d spill=%d", f.Name, f.Frame, f.Spill), func(*Block) string { return "" }, (*Inst).text)
}

// Text returns the function's complete text; see Parse. Inst.Orig is not part of it.
func (f *Func) Text() string {
	depth := func(b *Block) string {
		if b.Depth != 0 {
			return fmt.Sprintf(" depth=%d", b.Depth)
		}
		return ""
	}
	return f.print(f.header(), depth, func(in *Inst) string {
		if a := in.attributes(); len(a) > 0 {
			return in.Inst.Text() + " ; " + strings.Join(a, ", ")
		}
		return in.Inst.Text()
	})
}

func (f *Func) print(header string, block func(*Block) string, inst func(*Inst) string) string {
	var w strings.Builder
	w.WriteString(header + "\n")
	for i, b := range f.Blocks {
		fmt.Fprintf(&w, "b%d:%s\n", i, block(b))
		for j := range b.Insts {
			in := &b.Insts[j]
			mark := " "
			switch {
			case in.Drop && in.Glue:
				mark = "+"
			case in.Drop:
				mark = "#"
			case in.Glue:
				mark = "|"
			}
			fmt.Fprintf(&w, "  %s %s\n", mark, inst(in))
		}
		if b.Next >= 0 {
			fmt.Fprintf(&w, "    next b%d\n", b.Next)
		}
	}
	return w.String()
}

// text is the instruction as dumps show it.
func (in *Inst) text() string {
	s := in.Inst.Text()
	switch {
	case in.Call != nil && in.Call.Callee != "":
		s += " ; to " + in.Call.Callee
	case in.To >= 0:
		s += fmt.Sprintf(" ; to b%d", in.To)
	case in.Reloc == nfp.RelocHelper:
		s += fmt.Sprintf(" ; helper %d", in.Helper)
	case in.Reloc == nfp.RelocDone:
		s += " ; done"
	case in.Sym != "":
		s += " ; map " + in.Sym
	case in.Return:
		s += " ; return address"
	case in.Frame:
		s += " ; in frame"
	}
	if in.Slots > 0 {
		s += fmt.Sprintf(" ; slots %d", in.Slots)
	}
	return s
}

// header is the first line of Text.
func (f *Func) header() string {
	s := fmt.Sprintf("func %s frame=%d spill=%d", f.Name, f.Frame, f.Spill)
	number := func(name string, n int) {
		if n != 0 {
			s += fmt.Sprintf(" %s=%d", name, n)
		}
	}
	number("vregs", f.VRegs)
	number("offset", f.Offset)
	number("jump", f.Jump)
	for _, set := range f.sets() {
		if *set.regs != 0 {
			s += " " + set.name + "=" + set.regs.String()
		}
	}
	for _, flag := range f.flags() {
		if *flag.on {
			s += " " + flag.name
		}
	}
	if len(f.Callees) > 0 {
		s += " callees=" + strings.Join(f.Callees, ",")
	}
	for i, v := range f.Pinned {
		if i == 0 {
			s += " pinned="
		} else {
			s += ","
		}
		s += fmt.Sprintf("v%d", v)
	}
	return s
}

type namedSet struct {
	name string
	regs *RegSet
}

type namedFlag struct {
	name string
	on   *bool
}

func (f *Func) sets() []namedSet {
	return []namedSet{{"params", &f.Params}, {"clobber", &f.Clobber}}
}

func (f *Func) flags() []namedFlag {
	return []namedFlag{{"entry", &f.Entry}, {"lm0", &f.LM0}, {"moves0", &f.Moves0}, {"lm3", &f.LM3}}
}

func (c *CallSite) sets() []namedSet {
	return []namedSet{{"uses", &c.Uses}, {"defs", &c.Defs}, {"clobbers", &c.Clobbers}}
}

func (c *CallSite) flags() []namedFlag {
	return []namedFlag{{"call-lm3", &c.LM3}, {"call-moves0", &c.Moves0}, {"call-reads-lm0", &c.ReadsLM0}, {"moves-packet", &c.MovesPacket}}
}

func (in *Inst) flags() []namedFlag {
	return []namedFlag{{"port-a", &in.PortA}, {"no-cc", &in.DeadCC}, {"in-frame", &in.Frame}, {"base", &in.Base}, {"return-address", &in.Return}}
}

// attributes returns the attributes that Text prints after an instruction.
func (in *Inst) attributes() []string {
	var a []string
	add := func(format string, args ...any) { a = append(a, fmt.Sprintf(format, args...)) }
	if in.PC >= 0 {
		add("pc %d", in.PC)
	}
	if in.To >= 0 {
		add("to b%d", in.To)
	}
	if in.Slots > 0 {
		add("slots %d", in.Slots)
	}
	switch {
	case in.Likely > 0:
		add("likely")
	case in.Likely < 0:
		add("unlikely")
	}
	for _, flag := range in.flags() {
		if *flag.on {
			add("%s", flag.name)
		}
	}
	if in.Reloc != nfp.RelocNone {
		add("reloc %s", in.Reloc)
	}
	if in.Helper != 0 {
		add("helper %d", in.Helper)
	}
	if in.Sym != "" {
		add("sym %s", in.Sym)
	}
	if in.In != 0 {
		add("in %#x", in.In)
	}
	if in.Out != 0 {
		add("out %#x", in.Out)
	}
	if in.Mem != (Access{}) {
		m := &in.Mem
		how := "read"
		if m.Write {
			how = "write"
		}
		add("%s %d:%d[%d:%d]", how, m.Space, m.Base, m.From, m.To)
	}
	if c := in.Call; c != nil {
		add("%s", strings.TrimSpace("call "+c.Callee))
		for _, set := range c.sets() {
			if *set.regs != 0 {
				add("%s %s", set.name, set.regs)
			}
		}
		for _, flag := range c.flags() {
			if *flag.on {
				add("%s", flag.name)
			}
		}
	}
	return a
}

// String returns the registers as a list, such as A0-A3+B12.
func (s RegSet) String() string {
	if s == 0 {
		return "none"
	}
	var parts []string
	for n := 0; n < 64; n++ {
		if s>>n&1 == 0 {
			continue
		}
		to := n
		for to%32 != 31 && s>>(to+1)&1 != 0 {
			to++
		}
		bank := "AB"[n/32 : n/32+1]
		if to > n {
			parts = append(parts, fmt.Sprintf("%s%d-%s%d", bank, n%32, bank, to%32))
		} else {
			parts = append(parts, fmt.Sprintf("%s%d", bank, n%32))
		}
		n = to
	}
	return strings.Join(parts, "+")
}
