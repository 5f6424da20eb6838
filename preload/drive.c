// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * drive.c - what a thread that drives a port does between two syncs: how long it polls the NIC, how it
 * sleeps, and what becomes of a port whose interface is gone
 *
 * For all waits, whatever the program waits with.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "lib.h"
#include "next.h"
#include "preload.h"

uint64_t drive_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * DRIVE_NSEC + (uint64_t)ts.tv_nsec;
}

/* UINT64_MAX: never */
uint64_t drive_deadline(const struct timespec *timeout)
{
	if (!timeout || timeout->tv_sec > INT_MAX)
		return UINT64_MAX;
	return drive_now() + (uint64_t)timeout->tv_sec * DRIVE_NSEC + (uint64_t)timeout->tv_nsec;
}

/* The time that there was is over */
bool drive_over(const struct timespec *timeout, uint64_t *deadline)
{
	if (!timeout)
		return false;
	if (!*deadline)
		*deadline = drive_deadline(timeout);
	return drive_now() >= *deadline;
}

/*
 * How long the NIC is to be polled: until it was silent for so long. Not at all when another thread wants
 * the lock: it has it while this one sleeps, and wakes it
 */
unsigned int drive_spin(struct port *port, uint64_t deadline)
{
	uint64_t t, until;

	if (unlikely(__atomic_load_n(&port->lock.word, __ATOMIC_RELAXED) == 2))
		return 0;
	t = drive_now();
	if (port->active) {
		port->active = false;
		port->spin_until = t + port_spin_us * 1000ull;
	}
	until = port->spin_until < deadline ? port->spin_until : deadline;
	return until > t ? (unsigned int)((until - t + 999) / 1000) : 0;
}

/* Also where a thread may be cancelled */
int drive_ppoll(struct pollfd *fds, nfds_t n, uint64_t deadline, const sigset_t *mask)
{
	struct timespec ts, *timeout = NULL;

	if (deadline != UINT64_MAX) {
		uint64_t t = drive_now(), left = deadline > t ? deadline - t : 0;

		ts.tv_sec = (time_t)(left / DRIVE_NSEC);
		ts.tv_nsec = (long)(left % DRIVE_NSEC);
		timeout = &ts;
	}
	return next()->ppoll(fds, n, timeout, mask);
}

/*
 * Sleep until one of the program's descriptors is ready, or the port, which is the last of @fds. Returns as
 * ppoll(). The port is unlocked meanwhile
 */
int drive_sleep(struct port *port, struct pollfd *fds, nfds_t n, uint64_t deadline, const sigset_t *mask)
{
	int ret;

	port->sleeping = true;
	port_unlock(port);
	ret = drive_ppoll(fds, n, deadline, mask);
	port_lock(port);
	port->sleeping = false;
	return ret;
}

/* The interface is gone: all of its sockets are the kernel's */
void drive_dead(struct port *port)
{
	struct link *l, *m;

	trace(port->fd, "is a port no more: %s", strerror(errno));
	port->dead = true;
	for (l = port->sets.next; l != &port->sets; l = l->next) {
		struct set *set = container_of(l, struct set, in_port);

		for (m = set->socks.next; m != &set->socks; m = m->next)
			stream_give_up(container_of(m, struct sock, in_set));
	}
}
