/* One program for each of the section names that samples have had. */
#include "fixture.h"

#define PROG(name, sec) SEC(sec) int name(void *ctx) { return 0; }

PROG(p_xdp, "xdp")
PROG(p_xdp1, "xdp1")
PROG(p_xdp_sock, "xdp_sock")
PROG(p_devmap, "xdp/devmap")
PROG(p_devmap_old, "xdp_devmap/egress")
PROG(p_cpumap, "xdp/cpumap")
PROG(p_frags, "xdp.frags")
PROG(p_tc, "tc")
PROG(p_cls, "classifier")
PROG(p_act, "action")
PROG(p_socket, "socket1")
PROG(p_kprobe, "kprobe/sys_write")
PROG(p_tp, "tracepoint/syscalls/sys_enter_open")
PROG(p_prog, "prog")
PROG(p_ingress, "ingress")
