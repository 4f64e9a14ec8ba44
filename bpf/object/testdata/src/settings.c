/* Variables and maps that user space gives values. */
#include "fixture.h"

enum mode { OFF, PASS_ALL = 2, DROP_ALL = 7 };
struct limits { u32 low; u16 high[2]; struct { signed char deep; } in; u32 bits : 4; };

const volatile u32 port = 80;
const volatile signed char offset = -1;
const volatile _Bool enabled;
const volatile enum mode mode = OFF;
const volatile char name[8] = "eth0";
const volatile struct limits limits = { 1, { 2, 3 }, { 4 }, 5 };
const volatile u64 large;
const volatile double ratio = 1;
static volatile const u16 hidden = 9;
u32 counter;
volatile u32 list[3] = { 1, 2, 3 };
void *pointer;

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 0);
	__type(key, u32);
	__type(value, u32);
} sized SEC(".maps");

SEC("xdp") int by_port(struct xdp_md *ctx) { return port == 443 && hidden == 9 ? XDP_DROP : XDP_PASS; }
SEC("xdp") int by_map(struct xdp_md *ctx)
{
	u32 key = 3;

	return map_lookup(&sized, &key) ? XDP_DROP : XDP_PASS;
}
SEC("xdp") int others(struct xdp_md *ctx)
{
	pointer = &counter;
	return counter + list[1] + enabled + mode + name[0] + limits.low + offset + (int)large;
}
const volatile double *keep(void) { return &ratio; }
