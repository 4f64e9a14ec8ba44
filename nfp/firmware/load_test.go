package firmware

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Every number a profile states has a source beside it.
func TestProfilesNameTheirSources(t *testing.T) {
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != name {
			t.Errorf("%s: names itself %q", name, p.Name)
		}
		data, err := files.ReadFile("profiles/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		for field, v := range fields {
			empty := string(v) == "{}" || string(v) == "[]" || string(v) == "false"
			if field == "name" || field == "doc" || field == "sources" || empty {
				continue
			}
			if p.Sources[field] == "" {
				t.Errorf("%s: %s has no source", name, field)
			}
		}
	}
}

// TestProfileTable checks the table of the firmware contract: where the profiles
// differ.
func TestProfileTable(t *testing.T) {
	for _, c := range []struct {
		name            string
		maxLen, abi     int
		helpers, inline []int32
		types           int
		entries         int
		arrayZero       bool
	}{
		{"stock", 2800, 3, []int32{1, 2, 3, 25}, []int32{7, 44, 65}, 2, 3072000, true},
		{"extended", 2800, 3, []int32{1, 2, 3, 5, 8, 12, 23, 25, 28, 51}, []int32{7, 44, 65}, 12, 3072000, true},
		{"unlimited", 13312, 3, []int32{1, 2, 3, 5, 8, 12, 23, 25, 28, 51}, []int32{7, 44, 65}, 12, 0, true},
		{"corenic", 2560, 2, []int32{1}, []int32{7, 44, 65}, 2, 2048000, false},
		{"corenic-direct", 2560, 2, nil, []int32{7, 44, 65}, 1, 0, true},
	} {
		p, err := Load(c.name)
		if err != nil {
			t.Fatal(err)
		}
		var ids []int32
		for id, at := range p.Helpers {
			ids = append(ids, id)
			if at != 256+16*int(id) {
				t.Errorf("%s: helper %d at %d", c.name, id, at)
			}
		}
		slices.Sort(ids)
		if p.MaxLen != c.maxLen || p.ABI != c.abi || !slices.Equal(ids, c.helpers) || !slices.Equal(p.Inline, c.inline) ||
			len(p.Maps.Types) != c.types || p.Maps.Entries != c.entries || p.ArrayZero != c.arrayZero {
			t.Errorf("%s: got max_len %d abi %d helpers %v inline %v types %v entries %d array_zero %v", c.name,
				p.MaxLen, p.ABI, ids, p.Inline, p.Maps.Types, p.Maps.Entries, p.ArrayZero)
		}
		if p.CTMBytes() != 1888 || p.Start != 3072 || p.Done != 1 || p.Stack != 512 {
			t.Errorf("%s: CTM %d start %d done %d stack %d", c.name, p.CTMBytes(), p.Start, p.Done, p.Stack)
		}
	}
}

func TestImpossibleProfiles(t *testing.T) {
	good, err := files.ReadFile("profiles/stock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"max_len": 2800`, `"max_len": 99999`, "max_len is 99999"},
		{`"stack_bytes": 512`, `"stack_bytes": 0`, "stack_bytes is 0"},
		{`"1": 272`, `"1": 3100`, "lies in the program's area"},
		{`"abi": 3`, `"abi": 4`, "abi is 4"},
		{`"abi": 3`, `"abi": "x"`, "abi"},
		{`"abi": 3`, `"colour": 3`, "colour"},
		{`"wait": "cls"`, `"wait": "disk"`, `packet_before: step 1: wait is "disk"`},
		{`"wait": "cls"`, `"wait": "packet"`, "only the last step of packet_after"},
		{`"wait": "packet"`, `"wait": "ring"`, "packet_after: its last step"},
		{`"wait": "packet"`, `"wait": "packet", "share": 0.5`, "all packets take the last step"},
		{`"issue": 13`, `"issue": -1`, "issue is -1"},
		{`"issue": 13`, `"share": 1.5, "issue": 13`, "share is 1.5"},
		{`"bytes": 128`, `"bytes": 129`, "bytes is 129"},
		{`"bytes": 128`, `"op": "swap"`, `op is "swap"`},
		{`"wait": "ticket"`, `"wait": "ticket", "op": "read"`, "not for \"ticket\""},
		{`"bank": 1`, `"bank": -1`, "bank must be 0 or more"},
	} {
		bad := strings.Replace(string(good), c.old, c.new, 1)
		if bad == string(good) {
			t.Fatalf("%s not in the profile", c.old)
		}
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.new, err, c.want)
		}
	}
	if _, err := Load("nosuch"); err == nil || !strings.Contains(err.Error(), "corenic-direct") {
		t.Errorf("unknown profile: %v", err)
	}
}
