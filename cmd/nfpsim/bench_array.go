package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// filled is a part of an array's memory.
type filled struct {
	line   int
	offset uint64
	data   []byte
}

// arrayContents is the argument of --array-fill, read once.
type arrayContents struct {
	file  string
	parts []filled
}

// readArray reads lines 0xOFFSET: HEX BYTES. Empty lines and lines that begin with #
// are skipped.
func readArray(file string, p *firmware.Profile) (*arrayContents, error) {
	if file == "" {
		return nil, nil
	}
	if !p.DirectMap {
		return nil, usagef("--array-fill is for firmware with one array that B23 points to (corenic-direct), not %s; --map fills maps", p.Name)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--array-fill: %w", err)
	}
	a := &arrayContents{file: file}
	for i, line := range strings.Split(string(src), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at, text, ok := strings.Cut(line, ":")
		digits, hex := strings.CutPrefix(strings.TrimSpace(at), "0x")
		offset, err := strconv.ParseUint(digits, 16, 40)
		if !ok || !hex || err != nil {
			return nil, fmt.Errorf("%s:%d: %q is not 0xOFFSET: HEX BYTES, as 0x40: 00 01 ff", file, i+1, shortened(line))
		}
		data, err := parseHex(text)
		if err == nil && len(data) == 0 {
			err = errors.New("no bytes after the offset")
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
		a.parts = append(a.parts, filled{i + 1, offset, data})
	}
	return a, nil
}

// shortened is the beginning of a line, for an error.
func shortened(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// fill writes the contents to a card's array.
func (a *arrayContents) fill(e *simEngine) error {
	if a == nil {
		return nil
	}
	m := e.nic.Table(1)
	if m == nil {
		return fmt.Errorf("--array-fill: the program has no array")
	}
	for _, p := range a.parts {
		if err := m.Fill(p.offset, p.data); err != nil {
			return fmt.Errorf("%s:%d: %w", a.file, p.line, err)
		}
	}
	return nil
}
