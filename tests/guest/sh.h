/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sh.h - commands, by bash: busybox's shell would prefer its own ip and ping
 */
#ifndef SH_H
#define SH_H

#include <stddef.h>

/* The command's status; fails the test when it takes longer than 60 s */
__attribute__((format(printf, 1, 2))) int sh(const char *fmt, ...);
/* What it writes, up to @size - 1 bytes */
__attribute__((format(printf, 3, 4)))
int sh_read(char *to, size_t size, const char *fmt, ...);
/* How long the last one took */
extern double sh_seconds;

/* Whether @addr answers a ping within 10 s. Where the first one fails, the state of the NIC is printed */
int sh_pings(const char *addr);

/*
 * How many times 256 buffers the NIC's receive ring has, 1 at least: 1 with QEMU 7.2, 4 with that of
 * Debian 13. What a test does until they have all gone by, it does so many times
 */
int sh_ring_turns(const char *ifname);

/* The NIC as it was when the guest had booted, whatever a test has left of it */
void sh_restore_nic(void);
/* A veth pair with NAPI, and a peer in the namespace of its other end: place_veth */
void sh_veth(void);
void sh_veth_end(void);
/* A script at the same time as what the test does; sh_end() takes its status */
__attribute__((format(printf, 1, 2))) int sh_meanwhile(const char *fmt, ...);
void sh_end(int pid);

#endif /* SH_H */
