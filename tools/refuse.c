// SPDX-License-Identifier: GPL-2.0
/*
 * refuse.c - what goes with an interface and cannot be made again: said before anything is touched
 */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/nexthop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "carry.h"

struct looking {
	const struct carried *c;
	char on[IF_NAMESIZE];	/* a link that is on top */
	char kind[32];
	uint32_t nexthop;
	int nsid;		/* what our namespace is called in the one that is looked at; -1: ours */
};

static void note_link(struct looking *l, const struct nlmsghdr *h)
{
	const struct rtattr *name = rtnl_attr(h, sizeof(struct ifinfomsg), IFLA_IFNAME);
	const struct rtattr *kind = rtnl_nested(rtnl_attr(h, sizeof(struct ifinfomsg), IFLA_LINKINFO), IFLA_INFO_KIND);

	snprintf(l->on, sizeof(l->on), "%.*s", name ? (int)RTA_PAYLOAD(name) : 0, name ? (char *)RTA_DATA(name) : "");
	snprintf(l->kind, sizeof(l->kind), "%.*s", kind ? (int)RTA_PAYLOAD(kind) : 4, kind ? (char *)RTA_DATA(kind) : "link");
}

/* VLANs, macvlans, tunnels: their link is this one. A vxlan tells it in its own way */
static int look_at_link(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	const struct rtattr *data, *kind;
	struct looking *l = arg;
	uint32_t index = l->c->index;

	if (h->nlmsg_type != RTM_NEWLINK || (l->nsid < 0 && i->ifi_index == (int)index))
		return 0;
	kind = rtnl_nested(rtnl_attr(h, sizeof(*i), IFLA_LINKINFO), IFLA_INFO_KIND);
	data = rtnl_nested(rtnl_attr(h, sizeof(*i), IFLA_LINKINFO), IFLA_INFO_DATA);
	if ((rtnl_u32(rtnl_attr(h, sizeof(*i), IFLA_LINK), 0) == index &&
	     rtnl_u32(rtnl_attr(h, sizeof(*i), IFLA_LINK_NETNSID), -1) == (uint32_t)l->nsid) ||
	    (l->nsid < 0 && kind && !strncmp(RTA_DATA(kind), "vxlan", RTA_PAYLOAD(kind)) &&
	     rtnl_u32(rtnl_nested(data, IFLA_VXLAN_LINK), 0) == index))
		note_link(l, h);
	return 0;
}

static int look_at_nexthop(const struct nlmsghdr *h, void *arg)
{
	struct looking *l = arg;

	if (h->nlmsg_type == RTM_NEWNEXTHOP &&
	    rtnl_u32(rtnl_attr(h, sizeof(struct nhmsg), NHA_OIF), 0) == (uint32_t)l->c->index)
		l->nexthop = rtnl_u32(rtnl_attr(h, sizeof(struct nhmsg), NHA_ID), 0);
	return 0;
}

/*
 * As rtnl_dump(): once more where somebody has changed something meanwhile, as what was
 * told may lack a link then, or have one that is gone
 */
static int look(int rtnl, struct rtnl_request *r, int (*at)(const struct nlmsghdr *h, void *arg), struct looking *l)
{
	int err, tries = 0;

	do {
		*l->on = 0;
		l->nexthop = 0;
		err = rtnl_dump(rtnl, r, at, l);
	} while (err == -EAGAIN && ++tries < 20);
	return err;
}

/* What namespace @own is called in that of @rtnl; -1: it has no name there, and so no link has one */
static int name_of(int rtnl, int own)
{
	struct rtgenmsg header = { .rtgen_family = AF_UNSPEC };
	struct rtnl_kept answer = { 0 };
	struct rtnl_request r;
	int nsid = -1;

	rtnl_begin(&r, RTM_GETNSID, 0, &header, sizeof(header));
	rtnl_put(&r, NETNSA_FD, &own, sizeof(own));
	if (!rtnl_ask(rtnl, &r, &answer))
		nsid = rtnl_u32(rtnl_attr(rtnl_next(&answer, NULL), sizeof(header), NETNSA_NSID), -1);
	free(answer.data);
	return nsid;
}

/*
 * In the namespace that @path names, a link that is on top of ours. Where nobody can enter, as
 * the namespace is gone, there is none of ours. Returns 0 or a negative errno
 */
static int look_elsewhere(struct looking *l, const char *path, int own)
{
	struct ifinfomsg all_links = { 0 };
	struct rtnl_request r;
	int there = open(path, O_RDONLY | O_CLOEXEC), rtnl = -1, err = 0;

	if (there >= 0 && !setns(there, CLONE_NEWNET)) {
		rtnl = rtnl_open();
		if (rtnl < 0)
			err = rtnl;
		l->nsid = rtnl >= 0 ? name_of(rtnl, own) : -1;
		if (l->nsid >= 0) {
			rtnl_begin(&r, RTM_GETLINK, 0, &all_links, sizeof(all_links));
			err = look(rtnl, &r, look_at_link, l);
		}
		l->nsid = -1;
	}
	if (rtnl >= 0)
		close(rtnl);
	if (there >= 0)
		close(there);
	return err;
}

/*
 * Containers have their macvlans in namespaces of their own, and nothing here shows them. So
 * all namespaces are looked at that have a process, or a name. Returns 0 or a negative errno.
 */
static int look_everywhere(struct looking *l)
{
	static const char *const places[] = { "/run/netns", "/run/docker/netns", "/proc" };
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), n = 0, err = 0, k;
	ino_t seen[1024];
	struct stat st;
	size_t i;

	if (own < 0 || fstat(own, &st))
		return -errno;
	seen[n++] = st.st_ino;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		DIR *dir = opendir(places[i]);
		struct dirent *entry;
		char path[PATH_MAX];

		while (dir && !*l->on && !err && (entry = readdir(dir))) {
			if (entry->d_name[0] == '.' || (i == 2 && (entry->d_name[0] < '0' || entry->d_name[0] > '9')))
				continue;
			snprintf(path, sizeof(path), "%s/%s%s", places[i], entry->d_name, i == 2 ? "/ns/net" : "");
			if (stat(path, &st))
				continue;
			for (k = 0; k < n && seen[k] != st.st_ino; k++)
				;
			if (k < n)
				continue;
			if (n < (int)(sizeof(seen) / sizeof(seen[0])))
				seen[n++] = st.st_ino;
			err = look_elsewhere(l, path, own);
		}
		if (dir)
			closedir(dir);
	}
	if (setns(own, CLONE_NEWNET))
		err = -errno;
	close(own);
	return err;
}

int refuse(const struct carried *c)
{
	const struct nlmsghdr *link = rtnl_next(&c->link, NULL);
	const size_t header = sizeof(struct ifinfomsg);
	const struct rtattr *attr;
	struct ifinfomsg all_links = { 0 };
	struct nhmsg all_hops = { 0 };
	struct looking l = { .c = c, .nsid = -1 };
	struct rtnl_request r;
	char name[IF_NAMESIZE];
	const char *kind;
	uint32_t master;
	int err;

	master = rtnl_u32(rtnl_attr(link, header, IFLA_MASTER), 0);
	if (master)
		return fail("%s would be lost to %s: take it out first (ip link set %s nomaster)", c->name,
			    if_indextoname(master, name) ? name : "its master", c->name);
	rtnl_begin(&r, RTM_GETLINK, 0, &all_links, sizeof(all_links));
	err = look(c->rtnl, &r, look_at_link, &l);
	if (err)
		return fail("cannot look at what is on top of %s: %s", c->name, strerror(-err));
	if (*l.on)
		return fail("%s (%s) is on top of %s and would be lost: delete it first (ip link del %s)", l.on, l.kind,
			    c->name, l.on);
	err = look_everywhere(&l);
	if (err)
		return fail("cannot look at other network namespaces: %s", strerror(-err));
	if (*l.on)
		return fail("%s (%s), in another network namespace, is on top of %s and would be lost: delete it first",
			    l.on, l.kind, c->name);
	attr = rtnl_nested(rtnl_attr(link, header, IFLA_XDP), IFLA_XDP_ATTACHED);
	if (attr && RTA_PAYLOAD(attr) && *(unsigned char *)RTA_DATA(attr))
		return fail("the XDP program of %s would be lost: take it off first (ip link set %s xdp off)", c->name,
			    c->name);
	kind = replay_qdisc_refused(c);
	if (kind)
		return fail("the queueing discipline %s of %s, with classes and filters, would be lost: delete it first"
			    " (tc qdisc del dev %s %s)", kind, c->name, c->name,
			    !strcmp(kind, "ingress") || !strcmp(kind, "clsact") ? kind : "root");
	rtnl_begin(&r, RTM_GETNEXTHOP, 0, &all_hops, sizeof(all_hops));
	err = look(c->rtnl, &r, look_at_nexthop, &l);
	if (err)
		return fail("cannot look at the nexthops of %s: %s", c->name, strerror(-err));
	if (l.nexthop)
		return fail("nexthop %u of %s would be lost, with the routes that use it: delete it first"
			    " (ip nexthop del id %u)", l.nexthop, c->name, l.nexthop);
	return 0;
}
