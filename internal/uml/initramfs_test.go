package uml

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
)

// list reads an archive back: mode, size and name of each entry, up to the trailer.
func list(t *testing.T, b []byte) []string {
	t.Helper()
	var names []string
	for at := 0; ; {
		field := func(i int) int {
			v, err := strconv.ParseUint(string(b[at+6+8*i:][:8]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		if string(b[at:at+6]) != "070701" {
			t.Fatalf("entry at %d starts with %q", at, b[at:at+6])
		}
		mode, size, nameSize := field(1), field(6), field(11)
		name := strings.TrimSuffix(string(b[at+110:][:nameSize]), "\x00")
		if name == "TRAILER!!!" {
			return names
		}
		data := (at + 110 + nameSize + 3) &^ 3
		names = append(names, fmt.Sprintf("%o %s %q", mode, name, b[data:][:size]))
		at = (data + size + 3) &^ 3
	}
}

func TestInitramfs(t *testing.T) {
	var z bytes.Buffer
	if err := writeInitramfs(&z, []byte("program"), map[string][]byte{"/lib/firmware/a/b": []byte("12345"), "c": nil}); err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(&z)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`40755 dev ""`, `40755 proc ""`, `40755 sys ""`, `40755 run ""`, `40755 tmp ""`, `40755 lib ""`, `40755 lib/firmware ""`,
		`20600 dev/console ""`, `20600 dev/null ""`, `100755 init "program"`,
		`40755 lib/firmware/a ""`, `100755 lib/firmware/a/b "12345"`, `100755 c ""`,
	}
	if got := strings.Join(list(t, b), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the archive has\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
