package difftest

import (
	"os"
	"strings"
	"testing"
)

// TestCorpusSources checks the table: a name belongs to one row, and a row says where its
// sources come from and what is taken of them.
func TestCorpusSources(t *testing.T) {
	seen := map[string]bool{}
	for i, s := range corpusSources() {
		if seen[s.name] {
			t.Errorf("%s: two rows", s.name)
		}
		seen[s.name] = true
		if s.suite == "" && !strings.HasPrefix(s.name, "linux-source-") {
			t.Errorf("%s: no suite, and no installed package has a tarball", s.name)
		}
		if (len(s.dirs) == 0) == (s.objects == "") {
			t.Errorf("%s: want directories of sources or a pattern of objects", s.name)
		}
		if i == 0 && s.name != corpusPackage {
			t.Errorf("the first row is %s, want %s", s.name, corpusPackage)
		}
		for _, class := range corpusClasses() {
			if first := class.name == "xdp" || class.name == "tc"; s.objects == "" && s.takes(class.name, 0, false) != first {
				t.Errorf("%s: class %s is taken: %v, by every run", s.name, class.name, !first)
			}
		}
	}
}

// TestCorpusClasses checks which class a source belongs to: the first that matches.
func TestCorpusClasses(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`SEC("xdp")`, "xdp"},
		{`SEC("?xdp.frags/devmap")`, "xdp"},
		{`__section("xdp_lb")`, "xdp"},
		{"SEC(\"tc\")\nSEC(\"socket\")", "tc"},
		{"SEC(\"socket\")\nSEC(\"xdp\")", "xdp"},
		{`SEC("classifier/ingress")`, "tc"},
		{`SEC("action")`, "tc"},
		{`SEC("tcp_filter")`, "other"},
		{`SEC("?socket")`, "packet"},
		{`SEC("cgroup_skb/egress")`, "packet"},
		{`SEC("cgroup/sock")`, "other"},
		{`SEC("kprobe/tcp_v4_connect")`, "other"},
		{`__section_tail(1, 0)`, "other"},
		{`int main(void) { return SECONDS(1); }`, ""},
	} {
		got := ""
		for _, class := range corpusClasses() {
			if class.section.MatchString(test.text) {
				got = class.name
				break
			}
		}
		if got != test.want {
			t.Errorf("%q: class %q, want %q", test.text, got, test.want)
		}
	}
}

// TestCorpusSourcesDoc holds docs/corpus.md to the table.
func TestCorpusSourcesDoc(t *testing.T) {
	data, err := os.ReadFile(corpusDoc)
	if err != nil {
		t.Fatal(err)
	}
	if want := sourcesTable(); !strings.Contains(string(data), want) {
		t.Errorf("docs/corpus.md does not list the sources as they are; want (TestCorpus with -update writes it)\n%s", want)
	}
}
