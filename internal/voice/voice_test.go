package main

import (
	"bytes"
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

// Prose is comments and paragraphs, and nothing else.
func TestProse(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.go", "// Package a has one comment.\npackage a\n\n//go:generate behind\nvar s = \"// behind\" // after code\n/* in two\nlines */\n")
	write(t, dir, "b.md", "# Title\n\ntext\n\n    behind\n| behind |\n```\nbehind\n```\nend\n")
	write(t, dir, "testdata/c.md", "behind\n")
	write(t, dir, ".hidden/c.md", "behind\n")
	write(t, dir, "c.txt", "behind\n")
	lines, err := prose(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		if l.text != "" {
			got = append(got, l.text)
		}
	}
	want := "Package a has one comment.|after code|in two|lines|# Title|text|end"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if lines[2].n != 6 || lines[3].n != 7 {
		t.Errorf("the comment of two lines is at %d and %d, want 6 and 7", lines[2].n, lines[3].n)
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
		write(t, dir, "b.md", strings.Repeat("plain words in a row ", 2001))
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
	write(t, dir, "big/a.md", strings.Repeat("plain ", 5001)+strings.Repeat("behind ", 2))
	write(t, dir, "small/a.md", "behind behind")
	write(t, dir, "rest/a.md", strings.Repeat("plain ", 20000))
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
