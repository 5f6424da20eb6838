// SPDX-License-Identifier: GPL-2.0
/*
 * nic_owner.c - an owner of a NIC that has no sockets, for tests/nics: nic_owner IFACE ON_MS OFF_MS FILE
 *
 * It syncs for ON_MS, sleeps for OFF_MS, and so on; without a pause if OFF_MS is 0. Its stall bound is the longest that
 * there is, so that nobody else ends a claim in time. When its interface goes it takes the next one of that name.
 * FILE always has its counters, of all ports that it had: polls syncs packets stalls ports errors.
 * Status 3: the module will not have this NIC.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "stackmap.h"

static struct stackmap_stats before;	/* of the ports that are gone */
static unsigned int ports, errors;
static int file;

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void tell(const struct stackmap_stats *s)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%llu %llu %llu %llu %u %u %60s\n",
			 before.nic_polls + s->nic_polls, before.syncs + s->syncs,
			 before.nic_packets + s->nic_packets, before.stalls + s->stalls, ports, errors, "");

	if (pwrite(file, line, n, 0) != n)
		perror("nic_owner: writing");
}

static int take(const char *ifname)
{
	struct stackmap_register reg = {
		.version = STACKMAP_ABI_VERSION, .ifindex = if_nametoindex(ifname), .rx_slots = 64, .tx_slots = 64,
		.pool_bufs = 128, .stall_us = STACKMAP_STALL_MAX_US,
	};
	int fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0 && !ioctl(fd, STACKMAP_IOC_REGISTER, &reg)) {
		ports++;
		return fd;
	}
	if (!ports && errno != ENETDOWN && errno != ENODEV) {
		fprintf(stderr, "nic_owner: %s: %s\n", ifname, strerror(errno));
		exit(3);
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

int main(int argc, char **argv)
{
	struct stackmap_info info = { .version = STACKMAP_ABI_VERSION };
	long on, off, next = 0, until, t;
	struct stackmap_sync sync = { 0 };
	int fd = -1;

	if (argc != 5)
		return 2;
	on = atol(argv[2]) * 1000;
	off = atol(argv[3]) * 1000;
	/* Who never sleeps waits in the system call, too */
	sync.wait_us = off ? 0 : 1000;
	file = open(argv[4], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	for (until = now_us() + on;;) {
		if (fd < 0 && (fd = take(argv[1])) < 0) {
			usleep(2000);
			continue;
		}
		if (ioctl(fd, STACKMAP_IOC_SYNC, &sync) < 0) {
			errors += errno != ENODEV;
			before.nic_polls += info.stats.nic_polls;
			before.syncs += info.stats.syncs;
			before.nic_packets += info.stats.nic_packets;
			before.stalls += info.stats.stalls;
			memset(&info.stats, 0, sizeof(info.stats));
			close(fd);
			fd = -1;
			continue;
		}
		t = now_us();
		if (t >= next && !ioctl(fd, STACKMAP_IOC_INFO, &info)) {
			tell(&info.stats);
			next = t + 2000;
		}
		if (off && t >= until) {
			usleep(off);
			until = now_us() + on;
		}
	}
}
