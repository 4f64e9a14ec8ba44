/* What only a running kernel can fill in. */
#include "fixture.h"

extern int CONFIG_HZ __attribute__((section(".kconfig")));
extern void jiffies __attribute__((section(".ksyms")));
extern int kernel_function(int x) __attribute__((section(".ksyms")));

SEC("xdp") int config(void *ctx)
{
	return CONFIG_HZ;
}

SEC("xdp/symbol") int symbol(void *ctx)
{
	return (long)&jiffies;
}

SEC("xdp/function") int function(void *ctx)
{
	return kernel_function(1);
}
