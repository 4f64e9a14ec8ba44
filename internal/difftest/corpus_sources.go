package difftest

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
)

// A corpusSource is a Debian package that has eBPF programs in C. Only the kernel's
// sources of corpusPackage are in every run; make soak takes all that this table lists.
type corpusSource struct {
	name    string   // of its directory in the cache, and of its objects
	suite   string   // Debian's, whose source package is downloaded; "" if the installed package brings a tarball
	pkg     string   // the source package; "" if it is the name
	version string   // prefix of the version; "" for the newest
	parts   []string // what is unpacked, relative to the root of the sources
	dirs    []string // where programs are, with their subdirectories unless the sources are a kernel's
	include []string // searched for headers
	args    []string // more of the compiler's arguments
	objects string   // pattern of objects that the package has compiled
	kernel  bool     // the sources are a kernel's, and have headers of libbpf
	types   bool     // programs of class other are taken too
	builds  bool     // XDP and tc programs are compiled in every way
}

// kernelSource returns the row of a kernel's sources.
func kernelSource(name, suite, version string) corpusSource {
	return corpusSource{
		name: name, suite: suite, pkg: "linux", version: version, kernel: true,
		parts: []string{"samples/bpf", "tools/testing/selftests/bpf", "tools/lib/bpf", "tools/include", "include/uapi", "scripts/bpf_*.py"},
		dirs:  []string{"samples/bpf", "tools/testing/selftests/bpf/progs"},
		include: []string{
			"tools/testing/selftests/bpf", "tools/testing/selftests/bpf/progs", "tools/include", "tools/include/uapi", "tools/testing/selftests", "samples/bpf", "include",
		},
	}
}

// corpusSources returns the table. The first row is corpusPackage.
func corpusSources() []corpusSource {
	all := []corpusSource{
		kernelSource(corpusPackage, "", ""),
		kernelSource("linux-source-6.1", "", ""),
		kernelSource("linux-5.10", "bullseye", "5.10."),
		kernelSource("linux-6.18", "trixie-backports", "6.18."),
		{name: "fastnetmon", suite: "sid", parts: []string{"src/xdp_plugin"}, dirs: []string{"src/xdp_plugin"}},
		{name: "golang-github-cilium-ebpf", suite: "sid", dirs: []string{"examples", "testdata", "docs", "btf/testdata", "cmd/bpf2go/testdata"}, include: []string{"examples/headers", "testdata"}},
		{name: "golang-github-cilium-ebpf-0.11", pkg: "golang-github-cilium-ebpf", suite: "trixie", version: "0.11", objects: "*-el.elf"},
		{name: "iproute2", suite: "bullseye", parts: []string{"examples/bpf", "include"}, dirs: []string{"examples/bpf"}, include: []string{"include", "include/uapi"}},
		{name: "knot", suite: "trixie", parts: []string{"src/libknot/xdp"}, dirs: []string{"src/libknot/xdp"}},
		{name: "knot-3.0", pkg: "knot", suite: "bullseye", parts: []string{"src/libknot/xdp", "src/contrib"}, dirs: []string{"src/libknot/xdp"}, include: []string{"src"}},
		{name: "mimic", suite: "sid", dirs: []string{"bpf"}, include: []string{"."}, args: []string{"-DMIMIC_BPF", "-DMIMIC_BPF_TARGET_ARCH_x86_64", "-DMIMIC_CHECKSUM_HACK_kprobe"}},
		{name: "network-manager", suite: "sid", parts: []string{"src/core/bpf"}, dirs: []string{"src/core/bpf"}},
		{name: "pcp", suite: "trixie", parts: []string{"src/pmdas/bpf", "vendor/github.com/iovisor/bcc"}, dirs: []string{"src/pmdas/bpf/modules", "vendor/github.com/iovisor/bcc/libbpf-tools"},
			include: []string{"vendor/github.com/iovisor/bcc/libbpf-tools", "src/pmdas/bpf/modules"}},
		{name: "pwru", suite: "sid", parts: []string{"bpf"}, dirs: []string{"bpf"}, include: []string{"bpf/headers", "bpf"}},
		{name: "suricata", suite: "trixie", parts: []string{"ebpf"}, dirs: []string{"ebpf"}, include: []string{"ebpf/include"}},
		{name: "suricata-6.0", pkg: "suricata", suite: "bullseye", version: "1:6.0", parts: []string{"ebpf"}, dirs: []string{"ebpf"}, include: []string{"ebpf/include"}},
		{name: "systemd", suite: "trixie", parts: []string{"src"}, dirs: []string{"src/core/bpf", "src/network/bpf", "src/nsresourced/bpf"}, include: []string{"src/core/bpf"}},
		{name: "xdp-tools", suite: "sid", dirs: []string{"lib", "xdp-bench", "xdp-dump", "xdp-filter", "xdp-forward", "xdp-monitor", "xdp-trafficgen"}, include: []string{"headers", "lib/util", "lib/libxdp"}},
	}
	for i := range all {
		s := &all[i]
		s.types = !s.kernel // a kernel's others are hundreds, of tracing
		s.builds = !s.kernel || i == 0
	}
	return all
}

// A corpusClass is a kind of source file. Each file belongs to the first that matches it.
type corpusClass struct {
	name    string // of the directory
	section *regexp.Regexp
}

// corpusClasses returns the classes. Only programs of the first two have types that
// nfpkit knows by their sections; those of the third have a packet as their context too.
func corpusClasses() []corpusClass {
	return []corpusClass{
		{"xdp", regexp.MustCompile(`(SEC|__section|SECTION)\("\??xdp`)},
		{"tc", regexp.MustCompile(`(SEC|__section|SECTION)\("\??(tc|classifier|tcx|action|ingress|egress)["/]`)},
		{"packet", regexp.MustCompile(`(SEC|__section|SECTION)\("\??(socket|cgroup_skb|cgroup/skb|sk_skb|lwt_|flow_dissector)`)},
		{"other", regexp.MustCompile(`\b(SEC|__section\w*|SECTION)\(`)},
	}
}

// A corpusBuild is a way to compile a source.
type corpusBuild struct {
	name     string
	compiler string
	args     []string
}

// corpusBuilds returns the ways. The first compiles every source.
func corpusBuilds() []corpusBuild {
	clang := func(name, compiler string, args ...string) corpusBuild {
		return corpusBuild{name, compiler, append([]string{"-target", "bpf"}, args...)}
	}
	return []corpusBuild{
		clang("v3", "clang", "-g", "-O2", "-mcpu=v3"),
		clang("v1", "clang", "-g", "-O2", "-mcpu=v1"),
		clang("v2", "clang", "-g", "-Os", "-mcpu=v2"),
		clang("v4", "clang-19", "-g", "-O2", "-mcpu=v4"),
		{"gcc", "bpf-gcc", []string{"-g", "-O2"}},
	}
}

// compilerVersion returns what the compiler calls its version.
func (b *corpusBuild) compilerVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, b.compiler, "-dumpversion").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %v", ErrNoCorpus, b.compiler, err)
	}
	return firstLine(string(out)), nil
}
