package offload

import (
	"fmt"
	"slices"
	"strings"
)

// A Mode is the place in a packet's path at which a program runs, in bpftool's words.
// A port may have an offloaded XDP program together with one in one of the other two
// XDP modes.
type Mode string

const (
	XDPOffload Mode = "xdpoffload" // XDP in the card
	XDPDriver  Mode = "xdpdrv"     // XDP in the driver, on the host
	XDPGeneric Mode = "xdpgeneric" // XDP in the kernel's stack, on the host
	TCOffload  Mode = "tcoffload"  // cls_bpf on ingress with skip_sw: only in the card
	TCSoftware Mode = "tcsoftware" // cls_bpf on ingress with skip_hw: on the host
)

// modes holds all modes. None of them falls back to another: if a mode is not
// possible, loading fails.
var modes = []Mode{XDPOffload, XDPDriver, XDPGeneric, TCOffload, TCSoftware}

// Modes lists all modes.
func Modes() []Mode { return slices.Clone(modes) }

// ParseMode parses a mode's name; empty is XDPOffload.
func ParseMode(s string) (Mode, error) {
	if s == "" {
		return XDPOffload, nil
	}
	if m := Mode(s); slices.Contains(modes, m) {
		return m, nil
	}
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = string(m)
	}
	return "", fmt.Errorf("mode %q is none of %s", s, strings.Join(names, ", "))
}

// Offloaded reports whether programs of the mode run in the card.
func (m Mode) Offloaded() bool { return m == XDPOffload || m == TCOffload }

// TC reports whether the mode is traffic control's.
func (m Mode) TC() bool { return m == TCOffload || m == TCSoftware }
