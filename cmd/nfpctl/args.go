package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/offload"
)

// words holds arguments in bpftool's syntax: keywords, each followed by its values.
type words []string

// next removes and returns the next word, or "" if there is none.
func (w *words) next() string {
	if len(*w) == 0 {
		return ""
	}
	first := (*w)[0]
	*w = (*w)[1:]
	return first
}

// value removes and returns the value of a keyword that was just read.
func (w *words) value(keyword string) (string, error) {
	if len(*w) == 0 {
		return "", usagef("%s needs a value", keyword)
	}
	return w.next(), nil
}

// number removes and returns the numeric value of a keyword.
func (w *words) number(keyword string) (uint32, error) {
	text, err := w.value(keyword)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return 0, usagef("%s %q is no number of 32 bits", keyword, text)
	}
	return uint32(n), nil
}

// end returns an error if there are more words.
func (w words) end() error {
	if len(w) > 0 {
		return usagef("%q is one word too many", w[0])
	}
	return nil
}

// parsePort parses PORT: an interface, or NETNS/INTERFACE; the namespace may be a
// path.
func parsePort(s string) (offload.Ref, error) {
	netns, name := "", s
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		netns, name = s[:i], s[i+1:]
		if netns == "" {
			return offload.Ref{}, usagef("port %q: no namespace before the slash", s)
		}
	}
	if name == "" {
		return offload.Ref{}, usagef("port %q has no interface name", s)
	}
	return offload.Ref{Netns: netns, Name: name}, nil
}

// where holds the values of "dev PORT" and "mode MODE".
type where struct {
	ports []offload.Ref
	mode  offload.Mode // empty if not given
}

// parse parses words to the end.
func (p *where) parse(w words) error {
	for len(w) > 0 {
		switch keyword := w.next(); keyword {
		case "dev":
			text, err := w.value(keyword)
			if err != nil {
				return err
			}
			ref, err := parsePort(text)
			if err != nil {
				return err
			}
			p.ports = append(p.ports, ref)
		case "mode":
			text, err := w.value(keyword)
			if err != nil {
				return err
			}
			if p.mode, err = parseMode(text); err != nil {
				return err
			}
		default:
			return usagef("%q is neither dev PORT nor mode MODE", keyword)
		}
	}
	return nil
}

// parseMode parses a mode, which is required.
func parseMode(s string) (offload.Mode, error) {
	if s == "" {
		return "", usagef("a mode is missing")
	}
	m, err := offload.ParseMode(s)
	if err != nil {
		return "", usageError{err}
	}
	return m, nil
}

// findPort returns the port of a name.
func findPort(k offload.Kernel, ref offload.Ref) (*offload.Port, error) {
	all, err := k.Ports(ref.Netns, ref.Name)
	if err != nil {
		return nil, err
	}
	if len(all) > 0 {
		return &all[0], nil
	}
	if on, ok := k.(interface{ Elsewhere(name, but string) string }); ok {
		if netns := on.Elsewhere(ref.Name, ref.Netns); netns != "" {
			return nil, &offload.Error{Op: "find port", Object: ref.String(), Reason: "foreign-namespace", Msg: fmt.Sprintf("it is in namespace %s: %s/%s", netns, netns, ref.Name)}
		}
	}
	return nil, &offload.Error{Op: "find port", Object: ref.String(), Reason: "no-port", Msg: "no such interface"}
}

// maxObject bounds an object file, in bytes, as package offload does.
const maxObject = 64 << 20

// source is the contents of an OBJ argument.
type source struct {
	data    []byte
	path    string
	program string // name given in the argument
}

// readSource reads OBJ: FILE or FILE:PROGRAM, "-" for standard input. A colon belongs to
// the file's name if there is such a file.
func readSource(cmd *cobra.Command, arg string) (*source, error) {
	s := &source{path: arg}
	if arg == "-" {
		var err error
		s.data, err = readAll(cmd.InOrStdin(), arg)
		return s, err
	}
	f, err := os.Open(arg)
	if i := strings.LastIndexByte(arg, ':'); err != nil && i > 0 && i+1 < len(arg) {
		if g, err2 := os.Open(arg[:i]); err2 == nil {
			s.path, s.program = arg[:i], arg[i+1:]
			f, err = g, nil
		}
	}
	if err != nil {
		return nil, &offload.Error{Op: "read", Object: arg, Reason: "bad-object", Msg: err.Error(), Err: err}
	}
	defer f.Close()
	s.data, err = readAll(f, s.path)
	return s, err
}

func readAll(r io.Reader, path string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	if err == nil && len(data) > maxObject {
		err = fmt.Errorf("it is larger than %d bytes", maxObject)
	}
	if err != nil {
		return nil, &offload.Error{Op: "read", Object: path, Reason: "bad-object", Msg: err.Error(), Err: err}
	}
	return data, nil
}

// verb returns a command's name without that of the program, which stands before every
// message.
func verb(cmd *cobra.Command) string {
	_, words, _ := strings.Cut(cmd.CommandPath(), " ")
	return words
}

// atLeast requires n arguments or more, whose names are for the message.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= len(names) {
			return nil
		}
		return usagef("%s needs %s", verb(cmd), strings.Join(names, " "))
	}
}

// exactly requires n arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usagef("%s takes %s, got %s", verb(cmd), cmp.Or(strings.Join(names, " "), "no arguments"), cmp.Or(strings.Join(args, " "), "nothing"))
	}
}

// group returns a command that only has subcommands.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; nfpctl help %s lists them", args[0], use)
			}
			return cmd.Help()
		},
	}
	c.AddCommand(verbs...)
	return c
}
