package live_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// In these tests a journal's file is damaged in the ways in which disks, editors and
// restored backups do it. Every query and every change must fail with a reason,
// nothing may be loaded, packets must meet the same program as before, and a rebuild
// must restore the state that ran.

// damage is the damaged contents of a file.
type damage struct {
	what string
	data []byte
}

// damages returns n damages of a file, starting with those that are not random. other
// is an older state of the same journal.
func damages(good, other []byte, n int) []damage {
	dice := rand.New(rand.NewPCG(7, 4))
	all := []damage{{"empty", nil}, {"garbage", []byte("no journal at all\n")}, {"zeros", make([]byte, len(good))}, {"an older state", other}}
	const page = 512
	pages := (len(good) + page - 1) / page
	change := func(what string, do func(b []byte) []byte) {
		if b := do(bytes.Clone(good)); !bytes.Equal(b, good) {
			all = append(all, damage{what, b})
		}
	}
	for i := range pages {
		from, to := i*page, min(i*page+page, len(good))
		change(fmt.Sprintf("cut at byte %d", from), func(b []byte) []byte { return b[:from] })
		change(fmt.Sprintf("page %d zeroed", i), func(b []byte) []byte { clear(b[from:to]); return b })
		change(fmt.Sprintf("page %d of an older state", i), func(b []byte) []byte { copy(b[from:to], other[min(from, len(other)):]); return b })
		j := dice.IntN(pages)
		change(fmt.Sprintf("pages %d and %d exchanged", i, j), func(b []byte) []byte {
			k := j * page
			if to-from < page || k+page > len(b) {
				return b
			}
			copy(b[from:to], good[k:k+page])
			copy(b[k:k+page], good[from:to])
			return b
		})
	}
	for i := range 40 {
		change(fmt.Sprintf("%d bytes more", i+1), func(b []byte) []byte { return append(b, good[:i+1]...) })
		change(fmt.Sprintf("bit %d of the header flipped", i), func(b []byte) []byte { b[i] ^= 1 << (i % 7); return b })
	}
	for len(all) < n {
		switch dice.IntN(4) {
		case 0:
			at := dice.IntN(len(good))
			change(fmt.Sprintf("cut at byte %d", at), func(b []byte) []byte { return b[:at] })
		case 1:
			at, size := dice.IntN(len(good)), 1+dice.IntN(64)
			change(fmt.Sprintf("%d bytes from byte %d lost", size, at), func(b []byte) []byte { return append(b[:at], b[min(at+size, len(b)):]...) })
		default:
			at, bit := dice.IntN(len(good)), dice.IntN(8)
			change(fmt.Sprintf("bit %d of byte %d flipped", bit, at), func(b []byte) []byte { b[at] ^= 1 << bit; return b })
		}
	}
	return all[:n]
}

// damageCount is the number of damages to try: a fraction of the number in make soak.
func damageCount(t *testing.T) int {
	n := 400
	if text := os.Getenv("NFPKIT_DAMAGES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// damagedBed returns a bed with two deployments, and its journal before and after the
// last change.
func damagedBed(t *testing.T) (b *bed, older, good []byte) {
	b = newBed(t)
	ctx := t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	other := deployment(text(9, pass, 4, 8), port1)
	other.Name = "other"
	b.ok(b.manager.Load(ctx, other, nil))
	older = b.file(b.journal)
	b.ok(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), nil))
	return b, older, b.file(b.journal)
}

func (b *bed) file(path string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(path)
	b.ok(err)
	return data
}

// refusesAll checks that no operation reads or changes state on the basis of a damaged
// journal.
func (b *bed) refusesAll(what string) {
	b.t.Helper()
	ctx := b.t.Context()
	for name, do := range map[string]func() error{
		"status":  func() error { _, err := b.manager.Status(ctx); return err },
		"drifts":  func() error { _, err := b.manager.Drifts(ctx); return err },
		"recover": func() error { return b.manager.Recover(ctx) },
		"repair":  func() error { return b.manager.Repair(ctx, "fw") },
		"reload":  func() error { return b.manager.Reload(ctx, deployment(text(3, pass, 4, 8)), nil) },
		"unload":  func() error { return b.manager.Unload(ctx, "fw") },
		"apply": func() error {
			_, err := b.manager.Apply(ctx, []*offload.Deployment{deployment(text(3, pass, 4, 8))}, &offload.ApplyOptions{Prune: true, Repair: true})
			return err
		},
		"clean": func() error { _, err := b.manager.Clean(ctx); return err },
	} {
		if err := do(); offload.ReasonOf(err) != "journal-damaged" || strings.Contains(err.Error(), "\n") {
			b.t.Errorf("%s: %s: error %v, want one line of reason journal-damaged", what, name, err)
		}
	}
}

func TestDamagedJournal(t *testing.T) {
	b, older, good := damagedBed(t)
	copyFile := b.journal + ".last"
	goodCopy := b.file(copyFile)
	one := live.Left{Programs: 2, Maps: 2, Pins: 4, Ports: 2, Tables: 2}
	n := damageCount(t)
	fromCopy, fromKernel := 0, 0
	for i, d := range damages(good, older, n) {
		b.ok(os.WriteFile(b.journal, d.data, 0o600))
		b.ok(os.WriteFile(copyFile, goodCopy, 0o600))
		if b.refusesAll(d.what); t.Failed() {
			t.Fatal("the rest is not tried")
		}
		if i%2 == 1 { // the copy as well: only the kernel is left
			b.ok(os.WriteFile(copyFile, d.data, 0o600))
			if i%4 == 3 {
				b.ok(os.Remove(copyFile))
			}
			fromKernel++
		} else {
			fromCopy++
		}
		r, err := b.manager.RebuildJournal(t.Context(), false)
		b.ok(err)
		if len(r.Deployments) != 2 || r.Whole {
			t.Fatalf("%s: rebuilt %+v, want two deployments", d.what, r)
		}
		status, err := b.manager.Status(t.Context())
		b.ok(err)
		for _, s := range status.Deployments {
			want := map[string]uint64{"fw": 2, "other": 1}[s.Name]
			if s.Generation != want || len(s.Drift) > 0 || s.Error != "" || len(s.Ports) != 1 || len(s.Maps) != 1 {
				t.Fatalf("%s: rebuilt status %+v, want generation %d", d.what, s, want)
			}
		}
		if b.mark(port0) != 2 || b.mark(port1) != 9 {
			t.Fatalf("%s: packets meet other programs", d.what)
		}
		if i%100 == 0 { // the manager can work with a rebuilt journal
			b.ok(b.manager.Reload(t.Context(), deployment(text(2, pass, 4, 8)), nil))
			b.ok(b.manager.Reload(t.Context(), deployment(text(2, pass, 4, 8)), nil))
			b.left(one)
			b.ok(b.manager.Unload(t.Context(), "fw"))
			b.ok(b.manager.Load(t.Context(), deployment(text(1, pass, 4, 8)), nil))
			b.ok(b.manager.Reload(t.Context(), deployment(text(2, pass, 4, 8)), nil))
			goodCopy = b.file(copyFile)
		}
		kept, err := filepath.Glob(b.journal + ".damaged-*")
		b.ok(err)
		for _, k := range kept {
			b.ok(os.Remove(k))
		}
	}
	b.left(one)
	t.Logf("suite: %d damages refused, %d rebuilt with the copy, %d from the kernel alone", n, fromCopy, fromKernel)
}

// TestVersion1 checks that journals of version 1 are read and converted to the current
// version. Damaged ones are refused or, if the damage is in an unused part of a page,
// read unchanged.
func TestVersion1(t *testing.T) {
	f, err := os.Open("testdata/journal-v1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	read := func(data []byte) (*offload.Snapshot, error) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return offload.ReadJournal(path)
	}
	want, err := read(old)
	if err != nil {
		t.Fatal(err)
	}
	fw, other := want.Records["fw"].Current, want.Records["other"].Current
	if want.Version != 1 || len(want.Records) != 2 || fw.Number != 2 || !fw.Maps[0].Carried || !bytes.Equal(fw.Deployment.Object, text(2, pass, 4, 8)) || !bytes.Equal(other.Deployment.Object, text(9, pass, 4, 8)) {
		t.Fatalf("read %+v", want)
	}
	words := func(s *offload.Snapshot) string {
		data, err := json.Marshal(s.Records)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	refused, same, changed := 0, 0, 0
	for _, d := range damages(old, old[:len(old)/2], damageCount(t)) {
		s, err := read(d.data)
		switch {
		case err != nil && offload.ReasonOf(err) == "journal-damaged":
			refused++
		case err != nil:
			t.Errorf("%s: error %v, want reason journal-damaged", d.what, err)
		case words(s) == words(want):
			same++
		default: // text of a record: version 1 has no checksum of it
			changed++
			for _, digest := range objects(s) {
				if !strings.Contains(fmt.Sprint(objects(want)), digest) {
					t.Errorf("%s: an object was changed and taken", d.what)
				}
			}
		}
	}
	t.Logf("suite: version 1: %d damages refused, %d of no consequence, %d that it has no checksum for", refused, same, changed)

	// The next change writes the current version, and keeps the old file.
	b := newBed(t)
	b.ok(os.MkdirAll(filepath.Dir(b.journal), 0o700))
	b.ok(os.WriteFile(b.journal, old, 0o600))
	d := deployment(text(2, pass, 4, 8))
	_, err = b.manager.Apply(t.Context(), []*offload.Deployment{d}, nil)
	b.ok(err)
	s, err := offload.ReadJournal(b.journal)
	b.ok(err)
	if s.Version != 3 || s.Records["fw"].Current.Number != 3 || s.Records["fw"].Current.Boot == "" || len(s.Records) != 2 {
		t.Errorf("migrated: %+v", s)
	}
	if !bytes.Equal(b.file(b.journal+".v1"), old) {
		t.Error("the file of version 1 was not kept")
	}
}

// objects returns the digests of a journal's objects, sorted by deployment.
func objects(s *offload.Snapshot) []string {
	var all []string
	for _, name := range []string{"fw", "other"} {
		if r := s.Records[name]; r != nil {
			all = append(all, name+" "+r.Current.Deployment.Digest())
		}
	}
	return all
}

// TestDamageAfterDeath: an operation dies and the journal is damaged as well. The
// rebuild finds the state that the operation left, and packets meet the same program
// until the next command settles it.
func TestDamageAfterDeath(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			for moments := 1; ; moments += 3 {
				b := newBed(t)
				if op.before != nil {
					b.ok(b.manager.Load(t.Context(), op.before, nil))
				}
				alive := b.dies(moments, op.do)
				b.restart()
				seen := [2]int{b.mark(port0), b.mark(port1)}
				if _, err := os.Stat(b.journal); err == nil {
					b.ok(os.Truncate(b.journal, 100))
					_, err := b.manager.RebuildJournal(t.Context(), false)
					b.ok(err)
				}
				if now := [2]int{b.mark(port0), b.mark(port1)}; now != seen {
					t.Fatalf("moment %d: the rebuild changed marks %v to %v", moments, seen, now)
				}
				b.ok(b.manager.Recover(t.Context()))
				marks := [2]int{b.mark(port0), b.mark(port1)}
				if marks != op.old && marks != op.new && marks != seen {
					t.Fatalf("moment %d: marks %v, want %v, %v or %v", moments, marks, op.old, op.new, seen)
				}
				status, err := b.manager.Status(t.Context())
				b.ok(err)
				for _, d := range status.Deployments {
					if d.Error != "" {
						t.Errorf("moment %d: %+v", moments, d)
					}
					b.ok(b.manager.Unload(t.Context(), d.Name))
				}
				_, err = b.manager.Clean(t.Context())
				b.ok(err)
				left := live.Left{}
				if len(status.Deployments) == 0 && seen != [2]int{} {
					t.Errorf("moment %d: packets meet %v, and no deployment was rebuilt", moments, seen)
				}
				b.left(left)
				b.kernel.Close()
				if alive {
					break
				}
			}
		})
	}
}

// TestVersion1Sizes checks that the sizes in a file of version 1 are not trusted.
func TestVersion1Sizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	for _, page := range []uint32{0, 1, 1 << 31, 4096} {
		data := make([]byte, 3*4096)
		for _, at := range []int{16, 4096 + 16} {
			binary.NativeEndian.PutUint32(data[at:], 0xED0CDAED)
			binary.NativeEndian.PutUint32(data[at+8:], page)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := offload.ReadJournal(path); offload.ReasonOf(err) != "journal-damaged" {
			t.Errorf("pages of %d bytes: error %v, want reason journal-damaged", page, err)
		}
	}
}

// TestDamageOnTrial: if the journal is damaged while a program is on trial, the
// operation ends with the reason. Packets keep meeting the same program, and a rebuild
// records it.
func TestDamageOnTrial(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	err := b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), &offload.Change{Health: func(context.Context) error {
		b.ok(os.Truncate(b.journal, 10))
		_, err := b.manager.RebuildJournal(ctx, false)
		b.refused(err, "journal-busy")
		return nil
	}})
	b.refused(err, "journal-damaged")
	if m := b.mark(port0); m != 2 {
		t.Errorf("mark %d, want 2", m)
	}
	b.restart()
	r, err := b.manager.RebuildJournal(ctx, false)
	b.ok(err)
	if len(r.Deployments) != 1 || r.Deployments[0].Generation != 2 || r.Deployments[0].Object {
		t.Errorf("rebuilt %+v, want generation 2 without an object", r.Deployments)
	}
	b.ok(b.manager.Recover(ctx))
	if m := b.mark(port0); m != 2 {
		t.Errorf("mark %d, want 2", m)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
	b.ok(b.manager.Reload(ctx, deployment(text(3, pass, 4, 8)), nil))
	b.ok(b.manager.Unload(ctx, "fw"))
	b.left(live.Left{})
}
