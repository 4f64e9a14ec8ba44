//go:build linux

package uml

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// hostSteps are the live steps that leave a real card as they found it, but for
// what was attached to it.
var hostSteps = []string{"probe", "xdp", "maps", "limits", "count", "replace", "tc"}

// TestRealCard does the live steps on this host's kernel, with the card whose
// interface NFPKIT_NETDEV names, and says which of them differ from the simulated
// card's.
func TestRealCard(t *testing.T) {
	if os.Getenv("NFPKIT_NETDEV") == "" {
		t.Skip("NFPKIT_NETDEV names no interface of a real card")
	}
	program, err := buildInit()
	if err != nil {
		t.Fatal(err)
	}
	k := kernelOf(t, Newest)
	for _, step := range hostSteps {
		t.Run(step, func(t *testing.T) {
			real, simulated := onHost(t, program, step), k.onCard(t, step)
			switch {
			case real.Error != simulated.Error:
				t.Errorf("differs: the real card's error is %q, the simulated one's %q", real.Error, simulated.Error)
			case string(real.Data) != string(simulated.Data):
				t.Logf("the real card found %s, the simulated one %s", real.Data, simulated.Data)
			default:
				t.Log("as on the simulated card")
			}
		})
	}
}

// onHost does one step here.
func onHost(t *testing.T, program, step string) report.Report {
	t.Helper()
	c := exec.CommandContext(t.Context(), program, step, report.End)
	c.Stdin = strings.NewReader(strings.Repeat("\n", 100)) // answers to any questions
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var last report.Report
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		if r, ok := report.Parse(lines.Bytes()); ok && r.Step == step {
			last = r
		}
	}
	if err := c.Wait(); err != nil {
		t.Errorf("step %s: %v", step, err)
	}
	return last
}

// onCard does one step in a guest.
func (k *kernel) onCard(t *testing.T, step string) report.Report {
	t.Helper()
	l := k.goLive(t, &card.Options{Cable: true}, step)
	for {
		r, err := l.guest.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !r.Waits {
			l.end()
			return r
		}
		if err := l.guest.Tell(""); err != nil {
			t.Fatal(err)
		}
	}
}
