package jit

import (
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// target returns what firmware p offers, as package lift takes it.
func target(p *firmware.Profile) *lift.Target {
	return &lift.Target{
		Name: p.Name, Helpers: p.Offered(), Stack: p.Stack, CtxFields: p.CtxFields, QueueSelect: p.QueueSelect,
		Maps:      lift.MapLimits{Types: p.Maps.Types, Key: p.Maps.Key, Value: p.Maps.Value, Entry: p.Maps.Entry},
		DirectMap: p.DirectMap, DirectValue: p.DirectValue, ArrayZero: p.ArrayZero,
	}
}

// imageUse returns the use of map words as an image records it.
func imageUse(uses []lift.MapUse) []nfp.MapUse {
	out := make([]nfp.MapUse, len(uses))
	for i, u := range uses {
		out[i] = nfp.MapUse{Name: u.Name, Words: make([]nfp.WordUse, len(u.Words))}
		for w, use := range u.Words {
			switch use {
			case lift.Plain:
				out[i].Words[w] = nfp.UsePlain
			case lift.Counter:
				out[i].Words[w] = nfp.UseCounter
			}
		}
	}
	return out
}
