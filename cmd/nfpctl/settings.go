package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/offload"
)

// settingFlags are the flags that give an object its settings.
type settingFlags struct {
	given offload.Settings
	unset bool
}

func (s *settingFlags) add(cmd *cobra.Command, reload bool) {
	f := cmd.Flags()
	f.StringVar(&s.given.Type, "type", "", "`TYPE` of the programs, whatever their sections are called: xdp or tc")
	f.StringArrayVar(&s.given.Set, "set", nil, "give a global variable, or NAME.member or NAME[2] of it, a value, as `NAME=VALUE` (repeatable)")
	f.StringArrayVar(&s.given.Entries, "entries", nil, "give a map so many entries, as `MAP=N` (repeatable)")
	if reload {
		f.BoolVar(&s.unset, "unset", false, "drop the settings that the deployment has")
	}
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(settingTypes, cobra.ShellCompDirectiveNoFileComp))
}

// over returns the settings of the flags, and of the deployment where there is no such flag.
func (s *settingFlags) over(now offload.Settings) (offload.Settings, error) {
	if s.unset {
		now = offload.Settings{}
	}
	if s.given.Type != "" {
		now.Type = s.given.Type
	}
	if len(s.given.Set) > 0 {
		now.Set = s.given.Set
	}
	if len(s.given.Entries) > 0 {
		now.Entries = s.given.Entries
	}
	if err := checkSettings(s.given); err != nil {
		return now, usagef("--%w", err)
	}
	return now, nil
}

// settingTypes are the program types that ports run, as --type takes them.
var settingTypes = []string{"xdp", "tc"}

func checkSettings(s offload.Settings) error {
	if s.Type != "" && !slices.Contains(settingTypes, s.Type) {
		return fmt.Errorf("type is xdp or tc, not %.80q", s.Type)
	}
	return nil
}

// flagsOf writes settings as flags, each after a space, for a shell.
func flagsOf(s offload.Settings) string {
	var b strings.Builder
	add := func(flag, value string) {
		if strings.ContainsFunc(value, func(r rune) bool { return !strings.ContainsRune(plainWord, r) }) {
			value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		b.WriteString(" --" + flag + " " + value)
	}
	if s.Type != "" {
		add("type", s.Type)
	}
	for _, v := range s.Set {
		add("set", v)
	}
	for _, v := range s.Entries {
		add("entries", v)
	}
	return b.String()
}

// plainWord are the characters that mean themselves to a shell.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%"

// readOptions are the reader's options for a deployment's settings.
func readOptions(s offload.Settings) (*object.Options, error) {
	opt := &object.Options{Set: s.Set, Entries: s.Entries}
	if err := checkSettings(s); err != nil {
		return nil, &offload.Error{Op: "read", Reason: "bad-setting", Msg: err.Error()}
	}
	if s.Type != "" {
		opt.Type, _ = asmtext.ProgramType(s.Type)
	}
	return opt, nil
}

// openObject reads what the journal has of an object, ELF or text, and gives it its settings.
func openObject(data []byte, settings offload.Settings) (*ebpf.CollectionSpec, error) {
	opt, err := readOptions(settings)
	if err != nil {
		return nil, err
	}
	o, err := object.Read("object", data, opt)
	if err != nil {
		return nil, &offload.Error{Op: "read", Reason: readReason(err), Msg: reasonText(err)}
	}
	return o.Spec, nil
}

// readReason is the reason for a file that the reader refused.
func readReason(err error) string {
	var e *object.Error
	if errors.As(err, &e) && e.Reason == "bad-setting" {
		return e.Reason
	}
	return "bad-object"
}
