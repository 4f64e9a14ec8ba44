/* Programs in sections that tell no type, that iproute2 gives one, and of tc.
 * Each drops packets whose byte 14 is 1. */
#include "fixture.h"

struct sk_buff {
	u32 fields[19];
	u32 data;
	u32 data_end;
};

#define PROG(name, sec, type, drop, pass)                                   \
	SEC(sec) int name(struct type *ctx)                                 \
	{                                                                   \
		u8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end; \
		if (data + 15 > end)                                        \
			return pass;                                        \
		return data[14] == 1 ? drop : pass;                         \
	}

PROG(pass_by, "transit", xdp_md, 1, 2)
PROG(tcp, "tcp_drop", sk_buff, 2, -1)
PROG(by_link, "prog", xdp_md, 1, 2)
PROG(by_tc, "cls-main", sk_buff, 2, -1)
PROG(act, "action", sk_buff, 2, 0)
