// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_memory.c - sending from memory of the program's own
 */
#include <errno.h>
#include <stdlib.h>

#include "one_port.h"

#define BIG	(5u << 18)

static struct stackmap_conn conn;
static unsigned char *big;

static int setup_big(void **state)
{
	big = malloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (unsigned char)(i * 7 + i / 4096);
	return setup(state);
}

static int teardown_big(void **state)
{
	free(big);
	return teardown(state);
}

static void arrived(size_t off, size_t len)
{
	struct fk_sock *sock = fk_sock(conn.fd);

	assert_int_equal(sock->out.len, len);
	assert_memory_equal(sock->out.p, big + off, len);
}

/* In one slot */
static void test_small(void **state)
{
	int m = stackmap_memory_add(port, big, BIG);

	(void)state;
	assert_int_equal(m, 0);
	connect_one(&conn, PLENTY);
	assert_int_equal(stackmap_send_memory(&conn, m, 1000, 200000, 0), 0);
	assert_int_equal(stackmap_conn_unsent(&conn), 200000);
	assert_int_equal(stackmap_tx_room(port), SLOTS - 2);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_conn_unsent(&conn), 0);
	arrived(1000, 200000);
	assert_int_equal(stackmap_memory_remove(port, m), 0);
	assert_int_equal(stackmap_conn_close(&conn), 0);
}

/* In several; copies before and after it stay where they are; a mark is behind the last */
static void test_large(void **state)
{
	int m = stackmap_memory_add(port, big, BIG);
	struct stackmap_slot *slot;

	(void)state;
	connect_one(&conn, 2 * BIG);
	assert_int_equal(stackmap_send(&conn, big, 100), 100);
	assert_int_equal(stackmap_send_memory(&conn, m, 100, BIG - 200, STACKMAP_TX_ACKED), 0);
	/* It leaves no room */
	assert_int_equal(stackmap_send(&conn, big, 1), -1);
	assert_int_equal(errno, EAGAIN);
	stackmap_sync(port, 0);
	/* 1 MB, so that others have slots, too; then the rest */
	assert_null(stackmap_next_writable(port));
	assert_int_equal(fk_sock(conn.fd)->out.len, 100 + (1 << 20));
	stackmap_sync(port, 0);
	assert_ptr_equal(stackmap_next_writable(port), &conn);
	assert_int_equal(stackmap_send(&conn, big + BIG - 100, 100), 100);
	stackmap_sync(port, 0);
	arrived(0, BIG);
	fk_ack_all();
	stackmap_sync(port, 0);
	slot = stackmap_rx_next(port);
	assert_non_null(slot);
	assert_int_equal(slot->flags, STACKMAP_RX_ACKED);
	assert_int_equal(stackmap_conn_acked(&conn), BIG);
	assert_int_equal(stackmap_conn_close(&conn), 0);
}

/* A socket that takes little at a time: what is left of a slot goes on from there */
static void test_refused(void **state)
{
	int m = stackmap_memory_add(port, big, BIG);

	(void)state;
	connect_one(&conn, 0);
	assert_int_equal(stackmap_send_memory(&conn, m, 3, 300000, 0), 0);
	for (size_t done = 0; done < 300000; done += 70001) {
		assert_int_equal(stackmap_memory_remove(port, m), -1);
		assert_int_equal(errno, EBUSY);
		fk_grow(conn.fd, 70001);
		stackmap_sync(port, 0);
		while (stackmap_rx_next(port))
			;
	}
	for (int i = 0; i < 3; i++)
		stackmap_sync(port, 0);
	arrived(3, 300000);
	assert_int_equal(stackmap_memory_remove(port, m), 0);
	assert_int_equal(stackmap_conn_close(&conn), 0);
}

/* Whoever writes to the ring cannot have the library read beyond the memory */
static void test_scribbled(void **state)
{
	static const struct { uint32_t buf; uint64_t data; uint16_t off; } bad[] = {
		{ 1, 0, 0 }, { STACKMAP_MEMORIES, 0, 0 }, { 0, BIG, 0 }, { 0, UINT64_MAX, 0 }, { 0, 0, 0x8000 },
	};
	int m = stackmap_memory_add(port, big, BIG);

	(void)state;
	assert_int_equal(m, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct stackmap_slot *slot = stackmap_tx_reserve(port);

		connect_one(&conn, 0);
		assert_int_equal(stackmap_send_memory(&conn, m, 0, 1000, 0), 0);
		fk.after_sync = slot;
		fk.after.buf = bad[i].buf;
		fk.after.data = bad[i].data;
		fk.after.off = bad[i].off;
		stackmap_sync(port, 0);
		assert_ptr_equal(stackmap_next_writable(port), &conn);
		assert_int_equal(stackmap_conn_error(&conn), ENOMEM);
		assert_int_equal(stackmap_conn_close(&conn), 0);
	}
	assert_int_equal(stackmap_memory_remove(port, m), 0);
}

/* More than the ring has slots for; closed at once, it arrives all the same */
static void test_closed(void **state)
{
	int m = stackmap_memory_add(port, big, BIG), fd;
	struct fk_sock *sock;

	(void)state;
	connect_one(&conn, PLENTY);
	fd = conn.fd;
	for (int i = 0; stackmap_conn_room(&conn); i++)
		assert_int_equal(stackmap_send_memory(&conn, m, (size_t)i * 3000, 3000, 0), 0);
	sock = fk_sock(fd);
	assert_int_equal(stackmap_conn_close(&conn), 0);
	for (int i = 0; i < 4; i++)
		stackmap_sync(port, 0);
	assert_int_equal(stackmap_lingering(port), 0);
	assert_ptr_not_equal(fk_sock(fd), sock);
	assert_int_equal(stackmap_memory_remove(port, m), 0);
}

/* What is queued of it can be taken back */
static void test_unqueued(void **state)
{
	int m = stackmap_memory_add(port, big, BIG);
	unsigned char *to = malloc(100000);

	(void)state;
	connect_one(&conn, 0);
	assert_int_equal(stackmap_send_memory(&conn, m, 17, 90000, STACKMAP_TX_MORE), 0);
	assert_int_equal(stackmap_conn_unqueue(&conn, to, 100000), -1);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_conn_unqueue(&conn, to, 100000), 90000);
	assert_memory_equal(to, big + 17, 90000);
	free(to);
	assert_int_equal(stackmap_memory_remove(port, m), 0);
	assert_int_equal(stackmap_conn_close(&conn), 0);
}

static void wrong(int got, int err)
{
	assert_int_equal(got, -1);
	assert_int_equal(errno, err);
}

static void test_wrong(void **state)
{
	int m;

	(void)state;
	wrong(stackmap_memory_add(NULL, big, 1), EINVAL);
	wrong(stackmap_memory_remove(NULL, 0), EINVAL);
	wrong(stackmap_memory_add(port, big, 0), EINVAL);
	wrong(stackmap_memory_remove(port, 0), EBADF);
	wrong(stackmap_memory_remove(port, -1), EBADF);
	wrong(stackmap_memory_remove(port, STACKMAP_MEMORIES), EBADF);
	m = stackmap_memory_add(port, big, BIG);
	connect_one(&conn, PLENTY);
	wrong(stackmap_send_memory(NULL, m, 0, 1, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, -1, 0, 1, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, STACKMAP_MEMORIES, 0, 1, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, m + 1, 0, 1, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, m, 0, 0, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, m, BIG, 1, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, m, 1, BIG, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, m, SIZE_MAX, 2, 0), EINVAL);
	wrong(stackmap_send_memory(&conn, m, 0, SIZE_MAX, 0), EINVAL);
	for (unsigned int flag = 1; flag < 0x10000; flag <<= 1)
		if (flag != STACKMAP_TX_MORE && flag != STACKMAP_TX_ACKED)
			wrong(stackmap_send_memory(&conn, m, 0, 1, flag), EINVAL);
	assert_int_equal(stackmap_tx_commit(port, conn.fd, 0, 1, STACKMAP_TX_MEMORY, 0), -1);
	/* What it has sent already waits for a sync */
	assert_int_equal(stackmap_send_memory(&conn, m, 0, 1, 0), 0);
	wrong(stackmap_memory_remove(port, m), EBUSY);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_memory_remove(port, m), 0);
	wrong(stackmap_send_memory(&conn, m, 0, 1, 0), EINVAL);
	/* A module that knows nothing of it */
	fk.old = true;
	wrong(stackmap_memory_add(port, big, 1), ENOTTY);
	fk.old = false;
	assert_int_equal(stackmap_conn_shutdown(&conn), 0);
	m = stackmap_memory_add(port, big, BIG);
	wrong(stackmap_send_memory(&conn, m, 0, 1, 0), EPIPE);
	assert_int_equal(stackmap_conn_close(&conn), 0);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup_big, teardown_big)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_small), TEST(test_large), TEST(test_refused), TEST(test_scribbled), TEST(test_closed),
		TEST(test_unqueued), TEST(test_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
