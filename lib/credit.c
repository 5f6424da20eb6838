// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * credit.c - how much payload a connection may deliver: pausing it
 *
 * Credit is changed by STACKMAP_TX_CREDIT slots. They need not wait behind the
 * payload in the connection's queue, as they are about the other direction; only
 * for a slot. What is to be changed until then is added up. In the same list are
 * handles that wait for a slot with STACKMAP_TX_CLOSE.
 */
#include "lib.h"

#define UNBOUNDED	UINT64_MAX

static void append(struct stackmap_port *port, uint32_t fd)
{
	struct stackmap_fdinfo *info = stackmap_info_at_(port, (int)fd);

	info->listed = true;
	info->next = 0;
	info->prev = port->control_last;
	if (port->control_last)
		stackmap_info_at_(port, (int)port->control_last - 1)->next = fd + 1;
	else
		port->control_first = fd + 1;
	port->control_last = fd + 1;
}

static void delete(struct stackmap_port *port, uint32_t fd)
{
	struct stackmap_fdinfo *info = stackmap_info_at_(port, (int)fd);

	info->listed = false;
	if (info->prev)
		stackmap_info_at_(port, (int)info->prev - 1)->next = info->next;
	else
		port->control_first = info->next;
	if (info->next)
		stackmap_info_at_(port, (int)info->next - 1)->prev = info->prev;
	else
		port->control_last = info->prev;
}

static bool put(struct stackmap_conn *conn, uint64_t credit)
{
	struct stackmap_slot *slot = stackmap_tx_reserve(conn->port);

	if (!slot)
		return false;
	slot->data = credit;
	stackmap_commit_(conn->port, conn->fd, 0, 0, STACKMAP_TX_CREDIT, conn->gen);
	stackmap_in_ring_(conn, 0);
	return true;
}

/* As long as there are slots */
void stackmap_run_credit_(struct stackmap_port *port)
{
	while (port->control_first) {
		uint32_t fd = port->control_first - 1;
		struct stackmap_fdinfo *info = stackmap_info_at_(port, (int)fd);
		struct stackmap_conn *conn = *stackmap_conn_at_(port, (int)fd);

		if (info->close) {
			if (!stackmap_tx_reserve(port))
				return;
			stackmap_commit_(port, (int)fd, 0, 0,
					 STACKMAP_TX_CLOSE | (info->abort ? STACKMAP_TX_ABORT : 0),
					 info->close);
			info->close = 0;
			delete(port, fd);
			continue;
		}
		if (info->pause && info->credit != UNBOUNDED && !put(conn, 0))
			return;
		info->pause = false;
		if (info->credit && !put(conn, info->credit))
			return;
		info->credit = 0;
		delete(port, fd);
	}
}

/* The connection goes */
void stackmap_drop_credit_(struct stackmap_port *port, int fd)
{
	struct stackmap_fdinfo *info = stackmap_info_at_(port, fd);

	if (info->listed)
		delete(port, (uint32_t)fd);
	memset(info, 0, sizeof(*info));
}

static int change(struct stackmap_conn *conn, bool pause, uint64_t more)
{
	struct stackmap_port *port;
	struct stackmap_fdinfo *info;

	if (!stackmap_conn_live_(conn))
		return -1;
	port = conn->port;
	info = stackmap_info_at_(port, conn->fd);
	if (pause) {
		info->pause = true;
		info->credit = 0;
	}
	info->credit = more > UNBOUNDED - info->credit ? UNBOUNDED :
							 info->credit + more;
	info->bounded = info->credit != UNBOUNDED;
	if (!info->listed)
		append(port, (uint32_t)conn->fd);
	stackmap_run_credit_(port);
	return 0;
}

/* The kernel did not want to know: again, unless something else was said since */
void stackmap_refused_credit_(struct stackmap_conn *conn, uint64_t credit)
{
	if (!stackmap_info_at_(conn->port, conn->fd)->listed)
		change(conn, !credit, credit);
}

/* A handle that no connection has any more is to be given up as soon as there is a slot */
void stackmap_want_close_(struct stackmap_port *port, int handle, uint32_t gen, uint32_t flags)
{
	struct stackmap_fdinfo *info = stackmap_info_at_(port, handle);

	info->close = gen;
	info->abort = flags & STACKMAP_TX_ABORT;
	if (!info->listed)
		append(port, (uint32_t)handle);
}

int stackmap_conn_pause(struct stackmap_conn *conn)
{
	return change(conn, true, 0);
}

int stackmap_conn_resume(struct stackmap_conn *conn)
{
	return change(conn, false, UNBOUNDED);
}

int stackmap_conn_credit(struct stackmap_conn *conn, uint64_t bytes)
{
	return change(conn, false, bytes);
}
