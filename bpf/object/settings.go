package object

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	contents "github.com/nfpkit/nfpkit/bpf/maps"
)

// Settings are the values that a loader in user space assigns before it loads an
// object: values of global variables, and sizes of maps.

// errSetting is for settings that the object does not take.
var errSetting = errors.New("cannot be set")

// A variable is a global variable: bytes of a data section.
type variable struct {
	bytes []byte
	typ   btf.Type // nil without BTF
}

// configure applies the settings of opt to the object.
func (o *Object) configure(opt *Options) error {
	for _, s := range opt.Set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return fmt.Errorf("%w: %q is not NAME=VALUE", errSetting, s)
		}
		if err := o.set(strings.TrimSpace(name), value); err != nil {
			return fmt.Errorf("variable %s %w: %w", printable(name), errSetting, err)
		}
	}
	for _, s := range opt.Entries {
		name, value, ok := strings.Cut(s, "=")
		n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
		if !ok || name == "" || err != nil || n == 0 {
			return fmt.Errorf("%w: %q is not MAP=N, with N from 1 to %d", errSetting, s, uint32(1<<32-1))
		}
		if err := o.resize(strings.TrimSpace(name), uint32(n)); err != nil {
			return fmt.Errorf("entries of map %s: %w: %w", printable(name), errSetting, err)
		}
	}
	return nil
}

// resize sets the number of a map's entries.
func (o *Object) resize(name string, n uint32) error {
	m := o.Spec.Maps[name]
	if m == nil || isVariables(m) {
		var names []string
		for name, m := range o.Spec.Maps {
			if !isVariables(m) {
				names = append(names, name)
			}
		}
		return unknown("map", names)
	}
	m.MaxEntries = n
	return nil
}

// isVariables reports whether a map is a data section.
func isVariables(m *ebpf.MapSpec) bool { return strings.HasPrefix(m.Name, ".") }

// unknown returns an error that lists the names that exist.
func unknown(what string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("the object has no %s", what)
	}
	slices.Sort(names)
	if n := len(names); n > 30 {
		names = append(names[:30], fmt.Sprintf("and %d more", n-30))
	}
	return fmt.Errorf("no such %s; there are: %s", what, strings.Join(names, ", "))
}

// set assigns a value to a variable or a part of it: NAME, NAME.member, NAME[2].
func (o *Object) set(path, text string) error {
	all := o.variables()
	name := path
	if i := strings.IndexAny(path, ".["); i > 0 {
		name = path[:i]
	}
	v, ok := all[name]
	if !ok {
		return unknown("variable", slices.Collect(maps.Keys(all)))
	}
	bytes, typ := v.bytes, v.typ
	for rest := path[len(name):]; rest != ""; {
		var err error
		if bytes, typ, rest, err = part(bytes, typ, rest); err != nil {
			return err
		}
	}
	if err := settable(typ); err != nil {
		return err
	}
	if err := inRange(text, typ); err != nil {
		return err
	}
	value, err := contents.ParseValue(text, typ, len(bytes))
	if err != nil {
		return err
	}
	copy(bytes, value)
	if spec := o.Spec.Variables[name]; spec != nil {
		copy(spec.Value, v.bytes) // a copy of the section's bytes
	}
	return nil
}

// variables returns the object's variables by name. BTF has static ones as well;
// without it the symbols of the others are left.
func (o *Object) variables() map[string]variable {
	all := map[string]variable{}
	add := func(name, section string, off, size uint32, typ btf.Type) {
		m := o.Spec.Maps[section]
		if m == nil || len(m.Contents) != 1 {
			return
		}
		data, ok := m.Contents[0].Value.([]byte)
		if ok && uint64(off)+uint64(size) <= uint64(len(data)) {
			all[name] = variable{bytes: data[off : off+size], typ: typ}
		}
	}
	for name, v := range o.Spec.Variables {
		add(name, v.SectionName, v.Offset, uint32(len(v.Value)), nil)
	}
	for name, m := range o.Spec.Maps {
		section, ok := m.Value.(*btf.Datasec)
		if !ok {
			continue
		}
		for _, info := range section.Vars {
			if v, ok := info.Type.(*btf.Var); ok {
				add(v.Name, name, info.Offset, info.Size, v.Type)
			}
		}
	}
	return all
}

// part returns the member or element that a path begins with, and the rest of
// the path.
func part(b []byte, t btf.Type, path string) ([]byte, btf.Type, string, error) {
	end := 1 + strings.IndexAny(path[1:], ".[")
	if end == 0 {
		end = len(path)
	}
	word, rest := path[:end], path[end:]
	if t == nil {
		return nil, nil, "", fmt.Errorf("%s: no type (BTF) says what parts it has: compile with -g", word)
	}
	off, typ := uint32(0), btf.Type(nil)
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Array:
		i, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(word, "["), "]"), 0, 32)
		if err != nil || word[0] != '[' || !strings.HasSuffix(word, "]") {
			return nil, nil, "", fmt.Errorf("%s is no element [0] to [%d]", word, int64(t.Nelems)-1)
		}
		if i >= uint64(t.Nelems) {
			return nil, nil, "", fmt.Errorf("%s is past the last element, [%d]", word, int64(t.Nelems)-1)
		}
		size, err := btf.Sizeof(t.Type)
		if err != nil {
			return nil, nil, "", err
		}
		off, typ = uint32(i)*uint32(size), t.Type
	case *btf.Struct:
		var err error
		if off, typ, err = member(t.Members, word); err != nil {
			return nil, nil, "", err
		}
	case *btf.Union:
		var err error
		if off, typ, err = member(t.Members, word); err != nil {
			return nil, nil, "", err
		}
	default:
		return nil, nil, "", fmt.Errorf("%s: a value of type %s has no parts", word, t.TypeName())
	}
	size, err := btf.Sizeof(typ)
	if err != nil || uint64(off)+uint64(size) > uint64(len(b)) {
		return nil, nil, "", fmt.Errorf("%s reaches past the variable", word)
	}
	return b[off:][:size], typ, rest, nil
}

func member(members []btf.Member, word string) (uint32, btf.Type, error) {
	var names []string
	for _, m := range members {
		if "."+m.Name == word {
			if m.BitfieldSize > 0 {
				return 0, nil, fmt.Errorf("%s is a bit field: set the whole struct", word)
			}
			return m.Offset.Bytes(), m.Type, nil
		}
		names = append(names, m.Name)
	}
	return 0, nil, unknown("member", names)
}

// inRange refuses numbers that an integer type does not have. Entries of maps are
// read with less care, as bpftool prints unsigned ones with a sign and others
// without.
func inRange(text string, t btf.Type) error {
	i, ok := btf.UnderlyingType(t).(*btf.Int)
	n, number := new(big.Int).SetString(strings.TrimSpace(text), 0)
	if !ok || !number {
		return nil
	}
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(8*i.Size))
	switch i.Encoding {
	case btf.Bool:
		high = big.NewInt(2)
	case btf.Signed, btf.Char:
		high.Rsh(high, 1)
		low.Neg(high)
	}
	if high.Sub(high, big.NewInt(1)); n.Cmp(low) < 0 || n.Cmp(high) > 0 {
		return fmt.Errorf("%v is outside the range of %s, %v to %v", n, i.Name, low, high)
	}
	return nil
}

// settable refuses types whose values nothing but the kernel knows, and floats,
// which eBPF has no instructions for.
func settable(t btf.Type) error {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Pointer:
		return errors.New("it is a pointer, and no address is known before loading")
	case *btf.Float:
		return fmt.Errorf("it is a %s, which eBPF cannot compute with", t.Name)
	}
	return nil
}
