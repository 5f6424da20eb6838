// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * end.c - what becomes of a connection that is detached or closed now
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib.h"

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
void stackmap_forget_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;
	uint32_t i;

	stackmap_queue_drop_(conn);
	stackmap_unlist_(conn);
	stackmap_drop_credit_(port, conn->fd);
	*stackmap_conn_at_(port, conn->fd) = NULL;
	*stackmap_gen_at_(port, conn->fd) = 0;
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

/* Where a child finds the connection of a number, or NULL */
static struct stackmap_conn **heirs_place(const struct stackmap_heir *heir, int fd)
{
	uint32_t i = (uint32_t)fd;

	if (i < heir->fds)
		return &heir->conns[i];
	i -= STACKMAP_HANDLE_MIN;
	return i < heir->handles ? &heir->handle_conns[i] : NULL;
}

/*
 * Close a connection that is in no table of a port which can be used. Its
 * descriptor is its own in a child of fork(), and when the port has been
 * closed; but not if another socket is attached by that number.
 */
int stackmap_close_orphan_(struct stackmap_conn *conn)
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
		struct stackmap_conn **at = heirs_place(stackmap_heir_(port), conn->fd);

		mine = at && *at == conn;
		if (mine)
			*at = NULL;
	}
	stackmap_conn_over_(conn);
	if (mine) {
		/* a handle has gone with the port, or is the parent's */
		if (!stackmap_is_handle_(conn->fd))
			close(conn->fd);
		return 0;
	}
	errno = EBADF;
	return -1;
}

void stackmap_close_now_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;
	uint32_t gen = conn->gen;

	if (!stackmap_is_handle_(conn->fd)) {
		stackmap_forget_(conn);
		close(conn->fd);
		return;
	}
	stackmap_close_made_(port, conn->fd);
	stackmap_forget_(conn);
	stackmap_close_handle_(port, conn->fd, gen, 0);
}

void stackmap_conn_abort(struct stackmap_conn *conn)
{
	if (stackmap_conn_live_(conn))
		stackmap_close_now_(conn);
	else if (conn && conn->port)
		stackmap_close_orphan_(conn);
}
