package explain

import (
	"bytes"
	"strings"
	"testing"
)

// TestRows checks every row: a word, a sentence, and a cure of one line.
func TestRows(t *testing.T) {
	type key struct{ word, table string }
	seen := map[key]bool{}
	for _, r := range All() {
		table, _, _ := strings.Cut(r.Family, ":")
		if table != "manager" {
			table = "programs"
		}
		if k := (key{r.Reason, table}); seen[k] {
			t.Errorf("%s is twice in one table", r.Reason)
		} else {
			seen[k] = true
		}
		if r.Hint == "" || strings.ContainsAny(r.Hint+r.Explanation, "\n") || !strings.HasSuffix(r.Explanation, ".") {
			t.Errorf("%s: %q, cure %q: want a sentence and a cure, a line each", r.Reason, r.Explanation, r.Hint)
		}
		rows, err := Find(All(), r.Reason)
		if err != nil || len(rows) > 2 {
			t.Errorf("explain %s: %v, %v", r.Reason, rows, err)
		}
		for _, x := range rows {
			if x.Reason != r.Reason {
				t.Errorf("explain %s explains %s", r.Reason, x.Reason)
			}
		}
	}
}

// TestCommand compares the output of explain: a word of each table, one that is in two
// tables, lines of the kernel's, and words that are none.
func TestCommand(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"div-by-zero", `div-by-zero (program)
  Division or modulo by the constant 0.
  cure: check the constant: it is often a macro or a size that is not set
`},
		{"no-driver", `no-driver (manager: driver)
  The card is on the bus and no driver is bound to it.
  cure: modprobe nfp; the kernel needs CONFIG_NFP
`},
		{"no-program", `no-program (object)
  The object holds no program of that name.
  cure: nfpsim check FILE lists the programs
no-program (manager: instruction)
  The object has no program of that name, or several and none was named.
  cure: name it: FILE.o:PROGRAM
`},
		{"[nfp] map flags are not supported", `driver-map-flags (Linux driver)
  Offloaded maps take no flags and no NUMA node.
  cure: drop map_flags and numa_node from the definition
`},
		{"on-a-shelf", "explain: no reason \"on-a-shelf\", nor a line that the driver is known to say; without an argument, explain lists the reasons\n"},
		{"no-driv", "explain: no reason \"no-driv\"; did you mean no-driver?\n"},
	} {
		var out bytes.Buffer
		cmd := Command("nfpsim", nil)
		cmd.SetArgs([]string{c.word})
		cmd.SetOut(&out)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); err != nil {
			out.WriteString(err.Error() + "\n")
		}
		if out.String() != c.want {
			t.Errorf("explain %s:\n%swant:\n%s", c.word, out.String(), c.want)
		}
	}
}
