package nfp

import (
	"reflect"
	"strings"
	"testing"
)

// Every number of a model has its source beside it.
func TestModelNamesItsSources(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			switch {
			case f.Type == reflect.TypeFor[Unit]():
				for j := range f.Type.NumField() {
					if field := f.Type.Field(j).Name; UnitSource(f.Name, field) == "" {
						t.Errorf("%s.%s has no source", f.Name, field)
					}
				}
			case f.Anonymous:
				walk(f.Name+".", f.Type)
			case f.Type.Kind() != reflect.String && f.Tag.Get("source") == "":
				t.Errorf("%s%s has no source", path, f.Name)
			}
		}
	}
	walk("", reflect.TypeFor[Model]())
}

func TestModels(t *testing.T) {
	for _, m := range Models() {
		if err := m.Check(); err != nil {
			t.Error(err)
		}
	}
	if m, err := ModelByName(""); err != nil || m.Name != DefaultModel {
		t.Errorf("default: %v %v", m, err)
	}
	if _, err := ModelByName("nosuch"); err == nil || !strings.Contains(err.Error(), "cx-2x10, cx-1x40") {
		t.Errorf("unknown card: %v", err)
	}
	for _, c := range []struct {
		spoil func(*Model)
		want  string
	}{
		{func(m *Model) { m.Workers = 0 }, "workers is 0"},
		{func(m *Model) { m.Workers = 61 }, "61 workers, it has 60 engines"},
		{func(m *Model) { m.EMEM.Banks = 3 }, "emem: banks"},
		{func(m *Model) { m.MACMpps = 0 }, "mac rate"},
	} {
		m, _ := ModelByName("")
		c.spoil(m)
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
