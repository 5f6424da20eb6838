// SPDX-License-Identifier: GPL-2.0
/*
 * mem.c - what memory the machine has free
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

long mem_info(const char *what)
{
	FILE *f = fopen("/proc/meminfo", "r");
	size_t len = strlen(what);
	char line[128];
	long n = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, len) && line[len] == ':')
			n = atol(line + len + 1);
	if (f)
		fclose(f);
	return n;
}

long mem_percpu_free(void)
{
	FILE *f = fopen("/proc/zoneinfo", "r");
	char line[128];
	long n, pages = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	if (f)
		fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}
