package uml

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// The root file system of the guest is a cpio archive in the "newc" form, which
// Linux unpacks into memory (Linux's
// Documentation/driver-api/early-userspace/buffer-format.rst). A file has an
// ASCII header of a magic and 13 fields of 8 hexadecimal digits, then the name,
// then the contents, each padded to 4 bytes.

// File modes and types of the archive, as stat(2) has them.
const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeChar = 0o020600
)

// cpio writes an archive; the first error stays.
type cpio struct {
	w   io.Writer
	at  int // bytes written
	ino int
	err error
}

func (c *cpio) write(p []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(p)
	c.at, c.err = c.at+n, err
}

func (c *cpio) pad() {
	if n := c.at & 3; n != 0 {
		c.write(make([]byte, 4-n))
	}
}

// entry adds one file. major and minor are of the device that a node stands for.
func (c *cpio) entry(name string, mode uint32, data []byte, major, minor int) {
	c.ino++
	fields := []int{c.ino, int(mode), 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0}
	h := []byte("070701")
	for _, f := range fields {
		h = fmt.Appendf(h, "%08x", f)
	}
	c.write(append(append(h, name...), 0))
	c.pad()
	c.write(data)
	c.pad()
}

// writeInitramfs writes a gzip-compressed root with init as /init, the nodes and
// mount points that it needs, and files by their path in the guest.
func writeInitramfs(w io.Writer, init []byte, files map[string][]byte) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(z, 1<<16)
	c := &cpio{w: buffered}
	dirs := map[string]bool{}
	mkdir := func(dir string) {
		var up string
		for part := range strings.SplitSeq(dir, "/") {
			if up = path.Join(up, part); up != "" && up != "." && !dirs[up] {
				dirs[up] = true
				c.entry(up, modeDir, nil, 0, 0)
			}
		}
	}
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "lib/firmware"} {
		mkdir(d)
	}
	c.entry("dev/console", modeChar, nil, 5, 1)
	c.entry("dev/null", modeChar, nil, 1, 3)
	c.entry("init", modeFile, init, 0, 0)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		clean := strings.TrimPrefix(path.Clean("/"+name), "/")
		mkdir(path.Dir(clean))
		c.entry(clean, modeFile, files[name], 0, 0)
	}
	c.entry("TRAILER!!!", 0, nil, 0, 0)
	if c.err != nil {
		return c.err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return z.Close()
}

// createInitramfs is writeInitramfs into a new file.
func createInitramfs(name, initPath string, files map[string][]byte) error {
	init, err := os.ReadFile(initPath)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := writeInitramfs(f, init, files); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
