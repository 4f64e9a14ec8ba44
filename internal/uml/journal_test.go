//go:build linux

package uml

import (
	"fmt"
	"testing"

	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// TestDamagedJournal checks that damaged journals are refused, and rebuilt from
// Linux's pins and attachments. The damages are a sample of those of driver/live.
func TestDamagedJournal(t *testing.T) { everyKernel(t, testDamagedJournal) }

func testDamagedJournal(t *testing.T, k *kernel) {
	n := counted(t, "NFPKIT_GUEST_DAMAGES", 60)
	l := k.goLive(t, nil, report.Word("damages", fmt.Sprint(n)))
	got := data[struct {
		Damages, Copies int
		Wrong           []string
	}](t, l.next("damages"))
	t.Logf("suite: %d damaged journals refused and rebuilt, %d with the copy", got.Damages, got.Copies)
	for _, w := range got.Wrong {
		t.Error(w)
	}
	if got.Damages != n {
		t.Errorf("%d damages, want %d", got.Damages, n)
	}
	l.end()
}
