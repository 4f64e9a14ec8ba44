// SPDX-License-Identifier: Apache-2.0
// Maps of every kind that both tools fill, with types of every shape. The program
// only refers to them.

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;

#define SEC(name) __attribute__((section(name), used))
#define MAP(type_, key_, value_, flags_, name)                          \
	struct {                                                        \
		int (*type)[type_];                                     \
		key_ *key;                                              \
		value_ *value;                                          \
		int (*max_entries)[8];                                  \
		int (*map_flags)[flags_];                               \
	} name SEC(".maps")

static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;

struct prefix {
	__u32 length;
	__u8 address[4];
};

struct route {
	__u64 packets;
	__be32 via;
	__u16 vlan : 12, priority : 3, drop : 1;
	__u8 mac[6];
	char port[8];
	_Bool on;
};

enum state { CLOSED, OPEN, HALF_OPEN = 7 };

struct endpoint {
	__be32 address;
	__be16 port;
	__u16 zone;
};

struct flow {
	struct endpoint peer;
	enum state state;
	int delta;
	union {
		__u32 word;
		__u8 bytes[4];
	};
	signed char low[2][2];
	__u64 samples[3];
	void *next;
	__int128 wide;
};

MAP(1, struct endpoint, struct flow, 0, flows);      /* hash */
MAP(2, __u32, struct route, 0, table);               /* array */
MAP(5, enum state, int, 0, percpu);                  /* percpu_hash */
MAP(6, __u32, __u64, 0, counts);                     /* percpu_array */
MAP(9, __be32, __be16, 0, recent);                   /* lru_hash */
MAP(10, __u64, struct endpoint, 0, sessions);        /* lru_percpu_hash */
MAP(11, struct prefix, struct route, 1, routes);     /* lpm_trie */

SEC("xdp") int kinds(void *ctx)
{
	struct endpoint e = {};
	struct prefix p = {};
	__u64 zero = 0;
	void *found = map_lookup_elem(&flows, &e);

	found = map_lookup_elem(&table, &zero) ?: found;
	found = map_lookup_elem(&percpu, &zero) ?: found;
	found = map_lookup_elem(&counts, &zero) ?: found;
	found = map_lookup_elem(&recent, &zero) ?: found;
	found = map_lookup_elem(&sessions, &zero) ?: found;
	found = map_lookup_elem(&routes, &p) ?: found;
	return found ? 1 : 2;
}

char _license[] SEC("license") = "Dual BSD/GPL";
