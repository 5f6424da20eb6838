// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * list.c - the two lists that a connection may be in, one at a time
 */
#include "lib.h"

static void append(struct stackmap_conn_list *list, struct stackmap_conn *conn)
{
	conn->next = NULL;
	conn->prev = list->last;
	if (list->last)
		list->last->next = conn;
	else
		list->first = conn;
	list->last = conn;
}

static void delete(struct stackmap_conn_list *list, struct stackmap_conn *conn)
{
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		list->first = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	else
		list->last = conn->prev;
}

/* Take it out of the list it is in, if any */
void stackmap_unlist_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;

	if (conn->state & CONN_PENDING)
		delete(&port->pending, conn);
	if (conn->state & CONN_WRITABLE) {
		delete(&port->writable, conn);
		port->ready--;
	}
	conn->state &= (uint16_t)~(CONN_PENDING | CONN_WRITABLE);
}

/* Have the next sync look at it. Its place is kept if it is there already */
void stackmap_pend_(struct stackmap_conn *conn)
{
	if (conn->state & CONN_PENDING)
		return;
	/* it will be shown when the queue has gone */
	if (conn->state & CONN_WRITABLE)
		stackmap_unlist_(conn);
	conn->state |= CONN_PENDING;
	append(&conn->port->pending, conn);
}

/* Have its owner look at it */
void stackmap_show_(struct stackmap_conn *conn)
{
	if (conn->state & CONN_WRITABLE)
		return;
	stackmap_unlist_(conn);
	conn->state |= CONN_WRITABLE;
	append(&conn->port->writable, conn);
	conn->port->ready++;
}
