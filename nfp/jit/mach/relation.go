package mach

// relation holds the facts about the new function's resources at a pair of program
// points. One is that the old function holds the same value in the resource. The other
// is the term by which the old function could still compute it, noTerm if none is
// known. The term has two forms: over the old function's resources as far as possible,
// and over the instructions that computed it. Paths may agree on one form and not on
// the other.
type relation struct {
	same    resSet
	makes   [2]contents
	changed [resCount + 1]uint8 // how often makes changed
}

// sameAll is the relation of functions that hold the same.
func sameAll() *relation {
	k := &relation{}
	for r := range k.changed {
		k.same.add(r)
		k.makes[0][r], k.makes[1][r] = noTerm, noTerm
	}
	return k
}

// maxChanges is how often a term may change before it is given up.
const maxChanges = 16

// widen gives up terms that changed too often: in a loop they could change for ever.
func (k *relation) widen(was *relation) {
	for r := range k.changed {
		k.changed[r] = was.changed[r]
		for form := range k.makes {
			if k.makes[form][r] != was.makes[form][r] {
				k.changed[r]++
			}
		}
		if k.changed[r] > maxChanges {
			k.makes[0][r], k.makes[1][r] = noTerm, noTerm
		}
	}
}

// known returns the facts at a pair of points that hold over all incoming edges.
func (v *product) known(p pointPair) *relation {
	var all *relation
	for _, k := range v.from[p] {
		if all == nil {
			c := *k
			all = &c
			continue
		}
		for w := range all.same {
			all.same[w] &= k.same[w]
		}
		for form := range all.makes {
			for r := range k.makes[form] {
				if all.makes[form][r] != k.makes[form][r] {
					all.makes[form][r] = noTerm
				}
			}
		}
	}
	return all
}

// begin creates the states of both functions at a pair of points with facts k.
func (v *product) begin(k *relation) (old, now *executor) {
	old, now = v.start(), v.start()
	now.side = 1
	alias := map[term]term{}
	for r := range old.holds {
		switch {
		case k.same.has(r):
			for form := range k.makes {
				if x := k.makes[form][r]; x != noTerm {
					alias[x] = old.holds[r]
				}
			}
		case k.makes[0][r] != noTerm:
			now.holds[r] = k.makes[0][r]
			if x := k.makes[1][r]; x != noTerm {
				alias[x] = now.holds[r]
			}
		case k.makes[1][r] != noTerm:
			now.holds[r] = k.makes[1][r]
		default:
			now.holds[r] = v.intern(node{kind: unknownTerm, res: int16(r)}, nil)
		}
	}
	old.alias, now.alias, now.frame = alias, alias, now.holds[resPointer]
	return old, now
}

// related expresses the new function's state over the old one's; began is what the new
// one held at the start.
func (v *product) related(was *relation, old, now *executor, began *contents) *relation {
	k := &relation{}
	for form := range k.makes {
		e := &expression{terms: v.terms, old: old, was: was, deep: form == 1, known: map[term]term{}}
		for r, x := range now.holds {
			if old.holds[r] == x {
				k.same.add(r)
			}
			if m := was.makes[form][r]; m != noTerm && x == began[r] { // not written since
				x = m
			}
			k.makes[form][r] = e.made(x)
		}
	}
	return k
}

// shallow is the depth up to which an expression is expanded although the old function
// holds its value.
const shallow = 4

// expression rewrites terms over what the old function holds.
type expression struct {
	*terms
	old   *executor
	was   *relation // at the start of both
	deep  bool
	known map[term]term
}

// made returns the term over instructions, noTerm if there is none.
func (e *expression) made(x term) term {
	n := e.nodes[x]
	if n.kind == startTerm { // its earlier term may be known
		for _, m := range [...]term{e.was.makes[0][n.res], e.was.makes[1][n.res]} {
			if m != noTerm && e.was.same.has(int(n.res)) {
				if y := e.made(m); y != noTerm {
					return y
				}
			}
		}
	}
	if n.kind != resultTerm {
		return noTerm
	}
	var buffer [32]term
	args := buffer[:0]
	for _, a := range e.argsOf(&n) {
		y := e.rewritten(a)
		if y == noTerm {
			return noTerm
		}
		args = append(args, y)
	}
	return e.intern(n, args)
}

// rewritten returns the term over instructions and what the old function holds.
func (e *expression) rewritten(x term) term {
	if y, ok := e.known[x]; ok {
		return y
	}
	n, y := e.nodes[x], noTerm
	held := n.res >= 0 && e.old.holds[n.res] == x
	if !held || e.deep && n.depth <= shallow {
		e.known[x] = noTerm // not by itself
		y = e.made(x)
	}
	if y == noTerm && held {
		y = initial(int(n.res))
	}
	e.known[x] = y
	return y
}
