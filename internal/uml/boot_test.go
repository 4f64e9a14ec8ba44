//go:build linux

package uml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// guestPackage is the program that the guest runs.
const guestPackage = "github.com/nfpkit/nfpkit/internal/uml/guest"

// initDir has the guest's program, which all tests share.
var initDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if initDir, err = os.MkdirTemp("", "nfpkit-init-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(initDir)
		return m.Run()
	}())
}

var buildInit = sync.OnceValues(func() (string, error) {
	path := filepath.Join(initDir, "init")
	return path, BuildInit(context.Background(), guestPackage, path)
})

// options returns the options of a boot with the ordinary kernel and init.
func (k *kernel) options(t testing.TB, steps ...string) *Options {
	t.Helper()
	o := &Options{Kernel: k.path, Steps: steps}
	var err error
	if o.Init, err = buildInit(); err != nil {
		t.Fatal(err)
	}
	return o
}

// boot runs a guest and returns its reports, none of which may be an error.
func boot(t testing.TB, o *Options) []report.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var console bytes.Buffer
	o.Console = &console
	start := time.Now()
	reports, err := Boot(ctx, o)
	if err != nil {
		t.Fatalf("%v\nconsole:\n%s", err, &console)
	}
	t.Logf("booted, ran and powered off in %v", time.Since(start).Round(time.Millisecond))
	for _, r := range reports {
		if r.Error != "" {
			t.Errorf("step %s: %s", r.Step, r.Error)
		}
	}
	if len(reports) != len(o.Steps) {
		t.Fatalf("%d reports of %d steps; console:\n%s", len(reports), len(o.Steps), &console)
	}
	return reports
}

// data decodes what a step found.
func data[T any](t testing.TB, r report.Report) (v T) {
	t.Helper()
	if err := json.Unmarshal(r.Data, &v); err != nil {
		t.Fatalf("step %s: %v in %s", r.Step, err, r.Data)
	}
	return v
}

// Netdevsim is the kernel's own fake of an offloading network device: the control
// path without a card.
func TestNetdevsim(t *testing.T) { everyKernel(t, testNetdevsim) }

func testNetdevsim(t *testing.T, k *kernel) {
	r := boot(t, k.options(t, "uname", "netdevsim"))
	if u := data[map[string]string](t, r[0]); !strings.HasPrefix(u["release"], k.version+".") || u["machine"] != "x86_64" {
		t.Errorf("the guest runs %v", u)
	}
	found := data[struct {
		Name  string
		IDs   []int
		Value int
	}](t, r[1])
	if len(found.IDs) != 2 || found.IDs[0] == 0 || found.IDs[0] == found.IDs[1] || found.Value != 42 {
		t.Errorf("the guest found %+v: want two programs one after the other, and 42 back from a map", found)
	}
}

func TestGuestThatCrashes(t *testing.T) { everyKernel(t, testGuestThatCrashes) }

func testGuestThatCrashes(t *testing.T, k *kernel) {
	o := k.options(t, "uname", "crash", "uname")
	reports, err := Boot(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "Kernel panic") {
		t.Errorf("error %v, want one that shows what the kernel said", err)
	}
	if len(reports) != 1 {
		t.Errorf("%d reports, want that of the one step before", len(reports))
	}
}

func TestGuestIsKilled(t *testing.T) { everyKernel(t, testGuestIsKilled) }

func testGuestIsKilled(t *testing.T, k *kernel) {
	ctx, cancel := context.WithCancel(t.Context())
	g, err := Start(ctx, k.options(t, "wait"))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := g.Next(); err != nil || !r.Waits {
		t.Fatalf("report %+v, %v; want one that waits", r, err)
	}
	cancel()
	if _, err := g.Next(); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestTell(t *testing.T) { everyKernel(t, testTell) }

func testTell(t *testing.T, k *kernel) {
	g, err := Start(t.Context(), k.options(t, "wait"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Next(); err != nil {
		t.Fatal(err)
	}
	if err := g.Tell("a word back"); err != nil {
		t.Fatal(err)
	}
	r, err := g.Next()
	if err != nil || data[string](t, r) != "a word back" {
		t.Errorf("report %+v, %v; want what it was told", r, err)
	}
	if _, err := g.Next(); err == nil || err.Error() != "EOF" {
		t.Errorf("error %v, want EOF", err)
	}
}

// TestPowerOffAmongSignals: a guest that receives signals for its descriptors until it
// ends usually aborts at the end (see finish), which is accepted.
func TestPowerOffAmongSignals(t *testing.T) { everyKernel(t, testPowerOffAmongSignals) }

func testPowerOffAmongSignals(t *testing.T, k *kernel) {
	g, err := Start(t.Context(), k.options(t, "wait"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Next(); err != nil {
		t.Fatal(err)
	}
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-over:
				return
			default:
				g.cmd.Process.Signal(syscall.SIGIO) // refused when the guest is gone
			}
		}
	}()
	defer func() { close(over); <-stopped }()
	if err := g.Tell("power off"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Next(); err != nil {
		t.Fatal(err)
	}
	if r, err := g.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("report %+v, %v; want the guest's end", r, err)
	}
	t.Logf("the guest's process ended with %v", g.cmd.ProcessState)
}
