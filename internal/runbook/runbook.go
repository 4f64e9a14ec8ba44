// Package runbook parses the commands in a document, so that tests can run the
// commands that the document gives to its readers, and compare their output with the
// output that it shows. Parse returns the Steps of a document, and Step.Check compares
// the output of one.
//
// In a block that is fenced as console, a line "# COMMAND" is a command, and the lines
// after it are its whole output. A line "..." stands for any number of lines, and "..."
// within a line for any text. "(exit status N)" is its exit status, if not 0.
// A command that ends with & runs in the background; the line after it is the first of
// its output. "# kill %1" ends it, and the lines after that are the rest.
//
// Comments describe events for the test: "<!-- test: WORDS -->" is a step of its own,
// and "<!-- test: file NAME -->" turns the next block into a file.
package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// A Step is one action of a document.
type Step struct {
	Line int      `json:"line"` // of the document, from 1
	Do   string   `json:"do"`   // run, start (in the background), stop, test (a step of the test's own), or file
	Args []string `json:"args"` // a command's words, a test's, or a file's name
	Text string   `json:"text,omitempty"`
	Exit int      `json:"exit,omitempty"`
	Want []string `json:"want,omitempty"`
}

// Parse parses a document. An error names the line.
func Parse(text string) ([]Step, error) {
	var steps []Step
	fence, file := "", ""
	var content strings.Builder
	for i, line := range strings.Split(text, "\n") {
		at := i + 1
		switch {
		case fence == "" && strings.HasPrefix(line, "```"):
			fence = strings.TrimPrefix(line, "```") + "."
			content.Reset()
		case fence != "" && line == "```":
			if file != "" {
				steps = append(steps, Step{Line: at, Do: "file", Args: []string{file}, Text: content.String()})
			}
			fence, file = "", ""
		case fence != "" && file != "":
			content.WriteString(line + "\n")
		case fence == "console.":
			var err error
			if steps, err = consoleLine(steps, at, line); err != nil {
				return nil, fmt.Errorf("line %d: %w", at, err)
			}
		case fence == "":
			words, ok := strings.CutPrefix(line, "<!-- test: ")
			if !ok {
				continue
			}
			args := strings.Fields(strings.TrimSuffix(words, "-->"))
			switch {
			case len(args) == 2 && args[0] == "file":
				file = args[1]
			case len(args) > 0:
				steps = append(steps, Step{Line: at, Do: "test", Args: args})
			}
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("a block is not closed")
	}
	return steps, nil
}

func consoleLine(steps []Step, at int, line string) ([]Step, error) {
	command, ok := strings.CutPrefix(line, "# ")
	if !ok {
		if len(steps) == 0 {
			return nil, fmt.Errorf("output of no command")
		}
		s := &steps[len(steps)-1]
		if n, err := fmt.Sscanf(line, "(exit status %d)", &s.Exit); n == 1 && err == nil {
			return steps, nil
		}
		s.Want = append(s.Want, line)
		return steps, nil
	}
	s := Step{Line: at, Do: "run"}
	if rest, ok := strings.CutSuffix(command, " &"); ok {
		command, s.Do = rest, "start"
	}
	var err error
	if s.Args, err = Split(command); err != nil {
		return nil, err
	}
	if s.Args[0] == "kill" {
		s.Do = "stop"
	}
	return append(steps, s), nil
}

// Split splits a command into words; text between single quotes is one word.
func Split(s string) ([]string, error) {
	var words []string
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	if strings.Count(s, "'")%2 != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no command")
	}
	return words, nil
}

// Check compares a step's output and exit status with the document, line by line.
func (s *Step) Check(output string, exit int) error {
	command := strings.Join(s.Args, " ")
	if exit != s.Exit {
		return fmt.Errorf("line %d: %s: exit status %d, want %d:\n%s", s.Line, command, exit, s.Exit, output)
	}
	var lines []string
	if output != "" {
		lines = strings.Split(strings.TrimSuffix(output, "\n"), "\n")
	}
	elided := false // the document leaves out lines here
	for _, want := range s.Want {
		if want == "..." {
			elided = true
			continue
		}
		at := slices.IndexFunc(lines, func(line string) bool { return matches(line, want) })
		if at < 0 {
			return fmt.Errorf("line %d: %s: no line %q (in this place) in:\n%s", s.Line, command, want, output)
		}
		if at > 0 && !elided {
			return fmt.Errorf("line %d: %s: the document does not show %q, before %q, in:\n%s", s.Line, command, lines[0], want, output)
		}
		lines, elided = lines[at+1:], false
	}
	if len(lines) > 0 && !elided {
		return fmt.Errorf("line %d: %s: the document does not show %q at the end of:\n%s", s.Line, command, lines[0], output)
	}
	return nil
}

// matches reports whether a line matches want, in which any spaces count as one and
// "..." stands for any text.
func matches(line, want string) bool {
	line, want = strings.Join(strings.Fields(line), " "), strings.Join(strings.Fields(want), " ")
	parts := strings.Split(want, "...")
	if !strings.HasPrefix(line, parts[0]) {
		return false
	}
	line = line[len(parts[0]):]
	for i, p := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(line, p)
		}
		at := strings.Index(line, p)
		if at < 0 {
			return false
		}
		line = line[at+len(p):]
	}
	return line == ""
}
