package offload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// sample is a journal with each part that a record can have.
func sample(objects ...string) *Snapshot {
	s := &Snapshot{Version: journalVersion, Sequence: 41, Written: time.Unix(1e9, 0).UTC(), Records: map[string]*Record{}}
	for i, o := range objects {
		d := &Deployment{Name: fmt.Sprint("d", i), Object: []byte(o), Source: "x.o", Mode: XDPOffload, Ports: []Ref{{Name: "nfp0"}, {Netns: "blue", Name: "nfp1"}}}
		if i == 0 {
			d.Settings = Settings{Type: "tc", Set: []string{"name='a b'", "list[1]=[\"0x1\"]"}, Entries: []string{"m=100"}}
		}
		shape := Shape{"hash", 4, 8, 100, 0}
		g := &Generation{Number: 3, Deployment: d, Program: 7, Tag: "00", Maps: []MapEntry{{Name: "m", ID: 9, Shape: shape, Carried: true}, {Name: "n", ID: 10, Shape: shape, Lost: true}}, Boot: "b"}
		s.Records[d.Name] = &Record{Want: d, Phase: Switching, Current: g, Next: g, Counter: 4, Hooks: d.Ports}
	}
	return s
}

func encoded(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	data, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestJournalRoundTrip checks that a written journal reads back equal, and that each
// object is written once.
func TestJournalRoundTrip(t *testing.T) {
	for _, objects := range [][]string{{}, {"one"}, {"one", "one", ""}, {string(bytes.Repeat([]byte{0, 0xff, '\n'}, 1000))}} {
		want := sample(objects...)
		data := encoded(t, want)
		got, err := decodeJournal(data)
		if err != nil {
			t.Fatalf("%q: %v", objects, err)
		}
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		if !bytes.Equal(a, b) {
			t.Errorf("wrote %s\nread %s", a, b)
		}
		if again := encoded(t, got); !bytes.Equal(again, data) {
			t.Errorf("%q: written again it is another file", objects)
		}
	}
	one, two := len(encoded(t, sample("x"))), len(encoded(t, sample(string(make([]byte, 30_000)), string(make([]byte, 30_000)))))
	if two > 2*one+50_000 {
		t.Errorf("two deployments of one object of 30,000 bytes are %d bytes", two)
	}
}

// TestJournalVersion2 checks that version 2, which had no settings, is read as having
// none, and is replaced by version 3 while the old file is kept. A version 2 with
// settings was not written by any nfpctl, but is read.
func TestJournalVersion2(t *testing.T) {
	want := sample("one", "two")
	for _, r := range want.Records {
		r.Want.Settings = Settings{}
	}
	_, body, _ := bytes.Cut(encoded(t, want), []byte("\n"))
	if bytes.Contains(body, []byte("settings")) {
		t.Errorf("no settings are written: %s", body)
	}
	numbers := fmt.Sprintf("2 41 %d", len(body))
	old := append(fmt.Appendf(nil, "%s%s %s\n", journalMagic, numbers, journalSum(numbers, body)), body...)
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadJournal(path)
	if err != nil || s.Version != 2 || len(s.Records) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, r := range s.Records {
		if !r.Want.Settings.IsZero() || !r.Want.Equal(want.Records[name].Want) {
			t.Errorf("%s: %+v", name, r.Want)
		}
	}
	if err := want.write(path, s.Version); err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(path + ".v2"); err != nil || !bytes.Equal(kept, old) {
		t.Errorf("the file of version 2 is not kept: %v", err)
	}
	if s, err = ReadJournal(path); err != nil || s.Version != journalVersion {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSettingsDiffer checks that each difference of settings is a difference of
// deployments.
func TestSettingsDiffer(t *testing.T) {
	all := []Settings{
		{}, {Type: "xdp"}, {Type: "tc"}, {Set: []string{"a=1"}}, {Set: []string{"a=2"}}, {Set: []string{"a=1", "b=1"}},
		{Set: []string{"b=1", "a=1"}}, {Entries: []string{"a=1"}}, {Set: []string{"a=1"}, Entries: []string{"a=1"}},
	}
	for i, a := range all {
		for j, b := range all {
			x, y := &Deployment{Settings: a}, &Deployment{Settings: b}
			if x.Equal(y) != (i == j) || x.brings(y) != (i == j) {
				t.Errorf("%+v and %+v: equal %v", a, b, x.Equal(y))
			}
			if i != j && difference(x, y) != "the settings differ" {
				t.Errorf("%+v and %+v: %s", a, b, difference(x, y))
			}
		}
	}
}

// TestJournalEachBit checks that changing any bit or the length of a small journal is
// detected.
func TestJournalEachBit(t *testing.T) {
	good := encoded(t, sample("object"))
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := decodeJournal(bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped: read", bit, i)
			}
		}
		if _, err := decodeJournal(good[:i]); err == nil {
			t.Fatalf("cut at byte %d: read", i)
		}
	}
}

// TestJournalContents checks that a file with a valid checksum but impossible contents
// is refused.
func TestJournalContents(t *testing.T) {
	file := func(version int, body string) []byte {
		numbers := fmt.Sprintf("%d %d %d", version, 1, len(body))
		return []byte(journalMagic + numbers + " " + journalSum(numbers, []byte(body)) + "\n" + body)
	}
	path := filepath.Join(t.TempDir(), "journal.db")
	const digest = `"MDA="` // 00 in base64
	for _, c := range []struct {
		version int
		body    string
		reason  string
	}{
		{2, `{}`, ""},
		{journalVersion + 1, `anything`, "journal-newer"},
		{2, `nothing`, "journal-damaged"},
		{2, `{"deployments": {"a": null}}`, "journal-damaged"},
		{2, `{"deployments": {"a": {"want": {"name": "a", "object": ` + digest + `}}}}`, "journal-damaged"},
		{2, `{"deployments": {"a": {"want": {"name": "a", "object": ` + digest + `}}}, "objects": {"00": "AAAA"}}`, "journal-damaged"},
		{2, `{"deployments": {"a": {"current": {"number": 1}}}}`, "journal-damaged"},
	} {
		if err := os.WriteFile(path, file(c.version, c.body), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJournal(path); ReasonOf(err) != c.reason {
			t.Errorf("version %d, %s: error %v, want reason %q", c.version, c.body, err, c.reason)
		}
	}
}

// FuzzJournal checks that no file causes anything other than an error.
func FuzzJournal(f *testing.F) {
	f.Add(encoded(f, sample("one", "two")))
	f.Add([]byte(journalMagic + "2 1 0 x\n"))
	v1 := make([]byte, 3*4096)
	for page := range 2 {
		v1Order.PutUint32(v1[page*4096+v1Header:], v1Magic)
		v1Order.PutUint32(v1[page*4096+v1Header+4:], 2)
		v1Order.PutUint32(v1[page*4096+v1Header+8:], 4096)
	}
	f.Add(v1)
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decodeJournal(data); (s == nil) == (err == nil) {
			t.Errorf("%v, %v", s, err)
		}
		// The pages of version 1, with valid meta pages before them.
		file := &v1File{data, 4096, uint64(len(data) / 4096), map[uint64]bool{}, len(data)}
		file.walk(0, v1Depth, false, map[string][]byte{})
		file.read(data, v1Depth, false, map[string][]byte{})
	})
}

// BenchmarkJournalWrite measures the time that each step of an operation waits: three
// deployments of 50 kB objects, on the disk of the temporary directory.
func BenchmarkJournalWrite(b *testing.B) {
	object := func(c byte) string { return string(bytes.Repeat([]byte{c}, 50_000)) }
	s := sample(object(1), object(2), object(3))
	path := filepath.Join(b.TempDir(), "journal.db")
	for b.Loop() {
		if err := s.write(path, journalVersion); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJournalRead measures the first step of every command.
func BenchmarkJournalRead(b *testing.B) {
	object := func(c byte) string { return string(bytes.Repeat([]byte{c}, 50_000)) }
	s := sample(object(1), object(2), object(3))
	path := filepath.Join(b.TempDir(), "journal.db")
	if err := s.write(path, journalVersion); err != nil {
		b.Fatal(err)
	}
	if err := copyJournal(path, s); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ReadJournal(path); err != nil {
			b.Fatal(err)
		}
	}
}
