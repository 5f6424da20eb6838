// SPDX-License-Identifier: GPL-2.0
/*
 * replay.c - addresses, routes, neighbours and the queueing discipline of an interface
 *
 * The kernel tells them in the form in which it takes them. So they are kept as they come,
 * and sent back with the number of the new interface in the place of the old one's, as ip-address(8)
 * and ip-route(8) save and restore them. What the kernel makes by itself is left to it.
 */
#define _GNU_SOURCE 1

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "carry.h"

#define LOCAL_BY_KERNEL	3	/* IFAPROT_KERNEL_LL */

/* Without classes, and told as they are configured */
static const char *const carried_qdiscs[] = {
	"pfifo", "bfifo", "pfifo_fast", "fq", "fq_codel", "codel", "sfq", "cake", "noqueue", NULL
};

/* ------------------------------------------------------------------ reading */

static int keep_address(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *a = NLMSG_DATA(h);
	const struct rtattr *proto = rtnl_attr(h, sizeof(*a), IFA_PROTO);
	struct carried *c = arg;

	if (h->nlmsg_type != RTM_NEWADDR || (int)a->ifa_index != c->index ||
	    (a->ifa_family != AF_INET && a->ifa_family != AF_INET6))
		return 0;
	/* The kernel makes it anew */
	if (a->ifa_family == AF_INET6 && a->ifa_scope == RT_SCOPE_LINK && proto &&
	    *(unsigned char *)RTA_DATA(proto) == LOCAL_BY_KERNEL)
		return 0;
	return rtnl_keep(&c->addresses, h);
}

/* Whether the kernel itself listens to routers */
static bool hears_routers(const struct carried *c)
{
	const struct setting *s;
	int accept = 0, forwarding = 0;

	for (s = c->settings; s; s = s->next) {
		if (!strcmp(s->path, "/proc/sys/net/ipv6/conf/%s/accept_ra"))
			accept = atoi(s->value);
		if (!strcmp(s->path, "/proc/sys/net/ipv6/conf/%s/forwarding"))
			forwarding = atoi(s->value);
	}
	return accept == 2 || (accept && !forwarding);
}

static bool has_hop(const struct rtattr *multipath, int index)
{
	const struct rtnexthop *hop;
	int len;

	if (!multipath)
		return false;
	len = RTA_PAYLOAD(multipath);
	for (hop = RTA_DATA(multipath); RTNH_OK(hop, len); len -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
		if (hop->rtnh_ifindex == index)
			return true;
	return false;
}

/* Whether @address is one of the interface: a route by way of another one that prefers it goes, too */
static bool is_ours(const struct carried *c, const struct rtattr *address)
{
	struct nlmsghdr *h = NULL;

	while (address && (h = rtnl_next(&c->addresses, h))) {
		const struct rtattr *a = rtnl_attr(h, sizeof(struct ifaddrmsg), IFA_LOCAL);

		if (!a)
			a = rtnl_attr(h, sizeof(struct ifaddrmsg), IFA_ADDRESS);
		if (a && RTA_PAYLOAD(a) == RTA_PAYLOAD(address) &&
		    !memcmp(RTA_DATA(a), RTA_DATA(address), RTA_PAYLOAD(a)))
			return true;
	}
	return false;
}

static int keep_route(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *r = NLMSG_DATA(h);
	struct carried *c = arg;

	if (h->nlmsg_type != RTM_NEWROUTE || (r->rtm_flags & RTM_F_CLONED) ||
	    (r->rtm_family != AF_INET && r->rtm_family != AF_INET6) ||
	    r->rtm_protocol == RTPROT_KERNEL || r->rtm_protocol == RTPROT_REDIRECT ||
	    (r->rtm_protocol == RTPROT_RA && hears_routers(c)))
		return 0;
	if (rtnl_u32(rtnl_attr(h, sizeof(*r), RTA_OIF), 0) != (uint32_t)c->index &&
	    !has_hop(rtnl_attr(h, sizeof(*r), RTA_MULTIPATH), c->index) &&
	    !is_ours(c, rtnl_attr(h, sizeof(*r), RTA_PREFSRC)))
		return 0;
	return rtnl_keep(&c->routes, h);
}

static int keep_neighbour(const struct nlmsghdr *h, void *arg)
{
	const struct ndmsg *n = NLMSG_DATA(h);
	struct carried *c = arg;

	if (h->nlmsg_type != RTM_NEWNEIGH || n->ndm_ifindex != c->index ||
	    (n->ndm_family != AF_INET && n->ndm_family != AF_INET6) ||
	    !((n->ndm_state & NUD_PERMANENT) || (n->ndm_flags & NTF_PROXY)))
		return 0;
	return rtnl_keep(&c->neighbours, h);
}

static int keep_qdisc(const struct nlmsghdr *h, void *arg)
{
	const struct tcmsg *t = NLMSG_DATA(h);
	struct carried *c = arg;

	/* Those without a handle are the kernel's choice, made anew */
	if (h->nlmsg_type != RTM_NEWQDISC || t->tcm_ifindex != c->index || !t->tcm_handle)
		return 0;
	return rtnl_keep(&c->qdiscs, h);
}

static int read_all(struct carried *c, int type, const void *header, size_t len,
		    int (*keep)(const struct nlmsghdr *h, void *arg), struct rtnl_kept *to)
{
	struct rtnl_request r;
	size_t before = to->len;
	int err, tries = 0;

	/* Somebody has changed it while it was told: once more */
	do {
		to->len = before;
		rtnl_begin(&r, type, 0, header, len);
		err = rtnl_dump(c->rtnl, &r, keep, c);
	} while (err == -EAGAIN && ++tries < 20);
	return err;
}

int replay_read(struct carried *c)
{
	static const int families[] = { AF_INET, AF_INET6 };
	const struct ifaddrmsg address = { 0 };
	const struct ndmsg neighbour = { 0 };
	const struct tcmsg qdisc = { .tcm_ifindex = c->index };
	int err;
	size_t i;

	err = read_all(c, RTM_GETADDR, &address, sizeof(address), keep_address, &c->addresses);
	for (i = 0; !err && i < 2; i++) {
		const struct rtmsg route = { .rtm_family = families[i] };

		err = read_all(c, RTM_GETROUTE, &route, sizeof(route), keep_route, &c->routes);
		/* A kernel without IPv6 has none */
		if (i && err == -EOPNOTSUPP)
			err = 0;
	}
	if (!err)
		err = read_all(c, RTM_GETNEIGH, &neighbour, sizeof(neighbour), keep_neighbour, &c->neighbours);
	for (i = 0; !err && i < 2; i++) {
		const struct ndmsg proxy = { .ndm_family = families[i], .ndm_flags = NTF_PROXY };

		err = read_all(c, RTM_GETNEIGH, &proxy, sizeof(proxy), keep_neighbour, &c->neighbours);
	}
	if (!err)
		err = read_all(c, RTM_GETQDISC, &qdisc, sizeof(qdisc), keep_qdisc, &c->qdiscs);
	return err ? fail("cannot read what %s has: %s", c->name, strerror(-err)) : 0;
}

/* ---------------------------------------------------------------- replaying */

/* The request that makes what @h tells, with all its attributes but those in @not */
static void again(struct rtnl_request *r, const struct nlmsghdr *h, size_t header, int flags, const int *not)
{
	int len = (int)h->nlmsg_len - (int)NLMSG_SPACE(header), i;
	const struct rtattr *attr = (void *)((unsigned char *)NLMSG_DATA(h) + NLMSG_ALIGN(header));

	rtnl_begin(r, h->nlmsg_type, flags, NLMSG_DATA(h), header);
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		for (i = 0; not[i] >= 0 && not[i] != (attr->rta_type & NLA_TYPE_MASK); i++)
			;
		if (not[i] < 0)
			rtnl_put(r, attr->rta_type, RTA_DATA(attr), RTA_PAYLOAD(attr));
	}
}

/* An address as text, for a message */
static const char *text(int family, const struct rtattr *attr)
{
	static char buf[INET6_ADDRSTRLEN];

	return attr && inet_ntop(family, RTA_DATA(attr), buf, sizeof(buf)) ? buf : "default";
}

static int send_address(const struct carried *c, const struct nlmsghdr *h, int index)
{
	static const int not[] = { IFA_FLAGS, IFA_MULTICAST, IFA_ANYCAST, -1 };
	const struct ifaddrmsg *old = NLMSG_DATA(h);
	uint32_t flags = rtnl_u32(rtnl_attr(h, sizeof(*old), IFA_FLAGS), old->ifa_flags);
	struct rtnl_request r;
	struct ifaddrmsg *a = (void *)r.body;
	int err;

	/* They were seen to be unique: no reason to wait again */
	if (old->ifa_family == AF_INET6 && !(flags & IFA_F_DADFAILED))
		flags |= IFA_F_NODAD;
	flags &= ~(IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_SECONDARY);
	again(&r, h, sizeof(*a), NLM_F_CREATE | NLM_F_REPLACE, not);
	a->ifa_index = index;
	a->ifa_flags = flags;
	rtnl_put(&r, IFA_FLAGS, &flags, sizeof(flags));
	err = rtnl_talk(c->rtnl, &r);
	return err ? fail("%s: not restored: address %s: %s", c->name,
			  text(old->ifa_family, rtnl_attr(h, sizeof(*old), IFA_ADDRESS)), strerror(-err)) : 0;
}

/* The last one of @family before @end */
static struct nlmsghdr *address_before(const struct carried *c, const struct nlmsghdr *end, int family)
{
	struct nlmsghdr *h = NULL, *last = NULL;

	while ((h = rtnl_next(&c->addresses, h)) && h != end)
		if (((struct ifaddrmsg *)NLMSG_DATA(h))->ifa_family == family)
			last = h;
	return last;
}

/* Each family in the order in which they were added: IPv6 tells the last one first */
int replay_addresses(const struct carried *c, int index)
{
	struct nlmsghdr *h = NULL;
	int ret = 0;

	while ((h = rtnl_next(&c->addresses, h)))
		if (((struct ifaddrmsg *)NLMSG_DATA(h))->ifa_family == AF_INET)
			ret |= send_address(c, h, index);
	h = NULL;
	while ((h = address_before(c, h, AF_INET6)))
		ret |= send_address(c, h, index);
	return ret;
}

/* Send a route with the new interface in the place of the old one, and with @only of its hops if that is not NULL */
static int send_hops(const struct carried *c, const struct nlmsghdr *h, int index, const struct rtnexthop *only)
{
	const int not[] = { RTA_CACHEINFO, RTA_TTL_PROPAGATE, only ? RTA_MULTIPATH : -1, -1 };
	const struct rtattr *attr;
	struct rtnl_request r;
	struct rtnexthop *hop;
	struct rtmsg *m;
	int len;

	again(&r, h, sizeof(*m), NLM_F_CREATE | NLM_F_APPEND, not);
	m = (void *)r.body;
	m->rtm_flags &= RTNH_F_ONLINK | RTNH_F_PERVASIVE;
	attr = rtnl_attr(&r.h, sizeof(*m), RTA_OIF);
	if (rtnl_u32(attr, 0) == (uint32_t)c->index)
		memcpy(RTA_DATA(attr), &index, sizeof(index));
	if (only)
		rtnl_put(&r, RTA_MULTIPATH, only, only->rtnh_len);
	attr = rtnl_attr(&r.h, sizeof(*m), RTA_MULTIPATH);
	len = attr ? RTA_PAYLOAD(attr) : 0;
	for (hop = attr ? RTA_DATA(attr) : NULL; hop && RTNH_OK(hop, len);
	     len -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
		hop->rtnh_flags &= RTNH_F_ONLINK | RTNH_F_PERVASIVE;
		if (hop->rtnh_ifindex == c->index)
			hop->rtnh_ifindex = index;
	}
	return rtnl_talk(c->rtnl, &r);
}

/*
 * A route of IPv6 is a route for each hop, and only those of the old interface went with it: a request
 * with one that is still there (EEXIST) takes back what it has added before that
 */
static int send_route(const struct carried *c, const struct nlmsghdr *h, int index)
{
	const struct rtattr *attr = rtnl_attr(h, sizeof(struct rtmsg), RTA_MULTIPATH);
	const struct rtnexthop *hop;
	int len, err, ret = 0;

	if (!attr || ((struct rtmsg *)NLMSG_DATA(h))->rtm_family != AF_INET6)
		return send_hops(c, h, index, NULL);
	len = RTA_PAYLOAD(attr);
	for (hop = RTA_DATA(attr); RTNH_OK(hop, len); len -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
		err = send_hops(c, h, index, hop);
		if (err && err != -EEXIST)
			ret = err;
	}
	return ret;
}

/*
 * In turns: a gateway may have to be reached by a route that comes later in the table
 */
int replay_routes(const struct carried *c, int index)
{
	bool last = false, more, progress;
	int err, ret = 0;

	do {
		struct nlmsghdr *h = NULL;

		more = progress = false;
		while ((h = rtnl_next(&c->routes, h))) {
			const struct rtmsg *m = NLMSG_DATA(h);

			if (h->nlmsg_type == NLMSG_NOOP)
				continue;
			err = send_route(c, h, index);
			/* One whose other ways were there is still there */
			if (!err || err == -EEXIST) {
				h->nlmsg_type = NLMSG_NOOP;
				progress = true;
				continue;
			}
			more = true;
			if (last)
				ret |= fail("%s: not restored: route to %s/%d, table %u: %s", c->name,
					    text(m->rtm_family, rtnl_attr(h, sizeof(*m), RTA_DST)), m->rtm_dst_len,
					    rtnl_u32(rtnl_attr(h, sizeof(*m), RTA_TABLE), m->rtm_table), strerror(-err));
		}
		if (last)
			break;
		last = !progress;
	} while (more);
	return ret;
}

int replay_neighbours(const struct carried *c, int index)
{
	static const int not[] = { NDA_CACHEINFO, NDA_PROBES, -1 };
	struct nlmsghdr *h = NULL;
	struct rtnl_request r;
	int err, ret = 0;

	while ((h = rtnl_next(&c->neighbours, h))) {
		const struct ndmsg *old = NLMSG_DATA(h);

		again(&r, h, sizeof(*old), NLM_F_CREATE | NLM_F_REPLACE, not);
		((struct ndmsg *)r.body)->ndm_ifindex = index;
		err = rtnl_talk(c->rtnl, &r);
		if (err)
			ret |= fail("%s: not restored: neighbour %s: %s", c->name,
				    text(old->ndm_family, rtnl_attr(h, sizeof(*old), NDA_DST)), strerror(-err));
	}
	return ret;
}

const char *replay_qdisc_refused(const struct carried *c)
{
	struct nlmsghdr *h = NULL;
	int i;

	while ((h = rtnl_next(&c->qdiscs, h))) {
		const struct rtattr *kind = rtnl_attr(h, sizeof(struct tcmsg), TCA_KIND);
		const struct tcmsg *t = NLMSG_DATA(h);

		if (!kind)
			return "?";
		for (i = 0; carried_qdiscs[i] && strcmp(RTA_DATA(kind), carried_qdiscs[i]); i++)
			;
		if (!carried_qdiscs[i] || t->tcm_parent != TC_H_ROOT || rtnl_attr(h, sizeof(*t), TCA_STAB))
			return RTA_DATA(kind);
	}
	return NULL;
}

int replay_qdisc(const struct carried *c, int index)
{
	static const int not[] = { TCA_STATS, TCA_STATS2, TCA_XSTATS, TCA_RATE, TCA_FCNT, TCA_HW_OFFLOAD, -1 };
	struct nlmsghdr *h = NULL;
	struct rtnl_request r;
	int err, ret = 0;

	while ((h = rtnl_next(&c->qdiscs, h))) {
		again(&r, h, sizeof(struct tcmsg), NLM_F_CREATE | NLM_F_REPLACE, not);
		((struct tcmsg *)r.body)->tcm_ifindex = index;
		((struct tcmsg *)r.body)->tcm_info = 0;
		err = rtnl_talk(c->rtnl, &r);
		if (err)
			ret |= fail("%s: not restored: queueing discipline %s: %s", c->name,
				    (const char *)RTA_DATA(rtnl_attr(h, sizeof(struct tcmsg), TCA_KIND)), strerror(-err));
	}
	return ret;
}
