package difftest

// Limits of the kernel as an oracle: packets it takes in BPF_PROG_TEST_RUN.
const (
	kernelMinPacket = 14   // an Ethernet header
	kernelMaxPacket = 3500 // a page less headroom and skb_shared_info
)
