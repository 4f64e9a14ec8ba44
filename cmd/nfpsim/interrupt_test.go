//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C ends a measurement, which prints its results so far, marked partial.
func TestBenchInterrupted(t *testing.T) {
	var out, errs bytes.Buffer
	code := interrupted(t, []string{"bench", "../../examples/counters.o", "--packets", "1000000000", "--ci", "0.000001", "--json"}, &out, &errs)
	if text := out.String(); code != exitDone || !strings.Contains(text, `"partial": true`) || !strings.Contains(text, `"mpps": `) {
		t.Errorf("exit %d: %s%s", code, text, &errs)
	}
}

// interrupted runs a command that goes on until Ctrl-C.
func interrupted(t *testing.T, args []string, out, errs io.Writer) int {
	t.Helper()
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, os.Interrupt) // so that one too early does not end the test
	defer signal.Stop(caught)
	done := make(chan int)
	go func() { done <- run(args, nil, out, errs) }()
	for {
		select {
		case code := <-done:
			return code
		case <-time.After(100 * time.Millisecond):
			if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
}
