// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * sync.c - exchanging batches with the kernel, and sleeping
 */
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lib.h"

uint64_t stackmap_now_ms_(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int do_sync(struct stackmap_port *port, uint32_t flags, uint32_t wait_us)
{
	struct stackmap_sync req = { .flags = flags, .wait_us = wait_us };

	port->rx_ring->head = port->rx_cur;
	port->tx_ring->head = port->tx_cur;
	if (ioctl(port->fd, STACKMAP_IOC_SYNC, &req) < 0)
		return -1;
	port->rx_tail = port->rx_ring->tail;
	port->tx_limit = port->tx_ring->tail;
	stackmap_settle_refused_(port);
	/* nothing unsent is in the ring any more */
	port->tx_sent = port->tx_cur;
	if (++port->batch == 0)
		port->batch = 1;
	stackmap_run_pending_(port);
	stackmap_linger_expire_(port);
	return (int)(((port->rx_tail - port->rx_cur) & port->rx_mask) +
		     port->ready);
}

int stackmap_sync(struct stackmap_port *port, unsigned int wait_us)
{
	/* who is waiting for us must not wait for the NIC */
	return do_sync(port, 0, port->ready || port->pending.first ? 0 : wait_us);
}

int stackmap_idle(struct stackmap_port *port)
{
	int n;

	/* queues may have filled the ring again: that must not wait */
	do {
		n = do_sync(port, STACKMAP_SYNC_SLEEP, 0);
	} while (n == 0 && port->tx_cur != port->tx_sent);
	return n;
}

int stackmap_wait(struct stackmap_port *port, int timeout_ms)
{
	struct pollfd pfd = { .fd = port->fd, .events = POLLIN };
	uint64_t now, end = 0;
	int n, left = timeout_ms;

	n = stackmap_idle(port);
	if (n || !timeout_ms)
		return n;
	if (timeout_ms > 0)
		end = stackmap_now_ms_() + (unsigned int)timeout_ms;
	for (;;) {
		n = poll(&pfd, 1, left);
		if (n <= 0)
			return n;
		n = stackmap_idle(port);
		if (n)
			return n;
		if (timeout_ms < 0)
			continue;
		now = stackmap_now_ms_();
		if (now >= end)
			return 0;
		left = (int)(end - now);
	}
}
