package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

func newPlugin() *cobra.Command {
	var t target
	var engine string
	cmd := &cobra.Command{
		Use:   "plugin [MEMORY]",
		Short: "run one program for the bpf_conformance runner",
		Long: `Reads a program as base16 text from standard input and runs it on MEMORY, bytes
in hex: r1 is its address and r2 its length. Prints r0's 64 bits in hex. A
program that the verifier cannot prove still runs, under bounds checks and a
watchdog. Instructions mean what RFC 9669 says, on both engines, also where Linux
refuses them: a constant shift is masked to the operand's width, division by the
constant 0 gives 0. Not run are calls through a register (callx), calls of kernel
functions, and loads of addresses of maps and variables, of which it has none.`,
		Example: `  echo b7000000020000009500000000000000 | nfpsim plugin`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("plugin takes one argument at most (MEMORY), got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var mem []byte
			if len(args) == 1 {
				var err error
				if mem, err = parseHex(args[0]); err != nil {
					return usagef("memory: %w", err)
				}
			}
			if engine != "sim" && engine != "interp" {
				return usagef("--engine is sim or interp, not %q", engine)
			}
			p, err := t.profile()
			if err != nil {
				return err
			}
			spec, err := readRaw(cmd.InOrStdin())
			if err != nil {
				return err
			}
			e, err := newRawEngine(engine, spec, p, len(mem))
			if err != nil {
				return err
			}
			r0, err := e.raw(mem)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%x\n", r0)
			return err
		},
	}
	t.flags(cmd)
	cmd.Flags().Lookup("firmware").DefValue = "unlimited"
	t.firmware = "unlimited"
	cmd.Flags().StringVar(&engine, "engine", "sim", "`ENGINE` that runs the program: sim or interp")
	return cmd
}

// readRaw reads a program of 8-byte instructions in base16.
func readRaw(r io.Reader) (*ebpf.ProgramSpec, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(string(text), elfMagic) {
		return nil, errors.New("program: this is an ELF object; plugin reads the program's bytes in base16, as xxd -p prints a section that llvm-objcopy -O binary wrote")
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		return nil, fmt.Errorf("program: not base16, as xxd -p prints it: %w", err)
	}
	if len(data) == 0 || len(data)%8 != 0 {
		return nil, fmt.Errorf("program: %d bytes, want a multiple of 8", len(data))
	}
	insns, err := asm.AppendInstructions(nil, strings.NewReader(string(data)), binary.LittleEndian, "linux")
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	return &ebpf.ProgramSpec{Name: "raw", Type: ebpf.UnspecifiedProgram, Instructions: insns, License: "GPL"}, nil
}

// malformed are the reasons for which no engine runs a raw program: it has an
// instruction that RFC 9669 does not have, or that no engine has.
var malformed = []string{"bad-opcode", "reserved-field", "feature-unsupported", "indirect-call"}

// newRawEngine readies a raw program for memory of size bytes. One that cannot be
// proved runs nevertheless: the engine checks every access and limits the time.
// Constants that Linux refuses mean what RFC 9669 says: a shift's amount is masked,
// division by 0 gives 0.
func newRawEngine(name string, spec *ebpf.ProgramSpec, p *firmware.Profile, size int) (engine, error) {
	c, faults := code.New(spec, nil)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	facts, err := verify.Verify(c, &verify.Options{MemSize: size, Unproven: true})
	var refused *verify.Rejection
	if errors.As(err, &refused) {
		for _, r := range refused.Reasons {
			if slices.Contains(malformed, r.Reason) {
				return nil, err
			}
		}
	}
	switch name {
	case "interp":
		m, err := interp.New(c, nil, nil)
		return &interpEngine{machine: m, profile: p, byName: mapSet{}}, err
	case "sim":
		if facts == nil {
			return nil, err
		}
		return loadAll([]*verify.Facts{facts}, p)
	}
	return nil, usagef("--engine is sim or interp, not %q", name)
}
