// Command voice checks the prose in Go comments and Markdown. It counts private idiom
// per 10,000 words and compares the counts with limits, and it lists the sentences of
// more than 35 words. Passing it does not show that a sentence is clear; failing it
// shows that many are not. Code, drawn tables and testdata are not prose.
//
//	go run ./internal/voice [DIR] [--worst N]
//
// Without DIR it counts the whole tree, and each top-level folder that has over 5,000
// words of prose. --worst lists the N lines with the most idiom. The exit status is 1
// if a count is past its limit or a sentence too long, and 2 after a mistake in the
// command line.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("voice", flag.ContinueOnError)
	flags.SetOutput(stderr)
	worst := flags.Int("worst", 0, "list the `N` lines with the most idiom")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: voice [DIR] [--worst N]")
		flags.PrintDefaults()
	}
	if flags.Parse(args) != nil {
		return 2
	}
	dir := flags.Arg(0)
	if flags.NArg() > 1 && (flags.Parse(flags.Args()[1:]) != nil || flags.NArg() > 0) {
		flags.Usage()
		return 2
	}
	list := idioms()
	roots := []string{dir}
	if dir == "" {
		var err error
		if roots, err = folders("."); err != nil {
			fmt.Fprintln(stderr, "voice:", err)
			return 2
		}
	}
	good := true
	for i, root := range roots {
		blocks, err := prose(root)
		if err != nil {
			fmt.Fprintln(stderr, "voice:", err)
			return 2
		}
		lines := slices.Concat(blocks...)
		c := count(lines, list)
		if i > 0 && c.words <= enough {
			continue
		}
		good = c.report(stdout, root, list) && good
		if i == 0 {
			printWorst(stdout, lines, list, *worst)
			good = reportLong(stdout, blocks) && good
		}
	}
	if !good {
		return 1
	}
	return 0
}

// enough is the number of words from which a folder's counts mean something.
const enough = 5000

// folders returns root and the visible folders in it.
func folders(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	out := []string{root}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.Join(root, e.Name()))
		}
	}
	return out, err
}

// counts holds how often each idiom occurs per 10,000 words.
type counts struct {
	words int
	per   []float64
}

var word = regexp.MustCompile(`[A-Za-z']+`)

// count counts idioms. Lines are joined first: an idiom may span two.
func count(lines []line, list []idiom) counts {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
		b.WriteByte(' ')
	}
	text := b.String()
	c := counts{words: len(word.FindAllString(text, -1))}
	for _, x := range list {
		c.per = append(c.per, 1e4*float64(len(x.pattern.FindAllString(text, -1)))/float64(max(1, c.words)))
	}
	return c
}

// report prints one line if all counts are within their limits, and the counts past
// theirs otherwise.
func (c counts) report(w io.Writer, root string, list []idiom) bool {
	good := true
	for i, x := range list {
		if c.per[i] <= x.limit {
			continue
		}
		if good {
			fmt.Fprintf(w, "voice: %s: %d words; per 10,000 words:\n", root, c.words)
		}
		good = false
		fmt.Fprintf(w, "  %-22s %6.1f, limit %2.0f; write: %s\n", x.name, c.per[i], x.limit, x.instead)
	}
	if good {
		fmt.Fprintf(w, "voice: %s: %d words within the limits\n", root, c.words)
	}
	return good
}

// printWorst prints the n lines with the most idiom.
func printWorst(w io.Writer, lines []line, list []idiom, n int) {
	type scored struct {
		line
		score int
	}
	var all []scored
	for _, l := range lines {
		s := scored{line: l}
		for _, x := range list {
			s.score += len(x.pattern.FindAllString(l.text, -1))
		}
		if s.score > 0 {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	for _, l := range all[:min(n, len(all))] {
		fmt.Fprintf(w, "%s:%d: %s\n", l.file, l.n, l.text)
	}
}
