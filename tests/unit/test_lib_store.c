// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_store.c - the store of man 3 stackmap_send: values are replaced and
 * deleted while clients are being sent them, and every client gets what was there
 * when it asked
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "fake_kernel.h"
#include "man_store.h"

#define VALUES	8u
#define CLIENTS	12u
#define STEPS	60000

static struct stackmap_port *port;
static struct value values[VALUES];
static unsigned char model[VALUES][64];
static struct stackmap_conn clients[CLIENTS];
static struct fk_bytes expected[CLIENTS];
static size_t gets, sets, full, none;

static void get(size_t c, size_t v)
{
	struct value *value = &values[v];

	if (store_get(value, &clients[c])) {
		assert_int_equal(errno, value->buf == STACKMAP_NO_BUF ? ENOENT :
									EAGAIN);
		none += errno == ENOENT;
		full += errno == EAGAIN;
		return;
	}
	fk_append(&expected[c], model[v], value->len);
	gets++;
}

static void set(size_t v)
{
	unsigned char data[64];
	uint32_t len = 1 + fk_rand(sizeof(data));

	for (uint32_t i = 0; i < len; i++)
		data[i] = (unsigned char)fk_rand(256);
	if (store_set(port, &values[v], data, len)) {
		assert_int_equal(errno, ENOBUFS);
		return;
	}
	memcpy(model[v], data, len);
	sets++;
}

static void sync_all(void)
{
	assert_true(stackmap_sync(port, 0) >= 0);
	while (stackmap_rx_next(port))
		;
	while (stackmap_next_writable(port))
		;
}

static void step(void)
{
	unsigned int what = fk_rand(100);
	size_t c = fk_rand(CLIENTS), v = fk_rand(VALUES);

	if (what < 50)
		get(c, v);
	else if (what < 70)
		set(v);
	else if (what < 75)
		store_delete(port, &values[v]);
	else if (what < 90)
		sync_all();
	else
		fk_grow(clients[c].fd, fk_rand(200));
}

static void test_store(void **state)
{
	struct stackmap_options opt = {
		.rx_slots = 16, .tx_slots = 32, .extra_bufs = 3 * VALUES,
		.pool_bufs = 40, .send_max = 1000,
	};

	(void)state;
	fk_reset();
	fk.random = true;
	port = stackmap_open("fake0", 0, &opt);
	assert_non_null(port);
	for (size_t v = 0; v < VALUES; v++)
		values[v].buf = STACKMAP_NO_BUF;
	assert_int_equal(store_set(port, &values[0], "x", 65), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(store_set(port, &values[0], "x", 0), -1);
	for (size_t c = 0; c < CLIENTS; c++)
		assert_int_equal(stackmap_conn_attach(&clients[c], port,
						      fk_socket(100)), 0);
	for (int i = 0; i < STEPS; i++)
		step();
	for (int round = 0; round < 200; round++) {
		for (size_t c = 0; c < CLIENTS; c++)
			fk_grow(clients[c].fd, 1000);
		sync_all();
	}
	for (size_t c = 0; c < CLIENTS; c++) {
		struct fk_bytes *out = &fk_sock(clients[c].fd)->out;

		assert_int_equal(out->len, expected[c].len);
		assert_memory_equal(out->p, expected[c].p, out->len);
		free(expected[c].p);
		assert_int_equal(stackmap_conn_close(&clients[c]), 0);
	}
	for (size_t v = 0; v < VALUES; v++)
		store_delete(port, &values[v]);
	fk_ack_all();
	sync_all();
	sync_all();
	/* all that was deleted is spare again */
	assert_int_equal(stackmap_buf_spares(port), opt.extra_bufs);
	assert_true(gets > 5000 && sets > 4000 && full > 20 && none > 100);
	fk_audit(port, NULL, 0);
	stackmap_close(port);
	/* nobody saw a buffer change before it was acknowledged */
	assert_int_equal(fk.violations, 0);
	fk_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
