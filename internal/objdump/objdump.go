// Package objdump builds GNU objdump for target nfp-elf and runs it on micro-engine
// words. It is the reference for package nfp's tests. Debian's binutils lack the
// target, but the package binutils-source has it. Build builds the program at test
// time and keeps it in a cache directory; it is never part of this repository.
// Disassemble and Listing run it.
package objdump

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nfpkit/nfpkit/internal/cache"
)

// ErrUnavailable means that objdump cannot be built on this machine.
var ErrUnavailable = errors.New("no objdump for nfp-elf")

// configure holds the flags that disable everything unneeded: the build takes two
// minutes on two cores.
var configure = []string{
	"--target=nfp-elf", "--enable-64-bit-bfd", "--disable-gdb", "--disable-gas", "--disable-ld", "--disable-gprof",
	"--disable-gprofng", "--disable-nls", "--disable-werror", "--disable-plugins", "--without-zstd",
}

// Build returns the path of objdump, and builds it first if it is not in the cache.
// Errors that are ErrUnavailable name the missing package.
func Build(ctx context.Context) (string, error) {
	dir, err := cache.Dir()
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	unlock, err := cache.Lock(ctx, filepath.Join(dir, "objdump.lock"), nil)
	if err != nil && ctx.Err() != nil {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	defer unlock()
	return buildIn(ctx, dir)
}

// buildIn is Build in the cache directory, which the caller has locked.
func buildIn(ctx context.Context, dir string) (string, error) {
	tarball, err := source(ctx, dir)
	if err != nil {
		if old := newest(filepath.Join(dir, "objdump-*", "objdump")); old != "" {
			return old, nil // the source was removed, but not the program built from it
		}
		return "", err
	}
	final := filepath.Join(dir, "objdump-"+version(tarball))
	path := filepath.Join(final, "objdump")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := build(ctx, tarball, final); err != nil {
		return "", err
	}
	return path, nil
}

// version returns 2.40 for binutils-2.40.tar.xz.
func version(tarball string) string {
	v := strings.TrimPrefix(filepath.Base(tarball), "binutils-")
	v, _, _ = strings.Cut(v, ".tar")
	return v
}

func newest(pattern string) string {
	m, err := filepath.Glob(pattern)
	if err != nil || len(m) == 0 {
		return ""
	}
	return m[len(m)-1]
}

// source returns the tarball: of the installed package, of an earlier download, or of
// a download now, if apt-get may be used.
func source(ctx context.Context, cache string) (string, error) {
	const name = "binutils-*.tar.*z*"
	if t := newest(filepath.Join("/usr/src/binutils", name)); t != "" {
		return t, nil
	}
	pkg := filepath.Join(cache, "binutils-source")
	tarballs := filepath.Join(pkg, "usr/src/binutils", name)
	if t := newest(tarballs); t != "" {
		return t, nil
	}
	if os.Getuid() != 0 {
		return "", fmt.Errorf("%w: install the package binutils-source", ErrUnavailable)
	}
	if err := os.MkdirAll(pkg, 0o755); err != nil {
		return "", err
	}
	if out, err := run(ctx, pkg, "apt-get", "download", "binutils-source"); err != nil {
		return "", fmt.Errorf("%w: apt-get download binutils-source: %v: %s", ErrUnavailable, err, lastLine(out))
	}
	deb := newest(filepath.Join(pkg, "binutils-source_*.deb"))
	if out, err := run(ctx, pkg, "dpkg", "-x", deb, "."); err != nil {
		return "", fmt.Errorf("%w: dpkg -x: %v: %s", ErrUnavailable, err, lastLine(out))
	}
	if t := newest(tarballs); t != "" {
		return t, nil
	}
	return "", fmt.Errorf("%w: binutils-source has no tarball", ErrUnavailable)
}

// build builds dir/objdump out of tree, and removes its temporary files.
func build(ctx context.Context, tarball, dir string) error {
	work, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	obj := filepath.Join(work, "build")
	if err := os.MkdirAll(obj, 0o755); err != nil {
		return err
	}
	for _, step := range [][]string{
		{work, "tar", "xf", tarball},
		append([]string{obj, "../binutils-" + version(tarball) + "/configure"}, configure...),
		{obj, "make", "-j2", "all-binutils", "MAKEINFO=true"},
	} {
		if out, err := run(ctx, step[0], step[1], step[2:]...); err != nil {
			return fmt.Errorf("%w: %s: %v: %s", ErrUnavailable, filepath.Base(step[1]), err, lastLine(out))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(obj, "binutils/objdump"), filepath.Join(dir, "objdump"))
}

func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	return c.CombinedOutput()
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// Disassemble runs the objdump at path on words (it ignores bits above 44), with
// options ctx4 and no-pc, and returns the text of each.
func Disassemble(ctx context.Context, path string, words []uint64) ([]string, error) {
	out, err := Listing(ctx, path, words, "ctx4,no-pc")
	if err != nil {
		return nil, err
	}
	texts := make([]string, 0, len(words))
	for line := range strings.Lines(out) {
		// "   8:\t000000d801c08125 \tbcc[.7]"
		f := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3)
		if len(f) == 3 && strings.HasSuffix(f[0], ":") {
			texts = append(texts, f[2])
		}
	}
	if len(texts) != len(words) {
		return nil, fmt.Errorf("objdump printed %d words of %d", len(texts), len(words))
	}
	return texts, nil
}

// Listing returns objdump's whole output for words, with the given -M options.
func Listing(ctx context.Context, path string, words []uint64, options string) (string, error) {
	dir, err := os.MkdirTemp("", "nfp-objdump-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "words.elf"), ELF(words), 0o644); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, path, "-D", "-z", "-M", options, "words.elf")
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("objdump: %v: %s", err, lastLine(stderr.Bytes()))
	}
	return string(out), nil
}

// ELF wraps words in a relocatable file for the NFP: header, one section .text, the
// section names. objdump crashes on bare words (nfp-isa.md section 15).
func ELF(words []uint64) []byte {
	const (
		headerSize, sectionSize = 64, 64
		machineNFP              = 250
		names                   = "\x00.text\x00.shstrtab\x00"
	)
	le := binary.LittleEndian
	textSize := uint64(8 * len(words))
	namesAt := headerSize + textSize
	tableAt := (namesAt + uint64(len(names)) + 7) &^ 7
	b := make([]byte, headerSize, tableAt+3*sectionSize)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 1) // relocatable
	le.PutUint16(b[18:], machineNFP)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[40:], tableAt)
	le.PutUint16(b[52:], headerSize)
	le.PutUint16(b[58:], sectionSize)
	le.PutUint16(b[60:], 3)
	le.PutUint16(b[62:], 2)
	for _, w := range words {
		b = le.AppendUint64(b, w)
	}
	b = append(b, names...)
	b = append(b, make([]byte, tableAt-uint64(len(b)))...)
	section := func(name, typ uint32, flags, at, size, align uint64) {
		b = le.AppendUint32(b, name)
		b = le.AppendUint32(b, typ)
		for _, v := range []uint64{flags, 0, at, size, 0, align, 0} {
			b = le.AppendUint64(b, v) // link and info are the fifth, both 0
		}
	}
	section(0, 0, 0, 0, 0, 0)
	section(1, 1, 6, headerSize, textSize, 8) // PROGBITS, alloc and exec
	section(7, 3, 0, namesAt, uint64(len(names)), 1)
	return b
}
