package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress draws a bar on a terminal once work has taken a second, and nothing
// anywhere else.
type progress struct {
	w     io.Writer // nil if stderr is not a terminal
	what  string
	total int
	start time.Time
	last  time.Time
}

func newProgress(stderr io.Writer, what string, total int) *progress {
	p := &progress{what: what, total: total, start: time.Now()}
	if f, ok := stderr.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			p.w = stderr
		}
	}
	return p
}

func (p *progress) at(n int) {
	now := time.Now()
	if p.w == nil || now.Sub(p.start) < time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last = now
	const width = 30
	filled := width * n / max(p.total, 1)
	left := time.Duration(float64(now.Sub(p.start)) / float64(max(n, 1)) * float64(p.total-n)).Round(time.Second)
	fmt.Fprintf(p.w, "\r%s [%s%s] %d/%d, %v left ", p.what, strings.Repeat("#", filled), strings.Repeat(".", width-filled), n, p.total, left)
}

func (p *progress) done() {
	if !p.last.IsZero() {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", 78))
	}
}
