/* Parts that cannot be read beside parts that can. */
#include "fixture.h"

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
	__uint(map_flags, 4);
	__uint(numa_node, 3);
} near SEC(".maps");

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
	__uint(replicas, 2);
} strange SEC(".maps");

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} plain SEC(".maps");

u32 aside SEC("odd") = 7;

static noinline u32 shared(u32 key)
{
	u32 *value = map_lookup(&strange, &key);

	return value ? *value : XDP_PASS;
}

#define PROG(name, map)                               \
	SEC("xdp") int name(struct xdp_md *ctx)       \
	{                                             \
		u32 key = 0, *value = map_lookup(&map, &key); \
		return value && *value ? XDP_DROP : XDP_PASS; \
	}

PROG(uses_near, near)
PROG(uses_strange, strange)
PROG(uses_plain, plain)

SEC("xdp") int by_call(struct xdp_md *ctx) { return shared(ctx->data); }
SEC("xdp") int uses_aside(struct xdp_md *ctx) { return aside; }
SEC("xdp") int uses_none(struct xdp_md *ctx) { return XDP_PASS; }
