package main

import (
	"context"
	"fmt"

	"github.com/nfpkit/nfpkit/offload"
)

// health judges a program on trial by the card's verdict counters.
type health struct {
	kernel     offload.Kernel
	ports      []offload.Ref
	maxDrop    float64 // maximum share of packets; 0 allows any
	maxAborted float64
	before     map[offload.Ref]offload.Verdicts
}

// enough is the number of packets from which a share of them is significant.
const enough = 100

// check counts from its first call on.
func (h *health) check(context.Context) error {
	first := h.before == nil
	if first {
		h.before = map[offload.Ref]offload.Verdicts{}
	}
	for _, ref := range h.ports {
		p, err := findPort(h.kernel, ref)
		if err != nil {
			return err
		}
		now, err := h.kernel.Verdicts(p)
		if err != nil {
			return err
		}
		if first {
			h.before[ref] = now
			continue
		}
		if err := h.judge(ref, h.before[ref], now); err != nil {
			return err
		}
	}
	return nil
}

func (h *health) judge(ref offload.Ref, before, now offload.Verdicts) error {
	dropped, aborted := now.Drop.Packets-before.Drop.Packets, now.Aborted.Packets-before.Aborted.Packets
	all := now.Pass.Packets - before.Pass.Packets + now.Redirect.Packets - before.Redirect.Packets + dropped + aborted
	if all < enough {
		return nil
	}
	for _, x := range []struct {
		what    string
		n       uint64
		allowed float64
	}{{"dropped", dropped, h.maxDrop}, {"aborted", aborted, h.maxAborted}} {
		if share := float64(x.n) / float64(all); x.allowed > 0 && share > x.allowed {
			return fmt.Errorf("port %s %s %d of %d packets, a share of %.3f; the most is %.3f", ref, x.what, x.n, all, share, x.allowed)
		}
	}
	return nil
}
