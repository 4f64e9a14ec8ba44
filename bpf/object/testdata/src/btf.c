/* Maps by BTF, all kinds of global data, calls within and between sections. */
#include "fixture.h"

struct {
	__uint(type, HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

const volatile u32 limit = 7;
u32 initialised = 0x01020304;
u32 zeroed;
static volatile u32 private = 5;

static noinline u64 shared(u64 x)
{
	return x * 3 + private;
}

SEC("xdp") int count(struct xdp_md *ctx)
{
	u32 key = ctx->rx_queue_index;
	u64 *n = map_lookup(&counts, &key);

	if (!n)
		return XDP_ABORTED;
	zeroed += shared(*n);
	initialised++;
	if (key > limit)
		return XDP_DROP;
	return "forty-two"[*n & 7] > key ? XDP_TX : XDP_PASS;
}

SEC("classifier/in") int classify(void *skb)
{
	return shared(2) & 1;
}

char _license[] SEC("license") = "GPL";
