// SPDX-License-Identifier: GPL-2.0
/*
 * idle.c - closes connections on which nothing happens
 *
 * A connection notes the tick at which something last happened on it, which costs nothing; once
 * per tick all of them are looked at.
 */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "httpd.h"

#define EVICT_TICKS	2	/* idle so long: may be closed to make room for others */

/*
 * A slow reader may be busy for long with what TCP has taken for it, and nobody hears of that. It
 * is alive as long as it acknowledges.
 */
static bool progress(struct conn *conn)
{
	int unacked, before = conn->unacked;

	if (!conn->busy && !stackmap_conn_unsent(&conn->sm))
		return false;
	if (ioctl(stackmap_conn_fd(&conn->sm), SIOCOUTQ, &unacked))
		return false;
	conn->unacked = unacked;
	return unacked != before;
}

static void look(struct conn *conn, unsigned int *evict)
{
	uint32_t idle = server.tick - conn->seen;
	/* Our FIN may still wait behind what a slow reader has to get */
	bool done = conn->shut && !stackmap_conn_unsent(&conn->sm);
	uint32_t most = done ? server.linger_ticks : server.idle_ticks;

	if (*evict && idle >= EVICT_TICKS && !conn->busy && !stackmap_conn_unsent(&conn->sm)) {
		(*evict)--;
		conn_abort(conn);
	} else if (most && idle > most) {
		if (progress(conn))
			conn->seen = server.tick;
		else
			conn_abort(conn);
	}
}

/* Time has passed */
void idle_tick(void)
{
	unsigned int evict = server.crowded ? server.nconns / 8 + 1 : 0;
	struct conn *conn, *next;

	server.tick++;
	for (conn = server.conns; conn; conn = next) {
		next = conn->next;
		look(conn, &evict);
	}
}
