// SPDX-License-Identifier: Apache-2.0
/*
 * firewall: drop packets from blocked sources
 *
 * A packet whose source address is in a map is dropped and counted there; all
 * others pass. One VLAN tag is skipped. Entries that the host adds or deletes
 * take effect with the next packet.
 *
 * Maps
 *   blocked   hash of 16384: IPv4 address as in the packet -> {packets, bytes}
 *   blocked6  hash of 16384: IPv6 address as in the packet -> {packets, bytes}
 *
 * The host adds an address with both counters zero, and reads in them how much
 * that source has sent since.
 *
 * Firmware: stock; the Linux driver's own compiler takes it as well.
 *
 *   nfpsim run examples/firewall.o --pcap examples/mixed.pcap \
 *       --map blocked=examples/blocked.json --map blocked6=examples/blocked6.json
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "nfpkit_bpf.h"

struct count {
	__u64 packets;
	__u64 bytes;
};

struct address6 {
	__u32 words[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __be32);
	__type(value, struct count);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct address6);
	__type(value, struct count);
} blocked6 SEC(".maps");

struct vlan {
	__be16 tci;
	__be16 proto;
};

static __always_inline int drop(struct count *c, __u64 bytes)
{
	__sync_fetch_and_add(&c->packets, 1);
	__sync_fetch_and_add(&c->bytes, bytes);
	return XDP_DROP;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	void *data = packet_start(ctx), *end = packet_end(ctx);
	struct frame *eth = data;
	void *next = eth + 1;
	struct count *c;
	__be16 proto;

	if (next > end)
		return XDP_DROP; /* no Ethernet frame at all */
	proto = eth->proto;
	if (proto == bpf_htons(ETH_P_8021Q)) {
		struct vlan *vlan = next;

		next = vlan + 1;
		if (next > end)
			return XDP_DROP;
		proto = vlan->proto;
	}

	if (proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = next;
		__be32 source;

		if ((void *)(ip + 1) > end)
			return XDP_DROP;
		source = ip->saddr; /* keys are passed on the stack */
		c = bpf_map_lookup_elem(&blocked, &source);
		return c ? drop(c, end - data) : XDP_PASS;
	}
	if (proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip6 = next;
		struct address6 source;

		if ((void *)(ip6 + 1) > end)
			return XDP_DROP;
		source.words[0] = ip6->saddr.in6_u.u6_addr32[0];
		source.words[1] = ip6->saddr.in6_u.u6_addr32[1];
		source.words[2] = ip6->saddr.in6_u.u6_addr32[2];
		source.words[3] = ip6->saddr.in6_u.u6_addr32[3];
		c = bpf_map_lookup_elem(&blocked6, &source);
		return c ? drop(c, end - data) : XDP_PASS;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
