package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/offload"
)

const unit = "../../packaging/nfpctl.service"

// The commands of the systemd unit are ones that nfpctl has, and its capabilities those
// that nfpctl keeps.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case strings.HasPrefix(key, "Exec"):
			args := strings.Fields(value)
			cmd, rest, err := newRoot(&env{}).Find(args[1:])
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err != nil || args[0] != "/usr/sbin/nfpctl" {
				t.Errorf("%s: %v", line, err)
			}
			commands++
		case key == "CapabilityBoundingSet":
			var want []string
			for _, p := range offload.Privileges() {
				want = append(want, strings.ToUpper(p.Name))
			}
			if value != strings.Join(want, " ") {
				t.Errorf("capabilities %s, nfpctl keeps %v", value, want)
			}
		}
	}
	if commands != 3 {
		t.Errorf("%d commands", commands)
	}
	t.Run("systemd", func(t *testing.T) {
		analyze, err := exec.LookPath("systemd-analyze")
		if err != nil {
			t.Skip("systemd-analyze is not installed")
		}
		// The programs that the unit names must be there.
		copied := filepath.Join(t.TempDir(), "nfpctl.service")
		write(t, copied, strings.ReplaceAll(string(text), "/usr/sbin/nfpctl", "/bin/true"))
		if text, err := exec.Command(analyze, "verify", copied).CombinedOutput(); err != nil || strings.Contains(string(text), "nfpctl.service") {
			t.Errorf("%v: %s", err, text)
		}
	})
}

// docs/operations.md names the privileges that are kept.
func TestPrivilegesDoc(t *testing.T) {
	text, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range offload.Privileges() {
		if row := "| " + p.Name + " | " + p.For + " |\n"; !strings.Contains(string(text), row) {
			t.Errorf("no row %q", row)
		}
	}
}

// No package of ours that is linked into nfpctl runs other programs.
func TestNoShellOuts(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{.Imports}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "github.com/nfpkit/") {
			continue
		}
		ours++
		if strings.Contains(line, "os/exec") {
			t.Errorf("%s imports os/exec", strings.Fields(line)[0])
		}
	}
	if ours < 5 {
		t.Errorf("%d packages of ours", ours)
	}
}
