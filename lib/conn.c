// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * conn.c - attaching, detaching and closing connections; half-closing them, and
 * what their peers have acknowledged
 */
#include <sys/ioctl.h>

#include "lib.h"

int stackmap_conn_attach(struct stackmap_conn *conn, struct stackmap_port *port,
			 int fd)
{
	uint32_t gen;

	if (!conn) {
		errno = EINVAL;
		return -1;
	}
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

int stackmap_conn_detach(struct stackmap_conn *conn)
{
	struct stackmap_detach req;

	if (!stackmap_conn_live_(conn))
		return -1;
	if (!conn->err && stackmap_conn_unsent(conn)) {
		errno = EBUSY;
		return -1;
	}
	memset(&req, 0, sizeof(req));
	req.fd = conn->fd;
	if (ioctl(conn->port->fd, STACKMAP_IOC_DETACH, &req) < 0)
		return -1;
	stackmap_forget_(conn);
	return conn->fd;
}

int stackmap_conn_close(struct stackmap_conn *conn)
{
	struct stackmap_conn *lingering;

	if (!stackmap_conn_live_(conn))
		return conn && conn->port ? stackmap_close_orphan_(conn) : -1;
	if (conn->err || !stackmap_conn_unsent(conn)) {
		stackmap_close_now_(conn);
		return 0;
	}
	lingering = stackmap_linger_(conn);
	if (lingering) {
		stackmap_schedule_(lingering);
		return 0;
	}
	stackmap_close_now_(conn);
	errno = ENOMEM;
	return -1;
}

int stackmap_conn_shutdown(struct stackmap_conn *conn)
{
	if (!stackmap_conn_live_(conn))
		return -1;
	if (conn->err) {
		errno = conn->err;
		return -1;
	}
	conn->state |= CONN_SHUT;
	stackmap_schedule_(conn);
	return 0;
}

uint64_t stackmap_conn_acked(const struct stackmap_conn *conn)
{
	return stackmap_conn_live_(conn) ? conn->port->infos[conn->fd].acked : 0;
}

int stackmap_conn_tell_acked(struct stackmap_conn *conn)
{
	struct stackmap_port *port;

	if (!stackmap_conn_live_(conn))
		return -1;
	port = conn->port;
	if (conn->err) {
		errno = conn->err;
		return -1;
	}
	if (!conn->first && !(conn->state & CONN_BLOCKED) &&
	    stackmap_tx_reserve(port)) {
		stackmap_commit_(port, conn->fd, 0, 0, STACKMAP_TX_ACKED,
				 conn->gen);
		stackmap_in_ring_(conn, 0);
		return 0;
	}
	if (stackmap_queue_mark_(conn)) {
		errno = ENOMEM;
		return -1;
	}
	stackmap_schedule_(conn);
	return 0;
}

struct stackmap_conn *stackmap_slot_conn(const struct stackmap_port *port,
					 const struct stackmap_slot *slot)
{
	if (!stackmap_usable_(port) || !slot || (uint32_t)slot->fd >= port->fds ||
	    port->gens[slot->fd] != slot->gen)
		return NULL;
	return stackmap_conn_find_(port, slot->fd, slot->gen);
}
