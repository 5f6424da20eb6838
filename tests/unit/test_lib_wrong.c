// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_wrong.c - callers that do what they must not: an errno, and nothing
 * else happens to anybody
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "one_port.h"

static struct stackmap_conn a, b;

static struct stackmap_slot *received(const struct stackmap_conn *conn)
{
	struct stackmap_slot *slot;

	fk_receive(conn->fd, "received", 8);
	assert_int_equal(stackmap_sync(port, 0), 1);
	slot = stackmap_rx_next(port);
	assert_non_null(slot);
	return slot;
}

#define FAILS(call, err) do { \
	errno = 0; \
	assert_int_equal((call), -1); \
	assert_int_equal(errno, err); \
} while (0)

#define NO_BUF(call, err) do { \
	errno = 0; \
	assert_int_equal((call), STACKMAP_NO_BUF); \
	assert_int_equal(errno, err); \
} while (0)

/* shared/repro/claim/libtest.c: forwards receive buffers without keeping them */
static void test_not_mine(void **state)
{
	struct stackmap_slot *slot;

	(void)state;
	connect_one(&a, PLENTY);
	slot = received(&a);
	for (uint32_t i = 0; i < fk.reg.frames + 10; i++) {
		FAILS(stackmap_send_buf(&a, i, 0, 8, 0), EINVAL);
		FAILS(stackmap_send_buf(&a, i, 0, 8, STACKMAP_TX_KEEP), EINVAL);
		FAILS(stackmap_tx_commit_buf(port, a.fd, i, 0, 8, 0, 0), EINVAL);
		FAILS(stackmap_buf_give(port, i), EINVAL);
	}
	FAILS(stackmap_send_buf(&a, slot->buf, slot->off, slot->len, 0), EINVAL);
	FAILS(stackmap_buf_give(port, STACKMAP_NO_BUF), EINVAL);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	assert_int_equal(port->tx_cur, port->tx_sent);
}

/* One buffer given, sent or committed twice */
static void test_twice(void **state)
{
	uint32_t buf = stackmap_buf_take(port);

	(void)state;
	connect_one(&a, 0);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	FAILS(stackmap_buf_give(port, buf), EINVAL);
	for (int i = 0; i < 3; i++) {
		buf = stackmap_buf_take(port);
		memset(stackmap_buf(port, buf), 'x', 64);
		if (i < 2)
			assert_int_equal(stackmap_send_buf(&a, buf, 0, 8, 0), 0);
		else
			assert_int_equal(stackmap_tx_commit_buf(port, -1, buf, 0, 8,
								0, 0), 0);
		FAILS(stackmap_send_buf(&a, buf, 0, 8, 0), EINVAL);
		FAILS(stackmap_send_buf(&a, buf, 0, 8, STACKMAP_TX_KEEP), EINVAL);
		FAILS(stackmap_tx_commit_buf(port, a.fd, buf, 0, 8, 0, 0), EINVAL);
		FAILS(stackmap_buf_give(port, buf), EINVAL);
		/* once in the ring, once in the queue */
		stackmap_sync(port, 0);
		FAILS(stackmap_buf_give(port, buf), EINVAL);
	}
	stackmap_conn_abort(&a);
	buf = stackmap_buf_take(port);
	connect_one(&a, 0);
	assert_int_equal(stackmap_send_buf(&a, buf, 0, 8, STACKMAP_TX_KEEP), 0);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	FAILS(stackmap_buf_give(port, buf), EINVAL);
	FAILS(stackmap_send_buf(&a, buf, 0, 8, STACKMAP_TX_KEEP), EINVAL);
}

static void test_commit_unreserved(void **state)
{
	uint32_t n = 0, buf = stackmap_buf_take(port);
	int fd = fk_socket(PLENTY);

	(void)state;
	stackmap_attach(port, fd, 0);
	while (!stackmap_tx_commit(port, fd, 0, 4, 0, 0))
		n++;
	assert_int_equal(n, SLOTS - 1);
	assert_null(stackmap_tx_reserve(port));
	FAILS(stackmap_tx_commit_buf(port, fd, buf, 0, 4, 0, 0), ENOBUFS);
	stackmap_sync(port, 0);
	assert_int_equal(fk_sock(fd)->out.len, 4 * n);
	/* a number that would be another one in its field, and requests that are not for it */
	assert_int_equal(stackmap_tx_commit(port, fd, 0, 65540, 0, 0), -1);
	assert_int_equal(stackmap_tx_commit(port, fd, 65536, 4, 0, 0), -1);
	assert_int_equal(stackmap_tx_commit(port, fd, 0, 4, STACKMAP_TX_KEEP, 0), -1);
	assert_int_equal(stackmap_tx_commit(port, -1, 0, 0, STACKMAP_TX_RETURN, 0), -1);
	FAILS(stackmap_tx_commit_buf(port, fd, buf, 0, 65, 0, 0), EINVAL);
	FAILS(stackmap_tx_commit_buf(port, fd, buf, 0, 0, 0, 0), EINVAL);
	FAILS(stackmap_tx_commit_buf(port, fd, buf, 0, 4, STACKMAP_TX_CREDIT, 0),
	      EINVAL);
	/* after a lent one, without reserving: the slot's own buffer is sent */
	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_int_equal(stackmap_tx_commit_buf(port, fd, buf, 0, 4,
							STACKMAP_TX_KEEP, 0), 0);
		stackmap_sync(port, 0);
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_int_equal(stackmap_tx_commit(port, fd, 0, 4, 0, 0), 0);
		stackmap_sync(port, 0);
	}
	fk_audit(port, &buf, 1);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	stackmap_sync(port, 0);
}

static void test_keep(void **state)
{
	struct stackmap_slot *slot, copy;
	uint32_t buf;

	(void)state;
	connect_one(&a, PLENTY);
	slot = received(&a);
	copy = *slot;
	NO_BUF(stackmap_keep(port, &copy), EINVAL);
	NO_BUF(stackmap_keep(port, NULL), EINVAL);
	NO_BUF(stackmap_keep(port, slot + 1), EINVAL);
	NO_BUF(stackmap_keep(port, stackmap_tx_reserve(port)), EINVAL);
	buf = stackmap_keep(port, slot);
	assert_int_equal(buf, copy.buf);
	/* the spare one in the slot is not the payload */
	NO_BUF(stackmap_keep(port, slot), EINVAL);
	fk_audit(port, &buf, 1);
	stackmap_sync(port, 0);
	NO_BUF(stackmap_keep(port, slot), EINVAL);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
	/* one that was not shown yet, and is not asked for out of order */
	fk_receive(a.fd, "x", 1);
	stackmap_sync(port, 0);
	NO_BUF(stackmap_keep(port, &port->rx_slots[port->rx_cur]), EINVAL);
	/* a refused one */
	stackmap_tx_reserve(port);
	stackmap_tx_commit(port, 12345, 0, 4, 0, 0);
	stackmap_sync(port, 0);
	slot = stackmap_next_refused(port);
	buf = stackmap_keep(port, slot);
	assert_int_not_equal(buf, STACKMAP_NO_BUF);
	NO_BUF(stackmap_keep(port, slot), EINVAL);
	assert_int_equal(stackmap_buf_give(port, buf), 0);
}

static void test_attach_live(void **state)
{
	int fd;

	(void)state;
	connect_one(&a, 0);
	assert_int_equal(stackmap_send(&a, "queued", 6), 6);
	assert_int_equal(stackmap_attach(port, a.fd, 1), 0);
	assert_int_equal(errno, EALREADY);
	FAILS(stackmap_conn_attach(&b, port, a.fd), EALREADY);
	FAILS(stackmap_detach(port, a.fd), EBUSY);
	stackmap_forget(port, a.fd);
	fk_grow(a.fd, PLENTY);
	stackmap_sync(port, 0);
	stackmap_rx_next(port);
	stackmap_sync(port, 0);
	assert_memory_equal(fk_sock(a.fd)->out.p, "queued", 6);
	/* one that lingers is its own as well */
	fk_sock(a.fd)->room = 0;
	assert_int_equal(stackmap_send(&a, "again", 5), 5);
	fd = a.fd;
	assert_int_equal(stackmap_conn_close(&a), 0);
	FAILS(stackmap_conn_attach(&b, port, fd), EALREADY);
	assert_int_equal(stackmap_lingering(port), 1);
}

/* The program has closed the descriptor itself, and it is another socket now */
static void test_attach_reused(void **state)
{
	int fd;

	(void)state;
	connect_one(&a, PLENTY);
	fd = a.fd;
	close(fd);
	connect_one(&b, PLENTY);
	assert_int_equal(b.fd, fd);
	FAILS(stackmap_conn_pause(&a), EBADF);
	FAILS(stackmap_conn_shutdown(&a), EBADF);
	FAILS(stackmap_conn_tell_acked(&a), EBADF);
	FAILS(stackmap_conn_detach(&a), EBADF);
	/* what is the old one's to close is not the new one's */
	FAILS(stackmap_conn_close(&a), EBADF);
	assert_ptr_equal(port->conns[fd], &b);
	assert_int_equal(fk.closes, 1);
	assert_int_equal(stackmap_send(&b, "new", 3), 3);
	stackmap_sync(port, 0);
	assert_memory_equal(fk_sock(fd)->out.p, "new", 3);
	assert_ptr_equal(stackmap_rx_conn(received(&b)), &b);
	/* nor when it lingered, and the descriptor was closed under it */
	fk_sock(fd)->room = 0;
	assert_int_equal(stackmap_send(&b, "left", 4), 4);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_conn_close(&b), 0);
	close(fd);
	port->linger_first->deadline = 0;
	connect_one(&a, PLENTY);
	assert_int_equal(a.fd, fd);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_lingering(port), 0);
	assert_int_equal(fk.closes, 2);
	assert_int_equal(stackmap_send(&a, "third", 5), 5);
	stackmap_sync(port, 0);
	assert_memory_equal(fk_sock(fd)->out.p, "third", 5);
}

/* The same, and it had not sent all, nor shut down: nothing of that befalls the new one */
static void test_pending_reused(void **state)
{
	static struct stackmap_conn new;

	(void)state;
	connect_one(&b, PLENTY);
	connect_one(&a, PLENTY);
	while (stackmap_tx_room(port))
		assert_int_equal(stackmap_send(&b, "x", 1), 1);
	assert_int_equal(stackmap_send(&a, "old", 3), 3);
	assert_int_equal(stackmap_conn_shutdown(&a), 0);
	close(a.fd);
	connect_one(&new, PLENTY);
	assert_int_equal(new.fd, a.fd);
	for (int i = 0; i < 3; i++) {
		stackmap_sync(port, 0);
		assert_null(stackmap_next_refused(port));
	}
	assert_false(fk_sock(new.fd)->shut);
	assert_int_equal(fk_sock(new.fd)->out.len, 0);
	/* its owner is told, as of any connection that has failed */
	assert_ptr_equal(stackmap_next_writable(port), &a);
	FAILS(stackmap_send(&a, "more", 4), EBADF);
	FAILS(stackmap_conn_close(&a), EBADF);
	stackmap_conn_abort(&new);
}

static void test_close_twice(void **state)
{
	(void)state;
	for (int how = 0; how < 4; how++) {
		connect_one(&a, how & 1 ? 0 : PLENTY);
		assert_int_equal(stackmap_send(&a, "x", 1), 1);
		if (how == 2) {
			stackmap_conn_abort(&a);
		} else if (how == 3) {
			fk_grow(a.fd, 1);
			stackmap_sync(port, 0);
			assert_int_equal(stackmap_conn_detach(&a), a.fd);
			close(a.fd);
		} else {
			assert_int_equal(stackmap_conn_close(&a), 0);
		}
		/* whoever has the number now keeps it */
		connect_one(&b, PLENTY);
		FAILS(stackmap_conn_close(&a), EBADF);
		stackmap_conn_abort(&a);
		FAILS(stackmap_conn_detach(&a), EBADF);
		FAILS(stackmap_send(&a, "x", 1), EBADF);
		FAILS(stackmap_conn_resume(&a), EBADF);
		stackmap_want_writable(&a);
		assert_null(stackmap_next_writable(port));
		assert_int_equal(stackmap_conn_acked(&a), 0);
		assert_int_equal(stackmap_send(&b, "y", 1), 1);
		stackmap_sync(port, 0);
		assert_int_equal(fk_sock(b.fd)->out.len, 1);
		assert_int_equal(stackmap_conn_close(&b), 0);
	}
}

/* Connections that outlive their port */
/* Closed first, and its port then: it must not be looked for there */
static void test_closed_then_port(void **state)
{
	connect_one(&a, PLENTY);
	connect_one(&b, 0);
	assert_int_equal(stackmap_conn_close(&a), 0);
	assert_int_equal(stackmap_send(&b, "lingers", 7), 7);
	assert_int_equal(stackmap_conn_close(&b), 0);
	stackmap_close(port);
	for (struct stackmap_conn *c = &a; c; c = c == &a ? &b : NULL) {
		FAILS(stackmap_conn_close(c), EBADF);
		FAILS(stackmap_send(c, "x", 1), EBADF);
		FAILS(stackmap_conn_pause(c), EBADF);
		assert_int_equal(stackmap_conn_room(c), 0);
		stackmap_conn_abort(c);
	}
	setup(state);
}

static void test_after_port(void **state)
{
	int fd;

	connect_one(&a, 0);
	connect_one(&b, 0);
	fd = b.fd;
	assert_int_equal(stackmap_send(&a, "queued", 6), 6);
	stackmap_sync(port, 0);
	stackmap_want_writable(&b);
	stackmap_close(port);
	FAILS(stackmap_send(&a, "x", 1), ESTALE);
	FAILS(stackmap_send_buf(&a, 0, 0, 1, 0), ESTALE);
	FAILS(stackmap_conn_detach(&a), ESTALE);
	FAILS(stackmap_conn_shutdown(&a), ESTALE);
	assert_int_equal(stackmap_conn_room(&a), 0);
	assert_int_equal(stackmap_conn_unsent(&a), 0);
	stackmap_want_writable(&a);
	assert_int_equal(fk.closes, 0);
	assert_int_equal(stackmap_conn_close(&a), 0);
	assert_int_equal(fk.closes, 1);
	FAILS(stackmap_conn_close(&a), EBADF);
	stackmap_conn_abort(&b);
	assert_int_equal(fk.closes, 2);
	assert_null(fk_sock(fd));
	setup(state);
}

/* A listener that ends, and one with a cookie */
static void test_listener(void **state)
{
	struct stackmap_slot *slot;
	int fd = fk_socket(0);

	(void)state;
	stackmap_attach(port, fd, 0);
	connect_one(&a, 0);
	for (int i = 0; i < 2; i++) {
		fk_sock(fd)->events = i ? STACKMAP_RX_ERROR : STACKMAP_RX_FIN;
		fk_sock(fd)->err = i ? ECONNABORTED : 0;
		assert_int_equal(stackmap_sync(port, 0), 1);
		slot = stackmap_rx_next(port);
		assert_int_equal(slot->fd, fd);
		assert_null(stackmap_rx_conn(slot));
		/* as the README's echo did */
		FAILS(stackmap_conn_close(stackmap_rx_conn(slot)), EINVAL);
	}
	stackmap_detach(port, fd);
	stackmap_attach(port, fd, 0x1234567);
	fk_sock(fd)->events = STACKMAP_RX_FIN;
	stackmap_sync(port, 0);
	slot = stackmap_rx_next(port);
	assert_int_equal(slot->data, 0x1234567);
	assert_null(stackmap_slot_conn(port, slot));
	slot = received(&a);
	assert_ptr_equal(stackmap_slot_conn(port, slot), &a);
	stackmap_conn_abort(&a);
	assert_null(stackmap_slot_conn(port, slot));
	assert_null(stackmap_slot_conn(port, NULL));
}

static void test_null(void **state)
{
	struct stackmap_slot slot = { 0 };
	struct stackmap_counts counts;

	(void)state;
	assert_null(stackmap_open(NULL, 0, NULL));
	assert_int_equal(errno, EINVAL);
	FAILS(stackmap_stats(0, NULL), EINVAL);
	FAILS(stackmap_detail(0, NULL), EINVAL);
	FAILS(stackmap_counts(port, NULL), EINVAL);
	FAILS(stackmap_counts(NULL, &counts), EINVAL);
	FAILS(stackmap_steer(1, NULL, 1), EINVAL);
	assert_int_equal(stackmap_attach(NULL, 1, 0), 0);
	assert_int_equal(errno, EINVAL);
	FAILS(stackmap_detach(NULL, 1), EINVAL);
	stackmap_forget(NULL, 1);
	FAILS(stackmap_sync(NULL, 0), EINVAL);
	FAILS(stackmap_idle(NULL), EINVAL);
	FAILS(stackmap_wait(NULL, 0), EINVAL);
	FAILS(stackmap_pwait(NULL, 0, NULL), EINVAL);
	FAILS(stackmap_wake(NULL), EINVAL);
	NO_BUF(stackmap_buf_take(NULL), EINVAL);
	FAILS(stackmap_buf_give(NULL, 0), EINVAL);
	NO_BUF(stackmap_keep(NULL, &slot), EINVAL);
	FAILS(stackmap_tx_commit_buf(NULL, 1, 0, 0, 1, 0, 0), EINVAL);
	assert_null(stackmap_next_refused(NULL));
	assert_null(stackmap_next_writable(NULL));
	assert_null(stackmap_slot_conn(NULL, &slot));
	FAILS(stackmap_conn_attach(NULL, port, 1), EINVAL);
	FAILS(stackmap_conn_attach(&a, NULL, 1), EINVAL);
	FAILS(stackmap_conn_detach(NULL), EINVAL);
	FAILS(stackmap_conn_close(NULL), EINVAL);
	stackmap_conn_abort(NULL);
	FAILS(stackmap_conn_shutdown(NULL), EINVAL);
	FAILS(stackmap_conn_pause(NULL), EINVAL);
	FAILS(stackmap_conn_resume(NULL), EINVAL);
	FAILS(stackmap_conn_credit(NULL, 1), EINVAL);
	FAILS(stackmap_conn_tell_acked(NULL), EINVAL);
	assert_int_equal(stackmap_conn_acked(NULL), 0);
	FAILS(stackmap_send(NULL, "x", 1), EINVAL);
	FAILS(stackmap_send_buf(NULL, 0, 0, 1, 0), EINVAL);
	stackmap_want_writable(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_not_mine),
		TEST(test_twice),
		TEST(test_commit_unreserved),
		TEST(test_keep),
		TEST(test_attach_live),
		TEST(test_attach_reused),
		TEST(test_pending_reused),
		TEST(test_close_twice),
		TEST(test_after_port),
		TEST(test_closed_then_port),
		TEST(test_listener),
		TEST(test_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
