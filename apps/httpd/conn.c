// SPDX-License-Identifier: GPL-2.0
/*
 * conn.c - a connection from its opening to its end
 *
 * What is received goes to the HTTP layer where it lies, and is gone with the next sync. Only when
 * responses do not fit in the connection's send queue, requests that come behind them are kept, in
 * order, in ordinary memory: as copies, for buffers of the port are what everybody needs, and a
 * client could have each of them hold one byte. A client that goes on asking and does not read
 * what it gets is dropped when it exceeds IN_MAX, or all of them together IN_TOTAL_MAX.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "httpd.h"

#define IN_MIN		4096u
#define IN_MAX		(256u << 10)
#define IN_TOTAL_MAX	(64u << 20)
#define IGNORED_MAX	(4u << 20)	/* bytes ignored after our FIN until we do not wait for theirs */

static _Thread_local struct conn *spare;

/* Takes fd over, or returns NULL and leaves it */
struct conn *conn_open(int fd)
{
	struct conn *conn = spare;

	if (conn)
		spare = conn->next;
	else
		conn = malloc(sizeof(*conn));
	if (!conn)
		return NULL;
	memset(conn, 0, offsetof(struct conn, http));
	if (stackmap_conn_attach(&conn->sm, server.port, fd)) {
		conn->next = spare;
		spare = conn;
		return NULL;
	}
	http_conn_init(&conn->http);
	conn->http.files = server.root >= 0;
	conn->file = -1;
	conn->unacked = -1;
	conn->seen = server.tick;
	conn->next = server.conns;
	if (conn->next)
		conn->next->prev = conn;
	server.conns = conn;
	server.nconns++;
	server.connections++;
	return conn;
}

static void free_in(struct conn *conn)
{
	server.in_total -= conn->in_cap;
	free(conn->in);
	conn->in = NULL;
	conn->in_off = 0;
	conn->in_len = 0;
	conn->in_cap = 0;
}

/* After its socket: all but that */
static void conn_free(struct conn *conn)
{
	if (conn->in)
		free_in(conn);
	file_end(conn);
	http_conn_free(&conn->http);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		server.conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	server.nconns--;
	conn->next = spare;
	spare = conn;
}

/* Once what is queued was sent. Without memory for that, at once */
static void conn_close(struct conn *conn)
{
	stackmap_conn_close(&conn->sm);
	conn_free(conn);
}

void conn_abort(struct conn *conn)
{
	stackmap_conn_abort(&conn->sm);
	conn_free(conn);
}

void conn_free_all(void)
{
	while (server.conns)
		conn_abort(server.conns);
	while (spare) {
		struct conn *conn = spare;

		spare = conn->next;
		free(conn);
	}
}

static int on_request(void *arg, const struct http_request *req)
{
	struct conn *conn = arg;
	int ret = reply_send(conn, req);

	if (__builtin_expect(ret > 0, 1))
		return 0;
	if (ret < 0)
		conn->failed = true;
	else
		conn->busy = true;
	return 1;
}

/* Returns how many bytes were used: fewer if the rest must wait, or the connection failed */
static size_t feed(struct conn *conn, const char *data, size_t len)
{
	if (__builtin_expect(!server.binary_max, 1))
		return http_feed(&conn->http, data, len, on_request, conn);
	len = binary_feed(&conn->binary, data, len, server.binary_max, on_request, conn);
	conn->failed |= conn->binary.done;
	return len;
}

/* Keeps what cannot be answered yet */
static void keep(struct conn *conn, const void *data, uint32_t len)
{
	if (conn->in_off && conn->in_len + len > conn->in_cap) {
		conn->in_len -= conn->in_off;
		memmove(conn->in, conn->in + conn->in_off, conn->in_len);
		conn->in_off = 0;
	}
	if (conn->in_len + len > conn->in_cap) {
		uint32_t cap = conn->in_cap ? conn->in_cap : IN_MIN;
		char *in;

		while (cap < conn->in_len + len)
			cap *= 2;
		if (cap > IN_MAX || server.in_total - conn->in_cap + cap > IN_TOTAL_MAX) {
			conn->failed = true;
			return;
		}
		in = realloc(conn->in, cap);
		if (!in) {
			conn->failed = true;
			return;
		}
		server.in_total += cap - conn->in_cap;
		conn->in = in;
		conn->in_cap = cap;
	}
	memcpy(conn->in + conn->in_len, data, len);
	conn->in_len += len;
}

static void input(struct conn *conn, const char *data, uint32_t len)
{
	if (conn->busy) {
		if (!http_conn_done(&conn->http))
			keep(conn, data, len);
		return;
	}
	if (__builtin_expect(http_conn_done(&conn->http), 0)) {
		conn->ignored += len;
		if (conn->ignored > IGNORED_MAX)
			conn->failed = true;
	} else {
		size_t used = feed(conn, data, len);

		if (used < len && !conn->failed)
			keep(conn, data + used, len - used);
	}
}

/* Feeds what was kept, until it becomes busy again */
static void input_kept(struct conn *conn)
{
	while (conn->in_off < conn->in_len && !conn->busy && !conn->failed)
		conn->in_off += feed(conn, conn->in + conn->in_off, conn->in_len - conn->in_off);
	if (conn->in && conn->in_off == conn->in_len)
		free_in(conn);
}

/* Decides what becomes of the connection; it may be gone afterwards */
static void settle(struct conn *conn)
{
	if (conn->failed) {
		conn_abort(conn);
	} else if (conn->busy) {
		/* conn_continue() comes back here */
	} else if (conn->fin) {
		conn_close(conn);
	} else if (http_conn_done(&conn->http) && !conn->shut) {
		/*
		 * Closing the socket while the client is sending (a body that we refuse) would
		 * reset the connection, and the client might not see the response. So: our FIN
		 * when all is sent, then wait for the client's.
		 */
		if (stackmap_conn_unsent(&conn->sm)) {
			reply_wait(conn);
			return;
		}
		shutdown(stackmap_conn_fd(&conn->sm), SHUT_WR);
		conn->shut = true;
	}
}

/* Something has come */
void conn_receive(struct conn *conn, const struct stackmap_slot *slot)
{
	conn->seen = server.tick;
	if (slot->flags & STACKMAP_RX_DATA)
		input(conn, stackmap_rx_data(server.port, slot), slot->len);
	if (slot->flags & STACKMAP_RX_FIN)
		conn->fin = true;
	if (slot->flags & STACKMAP_RX_ERROR)
		conn->failed = true;
	settle(conn);
}

/* There is room in its send queue */
void conn_continue(struct conn *conn)
{
	conn->seen = server.tick;
	if (stackmap_conn_error(&conn->sm)) {
		conn->failed = true;
	} else if (conn->busy) {
		int ret = reply_continue(conn);

		if (ret < 0)
			conn->failed = true;
		if (ret > 0) {
			conn->busy = false;
			input_kept(conn);
		}
	}
	settle(conn);
}
