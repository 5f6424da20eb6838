/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fault.h - allocations that fail, where the kernel has fault injection
 *
 * Only allocations that have the module on their stack fail: what it asks for
 * itself and what the kernel does for it (the stack in a sync, registering an
 * interface in a bind).
 */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>

/* Skips the test where there is none. After this none fails yet */
void fault_init(void);
/* The same for what has a function of the kernel on its stack */
void fault_init_under(const char *function);

/* The @n-th allocation that this thread makes from now on fails */
void fault_next(unsigned int n);
/* Ends that. Whether it has come so far */
bool fault_over(void);

/* So many of a hundred fail, in any context; slabs, pages or both */
enum { FAULT_SLABS = 1, FAULT_PAGES = 2 };
void fault_some(int percent, int what);
void fault_none(void);

/*
 * FAULT_DEEPER: in every sync a later allocation than in the one before fails,
 * until one has not as many; then from the first again. FAULT_EVERY: of what all
 * syncs allocate, the 1st fails, the 2nd after that, the 3rd after that ... and
 * so on up to the 13th, and again: where each loss is a wait for TCP's timer.
 */
enum fault_mode { FAULT_NOT, FAULT_DEEPER, FAULT_EVERY };
void fault_syncs(enum fault_mode mode);
/* How many syncs had one */
extern int fault_hits;
/* The most allocations that one sync got through before */
extern int fault_depth;

#endif /* FAULT_H */
