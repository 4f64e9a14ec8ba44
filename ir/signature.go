package ir

// matcher walks a value's arguments along the signature of its row.
type matcher struct {
	c    *checker
	v    *Value
	rest []*Value
	x    Type // type of the x arguments so far
}

// signature checks arguments and type of v against its row.
func (c *checker) signature(v *Value) {
	row := v.Op.Row()
	if c.legal && row.Flags&Wide != 0 {
		c.fail(v, "%v after legalize", v.Op)
		return
	}
	if c.legal && v.Type == I64 {
		c.fail(v, "i64 value after legalize")
		return
	}
	m := &matcher{c: c, v: v, rest: v.Args}
	for i := 0; i < len(row.Args); i++ {
		letter, repeat := row.Args[i], byte(0)
		if i+1 < len(row.Args) && (row.Args[i+1] == '*' || row.Args[i+1] == '?') {
			i++
			repeat = row.Args[i]
		}
		if v.Op == OpAtomic && repeat == '?' {
			repeat = 0
			if AtomicOp(v.Int).Base() != AtomicCmpXchg {
				continue
			}
		}
		if !m.match(letter, repeat) {
			return
		}
	}
	if len(m.rest) > 0 {
		c.fail(v, "too many arguments for %v", v.Op)
	}
	if v.Op == OpWrite && len(v.Args)-c.addressWords(v) != (int(v.Size)+3)/4 {
		c.fail(v, "%d bytes in %d words", v.Size, len(v.Args)-c.addressWords(v))
	}
	c.resultType(v, row)
}

func (c *checker) addressWords(v *Value) int {
	if c.legal && v.Space == MapMem {
		return 2
	}
	return 1
}

// match checks the arguments of one letter; it returns false after an error was
// reported.
func (m *matcher) match(letter, repeat byte) bool {
	for repeat == 0 || len(m.rest) > 0 {
		for _, want := range m.types(letter) {
			if len(m.rest) == 0 {
				m.c.fail(m.v, "too few arguments for %v", m.v.Op)
				return false
			}
			a := m.rest[0]
			m.rest = m.rest[1:]
			if a.Type != want {
				m.c.fail(m.v, "%v has type %v, want %v", a, a.Type, want)
				return false
			}
		}
		if repeat != '*' {
			return true
		}
	}
	return true
}

// types returns the types that one letter allows.
func (m *matcher) types(letter byte) []Type {
	v := m.v
	wide := false
	switch letter {
	case 't':
		return []Type{scalar(v.Type)}
	case 'x':
		if m.x == Void {
			m.x = scalar(m.rest0())
		}
		return []Type{m.x}
	case 'p':
		return []Type{Tuple}
	case 'd':
		wide = true
	case 'a':
		wide = v.Space == MapMem
	case 'v':
		wide = v.Size == 8
	}
	switch {
	case !wide:
		return []Type{I32}
	case m.c.legal:
		return []Type{I32, I32}
	}
	return []Type{I64}
}

func (m *matcher) rest0() Type {
	if len(m.rest) == 0 {
		return I32
	}
	return m.rest[0].Type
}

// scalar returns t if it is the type of a number.
func scalar(t Type) Type {
	if t == I64 {
		return I64
	}
	return I32
}

func (c *checker) resultType(v *Value, row Row) {
	wide := false
	switch row.Result {
	case "-":
		if v.Type != Void {
			c.fail(v, "%v has no result", v.Op)
		}
		return
	case "v?":
		if v.Type == Void {
			return
		}
		wide = v.Size == 8
	case "v":
		wide = v.Size == 8
	case "d":
		wide = true
	case "t":
		wide = v.Type == I64
	}
	want := I32
	switch {
	case row.Result == "p", wide && c.legal:
		want = Tuple
	case wide:
		want = I64
	}
	if v.Type != want {
		c.fail(v, "%v has type %v, want %v", v.Op, v.Type, want)
	}
}
