// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * unread.c - a connection becomes a plain socket, with all that was not used of its payload
 */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "lib.h"

static bool is_payload_of(const struct stackmap_slot *slot,
			  const struct stackmap_conn *conn)
{
	return (slot->flags & STACKMAP_RX_DATA) && slot->fd == conn->fd &&
	       slot->gen == conn->gen;
}

/* Bytes in receive slots that stackmap_rx_next() has not shown; copied to, if that is not NULL */
static size_t not_shown(const struct stackmap_conn *conn, unsigned char *to)
{
	const struct stackmap_port *port = conn->port;
	size_t n = 0;
	uint32_t i;

	for (i = port->rx_cur; i != port->rx_tail; i = (i + 1) & port->rx_mask) {
		const struct stackmap_slot *slot = &port->rx_slots[i];

		if (!is_payload_of(slot, conn))
			continue;
		if (to)
			memcpy(to + n, stackmap_rx_data(port, slot), slot->len);
		n += slot->len;
	}
	return n;
}

int stackmap_conn_detach_unread(struct stackmap_conn *conn, const void *data,
				size_t len)
{
	struct stackmap_unread unread = { .len = 0 };
	struct stackmap_detach req = {
		.flags = STACKMAP_DETACH_UNREAD, .unread = (uintptr_t)&unread,
	};
	unsigned char *all;
	int fd, ret, err;
	size_t more;

	if (!stackmap_conn_live_(conn))
		return -1;
	if (len && !data) {
		errno = EINVAL;
		return -1;
	}
	if (!conn->err && stackmap_conn_unsent(conn)) {
		errno = EBUSY;
		return -1;
	}
	fd = stackmap_conn_fd(conn);
	if (fd < 0)
		return -1;
	more = not_shown(conn, NULL);
	if (len > UINT32_MAX - more) {
		errno = EMSGSIZE;
		return -1;
	}
	all = malloc(len + more + 1);
	if (!all)
		return -1;
	if (len)
		memcpy(all, data, len);
	not_shown(conn, all + len);
	unread.addr = (uintptr_t)all;
	unread.len = (uint32_t)(len + more);
	unread.gen = conn->gen;
	req.fd = conn->fd;
	ret = ioctl(conn->port->fd, STACKMAP_IOC_DETACH, &req);
	err = errno;
	free(all);
	if (ret < 0) {
		errno = err;
		return -1;
	}
	stackmap_forget_(conn);
	conn->fd = fd;
	return fd;
}
