/* SPDX-License-Identifier: GPL-2.0 */
/* rtnl.h - rtnetlink, as much of it as carrying an interface over needs */
#ifndef STACKMAP_TOOLS_RTNL_H
#define STACKMAP_TOOLS_RTNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define RTNL_MESSAGE_MAX	16384

/* A request that is being made */
struct rtnl_request {
	struct nlmsghdr h;
	unsigned char body[RTNL_MESSAGE_MAX];
};

/* Messages, one after the other */
struct rtnl_kept {
	unsigned char *data;
	size_t len, size;
};

/* All return 0 or a negative errno, unless said otherwise */
int rtnl_open(void);	/* a descriptor, of the network namespace that this thread is in */
void rtnl_begin(struct rtnl_request *r, int type, int flags, const void *header, size_t len);
void rtnl_put(struct rtnl_request *r, int type, const void *data, size_t len);
struct rtattr *rtnl_nest(struct rtnl_request *r, int type);
void rtnl_nest_end(struct rtnl_request *r, struct rtattr *nest);
/* Send and wait for the answer */
int rtnl_talk(int fd, struct rtnl_request *r);
/* Send, and keep what is answered: one message */
int rtnl_ask(int fd, struct rtnl_request *r, struct rtnl_kept *answer);
/* Send, and have @each called for each message; it returns 0 to go on */
int rtnl_dump(int fd, struct rtnl_request *r, int (*each)(const struct nlmsghdr *h, void *arg), void *arg);

/* The attribute @type behind a header of @len bytes, or in a nest; NULL without one */
const struct rtattr *rtnl_attr(const struct nlmsghdr *h, size_t len, int type);
const struct rtattr *rtnl_nested(const struct rtattr *nest, int type);
/* Its value; @otherwise without it */
uint32_t rtnl_u32(const struct rtattr *attr, uint32_t otherwise);

int rtnl_keep(struct rtnl_kept *kept, const struct nlmsghdr *h);
/* The first message after @h, or the first of all; NULL at the end */
struct nlmsghdr *rtnl_next(const struct rtnl_kept *kept, struct nlmsghdr *h);

#endif
