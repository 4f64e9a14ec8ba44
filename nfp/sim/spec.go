package sim

// Spec is what a run may not change: the timing of the chip and how strictly
// its rules are kept. Times are in engine cycles.
type Spec struct {
	Branch  int // idle cycles of a taken branch, less the defer slots filled
	Settled int // the same where the condition codes were set at least one instruction earlier
	Return  int // the same for rtn and jump
	Swap    int // the same for ctx_arb and commands that swap

	CTMRead, CTMWrite, CTMAtomic    int // command to signal, unloaded
	EMEMRead, EMEMWrite, EMEMAtomic int

	PointerDelay int // words between a write of an LM pointer or T_INDEX and its use

	// Lax turns the rules whose breach shows only as garbage on real silicon (use
	// of carry after a logic operation, of a transfer register before its signal,
	// of a multiplier group torn apart) from faults into silence.
	Lax bool
	// ClockMHz turns cycles into time.
	ClockMHz int
	// Seed chooses the garbage that registers and local memory start with, and the
	// pseudo-random numbers.
	Seed uint64
	// Model is the context numbers and engine number that status registers show.
	Island, Engine int
}

// NFP4000 is the chip of an Agilio CX card.
//
// Branch costs: the estimator of Krude et al., CoNEXT '21 (doi
// 10.1145/3485983.3494842): a taken branch takes 4 cycles, 3 where the condition
// codes were set at least one instruction earlier. Return: a firmware comment
// calls the jump a 4-cycle branch. Swap: the estimator's "at least 3". CTM: Clara
// (SOSP '21), model coefficients. EMEM: 95 fits CoNEXT '21's blocking reads of
// one location; writes and atomics are assumed alike. PointerDelay: what the
// Linux driver's JIT keeps. Clock: the open NIC firmware's table, CX 2x40.
func NFP4000() *Spec {
	return &Spec{
		Branch: 3, Settled: 2, Return: 3, Swap: 2,
		CTMRead: 70, CTMWrite: 80, CTMAtomic: 70,
		EMEMRead: 95, EMEMWrite: 95, EMEMAtomic: 95,
		PointerDelay: 3,
		ClockMHz:     800,
		Seed:         1,
	}
}
