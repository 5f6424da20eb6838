// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * next.c - finds libc's calls
 */
#define _GNU_SOURCE 1

#include "next.h"

#include <dlfcn.h>

struct next_calls next_calls;
int next_ready;

/* Twice at once does no harm: both find the same */
void next_init(void)
{
#define NEXT_FIND(ret, name, args) \
	*(void **)&next_calls.name = dlsym(RTLD_NEXT, #name);
	NEXT_CALLS(NEXT_FIND)
	__atomic_store_n(&next_ready, 1, __ATOMIC_RELEASE);
}
