// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * buf.c - taking, keeping and giving back buffers
 */
#include "lib.h"

uint32_t stackmap_buf_take(struct stackmap_port *port)
{
	if (!stackmap_usable_(port))
		return STACKMAP_NO_BUF;
	if (!port->spares) {
		errno = ENOBUFS;
		return STACKMAP_NO_BUF;
	}
	return stackmap_unspare_(port, BUF_CALLER);
}

int stackmap_buf_give(struct stackmap_port *port, uint32_t buf)
{
	if (!stackmap_usable_(port))
		return -1;
	if (!stackmap_callers_(port, buf)) {
		errno = EINVAL;
		return -1;
	}
	if (port->bufs[buf].lent)
		stackmap_park_(port, buf);
	else
		stackmap_spare_(port, buf);
	return 0;
}

/* Where in port->kept to note that a slot was kept: nowhere if it cannot be */
static uint32_t *kept(struct stackmap_port *port, const struct stackmap_slot *slot)
{
	uint32_t i;

	if (slot >= port->rx_slots && slot <= port->rx_slots + port->rx_mask) {
		/* it was shown, after the last sync */
		i = (uint32_t)(slot - port->rx_slots);
		if (((i - port->rx_ring->head) & port->rx_mask) <
		    ((port->rx_cur - port->rx_ring->head) & port->rx_mask))
			return &port->kept[i];
	} else if (slot >= port->tx_slots &&
		   slot <= port->tx_slots + port->tx_mask &&
		   (slot->flags & STACKMAP_TX_REFUSED)) {
		i = (uint32_t)(slot - port->tx_slots);
		return &port->kept[port->rx_mask + 1 + i];
	}
	return NULL;
}

uint32_t stackmap_keep(struct stackmap_port *port, struct stackmap_slot *slot)
{
	uint32_t *when, buf;

	if (!stackmap_usable_(port))
		return STACKMAP_NO_BUF;
	when = kept(port, slot);
	if (!when || *when == port->batch || slot->buf >= port->reg.frames)
		goto invalid;
	buf = slot->buf;
	if (when > &port->kept[port->rx_mask] && stackmap_slot_lent_(port, slot)) {
		/* its owner lent it, and the slot has another one waiting */
		if (!stackmap_callers_(port, buf))
			goto invalid;
		return buf;
	}
	if (!port->spares) {
		errno = ENOBUFS;
		return STACKMAP_NO_BUF;
	}
	*when = port->batch;
	slot->buf = stackmap_unspare_(port, BUF_SLOT);
	port->bufs[buf].owner = BUF_CALLER;
	port->bufs[buf].lent = false;
	return buf;

invalid:
	errno = EINVAL;
	return STACKMAP_NO_BUF;
}
