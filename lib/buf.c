// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * buf.c - taking, keeping and giving back buffers
 */
#include <errno.h>

#include "lib.h"

uint32_t stackmap_buf_take(struct stackmap_port *port)
{
	if (!port->spares) {
		errno = ENOBUFS;
		return STACKMAP_NO_BUF;
	}
	return port->spare[--port->spares];
}

int stackmap_buf_give(struct stackmap_port *port, uint32_t buf)
{
	if (buf >= port->reg.frames || port->spares == port->reg.extra_bufs) {
		errno = EINVAL;
		return -1;
	}
	port->spare[port->spares++] = buf;
	return 0;
}

uint32_t stackmap_keep(struct stackmap_port *port, struct stackmap_slot *slot)
{
	uint32_t mine, buf = slot->buf;

	/* its owner lent it, and the slot has another one waiting */
	if ((slot->flags & STACKMAP_TX_REFUSED) &&
	    stackmap_slot_lent_(port, slot))
		return buf;
	mine = stackmap_buf_take(port);
	if (mine == STACKMAP_NO_BUF)
		return mine;
	slot->buf = mine;
	return buf;
}
