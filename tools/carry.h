/* SPDX-License-Identifier: GPL-2.0 */
/*
 * carry.h - what an interface has, so that the one that takes its place can be given it
 *
 *   rtnl.c     rtnetlink
 *   link.c     the link: name, MTU, addresses of the hardware, flags and the like
 *   replay.c   addresses, routes, neighbours and the queueing discipline
 *   files.c    settings under /proc/sys and /sys
 *   refuse.c   what cannot be carried over
 *   carry.c    in which order, and between network namespaces
 */
#ifndef STACKMAP_TOOLS_CARRY_H
#define STACKMAP_TOOLS_CARRY_H

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>

#include "rtnl.h"

struct setting {
	struct setting *next;
	char path[160];		/* with %s for the interface */
	char value[160];
};

struct carried {
	int rtnl;
	bool there;		/* the device has an interface */
	int index;
	char name[IF_NAMESIZE];
	struct rtnl_kept link, addresses, routes, neighbours, qdiscs;
	struct setting *settings;
	struct setting *multicast;	/* addresses of the hardware, added by hand */
};

/* A line on standard error. Returns -1 */
__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);

/* carry.c. Each returns 0 or -1 */
int carry_read(struct carried *c, const char *device);
int carry_restore(struct carried *c, const char *device);
void carry_free(struct carried *c);

/* link.c */
/* Keep the link whose name is @name, or else that of the virtio device @device. Returns 0, -ENODEV, another errno */
int link_find(int rtnl, const char *name, const char *device, struct rtnl_kept *link);
int link_index(const struct rtnl_kept *link);
const char *link_text(const struct rtnl_kept *link, int type);
int link_set(int rtnl, int index, int type, const void *data, size_t len);
int link_restore(const struct carried *c, int index);
int link_restore_flags(const struct carried *c, int index);
int link_restore_token(const struct carried *c, int index);
int link_up(int rtnl, int index);
int multicast_read(struct carried *c);
int multicast_restore(const struct carried *c);

/* replay.c */
int replay_read(struct carried *c);
int replay_qdisc(const struct carried *c, int index);
int replay_addresses(const struct carried *c, int index);
int replay_routes(const struct carried *c, int index);
int replay_neighbours(const struct carried *c, int index);
/* Which qdisc is not the kernel's own choice and cannot be carried over; NULL: none */
const char *replay_qdisc_refused(const struct carried *c);

/* files.c */
int files_read(struct carried *c);
int files_restore(const struct carried *c);

/* refuse.c: 0, or -1 after having said what would be lost */
int refuse(const struct carried *c);

#endif
