// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_handle.c - connections without descriptors: taken, refused, shut down, closed, given one
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "one_port.h"

static int listener(void)
{
	int fd = fk_socket(0);

	assert_int_not_equal(stackmap_attach_listener(port, fd, 0), 0);
	return fd;
}

static struct stackmap_slot *next(uint16_t flags)
{
	struct stackmap_slot *slot = stackmap_rx_next(port);

	assert_non_null(slot);
	assert_int_equal(slot->flags & ~STACKMAP_RX_HANDED, flags);
	return slot;
}

/* One that has come, and is taken */
static struct fk_sock *take(struct stackmap_conn *conn, int l, size_t room)
{
	struct fk_sock *sock = fk_connect(l, room);
	struct stackmap_slot *slot;

	assert_true(stackmap_sync(port, 0) >= 1);
	slot = next(STACKMAP_RX_ACCEPTED);
	assert_int_equal(stackmap_rx_accepted(port, slot)->fd, l);
	assert_int_equal(stackmap_accept(conn, port, slot), 0);
	return sock;
}

static void receive(struct fk_sock *sock, const char *p)
{
	fk_append(&sock->in, p, strlen(p));
}

static void sent(const struct fk_sock *sock, const char *p)
{
	assert_int_equal(sock->out.len, strlen(p));
	assert_memory_equal(sock->out.p, p, strlen(p));
}

static size_t closed_out;
static unsigned int closed_n;

static void on_close(struct fk_sock *sock)
{
	closed_out = sock->out.len;
	closed_n++;
}

static void test_taken_and_served(void **state)
{
	struct stackmap_conn conn;
	struct stackmap_slot *slot;
	struct fk_sock *sock;
	int l = listener();

	(void)state;
	sock = fk_connect(l, PLENTY);
	receive(sock, "hello");
	assert_int_equal(stackmap_sync(port, 0), 2);
	slot = next(STACKMAP_RX_ACCEPTED);
	assert_null(stackmap_rx_conn(slot));
	assert_null(stackmap_slot_conn(port, slot));
	assert_int_equal(stackmap_accept(&conn, port, slot), 0);
	assert_int_equal(stackmap_accept(&conn, port, slot), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_refuse(port, slot), -1);
	assert_int_equal(errno, EINVAL);
	slot = next(STACKMAP_RX_DATA);
	assert_ptr_equal(stackmap_rx_conn(slot), &conn);
	assert_ptr_equal(stackmap_slot_conn(port, slot), &conn);
	assert_memory_equal(stackmap_rx_data(port, slot), "hello", 5);
	assert_int_equal(stackmap_accept(&conn, port, slot), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_send(&conn, "hi", 2), 2);
	stackmap_sync(port, 0);
	sent(sock, "hi");
	sock->events = STACKMAP_RX_FIN;
	stackmap_sync(port, 0);
	assert_ptr_equal(stackmap_rx_conn(next(STACKMAP_RX_FIN)), &conn);
	fk.closed = on_close;
	closed_n = 0;
	assert_int_equal(stackmap_conn_close(&conn), 0);
	assert_int_equal(stackmap_conn_close(&conn), -1);
	assert_int_equal(errno, EBADF);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 1);
	assert_int_equal(stackmap_lingering(port), 0);
}

/* Payload in the ring, in the queue, and what is refused: the close is behind all of it */
static void test_closed_behind(void **state)
{
	char data[300] = { 0 };
	struct stackmap_conn conn;
	struct fk_sock *sock;
	int l = listener();

	(void)state;
	fk.closed = on_close;
	closed_n = 0;
	sock = take(&conn, l, PLENTY);
	stackmap_send(&conn, data, 100);
	assert_int_equal(stackmap_conn_close(&conn), 0);
	memset(&conn, 0xdd, sizeof(conn));
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 1);
	assert_int_equal(closed_out, 100);
	assert_int_equal(stackmap_lingering(port), 0);

	/* TCP has no room for all */
	sock = take(&conn, l, 50);
	stackmap_send(&conn, data, 100);
	assert_int_equal(stackmap_conn_close(&conn), 0);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 1);
	assert_int_equal(stackmap_lingering(port), 1);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 1);
	sock->room = 1000;
	sock->want_room = false;
	sock->events |= STACKMAP_RX_ROOM;
	stackmap_sync(port, 0);
	assert_null(stackmap_rx_next(port));
	for (int i = 0; i < 3; i++)
		stackmap_sync(port, 0);
	assert_int_equal(closed_n, 2);
	assert_int_equal(closed_out, 100);
	assert_int_equal(stackmap_lingering(port), 0);

	/* The connection fails with the payload before its end: closed once */
	sock = take(&conn, l, PLENTY);
	sock->tx_err = ECONNRESET;
	stackmap_send(&conn, data, 10);
	assert_int_equal(stackmap_conn_close(&conn), 0);
	stackmap_sync(port, 0);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 3);
	assert_int_equal(stackmap_lingering(port), 0);

	/* An abort drops what is in the ring */
	sock = take(&conn, l, PLENTY);
	stackmap_send(&conn, data, 10);
	stackmap_conn_abort(&conn);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 4);
	assert_int_equal(closed_out, 0);
	assert_null(stackmap_next_refused(port));
}

/* The ring has no slot left for a close: it goes with the sync after the next */
static void test_closed_with_a_full_ring(void **state)
{
	struct stackmap_conn conn, other;
	int l = listener();

	(void)state;
	fk.closed = on_close;
	closed_n = 0;
	take(&conn, l, PLENTY);
	take(&other, l, PLENTY);
	while (stackmap_tx_room(port))
		stackmap_send(&other, "x", 1);
	assert_int_equal(stackmap_conn_close(&conn), 0);
	assert_int_equal(stackmap_hand_over(port), -1);
	assert_int_equal(errno, EBUSY);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 0);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 1);
	stackmap_conn_abort(&other);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 2);
}

static void test_shut_down(void **state)
{
	struct stackmap_conn conn;
	struct fk_sock *sock;
	int l = listener();

	(void)state;
	sock = take(&conn, l, PLENTY);
	stackmap_send(&conn, "end", 3);
	assert_int_equal(stackmap_conn_shutdown(&conn), 0);
	assert_int_equal(stackmap_send(&conn, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	stackmap_sync(port, 0);
	assert_true(sock->shut);
	sent(sock, "end");
	receive(sock, "more");
	stackmap_sync(port, 0);
	next(STACKMAP_RX_DATA);
	stackmap_conn_close(&conn);

	/* Not before what is refused */
	sock = take(&conn, l, 1);
	stackmap_send(&conn, "end", 3);
	assert_int_equal(stackmap_conn_shutdown(&conn), 0);
	stackmap_sync(port, 0);
	assert_false(sock->shut);
	sock->room = 10;
	sock->want_room = false;
	sock->events |= STACKMAP_RX_ROOM;
	stackmap_sync(port, 0);
	next(STACKMAP_RX_ROOM);
	assert_null(stackmap_rx_next(port));
	stackmap_sync(port, 0);
	assert_true(sock->shut);
	sent(sock, "end");
	stackmap_conn_close(&conn);
	stackmap_sync(port, 0);
}

static void test_refused(void **state)
{
	struct stackmap_slot *slot;
	int l = listener();

	(void)state;
	fk.closed = on_close;
	closed_n = 0;
	fk_connect(l, PLENTY);
	stackmap_sync(port, 0);
	slot = next(STACKMAP_RX_ACCEPTED);
	assert_int_equal(stackmap_refuse(port, slot), 0);
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 1);
	/* The listener was forgotten meanwhile: closed by the library */
	fk_connect(l, PLENTY);
	stackmap_sync(port, 0);
	stackmap_forget(port, l);
	assert_null(stackmap_rx_next(port));
	stackmap_sync(port, 0);
	assert_int_equal(closed_n, 2);
}

/* A descriptor, once made, is the connection's */
static void test_descriptor(void **state)
{
	unsigned int closes = fk.closes;
	struct stackmap_conn conn;
	struct fk_sock *sock;
	int l = listener(), fd;

	(void)state;
	sock = take(&conn, l, PLENTY);
	fk.ioctl_errno[9] = EMFILE;
	assert_int_equal(stackmap_conn_fd(&conn), -1);
	assert_int_equal(errno, EMFILE);
	fd = stackmap_conn_fd(&conn);
	assert_ptr_equal(fk_sock(fd), sock);
	assert_int_equal(stackmap_conn_fd(&conn), fd);
	stackmap_send(&conn, "x", 1);
	stackmap_conn_close(&conn);
	stackmap_sync(port, 0);
	assert_null(fk_sock(fd));
	assert_int_equal(fk.closes, closes + 2);

	/* Detached: the caller's, with and without one that was made before */
	for (int made = 0; made < 2; made++) {
		sock = take(&conn, l, PLENTY);
		receive(sock, "left");
		stackmap_sync(port, 0);
		if (made)
			stackmap_conn_fd(&conn);
		fd = stackmap_conn_detach_unread(&conn, NULL, 0);
		assert_true(fd >= FK_FD_MIN && fd < FK_FD_MIN + FK_FDS);
		assert_int_equal(fk.unread_len, 4);
		assert_ptr_equal(fk_sock(fd), sock);
		assert_int_equal(stackmap_conn_detach(&conn), -1);
		close(fd);
		sock = take(&conn, l, PLENTY);
		fd = stackmap_conn_detach(&conn);
		assert_ptr_equal(fk_sock(fd), sock);
		close(fd);
	}
}

static void test_adopted(void **state)
{
	unsigned int closes = fk.closes;
	struct stackmap_conn conn;
	struct fk_sock *sock;
	int fd = fk_socket(PLENTY);

	(void)state;
	sock = fk_sock(fd);
	assert_int_equal(stackmap_conn_adopt(&conn, port, fd), 0);
	assert_null(fk_sock(fd));
	assert_int_equal(fk.closes, closes + 1);
	stackmap_send(&conn, "x", 1);
	receive(sock, "y");
	stackmap_sync(port, 0);
	sent(sock, "x");
	assert_ptr_equal(stackmap_rx_conn(next(STACKMAP_RX_DATA)), &conn);
	stackmap_conn_pause(&conn);
	stackmap_sync(port, 0);
	assert_int_equal(sock->credit, 0);
	stackmap_conn_close(&conn);
	assert_int_equal(stackmap_conn_adopt(&conn, port, -1), -1);
	assert_int_equal(errno, EBADF);
	/* No memory for the tables: as it was */
	fd = fk_socket(PLENTY);
	fk.malloc_in = 1;
	if (stackmap_conn_adopt(&conn, port, fd))
		assert_non_null(fk_sock(fd));
	else
		stackmap_conn_close(&conn);
	fk.malloc_in = 0;
}

static void test_old_module(void **state)
{
	struct stackmap_conn conn;
	int fd = fk_socket(0);

	(void)state;
	fk.old = true;
	assert_int_equal(stackmap_attach_listener(port, fd, 0), 0);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_conn_adopt(&conn, port, fd), -1);
	assert_int_equal(errno, EINVAL);
	assert_non_null(fk_sock(fd));
}

/* After the port a connection is closed, whoever has it */
static void test_port_closed(void **state)
{
	struct stackmap_options opt = {
		.rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = EXTRA,
	};
	struct stackmap_conn conn, lingers;
	int l = listener();

	(void)state;
	fk.closed = on_close;
	closed_n = 0;
	take(&conn, l, PLENTY);
	take(&lingers, l, 1);
	stackmap_conn_fd(&conn);
	stackmap_send(&lingers, "xyz", 3);
	stackmap_conn_close(&lingers);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_lingering(port), 1);
	stackmap_close(port);
	assert_int_equal(closed_n, 2);
	assert_int_equal(stackmap_conn_close(&conn), 0);
	assert_int_equal(stackmap_conn_close(&conn), -1);
	fk_reset();
	port = stackmap_open("fake0", 0, &opt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_taken_and_served, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_with_a_full_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shut_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_module, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_closed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
