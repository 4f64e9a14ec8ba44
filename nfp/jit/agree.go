package jit

import (
	"slices"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
)

// Agree says which map words are counters when several programs share maps: a
// word that one of them changes atomically is a counter to all, and so is every
// word that some access of some program joins to it. Compile each of the
// programs with the result as Options.Use and their images go together.
func Agree(programs []*verify.Facts) []nfp.MapUse {
	var agreed []nfp.MapUse
	for changed := true; changed; {
		changed = false
		for _, f := range programs {
			for _, use := range usesWith(f, agreed) {
				var grew bool
				agreed, grew = addCounters(agreed, use)
				changed = changed || grew
			}
		}
	}
	return agreed
}

// addCounters takes the counters of use, and nothing else of it, into all.
func addCounters(all []nfp.MapUse, use nfp.MapUse) ([]nfp.MapUse, bool) {
	at := slices.IndexFunc(all, func(u nfp.MapUse) bool { return u.Name == use.Name })
	if at < 0 {
		at = len(all)
		all = append(all, nfp.MapUse{Name: use.Name, Words: make([]nfp.WordUse, len(use.Words))})
	}
	grew := false
	for w, u := range use.Words {
		if u == nfp.UseCounter && w < len(all[at].Words) && all[at].Words[w] != u {
			all[at].Words[w], grew = u, true
		}
	}
	return all, grew
}
