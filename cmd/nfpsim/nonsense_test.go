package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// badWords are what users give by mistake: files that TestNonsense writes, and values.
var badWords = []string{
	"nosuch.o", "nosuch.bpf", "nosuch.s", "nosuch.nfp", "nosuch.pcap", "nosuch.json", "dir", "dir.o", "dir.json", "dir.pcap",
	"empty", "empty.o", "empty.bpf", "empty.s", "empty.nfp", "empty.pcap", "empty.json", "empty.csv",
	"binary.bpf", "binary.s", "binary.json", "binary.csv", "text.o", "text.nfp", "text.pcap", "firewall.o:nosuch", "firewall.o:",
	"list.json", "unknown.json", "twice.json", "number.json", "trailing.json",
	"-", "", "-1", "0", "1", "two", "1,2", "1.5", "99999999999999999999", "nan", "x=y", "x=", "=", "blocked=nosuch.json", "blocked=empty.json",
	"blocked=list.json", "nosuch=blocked.json", "6.1.x", "a b",
}

// wordless are words and forms that mean nothing to a user.
var wordless = regexp.MustCompile(`strconv|unmarshal|%!|<nil>|panic|goroutine|runtime error|invalid syntax|[^.]json: |yaml: (line|unmarshal)|\*\w+\.\w+|\(s\)|: EOF|unexpected EOF|PathError|(?i)\bnull pointer|nil pointer`)

// repeats returns a word, or a file's name before an error of it, that a text has twice in a row.
func repeats(text string) string {
	words := strings.Fields(text)
	for i := 1; i < len(words); i++ {
		w := strings.Trim(words[i], ",;")
		if w == words[i-1] && regexp.MustCompile(`^[A-Za-z][\w.:/-]*$`).MatchString(w) {
			return w
		}
		if i >= 2 && slices.Contains([]string{"open", "read", "stat"}, words[i-1]) && w == words[i-2] {
			return w
		}
	}
	return ""
}

// Each verb answers each bad word, in each place of a command, with lines that name it and
// say in a user's words what is wrong.
func TestNonsense(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for name, text := range map[string]string{
		"list.json": "[1, 2]\n", "unknown.json": `{"nosuch": 1}`, "twice.json": `{"Name": "a", "Name": "b"}`, "number.json": "7\n", "trailing.json": "{} {}\n",
		"binary.bpf": "\x7fELF\x00\x01\xff", "binary.s": "\x7fELF\x00\x01\xff", "binary.json": "\x7fELF\x00\x01\xff", "binary.csv": "\x00\xff\xfe",
		"text.o": "text\n", "text.nfp": "text\n", "text.pcap": "text\n", "a b": "text\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range badWords {
		var err error
		switch base := strings.TrimSuffix(w, filepath.Ext(w)); {
		case strings.ContainsAny(w, "=:"):
		case base == "dir":
			err = os.Mkdir(w, 0o700)
		case base == "empty":
			err = os.WriteFile(w, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range verbs() {
		good := nonsenseBase[c.Name()]
		if good == nil {
			t.Errorf("%s has no row in nonsenseBase", c.Name())
		}
		t.Run(c.Name(), func(t *testing.T) {
			try := func(args ...string) { t.Helper(); sensible(t, args) }
			if c.Name() != "diff" { // which runs a thousand programs then
				try(c.Name())
			}
			try(append(slices.Clone(good), "surplus")...)
			try(append(slices.Clone(good), "--nosuch")...)
			for i := 1; i < len(good); i++ {
				for _, w := range badWords {
					if !strings.HasPrefix(good[i], "-") {
						args := slices.Clone(good)
						args[i] = w
						try(args...)
					}
				}
			}
		})
	}
}

// nonsenseBase has a short command of each verb, whose words are replaced by bad ones.
var nonsenseBase = map[string][]string{
	"asm": {"asm", "binary.s"}, "dis": {"dis", "text.nfp"}, "check": {"check", "ttl.bpf", "--kernel", "6.1", "--for", "nfpkit", "--mtu", "1500"},
	"compile": {"compile", "ttl.bpf", "--firmware", "stock", "--profile", "number.json", "--dump", "lift", "--off", "gvn", "--type", "xdp"},
	"run":     {"run", "firewall.o", "--pcap", "sensors.pcap", "--map", "blocked=blocked.json", "--entries", "blocked=9", "--set", "x=1", "--engine", "sim", "--rx-queue", "1"},
	"bench":   {"bench", "binary.bpf", "--pcap", "text.pcap", "--offered", "1", "--firmware", "stock"},
	"profile": {"profile", "binary.bpf", "-o", "dir"}, "report": {"report", "binary.bpf", "-o", "dir"},
	"compare": {"compare", "ttl.bpf", "average.bpf", "--packet", "00112233"},
	"diff":    {"diff", "-n", "1"}, "isa": {"isa", "--json"}, "explain": {"explain", "packet-bounds"},
	"plugin": {"plugin", "00"}, "card": {"card", "--socket", "dir", "--pcap-in", "0=nosuch.pcap", "--tap", "7"},
}

// sensible runs a command that is wrong in some way, and checks what it says.
func sensible(t *testing.T, args []string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(args, strings.NewReader(""), &out, &errs)
	said, bad := errs.String(), ""
	switch {
	case wordless.MatchString(said):
		bad = wordless.FindString(said)
	case repeats(said) != "":
		bad = repeats(said) + " twice"
	case code != exitDone && said == "" && out.Len() == 0:
		bad = "it says nothing"
	case code != exitDone && said != "" && (!strings.HasPrefix(said, "nfpsim: ") || !strings.HasSuffix(said, "\n")):
		bad = "a line without the command's name"
	case code == exitUsage && strings.Count(said, "\n") != 1:
		bad = "not one line"
	}
	if bad != "" {
		t.Errorf("%q: exit status %d: %s: %s", args, code, bad, said)
	}
}
