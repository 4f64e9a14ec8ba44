package live_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// TestJournalPermission checks that a user who may not read or write the journal gets
// an error before anything else, with the owner of the journal.
func TestJournalPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be someone else")
	}
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	asNobody := func(do func() error) error {
		result := make(chan error)
		go func() { // the thread ends with the goroutine, so its credentials need not be restored
			runtime.LockOSThread()
			unix.SetfsuidRetUid(65534)
			result <- do()
		}()
		return <-result
	}
	for what, do := range map[string]func() error{
		"status": func() error { _, err := b.manager.Status(ctx); return err },
		"reload": func() error { return b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), nil) },
	} {
		e := b.refused(asNobody(do), "journal-permission")
		if !strings.Contains(e.Msg, "belongs to uid 0 and has mode 0") || e.Link() != offload.LinkPermission {
			t.Errorf("%s: %v", what, e)
		}
	}
	for dir := filepath.Dir(b.journal); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		b.ok(os.Chmod(dir, 0o755))
	}
	// Its directory can be read, the journal cannot.
	b.refused(asNobody(func() error { _, err := b.manager.Status(ctx); return err }), "journal-permission")
	// The journal can be read, but its directory cannot be written: queries work.
	b.ok(os.Chown(b.journal, 65534, 65534))
	b.ok(asNobody(func() error { _, err := b.manager.Status(ctx); return err }))
	b.refused(asNobody(func() error { return b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), nil) }), "journal-permission")
	if m := b.mark(port0); m != 1 {
		t.Errorf("mark %d, want 1", m)
	}
}

// mounted returns a bed whose journal is on a file system of its own.
func mounted(t *testing.T, options string) (b *bed, dir string) {
	b = newBed(t)
	dir = filepath.Join(t.TempDir(), "state")
	b.ok(os.Mkdir(dir, 0o700))
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip("no file system may be mounted here")
	}
	b.ok(err)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.journal = filepath.Join(dir, "journal.db")
	b.restart()
	return b, dir
}

// TestReadOnlyFileSystem checks that queries work on a read-only file system, even if
// an operation was left unfinished, and that changes fail with the reason.
func TestReadOnlyFileSystem(t *testing.T) {
	b, dir := mounted(t, "mode=700")
	ctx := t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	remount := func(flags uintptr) {
		t.Helper()
		b.ok(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, ""))
	}
	looks := func() *offload.Status {
		t.Helper()
		status, err := b.manager.Status(ctx)
		b.ok(err)
		if _, err := b.manager.CheckJournal(); err != nil {
			t.Error(err)
		}
		if _, err := b.manager.Apply(ctx, nil, &offload.ApplyOptions{DryRun: true, Prune: true}); err != nil {
			t.Error(err)
		}
		return status
	}
	remount(unix.MS_RDONLY)
	if s := looks(); len(s.Deployments) != 1 || len(s.Deployments[0].Drift) > 0 || s.Deployments[0].Error != "" {
		t.Errorf("status %+v", s)
	}
	b.refused(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), nil), "journal-read-only")
	b.refused(b.manager.Unload(ctx, "fw"), "journal-read-only")
	if m := b.mark(port0); m != 1 {
		t.Errorf("mark %d, want 1", m)
	}
	remount(0)
	if b.kernel.Close(); b.dies(12, func(m *offload.Manager) error { return m.Reload(ctx, deployment(text(2, pass, 4, 8)), nil) }) {
		t.Fatal("the process did not die")
	}
	b.restart()
	remount(unix.MS_RDONLY)
	if s := looks(); len(s.Deployments) != 1 || !strings.Contains(s.Deployments[0].Error, "journal-read-only") {
		t.Errorf("status %+v, want what was left half done and why it stays so", s)
	}
	remount(0)
	if s := looks(); len(s.Deployments) != 1 || s.Deployments[0].Error != "" {
		t.Errorf("status %+v, want it settled", s)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}

// TestFullFileSystem checks that on a full file system a change is refused and the old
// state is kept. If the space runs out during a change, the change is rolled back as
// far as the journal can still be written.
func TestFullFileSystem(t *testing.T) {
	b, dir := mounted(t, "mode=700,size=128k")
	ctx := t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	before := b.file(b.journal)
	ballast := filepath.Join(dir, "ballast")
	fill := func() {
		t.Helper()
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the file system is not full: %v", err)
		}
	}
	fill()
	e := b.refused(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), nil), "journal")
	if !strings.Contains(e.Msg, "no space is left") {
		t.Errorf("error %v", e)
	}
	if string(b.file(b.journal)) != string(before) || b.mark(port0) != 1 {
		t.Error("the state before was not kept")
	}
	_, err := b.manager.Status(ctx)
	b.ok(err)
	b.ok(os.Remove(ballast))
	err = b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), &offload.Change{Health: func(context.Context) error { fill(); return nil }})
	if err == nil || !strings.Contains(err.Error(), "no space is left") {
		t.Errorf("error %v, want that no space is left", err)
	}
	b.ok(os.Remove(ballast))
	b.ok(b.manager.Recover(ctx))
	if m := b.mark(port0); m != 1 {
		t.Errorf("mark %d, want 1: the trial was not recorded as passed", m)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}
