// SPDX-License-Identifier: GPL-2.0
/*
 * stackmap-httpd-file.c - serves the files below a directory
 *
 * A file is read, as far as the send queue has room, straight into the buffers that TCP sends. The
 * reads are ordinary ones: one that has to wait for a disk holds up all connections.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stackmap-httpd.h"

#define PATH_LEN	2048	/* of a file below the root, its name for a directory included */
#define READ_BUFS	16	/* buffers per read */

static const char index_name[] = "index.html";

/* The header, then a body of the status and its reason, as errors of http.h have */
static int status_reply(struct conn *conn, const struct http_request *req, int status,
			const char *extra)
{
	char out[REPLY_ROOM], body[64];
	size_t head_len;
	int len;

	len = snprintf(body, sizeof(body), "%d %s\n", status, http_reason(status));
	head_len = http_response_head(out, sizeof(out) - sizeof(body), status, len, "text/plain",
				      req->persist, extra);
	if (!head_len)
		return -1;
	if (!req->is_head) {
		memcpy(out + head_len, body, len);
		head_len += len;
	}
	return reply_bytes(conn, out, head_len);
}

static int status_of(int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case ENXIO:	/* a socket, or a FIFO nobody reads */
		return 404;
	case ENAMETOOLONG:
		return 414;
	case EACCES:
	case EPERM:
	case ELOOP:
	case EXDEV:	/* a symbolic link out of the root */
		return 403;
	case EINVAL:
		return 400;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return 503;
	default:
		return 500;
	}
}

/* A directory asked for without a slash at the end: relative links would go astray */
static int redirect(struct conn *conn, const struct http_request *req, const char *path)
{
	static const char safe[] = "-._~!$&'()*+,;=:@/";
	char line[3 * PATH_LEN + 32];
	char *p = line + sprintf(line, "Location: /");

	for (; *path; path++) {
		unsigned char c = *path;

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    strchr(safe, c))
			*p++ = c;
		else
			p += sprintf(p, "%%%02X", c);
	}
	strcpy(p, "/\r\n");
	return status_reply(conn, req, 301, line);
}

static int open_beneath(const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do {
		fd = syscall(SYS_openat2, server.root, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return (int)fd;
}

int file_reply(struct conn *conn, const struct http_request *req)
{
	char path[PATH_LEN], head[HTTP_HEAD_MAX];
	struct stat st;
	size_t head_len;
	int fd, len;

	if (req->method != HTTP_GET && req->method != HTTP_HEAD)
		return status_reply(conn, req, 405, "Allow: GET, HEAD\r\n");
	len = http_target_path(req->target, req->target_len, path, sizeof(path) - sizeof(index_name));
	if (len < 0)
		return status_reply(conn, req, status_of(-len), NULL);
	if (!len || path[len - 1] == '/')
		strcpy(path + len, index_name);

	fd = open_beneath(path);
	if (fd < 0)
		return status_reply(conn, req, status_of(errno), NULL);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		if (S_ISDIR(st.st_mode))
			return redirect(conn, req, path);
		return status_reply(conn, req, 403, NULL);
	}
	head_len = http_response_head(head, sizeof(head), 200, st.st_size,
				      http_content_type(path), req->persist, NULL);
	if (!head_len || reply_bytes(conn, head, head_len) < 0) {
		close(fd);
		return -1;
	}
	if (req->is_head || !st.st_size) {
		close(fd);
		return 1;
	}
	conn->file = fd;
	conn->body_off = 0;
	conn->body_left = st.st_size;
	return file_continue(conn);
}

/* Without a spare buffer: one that TCP copies */
static ssize_t send_copied(struct conn *conn, size_t len)
{
	char buf[4096];
	ssize_t n;

	if (len > sizeof(buf))
		len = sizeof(buf);
	n = pread(conn->file, buf, len, conn->body_off);
	if (n <= 0 || reply_bytes(conn, buf, n) < 0)
		return -1;
	return n;
}

/* Reads up to len bytes, for which there is room, and queues them. Returns how many, or -1 */
static ssize_t send_some(struct conn *conn, size_t len)
{
	struct stackmap_port *port = server.port;
	struct iovec iov[READ_BUFS];
	uint32_t bufs[READ_BUFS];
	ssize_t got, left;
	int count = 0, i;

	while (len && count < READ_BUFS) {
		size_t part = len < server.seg ? len : server.seg;
		uint32_t buf = stackmap_buf_take(port);

		if (buf == STACKMAP_NO_BUF)
			break;
		bufs[count] = buf;
		iov[count].iov_base = stackmap_buf(port, buf);
		iov[count].iov_len = part;
		count++;
		len -= part;
	}
	if (!count)
		return send_copied(conn, len);

	got = preadv(conn->file, iov, count, conn->body_off);
	left = got;
	for (i = 0; i < count; i++) {
		size_t part = iov[i].iov_len;

		if (left > 0 && part > (size_t)left)
			part = left;
		if (left <= 0 || stackmap_send_buf(&conn->sm, bufs[i], 0, part, 0)) {
			stackmap_buf_give(port, bufs[i]);
			if (left > 0)
				got = left = -1;
		} else {
			left -= part;
		}
	}
	return got > 0 ? got : -1;	/* 0: it has become shorter than was promised */
}

int file_continue(struct conn *conn)
{
	while (conn->body_left) {
		size_t room = stackmap_conn_room(&conn->sm);
		ssize_t n;

		if (room < server.seg && room < conn->body_left)
			return reply_wait(conn);
		if (room > conn->body_left)
			room = conn->body_left;
		else
			room -= room % server.seg;	/* whole buffers */
		n = send_some(conn, room);
		if (n < 0)
			return -1;
		conn->body_off += n;
		conn->body_left -= n;
	}
	close(conn->file);
	conn->file = -1;
	return 1;
}
