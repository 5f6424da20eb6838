// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * send.c - sending through a connection
 */
#include <limits.h>

#include "lib.h"

/* What stackmap_send_memory() takes at most: what is queued is counted in 32 bits */
#define SEND_MEMORY_MAX	((size_t)1 << 30)

/* Whether the next byte of a connection may go to the ring at once */
static bool direct(const struct stackmap_conn *conn)
{
	return !conn->first && !(conn->state & CONN_BLOCKED);
}

/**
 * struct source - what is to be sent, in pieces
 * @iov: the piece that is next, and those behind it
 * @off: bytes of it that are done
 */
struct source {
	const struct iovec *iov;
	size_t off;
};

/* Copy the next @n bytes, of which there are so many */
static void draw(struct source *src, unsigned char *to, size_t n)
{
	while (n) {
		size_t m = src->iov->iov_len - src->off;

		if (m > n)
			m = n;
		/* an empty piece may have no address */
		if (m)
			memcpy(to, (const char *)src->iov->iov_base + src->off, m);
		to += m;
		n -= m;
		src->off += m;
		if (src->off == src->iov->iov_len) {
			src->iov++;
			src->off = 0;
		}
	}
}

/* Copy into transmit slots what they take; returns how much */
static size_t fill_ring(struct stackmap_conn *conn, struct source *src,
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
		draw(src, stackmap_buf(port, slot->buf), n);
		stackmap_commit_(port, conn->fd, 0, (uint32_t)n, 0, conn->gen);
		stackmap_in_ring_(conn, (uint32_t)n);
		done += n;
	}
	return done;
}

/* Copy what the ring did not take into the queue; returns how much */
static size_t fill_queue(struct stackmap_conn *conn, struct source *src,
			 size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t n = src->iov->iov_len - src->off, m;

		if (n > len - done)
			n = len - done;
		m = n ? stackmap_queue_copy_(conn, (const char *)src->iov->iov_base + src->off, n) : 0;
		done += m;
		if (m < n)
			break;
		src->iov++;
		src->off = 0;
	}
	return done;
}

int stackmap_tx_pieces_(const struct stackmap_conn *conn, struct iovec *iov, int max, size_t len)
{
	struct stackmap_port *port = conn->port;
	uint32_t i = port->tx_cur;
	int n;

	if (!stackmap_goes_now_(conn, len))
		return 0;
	for (n = 0; len; n++, i = (i + 1) & port->tx_mask) {
		size_t piece = len < port->seg_max ? len : port->seg_max;

		if (n == max || i == port->tx_limit)
			return 0;
		iov[n].iov_base = stackmap_buf(port, port->tx_own[i] != STACKMAP_NO_BUF ? port->tx_own[i] :
							port->tx_slots[i].buf);
		iov[n].iov_len = piece;
		len -= piece;
	}
	return n;
}

void stackmap_tx_pieces_filled_(struct stackmap_conn *conn, size_t len, uint32_t flags)
{
	struct stackmap_port *port = conn->port;

	while (len && stackmap_tx_reserve(port)) {
		size_t piece = len < port->seg_max ? len : port->seg_max;

		stackmap_commit_(port, conn->fd, 0, (uint32_t)piece, flags, conn->gen);
		stackmap_in_ring_(conn, (uint32_t)piece);
		len -= piece;
	}
}

/* Before another's slots it stays, where more of its own follow behind those: it would be a packet of its own */
void stackmap_tx_uncork_(struct stackmap_conn *conn, uint32_t from)
{
	struct stackmap_port *port = conn->port;
	bool ours, next = false, later = false;
	uint32_t i;

	for (i = port->tx_cur; i != from; next = ours, later |= ours) {
		struct stackmap_slot *slot;

		i = (i - 1) & port->tx_mask;
		slot = &port->tx_slots[i];
		ours = slot->fd == conn->fd && slot->gen == conn->gen;
		if (ours && (next || !later))
			slot->flags &= (uint16_t)~STACKMAP_TX_MORE;
	}
}

/* Whether there is nothing against sending; if not, errno says what */
static bool may_send(const struct stackmap_conn *conn)
{
	if (conn && !(conn->err | (conn->state & CONN_SHUT)))
		return true;
	errno = !conn ? EINVAL : conn->err ? conn->err : EPIPE;
	return false;
}

static ssize_t send_from(struct stackmap_conn *conn, struct source *src,
			 size_t len)
{
	size_t done = 0, n = len;

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
		done = fill_ring(conn, src, n);
	if (done < n) {
		done += fill_queue(conn, src, n - done);
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

ssize_t stackmap_send(struct stackmap_conn *conn, const void *data, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct source src = { .iov = &iov };

	if (conn && stackmap_send_at_once_(conn, &iov, len, 0))
		return (ssize_t)len;
	return may_send(conn) ? send_from(conn, &src, len) : -1;
}

ssize_t stackmap_sendv(struct stackmap_conn *conn, const struct iovec *iov, int n)
{
	struct source src = { .iov = iov };
	size_t len = 0;
	int i;

	if (!may_send(conn))
		return -1;
	if (n < 0 || (n && !iov)) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; i < n; i++) {
		if (iov[i].iov_len > SSIZE_MAX - len) {
			errno = EINVAL;
			return -1;
		}
		len += iov[i].iov_len;
	}
	if (stackmap_send_at_once_(conn, iov, len, 0))
		return (ssize_t)len;
	return send_from(conn, &src, len);
}

/* Whether a slot can send that; if not, errno says what is wrong */
static bool valid(const struct stackmap_port *port, uint32_t buf, uint32_t off,
		  uint32_t len, uint32_t flags)
{
	/* (More than may be queued at all would wait for ever) */
	if (stackmap_callers_(port, buf) && len - 1 < UINT16_MAX && len <= port->send_max &&
	    off <= UINT16_MAX && off + len <= stackmap_buf_size(port, buf) &&
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

int stackmap_send_memory(struct stackmap_conn *conn, int memory, size_t off, size_t len,
			 unsigned int flags)
{
	struct stackmap_port *port;
	uint32_t id = (uint32_t)memory;
	bool at_once;

	if (!may_send(conn))
		return -1;
	port = conn->port;
	if (!stackmap_usable_(port))
		return -1;
	if (!len || len > SEND_MEMORY_MAX || !stackmap_in_memory_(port, id, off, len) ||
	    (flags & ~(unsigned int)(STACKMAP_TX_MORE | STACKMAP_TX_ACKED))) {
		errno = EINVAL;
		return -1;
	}
	if (!stackmap_conn_room(conn)) {
		stackmap_want_writable(conn);
		errno = EAGAIN;
		return -1;
	}
	if (direct(conn) && len <= STACKMAP_TX_MEMORY_MAX && stackmap_tx_reserve(port)) {
		stackmap_commit_memory_(port, conn->fd, id, off, (uint32_t)len, flags, conn->gen);
		stackmap_in_ring_(conn, (uint32_t)len);
		return 0;
	}
	at_once = direct(conn);
	if (stackmap_queue_memory_(conn, id, off, (uint32_t)len, flags)) {
		errno = ENOMEM;
		return -1;
	}
	if (at_once)
		stackmap_pump_(conn);
	stackmap_schedule_(conn);
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
