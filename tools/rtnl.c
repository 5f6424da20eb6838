// SPDX-License-Identifier: GPL-2.0
/*
 * rtnl.c - rtnetlink: requests, dumps, attributes
 */
#define _GNU_SOURCE 1

#include "rtnl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int rtnl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), on = 1;
	struct timeval bound = { .tv_sec = 30 };

	if (fd < 0)
		return -errno;
	/* Older kernels tell less, and that is all */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
	return fd;
}

void rtnl_begin(struct rtnl_request *r, int type, int flags, const void *header, size_t len)
{
	memset(&r->h, 0, sizeof(r->h));
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = NLM_F_REQUEST | flags;
	r->h.nlmsg_len = NLMSG_LENGTH(len);
	memset(r->body, 0, NLMSG_ALIGN(len));
	memcpy(r->body, header, len);
}

/* What does not fit makes the message too long, and rtnl_talk() says so */
void rtnl_put(struct rtnl_request *r, int type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(r->h.nlmsg_len);
	struct rtattr *attr = (struct rtattr *)((unsigned char *)r + at);

	if (at + RTA_SPACE(len) > sizeof(*r)) {
		r->h.nlmsg_len = sizeof(*r);
		return;
	}
	memset(attr, 0, RTA_SPACE(len));
	attr->rta_type = type;
	attr->rta_len = RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
	r->h.nlmsg_len = at + RTA_ALIGN(attr->rta_len);
}

struct rtattr *rtnl_nest(struct rtnl_request *r, int type)
{
	struct rtattr *nest = (struct rtattr *)((unsigned char *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	rtnl_put(r, type | NLA_F_NESTED, NULL, 0);
	return nest;
}

void rtnl_nest_end(struct rtnl_request *r, struct rtattr *nest)
{
	nest->rta_len = (unsigned char *)r + r->h.nlmsg_len - (unsigned char *)nest;
}

static int rtnl_send(int fd, struct rtnl_request *r)
{
	static uint32_t seq;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (r->h.nlmsg_len >= sizeof(*r))
		return -EMSGSIZE;
	r->h.nlmsg_seq = ++seq;
	if (sendto(fd, r, r->h.nlmsg_len, 0, (void *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

/* Read what answers @seq, up to its end */
static int rtnl_receive(int fd, uint32_t seq, int (*each)(const struct nlmsghdr *h, void *arg), void *arg)
{
	static unsigned char buf[65536] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool interrupted = false;
	int stopped = 0;

	for (;;) {
		const struct nlmsghdr *h = (void *)buf;
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if ((size_t)n > sizeof(buf))
			return -EMSGSIZE;
		for (; NLMSG_OK(h, (unsigned int)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_seq != seq)
				continue;
			interrupted |= !!(h->nlmsg_flags & NLM_F_DUMP_INTR);
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_type == NLMSG_DONE)
				return stopped ? stopped : interrupted ? -EAGAIN : 0;
			if (each && !stopped)
				stopped = each(h, arg);
		}
	}
}

int rtnl_talk(int fd, struct rtnl_request *r)
{
	int err;

	r->h.nlmsg_flags |= NLM_F_ACK;
	err = rtnl_send(fd, r);
	return err ? err : rtnl_receive(fd, r->h.nlmsg_seq, NULL, NULL);
}

static int keep_it(const struct nlmsghdr *h, void *arg)
{
	return rtnl_keep(arg, h);
}

/* The acknowledgement ends it, if an error has not */
int rtnl_ask(int fd, struct rtnl_request *r, struct rtnl_kept *answer)
{
	int err;

	r->h.nlmsg_flags |= NLM_F_ACK;
	err = rtnl_send(fd, r);
	if (!err)
		err = rtnl_receive(fd, r->h.nlmsg_seq, keep_it, answer);
	return err ? err : answer->len ? 0 : -ENODATA;
}

int rtnl_dump(int fd, struct rtnl_request *r, int (*each)(const struct nlmsghdr *h, void *arg), void *arg)
{
	int err;

	r->h.nlmsg_flags |= NLM_F_DUMP;
	err = rtnl_send(fd, r);
	return err ? err : rtnl_receive(fd, r->h.nlmsg_seq, each, arg);
}

static const struct rtattr *find(const struct rtattr *attr, int len, int type)
{
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if ((attr->rta_type & NLA_TYPE_MASK) == type)
			return attr;
	return NULL;
}

const struct rtattr *rtnl_attr(const struct nlmsghdr *h, size_t len, int type)
{
	return find((void *)((unsigned char *)NLMSG_DATA(h) + NLMSG_ALIGN(len)),
		    (int)h->nlmsg_len - (int)NLMSG_SPACE(len), type);
}

const struct rtattr *rtnl_nested(const struct rtattr *nest, int type)
{
	return nest ? find(RTA_DATA(nest), RTA_PAYLOAD(nest), type) : NULL;
}

uint32_t rtnl_u32(const struct rtattr *attr, uint32_t otherwise)
{
	uint32_t v;

	if (!attr || RTA_PAYLOAD(attr) < sizeof(v))
		return otherwise;
	memcpy(&v, RTA_DATA(attr), sizeof(v));
	return v;
}

int rtnl_keep(struct rtnl_kept *kept, const struct nlmsghdr *h)
{
	size_t len = NLMSG_ALIGN(h->nlmsg_len);

	if (kept->len + len > kept->size) {
		size_t size = kept->size * 2 + len;
		unsigned char *data = realloc(kept->data, size);

		if (!data)
			return -ENOMEM;
		kept->data = data;
		kept->size = size;
	}
	memset(kept->data + kept->len, 0, len);
	memcpy(kept->data + kept->len, h, h->nlmsg_len);
	kept->len += len;
	return 0;
}

struct nlmsghdr *rtnl_next(const struct rtnl_kept *kept, struct nlmsghdr *h)
{
	unsigned char *next = h ? (unsigned char *)h + NLMSG_ALIGN(h->nlmsg_len) : kept->data;

	return next && next < kept->data + kept->len ? (void *)next : NULL;
}
