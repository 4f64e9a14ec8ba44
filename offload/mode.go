package offload

import (
	"fmt"
	"slices"
	"strings"
)

// A Mode says where in the way of a packet a program stands, in bpftool's words. Of
// the XDP modes a port may have an offloaded program beside one of the other two.
type Mode string

const (
	XDPOffload Mode = "xdpoffload" // XDP in the card
	XDPDriver  Mode = "xdpdrv"     // XDP in the driver, on the host
	XDPGeneric Mode = "xdpgeneric" // XDP in the kernel's stack, on the host
	TCOffload  Mode = "tcoffload"  // cls_bpf on ingress with skip_sw: in the card or not at all
	TCSoftware Mode = "tcsoftware" // cls_bpf on ingress with skip_hw: on the host
)

// Modes are all there are. None stands for "whatever is possible": nothing falls back
// silently.
var modes = []Mode{XDPOffload, XDPDriver, XDPGeneric, TCOffload, TCSoftware}

// Modes lists all modes.
func Modes() []Mode { return slices.Clone(modes) }

// ParseMode reads a mode's name; empty is XDPOffload.
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
