// Package uml is a kernel test bed: it builds a small User Mode Linux kernel,
// boots it as an ordinary process with a Go program as init, and hands back what
// that program found. With the card of package driver/card behind its PCI bus
// the kernel's unmodified nfp driver binds to our simulator; no hardware, no
// virtual machine and no privilege is needed. The kernel is built at test time
// from the distribution's source package and kept in a cache; nothing of it is in
// this repository. docs/hardware-in-the-loop.md tells it from a user's side.
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

const (
	sourcePackage = "linux-source-6.12"
	tarball       = "/usr/src/" + sourcePackage + ".tar.xz"
)

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

// Build returns the path of the guest kernel, building it first where the cache
// has none for this source, these edits and this configuration: three minutes on
// two cores. progress, which may be nil, hears one line per step. Errors that are
// ErrUnavailable say what to install.
func Build(ctx context.Context, progress func(string)) (path string, err error) {
	if progress == nil {
		progress = func(string) {}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w: it runs on linux/amd64, this is %s/%s", ErrUnavailable, runtime.GOOS, runtime.GOARCH)
	}
	dir, err := cache.Dir()
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	recipe := recipeKey()
	// One that is there needs no lock: another recipe's build holds it for minutes.
	if version, err := installedVersion(ctx); err == nil {
		if path := kernelPath(dir, version, recipe); exists(path) {
			return path, nil
		}
	}
	unlock, err := cache.Lock(ctx, filepath.Join(dir, "uml.lock"))
	if err != nil && ctx.Err() != nil {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	defer unlock()
	version, err := sourceVersion(ctx, progress)
	if err != nil {
		if old, _ := filepath.Glob(filepath.Join(dir, "uml-*-"+recipe, "linux")); len(old) > 0 {
			return old[len(old)-1], nil // the source is gone, what was built of it is not
		}
		return "", err
	}
	if path = kernelPath(dir, version, recipe); exists(path) {
		return path, nil
	}
	for _, n := range needed {
		if _, err := exec.LookPath(n.command); err != nil {
			return "", fmt.Errorf("%w: %s is not installed (package %s)", ErrUnavailable, n.command, n.pkg)
		}
	}
	return path, build(ctx, dir, filepath.Dir(path), progress)
}

// kernelPath is where a kernel is kept.
func kernelPath(dir, version, recipe string) string {
	return filepath.Join(dir, "uml-"+version+"-"+recipe, "linux")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// recipeKey tells kernels apart that differ by more than their source.
func recipeKey() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%s", edits, fragment)
	return fmt.Sprintf("%x", h.Sum(nil)[:6])
}

// sourceVersion is the installed source package's version. As root, and where it
// is absent, it installs it.
func sourceVersion(ctx context.Context, progress func(string)) (string, error) {
	if !exists(tarball) {
		if os.Getuid() != 0 {
			return "", fmt.Errorf("%w: install the package %s", ErrUnavailable, sourcePackage)
		}
		progress("installing " + sourcePackage)
		args := []string{"install", "-y", "-qq", "--no-install-recommends", sourcePackage}
		for _, n := range needed {
			if _, err := exec.LookPath(n.command); err != nil {
				args = append(args, n.pkg)
			}
		}
		if out, err := run(ctx, "", "apt-get", args...); err != nil {
			return "", fmt.Errorf("%w: apt-get install %s: %v: %s", ErrUnavailable, sourcePackage, err, complaint(out))
		}
	}
	return installedVersion(ctx)
}

// installedVersion is that of the source package if it is there.
func installedVersion(ctx context.Context) (string, error) {
	if out, err := run(ctx, "", "dpkg-query", "-W", "-f", "${Version}", sourcePackage); err == nil && out != "" {
		return out, nil
	}
	info, err := os.Stat(tarball)
	if err != nil {
		return "", fmt.Errorf("%w: package %s: %v", ErrUnavailable, sourcePackage, err)
	}
	return fmt.Sprintf("size-%d", info.Size()), nil
}

// build makes final/linux; everything else it needed is removed.
func build(ctx context.Context, dir, final string, progress func(string)) error {
	stale, _ := filepath.Glob(filepath.Join(dir, "uml.build-*")) // of builds that were killed; the lock says there is no other
	for _, s := range stale {
		os.RemoveAll(s)
	}
	work, err := os.MkdirTemp(dir, "uml.build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	start := time.Now()
	say := func(what string) { progress(fmt.Sprintf("%4.0f s: %s", time.Since(start).Seconds(), what)) }

	say("unpacking " + filepath.Base(tarball))
	args := []string{"xf", tarball, "--strip-components=1", "--wildcards", "--wildcards-match-slash"}
	for _, l := range left {
		args = append(args, "--exclude="+l)
	}
	if out, err := run(ctx, work, "tar", args...); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", tarball, err, complaint(out))
	}
	for _, e := range edits {
		if err := e.apply(work); err != nil {
			return err
		}
	}
	say("configuring")
	if err := configure(ctx, work); err != nil {
		return err
	}
	say("compiling")
	out, err := run(ctx, work, "nice", "make", "ARCH=um", fmt.Sprintf("-j%d", min(runtime.NumCPU(), 8)), "linux")
	if err != nil {
		return fmt.Errorf("make linux: %w: %s", err, complaint(out))
	}
	if err := install(filepath.Join(work, "linux"), final); err != nil {
		return err
	}
	say("done")
	return nil
}

// configure writes .config: tinyconfig, then the fragment, then a check that all
// of the fragment was possible.
func configure(ctx context.Context, tree string) error {
	if out, err := run(ctx, tree, "make", "ARCH=um", "tinyconfig"); err != nil {
		return fmt.Errorf("make tinyconfig: %w: %s", err, complaint(out))
	}
	// kconfig takes the last of several values.
	path := filepath.Join(tree, ".config")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + fragment)
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
	for want := range strings.Lines(fragment) {
		want = strings.TrimSpace(want)
		off := strings.HasPrefix(want, "# CONFIG_")
		if want != "" && (off || want[0] != '#') && !slices.Contains(lines, want) {
			lost = append(lost, want)
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("kernel configuration: not possible in this source: %s", strings.Join(lost, " "))
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
