// SPDX-License-Identifier: GPL-2.0
/*
 * t_soak.c - mixed load for a long time: memory, slabs and frames are flat at the end
 *
 * A cycle is an owner with short connections, keep-alive ones, bulk both ways,
 * thousands of idle ones and resets, all at once. Every second owner ends in
 * order, with all frames and connections accounted for; the others are killed in
 * the midst. After each cycle, once all is quiet, memory is read. The first
 * third of the cycles is for warming up: what is in use at most in the last
 * third may exceed what was at most in the second third by no more than
 * FLAT_KB, in all and in slabs, and no slab cache may have grown by more than
 * FLAT_OBJECTS objects. (Leaking one page, or ten objects, in a cycle is seen in
 * half an hour; more is seen earlier.)
 *
 * SOAK_SECONDS says how long.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "life.h"
#include "mem.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

#define FLAT_KB 1024
#define FLAT_OBJECTS 2000
#define CYCLES_MAX 4096
#define CACHES_MAX 400
#define IDLE 2000

struct cache { char name[48]; long most[3], now; };

static struct cache caches[CACHES_MAX];
static int ncaches;

/* Of every cache of the kernel, the objects in use; by third of the run */
static void read_caches(int third)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512], name[48];
	long active;
	int i;

	while (f && fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || sscanf(line, "%47s %ld", name, &active) != 2)
			continue;
		for (i = 0; i < ncaches && strcmp(caches[i].name, name); i++)
			;
		if (i == CACHES_MAX)
			break;
		if (i == ncaches)
			strcpy(caches[ncaches++].name, name);
		if (caches[i].most[third] < active)
			caches[i].most[third] = active;
	}
	if (f)
		fclose(f);
}

/* The owner's process: everything at once, until all of the peers are done */
static void cycle(uint32_t seed, bool gently)
{
	struct app *app = app_new_slots(256);
	int port = app_listen(app, here->guest4), port6 = app_listen(app, here->guest6), i, n = 0;
	struct ask a[12];
	uint64_t want;

	app->spin = rnd(&seed) % 2;
	if (gently) {
		ask(&a[n++], "idle %s %d %d 4000", here->guest4, port, IDLE);
		ask(&a[n++], "short %s %d 400 %u 4", here->guest4, port, seed);
		ask(&a[n++], "churn %s %d 200 %u", here->guest4, port, seed + 1);
		ask(&a[n++], "echo %s %d %u 2000000 65000 4", here->guest4, port, seed + 2);
		ask(&a[n++], "echo %s %d %u 300000 100 8", here->guest6, port6, seed + 3);
		ask(&a[n++], "small %s %d %u 20000 2304 536", here->guest4, port, seed + 4);
		for (i = 0; i < 4; i++)
			ask(&a[n++], "reset %s %d", here->guest4, port);
		want = IDLE + 400 + 200 + 4 + 8 + 1 + 4;
	} else {
		ask(&a[n++], "idle %s %d %d 20000", here->guest4, port, IDLE);
		ask(&a[n++], "flood %s %d 20000", here->guest4, port);
		ask(&a[n++], "echo %s %d %u 100000000 65000 4", here->guest4, port, seed + 2);
		want = 0;
	}
	for (i = 0; i < n; i++)
		app_run(app, &a[i], 100);
	app_run_ms(app, 300);
	EQ(app->accepted, want);
	app_end(app);
}

TEST_ASKED(soak, ON_NIC, 100000)
{
	const char *for_seconds = getenv("SOAK_SECONDS");
	double start = mono(), end = start + (for_seconds && *for_seconds ? atoi(for_seconds) : 180);
	long used[CYCLES_MAX], slab[CYCLES_MAX], most_used[3] = { 0 }, most_slab[3] = { 0 };
	uint32_t seed = 20, n;
	int status, third, i;
	pid_t pid;

	EQ(sh("sysctl -q -w net.ipv4.tcp_max_tw_buckets=1024"), 0);
	for (n = 0; n < CYCLES_MAX && mono() < end; n++) {
		bool gently = n % 2 == 0;

		rnd(&seed);
		pid = fork();
		if (pid == 0) {
			cycle(seed, gently);
			_exit(0);
		}
		if (!gently) {
			usleep(1000000 + rnd(&seed) % 4000000);
			kill(pid, SIGKILL);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECKF(!gently || !status, "an owner ended with status 0x%x", status);
		EQ(sm_ports(), 0);
		if (n % 8 == 7)
			nic_is_ordinary();
		/* Orphans and what waits for RCU are gone; caches are not counted */
		for (i = 0; i < 100; i++) {
			if (!sh("[ $(cat /sys/module/stackmap/refcnt) = 0 ]"))
				break;
			usleep(300000);
		}
		EQ(sh("[ $(cat /sys/module/stackmap/refcnt) = 0 ]"), 0);
		EQ(sh("sync; echo 3 >/proc/sys/vm/drop_caches; sleep 0.3"), 0);
		used[n] = mem_info("MemTotal") - mem_info("MemFree") - mem_percpu_free();
		slab[n] = mem_info("Slab");
		third = mono() > end ? 2 : (int)(3 * (mono() - start) / (end - start + 1));
		/*
		 * What a killed owner has left to TCP is there until the peer has
		 * acknowledged it or given up, the longer the busier the machine is.
		 * It would not be gone after the next one if it were lost
		 */
		if (!gently)
			continue;
		read_caches(third);
		if (most_used[third] < used[n])
			most_used[third] = used[n];
		if (most_slab[third] < slab[n])
			most_slab[third] = slab[n];
		if (n < 4 || n % 8 == 0)
			tap_note("%u cycles, %.0f s: %ld kB in use, %ld kB of slabs", n + 1,
				 mono() - start, used[n], slab[n]);
	}
	tap_note("%u cycles in %.0f s; at most in each third, kB: in use %ld %ld %ld, slabs %ld %ld %ld", n,
		 mono() - start, most_used[0], most_used[1], most_used[2], most_slab[0], most_slab[1],
		 most_slab[2]);
	for (i = 0; i < ncaches; i++) {
		if (caches[i].most[2] > caches[i].most[1] + 100 && caches[i].most[1])
			tap_note("slab %s: %ld %ld %ld objects", caches[i].name, caches[i].most[0],
				 caches[i].most[1], caches[i].most[2]);
	}
	CHECKF(most_used[1] && most_used[2], "%u cycles are too few", n);
	CHECK(most_used[2] <= most_used[1] + FLAT_KB);
	CHECK(most_slab[2] <= most_slab[1] + FLAT_KB);
	for (i = 0; i < ncaches; i++)
		CHECKF(caches[i].most[2] <= caches[i].most[1] + FLAT_OBJECTS, "%s: %ld, %ld",
		       caches[i].name, caches[i].most[1], caches[i].most[2]);
}
