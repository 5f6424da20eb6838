// SPDX-License-Identifier: GPL-2.0
/*
 * reply.c - answers requests: with the prebuilt response, a file or an error
 *
 * The prebuilt response of --size lies in buffers of the port that stay ours (STACKMAP_TX_KEEP):
 * one for each form of its header, filled up with the beginning of the body, and one full of body,
 * which any number of slots can name. So a response costs one slot per buffer, and no copy.
 *
 * A large body lies in memory of the server's own, in large pages if there are any: a slot takes up to
 * 256 KB of that, and a packet of 64 KB is in one or two pieces instead of 17.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "httpd.h"

/* From which size on, how much of it lies in memory, and the beginning that large pages want */
#define BULK_MIN	16384u
#define BULK_MAX	(1u << 20)
#define BULK_ALIGN	(2u << 20)

struct first {
	uint32_t buf;
	uint32_t head_len;
	uint32_t len;	/* header and what there is of the body */
};

static _Thread_local struct {
	uint64_t body_len;	/* of the whole response */
	uint32_t body;		/* the buffer full of body */
	int memory;		/* likewise, for large ones, or -1 */
	uint32_t memory_len;
	bool late;		/* there was no buffer for another date */
	struct first first[HTTP_PERSIST_COUNT];
} prebuilt;

static void first_give(struct first *first, int count)
{
	while (count-- > 0)
		stackmap_buf_give(server.port, first[count].buf);
}

/* Returns -1 without a buffer */
static int first_make(struct first first[HTTP_PERSIST_COUNT])
{
	int i;

	for (i = 0; i < HTTP_PERSIST_COUNT; i++) {
		uint32_t buf = stackmap_buf_take(server.port);
		size_t head_len, body_len;
		char *p;

		if (buf == STACKMAP_NO_BUF) {
			first_give(first, i);
			return -1;
		}
		p = stackmap_buf(server.port, buf);
		/* (it is far shorter than a segment, HTTP_HEAD_MAX at most) */
		head_len = http_response_head(p, server.seg, 200, prebuilt.body_len, "text/plain", i, NULL);
		body_len = server.seg - head_len;
		if (body_len > prebuilt.body_len)
			body_len = prebuilt.body_len;
		memset(p + head_len, 'x', body_len);
		first[i].buf = buf;
		first[i].head_len = head_len;
		first[i].len = head_len + body_len;
	}
	return 0;
}

/* Memory full of body. Where it cannot be had, buffers do */
static void bulk_init(uint64_t size)
{
	size_t len = size < BULK_MAX ? size : BULK_MAX;
	void *at;

	prebuilt.memory = -1;
	if (size < BULK_MIN || posix_memalign(&at, BULK_ALIGN, BULK_ALIGN))
		return;
	madvise(at, BULK_ALIGN, MADV_HUGEPAGE);
	memset(at, 'x', len);
	prebuilt.memory = stackmap_memory_add(server.port, at, len);
	prebuilt.memory_len = (uint32_t)len;
	if (prebuilt.memory < 0)
		free(at);
}

/* Prepares to answer with size bytes. Returns -1 without a buffer */
int reply_init(uint64_t size)
{
	prebuilt.body_len = size;
	prebuilt.body = stackmap_buf_take(server.port);
	if (prebuilt.body == STACKMAP_NO_BUF)
		return -1;
	memset(stackmap_buf(server.port, prebuilt.body), 'x', server.seg);
	bulk_init(server.binary_max ? server.binary_max : size);
	http_date_turn();
	return first_make(prebuilt.first);
}

/*
 * Once for a batch: another second has another date. It is written to other buffers, for TCP may still
 * have to send what is in the old ones, again; the library keeps these until nobody needs them. With
 * all buffers in use, which is seldom, the date is late until one is idle.
 */
void reply_turn(void)
{
	struct first first[HTTP_PERSIST_COUNT];

	if (__builtin_expect(!http_date_turn() && !prebuilt.late, 1) || server.root >= 0 || server.binary_max)
		return;
	prebuilt.late = first_make(first) != 0;
	if (prebuilt.late)
		return;
	first_give(prebuilt.first, HTTP_PERSIST_COUNT);
	memcpy(prebuilt.first, first, sizeof(first));
}

/* Have the connection continued when its send queue has room again */
int reply_wait(struct conn *conn)
{
	stackmap_want_writable(&conn->sm);
	server.hurry = true;
	return 0;
}

/* Sends a copy; there must be room for it */
int reply_bytes(struct conn *conn, const void *data, size_t len)
{
	return stackmap_send(&conn->sm, data, len) == (ssize_t)len ? 1 : -1;
}

static int bulk_continue(struct conn *conn)
{
	while (conn->body_left) {
		size_t len = prebuilt.memory_len, room = stackmap_conn_room(&conn->sm);

		if (len > conn->body_left)
			len = conn->body_left;
		/* (It may be passed on to another server, which gets what is queued) */
		if (len > room)
			len = room < BULK_MIN ? 0 : room;
		if (!len)
			return reply_wait(conn);
		if (stackmap_send_memory(&conn->sm, prebuilt.memory, 0, len, 0))
			return -1;
		conn->body_left -= len;
	}
	return 1;
}

static int prebuilt_continue(struct conn *conn)
{
	if (prebuilt.memory >= 0 && conn->body_left >= BULK_MIN)
		return bulk_continue(conn);
	while (conn->body_left) {
		uint32_t len = server.seg;

		if (len > conn->body_left)
			len = conn->body_left;
		if (len > stackmap_conn_room(&conn->sm))
			return reply_wait(conn);
		if (stackmap_send_buf(&conn->sm, prebuilt.body, 0, len, STACKMAP_TX_KEEP))
			return -1;
		conn->body_left -= len;
	}
	return 1;
}

static int prebuilt_reply(struct conn *conn, const struct http_request *req)
{
	uint32_t head_len = prebuilt.first[req->persist].head_len;
	uint32_t len = prebuilt.first[req->persist].len;

	if (server.binary_max) {
		conn->body_left = req->body_len;
		return prebuilt_continue(conn);
	}
	if (req->is_head)
		len = head_len;
	if (stackmap_send_buf(&conn->sm, prebuilt.first[req->persist].buf, 0, len,
			      STACKMAP_TX_KEEP))
		return -1;
	if (req->is_head || len - head_len == prebuilt.body_len)
		return 1;
	conn->body_left = prebuilt.body_len - (len - head_len);
	return prebuilt_continue(conn);
}

/* Answers a request; there is REPLY_ROOM */
int reply_send(struct conn *conn, const struct http_request *req)
{
	const char *bytes;
	size_t len;
	int ret;

	if (__builtin_expect(req->status, 0)) {
		bytes = http_reply(NULL, req, &len);
		ret = reply_bytes(conn, bytes, len);
	} else {
		server.requests++;
		ret = server.root < 0 ? prebuilt_reply(conn, req) : file_reply(conn, req);
	}
	if (ret > 0 && stackmap_conn_room(&conn->sm) < REPLY_ROOM)
		ret = reply_wait(conn);
	return ret;
}

/* Goes on with what reply_send() began, when there is room again */
int reply_continue(struct conn *conn)
{
	int ret = 1;

	if (conn->file >= 0)
		ret = file_continue(conn);
	else if (conn->body_left)
		ret = prebuilt_continue(conn);
	if (ret > 0 && stackmap_conn_room(&conn->sm) < REPLY_ROOM)
		ret = reply_wait(conn);
	return ret;
}
