// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * conn.c - attaching, detaching and closing connections; half-closing them, and
 * what their peers have acknowledged
 */
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib.h"

static void begin(struct stackmap_conn *conn, struct stackmap_port *port, int fd, uint32_t gen)
{
	memset(conn, 0, sizeof(*conn));
	conn->port = port;
	conn->fd = fd;
	conn->gen = gen;
	*stackmap_conn_at_(port, fd) = conn;
}

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
	begin(conn, port, fd, gen);
	return 0;
}

int stackmap_conn_adopt(struct stackmap_conn *conn, struct stackmap_port *port, int fd)
{
	struct stackmap_attach req = {
		.fd = fd, .flags = STACKMAP_ATTACH_HANDLE, .data = (uintptr_t)conn,
	};

	if (!conn) {
		errno = EINVAL;
		return -1;
	}
	if (!stackmap_usable_(port) || ioctl(port->fd, STACKMAP_IOC_ATTACH, &req) < 0)
		return -1;
	if (stackmap_reserve_fd_(port, req.fd)) {
		struct stackmap_detach undo = { .fd = req.fd };

		ioctl(port->fd, STACKMAP_IOC_DETACH, &undo);
		errno = ENOMEM;
		return -1;
	}
	stackmap_linger_evict_(port, req.fd);
	*stackmap_gen_at_(port, req.fd) = req.gen;
	begin(conn, port, req.fd, req.gen);
	close(fd);
	return 0;
}

int stackmap_conn_detach(struct stackmap_conn *conn)
{
	struct stackmap_detach req;
	int fd;

	if (!stackmap_conn_live_(conn))
		return -1;
	if (!conn->err && stackmap_conn_unsent(conn)) {
		errno = EBUSY;
		return -1;
	}
	fd = stackmap_conn_fd(conn);
	if (fd < 0)
		return -1;
	memset(&req, 0, sizeof(req));
	req.fd = conn->fd;
	if (ioctl(conn->port->fd, STACKMAP_IOC_DETACH, &req) < 0)
		return -1;
	stackmap_forget_(conn);
	conn->fd = fd;
	return fd;
}

/*
 * Close a handle with the sync that sends what is in the ring of it. Returns false where it has to
 * wait for what is queued, or is not to be sent.
 */
static bool close_behind(struct stackmap_conn *lingering)
{
	struct stackmap_port *port = lingering->port;

	if (!stackmap_is_handle_(lingering->fd) || lingering->first ||
	    (lingering->state & CONN_BLOCKED) || !stackmap_tx_reserve(port))
		return false;
	stackmap_commit_(port, lingering->fd, 0, 0, STACKMAP_TX_CLOSE, lingering->gen);
	stackmap_in_ring_(lingering, 0);
	lingering->state |= CONN_CLOSED;
	return true;
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
		close_behind(lingering);
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
	return stackmap_conn_live_(conn) ? stackmap_info_at_(conn->port, conn->fd)->acked : 0;
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
	const uint32_t *gen;

	if (!stackmap_usable_(port) || !slot)
		return NULL;
	gen = stackmap_gen_at_(port, slot->fd);
	if (!gen || *gen != slot->gen)
		return NULL;
	return stackmap_conn_find_(port, slot->fd, slot->gen);
}
