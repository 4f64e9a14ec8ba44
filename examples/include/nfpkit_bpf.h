/* SPDX-License-Identifier: Apache-2.0
 *
 * What the examples need beside the system's <linux/bpf.h>: the macros that
 * declare sections and maps, the helpers they call, and byte order. Names are
 * libbpf's, so that a program moves between the two without change.
 */
#ifndef NFPKIT_BPF_H
#define NFPKIT_BPF_H

#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#undef __always_inline /* the system's headers mean a hint by it */
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))

/* Map definitions: the compiler records these types in section .BTF, and the
 * loader reads the numbers from there. */
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

/* Helpers are called by number. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;

/* The card, like the hosts it sits in, is little-endian. */
#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htonl(x) __builtin_bswap32(x)
#define bpf_ntohl(x) __builtin_bswap32(x)

/* What every program starts from: the packet's ends. The context holds them as
 * 32-bit words; a card's packet memory has no more. */
static __always_inline void *packet_start(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *packet_end(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* An Ethernet header. That of <linux/if_ether.h> is packed, so that compilers
 * read it byte by byte; in a packet it always lies at an even address. */
struct frame {
	__u16 dest[3];
	__u16 source[3];
	__be16 proto;
};

#endif
