// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_send.c - the send queues of connections
 */
#include <limits.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_kernel.h"

#define SLOTS		16u
#define EXTRA		2u
#define SEND_MAX	512u
#define PLENTY		1000000u

/*
 * Connections are static, as those that a test leaves attached must still exist
 * when its port is closed.
 */
static struct stackmap_port *port;
static char text[4096];

static int setup(void **state)
{
	struct stackmap_options opt = {
		.rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = EXTRA,
		.send_max = SEND_MAX, .linger_ms = 1,
	};

	(void)state;
	fk_reset();
	port = stackmap_open("fake0", 0, &opt);
	assert_non_null(port);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('0' + i * 7 % 61);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fk_audit(port, NULL, 0);
	stackmap_close(port);
	assert_int_equal(fk.violations, 0);
	fk_reset();
	return 0;
}

static void connect_one(struct stackmap_conn *conn, size_t room)
{
	assert_int_equal(stackmap_conn_attach(conn, port, fk_socket(room)), 0);
	assert_int_equal(stackmap_conn_room(conn), SEND_MAX);
}

/* Everything that has come, so that events are seen */
static void look(void)
{
	while (stackmap_rx_next(port))
		;
}

static void sync_and_look(void)
{
	assert_true(stackmap_sync(port, 0) >= 0);
	look();
}

static void assert_out(int fd, const void *p, size_t len)
{
	assert_int_equal(fk_sock(fd)->out.len, len);
	assert_memory_equal(fk_sock(fd)->out.p, p, len);
}

static void test_attach(void **state)
{
	static struct stackmap_conn conn, other;

	(void)state;
	assert_true(sizeof(conn) <= 96);
	assert_int_equal(stackmap_conn_attach(&conn, port, -1), -1);
	assert_int_equal(errno, EBADF);
	connect_one(&conn, PLENTY);
	assert_int_equal(stackmap_conn_attach(&other, port, conn.fd), -1);
	assert_int_equal(errno, EALREADY);
	assert_int_equal(stackmap_detach(port, conn.fd), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(stackmap_send(&conn, "x", 1), 1);
	assert_int_equal(stackmap_conn_detach(&conn), -1);
	assert_int_equal(errno, EBUSY);
	sync_and_look();
	fk.ioctl_errno[3] = ENODEV;
	assert_int_equal(stackmap_conn_detach(&conn), -1);
	assert_int_equal(errno, ENODEV);
	assert_int_equal(stackmap_conn_detach(&conn), stackmap_conn_fd(&conn));
	assert_int_equal(fk.closes, 0);
}

static void test_send(void **state)
{
	static struct stackmap_conn conn;

	(void)state;
	connect_one(&conn, PLENTY);
	assert_int_equal(stackmap_send(&conn, text, 0), 0);
	assert_int_equal(stackmap_send(&conn, text, 300), 300);
	assert_int_equal(stackmap_conn_unsent(&conn), 300);
	assert_int_equal(stackmap_conn_room(&conn), SEND_MAX - 300);
	assert_int_equal(stackmap_send(&conn, text + 300, 300),
			 SEND_MAX - 300);
	assert_int_equal(stackmap_send(&conn, text, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_null(stackmap_next_writable(port));
	sync_and_look();
	assert_out(conn.fd, text, SEND_MAX);
	assert_int_equal(stackmap_conn_unsent(&conn), 0);
	assert_ptr_equal(stackmap_next_writable(port), &conn);
	assert_null(stackmap_next_writable(port));
	stackmap_want_writable(&conn);
	assert_int_equal(stackmap_sync(port, 100), 1);
	assert_int_equal(fk.last_wait_us, 0);
	assert_int_equal(stackmap_wait(port, -1), 1);
	/* a connection which has sent meanwhile is shown later */
	assert_int_equal(stackmap_send(&conn, text, 400), 400);
	assert_null(stackmap_next_writable(port));
	sync_and_look();
	assert_ptr_equal(stackmap_next_writable(port), &conn);
}

static void test_send_buf_errors(void **state)
{
	static struct stackmap_conn conn;
	uint32_t buf = stackmap_buf_take(port);

	(void)state;
	connect_one(&conn, 0);
	assert_int_equal(stackmap_send_buf(&conn, 1 << 20, 0, 1, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, 0, 0), -1);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, 65, 0), -1);
	assert_int_equal(stackmap_send_buf(&conn, buf, 64, 1, 0), -1);
	assert_int_equal(stackmap_send_buf(&conn, buf, UINT32_MAX, 2, 0), -1);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, 1, 4), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_send(&conn, text, 470), 470);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, 43, 0), -1);
	assert_int_equal(errno, EAGAIN);
	sync_and_look();
	fk.malloc_in = 1;
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, 42, 0), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(stackmap_send_buf(&conn, buf, 0, 42, 0), 0);
	stackmap_conn_abort(&conn);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
}

/*
 * Two connections take turns in the ring; one of them is out of room after any
 * number of bytes, and has room again in pieces of any size
 */
static void test_refused_anywhere(void **state)
{
	uint32_t mine[EXTRA];

	(void)state;
	for (unsigned int room = 0; room <= 160; room += 5) {
		for (unsigned int piece = 7; piece <= 175; piece += 24) {
			static struct stackmap_conn slow, fast;
			uint32_t lent = mine[0] = stackmap_buf_take(port);
			uint32_t n = 0;

			/* with a spare buffer, and without */
			if (room & 1)
				mine[++n] = stackmap_buf_take(port);
			memcpy(stackmap_buf(port, lent), text + 50, 20);
			connect_one(&slow, room);
			connect_one(&fast, PLENTY);
			assert_int_equal(stackmap_send(&slow, text, 50), 50);
			assert_int_equal(stackmap_send(&fast, text, 33), 33);
			assert_int_equal(stackmap_send_buf(&slow, lent, 0, 20,
						STACKMAP_TX_KEEP), 0);
			assert_int_equal(stackmap_send(&slow, text + 70, 90), 90);
			assert_int_equal(stackmap_send(&fast, text + 33, 33), 33);
			sync_and_look();
			assert_out(slow.fd, text, room);
			assert_out(fast.fd, text, 66);
			assert_int_equal(stackmap_conn_unsent(&slow), 160 - room);
			assert_int_equal(stackmap_send(&slow, text + 160, 40), 40);
			for (unsigned int got = room; got < 200; got += piece) {
				fk_audit(port, mine, 1 + n);
				fk_grow(slow.fd, piece);
				sync_and_look();
				sync_and_look();
			}
			assert_out(slow.fd, text, 200);
			stackmap_conn_abort(&slow);
			stackmap_conn_abort(&fast);
			fk_ack_all();
			for (; n; n--)
				stackmap_buf_give(port, mine[n]);
			assert_int_equal(stackmap_buf_give(port, lent), 0);
			sync_and_look();
		}
	}
}

/* Who is blocked waits for room, and costs a sync nothing */
static void test_blocked_rests(void **state)
{
	static struct stackmap_conn conn;

	(void)state;
	connect_one(&conn, 0);
	assert_int_equal(stackmap_send(&conn, text, 600), SEND_MAX);
	sync_and_look();
	assert_true(fk.tx->refused > 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(stackmap_idle(port), 0);
		assert_int_equal(fk.tx->refused, 0);
		assert_int_equal(port->tx_cur, port->tx_sent);
	}
	assert_null(port->pending.first);
	assert_null(stackmap_next_writable(port));
	fk_grow(conn.fd, 300);
	sync_and_look();
	assert_null(stackmap_next_writable(port));
	sync_and_look();
	assert_out(conn.fd, text, 300);
}

static void test_error(void **state)
{
	static struct stackmap_conn a, b, c;

	(void)state;
	/* told by a refused slot, in the middle of others */
	connect_one(&a, PLENTY);
	connect_one(&b, PLENTY);
	fk_sock(a.fd)->tx_err = EPIPE;
	stackmap_send(&a, text, 200);
	stackmap_send(&b, text, 200);
	stackmap_send(&a, text, 200);
	assert_int_equal(stackmap_sync(port, 0), 1);
	assert_ptr_equal(stackmap_next_writable(port), &a);
	assert_int_equal(stackmap_conn_error(&a), EPIPE);
	assert_int_equal(stackmap_send(&a, text, 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(stackmap_send_buf(&a, 0, 0, 1, 0), -1);
	assert_int_equal(errno, EPIPE);
	stackmap_want_writable(&a);
	assert_ptr_equal(stackmap_next_writable(port), &a);
	assert_out(b.fd, text, 200);
	/* told by an event, with something queued */
	connect_one(&c, 10);
	stackmap_send(&c, text, 200);
	sync_and_look();
	assert_int_equal(stackmap_conn_unsent(&c), 190);
	fk_sock(c.fd)->events = STACKMAP_RX_ERROR;
	fk_sock(c.fd)->err = ETIMEDOUT;
	sync_and_look();
	assert_int_equal(stackmap_conn_error(&c), ETIMEDOUT);
	assert_int_equal(stackmap_conn_unsent(&c), 0);
	assert_ptr_equal(stackmap_next_writable(port), &c);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	assert_int_equal(stackmap_conn_close(&a), 0);
	assert_int_equal(stackmap_conn_close(&b), 0);
	assert_int_equal(stackmap_conn_detach(&c), stackmap_conn_fd(&c));
	assert_int_equal(fk.closes, 2);
}

static void test_no_memory(void **state)
{
	static struct stackmap_conn a, b;
	uint32_t x = stackmap_buf_take(port), y = stackmap_buf_take(port);

	(void)state;
	for (int spares = 0; spares < 2; spares++) {
		connect_one(&a, 10);
		stackmap_send(&a, text, 30);
		fk.malloc_in = 1;
		sync_and_look();
		assert_int_equal(stackmap_conn_error(&a), ENOMEM);
		stackmap_conn_abort(&a);
		connect_one(&b, 0);
		stackmap_send(&b, text, 1);
		sync_and_look();
		fk.malloc_in = 1;
		/* the rest of the heap chunk or buffer has room for some */
		assert_int_equal(stackmap_send(&b, text, 100), spares ? 63 : -1);
		fk.malloc_in = 1;
		assert_int_equal(stackmap_send(&b, text, 1), -1);
		assert_int_equal(errno, ENOMEM);
		fk.malloc_in = 1;
		assert_int_equal(stackmap_conn_close(&b), -1);
		assert_int_equal(errno, ENOMEM);
		if (!spares)
			assert_int_equal(stackmap_buf_give(port, x), 0);
	}
	assert_int_equal(stackmap_buf_give(port, y), 0);
}

/* With a full ring, everyone gets a turn, and those cut short wait for theirs */
static void test_fairness(void **state)
{
	static struct stackmap_conn conn[6];
	size_t least, most;

	(void)state;
	for (int i = 0; i < 6; i++) {
		connect_one(&conn[i], PLENTY);
		assert_int_equal(stackmap_send(&conn[i], text, 400), 400);
	}
	assert_int_equal(stackmap_tx_room(port), 0);
	for (int turn = 0; turn < 60; turn++) {
		assert_true(stackmap_sync(port, 0) >= 0);
		for (int i = 0; i < 6; i++) {
			stackmap_send(&conn[i], text, 400);
			assert_true(stackmap_conn_unsent(&conn[i]) <= SEND_MAX);
		}
	}
	least = SIZE_MAX;
	most = 0;
	for (int i = 0; i < 6; i++) {
		size_t n = fk_sock(conn[i].fd)->out.len;

		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	/* within a fifth of one another: shares are whole slots */
	assert_true(most - least <= most / 5);
	assert_int_equal(stackmap_idle(port), 6);
	for (int i = 0; i < 6; i++)
		stackmap_conn_abort(&conn[i]);
}

/* A sleep must not leave in the ring what queues have put there */
static void test_idle_flushes(void **state)
{
	static struct stackmap_conn conn[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		connect_one(&conn[i], PLENTY);
		assert_int_equal(stackmap_send(&conn[i], text, 500), 500);
	}
	assert_int_equal(stackmap_idle(port), 0);
	assert_true(fk.syncs >= 3);
	for (int i = 0; i < 4; i++)
		assert_out(conn[i].fd, text, 500);
}

/* A program that sends much more than fits, to readers of different speeds */
static void test_pull(void **state)
{
	static struct stackmap_conn conn[3];
	struct stackmap_conn *c;
	size_t sent[3] = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		connect_one(&conn[i], 100);
		stackmap_want_writable(&conn[i]);
	}
	for (int turn = 0; turn < 500; turn++) {
		while ((c = stackmap_next_writable(port))) {
			size_t i = (size_t)(c - conn);
			ssize_t n = stackmap_send(c, text + sent[i],
						  sizeof(text) - sent[i]);

			assert_true(n >= 0);
			sent[i] += (size_t)n;
		}
		for (int i = 0; i < 3; i++)
			fk_grow(conn[i].fd, 20u << i);
		sync_and_look();
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sent[i], sizeof(text));
		assert_out(conn[i].fd, text, sizeof(text));
	}
}

static void check_closed(struct fk_sock *sock)
{
	assert_int_equal(sock->out.len, 400);
	assert_memory_equal(sock->out.p, text, 400);
}

static void test_close_lingers(void **state)
{
	struct stackmap_conn *conn = malloc(sizeof(*conn));
	static struct stackmap_conn next;
	int fd;

	(void)state;
	port->linger_ms = 60000;
	fk.closed = check_closed;
	connect_one(conn, 100);
	fd = conn->fd;
	fk_receive(fd, "later", 5);
	stackmap_send(conn, text, 400);
	assert_int_equal(stackmap_conn_close(conn), 0);
	memset(conn, 0xdd, sizeof(*conn));
	free(conn);
	assert_int_equal(stackmap_lingering(port), 1);
	assert_true(stackmap_sync(port, 0) >= 0);
	/* what it receives is not shown, its events are seen */
	assert_null(stackmap_rx_next(port));
	assert_int_equal(fk.closes, 0);
	fk_grow(fd, 1000);
	stackmap_sync(port, 0);
	assert_null(stackmap_rx_next(port));
	stackmap_sync(port, 0);
	assert_int_equal(fk.closes, 1);
	assert_int_equal(stackmap_lingering(port), 0);
	connect_one(&next, 0);
	assert_int_equal(next.fd, fd);
	fk.closed = NULL;
}

static void test_counts(void **state)
{
	static struct stackmap_conn a, b, *gone;
	struct stackmap_counts counts;

	(void)state;
	port->linger_ms = 60000;
	gone = &b;
	connect_one(&a, 100);
	connect_one(&b, 0);
	assert_int_equal(stackmap_send(&a, text, 10), 10);
	assert_int_equal(stackmap_counts(port, &counts), 0);
	assert_int_equal(counts.connections, 2);
	assert_int_equal(counts.committed, 1);
	assert_int_equal(counts.blocked + counts.lingering + counts.refused + counts.queued_bytes, 0);
	assert_int_equal(counts.spare_bufs, EXTRA);
	/* TCP has room for 100 bytes of one of them and none of the other */
	assert_int_equal(stackmap_send(&a, text, 200), 200);
	assert_int_equal(stackmap_send(gone, text, 50), 50);
	sync_and_look();
	assert_int_equal(stackmap_conn_close(gone), 0);
	fk_receive(a.fd, "1", 1);
	assert_true(stackmap_sync(port, 0) >= 0);
	assert_int_equal(stackmap_counts(port, &counts), 0);
	assert_int_equal(counts.connections, 1);
	assert_int_equal(counts.lingering, 1);
	assert_int_equal(counts.blocked, 2);
	assert_int_equal(counts.queued_bytes, 110 + 50);
	assert_int_equal(counts.committed, 0);
	assert_int_equal(counts.delivered, 1);
	look();
	assert_int_equal(stackmap_counts(port, &counts), 0);
	assert_int_equal(counts.delivered, 0);
	port->linger_ms = 1;
}

/* Each way a lingering connection can end early, two at a time */
static void test_linger_ends(void **state)
{
	static struct stackmap_conn a, b;

	(void)state;
	port->linger_ms = 60000;
	for (int how = 0; how < 4; how++) {
		if (how == 2)
			port->linger_ms = 1;
		connect_one(&a, 50);
		connect_one(&b, 50);
		stackmap_send(&a, text, 200);
		stackmap_send(&b, text, 200);
		if (how == 1)
			sync_and_look();
		stackmap_conn_close(&a);
		stackmap_conn_close(&b);
		if (how == 0) {
			fk_sock(a.fd)->tx_err = EPIPE;
			fk_sock(b.fd)->tx_err = ECONNRESET;
		} else if (how == 1) {
			fk_sock(a.fd)->events = STACKMAP_RX_ERROR;
			fk_sock(b.fd)->events = STACKMAP_RX_ERROR;
		} else if (how == 2) {
			usleep(3000);
		} else {
			/* nothing: the port is closed */
			assert_int_equal(stackmap_lingering(port), 2);
			break;
		}
		sync_and_look();
		assert_int_equal(stackmap_lingering(port), 0);
		assert_null(stackmap_next_writable(port));
		assert_null(stackmap_next_refused(port));
		fk_audit(port, NULL, 0);
	}
	assert_int_equal(fk.closes, 6);
}

/* Closed with slots in both rings: none of them finds anybody */
static void test_abort_mid_batch(void **state)
{
	struct stackmap_conn *conn = malloc(sizeof(*conn));
	static struct stackmap_conn next;
	int fd;

	(void)state;
	connect_one(conn, PLENTY);
	fd = conn->fd;
	for (int i = 0; i < 3; i++)
		fk_receive(fd, text, 64);
	fk_sock(fd)->events = STACKMAP_RX_FIN;
	assert_int_equal(stackmap_sync(port, 0), 4);
	assert_ptr_equal(stackmap_rx_conn(stackmap_rx_next(port)), conn);
	stackmap_send(conn, text, 500);
	stackmap_conn_abort(conn);
	memset(conn, 0xdd, sizeof(*conn));
	free(conn);
	connect_one(&next, PLENTY);
	assert_int_equal(next.fd, fd);
	stackmap_send(&next, "new", 3);
	assert_null(stackmap_rx_next(port));
	assert_int_equal(stackmap_sync(port, 0), 0);
	assert_null(stackmap_next_refused(port));
	assert_out(fd, "new", 3);
}

/* Small pieces share a buffer, large ones go on in the next; what is not there for all is queued */
static void test_sendv(void **state)
{
	struct iovec iov[] = {
		{ (void *)(uintptr_t)"one", 3 }, { NULL, 0 }, { (void *)(uintptr_t)"two", 3 },
		{ (void *)(uintptr_t)"three", 5 },
	};
	static struct stackmap_conn conn;
	uint32_t before;

	(void)state;
	connect_one(&conn, PLENTY);
	before = stackmap_tx_room(port);
	assert_int_equal(stackmap_sendv(&conn, iov, 4), 11);
	assert_int_equal(before - stackmap_tx_room(port), 1);
	assert_int_equal(stackmap_sendv(&conn, NULL, 0), 0);
	assert_int_equal(stackmap_sendv(&conn, iov + 1, 1), 0);
	assert_int_equal(stackmap_sendv(&conn, iov, -1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_sendv(&conn, NULL, 1), -1);
	assert_int_equal(errno, EINVAL);
	iov[3].iov_len = SSIZE_MAX;
	assert_int_equal(stackmap_sendv(&conn, iov, 4), -1);
	assert_int_equal(errno, EINVAL);
	sync_and_look();
	assert_out(conn.fd, "onetwothree", 11);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_attach),
		TEST(test_send),
		TEST(test_sendv),
		TEST(test_send_buf_errors),
		TEST(test_refused_anywhere),
		TEST(test_blocked_rests),
		TEST(test_error),
		TEST(test_no_memory),
		TEST(test_fairness),
		TEST(test_idle_flushes),
		TEST(test_pull),
		TEST(test_close_lingers),
		TEST(test_counts),
		TEST(test_linger_ends),
		TEST(test_abort_mid_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
