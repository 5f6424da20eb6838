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
	/* Taken, and never sent in a way that something may refer to it */
	for (i = 0; i < port->reg.frames && n < most; i++) {
		if (in_slot[i] || port->bufs[i].owner != BUF_CALLER || port->bufs[i].lent)
			continue;
		in_slot[i] = 1;
		extra[n++] = i;
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

ssize_t stackmap_conn_unqueue(struct stackmap_conn *conn, void *to, size_t size)
{
	size_t n;

	if (!stackmap_conn_live_(conn))
		return -1;
	if (stackmap_conn_unsent(conn) != conn->queued) {
		errno = EBUSY;
		return -1;
	}
	if (conn->queued > size) {
		errno = EMSGSIZE;
		return -1;
	}
	n = stackmap_queue_copy_out_(conn, to);
	stackmap_queue_drop_(conn);
	/* What it is listed for (a FIN to be sent, a call that waits for room) is due now, if it is not detached */
	stackmap_unlist_(conn);
	stackmap_schedule_(conn);
	return (ssize_t)n;
}

static bool is_used(const struct stackmap_port *port)
{
	uint32_t i;

	if (port->lingering || port->tx_sent != port->tx_cur)
		return true;
	for (i = 0; i < port->fds; i++)
		if (port->conns[i] || port->gens[i])
			return true;
	for (i = 0; i < port->handles; i++)
		if (port->handle_conns[i] || port->handle_gens[i] || port->handle_infos[i].close)
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
	unsigned char *in_slot;
	uint32_t i, idle;

	if (!port->reg.extra_bufs)
		return 0;
	if (__atomic_load_n(&heir[0], __ATOMIC_ACQUIRE) != HANDED_OVER) {
		errno = EINVAL;
		return -1;
	}
	in_slot = calloc(port->reg.frames, 1);
	if (!in_slot)
		return -1;
	/* (Whoever had it in between need not use this library) */
	mark_slots(in_slot, port, port->rx_ring->slots, port->reg.rx_slots);
	mark_slots(in_slot, port, port->tx_ring->slots, port->reg.tx_slots);
	heir[0] = 0;
	idle = heir[1];
	for (i = 0; i < port->reg.extra_bufs; i++) {
		uint32_t buf = extra[i];

		if (buf >= port->reg.frames || in_slot[buf])
			continue;
		in_slot[buf] = 1;
		if (i < idle) {
			stackmap_spare_(port, buf);
		} else {
			port->bufs[buf].lent = true;
			stackmap_park_(port, buf);
		}
	}
	free(in_slot);
	return 0;
}
