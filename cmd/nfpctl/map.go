package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/offload"
)

// ownMaps is the directory of the pins of map create. It is no valid name of a
// deployment.
const ownMaps = "_maps"

func newMap(e *env) *cobra.Command {
	cmd := group("map", "show, read and change maps",
		e.completes(newMapShow(e), nil, "id", "name", "pinned"),
		e.completes(newMapDump(e), nil, "id", "name", "pinned"),
		e.completes(newMapLookup(e), nil, "id", "name", "pinned", "key"),
		e.completes(newMapUpdate(e), nil, "id", "name", "pinned", "key", "value", "any", "exist", "noexist"),
		e.completes(newMapDelete(e), nil, "id", "name", "pinned", "key"),
		e.completes(newMapCreate(e), []string{""}, "type", "key", "value", "entries", "flags", "dev"),
		e.completes(newMapEvents(e), nil, "id", "name", "pinned", "cpu", "index"),
		newMapUnpin(e))
	cmd.PersistentFlags().StringVar(&e.types, "types", "", "`FILE[:MAP]` whose BTF describes keys and values; by default that of the loaded object")
	return cmd
}

// whichMap and mapHelp describe MAP, KEY and VALUE in the help of commands that take them.
const (
	whichMap = "MAP is id ID, name NAME, name DEPLOYMENT/NAME, or pinned FILE."
	mapHelp  = whichMap + `

KEY and VALUE are bytes (10 0 0 1, or hex 0a 00 00 01), or one word for all of
them: a number in host order, an address, a prefix of an lpm_trie, the id of a
program or map, or, where BTF is known, a name, text or JSON (docs/maps.md). A
queue or stack has no key.`
)

// mapJSON is a map in map show's JSON.
type mapJSON struct {
	ID         uint32 `json:"id"`
	Type       string `json:"type"`
	Name       string `json:"name,omitempty"`
	Flags      uint32 `json:"flags"`
	Key        uint32 `json:"bytes_key"`
	Value      uint32 `json:"bytes_value"`
	Entries    uint32 `json:"max_entries"`
	Ifindex    int    `json:"ifindex,omitempty"`
	Device     string `json:"dev,omitempty"`
	Gone       bool   `json:"device_gone,omitempty"`
	Deployment string `json:"deployment,omitempty"`
}

func newMapShow(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "show [MAP]", Aliases: []string{"list"}, Short: "list maps, or show one",
		Long: "Lists maps: those on cards, and those of the host. MAP is one of them.\n\n" + whichMap,
		Example: `  nfpctl map show
  nfpctl map show name edge/blocked`,
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := e.kernel()
			if err != nil {
				return err
			}
			var infos []offload.MapInfo
			if len(args) > 0 {
				w := words(args)
				m, err := e.parseMap(k, &w)
				if err != nil {
					return err
				}
				defer m.Close()
				if err := w.end(); err != nil {
					return err
				}
				infos = append(infos, m.info)
			} else {
				objects, err := k.Objects()
				if err != nil {
					return err
				}
				for _, o := range objects {
					if o.Map != nil {
						infos = append(infos, *o.Map)
					}
				}
			}
			return e.showMaps(cmd.OutOrStdout(), k, infos)
		},
	}
}

func (e *env) showMaps(w io.Writer, k offload.Kernel, infos []offload.MapInfo) error {
	records, err := e.records()
	if err != nil {
		return err
	}
	own, devices := ownersOf(records).maps, deviceNames(k)
	all := make([]mapJSON, len(infos))
	for i, m := range infos {
		all[i] = mapJSON{
			ID: m.ID, Type: m.Shape.Type, Name: m.Name, Flags: m.Shape.Flags, Key: m.Shape.Key, Value: m.Shape.Value, Entries: m.Shape.Entries,
			Ifindex: m.Device, Device: devices[m.Device], Gone: m.Gone, Deployment: own[m.ID].deployment,
		}
		if own[m.ID].name != "" {
			all[i].Name = own[m.ID].name
		}
	}
	if e.json {
		return writeJSON(w, all)
	}
	for _, m := range all {
		fmt.Fprintf(w, "%d: %s", m.ID, m.Type)
		if m.Name != "" {
			fmt.Fprintf(w, "  name %s", m.Name)
		}
		fmt.Fprintf(w, "  flags %#x%s\n", m.Flags, onDevice(m.Ifindex, m.Device, m.Gone))
		fmt.Fprintf(w, "\tkey %dB  value %dB  max_entries %d\n", m.Key, m.Value, m.Entries)
		if m.Deployment != "" {
			fmt.Fprintf(w, "\tdeployment %s\n", m.Deployment)
		}
	}
	return nil
}

// deviceNames returns the interfaces of the caller's namespace by index.
func deviceNames(k offload.Kernel) map[int]string {
	names := map[int]string{}
	ports, err := k.Ports("")
	if err != nil {
		return names // callers then print indexes
	}
	for _, p := range ports {
		names[p.Index] = p.Name
	}
	return names
}

// onDevice returns the place of an object, in bpftool's words.
func onDevice(index int, name string, gone bool) string {
	switch {
	case gone:
		return "  offloaded_to a device that is gone"
	case name != "":
		return "  offloaded_to " + name
	case index != 0:
		return fmt.Sprintf("  offloaded_to ifindex %d", index)
	}
	return ""
}

// withMap opens the map that a command's arguments name.
func (e *env) withMap(args []string, do func(m *opened, w words) error) error {
	k, err := e.kernel()
	if err != nil {
		return err
	}
	w := words(args)
	m, err := e.parseMap(k, &w)
	if err != nil {
		return err
	}
	defer m.Close()
	m.kernel = k
	return do(m, w)
}

// withKey is withMap for commands whose arguments are MAP key KEY.
func (e *env) withKey(args []string, do func(m *opened, key []byte) error) error {
	return e.withMap(args, func(m *opened, w words) error {
		key, err := m.parseKey(&w)
		if err != nil {
			return err
		}
		if err := w.end(); err != nil {
			return err
		}
		return do(m, key)
	})
}

func newMapDump(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "dump MAP", Short: "print all entries of a map", Long: "Prints all entries. Host maps are read in batches, those on cards one by one.\n\n" + whichMap,
		Example: `  nfpctl map dump name blocked
  nfpctl map dump name blocked --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withMap(args, func(m *opened, w words) error {
				if err := w.end(); err != nil {
					return err
				}
				if m.info.Shape.Key == 0 {
					return usagef("a %s shows its next entry only: map lookup MAP", m.info.Shape.Type)
				}
				out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
				n, err := dump(out, m, e.json)
				if _, typed := m.codec.Typed(); err == nil && !e.json && !typed {
					fmt.Fprintf(out, "Found %s\n", counted(n, "element"))
				}
				return errors.Join(err, out.Flush())
			})
		},
	}
}

// counted returns a number of things: "1 element", "2 elements".
func counted[N int | uint64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

// dump writes entries while it reads them: a map may be too large to hold in memory.
func dump(out io.Writer, m *opened, asJSON bool) (int, error) {
	n, form := 0, maps.Plain
	if asJSON {
		form = maps.JSON
	}
	var line []byte
	var failed error
	err := m.Dump(func(key, value []byte) bool {
		line = line[:0]
		switch {
		case asJSON && n == 0:
			line = append(line, "[\n"...)
		case asJSON:
			line = append(line, ",\n"...)
		}
		n++
		line = m.codec.Append(line, maps.Entry{Key: key, Value: value}, form)
		_, failed = out.Write(line)
		return failed == nil
	})
	if asJSON {
		end := "\n]\n"
		if n == 0 {
			end = "[]\n"
		}
		io.WriteString(out, end) // the output is valid JSON even after an error
	}
	return n, errors.Join(err, failed)
}

func newMapLookup(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "lookup MAP key KEY", Short: "print one entry of a map", Long: "Prints the entry of a key. Exit status 1 if there is none.\n\n" + mapHelp,
		Example: `  nfpctl map lookup name blocked key 10.0.0.1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withKey(args, func(m *opened, key []byte) error {
				value, err := m.Lookup(key)
				if err != nil {
					return err
				}
				entry, form := maps.Entry{Key: key, Value: value}, maps.Plain
				if e.json {
					form = maps.JSON
				}
				line := bytes.TrimSuffix(m.codec.Append(nil, entry, form), []byte("\n"))
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
				return err
			})
		},
	}
}

// parseKey parses "key KEY", which maps without keys do not have.
func (o *opened) parseKey(w *words) ([]byte, error) {
	if o.info.Shape.Key == 0 && (len(*w) == 0 || (*w)[0] != "key") {
		return nil, nil // a queue or stack
	}
	if keyword := w.next(); keyword != "key" {
		return nil, usagef("key KEY is missing")
	}
	return takeBytes(w, "key", o.info.Shape.Key, o.codec.ParseKey)
}

var updateFlags = map[string]ebpf.MapUpdateFlags{"any": ebpf.UpdateAny, "noexist": ebpf.UpdateNoExist, "exist": ebpf.UpdateExist}

func newMapUpdate(e *env) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "update MAP key KEY value VALUE [any|exist|noexist]", Short: "write one entry of a map, or those of a file",
		Long: `Writes an entry: any creates or replaces, exist only replaces, noexist only
creates. With --file, writes all entries of a file that map dump, nfpsim --dump
or bpftool map dump wrote, or of that form; "-" is standard input.

` + mapHelp,
		Example: `  nfpctl map update name blocked key 10.0.0.1 value '{"packets": 0}'
  nfpctl map update name blocked --file blocked.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withMap(args, func(m *opened, w words) error {
				if file != "" {
					if err := w.end(); err != nil {
						return err
					}
					n, err := fill(cmd, m, file)
					entries := fmt.Sprintf("%d entr%s written", n, map[bool]string{true: "y", false: "ies"}[n == 1])
					if err != nil && n > 0 {
						return fmt.Errorf("%w; before it, %s", err, entries)
					}
					if err == nil {
						fmt.Fprintf(cmd.ErrOrStderr(), "nfpctl: %s\n", entries)
					}
					return err
				}
				key, err := m.parseKey(&w)
				if err != nil {
					return err
				}
				if keyword := w.next(); keyword != "value" {
					return usagef("value VALUE is missing")
				}
				value, err := takeBytes(&w, "value", m.info.Shape.Value, m.codec.ParseValue)
				if err != nil {
					return err
				}
				value = m.codec.Spread(value)
				r := references{kernel: m.kernel}
				defer r.Close()
				if err := r.resolve(m.info.Shape, value); err != nil {
					return err
				}
				flags := ebpf.UpdateAny
				if word := w.next(); word != "" {
					var ok bool
					if flags, ok = updateFlags[word]; !ok {
						return usagef("%q is none of any, exist, noexist", word)
					}
				}
				if err := w.end(); err != nil {
					return err
				}
				return m.Update(key, value, flags)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "JSON `FILE` of entries")
	return cmd
}

// fill writes all entries of a file.
func fill(cmd *cobra.Command, m *opened, file string) (int, error) {
	bad := func(format string, args ...any) (int, error) {
		return 0, &offload.Error{Op: "read", Object: file, Reason: "map-value", Msg: fmt.Sprintf(format, args...)}
	}
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return bad("%v", err)
		}
		defer f.Close()
		in = f
	}
	var keys, values []byte
	r := references{kernel: m.kernel}
	defer r.Close()
	for e, err := range m.codec.Entries(in) {
		var at *maps.PlaceError
		if errors.As(err, &at) {
			file = fmt.Sprintf("%s:%d:%d", file, at.Line, at.Column)
			return bad("%v", at.Err)
		}
		if err != nil {
			return bad("%v", err)
		}
		if err := r.resolve(m.info.Shape, e.Value); err != nil {
			return 0, err
		}
		keys, values = append(keys, e.Key...), append(values, e.Value...)
	}
	return fillAll(cmd, m, keys, values)
}

// fillChunk is the number of entries between two checks of the time: as many as go to
// the kernel in one batch.
const fillChunk = 4096

// fillAll writes entries, and shows its progress on a terminal: a card takes some
// thousands a second.
func fillAll(cmd *cobra.Command, m *opened, keys, values []byte) (int, error) {
	k, v := int(m.info.Shape.Key), len(m.codec.Spread(make([]byte, m.info.Shape.Value)))
	total := len(values) / max(v, 1)
	start, done := time.Now(), 0
	for done < total {
		if err := cmd.Context().Err(); err != nil {
			return done, &offload.Error{Op: "update", Object: "map " + m.info.Name, Reason: "interrupted", Msg: err.Error(), Err: err}
		}
		n := min(fillChunk, total-done)
		var wrote int
		var err error
		if k > 0 {
			wrote, err = m.Fill(keys[done*k:][:n*k], values[done*v:][:n*v])
		} else if err = m.Update(nil, values[done*v:][:v], ebpf.UpdateAny); err == nil { // a queue or stack
			wrote = 1
		}
		done += wrote
		if err != nil {
			return done, err
		}
		if isTerminal(cmd.ErrOrStderr()) && time.Since(start) > time.Second {
			fmt.Fprintf(cmd.ErrOrStderr(), "\rnfpctl: %d of %d entries", done, total)
			if done == total {
				fmt.Fprintln(cmd.ErrOrStderr())
			}
		}
	}
	return done, nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func newMapDelete(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "delete MAP key KEY", Short: "remove one entry of a map", Long: "Removes the entry of a key. Exit status 1 if there is none.\n\n" + mapHelp,
		Example: `  nfpctl map delete name blocked key 10.0.0.1`,
		RunE: func(_ *cobra.Command, args []string) error {
			return e.withKey(args, func(m *opened, key []byte) error { return m.Delete(key) })
		},
	}
}

func newMapCreate(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "create NAME type TYPE key BYTES value BYTES entries N [flags N] [dev PORT]", Short: "create a map, on a card or the host",
		Long: `Creates a map and pins it as _maps/NAME, where it stays until map unpin NAME. With
dev, it is in the memory of that port's card. TYPE is hash, array, lpm_trie or
another type of bpftool map help. Keys and values have BYTES bytes each, and the
map at most N entries. flags is a number, the sum of BPF_F_ values of linux/bpf.h.`,
		Args:    atLeast("NAME"),
		Example: `  nfpctl map create scratch type hash key 4 value 8 entries 1000 dev nfp0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, ref, err := parseCreate(args)
			if err != nil {
				return err
			}
			k, err := e.kernel()
			if err != nil {
				return err
			}
			var on *offload.Port
			if ref.Name != "" {
				if on, err = findPort(k, ref); err != nil {
					return err
				}
			}
			m, err := k.CreateMap(spec, on)
			if err != nil {
				return err
			}
			defer m.Close()
			if err := k.Pin(m, ownMaps+"/"+spec.Name); err != nil {
				return err
			}
			if e.json {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"id": m.ID(), "name": spec.Name, "pinned": e.pins + "/" + ownMaps + "/" + spec.Name})
			}
			return nil
		},
	}
}

// parseCreate parses map create's arguments.
func parseCreate(args []string) (*ebpf.MapSpec, offload.Ref, error) {
	w := words(args)
	spec := &ebpf.MapSpec{Name: w.next()}
	var ref offload.Ref
	if !offload.ValidName(spec.Name) {
		return nil, ref, usagef("map name %q is not of letters, digits, _ and -", spec.Name)
	}
	numbers := map[string]*uint32{"key": &spec.KeySize, "value": &spec.ValueSize, "entries": &spec.MaxEntries, "flags": &spec.Flags}
	for len(w) > 0 {
		keyword := w.next()
		if n := numbers[keyword]; n != nil {
			var err error
			if *n, err = w.number(keyword); err != nil {
				return nil, ref, err
			}
			continue
		}
		value, err := w.value(keyword)
		if err != nil {
			return nil, ref, err
		}
		switch keyword {
		case "type":
			if spec.Type, err = offload.ParseMapType(value); err != nil {
				return nil, ref, usageError{err}
			}
		case "dev":
			if ref, err = parsePort(value); err != nil {
				return nil, ref, err
			}
		default:
			return nil, ref, usagef("%q is none of type, key, value, entries, flags, dev", keyword)
		}
	}
	noKeys := spec.Type == ebpf.Queue || spec.Type == ebpf.Stack
	if spec.Type == ebpf.UnspecifiedMap || spec.KeySize == 0 != noKeys || spec.ValueSize == 0 || spec.MaxEntries == 0 {
		return nil, ref, usagef("type, key, value and entries are needed; a queue or stack has no key")
	}
	return spec, ref, nil
}

func newMapUnpin(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "unpin NAME", Short: "delete the pin of a map that map create made",
		Long: `Deletes the pin of the map NAME of map create. The kernel frees the map with its
last use.`,
		Args:    exactly("NAME"),
		Example: `  nfpctl map unpin scratch`,
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := e.kernel()
			if err != nil {
				return err
			}
			if !offload.ValidName(args[0]) {
				return usagef("map name %q is not of letters, digits, _ and -", args[0])
			}
			m, err := k.PinnedMap(ownMaps + "/" + args[0])
			if err != nil {
				return err
			}
			m.Close()
			return k.Unpin(ownMaps + "/" + args[0])
		},
	}
}
