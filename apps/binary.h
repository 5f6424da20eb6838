/* SPDX-License-Identifier: GPL-2.0 */
/*
 * binary.h - a bare protocol to measure with: requests of 16 bytes, responses as long as they ask
 *
 * A request is the 8 bytes of BINARY_MAGIC, then the length of the response, 64 bits; all of it
 * little endian. The response is so many bytes of 'x' and nothing else. It has the seam of http.h:
 * bytes in, requests out to an http_handler, with the wanted length in body_len; so a server built
 * on that answers both, and the difference between the two is the price of HTTP.
 */
#ifndef STACKMAP_APPS_BINARY_H
#define STACKMAP_APPS_BINARY_H

#include <string.h>

#include "http.h"

#define BINARY_MAGIC	"SMbench1"
#define BINARY_REQUEST	16
#define BINARY_SIZE_MAX	(1u << 30)

/* The beginning of a request whose rest has not come. All zeroes at first */
struct binary_conn {
	uint8_t have;
	bool done;		/* it was no request: nothing more is read */
	unsigned char kept[BINARY_REQUEST];
};

static inline int binary_request(struct binary_conn *conn, const unsigned char *at,
				 uint64_t size_max, http_handler *handler, void *arg)
{
	struct http_request req = { .method = HTTP_GET, .persist = HTTP_KEEP_ALIVE };

	memcpy(&req.body_len, at + 8, sizeof(req.body_len));
	conn->done = memcmp(at, BINARY_MAGIC, 8) || !req.body_len || req.body_len > size_max;
	return conn->done ? 0 : handler(arg, &req);
}

/*
 * As http_feed(): returns how many bytes were used, len unless the handler stopped it. What is no
 * request, or asks for more than @size_max bytes, sets conn->done: the connection is to be closed.
 */
static inline size_t binary_feed(struct binary_conn *conn, const void *buf, size_t len,
				 uint64_t size_max, http_handler *handler, void *arg)
{
	const unsigned char *p = buf, *end = p + len;

	while (p < end && !conn->done) {
		const unsigned char *at = p;

		if (!conn->have && end - p >= BINARY_REQUEST) {
			p += BINARY_REQUEST;
		} else {
			size_t n = BINARY_REQUEST - conn->have;

			if (n > (size_t)(end - p))
				n = end - p;
			memcpy(conn->kept + conn->have, p, n);
			p += n;
			conn->have += n;
			if (conn->have < BINARY_REQUEST)
				break;
			conn->have = 0;
			at = conn->kept;
		}
		if (binary_request(conn, at, size_max, handler, arg))
			return p - (const unsigned char *)buf;
	}
	return len;
}

#endif
