// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * handle.c - connections without descriptors, and the tables of what is attached
 *
 * A handle is given up by a STACKMAP_TX_CLOSE slot, and shut down by one with STACKMAP_TX_FIN. Where the ring has none, that is left for a later sync
 * (credit.c has the list of what is to be said when there are slots).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib.h"

#define TABLE_MIN	64u

/* Make three tables of *n entries long enough for number i */
static int grow(uint32_t **gens, struct stackmap_conn ***conns, struct stackmap_fdinfo **infos,
		uint32_t *n, uint32_t i)
{
	uint32_t more = *n ? *n : TABLE_MIN;
	void *p;

	while (more <= i)
		more *= 2;
	p = realloc(*gens, more * sizeof(**gens));
	if (!p)
		return -1;
	*gens = p;
	p = realloc(*conns, more * sizeof(**conns));
	if (!p)
		return -1;
	*conns = p;
	p = realloc(*infos, more * sizeof(**infos));
	if (!p)
		return -1;
	*infos = p;
	memset(*gens + *n, 0, (more - *n) * sizeof(**gens));
	memset(*conns + *n, 0, (more - *n) * sizeof(**conns));
	memset(*infos + *n, 0, (more - *n) * sizeof(**infos));
	*n = more;
	return 0;
}

/* Make the tables long enough for a socket's number. Returns -1, and errno */
int stackmap_reserve_fd_(struct stackmap_port *port, int fd)
{
	struct stackmap_heir *heir = stackmap_heir_(port);
	int ret = 0;

	if (stackmap_gen_at_(port, fd))
		return 0;
	if (stackmap_is_handle_(fd)) {
		if (fd - STACKMAP_HANDLE_MIN >= STACKMAP_HANDLES_MAX) {
			errno = EINVAL;
			return -1;
		}
		ret = grow(&heir->handle_gens, &heir->handle_conns, &heir->handle_infos,
			   &heir->handles, (uint32_t)fd - STACKMAP_HANDLE_MIN);
		port->handle_gens = heir->handle_gens;
		port->handle_conns = heir->handle_conns;
		port->handle_infos = heir->handle_infos;
		port->handles = heir->handles;
		return ret;
	}
	/* no memory for numbers out of the blue */
	if (fcntl(fd, F_GETFD) < 0)
		return -1;
	ret = grow(&heir->gens, &heir->conns, &heir->infos, &heir->fds, (uint32_t)fd);
	port->gens = heir->gens;
	port->conns = heir->conns;
	port->infos = heir->infos;
	port->fds = heir->fds;
	return ret;
}

/* Give a handle up that no connection has any more. @flags: STACKMAP_TX_ABORT or 0 */
void stackmap_close_handle_(struct stackmap_port *port, int handle, uint32_t gen, uint32_t flags)
{
	if (stackmap_tx_reserve(port))
		stackmap_commit_(port, handle, 0, 0, STACKMAP_TX_CLOSE | flags, gen);
	else if (stackmap_gen_at_(port, handle))
		stackmap_want_close_(port, handle, gen, flags);
}

/* A FIN behind what is in the ring. Returns false when there is no slot for it */
bool stackmap_shut_handle_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;

	if (!stackmap_tx_reserve(port))
		return false;
	stackmap_commit_(port, conn->fd, 0, 0, STACKMAP_TX_FIN, conn->gen);
	stackmap_in_ring_(conn, 0);
	return true;
}

/* Close the descriptor that was made for a handle, if one was */
void stackmap_close_made_(struct stackmap_port *port, int handle)
{
	struct stackmap_fdinfo *info = stackmap_info_at_(port, handle);

	if (info->fd)
		close((int)info->fd - 1);
	info->fd = 0;
}

int stackmap_conn_fd_(const struct stackmap_conn *conn)
{
	struct stackmap_handle_fd req = { .flags = O_CLOEXEC };
	struct stackmap_fdinfo *info;
	int fd;

	if (!stackmap_conn_live_(conn))
		return -1;
	info = stackmap_info_at_(conn->port, conn->fd);
	if (info->fd)
		return (int)info->fd - 1;
	req.handle = conn->fd;
	req.gen = conn->gen;
	fd = ioctl(conn->port->fd, STACKMAP_IOC_HANDLE_FD, &req);
	if (fd >= 0)
		info->fd = (uint32_t)fd + 1;
	return fd;
}

/* Where the connection is to be that a slot tells of, once. NULL: it does not */
static uint32_t *take_new(struct stackmap_port *port, struct stackmap_slot *slot)
{
	uint32_t *gen = NULL;

	if (slot && (slot->flags & STACKMAP_RX_ACCEPTED))
		gen = stackmap_gen_at_(port, slot->fd);
	if (!gen) {
		errno = EINVAL;
		return NULL;
	}
	slot->flags = 0;
	return gen;
}

int stackmap_accept(struct stackmap_conn *conn, struct stackmap_port *port,
		    struct stackmap_slot *slot)
{
	uint32_t *gen;

	if (!conn) {
		errno = EINVAL;
		return -1;
	}
	if (!stackmap_usable_(port))
		return -1;
	gen = take_new(port, slot);
	if (!gen)
		return -1;
	memset(conn, 0, sizeof(*conn));
	conn->port = port;
	conn->fd = slot->fd;
	conn->gen = slot->gen;
	*gen = slot->gen;
	*stackmap_conn_at_(port, slot->fd) = conn;
	memset(stackmap_info_at_(port, slot->fd), 0, sizeof(struct stackmap_fdinfo));
	return 0;
}

int stackmap_refuse(struct stackmap_port *port, struct stackmap_slot *slot)
{
	if (!stackmap_usable_(port) || !take_new(port, slot))
		return -1;
	stackmap_close_handle_(port, slot->fd, slot->gen, STACKMAP_TX_ABORT);
	return 0;
}
