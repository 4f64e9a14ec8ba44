package difftest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/nfpkit/nfpkit/internal/cache"
)

// The corpus is programs of Debian's packages, compiled on this machine. Neither sources
// nor objects are committed, since they are under their authors' licenses.
const (
	corpusPackage = "linux-source-6.12"
	corpusBTF     = "/sys/kernel/btf/vmlinux"
	corpusScript  = 3 // raise when what this file does changes
)

// ErrNoCorpus is wrapped by errors that name what this machine lacks to build
// the corpus.
var ErrNoCorpus = errors.New("no corpus")

// BuildCorpus returns the directory of the compiled XDP programs of the kernel's samples
// and selftests, from the cache if an earlier run left them there, and the sources that
// clang refused. An error that is ErrNoCorpus names what this machine lacks.
func BuildCorpus(ctx context.Context) (dir string, failed []string, err error) {
	all, err := buildCorpus(ctx, corpusSources()[0], false)
	if err != nil {
		return "", nil, err
	}
	return all[0].dir, all[0].failed, nil
}

// A corpusObjects is a directory of objects.
type corpusObjects struct {
	source, build, class string
	dir                  string
	failed               []string // sources that the compiler refused
	err                  error    // why there is no compiler; then dir is ""
}

// buildCorpus returns the objects of a source: those of classes xdp and tc by the first
// build, or those of every class and build. A source that is not in the cache is
// unpacked, and downloaded if no package brings it.
func buildCorpus(ctx context.Context, s corpusSource, whole bool) ([]corpusObjects, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("%w: not Linux", ErrNoCorpus)
	}
	root, err := cache.Dir()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoCorpus, err)
	}
	unlock, err := cache.Lock(ctx, filepath.Join(root, "corpus.lock"), nil)
	if err != nil {
		return nil, err
	}
	defer unlock()
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNoCorpus, err)
	}
	tarball, version, err := s.tarball(ctx, root)
	if err != nil {
		return nil, err
	}
	w := corpusWork{root: root, source: s, tarball: tarball}
	defer w.close()
	var all []corpusObjects
	for i, b := range corpusBuilds() {
		if !s.built(i, whole) {
			break
		}
		compiler, err := b.compilerVersion(ctx)
		if err != nil && i == 0 {
			return nil, err
		}
		for _, class := range corpusClasses() {
			if !s.takes(class.name, i, whole) {
				continue
			}
			o := corpusObjects{source: s.name, build: b.name, class: class.name, err: err}
			if err == nil {
				name := strings.Join([]string{"corpus", s.name, version, b.compiler, compiler, strings.TrimSpace(string(kernel)), b.name, class.name}, "-")
				o.dir = filepath.Join(root, strings.ReplaceAll(fmt.Sprintf("%s-%d", name, corpusScript), "/", "_"))
				o.failed, err = w.objects(ctx, o.dir, b, class)
				if err != nil {
					return nil, err
				}
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// built reports whether a source is compiled by a build.
func (s *corpusSource) built(build int, whole bool) bool {
	return build == 0 || whole && s.builds && s.objects == ""
}

// takes reports whether the objects of a class and build are part of the corpus.
func (s *corpusSource) takes(class string, build int, whole bool) bool {
	switch {
	case s.objects != "":
		return class == "other"
	case class == "xdp" || class == "tc":
		return true
	case class == "packet":
		return whole && build == 0
	}
	return whole && build == 0 && s.types
}

// A corpusWork is a source that is unpacked when first needed.
type corpusWork struct {
	root    string
	source  corpusSource
	tarball string
	dir     string // "" until unpacked
	headers string
}

func (w *corpusWork) src() string { return filepath.Join(w.dir, "src") }

func (w *corpusWork) close() {
	if w.dir != "" {
		os.RemoveAll(w.dir)
	}
}

// objects compiles the files of a class to dir, if an earlier run did not.
func (w *corpusWork) objects(ctx context.Context, dir string, b corpusBuild, class corpusClass) (failed []string, err error) {
	if list, err := os.ReadFile(filepath.Join(dir, "failed")); err == nil {
		return strings.Fields(string(list)), nil
	}
	if err := w.unpack(ctx); err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp(w.dir, "out-")
	if err != nil {
		return nil, err
	}
	if w.source.objects != "" {
		err = w.copyObjects(out)
	} else {
		var files []string
		if files, err = w.files(class); err == nil {
			failed, err = w.compileAll(ctx, out, b, files)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(out, "failed"), []byte(strings.Join(failed, "\n")), 0o644); err != nil {
		return nil, err
	}
	return failed, os.Rename(out, dir)
}

// unpack unpacks the source and writes the headers that its programs include.
func (w *corpusWork) unpack(ctx context.Context) (err error) {
	if w.dir != "" {
		return nil
	}
	for _, tool := range []string{"tar", "xz", "bpftool", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %v", ErrNoCorpus, err)
		}
	}
	if _, err := os.Stat(corpusBTF); err != nil {
		return fmt.Errorf("%w: %v", ErrNoCorpus, err)
	}
	if w.dir, err = os.MkdirTemp(w.root, "build-"); err != nil {
		return err
	}
	if err := unpackTarball(ctx, w.tarball, w.src(), w.source.parts); err != nil {
		return err
	}
	if w.source.kernel {
		w.headers = filepath.Join(w.dir, "headers")
		return writeHeaders(ctx, w.src(), w.headers)
	}
	w.headers, err = firstHeaders(ctx, w.root)
	return err
}

// firstHeaders returns the headers of the corpus' first kernel, with which other packages
// are compiled. They are kept in the cache.
func firstHeaders(ctx context.Context, root string) (string, error) {
	k := corpusSources()[0]
	tarball, version, err := k.tarball(ctx, root)
	if err != nil {
		return "", err
	}
	types, err := os.ReadFile(corpusBTF)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, fmt.Sprintf("corpus-headers-%s-%x-%d", version, sha256.Sum256(types), corpusScript))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	work, err := os.MkdirTemp(root, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	src, headers := filepath.Join(work, "src"), filepath.Join(work, "headers")
	if err := unpackTarball(ctx, tarball, src, []string{"tools/lib/bpf", "tools/include", "include/uapi", "scripts/bpf_*.py"}); err != nil {
		return "", err
	}
	if err := writeHeaders(ctx, src, headers); err != nil {
		return "", err
	}
	return dir, os.Rename(headers, dir)
}

// unpackTarball unpacks the parts of a tarball, less its top directory.
func unpackTarball(ctx context.Context, tarball, dir string, parts []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"-C", dir, "-xf", tarball, "--strip-components=1", "--wildcards"}
	for _, part := range parts {
		args = append(args, "*/"+part)
	}
	return command(ctx, "", nil, "tar", args...)
}

// files lists the sources of a class, relative to the root of the sources.
func (w *corpusWork) files(class corpusClass) ([]string, error) {
	var files []string
	for _, dir := range w.source.dirs {
		err := filepath.WalkDir(filepath.Join(w.src(), dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			file, _ := filepath.Rel(w.src(), name)
			if d.IsDir() && w.source.kernel && file != dir {
				return filepath.SkipDir
			}
			if d.IsDir() || filepath.Ext(name) != ".c" {
				return nil
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for _, c := range corpusClasses() {
				if c.section.Match(text) {
					if c.name == class.name {
						files = append(files, file)
					}
					break
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return files, nil
}

// copyObjects copies the objects that the source brings.
func (w *corpusWork) copyObjects(out string) error {
	return filepath.WalkDir(w.src(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ok, _ := filepath.Match(w.source.objects, d.Name()); !ok {
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, _ := filepath.Rel(w.src(), name)
		return os.WriteFile(filepath.Join(out, w.objectName(file)), data, 0o644)
	})
}

// compileAll compiles files to out and lists those that the compiler refuses.
func (w *corpusWork) compileAll(ctx context.Context, out string, b corpusBuild, files []string) (failed []string, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, file := range files {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := w.compile(ctx, b, file, filepath.Join(out, w.objectName(file))); err != nil {
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

// objectName returns the name of a source's object, unique within the package.
func (w *corpusWork) objectName(file string) string {
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) + ".o"
	switch {
	case !w.source.kernel:
		return w.source.name + "_" + strings.ReplaceAll(filepath.Dir(file), "/", "_") + "_" + base
	case strings.HasPrefix(file, "samples/"):
		return "samples_" + base
	}
	return "selftests_" + base
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
	script := []string{"scripts/bpf_doc.py", "--header", "--file"}
	if _, err := os.Stat(filepath.Join(src, script[0])); err != nil { // before Linux 5.13
		script = []string{"scripts/bpf_helpers_doc.py", "--header", "--filename"}
	}
	if err := command(ctx, src, &out, "python3", append(script, "include/uapi/linux/bpf.h")...); err != nil {
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

// compile runs the compiler as the selftests' Makefile does.
func (w *corpusWork) compile(ctx context.Context, b corpusBuild, file, object string) error {
	args := slices.Concat(b.args, w.source.args, []string{"-D__TARGET_ARCH_x86", "-D__x86_64__", "-D__BPF_TRACING__", "-w"})
	if w.source.kernel {
		args = append(args, "-I"+w.headers)
	}
	for _, dir := range w.source.include {
		args = append(args, "-I"+filepath.Join(w.src(), dir))
	}
	args = append(args, "-I"+w.headers, "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu", "-c", file, "-o", object)
	return command(ctx, w.src(), nil, b.compiler, args...)
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
