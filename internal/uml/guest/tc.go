//go:build linux

package main

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// skipSW of linux/pkt_cls.h: in hardware or not at all.
const (
	skipSW = 1 << 1

	actShot = 2
)

// tc drops incoming frames by a traffic-control program that runs in hardware
// only, and then removes it.
func tc(*env, string) (any, error) {
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	dev := devs[0]
	if err := setFeature(dev.Name, "hw-tc-offload", true); err != nil {
		return nil, err
	}
	p, err := loadType(dev.link, ebpf.SchedCLS, asm.Instructions{asm.Mov.Imm(asm.R0, actShot), asm.Return()})
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	defer p.Close()
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: dev.link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return nil, fmt.Errorf("clsact: %w", err)
	}
	if err := addFilter(dev, p); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	found := map[string]flowed{}
	if found["with"], err = flow(devs[1], devs[0], 20, 0); err != nil {
		return found, err
	}
	if err := netlink.QdiscDel(qdisc); err != nil {
		return found, fmt.Errorf("delete clsact: %w", err)
	}
	if err := setFeature(dev.Name, "hw-tc-offload", false); err != nil {
		return found, err
	}
	found["without"], err = flow(devs[1], devs[0], 20, 20)
	return found, err
}

// addFilter adds p as an ingress filter with skip_sw.
func addFilter(dev netdev, p *ebpf.Program) error {
	const priority, all = 1, unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	req := nl.NewNetlinkRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{
		Family: unix.AF_UNSPEC, Ifindex: int32(dev.link.Attrs().Index),
		Parent: netlink.HANDLE_MIN_INGRESS, Info: netlink.MakeHandle(priority, all),
	})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_FD, nl.Uint32Attr(uint32(p.FD())))
	options.AddRtAttr(nl.TCA_BPF_NAME, nl.ZeroTerminated("guest"))
	options.AddRtAttr(nl.TCA_BPF_FLAGS, nl.Uint32Attr(nl.TCA_BPF_FLAG_ACT_DIRECT))
	options.AddRtAttr(nl.TCA_BPF_FLAGS_GEN, nl.Uint32Attr(skipSW))
	req.AddData(options)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
