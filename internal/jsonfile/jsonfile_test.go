package jsonfile

import (
	"testing"
)

type sample struct {
	Name  string
	Size  int `json:"size_bytes"`
	Inner struct{ Key, Value int }
	List  []struct{ Issue int }
	Table map[string]struct{ Issue int }
	Free  any
}

// Each input with what is wrong with it; none: it is read.
func TestDecode(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{`{"Name": "a", "size_bytes": 3, "Inner": {"Key": 1}, "List": [{"Issue": 1}, {"Issue": 2}], "Table": {"a": {"Issue": 1}, "A": {"Issue": 2}}}`, ""},
		{`{"Free": {"x": [1, {"y": null}]}}`, ""},
		{"{\"Name\": \"a\",\n \"Name\": \"b\"}", `2:7: member "Name" occurs twice`},
		{`{"Name": "a", "name": "b"}`, `1:20: member "name" occurs twice`},
		{`{"Inner": {"Key": 1, "Key": 1}}`, `1:26: member "Key" occurs twice`},
		{`{"List": [{"Issue": 1, "Issue": 1}]}`, `1:30: member "Issue" occurs twice`},
		{`{"Table": {"a": {"Issue": 1}, "a": {"Issue": 2}}}`, `1:33: member "a" occurs twice`},
		{`{"Table": {"a": {"Issue": 1, "Issue": 2}}}`, `1:36: member "Issue" occurs twice`},
		{`{"Free": {"x": 1, "x": 2}}`, `1:21: member "x" occurs twice`},
		{`{"size": 3}`, `1:7: member "size" is unknown`},
		{`{"size_bytes": "3"}`, `1:18: size_bytes is string, want int`},
		{`{"Name": "a"} {}`, `1:15: invalid character '{' after top-level value`},
		{`{"Name": "a"`, `1:12: unexpected end of JSON input`},
		{"", `1:1: unexpected end of JSON input`},
		{"{\n\t\"Name\": nope}", `2:11: invalid character 'o' in literal null (expecting 'u')`},
		{`[1, 2]`, `1:1: the value is array, want jsonfile.sample`},
	} {
		var s sample
		err := Decode([]byte(x.text), &s)
		if got := message(err); got != x.want {
			t.Errorf("%s: %q, want %q", x.text, got, x.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzDecode checks that no input causes a panic in Decode, and that accepted input
// has no member twice.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Name": "a", "Inner": {"Key": 1}, "List": [{}], "Table": {"a": {}}, "Free": [1]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var s sample
		_ = Decode(data, &s)
	})
}
