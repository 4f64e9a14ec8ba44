package lift

import (
	"slices"

	"github.com/nfpkit/nfpkit/bpf/verify"
)

// Agree returns which map words are counters if several programs share maps. A word
// that one program changes atomically is a counter to all, and so is every word that
// an access of any program joins to it. Programs that are lifted with the result can
// share their maps.
func Agree(programs []*verify.Facts) []MapUse {
	var agreed []MapUse
	for changed := true; changed; {
		changed = false
		for _, f := range programs {
			for _, use := range UsesWith(f, agreed) {
				var grew bool
				agreed, grew = addCounters(agreed, use)
				changed = changed || grew
			}
		}
	}
	return agreed
}

// addCounters adds the counters of use, and nothing else of it, to all.
func addCounters(all []MapUse, use MapUse) ([]MapUse, bool) {
	at := slices.IndexFunc(all, func(u MapUse) bool { return u.Name == use.Name })
	if at < 0 {
		at = len(all)
		all = append(all, MapUse{Name: use.Name, Words: make([]WordUse, len(use.Words))})
	}
	grew := false
	for w, u := range use.Words {
		if u == Counter && w < len(all[at].Words) && all[at].Words[w] != u {
			all[at].Words[w], grew = u, true
		}
	}
	return all, grew
}
