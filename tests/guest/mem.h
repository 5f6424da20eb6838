/* SPDX-License-Identifier: GPL-2.0 */
/*
 * mem.h - what memory the machine has free
 */
#ifndef SM_TESTS_MEM_H
#define SM_TESTS_MEM_H

/* A line of /proc/meminfo, "MemTotal", in kB; -1: there is none */
long mem_info(const char *what);

/*
 * Free pages that processors keep for themselves, in kB. MemFree and MemAvailable are without them,
 * nothing gives them back while a machine is busy, and from 6.7 on they grow with the load up to an
 * eighth of all memory: who does not count them takes a heavier load for a leak
 */
long mem_percpu_free(void);

#endif
