// Package uml is a kernel test bed. It builds a small User Mode Linux kernel, boots it
// as an ordinary process with a Go program as init, and returns that program's
// reports. With the card of package driver/card on its PCI bus, the kernel's
// unmodified nfp driver binds to our simulator. That needs no hardware, no virtual
// machine and no privilege.
//
// Build builds a kernel. Boot boots it with Options and returns one report.Report per
// step; Start returns the running Guest, whose steps may wait for answers. Translate
// and Captured return the driver's translation of programs. The kernel is built at
// test time from the distribution's source package and kept in a cache. No part of it
// is in this repository. docs/hardware-in-the-loop.md is the user's manual.
package uml

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nfpkit/nfpkit/internal/cache"
)

// ErrUnavailable means that the guest kernel cannot be had on this machine; the
// error it is wrapped in says what is missing.
var ErrUnavailable = errors.New("no guest kernel")

//go:embed kernel.config
var fragment string

// release is a kernel whose source Debian has.
type release struct {
	version string   // as the package's name has it
	lacks   []string // lines of kernel.config that this version has no option for
}

// releases are the kernels that Build can build, oldest first: those of Debian 12 and
// 13.
var releases = []release{
	{"6.1", []string{"CONFIG_PTP_1588_CLOCK_MOCK=y"}}, // its netdevsim has no clock
	{"6.12", nil},
}

// Newest is the version of the kernel that a test takes which needs one only.
const Newest = "6.12"

// Versions returns the versions of the kernels that Build can build, oldest first.
func Versions() []string {
	var all []string
	for _, r := range releases {
		all = append(all, r.version)
	}
	return all
}

// pkg returns the name of the source package.
func (r *release) pkg() string { return "linux-source-" + r.version }

// tarball returns the path of what the package installs.
func (r *release) tarball() string { return "/usr/src/" + r.pkg() + ".tar.xz" }

// config returns the lines that the configuration has beyond tinyconfig.
func (r *release) config() string {
	text := fragment
	for _, line := range r.lacks {
		text = strings.Replace(text, line+"\n", "", 1)
	}
	return text
}

// recipe returns a name for all properties in which kernels of the same source can
// differ.
func (r *release) recipe() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%s", edits, r.config())
	return fmt.Sprintf("%x", h.Sum(nil)[:6])
}

// needed are the commands of the build, by the package that has each.
var needed = []struct{ command, pkg string }{
	{"gcc", "gcc"}, {"ld", "binutils"}, {"make", "make"}, {"flex", "flex"}, {"bison", "bison"}, {"bc", "bc"},
	{"python3", "python3"}, {"tar", "tar"}, {"xz", "xz-utils"},
}

// left names what the build does without, two thirds of the tree. Kconfig files and
// Makefiles stay: they refer to each other.
var left = []string{
	"*/Documentation/*/*", "*.rs", "*/samples/*.[ch]", "*/LICENSES/*", "*/tools/testing/*", "*/tools/perf/*",
	"*/drivers/gpu/*.[ch]", "*/drivers/media/*.[ch]", "*/drivers/staging/*.[ch]", "*/drivers/infiniband/*.[ch]",
	"*/drivers/scsi/*.[ch]", "*/drivers/clk/*.[ch]", "*/drivers/iio/*.[ch]", "*/drivers/net/wireless/*.[ch]",
	"*/sound/*.[ch]", "*/arch/*/boot/dts/*", "*/arch/[!ux]*/*.[chS]",
}

// Build returns the path of the guest kernel of a version, one of Versions. It builds
// the kernel first if the cache has none for this source, these edits and this
// configuration: three minutes on two cores. A build that was killed goes on from the
// objects it has. progress, which may be nil, is called with one line per step. Errors
// that are ErrUnavailable say what to install.
func Build(ctx context.Context, version string, progress func(string)) (path string, err error) {
	if progress == nil {
		progress = func(string) {}
	}
	i := slices.Index(Versions(), version)
	if i < 0 {
		return "", fmt.Errorf("guest kernel %s: there are %s", version, strings.Join(Versions(), " and "))
	}
	r := &releases[i]
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w: it runs on linux/amd64, this is %s/%s", ErrUnavailable, runtime.GOOS, runtime.GOARCH)
	}
	dir, err := cache.Dir()
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	// One that is there needs no lock: another kernel's build holds it for minutes.
	if installed, err := r.installed(ctx); err == nil {
		if path := r.path(dir, installed); exists(path) {
			return path, nil
		}
	}
	say := func(what string) { progress("guest kernel " + version + ": " + what) }
	unlock, err := cache.Lock(ctx, filepath.Join(dir, "uml.lock"), func() { say("waiting for another process that builds one") })
	if err != nil && ctx.Err() != nil {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	defer unlock()
	installed, err := r.install(ctx, say)
	if err != nil {
		if old, _ := filepath.Glob(r.path(dir, version+".*")); len(old) > 0 {
			return old[len(old)-1], nil // the source is gone, what was built of it is not
		}
		return "", err
	}
	if path = r.path(dir, installed); exists(path) {
		return path, nil
	}
	for _, n := range needed {
		if _, err := exec.LookPath(n.command); err != nil {
			return "", fmt.Errorf("%w: %s is not installed (package %s)", ErrUnavailable, n.command, n.pkg)
		}
	}
	return path, r.build(ctx, dir, filepath.Dir(path), say)
}

// path returns the path of the cached kernel of the source package's version.
func (r *release) path(dir, installed string) string {
	return filepath.Join(dir, "uml-"+installed+"-"+r.recipe(), "linux")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// install returns the source package's version. As root it installs the package if
// it is absent.
func (r *release) install(ctx context.Context, say func(string)) (string, error) {
	if !exists(r.tarball()) {
		if os.Getuid() != 0 {
			return "", fmt.Errorf("%w: install the package %s", ErrUnavailable, r.pkg())
		}
		say("installing " + r.pkg())
		args := []string{"-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", r.pkg()}
		for _, n := range needed {
			if _, err := exec.LookPath(n.command); err != nil {
				args = append(args, n.pkg)
			}
		}
		if out, err := run(ctx, "", "apt-get", args...); err != nil {
			return "", fmt.Errorf("%w: apt-get install %s: %v: %s", ErrUnavailable, r.pkg(), err, complaint(out))
		}
	}
	return r.installed(ctx)
}

// installed returns the version of the source package if it is there.
func (r *release) installed(ctx context.Context) (string, error) {
	if out, err := run(ctx, "", "dpkg-query", "-W", "-f", "${Version}", r.pkg()); err == nil && out != "" {
		return out, nil
	}
	info, err := os.Stat(r.tarball())
	if err != nil {
		return "", fmt.Errorf("%w: package %s: %v", ErrUnavailable, r.pkg(), err)
	}
	return fmt.Sprintf("%s.size-%d", r.version, info.Size()), nil
}

// build builds final/linux. It keeps its intermediate files until then, so that a
// build that was killed can continue. The cache's lock must be held.
func (r *release) build(ctx context.Context, dir, final string, say func(string)) error {
	tree := filepath.Join(dir, "uml.tree-"+r.version+"-"+filepath.Base(final))
	// Trees of this version's other recipes are useless, and so are partly unpacked
	// ones.
	stale, _ := filepath.Glob(filepath.Join(dir, "uml.tree-"+r.version+"-*"))
	halves, _ := filepath.Glob(filepath.Join(dir, "uml.build-*"))
	for _, path := range append(halves, stale...) {
		if path != tree {
			os.RemoveAll(path)
		}
	}
	start := time.Now()
	step := func(what string) { say(fmt.Sprintf("%4.0f s: %s", time.Since(start).Seconds(), what)) }
	resumed := exists(tree)
	if !resumed {
		if err := r.prepare(ctx, dir, tree, step); err != nil {
			return err
		}
	}
	step(map[bool]string{false: "compiling", true: "compiling what an earlier build has not"}[resumed])
	out, err := run(ctx, tree, "nice", "make", "ARCH=um", fmt.Sprintf("-j%d", min(runtime.NumCPU(), 8)), "linux")
	if err != nil && ctx.Err() == nil && resumed {
		os.RemoveAll(tree) // the earlier build's files may be the cause
	}
	if err != nil {
		return fmt.Errorf("guest kernel %s: make linux: %w: %s", r.version, err, complaint(out))
	}
	if err := install(filepath.Join(tree, "linux"), final); err != nil {
		return err
	}
	step("done")
	return os.RemoveAll(tree)
}

// prepare creates tree, with edited and configured sources, in one visible step.
func (r *release) prepare(ctx context.Context, dir, tree string, step func(string)) error {
	work, err := os.MkdirTemp(dir, "uml.build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	step("unpacking " + filepath.Base(r.tarball()))
	args := []string{"xf", r.tarball(), "--strip-components=1", "--wildcards", "--wildcards-match-slash"}
	for _, l := range left {
		args = append(args, "--exclude="+l)
	}
	if out, err := run(ctx, work, "tar", args...); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", r.tarball(), err, complaint(out))
	}
	for _, e := range edits {
		if err := e.apply(work); err != nil {
			return err
		}
	}
	step("configuring")
	if err := r.configure(ctx, work); err != nil {
		return fmt.Errorf("guest kernel %s: %w", r.version, err)
	}
	return os.Rename(work, tree)
}

// configure writes .config: tinyconfig, then the fragment, then a check that all
// of the fragment was possible.
func (r *release) configure(ctx context.Context, tree string) error {
	if out, err := run(ctx, tree, "make", "ARCH=um", "tinyconfig"); err != nil {
		return fmt.Errorf("make tinyconfig: %w: %s", err, complaint(out))
	}
	// kconfig takes the last of several values.
	path := filepath.Join(tree, ".config")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + r.config())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if out, err := run(ctx, tree, "make", "ARCH=um", "olddefconfig"); err != nil {
		return fmt.Errorf("make olddefconfig: %w: %s", err, complaint(out))
	}
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(got), "\n")
	var lost []string
	for want := range strings.Lines(r.config()) {
		want = strings.TrimSpace(want)
		off := strings.HasPrefix(want, "# CONFIG_")
		if want != "" && (off || want[0] != '#') && !slices.Contains(lines, want) {
			lost = append(lost, want)
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("configuration: not possible in this source: %s", strings.Join(lost, " "))
	}
	return nil
}

// install copies the kernel into dir in one visible step.
func install(kernel, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "uml.build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	in, err := os.Open(kernel)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(tmp, "linux"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	killGroup(c)
	out, err := c.CombinedOutput()
	return string(out), err
}

// complaint is the first line that names an error, or else the last.
func complaint(out string) string {
	var last string
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		l := strings.TrimSpace(s.Text())
		if strings.Contains(l, "error:") || strings.Contains(l, "can't") || strings.Contains(l, "No such file") {
			return l
		}
		if l != "" && !strings.HasPrefix(l, "make") {
			last = l
		}
	}
	return last
}
