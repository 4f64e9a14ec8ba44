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
	for _, c := range []struct{ want, good, bad []string }{
		{want: nil, good: []string{""}, bad: []string{"\n", "a\n"}},
		{
			want: []string{"a ... c", "d"},
			good: []string{"a b c\nd", "a  b  c\n  d\n"},
			bad:  []string{"", "a b c", "a b c\nd\ne\n", "z\na b c\nd", "a b c\ny\nd", "d\na b c", "a b\nd", "a b cc\nd", "a b c\nd\n\n"},
		},
		{
			want: []string{"a", "...", "d"},
			good: []string{"a\nd", "a\nb\nc\nd\n"},
			bad:  []string{"a", "d", "b\na\nd", "a\nb\nd\ne"},
		},
		{want: []string{"a", "..."}, good: []string{"a", "a\nb\nc\n"}, bad: []string{"", "b\na"}},
		{want: []string{"...", "d"}, good: []string{"d", "a\nb\nd\n"}, bad: []string{"", "a\nd\ne"}},
		{want: []string{"..."}, good: []string{"", "a\nb\n"}},
	} {
		s := Step{Args: []string{"x"}, Want: c.want}
		for _, output := range c.good {
			if err := s.Check(output, 0); err != nil {
				t.Errorf("%q: %v", c.want, err)
			}
		}
		for _, output := range c.bad {
			if err := s.Check(output, 0); err == nil {
				t.Errorf("%q accepts %q", c.want, output)
			}
		}
	}
	s := Step{Args: []string{"x"}}
	if err := s.Check("", 1); err == nil || !strings.Contains(err.Error(), "exit status 1, want 0") {
		t.Errorf("exit status 1: %v", err)
	}
}
