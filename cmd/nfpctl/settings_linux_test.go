package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/offload"
)

// Variables that are set have their values in the programs that the kernel runs, after a
// load, a reload, an apply and a repair; constants are never those of an earlier generation.
func TestSettingsOnHost(t *testing.T) {
	h := newHost(t)
	object, err := filepath.Abs("../../bpf/object/testdata/settings.o")
	if err != nil {
		t.Fatal(err)
	}
	nfpctl := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(h.open, h.args(args), strings.NewReader(""), &stdout, &stderr); code != 0 {
			t.Fatalf("nfpctl %v: exit code %d: %s%s", args, code, &stdout, &stderr)
		}
		return stdout.String()
	}
	verdict := func(want uint32, after string) {
		t.Helper()
		s, err := offload.New(h.k, offload.Options{Journal: filepath.Join(h.dir, "journal.db"), Open: openObject}).Status(t.Context())
		if err != nil || len(s.Deployments) != 1 {
			t.Fatalf("%s: %+v, %v", after, s, err)
		}
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(s.Deployments[0].ID))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		got, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
		if err != nil || got != want {
			t.Errorf("%s: verdict %d, %v, want %d", after, got, err, want)
		}
	}
	has := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("%q has no %q", text, want)
		}
	}
	const drop, pass = 1, 2
	load := []string{"prog", "load", object + ":by_port", "edge", "dev", "nfp1", "mode", "xdpgeneric"}
	nfpctl(append(load, "--set", "port=443")...)
	verdict(drop, "load with port=443")
	nfpctl("prog", "reload", object+":by_port", "edge")
	verdict(drop, "reload that keeps settings")
	nfpctl("prog", "reload", object+":by_port", "edge", "--set", "port=443", "--set", "hidden=8", "--set", "name=it's")
	verdict(pass, "reload with hidden=8")
	has(nfpctl("status"), `  settings: --set port=443 --set hidden=8 --set 'name=it'\''s'`+"\n")
	nfpctl("prog", "reload", object+":by_port", "edge", "--unset")
	verdict(pass, "reload with --unset")
	if text := nfpctl("status"); strings.Contains(text, "settings:") {
		t.Errorf("settings that were dropped: %s", text)
	}

	state := filepath.Join(h.dir, "state.yaml")
	text := "deployments:\n  - {name: edge, object: \"" + object + ":by_port\", ports: [nfp1], mode: xdpgeneric, set: [port=443]}\n"
	if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "edge: reload: the settings differ; map .rodata: fresh\n"
	if got := nfpctl("apply", "-f", state, "--dry-run"); got != strings.Replace(want, "reload", "would reload", 1) {
		t.Errorf("would: %q", got)
	}
	if got := nfpctl("apply", "-f", state); got != want {
		t.Errorf("apply: %q", got)
	}
	verdict(drop, "apply")
	if got := nfpctl("apply", "-f", state); got != "edge: nothing: it runs\n" {
		t.Errorf("the second apply: %q", got)
	}
	nfpctl("prog", "unload", "edge")

	// The export of one machine is the state of another.
	nfpctl(append(load, "--set", "port=443", "--type", "xdp")...)
	nfpctl("journal", "export", filepath.Join(h.dir, "saved"))
	nfpctl("prog", "unload", "edge")
	nfpctl("apply", "-f", filepath.Join(h.dir, "saved", "state.yaml"))
	verdict(drop, "apply of an export")
	has(nfpctl("status"), "  settings: --type xdp --set port=443\n")
	nfpctl("prog", "unload", "edge")
}
