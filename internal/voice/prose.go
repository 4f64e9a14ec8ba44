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

// A line is one line of prose and its position.
type line struct {
	file string
	n    int
	text string
}

// prose returns the comments of Go files and the text of Markdown files under root.
// Hidden folders and testdata are left out.
func prose(root string) ([]line, error) {
	var lines []line
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
		var read func(string, []byte) []line
		switch filepath.Ext(path) {
		case ".go":
			read = comments
		case ".md":
			read = paragraphs
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			lines = append(lines, read(path, text)...)
		}
		return err
	})
	return lines, err
}

var directive = regexp.MustCompile(`^//(go:|line |lint:|nolint|\+build)`)

// comments returns the lines of a Go file's comments, directives aside.
func comments(path string, text []byte) []line {
	files := token.NewFileSet()
	file := files.AddFile(path, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	var lines []line
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return lines
		}
		if tok != token.COMMENT || directive.MatchString(lit) {
			continue
		}
		lit = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(lit, "//"), "/*"), "*/")
		for i, l := range strings.Split(lit, "\n") {
			lines = append(lines, line{path, file.Line(pos) + i, strings.TrimSpace(l)})
		}
	}
}

// paragraphs returns the lines of a Markdown file that are neither code nor table.
func paragraphs(path string, text []byte) []line {
	var lines []line
	fenced := false
	for i, l := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(strings.TrimSpace(l), "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(l, "|"), strings.HasPrefix(l, "    "):
		default:
			lines = append(lines, line{path, i + 1, l})
		}
	}
	return lines
}
