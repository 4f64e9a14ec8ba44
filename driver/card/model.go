package card

import "fmt"

// Model is a card as it is sold.
type Model struct {
	Name    string
	PartNo  string // assembly.partno
	Ports   []PortSpec
	Product string
}

// PortSpec is one cage.
type PortSpec struct {
	Lanes     int
	LaneGbps  int
	Interface uint8 // cage: 10 SFP+, 28 SFP28, 40 QSFP, 100 CXP
}

// Gbps is the port's speed.
func (p PortSpec) Gbps() int { return p.Lanes * p.LaneGbps }

// Cages, drivers/net/ethernet/netronome/nfp/nfpcore/nfp_nsp.h.
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

// DefaultModel is the model where none is named.
const DefaultModel = "cx-2x40"

// Models are the cards there are. Part numbers: the firmware file names that the
// Linux driver lists; the LX card's number and its lanes are assumed.
func Models() []Model {
	return []Model{
		{"cx-2x10", "AMDA0096-0001", ports(2, 1, 10, cageSFPPlus), "Agilio CX 2x10GbE"},
		{"cx-1x40", "AMDA0081-0001", ports(1, 4, 10, cageQSFP), "Agilio CX 1x40GbE"},
		{"cx-2x25", "AMDA0099-0001", ports(2, 1, 25, cageSFP28), "Agilio CX 2x25GbE"},
		{"cx-2x40", "AMDA0097-0001", ports(2, 4, 10, cageQSFP), "Agilio CX 2x40GbE"},
		{"lx", "AMDA0078-0011", ports(1, 10, 10, cageCXP), "Agilio LX 1x100GbE"},
	}
}

// ModelByName finds a model; "" is DefaultModel.
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
