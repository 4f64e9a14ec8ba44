package driver

import (
	"sort"

	"github.com/nfpkit/nfpkit/nfp"
)

// Line returns the source of a word of the program. ok is false if the program was
// loaded as words, without source lines.
func (p *Program) Line(word int) (nfp.Line, bool) {
	if p.Image == nil {
		return nfp.Line{PC: -1}, false
	}
	lines := p.Image.Lines
	i := sort.Search(len(lines), func(i int) bool { return lines[i].Addr > word })
	if i == 0 {
		return nfp.Line{PC: -1}, false
	}
	return lines[i-1], true
}

// Text returns the text of a word of the program as it was loaded.
func (p *Program) Text(word int) string { return p.insts[word].String() }
