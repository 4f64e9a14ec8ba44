/* What bpf-gcc and GNU as make of variables and functions that are not the first
 * of their sections. */
#include "fixture.h"

int first = 1, second = 2, list[4] = { 3, 4, 5, 6 };
static int hidden = 7;

noinline int plus_one(int x) { volatile int y = x; return y + 1; }
noinline int plus_two(int x) { volatile int y = x; return y + 2; }
static noinline int both(int x) { return plus_one(plus_two(x)); }

SEC("xdp") int variables(struct xdp_md *ctx)
{
	hidden++;
	return first == 1 && second == 2 && list[1] == 4 && list[3] == 6 && hidden == 8 ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int functions(struct xdp_md *ctx) { return both(0); }
SEC("xdp") int second_function(struct xdp_md *ctx) { return plus_two(0); }
