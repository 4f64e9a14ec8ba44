// Command prepare builds what the test suites share and what takes minutes: the guest
// kernels, the reference disassembler, the corpus of the kernel's samples. `make test`
// runs it before the suites, so that no test's time limit pays for a build. What cannot
// be had on this machine is named; under CI=true that is a failure.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nfpkit/nfpkit/internal/difftest"
	"github.com/nfpkit/nfpkit/internal/objdump"
	"github.com/nfpkit/nfpkit/internal/uml"
)

// piece is one thing to build.
type piece struct {
	name  string
	build func(ctx context.Context, say func(string)) error
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var list []piece
	for _, version := range uml.Versions() {
		list = append(list, piece{"guest kernel " + version, func(ctx context.Context, say func(string)) error {
			_, err := uml.Build(ctx, version, say)
			return err
		}})
	}
	list = append(list,
		piece{"reference disassembler", func(ctx context.Context, _ func(string)) error {
			_, err := objdump.Build(ctx)
			return err
		}},
		piece{"corpus of kernel samples", func(ctx context.Context, _ func(string)) error {
			_, _, err := difftest.BuildCorpus(ctx)
			return err
		}})
	say := func(line string) { fmt.Println("prepare:", line) }
	if !all(ctx, list, os.Getenv("CI") == "true", say) {
		stop()
		os.Exit(1)
	}
}

// unavailable reports whether err says that this machine lacks something.
func unavailable(err error) bool {
	return errors.Is(err, uml.ErrUnavailable) || errors.Is(err, objdump.ErrUnavailable) || errors.Is(err, difftest.ErrNoCorpus)
}

// all builds the pieces one after the other and reports whether the suites may run. If
// strict is set, each piece must be had.
func all(ctx context.Context, list []piece, strict bool, say func(string)) bool {
	ok := true
	for _, p := range list {
		start := time.Now()
		switch err := p.build(ctx, say); {
		case err == nil:
			if took := time.Since(start); took > time.Second {
				say(fmt.Sprintf("%s: built in %.0f s", p.name, took.Seconds()))
			}
		case unavailable(err) && !strict:
			say(fmt.Sprintf("%v; tests that need it skip", err))
		case unavailable(err):
			say(fmt.Sprintf("%v; CI=true, so that is a failure", err))
			ok = false
		default:
			say(fmt.Sprintf("%s: %v", p.name, err))
			ok = false
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return ok
}
