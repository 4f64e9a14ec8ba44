package card

import "fmt"

// Model describes a commercial card.
type Model struct {
	Name    string
	PartNo  string // assembly.partno
	Ports   []PortSpec
	Product string
}

// PortSpec describes one cage.
type PortSpec struct {
	Lanes     int
	LaneGbps  int
	Interface uint8 // type of cage: 10 SFP+, 28 SFP28, 40 QSFP, 100 CXP
}

// Gbps returns the port's speed.
func (p PortSpec) Gbps() int { return p.Lanes * p.LaneGbps }

// Types of cages, drivers/net/ethernet/netronome/nfp/nfpcore/nfp_nsp.h.
const (
	cageSFPPlus = 10
	cageSFP28   = 28
	cageQSFP    = 40
	cageCXP     = 100
)

func ports(n, lanes, gbps int, cage uint8) []PortSpec {
	p := make([]PortSpec, n)
	for i := range p {
		p[i] = PortSpec{lanes, gbps, cage}
	}
	return p
}

// DefaultModel is the name of the model that ModelByName("") returns.
const DefaultModel = "cx-2x40"

// Models returns all models. The part numbers are from the firmware file names that
// the Linux driver lists. The LX card's number and lanes are assumptions.
func Models() []Model {
	return []Model{
		{"cx-2x10", "AMDA0096-0001", ports(2, 1, 10, cageSFPPlus), "Agilio CX 2x10GbE"},
		{"cx-1x40", "AMDA0081-0001", ports(1, 4, 10, cageQSFP), "Agilio CX 1x40GbE"},
		{"cx-2x25", "AMDA0099-0001", ports(2, 1, 25, cageSFP28), "Agilio CX 2x25GbE"},
		{"cx-2x40", "AMDA0097-0001", ports(2, 4, 10, cageQSFP), "Agilio CX 2x40GbE"},
		{"lx", "AMDA0078-0011", ports(1, 10, 10, cageCXP), "Agilio LX 1x100GbE"},
	}
}

// ModelByName returns the model of a name; "" is DefaultModel.
func ModelByName(name string) (*Model, error) {
	if name == "" {
		name = DefaultModel
	}
	var names string
	for _, m := range Models() {
		if m.Name == name {
			return &m, nil
		}
		names += " " + m.Name
	}
	return nil, fmt.Errorf("no card %q: there are%s", name, names)
}
