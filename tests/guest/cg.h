/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cg.h - a memory cgroup of a test's own, and processes in it
 *
 * cgroup v2, which nobody has mounted in the guest. A test has one of them, and
 * tap.c removes what a failed test leaves of it.
 */
#ifndef CG_H
#define CG_H

#include <sys/types.h>

/* Make it, with this memory.max; skips the test where the kernel has none */
void cg_new(int megabytes);
/* A process in it that does @f and exits; with status 0 unless a check fails */
pid_t cg_fork(void (*f)(void *), void *arg);
/* It must end well */
void cg_wait(pid_t pid);
/* A neighbour: it has so much memory of its own, which it goes on using */
pid_t cg_neighbour(int megabytes);
/* It must be alive still; it ends here */
void cg_neighbour_end(pid_t pid);
/* The number in a file, as "memory.peak"; in the line that begins with @key if not NULL */
long long cg_read(const char *file, const char *key);
/* End who is in it, and remove it */
void cg_end(void);

#endif /* CG_H */
