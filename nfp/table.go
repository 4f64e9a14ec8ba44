package nfp

// The rows. Fields that several rows share stand in variables above them. Bit
// positions and meanings: docs/isa-notes.md.

var (
	targetField = Field{Prop: PropTarget, Bits: []Range{{22, 13}, {40, 1}}}
	deferField  = Field{Prop: PropDefer, Bits: []Range{{20, 2}}}
	noCC        = Field{Prop: PropNoCC, Bits: []Range{{40, 1}}}
	both        = Field{Prop: PropWriteBoth, Bits: []Range{{41, 1}}}
	predicate   = Field{Prop: PropPredicate, Bits: []Range{{44, 1}}}
	dstU        = Field{Prop: PropDst, Bits: []Range{{20, 10}}, Code: DestU}
	dstR        = Field{Prop: PropDst, Bits: []Range{{20, 8}}, Code: DestR}
)

// pairs of source slots
func pairU(x, y Role, c Cross) *Pair {
	return &Pair{X: x, Y: y, Cross: c, A: Range{0, 10}, B: Range{10, 10}, Swap: 30}
}

func pairR(x, y Role, c Cross, i8 uint8) *Pair {
	return &Pair{X: x, Y: y, Cross: c, Restricted: true, A: Range{0, 8}, B: Range{10, 8}, Swap: 19, I8: i8}
}

func lines(s ...string) []Syntax {
	var t []Syntax
	for _, x := range s {
		t = append(t, Syntax{Text: x})
	}
	return t
}

// rows lists the forms in opcode order.
func rows() []Form {
	var t []Form
	t = append(t, commandForms()...)
	t = append(t, shfForms()...)
	t = append(t, aluForms()...)
	t = append(t, ldFieldForms()...)
	t = append(t, brByteForms()...)
	t = append(t, brBitForms()...)
	t = append(t, brForms()...)
	t = append(t, ctxArbForms()...)
	t = append(t, rtnForm())
	t = append(t, immedForms()...)
	t = append(t, csrForms()...)
	t = append(t, mulForms()...)
	return t
}

// ALU: bits 39:37 = 101, operation in 35:31.
func aluForms() []Form {
	const ccs = WritesCC
	two := pairU(Left, Right, SwapBit)
	one := pairU(Empty, Right, SwapBit)
	none := pairU(Empty, Empty, Never)
	noDst := Field{Bits: []Range{{20, 10}}, Code: Hidden, Want: 0x300}
	state := Field{Prop: PropImm, Bits: []Range{{20, 4}}}
	var t []Form
	for _, r := range []struct {
		op      ALUOp
		name    string // operator, or a syntax if it has a bracket or no operator
		pair    *Pair
		dst     Field
		effects Effects
		doc     string
	}{
		{ALUB, "B", one, dstU, ccs, "dst = right"},
		{ALUAdd, "+", two, dstU, ccs, "dst = left + right; C is the carry"},
		{ALUPop3, "pop_count3[{dst}, {b}]", one, dstU, ccs | ReadsPrev, "third step of a population count: dst = number of ones in right"},
		{ALUNotB, "~B", one, dstU, ccs, "dst = not right"},
		{ALUAdd16, "+16", two, dstU, ccs, "dst = left + right bits 15:0"},
		{ALUPop1, "pop_count1[{b}]", one, noDst, ccs, "first step of a population count"},
		{ALUPop2, "pop_count2[{b}]", one, noDst, ccs | ReadsPrev, "second step of a population count"},
		{ALUAnd, "AND", two, dstU, ccs, "dst = left & right"},
		{ALUAdd8, "+8", two, dstU, ccs, "dst = left + right bits 7:0"},
		{ALUCamClear, "cam_clear", none, noDst, ccs, "mark all 16 CAM entries empty"},
		{ALUNotAAnd, "~AND", two, dstU, ccs, "dst = ~left & right"},
		{ALUSubC, "-carry", two, dstU, ccs | ReadsCC, "dst = left - right - !C; C is set where nothing was borrowed"},
		{ALUFFS, "ffs[{dst}, {b}]", one, dstU, ccs, "dst = number of the lowest one bit of right; Z where there is none"},
		{ALUCamTag, "cam_read_tag[{dst}, {b}]", one, dstU, ccs, "dst = tag of CAM entry right"},
		{ALUAndNotB, "AND~", two, dstU, ccs, "dst = left & ~right"},
		{ALUAddC, "+carry", two, dstU, ccs | ReadsCC, "dst = left + right + C"},
		{ALUCRC, "crc_{crc}[{poly}, {dst}, {b}]{bytes}{bit_swap}", pairU(CRCControl, Right, SwapBit), dstU, ccs, "fold right into CRC_REMAINDER and copy it to dst"},
		{ALUCamWrite, "cam_write[{b}, {a}, {state}]", two, state, ccs, "write tag left and the state to CAM entry right"},
		{ALUOr, "OR", two, dstU, ccs, "dst = left | right"},
		{ALUSub, "-", two, dstU, ccs, "dst = left - right; C is set where nothing was borrowed"},
		{ALUCamLook, "cam_lookup[{dst}, {a}]{lm_load}", pairU(Left, CamControl, SwapBit), dstU, ccs, "look left up in the CAM: dst = entry << 3 | hit << 7 | state << 8"},
		{ALUXor, "XOR", two, dstU, ccs, "dst = left ^ right"},
		{ALUBSubA, "B-A", two, dstU, ccs, "dst = right - left"},
		{ALUCamWrSt, "cam_write_state[{b}, {state}]", one, state, ccs, "write the state of CAM entry right"},
		{ALUCamState, "cam_read_state[{dst}, {b}]", one, dstU, ccs, "dst = state of CAM entry right << 8"},
	} {
		f := Form{
			Name: mnemonic(r.name), Op: OpALU, Fixed: []Setting{{PropFn, uint32(r.op)}},
			Mask: 0x00e000000000 | 31<<31, Value: 0x00a000000000 | Word(r.op)<<31,
			Fields: []Field{r.dst, noCC, both, predicate}, Pair: r.pair, SrcLM: 42, DstLM: 43, DstBank: 36,
			Latency: LatencyALU, Effects: r.effects, Doc: r.doc,
		}
		text := r.name
		switch {
		case f.Name != "" && f.Name != r.name || r.op == ALUCamClear:
		case r.pair == one:
			f.Name, text = "alu "+r.name, "alu[{dst}, --, "+r.name+", {b}]"
		default:
			f.Name, text = "alu "+r.name, "alu[{dst}, {a}, "+r.name+", {b}]"
		}
		f.Syntax = lines(text + "{no_cc}{both}{pred}")
		t = append(t, f)
	}
	return t
}

// mnemonic is the part of a syntax before the bracket.
func mnemonic(s string) string {
	for i := range s {
		if s[i] == '[' || s[i] == '{' {
			return s[:i]
		}
	}
	return s
}

// ALU_SHF: bits 39:37 = 100, operation in 35:33, shift control sc in 9:8.
func shfForms() []Form {
	const class, sc = 0x00e000000000, 0x300
	shift := Field{Prop: PropShift, Bits: []Range{{8, 2}, {28, 5}}, Code: ShiftPair}
	double := []Pattern{{sc, sc}}
	form := func(f Form, p *Pair, fields ...Field) Form {
		f.Op, f.Mask, f.Value = OpShf, f.Mask|class, f.Value|0x008000000000
		f.Fields = append([]Field{dstR, noCC, both, predicate}, fields...)
		f.Pair, f.SrcLM, f.DstLM, f.DstBank, f.Latency = p, 42, 43, 36, LatencyALU
		return f
	}
	two, one := pairR(Left, Right, SwapBit, 18), pairR(Empty, Right, SwapBit, 18)
	const opts = "{no_cc}{both}{pred}"
	t := []Form{
		form(Form{Name: "dbl_shf", Fixed: []Setting{{PropShift, uint32(ShiftDouble)}, {PropFn, uint32(ShfB)}}, Mask: sc | 7<<33, Value: sc,
			Effects: WritesCC, Syntax: lines("dbl_shf[{dst}, {a}, {b}{shift}]" + opts), Doc: "dst = low word of left:right >> amount"},
			two, Field{Prop: PropAmount, Bits: []Range{{28, 5}}}),
	}
	for _, r := range []struct {
		op   ShfOp
		name string
		doc  string
	}{
		{ShfB, "B", "dst = shift(right)"},
		{ShfNotB, "~B", "dst = ~shift(right)"},
		{ShfAnd, "AND", "dst = left & shift(right)"},
		{ShfNotAAnd, "~AND", "dst = ~left & shift(right)"},
		{ShfAndNotB, "AND~", "dst = left & ~shift(right)"},
		{ShfOr, "OR", "dst = left | shift(right)"},
	} {
		p, left := two, "{a}"
		if r.op <= ShfNotB {
			p, left = one, "--"
		}
		t = append(t, form(Form{Name: "alu_shf " + r.name, Fixed: []Setting{{PropFn, uint32(r.op)}}, Mask: 7 << 33, Value: Word(r.op) << 33,
			Except: double, Effects: WritesCC, Doc: r.doc,
			Syntax: lines("alu_shf[{dst}, " + left + ", " + r.name + ", {b}{shift}]" + opts)}, p, shift))
	}
	align := func(f Form, p *Pair) Form {
		f.Effects, f.Syntax = WritesCC|ReadsPrev, lines(f.Name+"[{dst}, {b}]"+opts)
		f = form(f, p)
		f.SrcLM = 0 // objdump reads pointers 0 and 1 only
		return f
	}
	return append(t,
		form(Form{Name: "dbl_shf (other operation)", Fixed: []Setting{{PropShift, uint32(ShiftDouble)}}, Mask: sc, Value: sc, Reserved: true,
			Except: []Pattern{{sc | 7<<33, sc}, {sc | 7<<33, sc | 6<<33}, {sc | 7<<33, sc | 7<<33}}, Effects: WritesCC,
			Syntax: lines("dbl_shf[{dst}, {a}, {b}{shift}]" + opts), Doc: "double shift with an operation other than B"},
			two, Field{Prop: PropAmount, Bits: []Range{{28, 5}}}, Field{Prop: PropFn, Bits: []Range{{33, 3}}}),
		form(Form{Name: "dbl_shf (asr)", Fixed: []Setting{{PropShift, uint32(ShiftDouble)}, {PropFn, uint32(ShfAsr)}}, Mask: sc | 7<<33, Value: sc | 6<<33, Reserved: true,
			Effects: WritesCC, Syntax: lines("dbl_shf[{dst}, {b}{shift}]" + opts), Doc: "double shift with the operation of asr"},
			one, Field{Prop: PropAmount, Bits: []Range{{28, 5}}}),
		form(Form{Name: "asr", Fixed: []Setting{{PropFn, uint32(ShfAsr)}, {PropShift, uint32(ShiftRight)}}, Mask: sc | 7<<33, Value: 1<<8 | 6<<33,
			Effects: WritesCC | ReadsPrev, Syntax: lines("asr[{dst}, {b}{shift}]" + opts), Doc: "dst = right >> amount, filled with bit 31 of the previous result"},
			one, Field{Prop: PropAmount, Bits: []Range{{28, 5}}}),
		form(Form{Name: "asr (other shift)", Fixed: []Setting{{PropFn, uint32(ShfAsr)}}, Mask: 7 << 33, Value: 6 << 33, Reserved: true,
			Except: []Pattern{{sc, 1 << 8}, {sc, sc}}, Effects: WritesCC | ReadsPrev, Syntax: lines("asr[{dst}, {b}{shift}]" + opts), Doc: "asr with a shift control other than right"},
			one, shift),
		align(Form{Name: "byte_align_be", Fixed: []Setting{{PropFn, uint32(ShfByteAlign)}}, Mask: 7 << 33, Value: 7 << 33, Except: []Pattern{{sc, 2 << 8}},
			Doc: "dst = word at byte BYTE_INDEX of previous source : right"}, one),
		align(Form{Name: "byte_align_le", Fixed: []Setting{{PropFn, uint32(ShfByteAlignLE)}}, Mask: sc | 7<<33, Value: 2<<8 | 7<<33,
			Doc: "dst = word at byte BYTE_INDEX of right : previous source"}, pairR(Right, Empty, SwapBit, 18)),
	)
}

// LD_FIELD: bits 39:35 = 11000, 33, 23:21 zero.
func ldFieldForms() []Form {
	var t []Form
	for clr, name := range []string{"ld_field", "ld_field_w_clr"} {
		f := Form{
			Name: name, Op: OpLdField, Fixed: []Setting{{PropClearOther, uint32(clr)}},
			Mask: 0x01fa00f00000, Value: 0x00c000000000 | Word(clr)<<20,
			Fields: []Field{
				{Prop: PropShift, Bits: []Range{{8, 2}, {28, 5}}, Code: ShiftPair}, {Prop: PropMask, Bits: []Range{{24, 4}}},
				{Prop: PropLoadCC, Bits: []Range{{34, 1}}}, both, predicate,
			},
			Pair: pairR(Dest, Right, SwapBit, 18), SrcLM: 42, DstLM: 43,
			Syntax:  lines(name + "[{dst}, {mask}, {b}{fshift}]{load_cc}{both}{pred}"),
			Latency: LatencyALU, Effects: ReadsDst | WritesCC,
			Doc: "bytes of dst chosen by the mask = bytes of shift(src), the others stay",
		}
		if clr == 1 {
			f.Effects, f.Doc = WritesCC, "bytes of dst chosen by the mask = bytes of shift(src), the others become 0"
		}
		t = append(t, f)
	}
	return t
}

// IMMED: bits 39:35 = 11110, 40 and 32 zero, width in 30:29, shift in 34:33.
func immedForms() []Form {
	const class, value = 0x01f900000000, 0x00f000000000
	const nop = 0x00f0000c0300
	const opts = "{both}{pred}"
	high := Field{Prop: PropImmHigh, Bits: []Range{{20, 8}}}
	inv := Field{Prop: PropInvert, Bits: []Range{{31, 1}}}
	form := func(f Form, fields ...Field) Form {
		f.Op, f.Mask, f.Value = OpImmed, f.Mask|class, f.Value|value
		f.Fields = append([]Field{high, inv, both, predicate}, fields...)
		f.Pair, f.DstLM, f.Latency = pairU(Dest, ImmLow, ConstInB), 43, LatencyALU
		f.Syntax = []Syntax{{[]Setting{{PropEmptyDst, 1}, {PropImm, 0}}, "nop"}, {nil, f.Name + "[{dst}, {immed}" + f.Syntax[0].Text + "]" + opts}}
		return f
	}
	t := []Form{
		{Name: "nop", Op: OpNop, Mask: 1<<45 - 1, Value: nop, Syntax: lines("nop"), Latency: LatencyALU, Doc: "nothing"},
		form(Form{Name: "immed", Fixed: []Setting{{PropFn, ImmedAll}}, Mask: 3 << 29, Except: []Pattern{{1<<45 - 1, nop}},
			Syntax: lines("{immshift}"), Doc: "dst = constant, or its complement, shifted"},
			Field{Prop: PropAmount, Bits: []Range{{33, 2}}, Code: Eighth}),
	}
	for i := range uint32(4) {
		t = append(t, form(Form{Name: "immed_b" + string('0'+rune(i)), Fixed: []Setting{{PropFn, ImmedByte}, {PropAmount, 8 * i}},
			Mask: 1<<29 | 3<<33, Value: 1<<29 | Word(i)<<33, Effects: ReadsDst, Syntax: lines(""), Doc: "one byte of dst = constant, the others stay"}))
	}
	for i := range uint32(2) {
		t = append(t, form(Form{Name: "immed_w" + string('0'+rune(i)), Fixed: []Setting{{PropFn, ImmedWord}, {PropAmount, 16 * i}},
			Mask: 3<<29 | 1<<34, Value: 2<<29 | Word(i)<<34, Effects: ReadsDst, Syntax: lines(""), Doc: "one half of dst = constant, the other stays"}))
	}
	return t
}

// BR: bits 39:35 = 11011, condition in 4:0.
func brForms() []Form {
	const mask, value = 0x00f8000c3ce0 | 31, 0x00d800000020
	var t []Form
	for _, r := range []struct {
		cond   Cond
		name   string
		number string // how the CSS field is written; "" for ordinary branches
		doc    string
	}{
		{CondEQ, "beq", "", "branch where Z"},
		{CondNE, "bne", "", "branch where !Z"},
		{CondMI, "bmi", "", "branch where N"},
		{CondPL, "bpl", "", "branch where !N"},
		{CondCS, "bcs", "", "branch where C: unsigned >= after a subtraction (bhs)"},
		{CondCC, "bcc", "", "branch where !C: unsigned < after a subtraction (blo)"},
		{CondVS, "bvs", "", "branch where V"},
		{CondVC, "bvc", "", "branch where !V"},
		{CondGE, "bge", "", "branch where N = V"},
		{CondLT, "blt", "", "branch where N != V"},
		{CondLE, "ble", "", "branch where Z or N != V"},
		{CondGT, "bgt", "", "branch where !Z and N = V"},
		{CondCtx, "br=ctx", "{css}", "branch where this is the context"},
		{CondNotCtx, "br!=ctx", "{css}", "branch where this is not the context"},
		{CondSignal, "br_signal", "{css}", "branch where the signal is pending, and clear it"},
		{CondNotSignal, "br_!signal", "{css}", "branch where the signal is not pending"},
		{CondInp, "br_inp_state", "{inp}", "branch where the input state holds"},
		{CondNotInp, "br_!inp_state", "{inp}", "branch where the input state does not hold"},
		{CondCls, "br_cls_state", "{cls}", "branch where the CLS ring state holds"},
		{CondNotCls, "br_!cls_state", "{cls}", "branch where the CLS ring state does not hold"},
		{CondAlways, "br", "", "branch"},
	} {
		f := Form{
			Name: r.name, Op: OpBr, Fixed: []Setting{{PropFn, uint32(r.cond)}}, Mask: mask, Value: value | Word(r.cond),
			Fields:  []Field{targetField, deferField, {Prop: PropPip, Bits: []Range{{8, 2}}, Code: Hidden, Want: 1}},
			Latency: LatencyCond, Effects: ReadsCC | ControlsPC, MaxDefer: 3, Doc: r.doc,
		}
		css := Field{Prop: PropCSS, Bits: []Range{{14, 4}}}
		if r.number == "" {
			css.Code, css.Want = Hidden, 2
			f.Syntax = lines(r.name + "[{target}]{defer}")
		} else {
			f.Effects = ControlsPC
			f.Syntax = lines(r.name + "[" + r.number + ", {target}]{defer}")
		}
		if r.cond == CondAlways {
			f.Latency, f.Effects, f.MaxDefer = LatencyBranch, ControlsPC, 2
			f.Fields[2].Want = 0
		}
		f.Fields = append(f.Fields, css)
		t = append(t, f)
	}
	return t
}

// BR_BIT: bits 39:35 = 11010.
func brBitForms() []Form {
	var t []Form
	for i, name := range []string{"br_bclr", "br_bset"} {
		t = append(t, Form{
			Name: name, Op: OpBrBit, Fixed: []Setting{{PropFn, uint32(i)}},
			Mask: 0x00f8000c0300, Value: 0x00d000000000 | Word(i)<<18, Fields: []Field{targetField, deferField},
			Pair: pairR(Left, BitNumber, ConstInA, 0), SrcLM: 42,
			Syntax:  lines(name + "[{a}, {bit}, {target}]{defer}"),
			Latency: LatencyCond, Effects: ControlsPC, MaxDefer: 3,
			Doc: "branch where the bit of the register is " + string('0'+rune(i)),
		})
	}
	return t
}

// BR_BYTE: bits 39:35 = 11001.
func brByteForms() []Form {
	var t []Form
	for i, r := range [][2]string{{"br!=byte", "is not"}, {"br=byte", "is"}} {
		t = append(t, Form{
			Name: r[0], Op: OpBrByte, Fixed: []Setting{{PropFn, uint32(i)}},
			Mask: 0x00f800080000, Value: 0x00c800000000 | Word(i)<<19,
			Fields: []Field{{Prop: PropByte, Bits: []Range{{8, 2}}}, targetField, deferField},
			Pair:   pairR(Left, ImmLow, ConstInA, 18), SrcLM: 42,
			Syntax:  lines(r[0] + "[{a}, {byte}, {bytevalue}, {target}]{defer}"),
			Latency: LatencyCond, Effects: ControlsPC, MaxDefer: 3, Doc: "branch where the byte of the register " + r[1] + " the constant",
		})
	}
	return t
}

// BR_ALU: bits 39:31 = 111010000.
func rtnForm() Form {
	return Form{
		Name: "rtn, jump", Op: OpRtn, Mask: 0x00ff80000000, Value: 0x00e800000000,
		Fields: []Field{deferField, {Prop: PropImmHigh, Bits: []Range{{22, 9}}}},
		Pair:   pairU(Left, ImmLow, ConstInA), SrcLM: 42,
		Syntax:  []Syntax{{[]Setting{{PropImm, 0}}, "rtn[{a}]{defer}"}, {nil, "jump[{a}, {offset}]{defer}"}},
		Latency: LatencyJump, Effects: ControlsPC, MaxDefer: 3, Doc: "go to register + constant",
	}
}

// CTX_ARB: bits 39:35 = 11100, breakpoint in 17, resume in 18.
func ctxArbForms() []Form {
	var t []Form
	for _, r := range []struct {
		name   string
		fixed  []Setting
		value  Word
		fields []Field
		text   string
		doc    string
	}{
		{"ctx_arb", []Setting{{PropBreakpoint, 0}, {PropResume, 0}}, 0, nil, "ctx_arb[{events}]{any}{defer}", "give the engine away until the events have come"},
		{"ctx_arb br", []Setting{{PropBreakpoint, 0}, {PropResume, 1}}, 1 << 18, []Field{targetField}, "ctx_arb[{events}]{any}, br[{target}]{defer}", "the same, and go on at the target"},
		{"ctx_arb bpt", []Setting{{PropBreakpoint, 1}, {PropResume, 0}}, 1 << 17, nil, "ctx_arb[bpt]{any}{defer}", "stop all contexts and interrupt the host"},
		{"ctx_arb bpt br", []Setting{{PropBreakpoint, 1}, {PropResume, 1}}, 3 << 17, []Field{targetField}, "ctx_arb[bpt]{any}, br[{target}]{defer}", "the same, and go on at the target"},
	} {
		f := Form{
			Name: r.name, Op: OpCtxArb, Fixed: r.fixed, Mask: 0x00f800060000, Value: 0x00e000000000 | r.value,
			Fields: append([]Field{{Prop: PropAny, Bits: []Range{{16, 1}}}, deferField}, r.fields...),
			Syntax: lines(r.text), Latency: LatencySwap, Effects: ControlsPC, MaxDefer: SwapSlots, Doc: r.doc,
		}
		if r.value>>17&1 == 0 {
			f.Fields = append(f.Fields, Field{Prop: PropImm, Bits: []Range{{0, 16}}}, Field{Prop: PropNoLoad, Bits: []Range{{19, 1}}})
		}
		t = append(t, f)
	}
	return t
}

// LOCAL_CSR: bits 39:35 = 11111, 34:33 = 10, 20 zero; write in 21, register in 32:22.
func csrForms() []Form {
	const mask, value = 0x01fe00300000, 0x00fc00000000
	const number = 0x7ff << 22
	ustore := []Pattern{{number, 1 << 22}} // register 4, the code store data, has its own instructions
	addr := Field{Prop: PropImm, Bits: []Range{{22, 11}}, Code: Quarter}
	return []Form{
		{Name: "local_csr_rd", Op: OpCSRRead, Mask: mask, Value: value, Except: ustore, Fields: []Field{addr},
			Syntax: lines("local_csr_rd[{csr}]"), Latency: LatencyCSRRead, Doc: "read a control register; the next word, immed[dst, 0], puts its value in dst"},
		{Name: "local_csr_wr", Op: OpCSRWrite, Mask: mask, Value: value | 1<<21, Except: ustore, Fields: []Field{addr},
			Pair: pairU(Left, Zero, ConstTwice), SrcLM: 42,
			Syntax: lines("local_csr_wr[{csr}, {a}]"), Latency: LatencyCSRWrite, Doc: "write a control register"},
		{Name: "urd", Op: OpUstore, Fixed: []Setting{{PropFn, 0}}, Mask: mask | number, Value: value | 1<<22,
			Pair: pairU(Dest, Zero, ConstTwice), DstLM: 42,
			Syntax: lines("urd[{dst}, *u$index0++]"), Latency: LatencyUstore, Doc: "dst = low 32 bits of the code store word at USTORE_ADDRESS, which moves on"},
		{Name: "uwr", Op: OpUstore, Fixed: []Setting{{PropFn, 1}}, Mask: mask | number, Value: value | 1<<22 | 1<<21,
			Pair: pairU(Left, Zero, ConstTwice), SrcLM: 42,
			Syntax: lines("uwr[*u$index0++, {a}]"), Latency: LatencyUstore, Doc: "write the low 32 bits of the code store word at USTORE_ADDRESS, which moves on"},
	}
}

// MUL_STEP: bits 39:33 = 1111100, 29:24 zero; type in 32:31, step in 22:20.
func mulForms() []Form {
	const mask, value = 0x00fe3f000000 | 3<<31, 0x00f800000000
	const opts = "{no_cc}{both}{pred}"
	two, last := pairU(Left, Right, SwapBit), pairU(Dest, Empty, SwapBit)
	last.DstBank = 23
	form := func(fn uint32, m, v Word, p *Pair, f Form) Form {
		f.Op, f.Mask, f.Value, f.Pair, f.Latency, f.SrcLM = OpMul, mask|m, value|v, p, LatencyMul, 42
		f.Fixed = []Setting{{PropFn, fn}}
		f.Fields = []Field{noCC, both, predicate}
		text := "mul_step[{a}, {b}], "
		if p == last {
			text, f.SrcLM, f.DstLM = "mul_step[{muldst}, --], ", 0, 43
		}
		f.Syntax = lines(text + f.Syntax[0].Text + opts)
		return f
	}
	t := []Form{
		form(0, 1<<22, 0, two, Form{Name: "mul_step start", Syntax: lines("start"), Doc: "begin a multiplication of left and right"}),
		form(0, 1<<22, 1<<22, last, Form{Name: "mul_step start (last)", Syntax: lines("start"), Reserved: true, Doc: "start with the step number of last"}),
	}
	for typ, size := range []string{1: "24x8", 2: "16x16", 3: "32x32"} {
		if size == "" {
			continue
		}
		for step, name := range []string{"step1", "step2", "step3", "step4", "last", "last2"} {
			f := Form{Name: "mul_step " + size + "_" + name, Syntax: lines(size + "_" + name), Doc: "go on with left and right as they were in start"}
			f.Effects = ReadsPrev
			p := two
			switch name {
			case "last":
				p, f.Effects, f.Doc = last, ReadsPrev|WritesCC, "dst = low word of the product"
			case "last2":
				p, f.Effects, f.Doc = last, ReadsPrev|WritesCC, "dst = high word of the product"
			}
			t = append(t, form(uint32(typ<<4|step), 7<<20, Word(typ)<<31|Word(step)<<20, p, f))
		}
	}
	return t
}

// CMD: bit 39 zero, mode in 44:42.
func commandForms() []Form {
	const sync = "{indirect}{sync}"
	code := Field{Prop: PropCode, Bits: []Range{{32, 7}}}
	token := Field{Prop: PropToken, Bits: []Range{{18, 2}}}
	length := Field{Prop: PropLen, Bits: []Range{{25, 3}}}
	sig := Field{Prop: PropSig, Bits: []Range{{28, 4}}}
	ctx := Field{Prop: PropCtx, Bits: []Range{{8, 2}}}
	xfer := Field{Prop: PropXfer, Bits: []Range{{20, 5}, {40, 1}}}
	data := Field{Prop: PropXfer, Bits: []Range{{20, 5}, {40, 1}, {41, 1}}}
	indirect := Field{Prop: PropIndirect, Bits: []Range{{41, 1}}}
	normal := []Field{code, token, length, sig, ctx, xfer, indirect}
	plain := pairR(Left, Right, Never, 0)
	shifted := pairR(Left, Right, SwapBit, 0) // modes 0 and 1, 2 and 3 differ in which slot is shifted
	shifted.Swap = 42
	var t []Form
	for _, f := range []Form{
		{Value: 0 << 42, Mask: 6 << 42, Name: "command a<<8 + b", Fields: normal, Pair: shifted, Syntax: lines("{unit}[{cmd}, {xfer}, {a}, <<8, {b}, {len}]" + sync), Doc: "40-bit address"},
		{Value: 2 << 42, Mask: 6 << 42, Name: "command data, a<<8 + b", Fields: []Field{code, token, length, sig, ctx, data}, Pair: shifted, Syntax: lines("{unit}[{cmd}, {data7}, {a}, <<8, {b}, {len}]{sync}"), Doc: "40-bit address, 7 bits of data in the word"},
		{Value: 4 << 42, Mask: 7 << 42, Name: "command a + b", Fields: normal, Pair: plain, Syntax: lines("{unit}[{cmd}, {xfer}, {a}, {b}, {len}]" + sync), Doc: "32-bit address"},
		{Value: 5 << 42, Mask: 7 << 42, Name: "command immediate address", Fields: append([]Field{{Prop: PropImm, Bits: []Range{{0, 8}, {10, 8}}}}, normal...),
			Syntax: lines("{unit}[{cmd}, {xfer}, {imm16}, {len}]" + sync), Doc: "16-bit address in the word"},
		{Value: 6 << 42, Mask: 7 << 42, Name: "command immediate address and data", Fields: []Field{code, ctx, indirect, {Prop: PropImm, Bits: []Range{{0, 8}, {10, 8}, {18, 2}, {20, 5}, {25, 3}, {28, 4}}}},
			Syntax: lines("{unit}[{cmd6}, {imm16}, {data14}]{indirect}{sync}"), Doc: "16-bit address and 14 bits of data in the word"},
		{Value: 7 << 42, Mask: 7 << 42, Name: "command immediate data", Fields: []Field{code, token, length, sig, ctx, indirect, {Prop: PropImm, Bits: []Range{{0, 8}, {10, 8}, {20, 5}, {40, 1}}}},
			Syntax: lines("{unit}[{cmd}, {imm22}, --, {len}]" + sync), Doc: "22 bits of data in the word"},
	} {
		f.Op, f.Fixed = OpCmd, []Setting{{PropMode, uint32(f.Value >> 42)}}
		f.Mask |= 1 << 39
		f.Latency = LatencyCommand
		t = append(t, f)
	}
	return t
}
