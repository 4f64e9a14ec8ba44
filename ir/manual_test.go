package ir

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
)

// TestManual keeps docs/ir.md current.
func TestManual(t *testing.T) {
	m, err := Parse(manualExample)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(m); err != nil {
		t.Error(err)
	}
	if got := m.String(); got != manualExample {
		t.Errorf("the example's text is not canonical; got\n%s", got)
	}
	golden.File(t, "../docs/ir.md", manual())
}

const manualExample = `module "xdp_prog"
map counters entries=16 stride=8 marks=false

func main() i32 frame=16 {
b0:
  v1:i32 = packetstart ; pc 2
  v2:i32 = packetlen ; pc 2
  v3:i32 = const 14 ; pc 3
  v4:i32 = ult v2, v3 ; pc 3
  branch v4 b2 b1(v1) ; pc 3
b1(v5:i32):
  v6:i32 = load.packet.2 v5 align=2 ; pc 4
  v7:i64 = zext32 v6 ; pc 4
  v8:i32 = stackaddr 8 ; pc 5
  store.stack.8 v8, v7 align=8 ; pc 5
  v9:i32 = trunc v7 ; pc 6
  return v9 ; pc 6
b2:
  v10:i32 = const 1 ; pc 7
  return v10 ; pc 7
}
`

const manualHead = `# The intermediate form

Package [ir](../ir) is the compiler's form between eBPF and a target: SSA with block
arguments, over 32- and 64-bit integers. It knows neither eBPF nor the NFP by import.
` + "`nfpsim compile --dump lift`" + ` prints it after lifting, ` + "`--dump PASS`" + ` after a pass.

This page is printed from the table in ir/table.go; ` + "`go test ./ir -run TestManual -update`" + ` rewrites it.

## Text

` + "```\n" + manualExample + "```" + `

* ` + "`ir.Parse`" + ` reads this text, and a module's ` + "`String`" + ` prints it. ` + "`ir.Check`" + ` reports every broken invariant; its comment lists them.
* A line holds one value, terminator or header. Text after ` + "`;`" + ` is a comment, except ` + "`; pc N`" + `, the eBPF instruction a value comes from.
* A block's parameters stand after its name. An edge passes one argument for each parameter of its target.
* After an operation's name come its suffixes: the atomic operation, the memory space and size, or a number.
  The symbol, the number and the arguments follow in this order, then the attributes that are not zero.
* A symbol is quoted if it is no identifier, or has the form of a value or a number.
* The module's first function is its entry. A map is listed if passes may use a fact about it:
  ` + "`entries` and `stride`" + ` of an array that needs no lookup, ` + "`marks`" + ` if a lookup changes the map's order of eviction.

## Types

| type | values |
|---|---|
| i32, i64 | integers without sign; an operation defines whether it reads a sign |
| tuple | the parts of one command's or call's result, each read by ` + "`part`" + `; only after legalization |

## Terminators

| terminator | meaning |
|---|---|
| ` + "`jump bN(args)`" + ` | continues at a block |
| ` + "`branch c bN(args) bM(args)`" + ` | continues at bN if c is not 0, at bM otherwise |
| ` + "`return v`" + ` | ends the function; in the entry function v is the verdict. ` + "`return lo, hi`" + ` for 64 bits after legalization |
| ` + "`abort`" + ` | ends the program with the verdict of a failed bounds check of a classic packet load |

## Memory

| space | memory | address |
|---|---|---|
| stack | the functions' frames, local memory on the NFP | i32 |
| packet | the packet, cluster target memory on the NFP | i32 |
| map | values of maps, external memory on the NFP | i64 |

| attribute | meaning |
|---|---|
| big | each 32-bit word of the access is a counter, stored big-endian; evaluation ignores it |
| align, phase | the address is phase modulo align; absent if unknown |
| kinds | what a helper's pointer arguments point to, four bits an argument, r1 lowest |
| reach | the number of bytes a helper may read from each stack pointer, ten bits an argument |

Atomic operations are add, and, or, xor, xchg and cmpxchg. With ` + "`.fetch`" + ` the result is the old value.

## Operations

A signature has one letter for each argument, and one for the result:

| letter | type |
|---|---|
| t | the value's own type, i32 or i64 |
| w, d, p | i32, i64, tuple |
| a | an address: i32 in stack and packet, i64 in maps |
| x | i32 or i64, the same for each x of the operation |
| v | i32 for accesses of up to 4 bytes, i64 for 8 |
| * | the letter before it any number of times |
| ? | the letter before it, or nothing |
| - | no result |

Effects: *pure* results depend on the arguments alone; *reads* loads memory or packet state, and must not
move across an *effect*; *effect* changes memory or packet state, and keeps its order. Operations marked
*64* exist before legalization only. After it, t and x are i32, and an i64 argument is two, low half first.
A meaning that begins with a list of names and a colon names its arguments so.

`

func manual() string {
	var b strings.Builder
	b.WriteString(manualHead)
	b.WriteString("| operation | text | signature | effects | meaning |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | `%s` | %s → %s | %s | %s |\n", r.Name, r.syntax(), dash(r.Args), r.Result, r.effects(), strings.ReplaceAll(r.Doc, "|", "\\|"))
	}
	return b.String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return strings.ReplaceAll(s, "*", "\\*")
}

// syntax returns the operation's line, with names for its fields.
func (r Row) syntax() string {
	s := r.Name
	if r.Int == IntAtomic {
		s += ".OP"
	}
	if r.Mem {
		s += ".SPACE"
		if r.Int == IntWords {
			s += ".WORDS"
		} else {
			s += ".SIZE"
		}
	}
	if r.Int == IntSuffix {
		s += ".N"
	}
	var operands []string
	if r.Sym {
		operands = append(operands, "SYM")
	}
	if r.Int == IntOperand {
		operands = append(operands, "N")
	}
	for i, c := range r.Args {
		switch c {
		case '*':
			operands = append(operands, "...")
		case '?':
			operands[len(operands)-1] = "[" + operands[len(operands)-1] + "]"
		default:
			operands = append(operands, string("xyzuv"[min(i, 4)]))
		}
	}
	if len(operands) > 0 {
		s += " " + strings.Join(operands, ", ")
	}
	return s
}

func (r Row) effects() string {
	var s []string
	for i, name := range []string{"pure", "reads", "effect", "64"} {
		if r.Flags>>i&1 != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, ", ")
}
