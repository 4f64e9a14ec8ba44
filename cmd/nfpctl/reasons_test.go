package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/offload"
)

// reached names for each reason of the manager a test that brings it about: a file, and
// what stands in it.
var reached = map[string][2]string{
	"no-permission":      {"internal/uml/offload_test.go", `"no-permission"`},
	"old-kernel":         {"offload/linux_test.go", `"old-kernel"`},
	"jit-hardened":       {"offload/linux_test.go", "(jit-hardened)"},
	"no-port":            {"cmd/nfpctl/testdata/script/refusals.txtar", "(no-port)"},
	"foreign-namespace":  {"internal/uml/offload_test.go", `"foreign-namespace"`},
	"port-gone":          {"offload/linux_test.go", `"port-gone"`},
	"port-busy":          {"internal/uml/guest/selftest_xdp.go", `"port-busy"`},
	"no-offload":         {"cmd/nfpctl/events_linux_test.go", "(no-offload)"},
	"no-driver":          {"internal/uml/nfpctl_test.go", `"no-driver"`},
	"no-native":          {"driver/live/manager_test.go", `"no-native"`},
	"wrong-device":       {"internal/uml/guest/manage.go", `"wrong-device"`},
	"no-firmware":        {"internal/uml/offload_test.go", `"no-firmware"`},
	"firmware-timeout":   {"offload/linux_test.go", `"firmware-timeout"`},
	"firmware-error":     {"offload/linux_test.go", `"firmware-error"`},
	"no-live-replace":    {"offload/linux_test.go", `"no-live-replace"`},
	"tc-offload-off":     {"internal/uml/guest/selftest_tc.go", `"tc-offload-off"`},
	"card-busy":          {"offload/linux_test.go", `"card-busy"`},
	"map-type":           {"driver/live/manager_test.go", `"map-type"`},
	"card-full":          {"driver/live/manager_test.go", `"card-full"`},
	"map-create":         {"offload/linux_test.go", "(map-create)"},
	"map-shape":          {"driver/live/manager_test.go", `"map-shape"`},
	"map-missing":        {"offload/linux_test.go", "(map-missing)"},
	"map-full":           {"cmd/nfpctl/events_linux_test.go", "(map-full)"},
	"map-value":          {"cmd/nfpctl/testdata/script/map.txtar", "(map-value)"},
	"no-entry":           {"cmd/nfpctl/testdata/script/map.txtar", "(no-entry)"},
	"entry-exists":       {"cmd/nfpctl/testdata/script/map.txtar", "(entry-exists)"},
	"migration-failed":   {"driver/live/manager_test.go", `"migration-failed"`},
	"wrong-type":         {"driver/live/manager_test.go", `"wrong-type"`},
	"bad-object":         {"driver/live/manager_test.go", `"bad-object"`},
	"bad-setting":        {"cmd/nfpctl/testdata/script/settings.txtar", `\(bad-setting\)`},
	"no-program":         {"driver/live/manager_test.go", `"no-program"`},
	"rejected":           {"driver/live/manager_test.go", `"rejected"`},
	"too-complex":        {"offload/linux_test.go", `"too-complex"`},
	"driver-rejected":    {"driver/live/manager_test.go", `"driver-rejected"`},
	"not-translated":     {"offload/linux_test.go", "(not-translated)"},
	"program-size":       {"offload/linux_test.go", `"program-size"`},
	"too-slow":           {"cmd/nfpctl/testdata/script/refusals.txtar", "(too-slow)"},
	"mode-conflict":      {"internal/uml/guest/manage.go", `"mode-conflict"`},
	"program-changed":    {"offload/linux_test.go", `"program-changed"`},
	"link-held":          {"offload/linux_test.go", `"link-held"`},
	"attach-failed":      {"offload/linux_test.go", `"attach-failed"`},
	"unhealthy":          {"driver/live/manager_test.go", `"unhealthy"`},
	"unknown-deployment": {"driver/live/manager_test.go", `"unknown-deployment"`},
	"name-taken":         {"driver/live/manager_test.go", `"name-taken"`},
	"bad-name":           {"driver/live/manager_test.go", `"bad-name"`},
	"bad-state":          {"driver/live/manager_test.go", `"bad-state"`},
	"port-taken":         {"driver/live/manager_test.go", `"port-taken"`},
	"journal":            {"cmd/nfpctl/testdata/script/journal.txtar", "(journal)"},
	"journal-busy":       {"driver/live/manager_test.go", `"journal-busy"`},
	"journal-permission": {"driver/live/journal_linux_test.go", `"journal-permission"`},
	"journal-read-only":  {"driver/live/journal_linux_test.go", `"journal-read-only"`},
	"journal-damaged":    {"driver/live/damage_test.go", `"journal-damaged"`},
	"journal-newer":      {"offload/journal_test.go", `"journal-newer"`},
	"gone":               {"internal/uml/guest/manage.go", `"gone"`},
	"no-object":          {"cmd/nfpctl/testdata/script/map.txtar", "(no-object)"},
	"pin":                {"offload/linux_test.go", `"pin"`},
	"interrupted":        {"offload/linux_test.go", "(interrupted)"},
	"unexpected":         {"cmd/nfpctl/events_linux_test.go", "(unexpected)"},
}

// TestReasonsReached checks that each reason of the manager has a test that brings it
// about.
func TestReasonsReached(t *testing.T) {
	left := maps.Clone(reached)
	for _, r := range offload.Reasons() {
		at, ok := reached[r.Word]
		text, err := os.ReadFile(filepath.Join("../..", at[0]))
		if !ok || err != nil || !strings.Contains(string(text), at[1]) {
			t.Errorf("%s: %q has no %q (%v)", r.Word, at[0], at[1], err)
		}
		delete(left, r.Word)
	}
	for word := range left {
		t.Errorf("%s is no reason", word)
	}
}
