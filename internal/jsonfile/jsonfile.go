// Package jsonfile reads JSON files that users edit by hand: firmware profiles, card
// models and counts. Decode is stricter than encoding/json and reports errors with
// line and column. A member that occurs twice, a member that the Go type does not
// have, and text after the value are errors. An accepted file therefore has the
// meaning that its author sees, and no member is ignored.
package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Decode reads data, one JSON value, into v, a pointer. Members of structs go by their
// names in any case, as encoding/json has it, and each may occur once. An error begins
// with the line and column.
func Decode(data []byte, v any) error {
	r := reader{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil { // the syntax, with good offsets
		return r.place(err)
	}
	if err := r.value(reflect.TypeOf(v)); err != nil {
		return err
	}
	return r.place(json.Unmarshal(data, v))
}

// reader walks a value's tokens in step with the Go type that it is for.
type reader struct {
	data []byte
	dec  *json.Decoder
}

// value reads one value for a Go type; nil is a type that takes anything.
func (r *reader) value(t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	token, err := r.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('['):
		for r.dec.More() {
			if err := r.value(element(t, reflect.Slice, reflect.Array)); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		if err := r.members(t); err != nil {
			return err
		}
	default:
		return nil
	}
	_, err = r.dec.Token() // the closing bracket
	return err
}

// members reads an object's members.
func (r *reader) members(t reflect.Type) error {
	isStruct := t != nil && t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
	var fields []reflect.StructField
	if isStruct {
		fields = reflect.VisibleFields(t)
	}
	seen := map[string]bool{}
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		same, of := name, element(t, reflect.Map)
		if isStruct {
			field, known := fieldOf(fields, name)
			if !known {
				return r.fail("member %q is unknown", name)
			}
			same, of = field.Name, field.Type
		}
		if seen[same] {
			return r.fail("member %q occurs twice", name)
		}
		seen[same] = true
		if err := r.value(of); err != nil {
			return err
		}
	}
	return nil
}

// element returns the type of what a type of one of the kinds holds.
func element(t reflect.Type, kinds ...reflect.Kind) reflect.Type {
	for _, k := range kinds {
		if t != nil && t.Kind() == k {
			return t.Elem()
		}
	}
	return nil
}

// fieldOf returns the field of a struct that encoding/json gives a member to.
func fieldOf(fields []reflect.StructField, name string) (reflect.StructField, bool) {
	for _, f := range fields {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" || !f.IsExported() {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		if strings.EqualFold(tag, name) {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// fail returns an error at the position of the last token read.
func (r *reader) fail(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{r.at(r.dec.InputOffset())}, args...)...)
}

// place prefixes an error of encoding/json with line and column.
func (r *reader) place(err error) error {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %w", r.at(syntax.Offset), err)
	case errors.As(err, &wrong):
		what := "the value"
		if wrong.Field != "" {
			what = wrong.Field
		}
		return fmt.Errorf("%s: %s is %s, want %s", r.at(wrong.Offset), what, wrong.Value, wrong.Type)
	}
	return err
}

// at returns the line and column of the last byte before an offset.
func (r *reader) at(offset int64) string {
	before := r.data[:min(max(offset-1, 0), int64(len(r.data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Sprintf("%d:%d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}
