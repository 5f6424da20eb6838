// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * conn.c - attaching, detaching and closing connections
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib.h"

int stackmap_conn_attach(struct stackmap_conn *conn, struct stackmap_port *port,
			 int fd)
{
	uint32_t gen;

	gen = stackmap_attach(port, fd, (uintptr_t)conn);
	if (!gen)
		return -1;
	memset(conn, 0, sizeof(*conn));
	conn->port = port;
	conn->fd = fd;
	conn->gen = gen;
	port->conns[fd] = conn;
	return 0;
}

/* Forget about it; slots of it that are in the ring lead nowhere */
static void forget(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;
	uint32_t i;

	stackmap_queue_drop_(conn);
	stackmap_unlist_(conn);
	port->conns[conn->fd] = NULL;
	port->gens[conn->fd] = 0;
	if (conn->batch != port->batch)
		return;
	for (i = port->tx_sent; i != port->tx_cur; i = (i + 1) & port->tx_mask) {
		struct stackmap_slot *slot = &port->tx_slots[i];

		if (slot->fd == conn->fd && slot->gen == conn->gen)
			slot->fd = -1;
	}
}

int stackmap_conn_detach(struct stackmap_conn *conn)
{
	struct stackmap_detach req = { .fd = conn->fd };

	if (!conn->err && stackmap_conn_unsent(conn)) {
		errno = EBUSY;
		return -1;
	}
	if (ioctl(conn->port->fd, STACKMAP_IOC_DETACH, &req) < 0)
		return -1;
	forget(conn);
	return conn->fd;
}

int stackmap_conn_close(struct stackmap_conn *conn)
{
	int ret = 0;

	if (!conn->err && stackmap_conn_unsent(conn)) {
		ret = stackmap_linger_(conn);
		if (!ret)
			return 0;
	}
	stackmap_conn_abort(conn);
	if (ret)
		errno = ENOMEM;
	return ret;
}

void stackmap_conn_abort(struct stackmap_conn *conn)
{
	forget(conn);
	close(conn->fd);
}
