// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * refuse.c - transmit slots that the kernel did not take
 */
#include "lib.h"

/* A slot that is to be shown, or was just now, must not be filled */
static void protect(struct stackmap_port *port, uint32_t i)
{
	port->tx_limit = port->tx_ring->tail;
	if (((i - port->tx_cur) & port->tx_mask) < stackmap_tx_room(port))
		port->tx_limit = i;
}

static void settle(struct stackmap_conn *conn, struct stackmap_slot *slot)
{
	if (slot->err == EAGAIN && (slot->flags & STACKMAP_TX_CREDIT)) {
		stackmap_refused_credit_(conn, slot->data);
		return;
	}
	if (slot->flags & STACKMAP_TX_CLOSE) {
		/* behind payload that was refused, too: when that has gone */
		if (slot->err == EAGAIN && (conn->state & CONN_CLOSED)) {
			conn->state = (uint16_t)((conn->state & ~CONN_CLOSED) | CONN_BLOCKED);
			stackmap_unlist_(conn);
		}
		return;
	}
	if (slot->flags & STACKMAP_TX_FIN) {
		if (slot->err == EAGAIN) {
			conn->state = (uint16_t)((conn->state & ~CONN_SHUT_DONE) | CONN_BLOCKED);
			stackmap_unlist_(conn);
		}
		return;
	}
	if (conn->err)
		return;
	if (slot->err != EAGAIN) {
		stackmap_fail_(conn, slot->err ? slot->err : EIO);
		return;
	}
	if (stackmap_queue_back_(conn, slot)) {
		stackmap_fail_(conn, ENOMEM);
		return;
	}
	conn->state |= CONN_BLOCKED;
	stackmap_unlist_(conn);
}

/*
 * After a sync: put back what is left of the slots of connections, and see
 * where those of others are. From the last slot to the first, so that each goes
 * to the front of its queue.
 */
void stackmap_settle_refused_(struct stackmap_port *port)
{
	uint32_t left = port->tx_ring->refused;
	uint32_t i = port->tx_cur;

	port->refused_left = 0;
	while (left && i != port->tx_sent) {
		struct stackmap_conn *conn;
		struct stackmap_slot *slot;

		i = (i - 1) & port->tx_mask;
		slot = &port->tx_slots[i];
		if (!(slot->flags & STACKMAP_TX_REFUSED))
			continue;
		left--;
		conn = stackmap_conn_find_(port, slot->fd, slot->gen);
		if (conn) {
			settle(conn, slot);
		} else if (slot->flags & STACKMAP_TX_FIN) {
			/* it was closed since */
		} else if (slot->flags & STACKMAP_TX_CLOSE) {
			/* a thread was in a system call on it; what else there is means that it has gone */
			if (slot->err == EAGAIN && stackmap_gen_at_(port, slot->fd))
				stackmap_want_close_(port, slot->fd, slot->gen, slot->flags);
		} else if (slot->fd >= 0) {
			port->refused_left++;
			port->refused_cur = i;
			continue;
		}
		slot->flags = 0;
	}
	if (port->refused_left)
		protect(port, port->refused_cur);
}

struct stackmap_slot *stackmap_next_refused(struct stackmap_port *port)
{
	if (!stackmap_usable_(port))
		return NULL;
	while (port->refused_left) {
		uint32_t i = port->refused_cur;

		port->refused_cur = (i + 1) & port->tx_mask;
		if (!(port->tx_slots[i].flags & STACKMAP_TX_REFUSED))
			continue;
		port->refused_left--;
		protect(port, i);
		return &port->tx_slots[i];
	}
	port->tx_limit = port->tx_ring->tail;
	return NULL;
}
