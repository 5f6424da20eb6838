// SPDX-License-Identifier: GPL-2.0
/*
 * carry.c - from an interface to the one that takes its place: in which order
 *
 * A new interface is in the first network namespace, whoever asked for it. It is
 * moved to the one that the old interface was in, which is that of this process.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "carry.h"

/* How long a new interface may take to be there, in hundredths of a second */
#define WAIT	500

int carry_read(struct carried *c, const char *device)
{
	int err;

	memset(c, 0, sizeof(*c));
	c->rtnl = rtnl_open();
	if (c->rtnl < 0)
		return fail("no rtnetlink: %s", strerror(-c->rtnl));
	err = link_find(c->rtnl, NULL, device, &c->link);
	if (err == -ENODEV)
		return 0;
	if (err)
		return fail("cannot look at the interfaces: %s", strerror(-err));
	c->there = true;
	c->index = link_index(&c->link);
	snprintf(c->name, sizeof(c->name), "%s", link_text(&c->link, IFLA_IFNAME));
	/* The settings before the routes: they tell whose these are */
	return files_read(c) || replay_read(c) || multicast_read(c) ? -1 : 0;
}

static void free_settings(struct setting *s)
{
	while (s) {
		struct setting *next = s->next;

		free(s);
		s = next;
	}
}

void carry_free(struct carried *c)
{
	free_settings(c->settings);
	free_settings(c->multicast);
	free(c->link.data);
	free(c->addresses.data);
	free(c->routes.data);
	free(c->neighbours.data);
	free(c->qdiscs.data);
	if (c->rtnl >= 0)
		close(c->rtnl);
}

/* The first network namespace, where it is not this one: a descriptor, or -1 */
static int first_namespace(int own)
{
	int first = open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC);
	struct stat a, b;

	if (first < 0 || fstat(first, &a) || fstat(own, &b))
		return first;
	if (a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return first;
	close(first);
	return -1;
}

/* From the first namespace to ours, with its name: that may be taken there or here meanwhile */
static int fetch(const char *device, const char *name, int first, int own)
{
	struct ifinfomsg header = { 0 };
	struct rtnl_kept link = { 0 };
	struct rtnl_request r;
	int rtnl, err;

	if (setns(first, CLONE_NEWNET))
		return -errno;
	rtnl = rtnl_open();
	if (setns(own, CLONE_NEWNET))
		return -errno;
	if (rtnl < 0)
		return rtnl;
	err = link_find(rtnl, NULL, device, &link);
	if (!err) {
		header.ifi_index = link_index(&link);
		rtnl_begin(&r, RTM_NEWLINK, 0, &header, sizeof(header));
		rtnl_put(&r, IFLA_NET_NS_FD, &own, sizeof(own));
		if (*name)
			rtnl_put(&r, IFLA_IFNAME, name, strlen(name) + 1);
		err = rtnl_talk(rtnl, &r);
	}
	free(link.data);
	close(rtnl);
	return err;
}

/* Wait for the new interface of @device. Returns its number, or -1 */
static int arrive(const struct carried *c, const char *device, struct rtnl_kept *link)
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), first = first_namespace(own);
	int i, err, index = -1;

	for (i = 0; i < WAIT; i++) {
		err = link_find(c->rtnl, NULL, device, link);
		if (!err) {
			index = link_index(link);
			break;
		}
		if (first >= 0) {
			err = fetch(device, c->name, first, own);
			if (!err)
				continue;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	if (index < 0)
		fail("%s has no interface after %d s: %s", device, WAIT / 100, strerror(-err));
	if (first >= 0)
		close(first);
	close(own);
	return index;
}

int carry_restore(struct carried *c, const char *device)
{
	const struct ifinfomsg *old = c->there ? NLMSG_DATA(rtnl_next(&c->link, NULL)) : NULL;
	struct rtnl_kept link = { 0 };
	int index, err, ret = 0;

	index = arrive(c, device, &link);
	if (index < 0)
		return -1;
	if (!c->there) {
		printf("%s is now %s\n", device, link_text(&link, IFLA_IFNAME));
		free(link.data);
		return 0;
	}
	if (strcmp(link_text(&link, IFLA_IFNAME), c->name)) {
		err = link_set(c->rtnl, index, IFLA_IFNAME, c->name, strlen(c->name) + 1);
		if (err) {
			ret |= fail("%s is called %s now: %s", c->name, link_text(&link, IFLA_IFNAME), strerror(-err));
			snprintf(c->name, sizeof(c->name), "%s", link_text(&link, IFLA_IFNAME));
		}
	}
	free(link.data);
	ret |= link_restore(c, index);
	ret |= link_restore_flags(c, index);
	ret |= multicast_restore(c);
	/* Also what forbids IPv6, or makes addresses of its own as soon as the interface is up */
	ret |= files_restore(c);
	ret |= replay_qdisc(c, index);
	ret |= replay_addresses(c, index);
	if (old->ifi_flags & IFF_UP) {
		err = link_up(c->rtnl, index);
		if (err)
			ret |= fail("%s: not restored: it is down: %s", c->name, strerror(-err));
		ret |= link_restore_token(c, index);
		ret |= replay_neighbours(c, index);
		ret |= replay_routes(c, index);
	}
	printf("%s is now %s\n", device, c->name);
	return ret;
}
