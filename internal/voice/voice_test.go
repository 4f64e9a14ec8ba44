package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Prose is comments, paragraphs, list items and cells of tables, without code and drawn
// tables. A bar ends a block, a slash a line in it.
func TestProse(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"comments", "// Package a has one\n// comment.\npackage a\n\n//go:generate behind\nvar s = \"// behind\" // after code\n/* in two\nlines */\n",
			"1:Package a has one/2:comment.|6:after code|7:in two/8:lines"},
		{"blank line", "// One.\n//\n// Two.\n\n// Three.\npackage a\n", "1:One.|3:Two.|5:Three."},
		{"columns", "package a\n\nvar (\n\ta = 1 // first\n\tb = 2 // second,\n\t      // over two lines\n\t// third\n)\n", "4:first|5:second,/6:over two lines|7:third"},
		{"drawn table", "// Before.\n//\n//\tbehind  behind\n//\n// After:\n//   - item that goes\n//     on\n//   - next\npackage a\n",
			"1:Before.|5:After:|6:- item that goes/7:on|8:- next"},
		{"heading", "// Text.\n// # Heading\n// More.\npackage a\n", "1:Text.|2:# Heading|3:More."},
		{"a.md", "# Title\ntext\nmore\n\n    behind\n\n* item\n  goes on\n* next\n```\nbehind\n```\nend\n",
			"1:# Title|2:text/3:more|7:* item/8:goes on|9:* next|13:end"},
		{"b.md", "Of a table:\n| one | `a|b` |\n|---|---|\n| c \\| d | |\nend\n", "1:Of a table:|2:one|2:`a|b`|3:---|3:---|4:c \\| d|5:end"},
		{"testdata/c.md", "behind\n", ""},
		{".hidden/c.md", "behind\n", ""},
		{"c.txt", "behind\n", ""},
	} {
		dir := t.TempDir()
		if filepath.Ext(test.name) == "" {
			test.name += ".go"
		}
		write(t, dir, test.name, test.text)
		blocks, err := prose(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range blocks {
			var lines []string
			for _, l := range b {
				lines = append(lines, fmt.Sprintf("%d:%s", l.n, l.text))
			}
			got = append(got, strings.Join(lines, "/"))
		}
		if s := strings.Join(got, "|"); s != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, s, test.want)
		}
	}
}

// Where sentences end, and how many words they have.
func TestSentences(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"One two. Three four? five.", "2:One two.|2:Three four?|1:five."},
		{"It is split. lowerCase begins one.", "3:It is split.|3:lowerCase begins one."},
		{"Read a.b, e.g. in v1.2, or 0.5 of it, cf. there.", "11:Read a.b, e.g. in v1.2, or 0.5 of it, cf. there."},
		{"Two kinds: one; two.", "4:Two kinds: one; two."},
		{"Two kinds: One; `two`; [three]; \"four\".", "2:Two kinds:|1:One;|1:`two`;|1:[three];|1:\"four\"."},
		{"(It ends here.) **Bold ends.** *So does this.* End", "3:(It ends here.)|2:**Bold ends.**|3:*So does this.*|1:End"},
		{"Run `go test . -run X. Y` once.", "3:Run `go test . -run X. Y` once."},
		{"If a + b * 2 >= 4 x, then n - 1.", "5:If a + b * 2 >= 4 x, then n - 1."},
		{"- item", "1:- item"},
		{"---", ""},
	} {
		var got []string
		for _, s := range sentences(block{{text: test.text}}) {
			got = append(got, fmt.Sprintf("%d:%s", s.words, s.text))
		}
		if s := strings.Join(got, "|"); s != test.want {
			t.Errorf("got  %s\nwant %s", s, test.want)
		}
	}
}

// A sentence of 36 words is reported at the line where it begins, one of 35 is not; in
// comments, lists and tables, and with code spans over the end of a line.
func TestLong(t *testing.T) {
	words := func(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }
	for _, test := range []struct{ name, format, at string }{
		{"a.go", "package a\n\n// It begins. %s\n// the last.\nvar a int\n", "3"},
		{"a.go", "package a\n\nfunc f() {\n\t// List:\n\t//   - %s\n\t//     the last\n}\n", "5"},
		{"a.md", "First. Second is\nshort. It\n%s\nends.", "2"},
		{"a.md", "* One.\n* %s `a b\n  c` d.\n", "2"},
		{"a.md", "| one | %s the last |\n", "1"},
	} {
		dir := t.TempDir()
		for n, code := range map[int]int{33: 0, 34: 1} {
			write(t, dir, test.name, fmt.Sprintf(test.format, words(n)))
			write(t, dir, "plain.md", strings.Repeat("plain. ", 10000))
			var out, errs bytes.Buffer
			if got := run([]string{dir}, &out, &errs); got != code {
				t.Errorf("%q: exit %d, want %d", test.format, got, code)
			}
			want := fmt.Sprintf("%s:%s: a sentence of 36 words, limit 35, split it: ", filepath.Join(dir, test.name), test.at)
			if strings.Contains(out.String(), want) != (code == 1) {
				t.Errorf("%q with %d words: got\n%s", test.format, n, out.String())
			}
		}
	}
}

// Each idiom is found in a text of its own, also across the end of a line, and alone
// is past its limit there.
func TestLimits(t *testing.T) {
	for idiom, text := range map[string]string{
		"behind": "It stands behind it.", "in front of": "It stands in front\nof it.", "way(s)": "Two ways meet.", "look(s) at": "It looked at it.",
		"is what / are what": "This is what it is.", "nobody, whoever": "Nobody knows.", "anew": "It is read anew.", "be there any": "Be there any or not.",
		"tells, told": "It tells.", "wants, wanted": "It wanted it.", "makes, made": "It makes one.", "where (for if, when)": "One, where it is 0.",
	} {
		dir := t.TempDir()
		write(t, dir, "a.md", text)
		var out, errs bytes.Buffer
		if code := run([]string{dir, "--worst", "1"}, &out, &errs); code != 1 {
			t.Errorf("%s: exit %d, want 1", idiom, code)
		}
		if s := out.String(); strings.Count(s, "limit") != 1 || !strings.Contains(s, idiom) || errs.Len() > 0 {
			t.Errorf("%s: got\n%s%s", idiom, s, errs.String())
		}
		write(t, dir, "b.md", strings.Repeat("plain words in a row. ", 2001))
		out.Reset()
		if code := run([]string{dir}, &out, &errs); code != 0 {
			t.Errorf("%s: exit %d in 10,000 words, want 0:\n%s", idiom, code, out.String())
		}
	}
}

// Without a folder, the whole tree counts, and each folder with enough words.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, dir, "big/a.md", strings.Repeat("plain. ", 5001)+strings.Repeat("behind ", 2))
	write(t, dir, "small/a.md", "behind behind")
	write(t, dir, "rest/a.md", strings.Repeat("plain. ", 20000))
	var out, errs bytes.Buffer
	if code := run(nil, &out, &errs); code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	s := out.String()
	if !strings.Contains(s, "voice: .: 25005 words within") || !strings.Contains(s, "voice: big: 5003 words; per") || strings.Contains(s, "small") {
		t.Errorf("got\n%s", s)
	}
	if code := run([]string{"--worst"}, &out, &errs); code != 2 {
		t.Errorf("a flag without its value: exit %d, want 2", code)
	}
	if code := run([]string{"missing"}, &out, &errs); code != 2 {
		t.Errorf("a folder that does not exist: exit %d, want 2", code)
	}
}
