package driver

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Codes of XDP and of direct-action TC programs, include/uapi/linux.
const (
	XDPAborted  = 0
	XDPDrop     = 1
	XDPPass     = 2
	XDPTX       = 3
	XDPRedirect = 4

	TCOK       = 0
	TCShot     = 2
	TCStolen   = 4
	TCRedirect = 7
)

// IsTC reports whether programs of the type return TC codes: filters in direct action
// mode, and actions.
func IsTC(t ebpf.ProgramType) bool { return t == ebpf.SchedCLS || t == ebpf.SchedACT }

// ResultWord returns the word that a program of type t leaves in A0 for return code
// r0.
func ResultWord(p *firmware.Profile, t ebpf.ProgramType, r0 uint32) uint32 {
	if IsTC(t) {
		return p.TCWord(r0)
	}
	return p.XDPWord(r0)
}

// codeOf returns the code that a result word stands for. It is the inverse of
// ResultWord, which is not one to one: codeOf returns the smallest code that gives the
// word (TC_ACT_OK for all that pass). A word that no code gives is an error.
func codeOf(p *firmware.Profile, t ebpf.ProgramType, word uint32) (uint32, error) {
	codes := uint32(XDPRedirect)
	if IsTC(t) {
		codes = TCRedirect
	}
	for code := uint32(0); code <= codes; code++ {
		if ResultWord(p, t, code) == word {
			return code, nil
		}
	}
	return 0, fmt.Errorf("no return code gives result word 0x%08x", word)
}

// Canonical returns the smallest code with the same result word as r0, so that verdicts
// of different engines can be compared.
func Canonical(p *firmware.Profile, t ebpf.ProgramType, r0 uint32) uint32 {
	code, err := codeOf(p, t, ResultWord(p, t, r0))
	if err != nil {
		return r0
	}
	return code
}
