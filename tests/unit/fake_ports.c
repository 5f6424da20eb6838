// SPDX-License-Identifier: GPL-2.0
/*
 * fake_ports.c - ports that are none, for the stackmap command: FAKE_PORTS=N in the environment
 *
 * In place of lib/stats.c. Port i, on queue i of the loopback interface, does i + 1 thousand of everything in a second
 * from the start of the process on: so each rate on the screen is known. FAKE_FAIL=S: after so many seconds there is no
 * module any more.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <errno.h>
#include <string.h>

#include <stackmap/stackmap.h>

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);

/* The module is loaded */
int __wrap_access(const char *path, int mode)
{
	return strcmp(path, STACKMAP_DEVICE) ? __real_access(path, mode) : 0;
}

static double since_start(void)
{
	static double start;
	struct timespec t;
	double now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	if (!start)
		start = now;
	return now - start;
}

int stackmap_detail(unsigned int index, struct stackmap_detail *d)
{
	const char *n = getenv("FAKE_PORTS"), *fail = getenv("FAKE_FAIL");
	double t = since_start(), k = 1000 * (index + 1);
	__u64 done = (__u64)(k * t);

	memset(d, 0, sizeof(*d));
	if (fail && *fail && t > atof(fail)) {
		errno = EACCES;
		return -1;
	}
	if (!n || index >= (unsigned int)atoi(n)) {
		errno = ENOENT;
		return -1;
	}
	d->info.ifindex = 1;
	d->info.queue = index;
	d->info.nic = STACKMAP_NIC_VIRTIO;
	d->info.pid = getpid();
	d->info.rx_slots = d->info.tx_slots = 1024;
	d->info.frames = 4096;
	/* Four slots a sync, of 100 bytes, of which the first is copied */
	d->info.stats.syncs = done / 4;
	d->info.stats.rx_slots = done;
	d->info.stats.tx_slots = 2 * done;
	d->info.stats.rx_copied_bytes = 25 * done;
	d->info.stats.rx_handed_bytes = 75 * done;
	d->info.stats.tx_handed_bytes = 100 * done;
	d->info.stats.stalls = (__u64)(1000 * t);
	d->info.stats.sockets = 7 * (index + 1);
	d->info.stats.frames_user = 2048;
	d->info.stats.frames_pool = 2048;
	d->rx_copied[STACKMAP_COPY_SHARED] = 25 * done;
	d->refused[STACKMAP_REFUSED_ROOM] = 3 * done;
	d->info.stats.tx_refused = 3 * done;
	d->released[STACKMAP_RELEASED_STALL] = (__u64)(1000 * t);
	/* Half of the time in syncs, half of that waiting */
	d->sync_ns = (__u64)(t * 5e8);
	d->wait_ns = (__u64)(t * 2.5e8);
	d->away_ns = (__u64)(t * 5e8);
	d->sync_times[3] = d->away_times[5] = done / 4;
	d->batches[2] = done / 4;
	d->memory = 16 << 20;
	return 0;
}

int stackmap_stats(unsigned int index, struct stackmap_info *info)
{
	struct stackmap_detail d;
	int ret = stackmap_detail(index, &d);

	*info = d.info;
	return ret;
}

int stackmap_counts(const struct stackmap_port *port, struct stackmap_counts *counts)
{
	(void)port;
	(void)counts;
	errno = EINVAL;
	return -1;
}
