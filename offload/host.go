package offload

// Host describes the properties of the machine on which programs on cards depend.
type Host struct {
	Release      string    `json:"release"` // of the kernel
	Major        int       `json:"-"`
	Minor        int       `json:"-"`
	Capabilities []string  `json:"capabilities"`         // those of Privileges that this process has
	Missing      []string  `json:"missing_capabilities"` // those of Privileges that it lacks
	More         bool      `json:"more_capabilities"`    // it has others as well
	Pins         string    `json:"pins"`                 // the directory for pins
	BPFMount     bool      `json:"bpf_mount"`            // Pins is in a bpf file system
	Hardened     string    `json:"bpf_jit_harden"`       // the sysctl; empty if it does not exist
	Cards        []PCICard `json:"cards"`
}

// PCICard is a card on the PCI bus.
type PCICard struct {
	Address string   `json:"address"`
	Device  string   `json:"device"`           // its PCI device number
	Driver  string   `json:"driver,omitempty"` // the driver bound to it
	Ports   []string `json:"ports,omitempty"`
}
