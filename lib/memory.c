// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * memory.c - memory of the program that connections send from
 */
#include <sys/ioctl.h>

#include "lib.h"

int stackmap_memory_add(struct stackmap_port *port, const void *addr, size_t len)
{
	struct stackmap_memory req = { .addr = (uintptr_t)addr, .len = len };

	if (!stackmap_usable_(port) || ioctl(port->fd, STACKMAP_IOC_MEMORY, &req) < 0)
		return -1;
	port->memory[req.id] = (struct stackmap_meminfo){ .addr = addr, .len = len };
	return (int)req.id;
}

/* Whether the kernel has not seen all slots with it */
static bool in_ring(const struct stackmap_port *port, uint32_t id)
{
	uint32_t i;

	for (i = port->tx_sent; i != port->tx_cur; i = (i + 1) & port->tx_mask)
		if ((port->tx_slots[i].flags & STACKMAP_TX_MEMORY) && port->tx_slots[i].buf == id)
			return true;
	return false;
}

int stackmap_memory_remove(struct stackmap_port *port, int memory)
{
	struct stackmap_memory req = { .id = (uint32_t)memory, .flags = STACKMAP_MEMORY_FORGET };

	if (!stackmap_usable_(port))
		return -1;
	if (req.id >= STACKMAP_MEMORIES || !port->memory[req.id].len) {
		errno = EBADF;
		return -1;
	}
	if (port->memory[req.id].chunks || in_ring(port, req.id)) {
		errno = EBUSY;
		return -1;
	}
	if (ioctl(port->fd, STACKMAP_IOC_MEMORY, &req) < 0)
		return -1;
	port->memory[req.id].len = 0;
	return 0;
}
