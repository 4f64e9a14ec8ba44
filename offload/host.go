package offload

// Host is what programs on cards need of the machine, as it is.
type Host struct {
	Release      string    `json:"release"` // of the kernel
	Major        int       `json:"-"`
	Minor        int       `json:"-"`
	Capabilities []string  `json:"capabilities"`         // of Privileges, those that this process has
	Missing      []string  `json:"missing_capabilities"` // and those that it has not
	More         bool      `json:"more_capabilities"`    // it has others as well
	Pins         string    `json:"pins"`                 // the directory for pins
	BPFMount     bool      `json:"bpf_mount"`            // it is in a bpf file system
	Hardened     string    `json:"bpf_jit_harden"`       // the sysctl; empty: there is none
	Cards        []PCICard `json:"cards"`
}

// PCICard is a card on the bus.
type PCICard struct {
	Address string   `json:"address"`
	Device  string   `json:"device"`           // its number
	Driver  string   `json:"driver,omitempty"` // bound to it
	Ports   []string `json:"ports,omitempty"`
}
