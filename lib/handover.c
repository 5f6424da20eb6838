// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * handover.c - a port that is in use goes on in another process
 *
 * The port's memory says which buffers lie in slots. Which others are the application's only the library
 * knows, so the list of extra buffers is written anew, for the next owner: first those that are idle, then
 * those that something may refer to yet, as they were sent with STACKMAP_TX_KEEP. That it was written is said
 * in the receive ring (@heir): an owner that was killed has not, and then nobody can tell.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "lib.h"

/* heir[0], if the list is true; heir[1] is how many of it are idle */
#define HANDED_OVER	0x68616e64u

static uint32_t *extra_list(const struct stackmap_port *port)
{
	return (uint32_t *)((char *)port->map + port->reg.extra_off);
}

static void mark_slots(unsigned char *in_slot, const struct stackmap_port *port,
		       const struct stackmap_slot *slots, uint32_t n)
{
	while (n--) {
		uint32_t buf = slots++->buf;

		if (buf < port->reg.frames)
			in_slot[buf] = 1;
	}
}

/* The slots' own buffers lie in them again */
static void restore_slots(struct stackmap_port *port)
{
	uint32_t i;

	for (i = 0; i <= port->tx_mask; i++) {
		if (port->tx_own[i] == STACKMAP_NO_BUF)
			continue;
		port->tx_slots[i].buf = port->tx_own[i];
		port->tx_own[i] = STACKMAP_NO_BUF;
	}
}

/* Returns how many of the list are idle */
static uint32_t write_extra(struct stackmap_port *port, unsigned char *in_slot)
{
	uint32_t *extra = extra_list(port), most = port->reg.extra_bufs;
	uint32_t n = 0, idle, i;

	for (i = 0; i < port->spares && n < most; i++) {
		if (in_slot[port->spare[i]])
			continue;
		in_slot[port->spare[i]] = 1;
		extra[n++] = port->spare[i];
	}
	idle = n;
	for (i = 0; i < port->reg.frames && n < most; i++) {
		uint8_t owner = port->bufs[i].owner;

		if (!in_slot[i] && (owner == BUF_CALLER || owner == BUF_PARKED || owner == BUF_LISTED))
			extra[n++] = i;
	}
	/* What the caller has lost on its way */
	while (n < most)
		extra[n++] = STACKMAP_NO_BUF;
	return idle;
}

static bool is_used(const struct stackmap_port *port)
{
	uint32_t i;

	if (port->lingering || port->tx_sent != port->tx_cur)
		return true;
	for (i = 0; i < port->fds; i++)
		if (port->conns[i] || port->gens[i])
			return true;
	return false;
}

int stackmap_hand_over(struct stackmap_port *port)
{
	unsigned char *in_slot;
	int fd;

	if (!stackmap_usable_(port))
		return -1;
	if (is_used(port)) {
		errno = EBUSY;
		return -1;
	}
	in_slot = calloc(port->reg.frames, 1);
	if (!in_slot)
		return -1;
	restore_slots(port);
	mark_slots(in_slot, port, port->rx_slots, port->rx_mask + 1);
	mark_slots(in_slot, port, port->tx_slots, port->tx_mask + 1);
	port->rx_ring->heir[1] = write_extra(port, in_slot);
	__atomic_store_n(&port->rx_ring->heir[0], HANDED_OVER, __ATOMIC_RELEASE);
	free(in_slot);
	fd = port->fd;
	munmap(port->map, port->reg.map_size);
	stackmap_free_port_(port);
	return fd;
}

/*
 * Take what the owner before has left: which of the extra buffers are spare ones, and which are once they are
 * idle. Returns -1 if it has not said so.
 */
int stackmap_inherit_(struct stackmap_port *port)
{
	const uint32_t *extra = extra_list(port);
	uint32_t *heir = port->rx_ring->heir;
	uint32_t i, idle;

	if (!port->reg.extra_bufs)
		return 0;
	if (__atomic_load_n(&heir[0], __ATOMIC_ACQUIRE) != HANDED_OVER) {
		errno = EINVAL;
		return -1;
	}
	heir[0] = 0;
	idle = heir[1];
	for (i = 0; i < port->reg.extra_bufs; i++) {
		uint32_t buf = extra[i];

		if (buf >= port->reg.frames || port->bufs[buf].owner != BUF_SLOT)
			continue;
		if (i < idle) {
			stackmap_spare_(port, buf);
		} else {
			port->bufs[buf].lent = true;
			stackmap_park_(port, buf);
		}
	}
	return 0;
}
