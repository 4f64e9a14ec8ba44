package main

import "testing"

// TestFlowsOf counts the flows of generated packets of all kinds, and of damaged ones.
func TestFlowsOf(t *testing.T) {
	o := trafficOptions{mix: "udp,tcp,icmp,udp6,tcp6,vlan,arp", flows: 1, imix: true}
	packets, err := o.generate(60)
	if err != nil {
		t.Fatal(err)
	}
	if got := flowsOf(packets.Packets); got != 6 { // a tag does not make a flow: udp and vlan are one
		t.Errorf("%d flows of one address, want 6", got)
	}
	o = trafficOptions{mix: "udp", flows: 1000}
	if packets, err = o.generate(60); err != nil {
		t.Fatal(err)
	}
	if got := flowsOf(packets.Packets); got != 1000 {
		t.Errorf("%d flows, want 1000", got)
	}
	whole := frame("tcp6", 80, 1)
	for n := range whole {
		flowOf(whole[:n]) // must not panic
	}
}
