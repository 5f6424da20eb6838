// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * schedule.c - which connection sends, waits, or is shown to its owner
 *
 * A connection with something to do is in port->pending, unless it is blocked:
 * then only a STACKMAP_RX_ROOM event wakes it, so that a sync does nothing for
 * any number of slow readers.
 */
#include <sys/socket.h>

#include "lib.h"

/* After a change: find the list for a connection that is not in pending */
void stackmap_schedule_(struct stackmap_conn *conn)
{
	uint32_t unsent = stackmap_conn_unsent(conn);

	if (conn->state & CONN_BLOCKED)
		return;
	if (conn->first) {
		stackmap_pend_(conn);
		return;
	}
	if (conn->state & CONN_LINGER) {
		if (unsent)
			stackmap_pend_(conn);
		else
			stackmap_linger_end_(conn);
		return;
	}
	if ((conn->state & (CONN_SHUT | CONN_SHUT_DONE)) == CONN_SHUT) {
		/* a handle's can be in the ring behind what is sent; but for a slot */
		if (stackmap_is_handle_(conn->fd) ? !stackmap_shut_handle_(conn) : unsent) {
			stackmap_pend_(conn);
			return;
		}
		/* where that fails there is an error to be told anyway */
		conn->state |= CONN_SHUT_DONE;
		if (!stackmap_is_handle_(conn->fd) && stackmap_conn_live_(conn))
			shutdown(conn->fd, SHUT_WR);
	}
	if (conn->state & CONN_WANT) {
		if (unsent > conn->port->send_max / 2)
			stackmap_pend_(conn);
		else
			stackmap_show_(conn);
	}
}

/* The socket has room again */
void stackmap_unblock_(struct stackmap_conn *conn)
{
	if (conn->err || !(conn->state & CONN_BLOCKED))
		return;
	conn->state &= (uint16_t)~CONN_BLOCKED;
	stackmap_pump_(conn);
	stackmap_schedule_(conn);
}

/* It will send nothing more. Frees it if it is lingering */
void stackmap_fail_(struct stackmap_conn *conn, int err)
{
	if (conn->err)
		return;
	conn->err = (uint16_t)err;
	stackmap_queue_drop_(conn);
	if (conn->state & CONN_LINGER)
		stackmap_linger_end_(conn);
	else
		stackmap_show_(conn);
}

/*
 * After a sync: give the ring to the connections that wait for it, in turn. One
 * that is cut short goes to the end, the others keep their places. One whose
 * descriptor was closed behind our back, and is another socket now, has failed.
 */
void stackmap_run_pending_(struct stackmap_port *port)
{
	struct stackmap_conn *last = port->pending.last;
	struct stackmap_conn *conn;
	bool more = last;

	while (more && stackmap_tx_room(port)) {
		conn = port->pending.first;
		more = conn != last;
		stackmap_unlist_(conn);
		if (__builtin_expect(!stackmap_conn_live_(conn), 0)) {
			stackmap_fail_(conn, EBADF);
			continue;
		}
		stackmap_pump_(conn);
		stackmap_schedule_(conn);
	}
}
