// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * rx.c - events in receive slots
 */
#include "lib.h"

/* A new connection: whether its listener is still there, and it can be taken. Else it is closed */
static bool is_wanted(struct stackmap_port *port, const struct stackmap_slot *slot)
{
	const struct stackmap_accepted *about = stackmap_rx_accepted(port, slot);
	const uint32_t *gen = about ? stackmap_gen_at_(port, about->fd) : NULL;

	if ((!about || (gen && *gen == about->gen)) && !stackmap_reserve_fd_(port, slot->fd)) {
		stackmap_linger_evict_(port, slot->fd);
		return true;
	}
	stackmap_close_handle_(port, slot->fd, slot->gen, STACKMAP_TX_ABORT);
	return false;
}

bool stackmap_rx_event_(struct stackmap_port *port,
			const struct stackmap_slot *slot)
{
	struct stackmap_conn *conn;
	uint32_t *gen;

	if (slot->flags & STACKMAP_RX_ACCEPTED)
		return is_wanted(port, slot);
	conn = stackmap_conn_find_(port, slot->fd, slot->gen);
	if (conn) {
		struct stackmap_fdinfo *info = stackmap_info_at_(port, slot->fd);

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
	gen = stackmap_gen_at_(port, slot->fd);
	if (!slot->flags || !gen || *gen != slot->gen)
		return false;
	/* the kernel has the listener's there */
	if (stackmap_is_handle_(slot->fd))
		port->rx_slots[slot - port->rx_slots].data =
			(uintptr_t)*stackmap_conn_at_(port, slot->fd);
	return true;
}
