package main

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A line is one line of prose and its position. Of a table's row each cell is a line.
type line struct {
	file string
	n    int
	text string
}

// A block is the lines over which sentences run: a paragraph, a list item, a heading, a
// cell of a table.
type block []line

// prose returns the comments of Go files and the text of Markdown files under root.
// Hidden folders and testdata are left out.
func prose(root string) ([]block, error) {
	var blocks []block
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		var read func(string, []byte) []block
		switch filepath.Ext(path) {
		case ".go":
			read = comments
		case ".md":
			read = markdown
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			blocks = append(blocks, read(path, text)...)
		}
		return err
	})
	return blocks, err
}

var (
	directive = regexp.MustCompile(`^//(go:|line |lint:|nolint|\+build)`)
	item      = regexp.MustCompile(`^ *([-*+]|\d+[.)]) `)
)

// A reader divides lines into blocks.
type reader struct {
	file   string
	blocks []block
	block  block
	item   bool // block is a list item: its further lines are indented
}

func (r *reader) end() {
	if len(r.block) > 0 {
		r.blocks = append(r.blocks, r.block)
	}
	r.block, r.item = nil, false
}

// add appends a line to the block, which a blank line, a heading and a list mark end.
// A line that is indented by code bytes, or with a tab, is code or a drawn table and
// not prose, unless it continues a list item.
func (r *reader) add(n int, text string, code int) {
	trimmed := strings.TrimLeft(text, " \t")
	indent := len(text) - len(trimmed)
	mark := item.MatchString(text)
	switch {
	case trimmed == "":
		r.end()
		return
	case r.item && !mark && !strings.HasPrefix(text, "\t"):
	case strings.HasPrefix(text, "\t"), indent >= code && !mark:
		r.end()
		return
	case mark, strings.HasPrefix(text, "#"):
		r.end()
		r.item = mark
	}
	r.block = append(r.block, line{r.file, n, strings.TrimSpace(text)})
	if strings.HasPrefix(text, "#") {
		r.end()
	}
}

// comments returns the blocks of a Go file's comments, directives aside. A comment goes
// on in the next line if that holds nothing else and begins in the same column.
func comments(path string, text []byte) []block {
	file := token.NewFileSet().AddFile(path, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	r := reader{file: path}
	last, column := 0, 0 // of the comment before
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			r.end()
			return r.blocks
		}
		if tok != token.COMMENT || directive.MatchString(lit) {
			continue
		}
		at := file.Position(pos)
		alone := len(strings.TrimSpace(string(text[at.Offset-at.Column+1:at.Offset]))) == 0
		if !alone || at.Line != last+1 || at.Column != column {
			r.end()
		}
		lit = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(lit, "//"), "/*"), "*/")
		for i, l := range strings.Split(lit, "\n") {
			last = at.Line + i
			r.add(last, strings.TrimPrefix(l, " "), 1)
		}
		column = at.Column
	}
}

// markdown returns the blocks of a Markdown file, without its code.
func markdown(path string, text []byte) []block {
	r := reader{file: path}
	fenced := false
	for i, l := range strings.Split(string(text), "\n") {
		switch trimmed := strings.TrimSpace(l); {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
			r.end()
		case fenced:
		case strings.HasPrefix(trimmed, "|"):
			for _, c := range cells(trimmed) {
				r.end()
				r.add(i+1, strings.TrimSpace(c), 4)
			}
			r.end()
		default:
			r.add(i+1, l, 4)
		}
	}
	r.end()
	return r.blocks
}

var bar = regexp.MustCompile(`\\\||\|`)

// cells divides a row of a table. A bar in code or after a backslash is text.
func cells(row string) []string {
	var out []string
	from := 0
	for _, m := range bar.FindAllStringIndex(maskCode(row), -1) {
		if m[1]-m[0] == 1 {
			out = append(out, row[from:m[0]])
			from = m[1]
		}
	}
	return append(out, row[from:])
}
