// SPDX-License-Identifier: Apache-2.0
/*
 * ratelimit: a token bucket for each source
 *
 * Each IPv4 source has a bucket of credit that time fills and packets empty.
 * Credit is counted in nanoseconds. A packet costs the time between two packets
 * at the permitted rate, and the bucket's size is the cost of a burst. So no
 * division is needed: credit grows by the time since the last packet, up to the
 * bucket's size.
 *
 * Maps
 *   limit    array of 1: {cost of a packet, size of a bucket}, nanoseconds; for
 *            1000 packets/s and bursts of 50: {1000000, 50000000}. All zero: no limit
 *   buckets  LRU hash of 65536: IPv4 source as in the packet ->
 *            {time of the last packet, credit, packets dropped}
 *
 * Firmware: extended, for two things that stock lacks: a clock
 * (bpf_ktime_get_ns) and LRU maps. It also stores to map values, which nfpkit
 * compiles and the Linux driver's compiler refuses. Two packets of one source
 * that are handled at the same moment may both spend the same credit: a bucket
 * is exact for one context, and approximate for a card with many contexts.
 *
 *   nfpsim run examples/ratelimit.o --firmware extended --pcap examples/mixed.pcap \
 *       --map limit=examples/limit.json --dump buckets=-
 */
#include <linux/if_ether.h>
#include <linux/ip.h>

#include "nfpkit_bpf.h"

struct limit {
	__u64 cost;
	__u64 size;
};

struct bucket {
	__u64 last;
	__u64 credit;
	__u64 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limit);
} limit SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, struct bucket);
} buckets SEC(".maps");

/* spend takes a packet's cost out of a bucket, and says whether there was
 * enough in it. */
static __always_inline int spend(struct bucket *b, const struct limit *l, __u64 now)
{
	__u64 credit = b->credit + (now - b->last);

	if (credit > l->size)
		credit = l->size;
	b->last = now;
	if (credit < l->cost) {
		b->credit = credit;
		b->dropped++;
		return 0;
	}
	b->credit = credit - l->cost;
	return 1;
}

SEC("xdp")
int ratelimit(struct xdp_md *ctx)
{
	void *data = packet_start(ctx), *end = packet_end(ctx);
	struct frame *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct bucket *b, full = {};
	struct limit *l;
	__be32 source;
	__u32 key = 0;
	__u64 now;

	if ((void *)(ip + 1) > end || eth->proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	l = bpf_map_lookup_elem(&limit, &key);
	if (!l || !l->cost)
		return XDP_PASS;

	source = ip->saddr;
	now = bpf_ktime_get_ns();
	b = bpf_map_lookup_elem(&buckets, &source);
	if (b)
		return spend(b, l, now) ? XDP_PASS : XDP_DROP;

	/* A new source starts with a full bucket and pays for this packet. */
	full.last = now;
	full.credit = l->size - l->cost;
	bpf_map_update_elem(&buckets, &source, &full, BPF_ANY);
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
