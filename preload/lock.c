// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * lock.c - a lock of one word, whose holder can be told to hurry
 *
 * After Drepper, "Futexes are tricky" (2011), the third mutex. Not a mutex of libc's: its holder
 * may be polling a NIC, and a child of fork() starts with all of them free.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "next.h"
#include "preload.h"

static void futex(uint32_t *word, int op, uint32_t value)
{
	int err = errno;

	next()->syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
	errno = err;
}

void lock_wait(struct lock *lock, void (*hurry)(void *), void *arg)
{
	while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE)) {
		if (hurry)
			hurry(arg);
		futex(&lock->word, FUTEX_WAIT, 2);
	}
}

/* Somebody waits for it */
void lock_pass(struct lock *lock)
{
	futex(&lock->word, FUTEX_WAKE, 1);
}
