//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// sim is a netdevsim device: an offloading card of the kernel's own that runs nothing.
type sim struct {
	id    int      // 0: it is the card under test, not netdevsim
	names []string // of its interfaces, by port
}

// newSim creates a device with a number of ports, all up.
func newSim(ports int) (*sim, error) {
	const bus = "/sys/bus/netdevsim/"
	var d sim
	for d.id = 1; ; d.id++ {
		if _, err := os.Stat(fmt.Sprintf("%sdevices/netdevsim%d", bus, d.id)); err != nil {
			break
		}
	}
	if err := os.WriteFile(bus+"new_device", fmt.Appendf(nil, "%d %d", d.id, ports), 0); err != nil {
		return nil, err
	}
	d.names = make([]string, ports)
	dirs, err := filepath.Glob(fmt.Sprintf("%sdevices/netdevsim%d/net/*", bus, d.id))
	if err != nil || len(dirs) != ports {
		return nil, fmt.Errorf("netdevsim has interfaces %q: %v", dirs, err)
	}
	for _, dir := range dirs {
		port := strings.TrimPrefix(sysfs(dir, "phys_port_name"), "p")
		var n int // from 1
		if _, err := fmt.Sscan(port, &n); err != nil || n < 1 || n > ports {
			return nil, fmt.Errorf("%s has port name %q", dir, port)
		}
		d.names[n-1] = filepath.Base(dir)
		link, err := netlink.LinkByName(d.names[n-1])
		if err != nil {
			return nil, err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return nil, err
		}
	}
	return &d, nil
}

// remove removes the device. The card comes back at once, with other interfaces.
func (d *sim) remove() error {
	if d.id == 0 {
		_, err := rebind(nil, "")
		return err
	}
	return os.WriteFile("/sys/bus/netdevsim/del_device", fmt.Append(nil, d.id), 0)
}

// removePort removes one port.
func (d *sim) removePort(port int) error {
	return os.WriteFile(fmt.Sprintf("/sys/bus/netdevsim/devices/netdevsim%d/del_port", d.id), fmt.Append(nil, port), 0)
}
