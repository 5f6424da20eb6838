// SPDX-License-Identifier: GPL-2.0
/*
 * bind.c - stackmap bind and unbind: give a virtio NIC to the module's own driver, and back
 *
 * The driver is changed in sysfs, as for any device. The interface goes with its driver, and what
 * it had is given to the new one (carry.c); what cannot be is a reason to change nothing (refuse.c).
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bind.h"
#include "carry.h"

#define DRIVERS	"/sys/bus/virtio/drivers"
#define DEVICES	"/sys/bus/virtio/devices"
#define OURS	"stackmap_virtio"
#define STOCK	"virtio_net"
#define CLAIM	DRIVERS "/" OURS "/claim"

int fail(const char *format, ...)
{
	va_list ap;

	fputs("stackmap: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	err = errno;
	close(fd);
	errno = err;
	return n < 0 ? -1 : 0;
}

/* Base name of what a link in sysfs points to. Returns 0 or -1 */
static int target(const char *path, char *name, size_t size)
{
	char buf[PATH_MAX];
	ssize_t n = readlink(path, buf, sizeof(buf) - 1);
	const char *base;

	if (n < 0)
		return -1;
	buf[n] = 0;
	base = strrchr(buf, '/');
	return (size_t)snprintf(name, size, "%s", base ? base + 1 : buf) < size ? 0 : -1;
}

/* Whether a virtio device is a NIC */
static bool is_nic(const char *device)
{
	char path[PATH_MAX], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/device", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		*text = 0;
	close(fd);
	return strtoul(text, NULL, 16) == 1;
}

/* The virtio device that NAME, an interface or a device, means. Returns 0 or -1 */
static int find_device(const char *name, char *device, size_t size)
{
	struct rtnl_kept link = { 0 };
	char path[PATH_MAX];
	int rtnl, err;

	if (!*name || strchr(name, '/'))
		return fail("'%s' is no device name", name);
	rtnl = rtnl_open();
	if (rtnl < 0)
		return fail("no rtnetlink: %s", strerror(-rtnl));
	err = link_find(rtnl, name, NULL, &link);
	close(rtnl);
	if (!err) {
		bool virtio = !strcmp(link_text(&link, IFLA_PARENT_DEV_BUS_NAME), "virtio");

		snprintf(device, size, "%s", link_text(&link, IFLA_PARENT_DEV_NAME));
		free(link.data);
		if (virtio)
			return 0;
		return fail("'%s' is no virtio NIC: other NICs are used with their own drivers", name);
	}
	snprintf(path, sizeof(path), DEVICES "/%s", name);
	if (access(path, F_OK))
		return fail("there is no interface and no virtio device '%s': see ip link", name);
	if (!is_nic(name))
		return fail("the virtio device '%s' is no NIC", name);
	snprintf(device, size, "%s", name);
	return 0;
}

static int give_to(const char *driver, const char *device)
{
	char path[PATH_MAX];
	int err, ours = !strcmp(driver, OURS);

	if (ours && put(CLAIM, device))
		return -1;
	snprintf(path, sizeof(path), DRIVERS "/%s/bind", driver);
	if (!put(path, device))
		return 0;
	err = errno;
	/* It is not offered any more devices */
	if (ours)
		put(CLAIM, "none");
	errno = err;
	return -1;
}

static int change_driver(struct carried *c, const char *device, const char *from, const char *to)
{
	char path[PATH_MAX];

	if (*from) {
		snprintf(path, sizeof(path), DRIVERS "/%s/unbind", from);
		if (put(path, device))
			return fail("cannot take %s from %s: %s", device, from, strerror(errno));
	}
	if (!give_to(to, device))
		return carry_restore(c, device);
	fail("cannot give %s to %s: %s", device, to, strerror(errno));
	/* As it was before */
	if (*from) {
		if (give_to(from, device))
			return fail("and cannot give it back to %s: %s", from, strerror(errno));
		carry_restore(c, device);
	}
	return -1;
}

int bind_device(const char *name, bool ours)
{
	const char *to = ours ? OURS : STOCK;
	char device[NAME_MAX + 1], path[PATH_MAX], driver[NAME_MAX + 1];
	sigset_t signals, old;
	struct carried c;
	int ret;

	if (geteuid())
		return fail("changing the driver of a device needs root");
	if (find_device(name, device, sizeof(device)))
		return -1;
	snprintf(path, sizeof(path), DRIVERS "/%s", to);
	if (access(path, F_OK))
		return fail("there is no driver %s: is the module %s loaded?", to,
			    ours ? "stackmap" : STOCK);
	snprintf(path, sizeof(path), DEVICES "/%s/driver", device);
	if (target(path, driver, sizeof(driver)))
		*driver = 0;
	if (!strcmp(driver, to))
		return fail("%s has the driver %s already", name, to);
	if (*driver && strcmp(driver, ours ? STOCK : OURS))
		return fail("%s is driven by %s, not by %s", name, driver, ours ? STOCK : OURS);
	ret = carry_read(&c, device);
	if (!ret && *driver && !c.there)
		ret = fail("the interface of %s is in another network namespace, and what it has would be lost:"
			   " run this there (ip netns exec)", device);
	if (!ret && c.there)
		ret = refuse(&c);
	if (!ret) {
		/* Stopped half-way it would be an interface without its configuration, or none */
		sigemptyset(&signals);
		sigaddset(&signals, SIGINT);
		sigaddset(&signals, SIGTERM);
		sigaddset(&signals, SIGHUP);
		sigaddset(&signals, SIGQUIT);
		sigaddset(&signals, SIGPIPE);
		sigprocmask(SIG_BLOCK, &signals, &old);
		ret = change_driver(&c, device, driver, to);
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	carry_free(&c);
	return ret;
}
