// SPDX-License-Identifier: GPL-2.0
/*
 * fault.c - allocations that fail, where the kernel has fault injection
 */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sm.h"
#include "tap.h"

#define DEBUGFS	"/sys/kernel/debug"
#define SECTIONS "/sys/module/stackmap/sections"

static const char * const kinds[] = { "failslab", "fail_page_alloc" };

int fault_hits, fault_depth;
static int nth_fd = -1, sync_n;
static enum fault_mode mode;

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

static int knob(int kind, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "/%s/%s", kinds[kind], name);
	return put(path, value);
}

static unsigned long number(const char *path)
{
	char line[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		line[0] = 0;
	if (fd >= 0)
		close(fd);
	return strtoul(line, NULL, 0);
}

/* Where the module's code is: as far as its size goes, it is one piece */
static void code_of_module(unsigned long *start, unsigned long *end)
{
	char line[256], name[64];
	unsigned long size;
	FILE *f = fopen("/proc/modules", "r");

	*start = number(SECTIONS "/.text");
	*end = 0;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lu", name, &size) == 2 && !strcmp(name, "stackmap"))
			*end = *start + size;
	if (f)
		fclose(f);
}

void fault_none(void)
{
	int k;

	for (k = 0; k < 2; k++)
		knob(k, "probability", "0");
	sm_short_of_memory = false;
}

/* A function of the kernel: from its address to the next one's */
static void function(const char *name, unsigned long *start, unsigned long *end)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], found[128], type;
	unsigned long addr;

	*start = 0;
	*end = 0;
	while (f && !*end && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %c %127s", &addr, &type, found) != 3)
			continue;
		if (*start && addr > *start)
			*end = addr;
		else if (!strcmp(found, name))
			*start = addr;
	}
	if (f)
		fclose(f);
}

static void set_range(const char *which, unsigned long start, unsigned long end)
{
	char name[32], text[32];
	int k;

	for (k = 0; k < 2; k++) {
		snprintf(name, sizeof(name), "%s-start", which);
		snprintf(text, sizeof(text), "%#lx", start);
		CHECK(!knob(k, name, text));
		snprintf(name, sizeof(name), "%s-end", which);
		snprintf(text, sizeof(text), "%#lx", end);
		CHECK(!knob(k, name, text));
	}
}

static void init(unsigned long start, unsigned long end)
{
	int k;

	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth_fd < 0 || access(DEBUGFS "/failslab", F_OK))
		tap_skip("the kernel has no fault injection");
	/* Before 6.3 not on x86-64: without it allocations of everybody would fail */
	if (access(DEBUGFS "/failslab/stacktrace-depth", F_OK))
		tap_skip("this kernel's fault injection cannot choose by the stack");
	fault_none();
	CHECKF(start && end > start, "the code is at %#lx to %#lx", start, end);
	for (k = 0; k < 2; k++) {
		/* Each would tell with a call trace, which is what the log is searched for */
		CHECK(!knob(k, "verbose", "0"));
		CHECK(!knob(k, "times", "-1"));
		CHECK(!knob(k, "ignore-gfp-wait", "N"));
		CHECK(!knob(k, "stacktrace-depth", "32"));
	}
	set_range("require", start, end);
	/* The kernel itself warns if one fails in there: entries of /proc/irq are removed that never were */
	function("request_threaded_irq", &start, &end);
	CHECK(start && end);
	set_range("reject", start, end);
	CHECK(!knob(1, "ignore-gfp-highmem", "N"));
	CHECK(!knob(1, "min-order", "0"));
	fault_hits = 0;
	fault_depth = 0;
}

void fault_init(void)
{
	unsigned long start, end;

	code_of_module(&start, &end);
	init(start, end);
}

void fault_init_under(const char *name)
{
	unsigned long start, end;

	function(name, &start, &end);
	init(start, end);
}

static void set_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	CHECKF(pwrite(nth_fd, text, len, 0) == len, "fail-nth: %s", strerror(errno));
}

/* What is left to be counted down to the next one, 0 when it has come to that */
static unsigned int fault_left(void)
{
	char text[16] = "";

	CHECK(pread(nth_fd, text, sizeof(text) - 1, 0) > 0);
	return strtoul(text, NULL, 10);
}

void fault_next(unsigned int n)
{
	set_nth(n);
}

bool fault_over(void)
{
	bool hit = !fault_left();

	if (!hit)
		set_nth(0);
	return hit;
}

void fault_some(int percent, int what)
{
	char text[16];
	int k;

	snprintf(text, sizeof(text), "%d", percent);
	for (k = 0; k < 2; k++) {
		/* Not for ever, whatever becomes of this test */
		CHECK(!knob(k, "times", "200000"));
		CHECK(!knob(k, "probability", what & 1 << k ? text : "0"));
	}
	sm_short_of_memory = true;
}

static void around_sync(bool before)
{
	static unsigned int left;

	if (before) {
		if (mode == FAULT_DEEPER)
			left = ++sync_n;
		else if (!left)
			left = sync_n = sync_n % 13 + 1;
		fault_next(left);
		return;
	}
	left = fault_left();
	if (left)
		set_nth(0);
	if (!left) {
		fault_hits++;
		if (sync_n > fault_depth)
			fault_depth = sync_n;
	} else if (mode == FAULT_DEEPER) {
		sync_n = 0;
	}
}

void fault_syncs(enum fault_mode how)
{
	mode = how;
	sync_n = 0;
	sm_around_sync = how ? around_sync : NULL;
}
