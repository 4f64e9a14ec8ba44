package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nfpkit/nfpkit/offload"
)

// state is a file of desired deployments. It is read from YAML's own tree and not into
// a structure, so that each error names its line and nothing is ignored. Unknown and
// duplicate keys, values of another type, and invalid numbers are errors.
type state struct {
	Deployments []stateEntry
}

type stateEntry struct {
	Line       int // of the file, from 1
	Name       string
	Object     string // path, relative to the file's directory; FILE:PROGRAM names a program
	Program    string
	Mode       offload.Mode
	Ports      []offload.Ref
	Settings   offload.Settings
	Migrate    []string
	Fresh      []string
	Window     time.Duration
	MaxDrop    float64
	MaxAborted float64
}

// maxState bounds a file of deployments, in bytes.
const maxState = 1 << 20

// parseState parses YAML and converts a panic of the library to an error.
func parseState(data []byte) (s *state, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("its reader failed: %.200v", p)
		}
	}()
	if len(data) > maxState {
		return nil, fmt.Errorf("it is larger than %d bytes", maxState)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, &lineError{1, `it is empty; write "deployments: []" if nothing should run`}
	} else if err != nil {
		return nil, yamlError(err)
	}
	var more yaml.Node
	if err := d.Decode(&more); err == nil {
		return nil, &lineError{more.Line, "it has more than one document"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(err)
	}
	if s, err = readDocument(doc.Content[0]); err != nil {
		return nil, err
	}
	return s, nil
}

// yamlError returns a syntax error without the library's name.
func yamlError(err error) error {
	text := strings.TrimPrefix(oneLine(err), "yaml: ")
	var line int
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
		return &lineError{line, text}
	}
	return errors.New(text)
}

// A lineError is an error in a line of a file, which a caller names before it.
type lineError struct {
	line int // from 1
	msg  string
}

func (e *lineError) Error() string { return fmt.Sprintf("%d: %s", e.line, e.msg) }

func at(n *yaml.Node, format string, args ...any) error {
	return &lineError{n.Line, fmt.Sprintf(format, args...)}
}

// kinds names YAML's kinds of nodes.
var kinds = map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value", yaml.AliasNode: "an alias"}

// want checks a node's kind.
func want(n *yaml.Node, what string, kind yaml.Kind) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return at(n, "%s is an alias (*%s); aliases are not read here", what, n.Value)
	case n.Kind == kind:
		return nil
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return at(n, "%s is empty, want %s", what, kinds[kind])
	}
	return at(n, "%s is %s, want %s", what, kinds[n.Kind], kinds[kind])
}

// members calls set for each key of a mapping, in the file's order.
func members(n *yaml.Node, what string, known []string, set func(key string, value *yaml.Node) error) error {
	if err := want(n, what, yaml.MappingNode); err != nil {
		return err
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		if key.Kind != yaml.ScalarNode {
			return at(key, "%s: a key is %s", what, kinds[key.Kind])
		}
		if line, twice := seen[name]; twice {
			return at(key, "%s: %q is there twice, the first time in line %d", what, name, line)
		}
		seen[name] = key.Line
		known := strings.Join(known, ", ")
		if !strings.Contains(" "+known+",", " "+name+",") || strings.ContainsAny(name, " ,") || name == "" {
			return at(key, "%s has no member %.80q; it may have %s", what, name, known)
		}
		if err := set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func readDocument(n *yaml.Node) (*state, error) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, &lineError{1, `it is empty; write "deployments: []" if nothing should run`}
	}
	s, found := &state{}, false
	err := members(n, "the file", []string{"deployments"}, func(_ string, list *yaml.Node) error {
		found = true
		if err := want(list, "deployments", yaml.SequenceNode); err != nil {
			return err
		}
		for i, n := range list.Content {
			e, err := readEntry(n, fmt.Sprintf("deployment %d", i))
			if err != nil {
				return err
			}
			for _, o := range s.Deployments {
				if o.Name == e.Name {
					return at(n, "deployment %d: the name is there twice, the first time in line %d", i, o.Line)
				}
			}
			s.Deployments = append(s.Deployments, *e)
		}
		return nil
	})
	if err == nil && !found {
		err = at(n, "it has no member deployments; write \"deployments: []\" if nothing should run")
	}
	return s, err
}

// entryMembers lists the members of a deployment.
var entryMembers = []string{"name", "object", "program", "mode", "ports", "type", "set", "entries", "migrate", "fresh", "window", "max_drop", "max_aborted"}

func readEntry(n *yaml.Node, what string) (*stateEntry, error) {
	e := &stateEntry{Line: n.Line, Mode: offload.XDPOffload}
	err := members(n, what, entryMembers, func(key string, v *yaml.Node) (err error) {
		what := what + ": " + key
		switch key {
		case "name":
			if e.Name, err = text(v, what); err == nil && !offload.ValidName(e.Name) {
				err = at(v, "%s %.80q: names are 1 to 64 letters and digits, with _ and - after the first", what, e.Name)
			}
		case "object":
			if e.Object, err = text(v, what); e.Object == "-" {
				err = at(v, "object \"-\": standard input is not read here")
			}
		case "program":
			e.Program, err = text(v, what)
		case "mode":
			var word string
			if word, err = text(v, what); err == nil {
				if e.Mode, err = offload.ParseMode(word); err != nil {
					err = at(v, "%s: %v", what, err)
				}
			}
		case "ports":
			e.Ports, err = portList(v, what)
		case "type":
			if e.Settings.Type, err = text(v, what); err == nil {
				err = checkSettings(e.Settings)
			}
			if err != nil {
				err = at(v, "%s: %v", what, err)
			}
		case "set":
			e.Settings.Set, err = pairs(v, what, "NAME=VALUE")
		case "entries":
			e.Settings.Entries, err = pairs(v, what, "MAP=N")
		case "migrate":
			e.Migrate, err = texts(v, what)
		case "fresh":
			e.Fresh, err = texts(v, what)
		case "window":
			e.Window, err = span(v, what)
		case "max_drop":
			e.MaxDrop, err = share(v, what)
		case "max_aborted":
			e.MaxAborted, err = share(v, what)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case e.Name == "":
		return nil, at(n, "%s: it has no name", what)
	case e.Object == "":
		return nil, at(n, "%s: it has no object", what)
	case len(e.Ports) == 0:
		return nil, at(n, "%s: it has no ports", what)
	}
	return e, nil
}

// text returns a value as written. A number or yes is a text here, but an empty value
// is not.
func text(n *yaml.Node, what string) (string, error) {
	if err := want(n, what, yaml.ScalarNode); err != nil {
		return "", err
	}
	if n.Tag == "!!null" || n.Value == "" {
		return "", at(n, "%s is empty", what)
	}
	return n.Value, nil
}

func texts(n *yaml.Node, what string) ([]string, error) {
	if err := want(n, what, yaml.SequenceNode); err != nil {
		return nil, err
	}
	var all []string
	for _, v := range n.Content {
		t, err := text(v, what)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// pairs is a list of words with an equals sign in each.
func pairs(n *yaml.Node, what, form string) ([]string, error) {
	all, err := texts(n, what)
	for i, word := range all {
		if name, _, ok := strings.Cut(word, "="); !ok || name == "" {
			return nil, at(n.Content[i], "%s: %.80q is not %s", what, word, form)
		}
	}
	return all, err
}

func portList(n *yaml.Node, what string) ([]offload.Ref, error) {
	names, err := texts(n, what)
	if err != nil {
		return nil, err
	}
	var all []offload.Ref
	for i, name := range names {
		ref, err := parsePort(name)
		if err != nil {
			return nil, at(n.Content[i], "%s: %v", what, err)
		}
		for _, o := range all {
			if o == ref {
				return nil, at(n.Content[i], "%s: port %s is there twice", what, ref)
			}
		}
		all = append(all, ref)
	}
	return all, nil
}

// span parses a duration such as 10s.
func span(n *yaml.Node, what string) (time.Duration, error) {
	word, err := text(n, what)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(word)
	switch {
	case err != nil:
		return 0, at(n, "%s %.80q is no duration, such as 10s or 500ms", what, word)
	case d < 0:
		return 0, at(n, "%s %s is negative", what, word)
	}
	return d, nil
}

// share parses a number from 0 to 1.
func share(n *yaml.Node, what string) (float64, error) {
	word, err := text(n, what)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(word, 64)
	if err != nil || !isShare(v) || n.Tag != "!!float" && n.Tag != "!!int" {
		return 0, at(n, "%s: share %.80s is not from 0 to 1", what, word)
	}
	return v, nil
}

// isShare reports whether v is from 0 to 1, which NaN is not.
func isShare(v float64) bool { return !math.IsNaN(v) && v >= 0 && v <= 1 }
