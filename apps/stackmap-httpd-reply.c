// SPDX-License-Identifier: GPL-2.0
/*
 * stackmap-httpd-reply.c - answers requests: with the prebuilt response, a file or an error
 *
 * The prebuilt response of --size lies in buffers of the port that stay ours (STACKMAP_TX_KEEP):
 * one for each form of its header, filled up with the beginning of the body, and one full of body,
 * which any number of slots can name. So a response costs one slot per buffer, and no copy.
 */
#include <stdio.h>

#include "stackmap-httpd.h"

static _Thread_local struct {
	uint64_t body_len;	/* of the whole response */
	uint32_t body;		/* the buffer full of body */
	struct {
		uint32_t buf;
		uint32_t head_len;
		uint32_t len;	/* header and what there is of the body */
	} first[HTTP_PERSIST_COUNT];
} prebuilt;

/* Prepares to answer with size bytes. Returns -1 without a buffer */
int reply_init(uint64_t size)
{
	struct stackmap_port *port = server.port;
	int i;

	prebuilt.body_len = size;
	prebuilt.body = stackmap_buf_take(port);
	if (prebuilt.body == STACKMAP_NO_BUF)
		return -1;
	memset(stackmap_buf(port, prebuilt.body), 'x', server.seg);
	for (i = 0; i < HTTP_PERSIST_COUNT; i++) {
		uint32_t buf = stackmap_buf_take(port);
		size_t head_len, body_len;
		char *p;

		if (buf == STACKMAP_NO_BUF)
			return -1;
		p = stackmap_buf(port, buf);
		head_len = http_response_head(p, server.seg, 200, size, "text/plain", i, NULL);
		if (!head_len)
			return -1;
		body_len = server.seg - head_len;
		if (body_len > size)
			body_len = size;
		memset(p + head_len, 'x', body_len);
		prebuilt.first[i].buf = buf;
		prebuilt.first[i].head_len = head_len;
		prebuilt.first[i].len = head_len + body_len;
	}
	return 0;
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

static int prebuilt_continue(struct conn *conn)
{
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
