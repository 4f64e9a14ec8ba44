package offload

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Host reads the properties of the machine on which programs on cards depend.
func (l *Linux) Host() *Host {
	h := &Host{Pins: l.pins}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Release = unix.ByteSliceToString(u.Release[:])
	}
	h.Major, h.Minor = release()
	have, err := effective()
	for _, p := range Privileges() {
		if err == nil && have&(1<<p.bit) != 0 {
			h.Capabilities = append(h.Capabilities, p.Name)
		} else {
			h.Missing = append(h.Missing, p.Name)
		}
	}
	h.More = have&^wanted() != 0
	dir := l.pins
	for !h.BPFMount && dir != "/" && dir != "." { // the directory of pins is created on first use
		h.BPFMount = onBPF(dir)
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	hardened, _ := os.ReadFile("/proc/sys/net/core/bpf_jit_harden")
	h.Hardened = strings.TrimSpace(string(hardened))
	h.Cards = pciCards("/sys/bus/pci/devices")
	return h
}

// netronome is the vendor ID of the cards. networkClass is the class of those PCI
// functions that are network controllers.
const (
	netronome    = "0x19ee"
	networkClass = "0x02"
)

// pciCards lists the cards on the bus, with any driver or none.
func pciCards(dir string) []PCICard {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []PCICard
	for _, e := range entries {
		read := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(dir, e.Name(), name))
			return strings.TrimSpace(string(b))
		}
		if read("vendor") != netronome || !strings.HasPrefix(read("class"), networkClass) {
			continue
		}
		c := PCICard{Address: e.Name(), Device: read("device")}
		if link, err := os.Readlink(filepath.Join(dir, e.Name(), "driver")); err == nil {
			c.Driver = filepath.Base(link)
		}
		nets, _ := os.ReadDir(filepath.Join(dir, e.Name(), "net"))
		for _, n := range nets {
			c.Ports = append(c.Ports, n.Name())
		}
		all = append(all, c)
	}
	return all
}
