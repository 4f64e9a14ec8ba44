package offload

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// This file carries maps from one generation to the next. Maps outlive programs. If a
// map of the next generation has the name and shape of one of the current generation,
// it is that map: its entries and counters continue while packets flow. A map with
// another shape needs a Migration, or the caller's permission to start empty. A data
// section is carried only if both objects give it the same initial contents: otherwise
// the program would see constants and variables of the previous one.

// ShapeOf returns the shape of the map that a spec creates.
func ShapeOf(spec *ebpf.MapSpec) Shape {
	return Shape{Type: MapTypeName(spec.Type), Key: spec.KeySize, Value: spec.ValueSize, Entries: spec.MaxEntries, Flags: spec.Flags}
}

// String formats a shape like "hash 4:8 x 100".
func (s Shape) String() string {
	text := fmt.Sprintf("%s %d:%d x %d", s.Type, s.Key, s.Value, s.Entries)
	if s.Flags != 0 {
		text += fmt.Sprintf(" flags %#x", s.Flags)
	}
	return text
}

// mapsOf returns the specs of the maps that a program uses, sorted by name.
func mapsOf(prog *ebpf.ProgramSpec, coll *ebpf.CollectionSpec) ([]*ebpf.MapSpec, error) {
	seen := map[string]*ebpf.MapSpec{}
	for i := range prog.Instructions {
		ins := &prog.Instructions[i]
		if !ins.IsLoadFromMap() {
			continue
		}
		name := ins.Reference()
		spec := coll.Maps[name]
		if spec == nil {
			return nil, &Error{Op: "read", Object: prog.Name, Reason: "map-missing", Msg: fmt.Sprintf("the program uses map %.80q, which the object does not define", name)}
		}
		seen[name] = spec
	}
	all := make([]*ebpf.MapSpec, 0, len(seen))
	for name, spec := range seen {
		if spec.Name != name {
			c := spec.Copy()
			c.Name = name
			spec = c
		}
		all = append(all, withDefaults(spec))
	}
	slices.SortFunc(all, func(a, b *ebpf.MapSpec) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// withDefaults completes the definition of an array of perf events as loaders do: by
// default it has one element for each possible CPU of the host.
func withDefaults(spec *ebpf.MapSpec) *ebpf.MapSpec {
	if spec.Type != ebpf.PerfEventArray || spec.KeySize != 0 && spec.ValueSize != 0 && spec.MaxEntries != 0 {
		return spec
	}
	c := spec.Copy()
	c.KeySize, c.ValueSize = cmp.Or(c.KeySize, 4), cmp.Or(c.ValueSize, 4)
	if n, err := ebpf.PossibleCPU(); err == nil {
		c.MaxEntries = cmp.Or(c.MaxEntries, uint32(n))
	}
	return c
}

// A Carry is the fate of a map in a change.
type Carry struct {
	Map  string `json:"map"`
	Fate string `json:"fate"` // new, carried, migrated, fresh, lost (it starts empty), dropped, or refused
	Old  *Shape `json:"old,omitempty"`
	New  *Shape `json:"new,omitempty"`
}

// carries decides the fate of each map. Only a map in before, which still exists, can
// be carried, and no data section that is stale.
func carries(cur *Generation, before map[string]Map, stale map[string]bool, specs []*ebpf.MapSpec, onCard bool, c *Change) []Carry {
	var all []Carry
	old := map[string]Shape{}
	wasOnCard := false
	if cur != nil {
		wasOnCard = cur.Deployment.Mode.Offloaded()
		for _, e := range cur.Maps {
			old[e.Name] = e.Shape
		}
	}
	for _, spec := range specs {
		shape := ShapeOf(spec)
		was, had := old[spec.Name]
		delete(old, spec.Name)
		carry := Carry{Map: spec.Name, New: &shape}
		if had {
			carry.Old = &was
		}
		switch {
		case !had:
			carry.Fate = "new"
		case slices.Contains(c.Fresh, spec.Name), stale[spec.Name]:
			carry.Fate = "fresh"
		case before[spec.Name] == nil:
			carry.Fate = "lost"
		case was == shape && (wasOnCard == onCard || helper.OffloadNeutral(spec.Type)):
			carry.Fate = "carried"
		case c.Migrate[spec.Name] != nil:
			carry.Fate = "migrated"
		default:
			carry.Fate = "refused"
		}
		all = append(all, carry)
	}
	if cur != nil {
		for _, e := range cur.Maps {
			if was, still := old[e.Name]; still {
				all = append(all, Carry{Map: e.Name, Fate: "dropped", Old: &was})
			}
		}
	}
	return all
}

// prepareMaps carries over or creates the maps of the next generation, and pins them.
func (t *transition) prepareMaps(on *Port) error {
	specs, err := mapsOf(t.spec, t.coll)
	if err != nil {
		return err
	}
	next := t.record.Next
	fates := carries(t.record.Current, t.before, t.stale(t.record.Current, next.Deployment, specs), specs, on != nil, t.change)
	for i, spec := range specs {
		carry := fates[i]
		if carry.Fate == "refused" {
			where := ""
			if *carry.Old == *carry.New {
				where = ", in another memory"
			}
			return &Error{Op: t.op, Object: t.name, Reason: "map-shape", Msg: fmt.Sprintf("map %s was %v and is to be %v%s", spec.Name, carry.Old, carry.New, where)}
		}
		m := t.before[spec.Name]
		if carry.Fate != "carried" {
			if m, err = t.createMap(spec, on); err != nil {
				return err
			}
			t.made[spec.Name], t.close = true, append(t.close, m)
		}
		t.maps[spec.Name] = m
		if err := t.kernel.Pin(m, mapPin(next, spec.Name)); err != nil {
			return err
		}
		next.Maps = append(next.Maps, MapEntry{Name: spec.Name, ID: m.ID(), Shape: *carry.New, Carried: carry.Fate == "carried", Lost: carry.Fate == "lost"})
		t.logf("%s %s: map %s: %s, id %d", t.op, t.name, spec.Name, carry.Fate, m.ID())
	}
	return nil
}

// stale returns the data sections among specs, which are those of d's object, whose
// initial contents differ from those in the object of generation g.
func (s *session) stale(g *Generation, d *Deployment, specs []*ebpf.MapSpec) map[string]bool {
	all := map[string]bool{}
	if g == nil || bytes.Equal(g.Deployment.Object, d.Object) && g.Deployment.Settings.Equal(d.Settings) {
		return all
	}
	var was map[string]*ebpf.MapSpec
	for _, spec := range specs {
		if !strings.HasPrefix(spec.Name, ".") {
			continue
		}
		if was == nil {
			was = map[string]*ebpf.MapSpec{}
			if coll, _, err := g.Deployment.open(s.opt.Open); err == nil { // with no object, none are known
				was = coll.Maps
			}
		}
		old := was[spec.Name]
		all[spec.Name] = old == nil || !reflect.DeepEqual(old.Contents, spec.Contents)
	}
	return all
}

// survivors opens the maps of a generation that still exist: by their pins or, if the
// pins were removed, through the generation's program. A map with another id is a
// different map.
func (s *session) survivors(g *Generation, prog Program) (all map[string]Map, err error) {
	all = map[string]Map{}
	if g == nil {
		return all, nil
	}
	if boot := s.kernel.Boot(); g.Boot != "" && boot != "" && g.Boot != boot {
		return all, nil
	}
	defer func() {
		if err != nil {
			for _, m := range all {
				m.Close()
			}
		}
	}()
	var has []uint32
	if prog != nil {
		info, err := prog.Info()
		if err != nil {
			return all, err
		}
		has = info.Maps
	}
	for _, e := range g.Maps {
		m, err := s.kernel.PinnedMap(mapPin(g, e.Name))
		if ReasonOf(err) == "no-object" && slices.Contains(has, e.ID) {
			m, err = s.kernel.Map(e.ID)
		}
		if ReasonOf(err) == "no-object" {
			continue
		}
		if err != nil {
			return all, err
		}
		info, err := m.Info()
		if err != nil {
			m.Close()
			return all, err
		}
		if info.Gone || info.ID != e.ID {
			m.Close()
			continue
		}
		all[e.Name] = m
	}
	return all, nil
}

// createMap creates a map. It retries for freeTime, because the kernel frees maps in a
// worker and their space on the card stays occupied until then.
//
// A map of a type that the kernel calls neutral stays in host memory: a program in the
// card's hardware refers to it, and the driver writes the data that the card sends.
func (t *transition) createMap(spec *ebpf.MapSpec, on *Port) (Map, error) {
	if helper.OffloadNeutral(spec.Type) {
		on = nil
	}
	end := time.Now().Add(min(t.opt.Patience, freeTime))
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		m, err := t.kernel.CreateMap(spec, on)
		if on == nil || ReasonOf(err) != "card-full" || !time.Now().Before(end) {
			return m, err
		}
		time.Sleep(wait)
	}
}

// freeTime is how long the kernel may take to free maps: usually milliseconds, but
// longer on a busy machine.
const freeTime = time.Second

// fillMaps writes the initial contents that the object defines for new maps.
func (t *transition) fillMaps() error {
	for _, e := range t.record.Next.Maps {
		if !t.made[e.Name] {
			continue
		}
		m, spec := t.maps[e.Name], t.coll.Maps[e.Name]
		if t.record.Next.Deployment.Mode.Offloaded() && spec.Type == ebpf.Array {
			if err := zeroArray(m, spec); err != nil {
				return err
			}
		}
		for _, kv := range spec.Contents {
			key, err := entryBytes(kv.Key, int(spec.KeySize))
			if err != nil {
				return badContents(e.Name, "key", err)
			}
			value, err := entryBytes(kv.Value, int(spec.ValueSize))
			if err != nil {
				return badContents(e.Name, "value", err)
			}
			if err := m.Update(key, value, ebpf.UpdateAny); err != nil {
				return err
			}
		}
	}
	return nil
}

func badContents(name, what string, err error) error {
	return &Error{Op: "fill map", Object: name, Reason: "map-value", Msg: fmt.Sprintf("initial %s: %v", what, err)}
}

// zeroArray writes each element of an array, for firmware that keeps arrays in its
// hash table: without it programs would not find the elements.
func zeroArray(m Map, spec *ebpf.MapSpec) error {
	if _, err := m.Lookup(make([]byte, 4)); ReasonOf(err) != "no-entry" {
		return err
	}
	const chunk = 1 << 12
	values := make([]byte, chunk*int(spec.ValueSize))
	var keys []byte
	for i := uint64(0); i < uint64(spec.MaxEntries); i++ {
		keys = binary.NativeEndian.AppendUint32(keys, uint32(i))
		if n := len(keys) / 4; n == chunk || i+1 == uint64(spec.MaxEntries) {
			if _, err := m.Fill(keys, values[:n*int(spec.ValueSize)]); err != nil {
				return err
			}
			keys = keys[:0]
		}
	}
	return nil
}

// entryBytes returns a key or value of a spec's contents as bytes in the host's order.
func entryBytes(v any, size int) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		var buf bytes.Buffer
		if reflect.ValueOf(v).Kind() == reflect.String {
			return nil, fmt.Errorf("program or map %q cannot be put into a map here", v)
		}
		if err := binary.Write(&buf, binary.NativeEndian, v); err != nil {
			return nil, err
		}
		b = buf.Bytes()
	}
	if len(b) != size {
		return nil, fmt.Errorf("%d bytes, the map takes %d", len(b), size)
	}
	return b, nil
}

// migrate runs the caller's functions on maps whose shape changed.
func (t *transition) migrate(ctx context.Context) error {
	for _, e := range t.record.Next.Maps {
		old, migration := t.before[e.Name], t.change.Migrate[e.Name]
		if old == nil || migration == nil || e.Carried || slices.Contains(t.change.Fresh, e.Name) {
			continue
		}
		if err := migration(ctx, old, t.maps[e.Name]); err != nil {
			return &Error{Op: t.op, Object: t.name, Reason: "migration-failed", Msg: fmt.Sprintf("map %s: %s", e.Name, oneLine(err)), Err: err}
		}
	}
	return nil
}

// Resize is a Migration that keeps keys, and truncates values or extends them with
// zeros. Keys must have the same size. Entries that no longer fit are an error.
func Resize(ctx context.Context, old, new Map) error {
	from, err := old.Info()
	if err != nil {
		return err
	}
	to, err := new.Info()
	if err != nil {
		return err
	}
	if from.Shape.Key != to.Shape.Key {
		return fmt.Errorf("keys of %d bytes cannot become keys of %d", from.Shape.Key, to.Shape.Key)
	}
	var keys, values []byte
	err = old.Dump(func(key, value []byte) bool {
		keys = append(keys, key...)
		value = value[:min(len(value), int(to.Shape.Value))]
		values = append(append(values, value...), make([]byte, int(to.Shape.Value)-len(value))...)
		return ctx.Err() == nil
	})
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// All elements of an array exist, used or not; a shorter array loses the last
	// ones.
	if max := int(to.Shape.Entries); from.Shape.Type == "array" && len(keys) > 4*max {
		keys, values = keys[:4*max], values[:max*int(to.Shape.Value)]
	}
	_, err = new.Fill(keys, values)
	return err
}
