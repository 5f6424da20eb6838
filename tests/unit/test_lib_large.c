// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_large.c - large buffers: where they are, what may be sent from them, how much is queued
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_kernel.h"

#define SLOTS	16u
#define SMALL	64u		/* the fake kernel's page */
#define LARGE	256u
#define POOL	8u

static const struct stackmap_options options = {
	.rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = 4, .pool_bufs = POOL, .send_max = 300,
	.large_size = LARGE, .large_bufs = 3,
};

static int setup(void **state)
{
	(void)state;
	fk_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(fk.violations, 0);
	fk_reset();
	return 0;
}

static void test_where(void **state)
{
	struct stackmap_port *port = stackmap_open("fake0", 0, &options);
	uint32_t first;

	(void)state;
	assert_non_null(port);
	first = stackmap_params(port)->large_first;
	assert_int_equal(first, 2 * SLOTS + 4 + POOL);
	assert_int_equal(stackmap_buf_size(port, 0), SMALL);
	assert_int_equal(stackmap_buf_size(port, first - 1), SMALL);
	assert_int_equal(stackmap_buf_size(port, first), LARGE);
	assert_int_equal(stackmap_buf_size(port, first + LARGE / SMALL), LARGE);
	assert_ptr_equal((char *)stackmap_buf(port, first + LARGE / SMALL),
			 (char *)stackmap_buf(port, first) + LARGE);
	/* What every buffer has */
	assert_int_equal(stackmap_frame_size(port), SMALL);
	stackmap_close(port);
}

static unsigned char text[LARGE];

/* A connection that takes 100 bytes, and a large buffer that came in a receive slot and was kept */
static struct stackmap_port *keep_one(const struct stackmap_options *opt, struct stackmap_conn *conn, uint32_t *buf)
{
	struct stackmap_port *port = stackmap_open("fake0", 0, opt);
	struct stackmap_slot *slot;
	uint32_t first, i;

	assert_non_null(port);
	for (i = 0; i < LARGE; i++)
		text[i] = (unsigned char)(i * 7);
	first = stackmap_params(port)->large_first;
	assert_int_equal(stackmap_conn_attach(conn, port, fk_socket(100)), 0);
	/* As the kernel hands one over; the slot's own becomes idle */
	slot = &fk.rx->slots[fk.rx->tail];
	fk.ours[slot->buf] = true;
	fk.idle[fk.idles++] = slot->buf;
	slot->buf = first;
	fk.ours[first] = false;
	fk_receive(conn->fd, text, LARGE);
	assert_int_equal(stackmap_sync(port, 0), 1);
	slot = stackmap_rx_next(port);
	assert_int_equal(slot->buf, first);
	assert_int_equal(slot->len, LARGE);
	assert_memory_equal(stackmap_rx_data(port, slot), text, LARGE);
	*buf = stackmap_keep(port, slot);
	assert_int_equal(*buf, first);
	assert_null(stackmap_rx_next(port));
	return port;
}

/* Until all is TCP's, 100 bytes at a time */
static void send_all(struct stackmap_port *port, struct stackmap_conn *conn)
{
	int i;

	for (i = 0; i < 20 && stackmap_conn_unsent(conn); i++) {
		stackmap_sync(port, 0);
		while (stackmap_rx_next(port))
			;
		fk_grow(conn->fd, 100);
	}
	assert_int_equal(fk_sock(conn->fd)->out.len, LARGE);
	assert_memory_equal(fk_sock(conn->fd)->out.p, text, LARGE);
	fk_ack_all();
}

/* More than may be queued at all would wait for ever */
static void test_send_max(void **state)
{
	struct stackmap_options opt = options;
	struct stackmap_conn conn = { 0 };
	struct stackmap_port *port;
	uint32_t buf;

	(void)state;
	opt.send_max = LARGE - 1;
	port = keep_one(&opt, &conn, &buf);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, LARGE, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, LARGE - 1, 0), 0);
	stackmap_conn_abort(&conn);
	stackmap_close(port);
}

/* With no buffer to spare the rest of it is copied, and goes on in pieces of other buffers' size */
static void test_no_spare(void **state)
{
	struct stackmap_conn conn = { 0 };
	struct stackmap_port *port;
	uint32_t buf, mine[8], n = 0;

	(void)state;
	port = keep_one(&options, &conn, &buf);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, LARGE, 0), 0);
	while (n < 8 && (mine[n] = stackmap_buf_take(port)) != STACKMAP_NO_BUF)
		n++;
	assert_true(n > 0 && n < 8);
	send_all(port, &conn);
	while (n)
		assert_int_equal(stackmap_buf_give(port, mine[--n]), 0);
	stackmap_conn_close(&conn);
	stackmap_close(port);
}

/* It is sent from: all of it, and no more */
static void test_sent_on(void **state)
{
	struct stackmap_conn conn = { 0 };
	struct stackmap_port *port;
	uint32_t first, buf, i;

	(void)state;
	port = keep_one(&options, &conn, &buf);
	first = stackmap_params(port)->large_first;
	for (i = 1; i < LARGE / SMALL; i++) {
		/* A number within it names nothing */
		assert_int_equal(stackmap_send_buf(&conn, first + i, 0, 1, 0), -1);
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, LARGE + 1, STACKMAP_TX_KEEP), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_send_buf(&conn, buf, LARGE, 1, STACKMAP_TX_KEEP), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, LARGE, STACKMAP_TX_KEEP), 0);
	assert_int_equal(stackmap_conn_room(&conn), 300 - LARGE);
	send_all(port, &conn);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	stackmap_conn_close(&conn);
	stackmap_close(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_where, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send_max, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_spare, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sent_on, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
