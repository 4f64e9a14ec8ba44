package difftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/nfpkit/nfpkit/internal/cache"
)

// The corpus is every XDP program of the kernel's samples and selftests,
// compiled on this machine. Neither sources nor objects are committed, since
// they are under the kernel's license.
const (
	corpusPackage = "linux-source-6.12"
	corpusBTF     = "/sys/kernel/btf/vmlinux"
	corpusScript  = 2 // raise when what this file does changes
)

// These are the required parts of the tarball, and the directories that are searched
// for programs.
var (
	corpusParts   = []string{"samples/bpf", "tools/testing/selftests/bpf", "tools/lib/bpf", "tools/include", "include/uapi", "scripts/bpf_doc.py"}
	corpusSources = []string{"samples/bpf", "tools/testing/selftests/bpf/progs"}
	corpusSection = regexp.MustCompile(`SEC\("\??xdp`)
	// Sources that contain only traffic-control programs are compiled too, to the
	// subdirectory tc, for TestCorpusVerifiers.
	corpusTC = regexp.MustCompile(`SEC\("\??(tc|classifier|tcx)["/]`)
)

// ErrNoCorpus is wrapped by errors that name what this machine lacks to build
// the corpus.
var ErrNoCorpus = errors.New("no corpus")

// BuildCorpus returns the directory of the compiled objects, from the cache if an
// earlier run left them there, and the sources that clang refused. An error that is
// ErrNoCorpus names what this machine lacks.
func BuildCorpus(ctx context.Context) (dir string, failed []string, err error) {
	return buildCorpusOf(ctx, corpusPackage)
}

// buildCorpusOf is BuildCorpus for the kernel's sources of another Debian package.
func buildCorpusOf(ctx context.Context, source string) (dir string, failed []string, err error) {
	version, err := corpusVersion(ctx, source)
	if err != nil {
		return "", nil, err
	}
	root, err := cache.Dir()
	if err != nil {
		return "", nil, fmt.Errorf("%w: %v", ErrNoCorpus, err)
	}
	unlock, err := cache.Lock(ctx, filepath.Join(root, "corpus.lock"), nil)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	dir = filepath.Join(root, fmt.Sprintf("corpus-%s-%d", version, corpusScript))
	if list, err := os.ReadFile(filepath.Join(dir, "failed")); err == nil {
		return dir, strings.Fields(string(list)), nil
	}
	work, err := os.MkdirTemp(root, "build-")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(work)
	failed, err = compileCorpus(ctx, work, source)
	if err != nil {
		return "", nil, err
	}
	out := filepath.Join(work, "out")
	if err := os.WriteFile(filepath.Join(out, "failed"), []byte(strings.Join(failed, "\n")), 0o644); err != nil {
		return "", nil, err
	}
	return dir, failed, os.Rename(out, dir)
}

// tarball returns the path of the tarball that a Debian package of kernel
// sources installs.
func tarball(source string) string { return "/usr/src/" + source + ".tar.xz" }

// corpusVersion identifies the sources, the types and the compiler.
func corpusVersion(ctx context.Context, source string) (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("%w: not Linux", ErrNoCorpus)
	}
	for _, file := range []string{tarball(source), corpusBTF} {
		if _, err := os.Stat(file); err != nil {
			return "", fmt.Errorf("%w: %v", ErrNoCorpus, err)
		}
	}
	for _, tool := range []string{"clang", "bpftool", "python3", "xz", "dpkg-query"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%w: %v", ErrNoCorpus, err)
		}
	}
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f=${Version}", source).Output()
	if err != nil {
		return "", fmt.Errorf("%w: package %s: %v", ErrNoCorpus, source, err)
	}
	clang, err := exec.CommandContext(ctx, "clang", "-dumpversion").Output()
	if err != nil {
		return "", fmt.Errorf("%w: clang: %v", ErrNoCorpus, err)
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrNoCorpus, err)
	}
	name := strings.Join([]string{string(out), strings.TrimSpace(string(clang)), strings.TrimSpace(string(kernel))}, "-")
	return strings.ReplaceAll(name, "/", "_"), nil
}

// compileCorpus unpacks the sources below work and compiles them to work/out.
func compileCorpus(ctx context.Context, work, source string) (failed []string, err error) {
	args := []string{"-C", work, "-xf", tarball(source)}
	for _, part := range corpusParts {
		args = append(args, source+"/"+part)
	}
	if err := command(ctx, "", nil, "tar", args...); err != nil {
		return nil, err
	}
	src, out := filepath.Join(work, source), filepath.Join(work, "out")
	headers := filepath.Join(work, "headers")
	if err := writeHeaders(ctx, src, headers); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	files, err := corpusFiles(src, corpusSection)
	if err != nil {
		return nil, err
	}
	if failed, err = compileAll(ctx, src, headers, out, files); err != nil {
		return nil, err
	}
	classifiers, err := corpusFiles(src, corpusTC)
	if err != nil {
		return nil, err
	}
	classifiers = slices.DeleteFunc(classifiers, func(file string) bool { return slices.Contains(files, file) })
	if err := os.MkdirAll(filepath.Join(out, "tc"), 0o755); err != nil {
		return nil, err
	}
	_, err = compileAll(ctx, src, headers, filepath.Join(out, "tc"), classifiers)
	return failed, err
}

// compileAll compiles files to out and lists those that clang refuses.
func compileAll(ctx context.Context, src, headers, out string, files []string) (failed []string, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, file := range files {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := compileOne(ctx, src, headers, file, filepath.Join(out, objectName(file))); err != nil {
				mu.Lock()
				failed = append(failed, file)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	slices.Sort(failed)
	return failed, ctx.Err()
}

// objectName returns the name of a source's object, unique across directories.
func objectName(file string) string {
	dir := "selftests"
	if strings.HasPrefix(file, "samples/") {
		dir = "samples"
	}
	return dir + "_" + strings.TrimSuffix(filepath.Base(file), ".c") + ".o"
}

// writeHeaders writes the headers that libbpf's build generates: types of the running
// kernel, declarations of its helpers, and libbpf's own headers under bpf/.
func writeHeaders(ctx context.Context, src, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "bpf"), 0o755); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := command(ctx, "", &out, "bpftool", "btf", "dump", "file", corpusBTF, "format", "c"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), out.Bytes(), 0o644); err != nil {
		return err
	}
	out.Reset()
	if err := command(ctx, src, &out, "python3", "scripts/bpf_doc.py", "--header", "--file", "include/uapi/linux/bpf.h"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "bpf", "bpf_helper_defs.h"), out.Bytes(), 0o644); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(src, "tools/lib/bpf/*.h"))
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "bpf", filepath.Base(name)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// corpusFiles lists the sources with a section, relative to src.
func corpusFiles(src string, section *regexp.Regexp) ([]string, error) {
	var files []string
	for _, dir := range corpusSources {
		names, err := filepath.Glob(filepath.Join(src, dir, "*.c"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if section.Match(text) {
				files = append(files, dir+"/"+filepath.Base(name))
			}
		}
	}
	return files, nil
}

// compileOne runs clang as the selftests' Makefile does, for ISA v3, which is the
// highest that clang 14 knows.
func compileOne(ctx context.Context, src, headers, file, object string) error {
	in := func(dir string) string { return "-I" + filepath.Join(src, dir) }
	return command(ctx, src, nil, "clang", "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-D__BPF_TRACING__", "-w",
		"-I"+headers, in("tools/testing/selftests/bpf"), in("tools/testing/selftests/bpf/progs"), in("tools/include"), in("tools/include/uapi"),
		in("tools/testing/selftests"), in("samples/bpf"), "-idirafter", "/usr/include/x86_64-linux-gnu", "-c", file, "-o", object)
}

// command runs a program; its error has the program's last output.
func command(ctx context.Context, dir string, stdout *bytes.Buffer, name string, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = dir, &stderr
	if stdout != nil {
		cmd.Stdout = stdout
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}
