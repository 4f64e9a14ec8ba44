package ir

// chipCosts are about those of the cards.
func chipCosts() *Costs { return &Costs{Branch: 3, Return: 3, Mul: 6, MulWide: 7, WordsPerCycle: 4} }
