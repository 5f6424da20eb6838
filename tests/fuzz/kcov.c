// SPDX-License-Identifier: GPL-2.0
/*
 * kcov.c - which code of the module a program reached, when the kernel can tell
 *
 * Each thread of a program has its own trace (Documentation/dev-tools/kcov.rst)
 * and adds it to a map of the module's code in shared memory: places, and pairs
 * of successive places.
 */
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_DISABLE	_IO('c', 101)
#define KCOV_TRACE_PC	0
#define KCOV_PATH	"/sys/kernel/debug/kcov"
#define TRACE		(128 << 10)

static uint8_t *now, *ever;
static unsigned long *module;		/* its base and size, shared */
static uint32_t total;

static __thread unsigned long *trace;
static __thread int trace_fd = -1;

bool kcov_there(void)
{
	return !access(KCOV_PATH, R_OK | W_OK);
}

static void *share(size_t n)
{
	return mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void kcov_init(void)
{
	now = share(2 * COVER_BITS);
	ever = calloc(2, COVER_BITS);
	module = share(4096);
	kcov_module();
}

void kcov_module(void)
{
	FILE *f = fopen("/proc/modules", "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "stackmap ", 9) &&
		    sscanf(line, "stackmap %lu %*s %*s %*s %lx", &module[1], &module[0]) == 2)
			break;
	if (f)
		fclose(f);
}

void kcov_begin(void)
{
	if (!kcov_there())
		return;
	trace_fd = open(KCOV_PATH, O_RDWR | O_CLOEXEC);
	if (trace_fd < 0 || ioctl(trace_fd, KCOV_INIT_TRACE, TRACE))
		return;
	trace = mmap(NULL, TRACE * sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED, trace_fd, 0);
	if (trace == MAP_FAILED || ioctl(trace_fd, KCOV_ENABLE, KCOV_TRACE_PC)) {
		trace = NULL;
		return;
	}
	__atomic_store_n(&trace[0], 0, __ATOMIC_RELAXED);
}

void kcov_end(void)
{
	unsigned long n, i, pc, last = 0;

	if (!trace)
		return;
	n = __atomic_load_n(&trace[0], __ATOMIC_RELAXED);
	for (i = 1; i <= n && i < TRACE; i++) {
		pc = trace[i] - module[0];
		if (pc >= module[1])
			continue;
		now[pc % COVER_BITS] = 1;
		now[COVER_BITS + (last * 31 ^ pc * 2654435761u) % COVER_BITS] = 1;
		last = pc;
	}
	ioctl(trace_fd, KCOV_DISABLE, 0);
	munmap(trace, TRACE * sizeof(*trace));
	close(trace_fd);
	trace = NULL;
}

uint32_t kcov_new(void)
{
	uint32_t i, found = 0;

	for (i = 0; i < 2 * COVER_BITS; i++) {
		if (!now[i])
			continue;
		now[i] = 0;
		if (!ever[i]) {
			ever[i] = 1;
			found++;
			total += i < COVER_BITS;
		}
	}
	return found;
}

uint32_t kcov_total(void)
{
	return total;
}
