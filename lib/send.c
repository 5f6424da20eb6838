// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * send.c - sending through a connection
 */
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
		stackmap_commit_(port, conn->fd, 0, (uint32_t)n, 0, conn->gen);
		stackmap_in_ring_(conn, (uint32_t)n);
		done += n;
	}
	return done;
}

/* Whether there is nothing against sending; if not, errno says what */
static bool may_send(const struct stackmap_conn *conn)
{
	if (conn && !(conn->err | (conn->state & CONN_SHUT)))
		return true;
	errno = !conn ? EINVAL : conn->err ? conn->err : EPIPE;
	return false;
}

ssize_t stackmap_send(struct stackmap_conn *conn, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t done = 0, n = len;

	if (!may_send(conn))
		return -1;
	if (!len)
		return 0;
	if (n > stackmap_conn_room(conn))
		n = stackmap_conn_room(conn);
	if (!n) {
		if (!stackmap_usable_(conn->port))
			return -1;
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

/* Whether a slot can send that; if not, errno says what is wrong */
static bool valid(const struct stackmap_port *port, uint32_t buf, uint32_t off,
		  uint32_t len, uint32_t flags)
{
	if (stackmap_callers_(port, buf) && len - 1 < port->seg_max &&
	    off <= UINT16_MAX && off + len <= port->frame_size &&
	    !(flags & ~(uint32_t)(STACKMAP_TX_KEEP | STACKMAP_TX_MORE |
				  STACKMAP_TX_ACKED)))
		return true;
	errno = EINVAL;
	return false;
}

int stackmap_send_buf(struct stackmap_conn *conn, uint32_t buf, uint32_t off,
		      uint32_t len, unsigned int flags)
{
	struct stackmap_port *port;
	bool give = false;

	if (!may_send(conn))
		return -1;
	port = conn->port;
	if (!stackmap_usable_(port) || !valid(port, buf, off, len, flags))
		return -1;
	if (len > stackmap_conn_room(conn)) {
		stackmap_want_writable(conn);
		errno = EAGAIN;
		return -1;
	}
	/* something may refer to it, so that no slot can have it for its own */
	if (!(flags & STACKMAP_TX_KEEP) && port->bufs[buf].lent) {
		flags |= STACKMAP_TX_KEEP;
		give = true;
	}
	if (direct(conn) && stackmap_tx_reserve(port)) {
		stackmap_commit_buf_(port, conn->fd, buf, off, len, flags,
				     conn->gen);
		stackmap_in_ring_(conn, len);
	} else if (!stackmap_queue_buf_(conn, buf, off, len, flags)) {
		stackmap_schedule_(conn);
	} else {
		errno = ENOMEM;
		return -1;
	}
	if (give)
		stackmap_park_(port, buf);
	return 0;
}

int stackmap_tx_commit_buf(struct stackmap_port *port, int fd, uint32_t buf,
			   uint32_t off, uint32_t len, uint32_t flags,
			   uint32_t gen)
{
	bool give = false;

	if (!stackmap_usable_(port) || !valid(port, buf, off, len, flags))
		return -1;
	if (!stackmap_tx_reserve(port)) {
		errno = ENOBUFS;
		return -1;
	}
	if (!(flags & STACKMAP_TX_KEEP) && port->bufs[buf].lent) {
		flags |= STACKMAP_TX_KEEP;
		give = true;
	}
	stackmap_commit_buf_(port, fd, buf, off, len, flags, gen);
	if (give)
		stackmap_park_(port, buf);
	return 0;
}

void stackmap_want_writable(struct stackmap_conn *conn)
{
	if (!conn || !stackmap_usable_(conn->port))
		return;
	conn->state |= CONN_WANT;
	if (!conn->err)
		stackmap_schedule_(conn);
	else if (stackmap_conn_live_(conn))
		stackmap_show_(conn);
}

struct stackmap_conn *stackmap_next_writable(struct stackmap_port *port)
{
	struct stackmap_conn *conn;

	if (!stackmap_usable_(port))
		return NULL;
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
