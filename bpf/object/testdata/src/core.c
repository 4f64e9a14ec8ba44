/* A CO-RE relocation, which stays as compiled. */
#include "fixture.h"

struct kernel_thing {
	u32 pad[3];
	u32 field;
} __attribute__((preserve_access_index));

SEC("xdp") int core(struct kernel_thing *ctx)
{
	return ctx->field;
}
