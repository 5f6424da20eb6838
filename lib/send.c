// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * send.c - sending through a connection
 */
#include <errno.h>

#include "lib.h"

/* Whether the next byte of a connection may go to the ring at once */
static bool direct(const struct stackmap_conn *conn)
{
	return !conn->first && !(conn->state & CONN_BLOCKED);
}

/* Copy into transmit slots what they take; returns how much */
static size_t fill_ring(struct stackmap_conn *conn, const unsigned char *data,
			size_t len)
{
	struct stackmap_port *port = conn->port;
	size_t done = 0;

	while (done < len) {
		struct stackmap_slot *slot = stackmap_tx_reserve(port);
		size_t n = len - done;

		if (!slot)
			break;
		if (n > port->seg_max)
			n = port->seg_max;
		memcpy(stackmap_buf(port, slot->buf), data + done, n);
		stackmap_tx_commit(port, conn->fd, 0, (uint32_t)n, 0, conn->gen);
		stackmap_in_ring_(conn, (uint32_t)n);
		done += n;
	}
	return done;
}

static int check(struct stackmap_conn *conn)
{
	if (!conn->err)
		return 0;
	errno = conn->err;
	return -1;
}

ssize_t stackmap_send(struct stackmap_conn *conn, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t done = 0, n = len;

	if (check(conn))
		return -1;
	if (!len)
		return 0;
	if (n > stackmap_conn_room(conn))
		n = stackmap_conn_room(conn);
	if (!n) {
		stackmap_want_writable(conn);
		errno = EAGAIN;
		return -1;
	}
	if (direct(conn))
		done = fill_ring(conn, p, n);
	if (done < n) {
		done += stackmap_queue_copy_(conn, p + done, n - done);
		stackmap_schedule_(conn);
	}
	if (!done) {
		errno = ENOMEM;
		return -1;
	}
	if (done < len)
		stackmap_want_writable(conn);
	return (ssize_t)done;
}

int stackmap_send_buf(struct stackmap_conn *conn, uint32_t buf, uint32_t off,
		      uint32_t len, unsigned int flags)
{
	struct stackmap_port *port = conn->port;

	if (buf >= port->reg.frames || !len || len > port->seg_max ||
	    off > UINT16_MAX || off + len > port->frame_size ||
	    (flags & ~(unsigned int)(STACKMAP_TX_KEEP | STACKMAP_TX_MORE))) {
		errno = EINVAL;
		return -1;
	}
	if (check(conn))
		return -1;
	if (len > stackmap_conn_room(conn)) {
		stackmap_want_writable(conn);
		errno = EAGAIN;
		return -1;
	}
	if (direct(conn) && stackmap_tx_reserve(port)) {
		stackmap_tx_commit_buf(port, conn->fd, buf, off, len, flags,
				       conn->gen);
		stackmap_in_ring_(conn, len);
		return 0;
	}
	if (stackmap_queue_buf_(conn, buf, off, len, flags)) {
		errno = ENOMEM;
		return -1;
	}
	stackmap_schedule_(conn);
	return 0;
}

void stackmap_want_writable(struct stackmap_conn *conn)
{
	conn->state |= CONN_WANT;
	if (conn->err)
		stackmap_show_(conn);
	else
		stackmap_schedule_(conn);
}

struct stackmap_conn *stackmap_next_writable(struct stackmap_port *port)
{
	struct stackmap_conn *conn;

	while ((conn = port->writable.first)) {
		stackmap_unlist_(conn);
		if (!conn->err &&
		    stackmap_conn_unsent(conn) > port->send_max / 2) {
			/* it has sent in the meantime: later, then */
			stackmap_pend_(conn);
			continue;
		}
		conn->state &= (uint16_t)~CONN_WANT;
		return conn;
	}
	return NULL;
}
