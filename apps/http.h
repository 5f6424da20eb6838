/* SPDX-License-Identifier: GPL-2.0 */
/*
 * http.h - the server's side of HTTP/1.x as bytes in, requests out, bytes to send: no sockets.
 *
 * One struct http_conn per connection. Give http_feed() whatever arrived, in pieces of any size;
 * it calls the handler once for every complete request, in order. A request that cannot be
 * served (malformed, too large, ...) comes to the same handler, once, with its status set, and is
 * the connection's last. Request bodies are read, limited, counted and dropped.
 *
 * The way of a small keep-alive GET is one call of the parser and one of the handler: nothing is
 * allocated and nothing copied, the request's target stays where it was received.
 */
#ifndef STACKMAP_APPS_HTTP_H
#define STACKMAP_APPS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http-date.h"
#include "http-syntax.h"

#define HTTP_TARGET_MAX		8192		/* a longer request target: 414 */
#define HTTP_FIELDS_MAX		16384		/* a longer header section: 431 */
#define HTTP_BODY_MAX		(1u << 20)	/* a longer request body: 413, unless set */
#define HTTP_HEAD_MAX		1024		/* room http_response_head() needs, extra aside */

/* What becomes of the connection after a response, and so what its header says. */
enum http_persist {
	HTTP_CLOSE,		/* "Connection: close", and then it is */
	HTTP_KEEP_ALIVE,	/* HTTP/1.1: goes without saying */
	HTTP_KEEP_ALIVE_1_0,	/* HTTP/1.0 that asked for it: "Connection: keep-alive" */
	HTTP_PERSIST_COUNT
};

struct http_request {
	const char *target;	/* as sent, not NUL-terminated; valid during the handler's call */
	size_t target_len;
	uint64_t body_len;	/* bytes of body that were read and dropped */
	/*
	 * 0: serve it. 100: not a request yet, the client waits to be told to send its body:
	 * send http_reply()'s bytes. 400 and above: answer with this status, then close.
	 */
	int status;
	unsigned int method;	/* HTTP_GET, _HEAD or _POST where status is 0 */
	enum http_persist persist;
	bool is_head;		/* send the header of the response only */
	bool files;		/* as in struct http_conn */
	/* With files: the header fields for http-file.h, as "name:value" and LF, lower case names */
	const char *fields;
	size_t fields_len;
};

/*
 * Called for each request. Non-zero stops http_feed() after this one, for a caller who has no
 * room for more responses now; the rest of the bytes is to be fed again later. It must not free
 * or feed the connection.
 */
typedef int http_handler(void *arg, const struct http_request *req);

/* A connection. Not to be moved in memory; all of it is private but body_max and files. */
struct http_conn {
	struct http_syntax syntax;
	uint32_t body_max;	/* settable after http_conn_init() */
	bool files;		/* likewise: GET and HEAD only, with conditions and ranges */
	uint32_t body_len;
	uint32_t head_len;	/* bytes of this request's head in earlier feeds */
	uint16_t target_len;
	uint16_t target_cap;	/* of spill */
	const char *target;	/* in the fed buffer, or in kept[], or spill */
	char *spill;		/* a target cut by the end of a feed that kept[] cannot hold */
	char *fields;		/* what struct http_request has of them */
	uint16_t fields_len;
	uint16_t fields_cap;
	uint16_t field_at;	/* where the one begins that is being read */
	uint16_t status;	/* what a callback stopped the parser for */
	uint8_t phase;
	uint8_t name;		/* the header field being read, if it is one we look at */
	uint8_t pos;		/* how much of its name, or value, has matched */
	bool in_name;
	bool mismatch;
	/* Found in this request's header */
	union {
		uint16_t found;
		struct {
			uint8_t hosts : 2;	/* Host headers: none, one, more */
			bool expects : 1;	/* an Expect header ... */
			bool expects_other : 1;	/* ... asking for something else than 100-continue */
			bool awaits : 1;	/* the client holds its body back until told to go on */
			bool coded : 1;		/* a Transfer-Encoding header ... */
			bool coded_other : 1;	/* ... with something else than chunked */
			bool broken : 1;	/* fields could not be kept */
		};
	};
	/*
	 * How many of the bytes that were fed last belong to a request whose end has not come; UINT32_MAX: not
	 * known. Who has kept them can have another http_conn go on from the beginning of that request.
	 */
	uint32_t unfinished;
	char kept[80];
};

void http_conn_init(struct http_conn *conn);
void http_conn_free(struct http_conn *conn);	/* what it allocated, not conn itself */

/*
 * Returns how many bytes were used: len, unless the handler stopped it. Bytes after a
 * connection's last request count as used, and are ignored.
 */
size_t http_feed(struct http_conn *conn, const void *buf, size_t len,
		 http_handler *handler, void *arg);

/* True once the last request came: close when its response is sent. */
bool http_conn_done(const struct http_conn *conn);
/* Have it so */
void http_conn_end(struct http_conn *conn);

/* --- http-response.c --- */

/* The reason phrase of a status. */
const char *http_reason(int status);

/*
 * Writes a response's header, with the date, to the empty line and a NUL. type may be NULL; extra is NULL or
 * whole header lines, each ended by CR LF. Returns its length, or 0 if it is longer than cap.
 */
size_t http_response_head(char *out, size_t cap, int status, uint64_t content_length,
			  const char *type, enum http_persist persist, const char *extra);

/* One response, ready to be sent in each form a request can ask for. */
struct http_canned {
	char *mem;
	const char *at[HTTP_PERSIST_COUNT];
	size_t head_len[HTTP_PERSIST_COUNT];
	size_t len[HTTP_PERSIST_COUNT];		/* header and body, contiguous */
	size_t date_at[HTTP_PERSIST_COUNT];
};

/* Returns 0 or -ENOMEM. http_canned_fill() makes the body len bytes of c: "--size N". */
int http_canned_init(struct http_canned *canned, int status, const char *type,
		     const void *body, size_t len);
int http_canned_fill(struct http_canned *canned, int status, const char *type, char c, size_t len);
void http_canned_free(struct http_canned *canned);
/*
 * After http_date_turn(): writes the new date into it, in place. What is being sent without a copy
 * right then, or has been sent in part, has the old date, or the new one, or some of both.
 */
void http_canned_date(struct http_canned *canned);
/* Of all that http_reply() returns of it, from canned->mem on. */
size_t http_canned_size(const struct http_canned *canned);

/*
 * The bytes that answer req: its error or interim response if it has a status, else canned
 * (which may be NULL if status is set). They are not to be freed and live as long as canned, those
 * of errors as long as the thread.
 */
const char *http_reply(const struct http_canned *canned, const struct http_request *req,
		       size_t *len);

/* --- http-path.c --- */

/*
 * The file a target names, as a path relative to a root and NUL-terminated: percent-decoded,
 * without query, empty and "." segments. A directory's ends in "/", the root's is "". Returns its
 * length, or -EINVAL for what names no file safely (a ".." segment, NUL, a bad escape, no
 * leading "/"), or -ENAMETOOLONG. Symbolic links are the caller's: openat2(RESOLVE_BENEATH).
 */
int http_target_path(const char *target, size_t len, char *out, size_t cap);

/* By the path's extension; application/octet-stream if that says nothing. */
const char *http_content_type(const char *path);

#endif
