// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * clock.c - what time it is
 */
#include <time.h>

#include "lib.h"

uint64_t stackmap_now_ms_(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
