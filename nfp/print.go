package nfp

import "strconv"

func appendUint(b []byte, v uint32) []byte { return strconv.AppendUint(b, uint64(v), 10) }

func appendHex(b []byte, v uint32) []byte {
	return strconv.AppendUint(append(b, "0x"...), uint64(v), 16)
}

// String prints the instruction as GNU objdump does with options ctx4 and no-pc. If
// Raw is set, " // raw " and the word follow, which Parse accepts. Virtual registers
// print as v and their number.
func (in Inst) String() string {
	b := in.append(nil)
	if in.Raw != 0 {
		b = strconv.AppendUint(append(b, " // raw 0x"...), uint64(in.Raw), 16)
	}
	return string(b)
}

// Text is String without the raw word: exactly objdump's.
func (in Inst) Text() string { return string(in.append(nil)) }

func (in *Inst) append(b []byte) []byte {
	f := in.form()
	if in.Raw != 0 {
		f = formOfWord(in.Raw)
	}
	if f == nil {
		return append(b, "<invalid>"...)
	}
	for i, s := range f.Syntax {
		if in.meets(s.When) {
			for _, e := range syntaxes()[f][i] {
				if e.print == nil {
					b = append(b, e.lit...)
				} else {
					b = e.print(b, in)
				}
			}
			break
		}
	}
	return b
}

// A multiplication that drops its result prints a constant there.
func printMulDst(b []byte, in *Inst) []byte {
	if in.Dst.Kind == None {
		return append(b, "0x0"...)
	}
	return in.Dst.append(b)
}

func printShift(b []byte, in *Inst) []byte {
	if in.Shift == ShiftNone {
		return append(b, ", >>rot0"...)
	}
	s := in.Shift
	if s == ShiftDouble {
		s = ShiftRight
	}
	return appendShift(b, s, in.Amount)
}

func printFieldShift(b []byte, in *Inst) []byte {
	switch in.Shift {
	case ShiftNone:
		return b
	case ShiftDouble:
		return appendUint(append(b, ", >>dbl"...), uint32(in.Amount))
	}
	return appendShift(b, in.Shift, in.Amount)
}

func appendShift(b []byte, s ShiftKind, n uint8) []byte {
	sign := ", >>"
	if s == ShiftLeft {
		sign = ", <<"
	}
	b = append(b, sign...)
	switch {
	case s == ShiftRotate:
		b = append(b, "rot"...)
	case n == 0:
		return append(b, "indirect"...)
	}
	return appendUint(b, uint32(n))
}

func printMask(b []byte, in *Inst) []byte {
	for i := 3; i >= 0; i-- {
		b = append(b, '0'+in.Mask>>i&1)
	}
	return b
}

// Const is the number an immed holds before its shift: the constant, inverted if the
// flag is set, with the width of the part it replaces.
func (in *Inst) Const() uint32 {
	v := in.Imm
	if in.Flags&Invert != 0 {
		v = (v ^ 0xffff) | 0xffff0000
	}
	switch in.Fn {
	case ImmedByte:
		return v & 0xff
	case ImmedWord:
		return v & 0xffff
	}
	return v
}

func printImmed(b []byte, in *Inst) []byte { return appendHex(b, in.Const()) }

func printImmShift(b []byte, in *Inst) []byte {
	if in.Amount == 0 {
		return b
	}
	return appendUint(append(b, ", <<"...), uint32(in.Amount))
}

func printByteValue(b []byte, in *Inst) []byte {
	if in.B.Kind != None {
		return in.B.append(b)
	}
	return appendHex(b, in.Imm)
}

func printTarget(b []byte, in *Inst) []byte { return appendUint(append(b, '.'), uint32(in.Target)) }

func printOffset(b []byte, in *Inst) []byte {
	return strconv.AppendInt(append(b, '.'), int64(int32(in.Imm)), 10)
}

func printDefer(b []byte, in *Inst) []byte {
	if in.Defer == 0 {
		return b
	}
	return append(appendUint(append(b, ", defer["...), uint32(in.Defer)), ']')
}

func printEvents(b []byte, in *Inst) []byte {
	switch {
	case in.Imm == 0 && in.Flags&NoLoad != 0:
		return append(b, "--"...)
	case in.Imm == 0:
		return append(b, "kill"...)
	case in.Imm == 1:
		return append(b, "voluntary"...)
	}
	sep := ""
	for i := uint32(1); i < 16; i++ {
		if in.Imm>>i&1 != 0 {
			b = appendUint(append(append(b, sep...), "sig"...), i)
			sep = ", "
		}
	}
	return b
}

func printCSR(b []byte, in *Inst) []byte {
	if n, ok := csrNames[in.Imm]; ok {
		return append(b, n...)
	}
	return appendHex(b, in.Imm)
}

func printCRC(b []byte, in *Inst) []byte {
	if in.Flags&LittleEndian != 0 {
		return append(b, "le"...)
	}
	return append(b, "be"...)
}

func printSubset(b []byte, in *Inst) []byte {
	if in.Byte == 0 || int(in.Byte) >= len(subsetNames) {
		return b
	}
	return append(append(b, ", "...), subsetNames[in.Byte]...)
}

func printLMLoad(b []byte, in *Inst) []byte {
	if in.Flags&LoadLM == 0 {
		return b
	}
	b = appendUint(append(b, ", lm_addr"...), uint32(in.Byte))
	return append(appendUint(append(b, '['), in.Imm), ']')
}

func printUnit(b []byte, in *Inst) []byte {
	if c := in.command(); c != nil {
		return append(b, c.Target...)
	}
	return append(b, "<invalid>"...)
}

func printCommand(b []byte, in *Inst) []byte {
	if c := in.command(); c != nil {
		return append(b, c.Name...)
	}
	return append(b, "<invalid>"...)
}

func printXfer(b []byte, in *Inst) []byte {
	return appendUint(append(b, "$xfer_"...), uint32(in.Cmd.Xfer))
}

func printLen(b []byte, in *Inst) []byte { return appendUint(b, uint32(in.Cmd.Len)+1) }

func printSync(b []byte, in *Inst) []byte {
	c := in.Cmd
	if c.Ctx == 3 {
		if c.Sig != 0 {
			b = append(appendUint(append(b, ", sig_done[sig"...), uint32(c.Sig)), ']')
		}
		return b
	}
	b = append(b, ", ctx_swap["...)
	if c.Sig == 0 {
		b = append(b, "--"...)
	} else {
		b = appendUint(append(b, "sig"...), uint32(c.Sig))
	}
	b = append(b, ']')
	if c.Ctx != 0 {
		b = append(appendUint(append(b, ", defer["...), uint32(c.Ctx)), ']')
	}
	return b
}
