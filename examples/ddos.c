// SPDX-License-Identifier: Apache-2.0
/*
 * ddos: drop SYN floods and reflected UDP
 *
 * SYN floods: a source may open so many connections in a window of time. The
 * program counts its SYNs and drops those beyond the limit; the host ends a
 * window by emptying the map of counts, since the stock firmware has no clock.
 *
 * Amplification: answers of services that are abused as reflectors come from
 * known UDP ports and are larger than what an honest client would get. A
 * datagram from a listed port is dropped if it is longer than that port's
 * limit. Fragments after the first have no ports. An attack's large answers
 * are mostly fragmented, so the program can drop those fragments as well.
 *
 * Maps
 *   settings    array of 1: {SYNs a window from one source, 0 for no limit;
 *               1 to drop IPv4 fragments after the first}
 *   syns        hash of 65536: IPv4 source as in the packet -> SYNs so far
 *   reflectors  hash of 64: UDP source port, a number -> longest datagram
 *               allowed, UDP header included
 *   drops       array of 4: why (below) -> packets dropped
 *
 * Firmware: stock; the Linux driver's own compiler accepts it as well. It
 * supports no stores to map values, so an update writes a count back. Two
 * packets of one source that are counted at the same moment count once. For a
 * limit this error is harmless.
 *
 *   nfpsim run examples/ddos.o --pcap examples/attack.pcap \
 *       --map settings=examples/ddos-settings.json \
 *       --map reflectors=examples/reflectors.json --dump drops=-
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "nfpkit_bpf.h"

enum {
	DROP_SHORT,
	DROP_SYN,
	DROP_REFLECTED,
	DROP_FRAGMENT,
	REASONS,
};

struct settings {
	__u32 syn_limit;
	__u32 drop_fragments;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, __u32);
} syns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} reflectors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define IP_OFFSET 0x1fff /* of frag_off, in units of 8 bytes */

static __always_inline int drop(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &reason);

	if (n)
		__sync_fetch_and_add(n, 1);
	return XDP_DROP;
}

/* too_many counts a SYN, and says whether it is one too many. */
static __always_inline int too_many(__be32 source, __u32 limit)
{
	__u32 count = 1, *seen = bpf_map_lookup_elem(&syns, &source);

	if (seen) {
		count = *seen;
		if (count >= limit)
			return 1;
		count++;
	}
	/* A full map takes no new sources: those stay unlimited. */
	bpf_map_update_elem(&syns, &source, &count, BPF_ANY);
	return 0;
}

SEC("xdp")
int ddos(struct xdp_md *ctx)
{
	void *data = packet_start(ctx), *end = packet_end(ctx);
	struct frame *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct settings *set;
	__u32 key = 0;
	void *l4;

	if ((void *)(eth + 1) > end)
		return drop(DROP_SHORT);
	if (eth->proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return drop(DROP_SHORT);
	set = bpf_map_lookup_elem(&settings, &key);
	if (!set)
		return XDP_PASS;

	if (ip->frag_off & bpf_htons(IP_OFFSET))
		return set->drop_fragments ? drop(DROP_FRAGMENT) : XDP_PASS;

	l4 = (void *)ip + ip->ihl * 4;
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;
		__u8 flags;

		if ((void *)(tcp + 1) > end)
			return drop(DROP_SHORT);
		flags = ((__u8 *)tcp)[13];
		if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && set->syn_limit &&
		    too_many(ip->saddr, set->syn_limit))
			return drop(DROP_SYN);
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = l4;
		__u32 *longest;

		if ((void *)(udp + 1) > end)
			return drop(DROP_SHORT);
		key = bpf_ntohs(udp->source);
		longest = bpf_map_lookup_elem(&reflectors, &key);
		if (longest && bpf_ntohs(udp->len) > *longest)
			return drop(DROP_REFLECTED);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
