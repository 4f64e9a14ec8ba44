//go:build linux

package uml

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/internal/runbook"
)

// The commands of docs/operations.md, typed into the real nfpctl, do on Linux's own nfp
// driver what the document shows.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := runbook.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	if files["runbook.json"], err = json.Marshal(steps); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"firewall.o", "counters.o"} {
		if files[name], err = os.ReadFile(filepath.Join("../../examples", name)); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(t.TempDir(), "nfpctl")
	if err := BuildInit(context.Background(), "github.com/nfpkit/nfpkit/cmd/nfpctl", binary); err != nil {
		t.Fatal(err)
	}
	if files["nfpctl"], err = os.ReadFile(binary); err != nil {
		t.Fatal(err)
	}
	o := options(t, "runbook", "dmesg")
	o.Files, o.Memory = files, 256
	l := boots(t, &card.Options{Cable: true}, o)
	told := data[[]struct {
		Output string
		Exit   int
	}](t, l.next("runbook"))
	if len(told) != len(steps) {
		t.Errorf("%d of %d steps were done", len(told), len(steps))
	}
	for i, r := range told {
		if err := steps[i].Check(r.Output, r.Exit); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("kernel: %s", l.next("dmesg").Data)
		return
	}
	l.next("dmesg")
	l.end()
}
