// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_keep.c - buffers sent with STACKMAP_TX_KEEP: giving them back at any
 * moment, and hearing when the peer has acknowledged
 *
 * The fake kernel compares what lies in a buffer when it is acknowledged with
 * what was sent from it: fk.violations.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_kernel.h"

#define SLOTS		16u
#define EXTRA		6u
#define SEND_MAX	4096u
#define PLENTY		1000000u
#define LEN		64u

static struct stackmap_port *port;
static struct stackmap_conn a, b;

static int open_port(uint32_t pool)
{
	struct stackmap_options opt = {
		.rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = EXTRA,
		.pool_bufs = pool, .send_max = SEND_MAX,
	};

	fk_reset();
	port = stackmap_open("fake0", 0, &opt);
	assert_non_null(port);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return open_port(0);
}

static int teardown(void **state)
{
	(void)state;
	fk_audit(port, NULL, 0);
	fk_ack_all();
	stackmap_close(port);
	assert_int_equal(fk.violations, 0);
	fk_reset();
	return 0;
}

static void connect_one(struct stackmap_conn *conn, size_t room)
{
	assert_int_equal(stackmap_conn_attach(conn, port, fk_socket(room)), 0);
}

/* Sync, and return what events there were, all together */
static unsigned int sync_events(void)
{
	struct stackmap_slot *slot;
	unsigned int events = 0;

	assert_true(stackmap_sync(port, 0) >= 0);
	while ((slot = stackmap_rx_next(port)))
		events |= slot->flags;
	return events;
}

static uint32_t filled(char c)
{
	uint32_t buf = stackmap_buf_take(port);

	assert_int_not_equal(buf, STACKMAP_NO_BUF);
	memset(stackmap_buf(port, buf), c, LEN);
	return buf;
}

static void lend(struct stackmap_conn *conn, uint32_t buf)
{
	assert_int_equal(stackmap_send_buf(conn, buf, 0, LEN, STACKMAP_TX_KEEP),
			 0);
}

static void assert_out(const struct stackmap_conn *conn, char c, size_t n)
{
	const struct fk_bytes *out = &fk_sock(conn->fd)->out;

	assert_int_equal(out->len, n * LEN);
	for (size_t i = 0; i < out->len; i++)
		assert_int_equal(out->p[i], c);
}

static int polls;

static int poll_parked(int timeout_ms)
{
	/* Once the kernel has idle buffers nothing is left to be looked for */
	assert_int_equal(timeout_ms, port->parked ? 100 : -1);
	polls++;
	if (timeout_ms < 0) {
		errno = EINTR;
		return -1;
	}
	fk_ack_all();
	return 0;
}

/* Nobody tells when a buffer that was given back is idle: a wait looks */
static void test_wait_parked(void **state)
{
	uint32_t buf[3];

	(void)state;
	polls = 0;
	stackmap_close(port);
	open_port(1);
	connect_one(&a, PLENTY);
	for (int i = 0; i < 3; i++)
		lend(&a, buf[i] = filled('A'));
	for (int i = 0; i < 3; i++)
		assert_int_equal(stackmap_buf_give(port, buf[i]), 0);
	fk.poll = poll_parked;
	assert_int_equal(stackmap_wait(port, -1), -1);
	assert_int_equal(errno, EINTR);
	/* Where it had none, it is asked for one at a time */
	assert_int_equal(polls, 3);
	assert_int_equal(fk.returned_not, 2);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	assert_int_equal(port->parked, 0);
}

/* What the program shared/repro/keep/hazard.c does, on the documentation's word */
static void test_hazard(void **state)
{
	static char bs[SEND_MAX];
	static struct stackmap_conn c;
	uint32_t buf[EXTRA];

	(void)state;
	memset(bs, 'B', sizeof(bs));
	connect_one(&a, PLENTY);
	connect_one(&b, 0);
	connect_one(&c, PLENTY);
	for (uint32_t i = 0; i < EXTRA; i++)
		lend(&a, buf[i] = filled('A'));
	sync_events();
	for (uint32_t i = 0; i < EXTRA; i++)
		assert_int_equal(stackmap_buf_give(port, buf[i]), 0);
	for (uint32_t i = 0; i < EXTRA; i++)
		assert_int_not_equal(port->bufs[buf[i]].owner, BUF_SPARE);
	/* b has no room: its slots take what is spare; c's bytes go to them then */
	for (int i = 0; i < 4; i++) {
		stackmap_send(&b, bs, sizeof(bs));
		sync_events();
		stackmap_send(&c, bs, sizeof(bs));
		sync_events();
	}
	assert_out(&a, 'A', EXTRA);
	fk_ack_all();
	assert_int_equal(fk.violations, 0);
	assert_int_equal(fk.returned_busy, EXTRA);
}

/* Given back at once, in every order with syncs, room and acknowledgements */
static void test_give_anywhere(void **state)
{
	(void)state;
	for (unsigned int room = 0; room <= 3 * LEN; room += LEN / 2) {
		for (unsigned int when = 0; when < 5; when++) {
			uint32_t buf = filled('k');

			connect_one(&a, room);
			for (int i = 0; i < 3; i++)
				lend(&a, buf);
			for (unsigned int step = 0; step < 12; step++) {
				if (step == when)
					assert_int_equal(stackmap_buf_give(port, buf), 0);
				fk_audit(port, &buf, step < when);
				if (step == 2 && (when & 1))
					fk_ack_all();
				if (step == 3)
					fk_grow(a.fd, 3 * LEN);
				sync_events();
			}
			assert_out(&a, 'k', 3);
			fk_ack_all();
			assert_int_equal(stackmap_buf_spares(port), EXTRA);
			assert_int_equal(stackmap_conn_close(&a), 0);
			assert_int_equal(fk.violations, 0);
		}
	}
}

/* One that is idle comes back as it is */
static void test_give_idle(void **state)
{
	uint32_t buf = filled('i');

	(void)state;
	connect_one(&a, PLENTY);
	lend(&a, buf);
	sync_events();
	fk_ack_all();
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	sync_events();
	assert_int_equal(fk.returned, 1);
	assert_int_equal(port->bufs[buf].owner, BUF_SPARE);
	assert_int_equal(port->bufs[buf].lent, false);
	/* and is like any other: it becomes spare at once */
	while (stackmap_buf_take(port) != buf)
		;
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	assert_int_equal(port->bufs[buf].owner, BUF_SPARE);
	for (uint32_t i = 0; i < fk.reg.frames; i++)
		stackmap_buf_give(port, i);
}

/* The kernel has no idle buffer: it is asked again, and nothing is lost or used */
static void test_return_refused(void **state)
{
	uint32_t buf[4];

	(void)state;
	stackmap_close(port);
	open_port(1);
	connect_one(&a, PLENTY);
	connect_one(&b, PLENTY);
	for (int i = 0; i < 4; i++)
		lend(&a, buf[i] = filled('A'));
	sync_events();
	for (int i = 0; i < 4; i++)
		assert_int_equal(stackmap_buf_give(port, buf[i]), 0);
	for (int round = 0; round < 40; round++) {
		/* others go on meanwhile, and it does not keep anyone awake */
		assert_int_equal(stackmap_send(&b, "0123456789", 10), 10);
		assert_int_equal(stackmap_idle(port), 0);
		assert_int_equal(stackmap_buf_spares(port), EXTRA - 4);
		fk_audit(port, NULL, 0);
	}
	assert_int_equal(fk_sock(b.fd)->out.len, 400);
	assert_true(fk.returned_not >= 40 && fk.returned_not <= 50);
	fk_ack_all();
	for (int i = 0; i < 4; i++)
		sync_events();
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	assert_int_equal(port->parked, 0);
}

/* With a ring that queues fill at every sync there is a place for it as well */
static void test_return_full_ring(void **state)
{
	static char text[SEND_MAX];
	uint32_t buf = filled('f');

	(void)state;
	connect_one(&a, PLENTY);
	connect_one(&b, PLENTY);
	lend(&b, buf);
	sync_events();
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	for (int i = 0; i < 4; i++) {
		stackmap_send(&a, text, sizeof(text));
		stackmap_send(&b, text, sizeof(text));
		sync_events();
	}
	assert_int_equal(fk.returned + fk.returned_busy, 1);
}

/* Sent on after it was lent, as if it were one's own: nobody gets it while it is not idle */
static void test_lent_then_sent(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		uint32_t buf = filled('s');

		connect_one(&a, how & 1 ? 0 : PLENTY);
		connect_one(&b, PLENTY);
		lend(&a, buf);
		if (how & 2)
			sync_events();
		assert_int_equal(stackmap_send_buf(&b, buf, 0, LEN, 0), 0);
		assert_int_equal(stackmap_buf_give(port, buf), -1);
		sync_events();
		sync_events();
		fk_grow(a.fd, PLENTY);
		sync_events();
		sync_events();
		sync_events();
		assert_out(&a, 's', 1);
		assert_out(&b, 's', 1);
		stackmap_conn_abort(&a);
		stackmap_conn_abort(&b);
		fk_ack_all();
		assert_int_equal(stackmap_buf_spares(port), EXTRA);
	}
}

/* Closed with kept data in the ring, queued, and on its way; then given back */
static void test_close(void **state)
{
	static struct stackmap_conn conn;

	(void)state;
	for (int how = 0; how < 6; how++) {
		uint32_t buf = filled('c');
		int fd;

		fk.closes = 0;
		connect_one(&conn, how & 1 ? 0 : PLENTY);
		fd = conn.fd;
		lend(&conn, buf);
		if (how >= 2)
			sync_events();
		if (how & 1)
			lend(&conn, buf);
		if (how < 4) {
			assert_int_equal(stackmap_conn_close(&conn), 0);
			memset(&conn, 0xdd, sizeof(conn));
		} else {
			stackmap_conn_abort(&conn);
		}
		assert_int_equal(stackmap_buf_give(port, buf), 0);
		sync_events();
		if (how < 4 && (how & 1)) {
			assert_int_equal(fk.closes, 0);
			fk_grow(fd, PLENTY);
		}
		sync_events();
		sync_events();
		sync_events();
		assert_int_equal(fk.closes, 1);
		assert_int_equal(stackmap_buf_spares(port), EXTRA);
		fk_ack_all();
		assert_int_equal(fk.violations, 0);
	}
	/* and the port with all of that */
	connect_one(&a, 0);
	connect_one(&b, PLENTY);
	lend(&a, filled('p'));
	lend(&b, filled('p'));
	sync_events();
	for (uint32_t i = 0; i < fk.reg.frames; i++)
		stackmap_buf_give(port, i);
}

/* Slots that the program fills itself */
static void test_raw(void **state)
{
	int fd = fk_socket(LEN);
	uint32_t buf = filled('r');
	struct stackmap_slot *slot;

	(void)state;
	stackmap_attach(port, fd, 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(stackmap_tx_commit_buf(port, fd, buf, 0, LEN,
							STACKMAP_TX_KEEP, 0), 0);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	sync_events();
	slot = stackmap_next_refused(port);
	assert_non_null(slot);
	/* it is still to be read, but no longer the caller's */
	assert_int_equal(*(char *)stackmap_rx_data(port, slot), 'r');
	assert_int_equal(stackmap_keep(port, slot), STACKMAP_NO_BUF);
	assert_int_equal(errno, EINVAL);
	assert_null(stackmap_next_refused(port));
	sync_events();
	sync_events();
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	/* one's own, after it was lent */
	buf = filled('o');
	fk_grow(fd, LEN);
	assert_int_equal(stackmap_tx_commit_buf(port, fd, buf, 0, LEN,
						STACKMAP_TX_KEEP, 0), 0);
	sync_events();
	assert_int_equal(stackmap_tx_commit_buf(port, fd, buf, 0, LEN, 0, 0), 0);
	assert_int_equal(stackmap_buf_give(port, buf), -1);
	sync_events();
	sync_events();
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
}

/* A module which does not know: never used again, but nothing else happens */
static void test_old_module(void **state)
{
	uint32_t buf = filled('o');

	(void)state;
	fk.old = true;
	connect_one(&a, PLENTY);
	lend(&a, buf);
	sync_events();
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	for (int i = 0; i < 5; i++)
		sync_events();
	assert_int_equal(stackmap_buf_spares(port), EXTRA - 1);
	assert_int_equal(fk.tx->refused, 0);
	assert_int_equal(stackmap_conn_error(&a), 0);
}

/* Asked with everything in the ring, in the queue, or nothing anywhere */
static void test_acked(void **state)
{
	static char text[600];
	uint64_t sent = 0;

	(void)state;
	connect_one(&a, PLENTY);
	assert_int_equal(stackmap_conn_tell_acked(&a), 0);
	assert_int_equal(sync_events(), STACKMAP_RX_ACKED);
	assert_int_equal(stackmap_conn_acked(&a), 0);
	for (unsigned int room = 0; room < 700; room += 50) {
		fk_sock(a.fd)->room = room;
		assert_int_equal(stackmap_send(&a, text, sizeof(text)),
				 sizeof(text));
		assert_int_equal(stackmap_conn_tell_acked(&a), 0);
		sent += sizeof(text);
		/* what is sent after it does not hold it up */
		assert_int_equal(stackmap_send(&a, text, 1), 1);
		assert_int_equal(sync_events() & STACKMAP_RX_ACKED, 0);
		fk_grow(a.fd, PLENTY);
		for (int i = 0; i < 3; i++)
			assert_int_equal(sync_events() & STACKMAP_RX_ACKED, 0);
		assert_true(stackmap_conn_acked(&a) < sent);
		fk_ack_all();
		assert_int_equal(sync_events(), STACKMAP_RX_ACKED);
		assert_int_equal(stackmap_conn_acked(&a), ++sent);
	}
	/* with a buffer; asked twice; after nothing more is sent */
	lend(&a, filled('x'));
	assert_int_equal(stackmap_conn_tell_acked(&a), 0);
	assert_int_equal(stackmap_send_buf(&a, filled('y'), 0, LEN,
					   STACKMAP_TX_ACKED), 0);
	assert_int_equal(stackmap_conn_shutdown(&a), 0);
	assert_int_equal(stackmap_conn_tell_acked(&a), 0);
	sync_events();
	assert_true(fk_sock(a.fd)->shut);
	fk_ack_all();
	assert_int_equal(sync_events(), STACKMAP_RX_ACKED);
	assert_int_equal(stackmap_conn_acked(&a), sent + 2 * LEN);
	for (uint32_t i = 0; i < fk.reg.frames; i++)
		stackmap_buf_give(port, i);
	/* it is a full ring that this waits for, too */
	connect_one(&b, PLENTY);
	assert_int_equal(stackmap_send(&b, text, 600), 600);
	assert_int_equal(stackmap_send(&b, text, 600), 600);
	assert_int_equal(stackmap_tx_room(port), 0);
	connect_one(&a, PLENTY);
	fk.malloc_in = 1;
	assert_int_equal(stackmap_conn_tell_acked(&a), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(stackmap_conn_tell_acked(&a), 0);
	assert_int_equal(stackmap_conn_close(&a), 0);
}

/* The kernel tells 32 bits: more bytes than that are counted rightly */
static void test_acked_wraps(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	connect_one(&a, PLENTY);
	for (int i = 0; i < 7; i++) {
		assert_int_equal(stackmap_send(&a, "x", 1), 1);
		stackmap_conn_tell_acked(&a);
		sync_events();
		fk_ack_all();
		/* as if the socket had sent so many before */
		fk_sock(a.fd)->base -= 0xc0000000u;
		bytes += 0xc0000001u;
		assert_int_equal(sync_events(), STACKMAP_RX_ACKED);
		assert_true(stackmap_conn_acked(&a) == bytes);
	}
	/* a connection that has begun anew, and another one of that number */
	fk_sock(a.fd)->events = STACKMAP_RX_CONNECTED;
	sync_events();
	assert_int_equal(stackmap_conn_acked(&a), 0);
	assert_int_equal(stackmap_conn_close(&a), 0);
	connect_one(&a, PLENTY);
	assert_int_equal(stackmap_conn_acked(&a), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_hazard),
		TEST(test_wait_parked),
		TEST(test_give_anywhere),
		TEST(test_give_idle),
		TEST(test_return_refused),
		TEST(test_return_full_ring),
		TEST(test_lent_then_sent),
		TEST(test_close),
		TEST(test_raw),
		TEST(test_old_module),
		TEST(test_acked),
		TEST(test_acked_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
