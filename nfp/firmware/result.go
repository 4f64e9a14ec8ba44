package firmware

// Result word of a program, left in A0 at exit: docs/firmware-contract.md
// section 2. Bits 16 to 19 are the fate of the packet, 20 to 23 the statistic
// that counts it.
const (
	ResultPass   = 1 << 16 // on to the host
	ResultDrop   = 1 << 17
	ResultTX     = 1 << 18 // out on the wire port
	ResultTarget = 1 << 19 // with ResultTX: to the target a redirect helper remembered

	ResultStat0 = 1 << 20 // pass
	ResultStat1 = 1 << 21 // app1
	ResultStat2 = 1 << 22 // app2
	ResultStat3 = 1 << 23 // app3
)

// Result words as the Linux driver's common exit builds them.
const (
	WordPass     = ResultPass | ResultStat0
	WordDrop     = ResultDrop | ResultStat1
	WordTX       = ResultTX | ResultStat2
	WordAbort    = ResultDrop | ResultStat3
	WordSteal    = ResultDrop
	WordRedirect = ResultTX | ResultTarget | ResultStat2
)

// Redirects reports whether the firmware offers bpf_redirect or
// bpf_redirect_map, and with it an XDP verdict of its own.
func (p *Profile) Redirects() bool { return p.Offers(23) || p.Offers(51) }

// XDPWord is the result word of XDP return code r0. A failed bounds check of a
// classic packet load is XDPWord(0).
func (p *Profile) XDPWord(r0 uint32) uint32 {
	switch r0 {
	case 1:
		return WordDrop
	case 2:
		return WordPass
	case 3:
		return WordTX
	case 4:
		if p.Redirects() {
			return WordRedirect
		}
	}
	return WordAbort
}

// TCWord is the result word of direct-action TC return code r0. A failed bounds
// check of a classic packet load is TCWord(0).
func (p *Profile) TCWord(r0 uint32) uint32 {
	switch r0 {
	case 2:
		return WordDrop
	case 4, 5:
		return WordSteal
	case 7:
		return WordTX
	}
	return WordPass
}
