// SPDX-License-Identifier: GPL-2.0
/*
 * bind.c - stackmap bind and unbind: give a virtio NIC to the module's own driver, and back
 *
 * All of it is done in sysfs, where a driver is changed for any device. The addresses of the
 * interface go with it (by ip(8)); routes that were added by hand do not.
 */
#define _GNU_SOURCE 1

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bind.h"

#define DRIVERS	"/sys/bus/virtio/drivers"
#define DEVICES	"/sys/bus/virtio/devices"
#define OURS	"stackmap_virtio"
#define STOCK	"virtio_net"
#define ADDRESSES_MAX	64

extern char **environ;

/* What an interface had, to be given to the one that takes its place */
struct carried {
	char name[IF_NAMESIZE];
	bool up;
	int n;
	char addr[ADDRESSES_MAX][INET6_ADDRSTRLEN + 8];
};

static int fail(const char *format, ...)
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

/* The virtio device that NAME, an interface or a device, means. Returns 0 or -1 */
static int find_device(const char *name, char *device, size_t size)
{
	char path[PATH_MAX], sub[PATH_MAX];

	if (!*name || strchr(name, '/'))
		return fail("'%s' is no device name", name);
	snprintf(path, sizeof(path), "/sys/class/net/%s/device", name);
	if (!target(path, device, size)) {
		snprintf(sub, sizeof(sub), DEVICES "/%s", device);
		if (!access(sub, F_OK))
			return 0;
		return fail("'%s' is no virtio NIC: other NICs are used with their own drivers", name);
	}
	snprintf(path, sizeof(path), DEVICES "/%s", name);
	if (access(path, F_OK))
		return fail("there is no interface and no virtio device '%s': see ip link", name);
	snprintf(device, size, "%s", name);
	return 0;
}

/* The interface of a virtio device; -1 if it has none (yet) */
static int find_interface(const char *device, char *name)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int ret = -1;
	DIR *dir;

	snprintf(path, sizeof(path), DEVICES "/%s/net", device);
	dir = opendir(path);
	if (!dir)
		return -1;
	while (ret && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strlen(entry->d_name) < IF_NAMESIZE) {
			strcpy(name, entry->d_name);
			ret = 0;
		}
	closedir(dir);
	return ret;
}

static int prefix_length(const struct sockaddr *mask)
{
	const unsigned char *p;
	size_t i, n;
	int bits = 0;

	if (mask->sa_family == AF_INET6) {
		p = ((const struct sockaddr_in6 *)mask)->sin6_addr.s6_addr;
		n = 16;
	} else {
		p = (const unsigned char *)&((const struct sockaddr_in *)mask)->sin_addr;
		n = 4;
	}
	for (i = 0; i < n; i++)
		bits += __builtin_popcount(p[i]);
	return bits;
}

static int carry(const char *device, struct carried *c)
{
	struct ifaddrs *all, *a;
	char text[INET6_ADDRSTRLEN];

	memset(c, 0, sizeof(*c));
	if (find_interface(device, c->name))
		return 0;
	if (getifaddrs(&all))
		return fail("cannot read the addresses of %s: %s", c->name, strerror(errno));
	for (a = all; a; a = a->ifa_next) {
		int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC;
		socklen_t len = family == AF_INET6 ? sizeof(struct sockaddr_in6) :
						     sizeof(struct sockaddr_in);

		if (strcmp(a->ifa_name, c->name))
			continue;
		c->up |= !!(a->ifa_flags & IFF_UP);
		if ((family != AF_INET && family != AF_INET6) || c->n == ADDRESSES_MAX)
			continue;
		/* The kernel makes link-local addresses by itself */
		if (family == AF_INET6 &&
		    IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)a->ifa_addr)->sin6_addr))
			continue;
		if (!getnameinfo(a->ifa_addr, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
			snprintf(c->addr[c->n++], sizeof(c->addr[0]), "%s/%hhu", text,
				 (unsigned char)prefix_length(a->ifa_netmask));
	}
	freeifaddrs(all);
	return 0;
}

static int run(char *const argv[])
{
	int status;
	pid_t pid;

	errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (errno)
		return fail("cannot run %s: %s", argv[0], strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : fail("%s %s ... failed", argv[0],
								     argv[1]);
}

/* Give the new interface of a device what the old one had */
static int restore(const char *device, const struct carried *c)
{
	char name[IF_NAMESIZE];
	int i, ret = 0;

	for (i = 0; find_interface(device, name); i++) {
		if (i == 100)
			return fail("%s has no interface after 1 s", device);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	if (*c->name && strcmp(name, c->name)) {
		char *const argv[] = { "ip", "link", "set", name, "name", (char *)c->name, NULL };

		if (!run(argv))
			strcpy(name, c->name);
	}
	for (i = 0; i < c->n; i++) {
		bool v6 = strchr(c->addr[i], ':');
		/* They were seen to be unique: no reason to wait again */
		char *const argv[] = { "ip", "addr", "add", (char *)c->addr[i], "dev", name,
				       v6 ? "nodad" : NULL, NULL };

		ret |= run(argv);
	}
	if (c->up) {
		char *const argv[] = { "ip", "link", "set", name, "up", NULL };

		ret |= run(argv);
	}
	printf("%s is now %s\n", device, name);
	return ret;
}

static int change_driver(const char *device, const char *from, const char *to)
{
	char path[PATH_MAX];
	struct carried c;

	if (carry(device, &c))
		return -1;
	if (from) {
		snprintf(path, sizeof(path), DRIVERS "/%s/unbind", from);
		if (put(path, device))
			return fail("cannot take %s from %s: %s", device, from, strerror(errno));
	}
	snprintf(path, sizeof(path), DRIVERS "/%s/bind", to);
	if (put(path, device)) {
		fail("cannot give %s to %s: %s", device, to, strerror(errno));
		/* Not without a driver, if the one that it had takes it again */
		snprintf(path, sizeof(path), DRIVERS "/%s/bind", from ? from : STOCK);
		if (!put(path, device))
			restore(device, &c);
		return -1;
	}
	return restore(device, &c);
}

int bind_device(const char *name, bool ours)
{
	const char *to = ours ? OURS : STOCK;
	char device[NAME_MAX + 1], path[PATH_MAX], driver[NAME_MAX + 1];
	bool has_driver;

	if (geteuid())
		return fail("changing the driver of a device needs root");
	if (find_device(name, device, sizeof(device)))
		return -1;
	snprintf(path, sizeof(path), DRIVERS "/%s", to);
	if (access(path, F_OK))
		return fail("there is no driver %s: is the module %s loaded?", to,
			    ours ? "stackmap" : STOCK);
	snprintf(path, sizeof(path), DEVICES "/%s/driver", device);
	has_driver = !target(path, driver, sizeof(driver));
	if (has_driver && !strcmp(driver, to))
		return fail("%s has the driver %s already", name, to);
	if (has_driver && strcmp(driver, ours ? STOCK : OURS))
		return fail("%s is driven by %s, not by %s", name, driver, ours ? STOCK : OURS);
	if (ours && put(DRIVERS "/" OURS "/claim", device))
		return fail("cannot claim %s: %s", device, strerror(errno));
	return change_driver(device, has_driver ? driver : NULL, to);
}
