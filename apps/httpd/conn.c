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

/* Takes fd over, or what has come without one in @slot; or returns NULL and leaves it */
struct conn *conn_open(int fd, struct stackmap_slot *slot)
{
	struct conn *conn = spare;

	if (conn)
		spare = conn->next;
	else
		conn = malloc(sizeof(*conn));
	if (!conn)
		return NULL;
	memset(conn, 0, offsetof(struct conn, http));
	if (slot ? stackmap_accept(&conn->sm, server.port, slot) :
		   stackmap_conn_attach(&conn->sm, server.port, fd)) {
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

static void free_part(struct conn *conn)
{
	server.in_total -= conn->part_len;
	free(conn->part);
	conn->part = NULL;
	conn->part_len = 0;
}

/* After its socket: all but that */
static void conn_free(struct conn *conn)
{
	if (conn->in)
		free_in(conn);
	free_part(conn);
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

/* Only for a process that takes over: what a request had before this, and this */
static void keep_part(struct conn *conn, const char *data, size_t len)
{
	uint32_t n = conn->http.unfinished, before = n > len ? n - len : 0;
	char *part = NULL;

	if ((before == conn->part_len || !before) && n && n <= IN_MAX && server.in_total + n <= IN_TOTAL_MAX)
		part = realloc(conn->part, n);
	if (!part) {
		/* Too long, or nobody knows where it began: it cannot be handed over */
		free_part(conn);
		return;
	}
	memcpy(part + before, data + len - (n - before), n - before);
	/* (it may be shorter than the one before) */
	server.in_total -= conn->part_len;
	server.in_total += n;
	conn->part = part;
	conn->part_len = n;
}

/* Returns how many bytes were used: fewer if the rest must wait, or the connection failed */
static size_t feed(struct conn *conn, const char *data, size_t len)
{
	if (__builtin_expect(!server.binary_max, 1)) {
		size_t used = http_feed(&conn->http, data, len, on_request, conn);

		if (__builtin_expect(conn->http.unfinished || conn->part, 0) && takeover_is_on())
			keep_part(conn, data, used);
		return used;
	}
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
		stackmap_conn_shutdown(&conn->sm);
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

/*
 * Make it a socket that another process goes on with: what is to be sent first goes to @queued, what was
 * received and not answered back to the socket. Returns how many descriptors fds has then, 0 if that
 * cannot be: the connection is gone in either case, and the descriptors are the caller's to close.
 */
int conn_pass(struct conn *conn, struct passed *p, void *queued, size_t size, int fds[2])
{
	const char *unread = conn->part;
	size_t kept = conn->in_len - conn->in_off, n = conn->part_len;
	char *both = NULL;
	ssize_t left;
	int fd;

	if (server.binary_max) {
		unread = (const char *)conn->binary.kept;
		n = conn->binary.have;
	}
	/* The beginning of a request that is too long, and ranges: not worth to be passed on */
	if (conn->failed || conn->parts || stackmap_conn_error(&conn->sm) || conn->http.unfinished != conn->part_len)
		goto abort;
	if (kept) {
		/* What was kept comes behind a request that was answered, or is being */
		both = malloc(n + kept);
		if (!both)
			goto abort;
		memcpy(both, unread ? unread : "", n);
		memcpy(both + n, conn->in + conn->in_off, kept);
		unread = both;
		n += kept;
	}
	left = stackmap_conn_unqueue(&conn->sm, queued, size);
	if (left < 0)
		goto abort;
	*p = (struct passed){
		.body_off = conn->body_off, .body_left = conn->body_left, .queued = (uint32_t)left, .busy = conn->busy,
		.done = http_conn_done(&conn->http) || conn->binary.done, .shut = conn->shut && !left,
		.file = conn->file >= 0,
	};
	fd = stackmap_conn_detach_unread(&conn->sm, unread, n);
	if (fd < 0)
		goto abort;
	free(both);
	fds[0] = fd;
	fds[1] = conn->file;
	conn->file = -1;
	conn_free(conn);
	return p->file ? 2 : 1;
abort:
	free(both);
	conn_abort(conn);
	return 0;
}

/* The other end of conn_pass(). Returns 0, or -1, and then the connection is gone */
int conn_take(const struct passed *p, const void *queued, int fds[2])
{
	struct conn *conn = conn_open(fds[0], NULL);

	if (!conn) {
		close(fds[0]);
		if (p->file)
			close(fds[1]);
		return -1;
	}
	if (p->file)
		conn->file = fds[1];
	conn->body_off = p->body_off;
	conn->body_left = p->body_left;
	conn->shut = p->shut;
	if (p->done)
		http_conn_end(&conn->http);
	if (p->queued && stackmap_send(&conn->sm, queued, p->queued) != (ssize_t)p->queued) {
		conn_abort(conn);
		return -1;
	}
	conn->busy = p->busy;
	if (p->busy)
		reply_wait(conn);
	else
		settle(conn);
	return 0;
}
