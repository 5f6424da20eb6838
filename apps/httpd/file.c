// SPDX-License-Identifier: GPL-2.0
/*
 * file.c - serves the files below a directory
 *
 * A file is read, as far as the send queue has room, straight into the buffers that TCP sends. The
 * reads are ordinary ones: one that has to wait for a disk holds up all connections. What is to be sent
 * of it, http-file.h decides; several ranges are sent one after the other, each behind a small header.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "http-file.h"
#include "httpd.h"

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

/* Appends what may stand in a URL; false without room */
static bool put_escaped(char **p, const char *end, const char *s, size_t len, const char *safe)
{
	for (; len--; s++) {
		unsigned char c = *s;

		if (end - *p < 4)
			return false;
		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c && strchr(safe, c)))
			*(*p)++ = c;
		else
			*p += sprintf(*p, "%%%02X", c);
	}
	return true;
}

/* A directory asked for without a slash at the end: relative links would go astray */
static int redirect(struct conn *conn, const struct http_request *req, const char *path)
{
	static const char safe[] = "-._~!$&'()*+,;=:@/";
	char line[REPLY_ROOM - HTTP_HEAD_MAX];
	char *p = line + sprintf(line, "Location: /");
	const char *end = line + sizeof(line) - sizeof("/?\r\n");
	const char *query = memchr(req->target, '?', req->target_len);
	const char *target_end = req->target + req->target_len;

	if (!put_escaped(&p, end, path, strlen(path), safe))
		return status_reply(conn, req, 414, NULL);
	*p++ = '/';
	if (query) {
		const char *fragment = memchr(query, '#', target_end - query);

		*p++ = '?';
		query++;
		/* (it is escaped already, as far as the client thought it must be) */
		if (!put_escaped(&p, end, query, (fragment ? fragment : target_end) - query,
				 "-._~!$&'()*+,;=:@/?%[]"))
			return status_reply(conn, req, 414, NULL);
	}
	strcpy(p, "\r\n");
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

/* Whether files can be opened below the root at all: some sandboxes take openat2() away (ENOSYS, EPERM) */
bool file_can_open(void)
{
	int fd = open_beneath(".");

	if (fd < 0)
		return errno != ENOSYS && errno != EPERM;
	close(fd);
	return true;
}

/**
 * struct parts - a response of several ranges: multipart/byteranges
 * @next: the range that comes next
 */
struct parts {
	struct http_want want;
	unsigned int next;
	uint64_t size;
	const char *type;
	char boundary[40];
};

/* Makes them; *len is what they come to, with their headers. Returns -1 without memory */
static int parts_make(struct conn *conn, const struct http_want *want, uint64_t size, const char *type,
		      uint64_t *len)
{
	struct parts *parts = malloc(sizeof(*parts));
	char head[HTTP_PART_MAX];
	uint64_t random = 0;
	unsigned int i;

	if (!parts)
		return -1;
	parts->want = *want;
	parts->next = 0;
	parts->size = size;
	parts->type = type;
	/* Nothing that a file has by chance, or because someone knew it before */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uintptr_t)parts ^ server.requests;
	snprintf(parts->boundary, sizeof(parts->boundary), "stackmap-httpd-%016llx",
		 (unsigned long long)random);
	*len = http_part_head(head, parts->boundary, type, NULL, size);
	for (i = 0; i < want->count; i++)
		*len += http_part_head(head, parts->boundary, type, &want->ranges[i], size) +
			want->ranges[i].len;
	conn->parts = parts;
	return 0;
}

/* The header of the next part, or what ends them, in the queue, for which there is REPLY_ROOM */
static int parts_next(struct conn *conn)
{
	struct parts *parts = conn->parts;
	const struct http_range *range = NULL;
	char head[HTTP_PART_MAX];
	size_t len;

	if (parts->next < parts->want.count) {
		range = &parts->want.ranges[parts->next++];
		conn->body_off = range->first;
		conn->body_left = range->len;
	}
	len = http_part_head(head, parts->boundary, parts->type, range, parts->size);
	if (!range) {
		free(parts);
		conn->parts = NULL;
	}
	return reply_bytes(conn, head, len);
}

/* No more of the file is needed */
void file_end(struct conn *conn)
{
	free(conn->parts);
	conn->parts = NULL;
	if (conn->file >= 0)
		close(conn->file);
	conn->file = -1;
}

/* The header of a response with all of a file, or some: and where the body is to come from */
static int file_head(struct conn *conn, const struct http_request *req, const char *type,
		     const struct http_file *file, const struct http_want *want)
{
	char head[HTTP_HEAD_MAX + HTTP_FILE_FIELDS_MAX], extra[HTTP_FILE_FIELDS_MAX + 128], multi[100];
	uint64_t len = file->size;
	size_t n = http_file_fields(file, extra);

	conn->body_off = 0;
	if (want->status == 206 && want->count == 1) {
		conn->body_off = want->ranges[0].first;
		len = want->ranges[0].len;
		snprintf(extra + n, sizeof(extra) - n, "Content-Range: bytes %llu-%llu/%llu\r\n",
			 (unsigned long long)conn->body_off, (unsigned long long)(conn->body_off + len - 1),
			 (unsigned long long)file->size);
	} else if (want->status == 206) {
		if (parts_make(conn, want, file->size, type, &len))
			return -1;
		snprintf(multi, sizeof(multi), "multipart/byteranges; boundary=%s", conn->parts->boundary);
		type = multi;
	}
	conn->body_left = want->count > 1 || want->status == 304 || req->is_head ? 0 : len;
	n = http_response_head(head, sizeof(head), want->status, len, want->status == 304 ? NULL : type,
			       req->persist, extra);
	return n ? reply_bytes(conn, head, n) : -1;
}

int file_reply(struct conn *conn, const struct http_request *req)
{
	char path[PATH_LEN], line[64];
	struct http_file file;
	struct http_want want;
	struct stat st;
	int fd, len;

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
	file.size = st.st_size;
	file.modified = st.st_mtim.tv_sec;
	file.modified_ns = st.st_mtim.tv_nsec;
	http_file_want(req, &file, &want);
	if (want.status > 400) {
		close(fd);
		snprintf(line, sizeof(line), "Content-Range: bytes */%llu\r\n", (unsigned long long)file.size);
		return status_reply(conn, req, want.status, want.status == 416 ? line : NULL);
	}
	conn->file = fd;
	if (file_head(conn, req, http_content_type(path), &file, &want) < 0)
		return -1;
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
	while (conn->body_left || conn->parts) {
		size_t room = stackmap_conn_room(&conn->sm);
		ssize_t n;

		if (!conn->body_left) {
			if (room < REPLY_ROOM)
				return reply_wait(conn);
			if (parts_next(conn) < 0)
				return -1;
			continue;
		}
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
	file_end(conn);
	return 1;
}
