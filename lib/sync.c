// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * sync.c - exchanging batches with the kernel, sleeping, and being woken
 */
#define _GNU_SOURCE 1

#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lib.h"

/* @watch: with STACKMAP_SYNC_WATCH, else 0 */
static int do_sync_watch(struct stackmap_port *port, uint32_t flags,
			 uint32_t wait_us, int watch)
{
	struct stackmap_sync req = {
		.flags = flags, .wait_us = wait_us, .watch = watch,
	};
	uint32_t sent;
	int gone = 0;

	/* behind all payload, lest it comes between slots of one write */
	if (__builtin_expect(port->parked, 0))
		stackmap_return_parked_(port);
	if (__builtin_expect(__atomic_load_n(&port->woken, __ATOMIC_RELAXED), 0) &&
	    __atomic_exchange_n(&port->woken, 0, __ATOMIC_ACQUIRE))
		port->wake_seen = 1;
	port->rx_ring->head = port->rx_cur;
	port->tx_ring->head = port->tx_cur;
	sent = port->tx_cur;
	/* without its interface the port has sent what was in the ring */
	if (ioctl(port->fd, STACKMAP_IOC_SYNC, &req) < 0) {
		if (errno != ENODEV)
			return -1;
		gone = ENODEV;
	}
	port->rx_tail = port->rx_ring->tail;
	port->tx_limit = port->tx_ring->tail;
	if (__builtin_expect(port->returns, 0))
		stackmap_settle_returns_(port);
	stackmap_settle_refused_(port);
	/* nothing unsent is in the ring any more, but for what was just put there */
	port->tx_sent = sent;
	if (++port->batch == 0)
		port->batch = 1;
	if (__builtin_expect(port->control_first, 0))
		stackmap_run_credit_(port);
	/* the queues may leave no slot until the next sync, nor after it */
	if (__builtin_expect(port->parked && port->pending.first, 0))
		stackmap_return_parked_(port);
	stackmap_run_pending_(port);
	stackmap_linger_expire_(port);
	if (__builtin_expect(gone, 0)) {
		errno = gone;
		return -1;
	}
	return (int)(((port->rx_tail - port->rx_cur) & port->rx_mask) +
		     port->ready + port->refused_left);
}

static int do_sync(struct stackmap_port *port, uint32_t flags, uint32_t wait_us)
{
	return do_sync_watch(port, flags, wait_us, 0);
}

/* Who is waiting for us must not wait for the NIC */
static uint32_t may_wait(const struct stackmap_port *port, uint32_t wait_us)
{
	return port->ready || port->pending.first ? 0 : wait_us;
}

int stackmap_sync(struct stackmap_port *port, unsigned int wait_us)
{
	if (!stackmap_usable_(port))
		return -1;
	return do_sync(port, 0, may_wait(port, wait_us));
}

int stackmap_sync_watch(struct stackmap_port *port, unsigned int wait_us, int fd,
			unsigned int *told)
{
	int n;

	if (!stackmap_usable_(port))
		return -1;
	if (!told || fd < -1) {
		errno = told ? EBADF : EINVAL;
		return -1;
	}
	n = do_sync_watch(port, fd < 0 ? 0 : STACKMAP_SYNC_WATCH,
			  may_wait(port, wait_us), fd < 0 ? 0 : fd);
	*told = n < 0 ? 0 : port->rx_ring->told;
	return n;
}

int stackmap_idle(struct stackmap_port *port)
{
	bool young;
	int n;

	if (!stackmap_usable_(port))
		return -1;
	/* queues may have filled the ring again, and what was given back is to go: neither must wait */
	do {
		young = stackmap_parked_young_(port);
		n = do_sync(port, STACKMAP_SYNC_SLEEP, 0);
	} while (n == 0 && (young || port->tx_cur != port->tx_sent));
	return n;
}

/* How long a wait sleeps at most while buffers that were given back are not idle */
#define PARKED_MS	100u

/* Sleep for so many milliseconds, -1 without end, with other signals let in */
static int sleep_ms(int fd, int ms, const sigset_t *sigmask)
{
	struct timespec ts = {
		.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L,
	};
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return ppoll(&pfd, 1, ms < 0 ? NULL : &ts, sigmask);
}

/* Let signals in for a moment. Returns -1 and EINTR if one was handled */
static int take_signals(const sigset_t *sigmask)
{
	struct timespec ts = { 0, 0 };

	return ppoll(NULL, 0, &ts, sigmask);
}

/*
 * Whether another thread wants its wait, which returns n, to end. A sync of ours
 * before it does not count, as a program may go on to wait without looking; so
 * that is told by waits only, and not together with an error.
 */
static bool woken(struct stackmap_port *port, int n)
{
	bool seen = port->wake_seen && n >= 0;

	if (seen)
		port->wake_seen = 0;
	return seen;
}

int stackmap_pwait(struct stackmap_port *port, int timeout_ms,
		   const sigset_t *sigmask)
{
	uint64_t now, end = 0;
	int n, left = timeout_ms;

	if (!stackmap_usable_(port))
		return -1;
	n = stackmap_idle(port);
	if (woken(port, n) || n || !timeout_ms) {
		if (sigmask && n >= 0 && take_signals(sigmask) < 0 && !n)
			return -1;
		return n;
	}
	if (timeout_ms > 0)
		end = stackmap_now_ms_() + (unsigned int)timeout_ms;
	for (;;) {
		int ms = left;

		/* No event tells that the kernel has an idle buffer for one that was given back */
		if (port->parked && (unsigned int)ms > PARKED_MS)
			ms = PARKED_MS;
		n = sleep_ms(port->fd, ms, sigmask);
		if (n < 0 || (n == 0 && ms == left))
			return n;
		n = stackmap_idle(port);
		if (woken(port, n) || n) {
			/* What came with a signal: ppoll() has handled none then */
			if (sigmask)
				take_signals(sigmask);
			return n;
		}
		if (timeout_ms < 0)
			continue;
		now = stackmap_now_ms_();
		if (now >= end)
			return 0;
		left = (int)(end - now);
	}
}

int stackmap_wait(struct stackmap_port *port, int timeout_ms)
{
	return stackmap_pwait(port, timeout_ms, NULL);
}

int stackmap_wake(struct stackmap_port *port)
{
	if (!stackmap_usable_(port))
		return -1;
	/* at first: who is woken looks for it */
	__atomic_store_n(&port->woken, 1, __ATOMIC_RELEASE);
	return ioctl(port->fd, STACKMAP_IOC_WAKE);
}
