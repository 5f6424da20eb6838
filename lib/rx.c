// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * rx.c - events in receive slots
 */
#include "lib.h"

bool stackmap_rx_event_(struct stackmap_port *port,
			const struct stackmap_slot *slot)
{
	struct stackmap_conn *conn;

	conn = stackmap_conn_find_(port, slot->fd, slot->gen);
	if (conn) {
		struct stackmap_fdinfo *info = &port->infos[slot->fd];

		/* the kernel counts anew with each connect(), and so do we */
		if (slot->flags & STACKMAP_RX_CONNECTED) {
			info->acked = 0;
			if (conn->err && !(conn->state & CONN_LINGER)) {
				conn->err = 0;
				conn->state &= (uint16_t)~(CONN_BLOCKED | CONN_SHUT | CONN_SHUT_DONE);
			}
		}
		/* it tells the lower half of the count, which only grows */
		if (slot->flags & STACKMAP_RX_ACKED)
			info->acked += slot->taken - (uint32_t)info->acked;
		/* the last, as a lingering one is gone after it */
		if (slot->flags & STACKMAP_RX_ERROR)
			stackmap_fail_(conn, slot->err ? slot->err : EIO);
		else if (slot->flags & (STACKMAP_RX_ROOM | STACKMAP_RX_CONNECTED))
			stackmap_unblock_(conn);
	}
	return slot->flags && (uint32_t)slot->fd < port->fds &&
	       port->gens[slot->fd] == slot->gen;
}
