// SPDX-License-Identifier: GPL-2.0
/*
 * test_binary.c - unit tests of apps/binary.h (cmocka; CMOCKA_MESSAGE_OUTPUT=TAP for TAP).
 *
 * Pieces are fed from allocations of exactly their size, so that ASan sees a read past the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "binary.h"

#define MAX	100000

struct log {
	uint64_t wanted[8];
	unsigned int count;
	unsigned int pause_at;	/* stop at so many */
};

static int on_request(void *arg, const struct http_request *req)
{
	struct log *log = arg;

	assert_int_equal(req->status, 0);
	assert_true(log->count < 8);
	log->wanted[log->count++] = req->body_len;
	return log->count == log->pause_at;
}

static void request(char *at, uint64_t len)
{
	memcpy(at, BINARY_MAGIC, 8);
	memcpy(at + 8, &len, 8);
}

static size_t feed(struct binary_conn *conn, const char *at, size_t len, struct log *log)
{
	char *piece = malloc(len ? len : 1);
	size_t used;

	memcpy(piece, at, len);
	used = binary_feed(conn, piece, len, MAX, on_request, log);
	free(piece);
	return used;
}

/* Three requests, cut in three at every two places */
static void test_pieces(void **state)
{
	char bytes[3 * BINARY_REQUEST];
	size_t a, b;

	(void)state;
	request(bytes, 1);
	request(bytes + 16, MAX);
	request(bytes + 32, 64);
	for (a = 0; a <= sizeof(bytes); a++) {
		for (b = a; b <= sizeof(bytes); b++) {
			struct binary_conn conn = { 0 };
			struct log log = { .count = 0 };

			assert_int_equal(feed(&conn, bytes, a, &log), a);
			assert_int_equal(feed(&conn, bytes + a, b - a, &log), b - a);
			assert_int_equal(feed(&conn, bytes + b, sizeof(bytes) - b, &log),
					 sizeof(bytes) - b);
			assert_int_equal(log.count, 3);
			assert_int_equal(log.wanted[0], 1);
			assert_int_equal(log.wanted[1], MAX);
			assert_int_equal(log.wanted[2], 64);
			assert_false(conn.done);
		}
	}
}

/* The handler stops it: the rest is fed again, also when the first was cut */
static void test_stop(void **state)
{
	char bytes[3 * BINARY_REQUEST];
	size_t cut, used;

	(void)state;
	request(bytes, 1);
	request(bytes + 16, 2);
	request(bytes + 32, 3);
	for (cut = 0; cut < BINARY_REQUEST; cut++) {
		struct binary_conn conn = { 0 };
		struct log log = { .pause_at = 1 };

		assert_int_equal(feed(&conn, bytes, cut, &log), cut);
		used = feed(&conn, bytes + cut, sizeof(bytes) - cut, &log);
		assert_int_equal(used, BINARY_REQUEST - cut);
		log.pause_at = 0;
		assert_int_equal(feed(&conn, bytes + 16, 32, &log), 32);
		assert_int_equal(log.count, 3);
		assert_int_equal(log.wanted[2], 3);
	}
}

static void test_bad(void **state)
{
	static const uint64_t bad[] = { 0, MAX + 1, UINT64_MAX };
	char bytes[2 * BINARY_REQUEST];
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		struct binary_conn conn = { 0 };
		struct log log = { .count = 0 };

		request(bytes, i < 3 ? bad[i] : 64);
		if (i == 3)
			bytes[3] ^= 1;
		request(bytes + 16, 64);
		assert_int_equal(feed(&conn, bytes, sizeof(bytes), &log), sizeof(bytes));
		assert_true(conn.done);
		assert_int_equal(log.count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
