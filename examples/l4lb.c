// SPDX-License-Identifier: Apache-2.0
/*
 * l4lb: a layer 4 load balancer
 *
 * Packets to a service (address, port, protocol) are shared among its backends:
 * the hash of the packet's 5-tuple picks a slot, the slot names a backend. The
 * packet is wrapped in another IPv4 header (IPIP) to the backend and sent out
 * of the port it came in by. The backend unwraps it, and answers the client
 * directly. All packets of a connection have one hash, so they reach one
 * backend.
 *
 * The host fills the 256 slots of each service, evenly or by weight. When a
 * backend leaves, only its slots get another; no connection to the rest moves.
 *
 * Maps
 *   services  hash of 256: {address, port, protocol, 0} as in the packet ->
 *             number of the service
 *   slots     hash of 65536: service x 256 + hash -> {backend's number, its
 *             address, MAC address of the next hop, own MAC address, own
 *             address}
 *   traffic   array of 1024: backend's number -> {packets, bytes}
 *
 * Firmware: stock; the Linux driver's own compiler takes it as well.
 *
 * Left to the host's stack (passed): other packets, IP options, fragments,
 * VLAN tags, IPv6. Wrapped packets are 20 bytes longer: the network to the
 * backends needs an MTU that has room for them.
 *
 *   nfpsim run examples/l4lb.o --pcap examples/web.pcap --out wrapped.pcap \
 *       --map services=examples/services.json --map slots=examples/slots.json
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "nfpkit_bpf.h"

struct service {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

struct slot {
	__u32 backend;
	__be32 address;
	__u16 next_hop[3];
	__u16 own_mac[3];
	__be32 own_address;
};

struct count {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct service);
	__type(value, __u32);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct count);
} traffic SEC(".maps");

#define IP_FRAGMENT 0x3fff /* of frag_off: more fragments, or an offset */

static __always_inline __u32 rotate(__u32 x, int n)
{
	return x << n | x >> (32 - n);
}

/* hash mixes the three words that distinguish connections of one service: the
 * last step of Bob Jenkins' lookup3 (public domain), which needs no
 * multiplier. */
static __always_inline __u32 hash(__u32 a, __u32 b, __u32 c)
{
	c ^= b;
	c -= rotate(b, 14);
	a ^= c;
	a -= rotate(c, 11);
	b ^= a;
	b -= rotate(a, 25);
	c ^= b;
	c -= rotate(b, 16);
	a ^= c;
	a -= rotate(c, 4);
	b ^= a;
	b -= rotate(a, 14);
	c ^= b;
	c -= rotate(b, 24);
	return c;
}

/* header_checksum sums the ten halves of an IPv4 header without options. */
static __always_inline __u16 header_checksum(const struct iphdr *ip)
{
	const __u16 *half = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += half[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* wrap prepends an IPv4 header to the packet, and a new Ethernet header to
 * that. inner is the length of the wrapped packet. */
static __always_inline int wrap(struct xdp_md *ctx, const struct slot *s, __u16 inner)
{
	struct frame *eth;
	struct iphdr *ip;
	void *end;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return XDP_DROP;
	/* The packet has moved: reload all pointers into it. */
	eth = packet_start(ctx);
	end = packet_end(ctx);
	ip = (struct iphdr *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return XDP_DROP;

#pragma unroll
	for (int i = 0; i < 3; i++) {
		eth->dest[i] = s->next_hop[i];
		eth->source[i] = s->own_mac[i];
	}
	eth->proto = bpf_htons(ETH_P_IP);

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = 0;
	ip->tot_len = bpf_htons(inner + sizeof(*ip));
	ip->id = 0;
	ip->frag_off = 0;
	ip->ttl = 64;
	ip->protocol = IPPROTO_IPIP;
	ip->check = 0;
	ip->saddr = s->own_address;
	ip->daddr = s->address;
	ip->check = header_checksum(ip);
	return XDP_TX;
}

SEC("xdp")
int l4lb(struct xdp_md *ctx)
{
	void *data = packet_start(ctx), *end = packet_end(ctx);
	struct frame *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__be16 *ports = (__be16 *)(ip + 1); /* TCP and UDP begin alike */
	struct service key = {};
	struct count *count;
	struct slot *slot;
	__u32 *service, index, backend;
	__u16 inner;

	if ((void *)(ports + 2) > end || eth->proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->version != 4 || ip->ihl != 5 || ip->frag_off & bpf_htons(IP_FRAGMENT))
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;

	key.address = ip->daddr;
	key.port = ports[1];
	key.protocol = ip->protocol;
	service = bpf_map_lookup_elem(&services, &key);
	if (!service)
		return XDP_PASS;

	index = hash(ip->saddr, (__u32)ports[0] << 16 | ports[1], ip->daddr + ip->protocol);
	index = *service << 8 | (index & 0xff);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot)
		return XDP_DROP; /* a service without backends */

	inner = bpf_ntohs(ip->tot_len);
	backend = slot->backend;
	count = bpf_map_lookup_elem(&traffic, &backend);
	if (count) {
		__sync_fetch_and_add(&count->packets, 1);
		__sync_fetch_and_add(&count->bytes, inner);
	}
	return wrap(ctx, slot, inner);
}

char _license[] SEC("license") = "Apache-2.0";
