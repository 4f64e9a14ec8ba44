package ir

import (
	"regexp"
	"strings"
	"testing"
)

// Printing what was parsed, and parsing that, gives the same text.
func TestRoundTrip(t *testing.T) {
	modules(t, "testdata/*.txtar", func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		first := m.String()
		n, err := Parse(first)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, first)
		}
		if second := n.String(); second != first {
			t.Errorf("got\n%s\nfrom\n%s", second, first)
		}
	})
}

// The printer's text is the canonical one: what a person writes so comes back
// byte for byte.
func TestCanonical(t *testing.T) {
	const text = `module "xdp prog"

func "odd name"(v0:i64, v1:i64) i32 frame=64 {
b0:
  v2:i32 = packetstart ; pc 2
  v3:i64 = mapvalueaddr .rodata.str1.1, -8
  v4:i32 = ctxload rx_queue_index ; pc 3
  v5:i64 = load.map.8 v3 big align=8 phase=4 ; pc 4
  v6:i64 = atomic.cmpxchg.fetch.map.8 v3, v0, v1 big
  v7:i64 = helper.28 v0, v1, v0, v1, v0 kinds=0x808
  v8:i32 = maphandle "v1"
  v9:i64 = bswap.64 v7
  tailcall "", v9, v8
  branch v4 b3(v2, v4) b2
b2:
  abort ; pc 9
b3(v10:i32, v11:i32):
  return v10
}
`
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.String(); got != text {
		t.Errorf("got\n%s", got)
	}
	if f := m.Funcs[0]; f.NextID != 13 || f.NextBlock != 4 {
		t.Errorf("NextID %d NextBlock %d", f.NextID, f.NextBlock)
	}
}

// Every operation has a row with a doc line, a unique name, a text form, and a
// signature of known letters.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	letters := regexp.MustCompile(`^([twdxpav][*?]?)*$`)
	results := map[string]bool{"t": true, "w": true, "d": true, "p": true, "v": true, "v?": true, "-": true}
	for op := OpInvalid + 1; op < numOps; op++ {
		r := op.Row()
		if r.Op != op || r.Name == "" || r.Doc == "" || names[r.Name] {
			t.Errorf("operation %d: row %+v", op, r)
		}
		names[r.Name] = true
		if !letters.MatchString(r.Args) || !results[r.Result] {
			t.Errorf("%s: signature %q -> %q", r.Name, r.Args, r.Result)
		}
		if n := r.Flags & (Pure | Reads | Effect); n != Pure && n != Reads && n != Effect {
			t.Errorf("%s: one of Pure, Reads, Effect is wanted", r.Name)
		}
		if back, ok := opNamed(r.Name); !ok || back != op || strings.Contains(r.Name, ".") {
			t.Errorf("%s does not parse back", r.Name)
		}
	}
	if len(rows) != int(numOps)-1 {
		t.Errorf("%d rows for %d operations", len(rows), numOps-1)
	}
}

func TestParseErrors(t *testing.T) {
	const body = "func f() i32 frame=0 {\nb0:\n"
	for _, c := range []struct{ text, want string }{
		{"x", `line 1: "x" outside a function`},
		{"func f(", "line 1: "},
		{"func f() i33 frame=0 {", "result type is missing"},
		{"func f() i32 size=0 {", "want frame="},
		{"func f() i32 frame=x {", "want a number"},
		{"func f() i32 frame=0 {", "no closing brace"},
		{"func f() i32 frame=0 {\nv1:i32 = const 0", "line 2: value outside a block"},
		{"func f() i32 frame=0 {\nabort", "outside a block"},
		{body + "v1:i32 = frob", `line 3: unknown operation "frob"`},
		{body + "v1:i32 = const x", "want a number"},
		{body + "v1 = const 0", "v1"},
		{body + "v1:i32 = const 0\nv1:i32 = const 0", "line 4: v1 is defined twice"},
		{body + "b0:", "b0 is defined twice"},
		{body + "return v1\n}", "v1 is used in func f but not defined"},
		{body + "jump b7\n}", "b7 is used in func f but not defined"},
		{body + "jump x", "want a block"},
		{body + "v1:i32 = load.moon.4 v1", `unknown space "moon"`},
		{body + "v1:i32 = load.stack.x v1", "bad size"},
		{body + "v1:i32 = atomic.frob.stack.4 v1", "unknown atomic operation"},
		{body + "v1:i32 = bswap.x v1", "bad number"},
		{body + "v1:i32 = add.4 v1", "no suffix wanted"},
		{body + "v1:i32 = add v1 shiny=1", "unknown attribute"},
		{body + "v1:i32 = add v1 shiny", `unexpected "shiny"`},
		{body + `v1:i32 = maphandle "x`, "bad quoted string"},
		{body + "v99999999999:i32 = const 0", "v99999999999"},
		{body + "v99999999:i32 = const 0", "bad value number"},
		{body + "abort abort", `unexpected "abort"`},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// FuzzParse checks that no text makes the parser or Check panic, and that accepted
// text is printed in a form that is accepted again.
func FuzzParse(f *testing.F) {
	f.Add("func main() i32 frame=16 {\nb0:\n  v1:i32 = load.packet.4 v1 big align=4 ; pc 2\n  branch v1 b1(v1) b0\nb1(v2:i32):\n  return v2\n}\n")
	f.Add("func m(v1:i32) i64 frame=0 {\nb0:\n tailcall \"\", v1, v1\n v3:tuple = read.map.2 v1\n return v1, v1\n}")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text)
		if err != nil {
			return
		}
		first := m.String()
		n, err := Parse(first)
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		if n.String() != first {
			t.Fatalf("got\n%s\nfrom\n%s", n, first)
		}
		_ = Check(m)
		_ = CheckLegal(m)
	})
}
