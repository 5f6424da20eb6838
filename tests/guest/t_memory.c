// SPDX-License-Identifier: GPL-2.0
/*
 * t_memory.c - what an idle attached connection costs
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sm.h"
#include "tap.h"

#define PAIRS 5000

/* Bytes in slab objects of which there may be one, or a part of one, per socket */
static long slab_bytes(void)
{
	unsigned long active, size, sum = 0;
	char line[512], name[64];
	FILE *f = fopen("/proc/slabinfo", "r");

	if (!f)
		tap_skip("no /proc/slabinfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lu %*u %lu", name, &active, &size) == 3 &&
		    (!strncmp(name, "kmalloc", 7) || !strncmp(name, "radix_tree", 10)))
			sum += active * size;
	fclose(f);
	return sum;
}

TEST(memory_per_connection, 60)
{
	struct rlimit rl = { .rlim_cur = 65536, .rlim_max = 1048576 };
	static int fd[PAIRS][2];
	struct sm sm;
	long before, after, end;
	int l, i, bound;

	/* What looks for errors makes objects larger, and keeps them for long */
	if (!access("/sys/kernel/debug/kmemleak", F_OK) || few(2) < 2)
		tap_skip("not on a kernel that looks for errors");

	setrlimit(RLIMIT_NOFILE, &rl);
	sm_new_small(&sm, 64);
	l = try_listen("127.0.0.1", 0);
	for (i = 0; i < PAIRS; i++)
		pair_from(l, fd[i]);
	usleep(500000);
	before = slab_bytes();
	for (i = 0; i < PAIRS; i++) {
		sm_attach(&sm, fd[i][0], i);
		sm_attach(&sm, fd[i][1], i);
	}
	EQ(sm_info(&sm).stats.sockets, 2 * PAIRS);
	usleep(100000);
	after = slab_bytes();
	bound = 256;
	tap_note("%ld bytes for each of %d", (after - before) / (2 * PAIRS), 2 * PAIRS);
	CHECK((after - before) / (2 * PAIRS) <= bound);
	CHECK(after - before > 2 * PAIRS * 32);		/* else nothing was measured */
	/* All of them are still connections */
	for (i = 0; i < PAIRS; i += 500) {
		char b;

		CHECK(send_all(fd[i][1], "x", 1));
		sm_read(&sm, fd[i][0], &b, 1, 1000);
	}
	for (i = 0; i < PAIRS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
	for (i = 0; sm_info(&sm).stats.sockets && i < 100; i++) {
		sm_sync(&sm, 1000);
		while (sm_peek(&sm))
			sm_next(&sm);
		usleep(10000);
	}
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_settle(&sm);
	usleep(300000);
	end = slab_bytes();
	CHECKF(end - before < 2 * PAIRS * 16, "%ld bytes stay", end - before);
	sm_close(&sm);
}
