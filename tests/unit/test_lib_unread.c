// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_unread.c - connections that become plain sockets, with what was not used; syncs that watch
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "one_port.h"

static struct stackmap_conn a, b;

static struct stackmap_slot *next(void)
{
	struct stackmap_slot *slot = stackmap_rx_next(port);

	assert_non_null(slot);
	return slot;
}

/* What the caller has, and what it was not shown, in order; nothing of others */
static void test_unread(void **state)
{
	struct stackmap_slot *slot;
	int fd;

	(void)state;
	connect_one(&a, 0);
	connect_one(&b, 0);
	fd = a.fd;
	fk_receive(a.fd, "0123456789", 10);
	assert_int_equal(stackmap_sync(port, 0), 1);
	next();
	/* that slot is the kernel's again after this: the caller has a copy of the rest */
	fk_receive(b.fd, "of another", 10);
	assert_int_equal(stackmap_sync(port, 0), 1);
	fk_receive(a.fd, "abc", 3);
	assert_int_equal(stackmap_sync(port, 0), 2);
	assert_int_equal(stackmap_conn_detach_unread(&a, "789", 3), fd);
	assert_int_equal(fk.unread_len, 6);
	assert_memory_equal(fk.unread, "789abc", 6);
	/* no slot of it is shown, and it is nobody's */
	slot = next();
	assert_int_equal(slot->fd, b.fd);
	assert_null(stackmap_rx_next(port));
	assert_int_equal(stackmap_conn_detach_unread(&a, "x", 1), -1);
	assert_int_equal(errno, EBADF);
	/* out of a slot that is shown, and nothing at all */
	fk_receive(b.fd, "0123456789", 10);
	assert_int_equal(stackmap_sync(port, 0), 1);
	slot = next();
	fd = b.fd;
	assert_int_equal(stackmap_conn_detach_unread(&b, (char *)stackmap_rx_data(port, slot) + 4, 6), fd);
	assert_int_equal(fk.unread_len, 6);
	assert_memory_equal(fk.unread, "456789", 6);
	connect_one(&a, 0);
	assert_true(stackmap_conn_detach_unread(&a, NULL, 0) >= 0);
	assert_int_equal(fk.unread_len, 0);
}

/* What fails changes nothing */
static void test_unread_wrong(void **state)
{
	int fd;

	(void)state;
	connect_one(&a, 4);
	fd = a.fd;
	fk_receive(a.fd, "0123456789", 10);
	assert_int_equal(stackmap_sync(port, 0), 1);
	assert_int_equal(stackmap_conn_detach_unread(&a, NULL, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_conn_detach_unread(NULL, NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_conn_detach_unread(&a, "", UINT32_MAX), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(stackmap_send(&a, "not sent", 8), 8);
	assert_int_equal(stackmap_conn_detach_unread(&a, NULL, 0), -1);
	assert_int_equal(errno, EBUSY);
	fk_grow(a.fd, 100);
	stackmap_sync(port, 0);
	stackmap_sync(port, 0);
	fk.ioctl_errno[3] = EINVAL;
	assert_int_equal(stackmap_conn_detach_unread(&a, NULL, 0), -1);
	assert_int_equal(errno, EINVAL);
	fk.malloc_in = 1;
	assert_int_equal(stackmap_conn_detach_unread(&a, NULL, 0), -1);
	assert_int_equal(errno, ENOMEM);
	/* it is attached, and its payload is there */
	assert_memory_equal(stackmap_rx_data(port, next()), "0123456789", 10);
	assert_int_equal(stackmap_conn_detach_unread(&a, "9", 1), fd);
	assert_int_equal(fk.unread_len, 1);
}

/* What was accepted is in the ring for the kernel to see, before the next sync */
static void test_published(void **state)
{
	uint32_t head = fk.tx->head;

	(void)state;
	connect_one(&a, 100);
	assert_int_equal(stackmap_send(&a, "0123456789", 10), 10);
	assert_int_equal(fk.tx->head, (head + 1) & (fk.tx->nslots - 1));
	assert_int_equal(fk.syncs, 0);
	/* and nothing of what is closed at once */
	stackmap_conn_abort(&a);
	assert_int_equal(fk.tx->slots[head].fd, -1);
}

static void test_sync_watch(void **state)
{
	unsigned int told = 7;

	(void)state;
	assert_int_equal(stackmap_sync_watch(port, 50, 12, &told), 0);
	assert_int_equal(fk.watched, 12);
	assert_int_equal(fk.last_wait_us, 50);
	assert_int_equal(told, 0);
	fk.told = STACKMAP_TOLD_WATCH | STACKMAP_TOLD_SIGNAL;
	assert_int_equal(stackmap_sync_watch(port, 0, 0, &told), 0);
	assert_int_equal(fk.watched, 0);
	assert_int_equal(told, STACKMAP_TOLD_WATCH | STACKMAP_TOLD_SIGNAL);
	assert_int_equal(stackmap_sync_watch(port, 0, -1, &told), 0);
	assert_int_equal(fk.watched, -1);
	assert_int_equal(stackmap_sync(port, 0), 0);
	assert_int_equal(fk.watched, -1);
	assert_int_equal(stackmap_sync_watch(port, 0, -2, &told), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(stackmap_sync_watch(port, 0, 3, NULL), -1);
	assert_int_equal(errno, EINVAL);
	fk.ioctl_errno[4] = EBADF;
	assert_int_equal(stackmap_sync_watch(port, 0, 3, &told), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(told, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_unread),
		TEST(test_unread_wrong),
		TEST(test_published),
		TEST(test_sync_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
