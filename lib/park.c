// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * park.c - buffers that were given back while something may refer to them
 *
 * Only the kernel knows when a buffer that was sent with STACKMAP_TX_KEEP is idle.
 * A STACKMAP_TX_RETURN slot gives it to the kernel, for an idle one. That must come
 * behind all slots which name the buffer, and these must have been taken: one that
 * is refused goes back into its connection's queue, and on with the buffer.
 *
 * So a buffer waits, in no list as long as chunks refer to it, and then in the
 * port's list until the sync after the one that its last slot went with. The
 * slot's own buffer stays reserved until the kernel has answered: if it refuses,
 * nothing was given away that is not there.
 */
#include "lib.h"

/* In slot->data, which the kernel does not look at, with the buffer below it */
#define RETURN_MARK	(UINT64_C(0x52455455) << 32)

static void append(struct stackmap_port *port, uint32_t buf)
{
	struct stackmap_bufinfo *info = &port->bufs[buf];

	info->owner = BUF_LISTED;
	info->next = STACKMAP_NO_BUF;
	if (port->parked++)
		port->bufs[port->parked_last].next = buf;
	else
		port->parked_first = buf;
	port->parked_last = buf;
}

static uint32_t del_first(struct stackmap_port *port)
{
	uint32_t buf = port->parked_first;

	port->parked_first = port->bufs[buf].next;
	port->parked--;
	port->bufs[buf].owner = BUF_PARKED;
	return buf;
}

/* The caller's buffer, which has been lent, is ours */
void stackmap_park_(struct stackmap_port *port, uint32_t buf)
{
	if (port->bufs[buf].chunks)
		port->bufs[buf].owner = BUF_PARKED;
	else
		append(port, buf);
}

/* A chunk that refers to the buffer is no more */
void stackmap_unqueue_(struct stackmap_port *port, uint32_t buf)
{
	struct stackmap_bufinfo *info = &port->bufs[buf];

	if (--info->chunks == 0 && info->owner == BUF_PARKED)
		append(port, buf);
}

/* Whether one waits only for the sync that its last slot goes with */
bool stackmap_parked_young_(const struct stackmap_port *port)
{
	uint32_t n = port->parked, buf = port->parked_first;

	for (; n; n--, buf = port->bufs[buf].next)
		if (port->bufs[buf].batch == port->batch)
			return true;
	return false;
}

/* Give back what can be, as long as there are slots */
void stackmap_return_parked_(struct stackmap_port *port)
{
	uint32_t n = port->parked;

	while (n-- && port->returns < port->returns_max) {
		struct stackmap_slot *slot = stackmap_tx_reserve(port);
		uint32_t buf;

		if (!slot)
			return;
		buf = del_first(port);
		if (port->bufs[buf].chunks)
			continue;	/* refused: it comes again when they have gone */
		if (port->bufs[buf].batch == port->batch) {
			append(port, buf);
			continue;
		}
		port->bufs[buf].owner = BUF_RETURNING;
		port->tx_own[port->tx_cur] = slot->buf;
		slot->buf = buf;
		slot->data = RETURN_MARK | buf;
		stackmap_commit_(port, -1, 0, 0, STACKMAP_TX_RETURN, 0);
		port->returns++;
	}
}

static void settle(struct stackmap_port *port, uint32_t i, uint32_t buf)
{
	struct stackmap_slot *slot = &port->tx_slots[i];
	uint32_t idle = slot->buf;

	slot->buf = port->tx_own[i];
	port->tx_own[i] = STACKMAP_NO_BUF;
	slot->data = 0;
	if (!(slot->flags & STACKMAP_TX_REFUSED)) {
		port->bufs[buf].owner = BUF_SLOT;
		port->bufs[buf].lent = false;
		stackmap_spare_(port, idle);
	} else if (slot->err == EAGAIN) {
		/* The kernel has no idle one. One at a time, until it has */
		append(port, buf);
		port->returns_max = 1;
	} else {
		/* A module that does not know how to: never to be used again */
		port->bufs[buf].owner = BUF_PARKED;
	}
	slot->flags = 0;
}

/* After a sync */
void stackmap_settle_returns_(struct stackmap_port *port)
{
	uint32_t i;

	port->returns_max = (port->tx_mask + 1) / 2;
	for (i = port->tx_sent; i != port->tx_cur; i = (i + 1) & port->tx_mask) {
		const struct stackmap_slot *slot = &port->tx_slots[i];
		uint32_t buf = (uint32_t)slot->data;

		if (slot->data == (RETURN_MARK | buf) && slot->fd == -1 &&
		    buf < port->reg.frames &&
		    port->bufs[buf].owner == BUF_RETURNING)
			settle(port, i, buf);
	}
	port->returns = 0;
}
