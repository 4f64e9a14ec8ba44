package interp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nfpkit/nfpkit/bpf/maps"
)

// printk is trace_printk: it collects the text and returns its length.
func (m *Machine) printk(fmtAddr, fmtSize uint64, args []uint64) (uint64, error) {
	format, err := m.bytes(fmtAddr, int(uint32(fmtSize)), false)
	if err != nil {
		return 0, err
	}
	text, ok := m.format(format, args)
	if !ok {
		return negative(maps.EINVAL), nil
	}
	m.out.Printk = append(m.out.Printk, text)
	return uint64(len(text)), nil
}

// vprintk is trace_vprintk: the values lie in memory.
func (m *Machine) vprintk(a [5]uint64) (uint64, error) {
	n := int(uint32(a[3]))
	if n%8 != 0 || n > 12*8 {
		return negative(maps.EINVAL), nil
	}
	var args []uint64
	if n > 0 {
		b, err := m.bytes(a[2], n, false)
		if err != nil {
			return 0, err
		}
		for ; len(b) > 0; b = b[8:] {
			args = append(args, get(b[:8]))
		}
	}
	return m.printk(a[0], a[1], args)
}

// format expands the conversions of the kernel's bpf_trace_printk: d i u x X c s p,
// with flags, width and the sizes l and ll. The result is not ok if the format is not
// terminated, has another conversion, or needs too many values.
func (m *Machine) format(format []byte, args []uint64) (string, bool) {
	f, _, terminated := strings.Cut(string(format), "\x00")
	if !terminated {
		return "", false
	}
	var out strings.Builder
	for f != "" {
		text, rest, found := strings.Cut(f, "%")
		out.WriteString(text)
		if !found {
			return out.String(), true
		}
		if strings.HasPrefix(rest, "%") {
			out.WriteByte('%')
			f = rest[1:]
			continue
		}
		spec := conversion(rest)
		if spec == "" || len(args) == 0 {
			return "", false
		}
		one, ok := m.convert(spec, args[0])
		if !ok {
			return "", false
		}
		out.WriteString(one)
		f, args = rest[len(spec):], args[1:]
	}
	return out.String(), true
}

// conversion returns the part of s that is one conversion without its %, empty
// if there is none.
func conversion(s string) string {
	n := len(s) - len(strings.TrimLeft(s, "0+- "))
	n = len(s) - len(strings.TrimLeft(s[n:], "0123456789"))
	n += min(2, len(s[n:])-len(strings.TrimLeft(s[n:], "l")))
	if n == len(s) {
		return ""
	}
	return s[:n+1]
}

func (m *Machine) convert(spec string, v uint64) (string, bool) {
	verb := spec[len(spec)-1]
	flags := strings.TrimRight(spec[:len(spec)-1], "l")
	if len(flags) == len(spec)-1 && verb != 'p' && verb != 's' { // no l: 32 bits
		v = uint64(uint32(v))
		if verb == 'd' || verb == 'i' {
			v = uint64(int32(v))
		}
	}
	width := strings.TrimLeft(flags, "0+- ")
	if n, err := strconv.Atoi(width); width != "" && (err != nil || n > 512) {
		return "", false
	}
	switch verb {
	case 'd', 'i':
		return fmt.Sprintf("%"+flags+"d", int64(v)), true
	case 'u':
		return fmt.Sprintf("%"+flags+"d", v), true
	case 'x', 'X':
		return fmt.Sprintf("%"+flags+string(verb), v), true
	case 'p':
		return fmt.Sprintf("%016x", v), true
	case 'c':
		return string([]byte{byte(v)}), true
	case 's':
		return fmt.Sprintf("%"+flags+"s", m.text(v)), true
	}
	return "", false
}

// text returns the NUL-terminated text at addr, as far as it can be read.
func (m *Machine) text(addr uint64) string {
	var s []byte
	for len(s) < 512 {
		b, err := m.bytes(addr+uint64(len(s)), 1, false)
		if err != nil || b[0] == 0 {
			break
		}
		s = append(s, b[0])
	}
	return string(s)
}
