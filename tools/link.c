// SPDX-License-Identifier: GPL-2.0
/*
 * link.c - what ip-link(8) and ip-maddress(8) show of an interface, read and set again
 *
 * Each thing is set by a request of its own, and only where it differs: so that one that the
 * other driver does not take costs no other, and can be named.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carry.h"

/* Newer than the headers of the systems that this is built on */
#define LINK_GSO_IPV4_MAX_SIZE	63
#define LINK_GRO_IPV4_MAX_SIZE	64

/* Flags that are somebody's choice */
#define FLAGS	(IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST | IFF_DEBUG | IFF_DYNAMIC)

struct wanted {
	const char *name, *device;
	struct rtnl_kept *link;
};

static bool is(const struct rtattr *attr, const char *text)
{
	return attr && RTA_PAYLOAD(attr) > 0 && !strncmp(RTA_DATA(attr), text, RTA_PAYLOAD(attr));
}

static bool has_altname(const struct nlmsghdr *h, const char *name)
{
	const struct rtattr *list = rtnl_attr(h, sizeof(struct ifinfomsg), IFLA_PROP_LIST), *attr;
	int len;

	if (!list)
		return false;
	len = RTA_PAYLOAD(list);
	for (attr = RTA_DATA(list); RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if (attr->rta_type == IFLA_ALT_IFNAME && is(attr, name))
			return true;
	return false;
}

static int look(const struct nlmsghdr *h, void *arg)
{
	const size_t header = sizeof(struct ifinfomsg);
	const struct wanted *w = arg;

	if (h->nlmsg_type != RTM_NEWLINK || w->link->len)
		return 0;
	if (w->name ? is(rtnl_attr(h, header, IFLA_IFNAME), w->name) || has_altname(h, w->name) :
		      is(rtnl_attr(h, header, IFLA_PARENT_DEV_NAME), w->device) &&
		      is(rtnl_attr(h, header, IFLA_PARENT_DEV_BUS_NAME), "virtio"))
		return rtnl_keep(w->link, h);
	return 0;
}

int link_find(int rtnl, const char *name, const char *device, struct rtnl_kept *link)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
	struct wanted w = { name, device, link };
	struct rtnl_request r;
	int err, tries = 0;

	link->len = 0;
	/* What was found is whole, also if others have changed meanwhile; what was not may have been left out */
	do {
		rtnl_begin(&r, RTM_GETLINK, 0, &header, sizeof(header));
		err = rtnl_dump(rtnl, &r, look, &w);
	} while (err == -EAGAIN && !link->len && ++tries < 20);
	if (link->len)
		return 0;
	return err ? err : -ENODEV;
}

static const struct ifinfomsg *info(const struct rtnl_kept *link)
{
	return NLMSG_DATA(rtnl_next(link, NULL));
}

static const struct rtattr *attr_of(const struct rtnl_kept *link, int type)
{
	return rtnl_attr(rtnl_next(link, NULL), sizeof(struct ifinfomsg), type);
}

int link_index(const struct rtnl_kept *link)
{
	return info(link)->ifi_index;
}

const char *link_text(const struct rtnl_kept *link, int type)
{
	const struct rtattr *attr = attr_of(link, type);

	return attr && RTA_PAYLOAD(attr) && !((char *)RTA_DATA(attr))[RTA_PAYLOAD(attr) - 1] ? RTA_DATA(attr) : "";
}

static int change(int rtnl, int index, unsigned int flags, unsigned int mask)
{
	struct ifinfomsg header = { .ifi_index = index, .ifi_flags = flags, .ifi_change = mask };
	struct rtnl_request r;

	rtnl_begin(&r, RTM_NEWLINK, 0, &header, sizeof(header));
	return rtnl_talk(rtnl, &r);
}

int link_up(int rtnl, int index)
{
	return change(rtnl, index, IFF_UP, IFF_UP);
}

int link_set(int rtnl, int index, int type, const void *data, size_t len)
{
	struct ifinfomsg header = { .ifi_index = index };
	struct rtnl_request r;

	rtnl_begin(&r, RTM_NEWLINK, 0, &header, sizeof(header));
	rtnl_put(&r, type, data, len);
	return rtnl_talk(rtnl, &r);
}

static int restore_altnames(const struct carried *c, int index)
{
	const struct rtattr *list = attr_of(&c->link, IFLA_PROP_LIST), *attr;
	int len, err, ret = 0;

	if (!list)
		return 0;
	len = RTA_PAYLOAD(list);
	for (attr = RTA_DATA(list); RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		struct ifinfomsg header = { .ifi_index = index };
		struct rtnl_request r;
		struct rtattr *nest;

		if (attr->rta_type != IFLA_ALT_IFNAME)
			continue;
		rtnl_begin(&r, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, &header, sizeof(header));
		nest = rtnl_nest(&r, IFLA_PROP_LIST);
		rtnl_put(&r, IFLA_ALT_IFNAME, RTA_DATA(attr), RTA_PAYLOAD(attr));
		rtnl_nest_end(&r, nest);
		err = rtnl_talk(c->rtnl, &r);
		/* udev may have been quicker */
		if (err && err != -EEXIST)
			ret |= fail("%s: not restored: alternative name %s: %s", c->name,
				    (const char *)RTA_DATA(attr), strerror(-err));
	}
	return ret;
}

/* Before the interface is up */
int link_restore(const struct carried *c, int index)
{
	static const struct {
		int type;
		const char *what;
	} all[] = {
		/* The MTU before sizes that depend on it */
		{ IFLA_ADDRESS, "hardware address" }, { IFLA_MTU, "MTU" }, { IFLA_TXQLEN, "txqueuelen" },
		{ IFLA_GROUP, "group" }, { IFLA_LINKMODE, "mode" }, { IFLA_IFALIAS, "alias" },
		{ IFLA_GSO_MAX_SIZE, "gso_max_size" }, { IFLA_GSO_MAX_SEGS, "gso_max_segs" },
		{ IFLA_GRO_MAX_SIZE, "gro_max_size" }, { LINK_GSO_IPV4_MAX_SIZE, "gso_ipv4_max_size" },
		{ LINK_GRO_IPV4_MAX_SIZE, "gro_ipv4_max_size" },
	};
	struct rtnl_kept now = { 0 };
	int err, ret = 0;
	size_t i;

	err = link_find(c->rtnl, c->name, NULL, &now);
	if (err)
		return fail("%s: cannot be read: %s", c->name, strerror(-err));
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct rtattr *old = attr_of(&c->link, all[i].type), *new = attr_of(&now, all[i].type);

		if (!old || (new && RTA_PAYLOAD(old) == RTA_PAYLOAD(new) &&
			     !memcmp(RTA_DATA(old), RTA_DATA(new), RTA_PAYLOAD(old))))
			continue;
		err = link_set(c->rtnl, index, all[i].type, RTA_DATA(old), RTA_PAYLOAD(old));
		if (err)
			ret |= fail("%s: not restored: %s: %s", c->name, all[i].what, strerror(-err));
	}
	free(now.data);
	return ret | restore_altnames(c, index);
}

int link_restore_flags(const struct carried *c, int index)
{
	int err = change(c->rtnl, index, info(&c->link)->ifi_flags & FLAGS, FLAGS);

	return err ? fail("%s: not restored: flags: %s", c->name, strerror(-err)) : 0;
}

/* ip token. Once the interface is up */
int link_restore_token(const struct carried *c, int index)
{
	static const unsigned char none[16];
	const struct rtattr *token = rtnl_nested(rtnl_nested(attr_of(&c->link, IFLA_AF_SPEC), AF_INET6),
						 IFLA_INET6_TOKEN);
	struct ifinfomsg header = { .ifi_index = index };
	struct rtattr *spec, *inet6;
	struct rtnl_request r;
	int err;

	if (!token || RTA_PAYLOAD(token) != sizeof(none) || !memcmp(RTA_DATA(token), none, sizeof(none)))
		return 0;
	rtnl_begin(&r, RTM_SETLINK, 0, &header, sizeof(header));
	spec = rtnl_nest(&r, IFLA_AF_SPEC);
	inet6 = rtnl_nest(&r, AF_INET6);
	rtnl_put(&r, IFLA_INET6_TOKEN, RTA_DATA(token), sizeof(none));
	rtnl_nest_end(&r, inet6);
	rtnl_nest_end(&r, spec);
	err = rtnl_talk(c->rtnl, &r);
	return err ? fail("%s: not restored: token: %s", c->name, strerror(-err)) : 0;
}

/* Those that nobody will join again by himself: ip maddress add */
int multicast_read(struct carried *c)
{
	char line[256], address[64];
	FILE *f = fopen("/proc/net/dev_mcast", "re");
	struct setting *s;
	int index, global;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%d %*s %*d %d %63s", &index, &global, address) != 3 || index != c->index ||
		    !global || strlen(address) != 12)
			continue;
		s = calloc(1, sizeof(*s));
		if (!s)
			break;
		snprintf(s->value, sizeof(s->value), "%s", address);
		s->next = c->multicast;
		c->multicast = s;
	}
	fclose(f);
	return 0;
}

int multicast_restore(const struct carried *c)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;
	const struct setting *s;
	unsigned char b[6];

	for (s = c->multicast; s; s = s->next) {
		struct ifreq r = { .ifr_hwaddr.sa_family = AF_UNSPEC };

		snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", c->name);
		if (sscanf(s->value, "%2hhx%2hhx%2hhx%2hhx%2hhx%2hhx", b, b + 1, b + 2, b + 3, b + 4, b + 5) != 6)
			continue;
		memcpy(r.ifr_hwaddr.sa_data, b, sizeof(b));
		if (ioctl(fd, SIOCADDMULTI, &r) && errno != EEXIST)
			ret |= fail("%s: not restored: multicast address %s: %s", c->name, s->value, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return ret;
}
