// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * conn.c - attaching, detaching and closing connections; half-closing them, and
 * what their peers have acknowledged
 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib.h"

int stackmap_conn_attach(struct stackmap_conn *conn, struct stackmap_port *port,
			 int fd)
{
	uint32_t gen;

	if (!conn) {
		errno = EINVAL;
		return -1;
	}
	gen = stackmap_attach(port, fd, (uintptr_t)conn);
	if (!gen)
		return -1;
	memset(conn, 0, sizeof(*conn));
	conn->port = port;
	conn->fd = fd;
	conn->gen = gen;
	port->conns[fd] = conn;
	return 0;
}

/* Whoever uses it from now on is told that there is nothing, also when the port has gone */
void stackmap_conn_over_(struct stackmap_conn *conn)
{
	conn->port = (struct stackmap_port *)&stackmap_gone_;
	conn->next = NULL;
	conn->prev = NULL;
	conn->first = NULL;
	conn->last = NULL;
	conn->gen = 0;
	conn->queued = 0;
	conn->in_ring = 0;
	conn->err = EBADF;
	conn->state = 0;
}

/* Forget about it; slots of it that are in the ring lead nowhere */
static void forget(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;
	uint32_t i;

	stackmap_queue_drop_(conn);
	stackmap_unlist_(conn);
	stackmap_drop_credit_(port, conn->fd);
	port->conns[conn->fd] = NULL;
	port->gens[conn->fd] = 0;
	if (conn->batch == port->batch) {
		for (i = port->tx_sent; i != port->tx_cur;
		     i = (i + 1) & port->tx_mask) {
			struct stackmap_slot *slot = &port->tx_slots[i];

			if (slot->fd == conn->fd && slot->gen == conn->gen)
				slot->fd = -1;
		}
	}
	stackmap_conn_over_(conn);
}

/*
 * Close a connection that is in no table of a port which can be used. Its
 * descriptor is its own in a child of fork(), and when the port has been
 * closed; but not if another socket is attached by that number.
 */
static int close_orphan(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;
	bool mine = conn->gen && !port->bufs;
	struct stackmap_chunk *chunk;

	if (port->bufs) {
		stackmap_queue_drop_(conn);
		stackmap_unlist_(conn);
	}
	while ((chunk = conn->first)) {
		conn->first = chunk->next;
		free(chunk);
	}
	if (mine && port != &stackmap_gone_) {
		struct stackmap_heir *heir = stackmap_heir_(port);

		mine = (uint32_t)conn->fd < heir->fds &&
		       heir->conns[conn->fd] == conn;
		if (mine)
			heir->conns[conn->fd] = NULL;
	}
	stackmap_conn_over_(conn);
	if (mine) {
		close(conn->fd);
		return 0;
	}
	errno = EBADF;
	return -1;
}

int stackmap_conn_detach(struct stackmap_conn *conn)
{
	struct stackmap_detach req;

	if (!stackmap_conn_live_(conn))
		return -1;
	if (!conn->err && stackmap_conn_unsent(conn)) {
		errno = EBUSY;
		return -1;
	}
	memset(&req, 0, sizeof(req));
	req.fd = conn->fd;
	if (ioctl(conn->port->fd, STACKMAP_IOC_DETACH, &req) < 0)
		return -1;
	forget(conn);
	return conn->fd;
}

static void close_now(struct stackmap_conn *conn)
{
	forget(conn);
	close(conn->fd);
}

int stackmap_conn_close(struct stackmap_conn *conn)
{
	if (!stackmap_conn_live_(conn))
		return conn && conn->port ? close_orphan(conn) : -1;
	if (conn->err || !stackmap_conn_unsent(conn)) {
		close_now(conn);
		return 0;
	}
	if (!stackmap_linger_(conn))
		return 0;
	close_now(conn);
	errno = ENOMEM;
	return -1;
}

void stackmap_conn_abort(struct stackmap_conn *conn)
{
	if (stackmap_conn_live_(conn))
		close_now(conn);
	else if (conn && conn->port)
		close_orphan(conn);
}

int stackmap_conn_shutdown(struct stackmap_conn *conn)
{
	if (!stackmap_conn_live_(conn))
		return -1;
	if (conn->err) {
		errno = conn->err;
		return -1;
	}
	conn->state |= CONN_SHUT;
	stackmap_schedule_(conn);
	return 0;
}

uint64_t stackmap_conn_acked(const struct stackmap_conn *conn)
{
	return stackmap_conn_live_(conn) ? conn->port->infos[conn->fd].acked : 0;
}

int stackmap_conn_tell_acked(struct stackmap_conn *conn)
{
	struct stackmap_port *port;

	if (!stackmap_conn_live_(conn))
		return -1;
	port = conn->port;
	if (conn->err) {
		errno = conn->err;
		return -1;
	}
	if (!conn->first && !(conn->state & CONN_BLOCKED) &&
	    stackmap_tx_reserve(port)) {
		stackmap_commit_(port, conn->fd, 0, 0, STACKMAP_TX_ACKED,
				 conn->gen);
		stackmap_in_ring_(conn, 0);
		return 0;
	}
	if (stackmap_queue_mark_(conn)) {
		errno = ENOMEM;
		return -1;
	}
	stackmap_schedule_(conn);
	return 0;
}

struct stackmap_conn *stackmap_slot_conn(const struct stackmap_port *port,
					 const struct stackmap_slot *slot)
{
	if (!stackmap_usable_(port) || !slot || (uint32_t)slot->fd >= port->fds ||
	    port->gens[slot->fd] != slot->gen)
		return NULL;
	return stackmap_conn_find_(port, slot->fd, slot->gen);
}
