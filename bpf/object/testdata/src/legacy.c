/* Maps as before BTF: a table of structs in a section "maps". -DFIELDS says
 * how many words a definition has: 4 (before Linux 4.6), 5, or 7. */
#include "fixture.h"

#ifndef FIELDS
#define FIELDS 5
#endif
#ifndef MAP
#define MAP
#endif

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries;
#if FIELDS > 4
	u32 map_flags;
#endif
#if FIELDS > 5
	u32 inner_map_idx, numa_node;
#endif
};

MAP struct bpf_map_def SEC("maps") first = {
	.type = HASH, .key_size = 4, .value_size = 8, .max_entries = 10,
};
MAP struct bpf_map_def SEC("maps") second = {
	.type = ARRAY, .key_size = 4, .value_size = 16, .max_entries = 20,
#if FIELDS > 4
	.map_flags = 1,
#endif
};

static noinline u32 half(u32 x)
{
	return x / 2;
}

SEC("xdp1") int entry(struct xdp_md *ctx)
{
	u32 key = ctx->rx_queue_index;
	u64 *a = map_lookup(&first, &key), *b;

	if (!a)
		return XDP_ABORTED;
	b = map_lookup(&second, &key);
	if (!b)
		return XDP_DROP;
	return half(*a) + half(*b) > 9 ? XDP_TX : XDP_PASS;
}

SEC("odd_name") int other(void *ctx)
{
	return 1;
}
