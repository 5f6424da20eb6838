// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * linger.c - connections that were closed before all was sent
 */
#include <stdlib.h>

#include "lib.h"

/* Take a connection over from its owner. Returns ours, to be scheduled; NULL without memory */
struct stackmap_conn *stackmap_linger_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;
	struct stackmap_linger *linger = malloc(sizeof(*linger));

	if (!linger)
		return NULL;
	stackmap_unlist_(conn);
	linger->conn = *conn;
	linger->conn.state |= CONN_LINGER;
	linger->deadline = stackmap_now_ms_() + port->linger_ms;
	linger->next = NULL;
	linger->prev = port->linger_last;
	if (port->linger_last)
		port->linger_last->next = linger;
	else
		port->linger_first = linger;
	port->linger_last = linger;
	port->lingering++;
	/* its slots are found by conns; with no gens, none is shown */
	*stackmap_conn_at_(port, conn->fd) = &linger->conn;
	*stackmap_gen_at_(port, conn->fd) = 0;
	stackmap_conn_over_(conn);
	/* What it did not read would make its close() a reset, and take what is sent with it */
	if (stackmap_info_at_(port, linger->conn.fd)->bounded)
		stackmap_conn_resume(&linger->conn);
	return &linger->conn;
}

/* Close it, and lose what is left */
void stackmap_linger_end_(struct stackmap_conn *conn)
{
	struct stackmap_linger *linger = (struct stackmap_linger *)conn;
	struct stackmap_port *port = conn->port;

	if (linger->prev)
		linger->prev->next = linger->next;
	else
		port->linger_first = linger->next;
	if (linger->next)
		linger->next->prev = linger->prev;
	else
		port->linger_last = linger->prev;
	port->lingering--;
	/* The sync before took what closes it, or it was left behind; the kernel has not this one any more */
	if ((conn->state & CONN_CLOSED) && conn->batch != port->batch) {
		stackmap_close_made_(port, conn->fd);
		stackmap_forget_(conn);
	} else {
		/* unless its descriptor was closed by somebody else */
		stackmap_conn_abort(conn);
	}
	free(linger);
}

/*
 * The kernel has given this handle to another connection: who lingers there was closed by the sync before, or
 * as its slots were sent early, and has not had its turn since
 */
void stackmap_linger_evict_(struct stackmap_port *port, int fd)
{
	struct stackmap_conn *conn = *stackmap_conn_at_(port, fd);

	if (conn && (conn->state & CONN_CLOSED))
		stackmap_linger_end_(conn);
}

/* Give up those that have lingered for too long */
void stackmap_linger_expire_(struct stackmap_port *port)
{
	uint64_t now;

	if (!port->linger_first)
		return;
	now = stackmap_now_ms_();
	while (port->linger_first && port->linger_first->deadline <= now)
		stackmap_linger_end_(&port->linger_first->conn);
}
