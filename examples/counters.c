// SPDX-License-Identifier: Apache-2.0
/*
 * counters: packets and bytes by protocol
 *
 * Passes every packet, and counts it under its IP protocol number (IPv4 and
 * IPv6 together), or under one of the classes below if it is not an IP packet.
 * Up to two VLAN tags are skipped.
 *
 * Maps
 *   counters  array of 260: index is the protocol number 0..255, or a class;
 *             value {packets, bytes}, two 64-bit counters
 *
 * Firmware: stock; the Linux driver's own compiler takes it as well. The
 * program only adds to counters and never reads them: the card's memory adds in
 * another byte order than it reads, so a word can have only one of these uses.
 *
 *   nfpsim run examples/counters.o --pcap examples/mixed.pcap --dump counters=-
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "nfpkit_bpf.h"

enum {
	CLASS_ARP = 256,
	CLASS_OTHER = 257, /* another EtherType */
	CLASS_SHORT = 258, /* shorter than its headers say */
	CLASSES = 260,
};

struct count {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASSES);
	__type(key, __u32);
	__type(value, struct count);
} counters SEC(".maps");

struct vlan {
	__be16 tci;
	__be16 proto;
};

/* classify returns the index to count a packet under. */
static __always_inline __u32 classify(void *data, void *end)
{
	struct frame *eth = data;
	void *next = eth + 1;
	__be16 proto;

	if (next > end)
		return CLASS_SHORT;
	proto = eth->proto;

#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		struct vlan *vlan = next;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		next = vlan + 1;
		if (next > end)
			return CLASS_SHORT;
		proto = vlan->proto;
	}

	if (proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = next;

		if ((void *)(ip + 1) > end)
			return CLASS_SHORT;
		return ip->protocol;
	}
	if (proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = next;

		if ((void *)(ip6 + 1) > end)
			return CLASS_SHORT;
		return ip6->nexthdr;
	}
	return proto == bpf_htons(ETH_P_ARP) ? CLASS_ARP : CLASS_OTHER;
}

SEC("xdp")
int count_protocols(struct xdp_md *ctx)
{
	void *data = packet_start(ctx), *end = packet_end(ctx);
	__u32 key = classify(data, end);
	struct count *c = bpf_map_lookup_elem(&counters, &key);

	if (c) {
		__sync_fetch_and_add(&c->packets, 1);
		__sync_fetch_and_add(&c->bytes, end - data);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
