/* What the fixtures need of a BPF header, and no more. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define noinline __attribute__((noinline))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
};

enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX };
enum { HASH = 1, ARRAY = 2 };

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
