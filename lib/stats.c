// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * stats.c - what ports there are, and their counters; what the library has of one
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib.h"

static int ask(unsigned long what, void *answer)
{
	int fd, ret, err;

	fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ret = ioctl(fd, what, answer);
	err = errno;
	close(fd);
	errno = err;
	return ret < 0 ? -1 : 0;
}

int stackmap_stats(unsigned int index, struct stackmap_info *info)
{
	if (!info) {
		errno = EINVAL;
		return -1;
	}
	memset(info, 0, sizeof(*info));
	info->version = STACKMAP_ABI_VERSION;
	info->index = index;
	return ask(STACKMAP_IOC_INFO, info);
}

int stackmap_detail(unsigned int index, struct stackmap_detail *detail)
{
	if (!detail) {
		errno = EINVAL;
		return -1;
	}
	memset(detail, 0, sizeof(*detail));
	detail->info.version = STACKMAP_ABI_VERSION;
	detail->info.index = index;
	return ask(STACKMAP_IOC_DETAIL, detail);
}

static void count(struct stackmap_counts *counts, struct stackmap_conn **conns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct stackmap_conn *conn = conns[i];

		if (!conn)
			continue;
		counts->connections += !(conn->state & CONN_LINGER);
		counts->blocked += !!(conn->state & CONN_BLOCKED);
		counts->queued_bytes += conn->queued;
	}
}

int stackmap_counts(const struct stackmap_port *port,
		    struct stackmap_counts *counts)
{
	if (!counts) {
		errno = EINVAL;
		return -1;
	}
	if (!stackmap_usable_(port))
		return -1;
	memset(counts, 0, sizeof(*counts));
	count(counts, port->conns, port->fds);
	count(counts, port->handle_conns, port->handles);
	counts->lingering = port->lingering;
	counts->spare_bufs = port->spares;
	counts->parked_bufs = port->parked;
	counts->refused = port->refused_left;
	counts->delivered = (port->rx_tail - port->rx_cur) & port->rx_mask;
	counts->committed = (port->tx_cur - port->tx_sent) & port->tx_mask;
	return 0;
}
