// SPDX-License-Identifier: GPL-2.0
/*
 * test_http.c - unit tests of apps/http.c (cmocka; CMOCKA_MESSAGE_OUTPUT=TAP for TAP).
 *
 * What a test expects of some bytes is written once, as the list of requests they hold, and then
 * checked for the bytes fed whole, byte by byte, and cut in two at every place. Every piece is
 * fed from an allocation of exactly its size, freed after, so that ASan sees a read past its end
 * or a target that points into a buffer that is gone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http-file.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* One line per request: "0 METHOD TARGET persist body", or the status alone. */
struct log {
	char text[8192];
	size_t len;
	unsigned int calls;
	int pause;
	bool interim;		/* write down 100s too: they depend on the pieces */
	bool fields;		/* write down what conditions and ranges there are */
};

static const char *const persists[] = { "close", "keep", "keep10" };

static int on_request(void *arg, const struct http_request *req)
{
	struct log *log = arg;
	uint8_t sum = 0;
	size_t i;

	for (i = 0; i < req->target_len; i++)	/* is it all there? */
		sum += req->target[i];
	(void)sum;
	if (req->status == 100 && !log->interim)
		return 0;
	log->calls++;
	if (log->len > sizeof(log->text) - 256)
		return log->pause;
	if (req->status)
		log->len += sprintf(log->text + log->len, "%d\n", req->status);
	else
		log->len += sprintf(log->text + log->len, "0 %s%s %.*s %s %llu\n",
				    http_syntax_method(req->method), req->is_head ? "!" : "",
				    (int)(req->target_len < 100 ? req->target_len : 100),
				    req->target, persists[req->persist],
				    (unsigned long long)req->body_len);
	if (log->fields && req->fields_len && req->fields_len < 200)
		log->len += sprintf(log->text + log->len, "%.*s", (int)req->fields_len, req->fields);
	return log->pause;
}

static size_t feed(struct http_conn *conn, const char *at, size_t len, struct log *log)
{
	char *copy = malloc(len ? len : 1);
	size_t used;

	assert_non_null(copy);
	memcpy(copy, at, len);
	used = http_feed(conn, copy, len, on_request, log);
	memset(copy, '~', len);
	free(copy);
	return used;
}

static void feed_text(struct http_conn *conn, const char *text, struct log *log)
{
	assert_int_equal(feed(conn, text, strlen(text), log), strlen(text));
}

/* The first piece is of first bytes, the others of cut. */
static void feed_cut(struct log *log, const char *bytes, size_t len, size_t first, size_t cut)
{
	struct http_conn conn;
	size_t at = 0;

	memset(log, 0, sizeof(*log));
	http_conn_init(&conn);
	while (at < len) {
		size_t n = !at ? first : cut;

		if (n > len - at)
			n = len - at;
		assert_int_equal(feed(&conn, bytes + at, n, log), n);
		at += n;
	}
	http_conn_free(&conn);
}

static void expect_len(const char *bytes, size_t len, const char *want)
{
	struct log log;
	size_t cut;

	feed_cut(&log, bytes, len, len, len);
	assert_string_equal(log.text, want);
	feed_cut(&log, bytes, len, 1, 1);
	assert_string_equal(log.text, want);
	for (cut = 1; cut < len; cut++) {
		feed_cut(&log, bytes, len, cut, len);
		assert_string_equal(log.text, want);
	}
	for (cut = 2; cut < 8; cut++) {
		feed_cut(&log, bytes, len, cut, cut);
		assert_string_equal(log.text, want);
	}
}

static void expect(const char *bytes, const char *want)
{
	expect_len(bytes, strlen(bytes), want);
}

static void test_get(void **state)
{
	(void)state;
	expect("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "0 GET / keep 0\n");
	expect("GET /a/b?c=d HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX:\r\n\r\n",
	       "0 GET /a/b?c=d keep 0\n");
	expect("\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "0 GET /x keep 0\n");
#ifdef STACKMAP_LLHTTP
	expect("GET /lf HTTP/1.1\nHost: a\n\n", "400\n");
#else
	expect("GET /lf HTTP/1.1\nHost: a\n\n", "0 GET /lf keep 0\n");
#endif
	expect("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "0 GET http://a/b keep 0\n");
	/* A field is "Host" whatever its case, and nothing else is. */
	expect("GET / HTTP/1.1\r\nhOsT: a\r\nHos: b\r\nHosts: c\r\nH: d\r\n\r\n",
	       "0 GET / keep 0\n");
	expect("GET / HTTP/1.1\r\nHost:\r\n\r\n", "0 GET / keep 0\n");
	/* longer than what struct http_conn keeps by itself */
	expect("GET /0123456789012345678901234567890123456789012345678901234567890123456789"
	       "0123456789012345678 HTTP/1.1\r\nHost: a\r\n\r\n",
	       "0 GET /01234567890123456789012345678901234567890123456789012345678901234567890"
	       "123456789012345678 keep 0\n");
}

static void test_incomplete(void **state)
{
	(void)state;
	expect("", "");
	expect("GET / HTTP/1.1\r\nHost: a\r\n", "");
	expect("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", "");
}

/* At each place where a stream can be cut: how much of what came is of a request whose end has not */
static void test_unfinished(void **state)
{
	static const char stream[] = "GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
		"POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
		"GET /three HTTP/1.1\r\nHost: x\r\n\r\nHEAD /four HTTP/1.1\r\nHost: x\r\n\r\n";
	const char *two = strstr(stream, "POST"), *three = strstr(stream, "GET /three"), *four = strstr(stream, "HEAD");
	size_t len = sizeof(stream) - 1, cut, first, at;
	struct http_conn conn;
	struct log log;

	(void)state;
	for (cut = 1; cut < len; cut++) {
		const char *end = stream + cut;
		const char *begin = end <= two ? stream : end <= three ? two : end <= four ? three : four;
		uint32_t want = end == two || end == three || end == four ? 0 : end - begin;

		/* In two pieces, of each length */
		for (first = 0; first < cut; first++) {
			/* Behind a body a method alone is not to be told from it, in one piece with it */
			const char *piece = stream + first;
			bool unknown = (end > three && end < three + 5 && piece < three) ||
				(piece > three && piece < three + 5 && end < four);

			memset(&log, 0, sizeof(log));
			http_conn_init(&conn);
			feed(&conn, stream, first, &log);
			feed(&conn, stream + first, cut - first, &log);
			if (!unknown || conn.unfinished != UINT32_MAX)
				assert_int_equal(conn.unfinished, want);
			http_conn_free(&conn);
		}
		memset(&log, 0, sizeof(log));
		http_conn_init(&conn);
		for (at = 0; at < cut; at++)
			feed(&conn, stream + at, 1, &log);
		assert_int_equal(conn.unfinished, want);
		http_conn_free(&conn);
	}
}

static void test_persistence(void **state)
{
	(void)state;
	expect("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "0 GET / close 0\n");
	expect("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n", "0 GET / close 0\n");
	expect("GET / HTTP/1.0\r\n\r\n", "0 GET / close 0\n");
	expect("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
	       "0 GET / keep10 0\n0 GET /2 close 0\n");
	/* nothing after the last request is looked at */
	expect("GET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n\x01junk", "0 GET / close 0\n");
}

static void test_pipelining(void **state)
{
	(void)state;
	expect("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n"
	       "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
	       "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	       "0 GET /1 keep 0\n0 HEAD! /2 keep 0\n0 POST /3 keep 5\n0 GET /4 close 0\n");
	/* what came before an error is served */
	expect("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\n\r\n"
	       "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
	       "0 GET /1 keep 0\n405\n");
}

static void test_pipelining_many(void **state)
{
	static const char one[] = "GET /abc HTTP/1.1\r\nHost: a\r\n\r\n";
	size_t len = 2000 * (sizeof(one) - 1);
	char *many = malloc(len + 2);
	struct http_conn conn;
	struct log log = { .calls = 0 };
	size_t i;

	(void)state;
	assert_non_null(many);
	for (i = 0; i < 2000; i++)
		memcpy(many + i * (sizeof(one) - 1), one, sizeof(one) - 1);
	/* A new request begins at the end of a buffer larger than any head may be. */
	memcpy(many + len, "GE", 2);
	http_conn_init(&conn);
	assert_int_equal(feed(&conn, many, len + 2, &log), len + 2);
	assert_int_equal(log.calls, 2000);
	feed(&conn, one + 2, sizeof(one) - 3, &log);
	assert_int_equal(log.calls, 2001);
	assert_false(http_conn_done(&conn));
	http_conn_free(&conn);
	free(many);
}

static void test_stop(void **state)
{
	static const char bytes[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
		"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
		"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"2\r\nok\r\n0\r\n\r\n"
		"GET /4 HTTP/1.0\r\n\r\n";
	struct http_conn conn;
	struct log log = { .pause = 1 };
	size_t at = 0;
	unsigned int i;

	(void)state;
	http_conn_init(&conn);
	for (i = 1; i <= 4; i++) {
		at += feed(&conn, bytes + at, sizeof(bytes) - 1 - at, &log);
		assert_int_equal(log.calls, i);
	}
	assert_int_equal(at, sizeof(bytes) - 1);
	assert_true(http_conn_done(&conn));
	assert_string_equal(log.text, "0 GET /1 keep 0\n0 POST /2 keep 2\n0 POST /3 keep 2\n"
			    "0 GET /4 close 0\n");
	http_conn_free(&conn);
}

static void test_bodies(void **state)
{
	(void)state;
	expect("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "0 POST / keep 0\n");
	expect("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "0 POST / keep 0\n");
	expect("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET GET / HTTP/1.0\r\n\r\n",
	       "0 GET / keep 4\n0 GET / close 0\n");
	expect("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\nHost: b\r\n\r\n"
	       "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	       "0 POST /c keep 11\n0 GET / keep 0\n");
}

static void test_body_limit(void **state)
{
	static const char chunk[] = "8\r\n12345678\r\n";
	struct http_conn conn;
	struct log log;
	char head[128];
	int i;

	(void)state;
	/* exactly the limit */
	for (i = 0; i < 2; i++) {
		memset(&log, 0, sizeof(log));
		http_conn_init(&conn);
		conn.body_max = 10;
		sprintf(head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n0123456789",
			10 + i);
		feed_text(&conn, head, &log);
		assert_string_equal(log.text, i ? "413\n" : "0 POST / keep 10\n");
		http_conn_free(&conn);
	}
	/* chunked: when it is exceeded */
	memset(&log, 0, sizeof(log));
	http_conn_init(&conn);
	conn.body_max = 20;
	strcpy(head, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	feed_text(&conn, head, &log);
	for (i = 0; i < 4; i++) {
		feed_text(&conn, chunk, &log);
		assert_string_equal(log.text, i < 2 ? "" : "413\n");
	}
	assert_true(http_conn_done(&conn));
	http_conn_free(&conn);
	/* the default */
	expect("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", "413\n");
	expect("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n", "");
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {
		"garbage\r\n\r\n",
		"hello world\r\n\r\n",
		"G\x01T / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\x02",		/* TLS */
		"GET  HTTP/1.1\r\n\r\n",
		"GET x HTTP/1.1\r\n\r\n",
		"GET / JUNK\r\n\r\n",
		"GET / HTTP/x.1\r\n\r\n",
		"GET / HTTP/1.10\r\n\r\n",
		"FOO / HTTP/1.1x\r\n\r\n",
		"PRI / HTTQ/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nsp ace: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",			/* no Host */
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
		"Transfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++)
		expect(bad[i], "400\n");
	expect_len("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 33, "400\n");
}

static void test_methods(void **state)
{
	static const char *const known[] = { "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "M-SEARCH" };
	static const char *const unknown[] = { "FOO", "get", "GETS", "G", "X-Y", "PROPFINDX", "PR", "PRI" };
	char bytes[128];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(known); i++) {
		sprintf(bytes, "%s /x HTTP/1.1\r\nHost: a\r\n\r\n", known[i]);
		expect(bytes, "405\n");
	}
	for (i = 0; i < COUNT(unknown); i++) {
		sprintf(bytes, "%s /x HTTP/1.1\r\nHost: a\r\n\r\n", unknown[i]);
		expect(bytes, "501\n");
	}
	expect("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "405\n");
	expect("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "405\n");
}

/* Transfer codings: chunked, once, and nothing else is understood */
static void test_codings(void **state)
{
	static const char *const unknown[] = {
		"gzip", "gzip, chunked", "chunked, gzip", "identity", "chunke", "chunkedx", "x",
		"chunked;a=b", "chunk ed, x", "chunked\r\nTransfer-Encoding: chunked",
		"gzip\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: gzip",
	};
	char bytes[256];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(unknown); i++) {
		sprintf(bytes, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n", unknown[i]);
		expect(bytes, "501\n");
	}
	expect("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:  Chunked \r\n\r\n1\r\na\r\n0\r\n\r\n",
	       "0 POST / keep 1\n");
	expect("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encodin: gzip\r\nTransfer: x\r\n\r\n",
	       "0 POST / keep 0\n");
	/* The next request has its own */
	expect("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n"
	       "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "0 POST / keep 0\n0 GET /2 keep 0\n");
	expect("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400\n");
}

static void test_versions(void **state)
{
	(void)state;
	expect("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505\n");
	expect("GET / HTTP/0.9\r\n\r\n", "505\n");
	expect("GET /\r\n", "505\n");		/* 0.9 as it was: no header will come */
	expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505\n");
	expect("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "0 GET / keep 0\n");
}

static void test_upgrade_ignored(void **state)
{
	(void)state;
	expect("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
	       "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	       "0 GET / keep 0\n0 GET /2 keep 0\n");
	expect("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n"
	       "Content-Length: 2\r\n\r\nokGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	       "0 POST / keep 2\n0 GET /2 keep 0\n");
}

/* Feeds head, n times fill, and tail, in pieces of cut bytes; the status that comes out. */
static int status_of(const char *head, char fill, size_t n, const char *tail, size_t cut)
{
	size_t len = strlen(head) + n + strlen(tail);
	char *bytes = malloc(len + 1);
	struct log log;

	assert_non_null(bytes);
	strcpy(bytes, head);
	memset(bytes + strlen(head), fill, n);
	strcpy(bytes + strlen(head) + n, tail);
	feed_cut(&log, bytes, len, cut, cut);
	free(bytes);
	assert_true(log.calls <= 1);
	return log.calls ? atoi(log.text) : -1;
}

static void test_too_long(void **state)
{
	static const size_t cuts[] = { 1, 7, 64, 1460, 4096, 1 << 20 };
	static const char version[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cuts); i++) {
		size_t cut = cuts[i];

		assert_int_equal(status_of("GET /", 'a', 8191, version, cut), 0);
		assert_int_equal(status_of("GET /", 'a', 8192, version, cut), 414);
		assert_int_equal(status_of("GET /", 'a', 100000, version, cut), 414);
		assert_int_equal(status_of("FOO /", 'a', 100000, version, cut), 414);
		assert_int_equal(status_of("", 'Z', 100000, version, cut), 400);
		assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: a\r\nX: ", 'x', 16300,
			"\r\n\r\n",
					   cut), 0);
		assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: a\r\nX: ", 'x', 16400,
			"\r\n\r\n",
					   cut), 431);
		assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: a\r\n", 'x', 17000,
			": y\r\n\r\n",
					   cut), 431);
		assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: a\r\nX: ", ' ', 100000,
			"y\r\n\r\n",
					   cut), 431);
		assert_int_equal(status_of("", '\n', 100000, "", cut), 431);
		assert_int_equal(status_of("POST / HTTP/1.1\r\nHost: a\r\n"
					   "Transfer-Encoding: chunked\r\n"
					   "\r\n0\r\nX: ", 'x', 100000, "\r\n\r\n", cut), 431);
	}
	/* a long target leaves the header section its room */
	assert_int_equal(status_of("GET /", 'a', 8000, " HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", 100),
			 0);
}

static void test_many_fields(void **state)
{
	char bytes[40000] = "GET / HTTP/1.1\r\nHost: a\r\n";
	struct log log;
	int i;

	(void)state;
	for (i = 0; i < 3000; i++)
		strcat(bytes + 10 * i, "X: 12345\r\n");
	strcat(bytes, "\r\n");
	feed_cut(&log, bytes, strlen(bytes), strlen(bytes), 1);
	assert_string_equal(log.text, "431\n");
	feed_cut(&log, bytes, strlen(bytes), 100, 100);
	assert_string_equal(log.text, "431\n");
}

static void test_expect(void **state)
{
	static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n"
				   "Content-Length: 2\r\n\r\n";
	struct http_conn conn;
	struct log log = { .interim = true };
	size_t i, len;

	(void)state;
	/* asked for, and waiting */
	http_conn_init(&conn);
	for (i = 0; i < sizeof(head) - 1; i++)
		feed(&conn, head + i, 1, &log);
	assert_string_equal(log.text, "100\n");
	feed(&conn, "o", 1, &log);
	feed(&conn, "k", 1, &log);
	assert_string_equal(log.text, "100\n0 POST / keep 2\n");
	/* not waiting: the body is there */
	memset(&log, 0, sizeof(log));
	log.interim = true;
	feed_text(&conn, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
		  "Content-Length: 2\r\n\r\nok", &log);
	assert_string_equal(log.text, "0 POST / keep 2\n");
	/* nothing to wait for; 1.0 has no such thing */
	memset(&log, 0, sizeof(log));
	log.interim = true;
	feed_text(&conn, "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &log);
	feed_text(&conn, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
		  &log);
	assert_string_equal(log.text, "0 GET / keep 0\n");
	http_conn_free(&conn);

	expect("POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 2\r\n\r\n", "417\n");
	expect("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continuex\r\n\r\n", "417\n");
	expect("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-cont\r\n\r\n", "417\n");
	expect("GET / HTTP/1.0\r\nExpect: tea\r\n\r\n", "0 GET / close 0\n");
	expect("GET / HTTP/1.1\r\nHost: a\r\nExpected: tea\r\n\r\n", "0 GET / keep 0\n");
	/* too large: refused instead of invited */
	expect("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
	       "Content-Length: 2000000\r\n\r\n",
	       "413\n");

	assert_string_equal(http_reply(NULL, &(struct http_request){ .status = 100 }, &len),
			    "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(len, 25);
}

static void test_size(void **state)
{
	(void)state;
	assert_true(sizeof(struct http_conn) <= 256);
}

/* What was written, once it has the date, without it */
static const char *undated(const char *head)
{
	static char out[2 * HTTP_HEAD_MAX];
	char line[64], *at;

	snprintf(line, sizeof(line), "Date: %s\r\n", http_date_now());
	snprintf(out, sizeof(out), "%s", head);
	at = strstr(out, line);
	assert_non_null(at);
	memmove(at, at + strlen(line), strlen(at + strlen(line)) + 1);
	assert_null(strstr(out, "Date:"));
	return out;
}

static void test_response_head(void **state)
{
	char out[HTTP_HEAD_MAX];
	size_t len, i;

	(void)state;
	len = http_response_head(out, sizeof(out), 200, 64, "text/plain", HTTP_KEEP_ALIVE, NULL);
	assert_string_equal(undated(out), "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n"
			    "Content-Type: text/plain\r\n\r\n");
	assert_int_equal(len, strlen(out));
	assert_int_equal(http_response_head(out, len, 200, 64, "text/plain", HTTP_KEEP_ALIVE, NULL),
			 0);
	assert_int_equal(http_response_head(out, len + 1, 200, 64, "text/plain", HTTP_KEEP_ALIVE,
					    NULL), len);
	for (i = 0; i < len; i++)
		assert_int_equal(http_response_head(out, i, 200, 64, "text/plain", HTTP_KEEP_ALIVE,
						    NULL), 0);
	http_response_head(out, sizeof(out), 404, UINT64_MAX, NULL, HTTP_CLOSE, "X: y\r\n");
	assert_string_equal(undated(out),
		"HTTP/1.1 404 Not Found\r\nContent-Length: 18446744073709551615\r\n"
			    "X: y\r\nConnection: close\r\n\r\n");
	http_response_head(out, sizeof(out), 200, 0, NULL, HTTP_KEEP_ALIVE_1_0, NULL);
	assert_string_equal(undated(out), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
			    "Connection: keep-alive\r\n\r\n");
	http_response_head(out, sizeof(out), 304, 5, NULL, HTTP_KEEP_ALIVE, NULL);
	assert_string_equal(undated(out), "HTTP/1.1 304 Not Modified\r\n\r\n");
}

/* With files: GET and HEAD only, and no invitation to send what is refused then */
static void test_files(void **state)
{
	static const struct {
		const char *bytes;
		const char *fields;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\nRange:  bytes=0-1 \r\nRanger: x\r\nRefer: y\r\n\r\n",
		  "range:bytes=0-1 \n" },
		{ "GET / HTTP/1.1\r\nIF-none-Match: \"a\"\r\nHost: a\r\nIf-None-Match:\r\nIf-None: c\r\n\r\n",
		  "if-none-match:\"a\"\nif-none-match:\n" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nIf-Range: d\r\n\r\n", "if-range:d\n" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nI: d\r\nR: x\r\n\r\n", "" },
	};
	struct http_request req = { .status = 405, .files = true };
	struct http_conn conn;
	struct log log;
	size_t i, cut, len;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		const char *b = cases[i].bytes;

		for (cut = 1; cut <= strlen(b); cut++) {
			memset(&log, 0, sizeof(log));
			http_conn_init(&conn);
			conn.files = true;
			log.fields = true;
			for (len = 0; len < strlen(b); len += cut)
				feed(&conn, b + len, cut < strlen(b) - len ? cut : strlen(b) - len, &log);
			/* (what stands before a value's end is the parser's affair) */
			assert_string_equal(log.text + strcspn(log.text, "\n") + 1, cases[i].fields);
			/* The next request does not have them */
			log.len = 0;
			feed_text(&conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &log);
			assert_string_equal(log.text, "0 GET / keep 0\n");
			http_conn_free(&conn);
		}
	}
	memset(&log, 0, sizeof(log));
	log.interim = true;
	http_conn_init(&conn);
	conn.files = true;
	feed_text(&conn, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", &log);
	assert_string_equal(log.text, "405\n");
	http_conn_free(&conn);
	assert_non_null(strstr(http_reply(NULL, &req, &len), "\r\nAllow: GET, HEAD\r\n"));
	req.files = false;
	assert_non_null(strstr(http_reply(NULL, &req, &len), "\r\nAllow: GET, HEAD, POST\r\n"));
}

/* As long a header as there may be, all of it kept */
static void test_fields_bounded(void **state)
{
	static char bytes[HTTP_FIELDS_MAX + 4096];
	struct http_conn conn;
	struct log log;
	int i, extra;

	(void)state;
	for (extra = 0; extra < 2; extra++) {
		char *p = bytes + sprintf(bytes, "GET / HTTP/1.1\r\nHost: a\r\n");

		for (i = 0; i < (extra ? 1300 : 1160); i++)
			p += sprintf(p, "Range: 12345\r\n");
		strcpy(p, "\r\n");
		memset(&log, 0, sizeof(log));
		http_conn_init(&conn);
		conn.files = true;
		feed_text(&conn, bytes, &log);
		assert_string_equal(log.text, extra ? "431\n" : "0 GET / keep 0\n");
		http_conn_free(&conn);
	}
}

static void test_dates(void **state)
{
	static const char *const same[] = {	/* RFC 9110, 5.6.7 */
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994",
	};
	static const char *const none[] = {
		"", "S", "Sun", "Sun,", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ",
		"Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "784111777",
		"Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 PST",
		"Sunday 06-Nov-94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 94",
	};
	char out[HTTP_DATE_LEN + 1];
	time_t at;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(same); i++) {
		assert_true(http_date_parse(same[i], strlen(same[i]), &at));
		assert_int_equal(at, 784111777);
	}
	for (i = 0; i < COUNT(none); i++) {
		char *copy = malloc(strlen(none[i]) + 1);	/* of its size, for ASan */

		memcpy(copy, none[i], strlen(none[i]));
		assert_false(http_date_parse(copy, strlen(none[i]), &at));
		free(copy);
	}
	assert_true(http_date_parse("Friday, 01-Jan-68 00:00:00 GMT", 30, &at));
	assert_true(at > 0);	/* 2068 until 2018 + 50 */
	for (at = 0; at < 5000000000; at += 86400 * 29 + 3601) {
		time_t back;

		http_date(out, at);
		assert_int_equal(strlen(out), HTTP_DATE_LEN);
		assert_true(http_date_parse(out, HTTP_DATE_LEN, &back));
		assert_int_equal(back, at);
	}
	http_date(out, INT64_MAX);
	assert_int_equal(strlen(out), HTTP_DATE_LEN);
	http_date(out, -5);
	assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
	http_date_turn();
	assert_false(http_date_turn() && http_date_turn());
}

static struct http_want want(const char *fields, bool is_head, const struct http_file *file)
{
	/* of its size, for ASan */
	char *copy = malloc(strlen(fields) + 1);
	struct http_request req = {
		.method = is_head ? HTTP_HEAD : HTTP_GET, .is_head = is_head, .files = true,
		.fields = *fields ? copy : NULL, .fields_len = strlen(fields),
	};
	struct http_want w;

	memcpy(copy, fields, strlen(fields));
	http_file_want(&req, file, &w);
	free(copy);
	return w;
}

static void test_conditions(void **state)
{
	static const struct {
		const char *fields;
		int status;
	} cases[] = {
		{ "", 200 },
		{ "if-none-match:\"64-2ebc98a1.7\"\n", 304 },
		{ "if-none-match:W/\"64-2ebc98a1.7\"\n", 304 },	/* weak comparison */
		{ "if-none-match:\"x\", \"64-2ebc98a1.7\"  \n", 304 },
		{ "if-none-match:\"x\"\nif-none-match:\"64-2ebc98a1.7\"\n", 304 },
		{ "if-none-match:\"x\" ,, W/\"y\",\"64-2ebc98a1.7\"\n", 304 },
		{ "if-none-match:*\n", 304 },
		{ "if-none-match:\"x\"\n", 200 },
		{ "if-none-match:64-2ebc98a1.7\n", 200 },
		{ "if-none-match:\"64-2ebc98a1.7\n", 200 },
		{ "if-none-match:\n", 200 },
		{ "if-none-match:W/\n", 200 },
		{ "if-none-match:\"\n", 200 },
		{ "if-modified-since:Sun, 06 Nov 1994 08:49:37 GMT\n", 304 },
		{ "if-modified-since:Sun, 06 Nov 1994 08:49:38 GMT\n", 304 },
		{ "if-modified-since:Sun, 06 Nov 1994 08:49:36 GMT\n", 200 },
		{ "if-modified-since:Sunday, 06-Nov-94 08:49:37 GMT\n", 304 },
		{ "if-modified-since:yesterday\n", 200 },
		/* the tag decides, whatever the date */
		{ "if-none-match:\"x\"\nif-modified-since:Sun, 06 Nov 1994 08:49:37 GMT\n", 200 },
		{ "if-modified-since:Sun, 06 Nov 1990 08:49:37 GMT\nif-none-match:\"64-2ebc98a1.7\"\n", 304 },
		{ "if-match:\"64-2ebc98a1.7\"\n", 200 },
		{ "if-match:*\n", 200 },
		{ "if-match:W/\"64-2ebc98a1.7\"\n", 412 },	/* strong comparison */
		{ "if-match:\"x\"\n", 412 },
		{ "if-match:\n", 412 },
		{ "if-unmodified-since:Sun, 06 Nov 1994 08:49:37 GMT\n", 200 },
		{ "if-unmodified-since:Sun, 06 Nov 1994 08:49:36 GMT\n", 412 },
		{ "if-match:\"64-2ebc98a1.7\"\nif-unmodified-since:Sun, 06 Nov 1994 08:49:36 GMT\n", 200 },
		{ "if-match:\"64-2ebc98a1.7\"\nif-none-match:*\n", 304 },
		/* ranges come after them */
		{ "range:bytes=0-0\nif-none-match:\"64-2ebc98a1.7\"\n", 304 },
		{ "range:bytes=0-0\nif-range:\"64-2ebc98a1.7\"\n", 206 },
		{ "range:bytes=0-0\nif-range:W/\"64-2ebc98a1.7\"\n", 200 },
		{ "range:bytes=0-0\nif-range:\"x\"\n", 200 },
		{ "range:bytes=0-0\nif-range:\n", 200 },
		{ "range:bytes=0-0\nif-range:Sun, 06 Nov 1994 08:49:37 GMT\n", 206 },
		{ "range:bytes=0-0\nif-range:Sun, 06 Nov 1994 08:49:38 GMT\n", 200 },
		{ "range:bytes=900-\nif-range:\"x\"\n", 200 },
		{ "range:bytes=900-\nif-range:\"64-2ebc98a1.7\"\n", 416 },
	};
	struct http_file file = { .size = 100, .modified = 784111777, .modified_ns = 7 };
	char out[HTTP_FILE_FIELDS_MAX], fields[128], *tag;
	size_t i;

	(void)state;
	http_file_fields(&file, out);
	assert_string_equal(out, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			    "ETag: \"64-2ebc98a1.7\"\r\nAccept-Ranges: bytes\r\n");
	for (i = 0; i < COUNT(cases); i++) {
		assert_int_equal(want(cases[i].fields, false, &file).status, cases[i].status);
	}
	/* one that was modified just now, or will be */
	for (i = 0; i < 2; i++) {
		http_date_turn();
		file.modified = http_time_now() + (i ? 1000 : 0);
		http_file_fields(&file, out);
		tag = strstr(out, "ETag: W/\"");
		assert_non_null(tag);
		assert_memory_equal(strstr(out, ": ") + 2, http_date_now(), HTTP_DATE_LEN);
		snprintf(fields, sizeof(fields), "if-none-match:%.*s\n", (int)strcspn(tag + 6, "\r"), tag + 6);
		assert_int_equal(want(fields, false, &file).status, 304);
		snprintf(fields, sizeof(fields), "range:bytes=0-0\nif-range:%.*s\n",
			 (int)strcspn(tag + 8, "\r"), tag + 8);
		assert_int_equal(want(fields, false, &file).status, 200);
	}
}

static void test_ranges(void **state)
{
	static const struct {
		const char *value, *want;
	} cases[] = {
		{ "bytes=0-", "0+100" }, { "bytes=0-0", "0+1" }, { "bytes=99-", "99+1" },
		{ "bytes=10-19", "10+10" }, { "Bytes=10-1000", "10+90" }, { "bytes=-1", "99+1" },
		{ "bytes=-1000", "0+100" }, { "bytes= 5-6", "5+2" }, { "bytes=,5-6,", "5+2" },
		{ "bytes=90-18446744073709551616", "90+10" },
		{ "bytes=-99999999999999999999999", "0+100" },
		{ "bytes=0-0,-1", "0+1 99+1" }, { "bytes=50-59 , 0-9\t,100-", "50+10 0+10" },
		{ "bytes=100-", "416" }, { "bytes=-0", "416" }, { "bytes=100-,200-300", "416" },
		{ "bytes=99999999999999999999999-", "416" },
		/* ignored */
		{ "bytes=", "200" }, { "bytes", "200" }, { "bytes=-", "200" }, { "bytes=5", "200" },
		{ "bytes=6-5", "200" }, { "bytes=a-b", "200" }, { "bytes=1-2x", "200" },
		{ "bytes=1 -2", "200" }, { "bytes=1-2;3-4", "200" }, { "lines=1-2", "200" },
		{ "bytes:1-2", "200" }, { "", "200" }, { "bytes=,", "200" }, { "bytes=0-99,0-", "200" },
		{ "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15,16-16", "200" },
	};
	struct http_file file = { .size = 100 };
	char fields[256], got[64];
	size_t i, n;
	unsigned int k;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		struct http_want w;

		snprintf(fields, sizeof(fields), "range:%s\n", cases[i].value);
		w = want(fields, false, &file);
		n = 0;
		if (w.status != 206)
			sprintf(got, "%d", w.status);
		for (k = 0; k < w.count; k++)
			n += sprintf(got + n, "%s%llu+%llu", k ? " " : "", (unsigned long long)w.ranges[k].first,
				     (unsigned long long)w.ranges[k].len);
		assert_string_equal(got, cases[i].want);
		assert_int_equal(want(fields, true, &file).status, 200);	/* HEAD has none */
	}
	assert_int_equal(want("range:bytes=0-1\nrange:bytes=3-4\n", false, &file).status, 200);
	file.size = 0;
	assert_int_equal(want("range:bytes=0-\n", false, &file).status, 200);
	assert_int_equal(want("range:bytes=-5\n", false, &file).status, 200);
}

static void test_parts(void **state)
{
	const struct http_range range = { UINT64_MAX - 20, 10 };
	char out[HTTP_PART_MAX];
	size_t len;

	(void)state;
	len = http_part_head(out, "b", "text/plain", &(struct http_range){ 3, 4 }, 9);
	assert_int_equal(len, strlen(out));
	assert_string_equal(out, "\r\n--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 3-6/9\r\n\r\n");
	assert_int_equal(http_part_head(out, "b", "x", NULL, 9), 9);
	assert_string_equal(out, "\r\n--b--\r\n");
	/* The longest fits */
	assert_true(http_part_head(out, "0123456789012345678901234567890123456789",
				   "012345678901234567890123456789012345678901234567890123456789", &range,
				   UINT64_MAX) < HTTP_PART_MAX);
}

static void test_canned(void **state)
{
	struct http_canned canned;
	struct http_request req = { .persist = HTTP_KEEP_ALIVE };
	char want[HTTP_HEAD_MAX + 8];
	const char *at;
	size_t len, head;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		if (i)
			assert_int_equal(http_canned_init(&canned, 200, "text/plain", "xxxxx", 5),
				0);
		else
			assert_int_equal(http_canned_fill(&canned, 200, "text/plain", 'x', 5), 0);
		for (req.persist = 0; req.persist < HTTP_PERSIST_COUNT; req.persist++) {
			head = http_response_head(want, sizeof(want), 200, 5, "text/plain",
						  req.persist, NULL);
			strcpy(want + head, "xxxxx");
			req.is_head = false;
			at = http_reply(&canned, &req, &len);
			assert_int_equal(len, head + 5);
			assert_memory_equal(at, want, len);
			req.is_head = true;
			at = http_reply(&canned, &req, &len);
			assert_int_equal(len, head);
			assert_memory_equal(at, want, len);
		}
		/* another date, where the old one was */
		memset((char *)canned.mem, '#', http_canned_size(&canned));
		http_canned_date(&canned);
		for (req.persist = 0; req.persist < HTTP_PERSIST_COUNT; req.persist++) {
			at = http_reply(&canned, &req, &len);
			head = canned.date_at[req.persist];
			assert_memory_equal(at + head, http_date_now(), HTTP_DATE_LEN);
			assert_true(at[head - 1] == '#' && at[head + HTTP_DATE_LEN] == '#');
		}
		http_canned_free(&canned);
	}
	assert_int_equal(http_canned_init(&canned, 204, NULL, NULL, 0), 0);
	http_canned_free(&canned);
}

static void test_error_responses(void **state)
{
	static const int statuses[] = { 400, 405, 413, 414, 417, 431, 500, 501, 505 };
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(statuses); i++) {
		struct http_request req = { .status = statuses[i] };
		char start[64], length[64];
		const char *at, *body;
		size_t len, head_len;

		at = http_reply(NULL, &req, &len);
		sprintf(start, "HTTP/1.1 %d %s\r\n", statuses[i], http_reason(statuses[i]));
		assert_memory_equal(at, start, strlen(start));
		body = strstr(at, "\r\n\r\n") + 4;
		assert_int_equal(len, strlen(at));
		sprintf(length, "Content-Length: %zu\r\n", strlen(body));
		assert_non_null(strstr(at, length));
		assert_non_null(strstr(at, "\r\nConnection: close\r\n"));
		assert_non_null(strstr(at, http_date_now()));
		assert_int_equal(!!strstr(at, "\r\nAllow: GET, HEAD, POST\r\n"),
			statuses[i] == 405);
		req.is_head = true;
		at = http_reply(NULL, &req, &head_len);
		assert_ptr_equal(at + head_len, body);
	}
}

static void test_target_path(void **state)
{
	static const struct {
		const char *target, *path;
	} good[] = {
		{ "/", "" }, { "/a", "a" }, { "/a/b.html", "a/b.html" }, { "/a/", "a/" },
		{ "//a///b//", "a/b/" }, { "/./a/./b", "a/b" }, { "/a/.", "a/" }, { "/.", "" },
		{ "/a%20b", "a b" }, { "/%61", "a" }, { "/a?b=/../c", "a" }, { "/a#/../c", "a" },
		{ "/a%2Fb", "a/b" }, { "/...", "..." }, { "/..a/b..", "..a/b.." }, { "/.a", ".a" },
		{ "/%252e%252e", "%2e%2e" }, { "/a%3Fb", "a?b" }, { "/?x", "" },
		{ "http://h/a", "a" }, { "HTTP://h:80/", "" }, { "/%C3%A9", "\xc3\xa9" },
		{ "/a\\..\\b", "a\\..\\b" },
	};
	static const char *const bad[] = {
		"", "*", "a", "a/b", "?", "/..", "/../", "/../etc/passwd", "/a/../b", "/a/..",
		"/a/../../b",
		"/%2e%2e", "/%2E%2e/x", "/.%2e/x", "/%2e./", "/a%2f..%2fb", "/%2f%2e%2e%2fetc",
		"/..?x",
		"/..#x", "/%00", "/a%00b", "/%", "/%2", "/%g0", "/%0g", "/a%", "/%-1", "/% 1",
		"http://h", "http://", "https://h/a", "//../a", "/./..", "/a/%2e%2e?",
	};
	char out[64], small[4];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(good); i++) {
		assert_int_equal(http_target_path(good[i].target, strlen(good[i].target), out,
						  sizeof(out)), strlen(good[i].path));
		assert_string_equal(out, good[i].path);
	}
	for (i = 0; i < COUNT(bad); i++) {
		/* of exactly its size, for ASan */
		size_t len = strlen(bad[i]);
		char *copy = malloc(len ? len : 1);

		memcpy(copy, bad[i], len);
		assert_int_equal(http_target_path(copy, len, out, sizeof(out)), -EINVAL);
		free(copy);
	}
	assert_int_equal(http_target_path("/a\0b", 4, out, sizeof(out)), -EINVAL);
	assert_int_equal(http_target_path("/abc", 4, small, sizeof(small)), 3);
	assert_int_equal(http_target_path("/abcd", 5, small, sizeof(small)), -ENAMETOOLONG);
	assert_int_equal(http_target_path("/", 1, small, 0), -ENAMETOOLONG);
	assert_int_equal(http_target_path("/", 1, small, 1), 0);
}

static void test_content_type(void **state)
{
	(void)state;
	assert_string_equal(http_content_type("a/b.html"), "text/html");
	assert_string_equal(http_content_type("B.TXT"), "text/plain");
	assert_string_equal(http_content_type("a.tar.gz"), "application/gzip");
	assert_string_equal(http_content_type("a.html/b"), "application/octet-stream");
	assert_string_equal(http_content_type(""), "application/octet-stream");
	assert_string_equal(http_content_type("a."), "application/octet-stream");
}

static uint32_t random_next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Noise, and good requests with some bytes changed: whole and in pieces must mean the same. */
static void test_fuzz(void **state)
{
	static const char *const seeds[] = {
		"GET /a/b?c HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n"
		"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"5\r\nhello\r\n0\r\nT: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
		"hello worldFOO / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nIf-None-Match: \"x\"\r\nRange: bytes=1-\r\nHost: a\r\n\r\n"
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"GET http://h/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /y HTTP/1.0\r\n\r\n",
	};
	static const char spice[] = "\r\n :;/?%.0123456789abcGETHPO\t\0\x7f\xff";
	uint32_t seed = 20161024;
	int round;

	(void)state;
	for (round = 0; round < 40000; round++) {
		char bytes[256], path[64];
		struct log whole, pieces;
		uint32_t r = random_next(&seed);
		size_t len, i, changes;

		if (r % 8) {
			const char *from = seeds[r / 8 % COUNT(seeds)];

			len = strlen(from);
			memcpy(bytes, from, len);
			changes = random_next(&seed) % 6;
			for (i = 0; i < changes; i++)
				bytes[random_next(&seed) % len] =
					spice[random_next(&seed) % sizeof(spice)];
		} else {
			len = 1 + random_next(&seed) % sizeof(bytes);
			for (i = 0; i < len; i++)
				bytes[i] = random_next(&seed);
		}
		feed_cut(&whole, bytes, len, len, len);
		feed_cut(&pieces, bytes, len, 1 + random_next(&seed) % len,
			 1 + random_next(&seed) % 16);
		assert_string_equal(whole.text, pieces.text);

		bytes[0] = '/';
		if (http_target_path(bytes, len, path,
			1 + random_next(&seed) % sizeof(path)) >= 0) {
			assert_true(path[0] != '/');
			assert_null(strstr(path, "/../"));
			assert_int_not_equal(strncmp(path, "../", 3), 0);
			assert_string_not_equal(path, "..");
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_incomplete),
		cmocka_unit_test(test_unfinished),
		cmocka_unit_test(test_persistence),
		cmocka_unit_test(test_pipelining),
		cmocka_unit_test(test_pipelining_many),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_body_limit),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_codings),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_fields_bounded),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_upgrade_ignored),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_many_fields),
		cmocka_unit_test(test_expect),
		cmocka_unit_test(test_response_head),
		cmocka_unit_test(test_canned),
		cmocka_unit_test(test_error_responses),
		cmocka_unit_test(test_target_path),
		cmocka_unit_test(test_content_type),
		cmocka_unit_test(test_fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
