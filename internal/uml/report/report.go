// Package report defines the messages between host and guest of the kernel test bed.
// The guest prints one line per step on its console, a Report, which the host parses
// with Parse. The host answers with a line if a step waits for one. Word and Split
// join and separate a step's name and its argument on the guest's command line.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// marker starts each line that is a report, among the other output of the console.
const marker = "@nfpkit "

// A Report is the result of a step of the guest.
type Report struct {
	Step  string          `json:"step"`
	Error string          `json:"error,omitempty"` // empty: it went well
	Waits bool            `json:"waits,omitempty"` // the step goes on when the host has answered with a line
	Data  json.RawMessage `json:"data,omitempty"`  // what was measured or read, in the step's own form
}

// The guest's last report has this step; a console that ends without it belongs
// to a guest that crashed.
const Done = "done"

// End is the last of the guest's arguments that is a step: User Mode Linux adds
// words of its own.
const End = "end"

// Line is r as the guest prints it, without newline.
func (r *Report) Line() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("report of step %s: %w", r.Step, err)
	}
	return append([]byte(marker), b...), nil
}

// Parse parses a console line; ok is false if it is not a report.
func Parse(line []byte) (r Report, ok bool) {
	i := bytes.Index(line, []byte(marker))
	if i < 0 {
		return Report{}, false
	}
	if err := json.Unmarshal(bytes.TrimSpace(line[i+len(marker):]), &r); err != nil {
		return Report{}, false
	}
	return r, true
}

// Word returns a step with its argument as a word of the guest's command line.
func Word(step, arg string) string {
	if arg == "" {
		return step
	}
	return step + "=" + arg
}

// Split is the inverse of Word.
func Split(word string) (step, arg string) {
	step, arg, _ = strings.Cut(word, "=")
	return step, arg
}
