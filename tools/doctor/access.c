// SPDX-License-Identifier: GPL-2.0
/*
 * access.c - whether the caller may open ports: the device node, capabilities, locked memory
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <stackmap/stackmap.h>

/* What a port takes that is opened without options: 4096 buffers of a page, and two rings of 1024 slots */
#define PAGES(bytes)	(((bytes) + 4095) / 4096 * 4096)
#define DEFAULT_PORT	(4096UL * 4096 + \
			 2 * PAGES(sizeof(struct stackmap_ring) + 1024 * sizeof(struct stackmap_slot)))

#define UDEV_RULE	"KERNEL==\"stackmap\", SUBSYSTEM==\"misc\", GROUP=\"stackmap\", MODE=\"0660\""

/* Who may open it, by name */
static void describe(const struct stat *st, char *text, size_t size)
{
	const struct passwd *user = getpwuid(st->st_uid);
	const struct group *group = getgrgid(st->st_gid);
	char owner[64], members[80] = "";

	snprintf(owner, sizeof(owner), "%s", user ? user->pw_name : "?");
	if ((st->st_mode & 060) == 060)
		snprintf(members, sizeof(members), " and the group %s", group ? group->gr_name : "?");
	snprintf(text, size, "mode %04o: for %s%s", st->st_mode & 07777, st->st_mode & 06 ? "everybody" : owner,
		 st->st_mode & 06 ? "" : members);
}

/* Returns whether the caller can open it */
static bool say_node(const struct doctor *d, struct doctor_part *p)
{
	char path[PATH_MAX], who[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s" STACKMAP_DEVICE, d->root);
	if (stat(path, &st)) {
		if (!d->loaded && errno == ENOENT)
			return false;	/* it comes with the module */
		doctor_say(p, DOCTOR_FAIL, "device", STACKMAP_DEVICE ": %s", strerror(errno));
		doctor_remedy(p, "it is made by the kernel in a devtmpfs: in a container, have it passed in"
			      " (docker run --device " STACKMAP_DEVICE ")");
		return false;
	}
	describe(&st, who, sizeof(who));
	if (!S_ISCHR(st.st_mode)) {
		doctor_say(p, DOCTOR_FAIL, "device", STACKMAP_DEVICE " is no device");
		doctor_remedy(p, "remove it, and load the module again");
		return false;
	}
	/* By the effective user, as open() does it */
	if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS)) {
		doctor_say(p, DOCTOR_FAIL, "device", STACKMAP_DEVICE " has %s: you cannot open it (%s)", who, strerror(errno));
		doctor_remedy(p, "run as root; or a udev rule for a group, in /etc/udev/rules.d/60-stackmap.rules: " UDEV_RULE);
		return false;
	}
	if (st.st_mode & 06) {
		doctor_say(p, DOCTOR_WARN, "device", STACKMAP_DEVICE " has %s, who then owns interfaces of own namespaces", who);
		doctor_remedy(p, "have a group: " UDEV_RULE);
	} else {
		doctor_say(p, DOCTOR_OK, "device", STACKMAP_DEVICE " has %s", who);
	}
	return true;
}

/* Whether module and library speak of the same */
static void say_abi(struct doctor_part *p)
{
	struct stackmap_info info;

	if (!stackmap_stats(0, &info) || errno == ENOENT) {
		doctor_say(p, DOCTOR_OK, "abi", "the module answers, ABI version %u", STACKMAP_ABI_VERSION);
		return;
	}
	doctor_say(p, DOCTOR_FAIL, "abi", "the module does not answer: %s", strerror(errno));
	if (errno == EPROTONOSUPPORT || errno == ENOTTY)
		doctor_remedy(p, "module and library are of different versions: install both anew, and load the module again");
	else
		doctor_remedy(p, "load the module again: modprobe -r stackmap && modprobe stackmap");
}

/*
 * Whether this user namespace is the one that the network namespace belongs to, or above it: only
 * then capabilities count. -1: not known
 */
static int is_ours(void)
{
	int net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), owner, ret = -1;

	if (net < 0)
		return -1;
	owner = ioctl(net, NS_GET_USERNS);
	if (owner >= 0)
		close(owner);
	/* EPERM: it is none of ours to see */
	if (owner >= 0 || errno == EPERM)
		ret = owner >= 0;
	close(net);
	return ret;
}

static bool has(uint64_t caps, int cap)
{
	return caps >> cap & 1;
}

static void say_capabilities(const struct doctor *d, struct doctor_part *p, uint64_t caps)
{
	bool admin = has(caps, CAP_NET_ADMIN), raw = has(caps, CAP_NET_RAW);

	if (!admin || !raw) {
		doctor_say(p, DOCTOR_FAIL, "rights", "you lack %s%s%s", admin ? "" : "CAP_NET_ADMIN",
			   admin || raw ? "" : " and ", raw ? "" : "CAP_NET_RAW");
		doctor_remedy(p, "run as root; or AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in a systemd unit, or"
			      " setcap cap_net_admin,cap_net_raw+ep PROGRAM");
	} else if (!*d->root && is_ours() == 0) {
		doctor_say(p, DOCTOR_FAIL, "rights", "your capabilities are of a user namespace to which this network"
			   " namespace does not belong");
		doctor_remedy(p, "run outside of it, or move the interface into a network namespace made in it");
	} else {
		doctor_say(p, DOCTOR_OK, "rights", "you have CAP_NET_ADMIN and CAP_NET_RAW");
	}
}

static void say_memory(const struct doctor *d, struct doctor_part *p, uint64_t caps)
{
	char line[DOCTOR_LINE], map[64];
	bool lock = has(caps, CAP_IPC_LOCK);
	unsigned long limit;

	/* It counts in the first user namespace only */
	if (doctor_line(d, map, sizeof(map), "/proc/self/uid_map")) {
		unsigned long inside, outside, count;

		if (sscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && (inside || outside || count != UINT32_MAX))
			lock = false;
	}
	if (lock) {
		doctor_say(p, DOCTOR_OK, "memory", "you have CAP_IPC_LOCK: no limit on locked memory");
		return;
	}
	if (!doctor_field(d, line, sizeof(line), "/proc/self/limits", "Max locked memory"))
		return;
	if (!strncmp(line, "unlimited", strlen("unlimited"))) {
		doctor_say(p, DOCTOR_OK, "memory", "no limit on locked memory");
		return;
	}
	limit = strtoul(line, NULL, 10);
	if (limit >= DEFAULT_PORT) {
		doctor_say(p, DOCTOR_OK, "memory", "%lu kB may be locked: enough for %lu default ports", limit / 1024,
			   limit / DEFAULT_PORT);
		return;
	}
	doctor_say(p, DOCTOR_FAIL, "memory", "%lu kB may be locked, and a default port takes %lu", limit / 1024,
		   DEFAULT_PORT / 1024);
	doctor_remedy(p, "ulimit -l %lu for each port (LimitMEMLOCK= in a systemd unit), give CAP_IPC_LOCK, or use fewer"
		      " slots and buffers", (DEFAULT_PORT + 65535) / 65536 * 64);
}

void doctor_access(const struct doctor *d, struct doctor_part *p)
{
	char line[DOCTOR_LINE];
	uint64_t caps = 0;

	if (say_node(d, p) && !*d->root)
		say_abi(p);
	if (doctor_field(d, line, sizeof(line), "/proc/self/status", "CapEff:"))
		caps = strtoull(line, NULL, 16);
	say_capabilities(d, p, caps);
	say_memory(d, p, caps);
}
