package runbook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = `Text.

<!-- test: file a.txt -->
` + "```yaml" + `
# no command
x: 1
` + "```" + `
<!-- test: traffic nfp0 3 -->
` + "```console" + `
# tool say 'two words' &
# tool fail
no ... good
(exit status 1)
# kill %1
done
` + "```" + `
` + "```sh" + `
# not run
` + "```" + `
`
	got, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{Line: 7, Do: "file", Args: []string{"a.txt"}, Text: "# no command\nx: 1\n"},
		{Line: 8, Do: "test", Args: []string{"traffic", "nfp0", "3"}},
		{Line: 10, Do: "start", Args: []string{"tool", "say", "two words"}},
		{Line: 11, Do: "run", Args: []string{"tool", "fail"}, Exit: 1, Want: []string{"no ... good"}},
		{Line: 14, Do: "stop", Args: []string{"kill", "%1"}, Want: []string{"done"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"```console\nx\n```\n", "```console\n# a\n", "```console\n# 'a\n```\n", "```console\n#  \n```\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	s := Step{Args: []string{"x"}, Want: []string{"a ... c", "d"}}
	for output, ok := range map[string]bool{
		"a b c\nd": true, "z\na  b  c\ny\nd\n": true, "d\na b c": false, "a b\nd": false, "a b cc\nd": false, "": false,
	} {
		if err := s.Check(output, 0); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", output, err, ok)
		}
	}
	if err := s.Check("a b c\nd", 1); err == nil || !strings.Contains(err.Error(), "exit status 1, want 0") {
		t.Errorf("exit status 1: %v", err)
	}
}
