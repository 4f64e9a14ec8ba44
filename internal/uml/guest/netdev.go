//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// driverName is the driver under test.
const driverName = "nfp"

// patience is the time limit for background work of the kernel, for the card, and for
// other processes. It is long, since the machine may be busy.
const patience = 90 * time.Second

// netdev is a network interface of the card.
type netdev struct {
	Name     string `json:"name"`
	Driver   string `json:"driver"`
	Firmware string `json:"firmware"`
	Bus      string `json:"bus"`
	link     netlink.Link
}

// netdevs are the interfaces whose driver is the one under test, by name.
func netdevs() ([]netdev, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	found := []netdev{}
	for _, l := range links {
		info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.Attrs().Name)
		if err != nil || unix.ByteSliceToString(info.Driver[:]) != driverName {
			continue
		}
		found = append(found, netdev{
			Name: l.Attrs().Name, Driver: driverName, link: l,
			Firmware: unix.ByteSliceToString(info.Fw_version[:]), Bus: unix.ByteSliceToString(info.Bus_info[:]),
		})
	}
	if found, err = sameCard(found, os.Getenv(netdevVariable)); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b netdev) int { return a.link.Attrs().Index - b.link.Attrs().Index })
	return found, nil
}

// netdevVariable is the environment variable that names an interface on a host, which
// may have several cards.
const netdevVariable = "NFPKIT_NETDEV"

// sameCard returns the interfaces of the card that has the named one, or all if
// name is empty.
func sameCard(devs []netdev, name string) ([]netdev, error) {
	if name == "" {
		return devs, nil
	}
	i := slices.IndexFunc(devs, func(d netdev) bool { return d.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s=%s: no such interface of the driver %s", netdevVariable, name, driverName)
	}
	bus := devs[i].Bus
	return slices.DeleteFunc(devs, func(d netdev) bool { return d.Bus != bus }), nil
}

// ports are the card's interfaces, n at least, all of them up.
func ports(n int) ([]netdev, error) {
	devs, err := netdevs()
	if err != nil {
		return nil, err
	}
	if len(devs) < n {
		return devs, fmt.Errorf("%d interfaces of %s, %d needed", len(devs), driverName, n)
	}
	for _, d := range devs {
		if err := netlink.LinkSetUp(d.link); err != nil {
			return devs, fmt.Errorf("%s up: %w", d.Name, err)
		}
	}
	return devs, nil
}

// eventually waits until ok returns nil; ok's error says what is missing. It asks more
// and more seldom, so that asking does not keep a slow guest from what it waits for.
func eventually(ok func() error) error {
	pause, end := 2*time.Millisecond, time.Now().Add(patience)
	for {
		err := ok()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(pause)
		pause = min(pause*3/2, 250*time.Millisecond)
	}
}

// probe reports the interfaces that the driver created.
func probe(*env, string) (any, error) {
	devs, err := netdevs()
	return devs, err
}

// pciDriver is the driver's directory; pciDevice that of the card.
const pciDriver = "/sys/bus/pci/drivers/" + driverName

func pciDevice() (string, error) {
	dirs, err := filepath.Glob(pciDriver + "/0*")
	if err != nil || len(dirs) == 0 {
		return "", fmt.Errorf("no device has the driver %s", driverName)
	}
	return filepath.EvalSymlinks(dirs[0])
}

// gone waits until no interface of the driver is left.
func gone() error {
	return eventually(func() error {
		devs, err := netdevs()
		if err == nil && len(devs) > 0 {
			err = fmt.Errorf("%d interfaces are still there", len(devs))
		}
		return err
	})
}

// rebind unbinds the driver from the card and binds it again.
func rebind(*env, string) (any, error) {
	dir, err := pciDevice()
	if err != nil {
		return nil, err
	}
	address := []byte(filepath.Base(dir))
	if err := os.WriteFile(pciDriver+"/unbind", address, 0); err != nil {
		return nil, fmt.Errorf("unbind: %w", err)
	}
	if err := gone(); err != nil {
		return nil, fmt.Errorf("after unbind: %w", err)
	}
	if err := os.WriteFile(pciDriver+"/bind", address, 0); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	return nil, nil
}

// rescan removes the card from the bus and rescans the bus.
func rescan(*env, string) (any, error) {
	dir, err := pciDevice()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "remove"), []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("remove: %w", err)
	}
	if err := gone(); err != nil {
		return nil, fmt.Errorf("after remove: %w", err)
	}
	if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("%s is still there after remove", filepath.Base(dir))
	}
	if err := os.WriteFile("/sys/bus/pci/rescan", []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("rescan: %w", err)
	}
	return nil, nil
}
