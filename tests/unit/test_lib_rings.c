// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_rings.c - ports, receive slots, buffers and raw transmit slots
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_kernel.h"

#define SLOTS	16u
#define EXTRA	4u

static struct stackmap_port *port;

static int setup(void **state)
{
	struct stackmap_options opt = {
		.rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = EXTRA,
	};

	(void)state;
	fk_reset();
	port = stackmap_open("fake0", 3, &opt);
	assert_non_null(port);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fk_audit(port, NULL, 0);
	stackmap_close(port);
	assert_int_equal(fk.opens, 0);
	assert_int_equal(fk.violations, 0);
	fk_reset();
	return 0;
}

static void open_fails(const struct stackmap_options *opt, int err)
{
	errno = 0;
	assert_null(stackmap_open("fake0", 0, opt));
	assert_int_equal(errno, err);
	assert_int_equal(fk.opens, 0);
}

static void test_open_errors(void **state)
{
	static const int errors[] = {
		ENOENT, ENXIO, EACCES, EPERM, ENODEV, EBUSY, EOPNOTSUPP, ENETDOWN,
		EPROTONOSUPPORT, ENOTTY, EINVAL, ENOMEM, ENOBUFS, EMFILE, ENFILE, EIO,
	};
	struct stackmap_options opt = { .reserved = { 0, 1 } };

	(void)state;
	fk_reset();
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fk.open_errno = errors[i];
		open_fails(NULL, errors[i]);
		fk.ioctl_errno[1] = errors[i];
		open_fails(NULL, errors[i]);
		assert_true(strlen(stackmap_open_hint(errors[i])) > 10);
	}
	assert_non_null(strstr(stackmap_open_hint(ENOENT), "modprobe"));
	open_fails(&opt, EINVAL);
	memset(&opt, 0, sizeof(opt));
	opt.send_max = 63;
	open_fails(&opt, EINVAL);
	fk_reset();
	opt.send_max = (1u << 30) + 1;
	open_fails(&opt, EINVAL);
	assert_null(stackmap_open("nosuch0", 0, NULL));
	assert_int_equal(errno, ENODEV);
	for (int i = 1; i <= 5; i++) {
		fk_reset();
		fk.malloc_in = i;
		open_fails(NULL, ENOMEM);
	}
	fk_reset();
	fk.mmap_errno = EAGAIN;
	open_fails(NULL, EAGAIN);
	stackmap_close(NULL);
	fk_reset();
}

static void test_params(void **state)
{
	(void)state;
	assert_int_equal(stackmap_fd(port), FK_PORT_FD);
	assert_int_equal(stackmap_frame_size(port), 64);
	assert_int_equal(stackmap_params(port)->ifindex, 7);
	assert_int_equal(stackmap_params(port)->queue, 3);
	assert_int_equal(stackmap_params(port)->rx_slots, SLOTS);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
	assert_int_equal(stackmap_tx_room(port), SLOTS - 1);
}

static void test_stats(void **state)
{
	struct stackmap_detail detail;
	struct stackmap_info info;

	(void)state;
	fk.info.pid = 42;
	assert_int_equal(stackmap_stats(0, &info), 0);
	assert_int_equal(info.pid, 42);
	assert_int_equal(stackmap_stats(1, &info), -1);
	assert_int_equal(errno, ENOENT);
	memset(&detail, 0xff, sizeof(detail));
	assert_int_equal(stackmap_detail(0, &detail), 0);
	assert_int_equal(detail.info.pid, 42);
	assert_int_equal(detail.memory, 12345);
	assert_int_equal(stackmap_detail(1, &detail), -1);
	assert_int_equal(errno, ENOENT);
	fk.open_errno = EACCES;
	assert_int_equal(stackmap_stats(0, &info), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(fk.opens, 1);
}

static void test_attach(void **state)
{
	int fd = fk_socket(0);

	(void)state;
	assert_int_equal(stackmap_attach(port, -1, 0), 0);
	assert_int_equal(errno, EBADF);
	assert_int_equal(stackmap_attach(port, 1 << 30, 0), 0);
	assert_int_equal(errno, EBADF);
	assert_int_equal(stackmap_detach(port, fd), -1);
	assert_int_equal(errno, EBADF);
	stackmap_forget(port, fd);
	for (int i = 1; i <= 3; i++) {
		fk.malloc_in = i;
		assert_int_equal(stackmap_attach(port, fd, 0), 0);
		assert_int_equal(errno, ENOMEM);
	}
	fk.ioctl_errno[2] = ENOTCONN;
	assert_int_equal(stackmap_attach(port, fd, 0), 0);
	assert_int_equal(errno, ENOTCONN);
	assert_true(stackmap_attach(port, fd, 0));
	assert_int_equal(stackmap_attach(port, fd, 0), 0);
	assert_int_equal(errno, EALREADY);
	fk.ioctl_errno[3] = ENODEV;
	assert_int_equal(stackmap_detach(port, fd), -1);
	assert_int_equal(errno, ENODEV);
	assert_int_equal(stackmap_detach(port, fd), 0);
	assert_false(fk_sock(fd)->attached);
	assert_int_equal(stackmap_detach(port, -1), -1);
}

/* Payload of many times the ring's length comes out as it went in */
static void test_rx_wraparound(void **state)
{
	unsigned char in[1000];
	struct stackmap_slot *slot;
	int fd = fk_socket(0);
	uint32_t gen = stackmap_attach(port, fd, 0x1234567890);
	size_t done = 0;

	(void)state;
	assert_null(stackmap_rx_next(port));
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(in); i++)
			in[i] = (unsigned char)(i + (size_t)round);
		fk_receive(fd, in, sizeof(in));
		done = 0;
		while (done < sizeof(in)) {
			assert_true(stackmap_sync(port, 5) > 0);
			assert_int_equal(fk.last_wait_us, 5);
			slot = stackmap_rx_next(port);
			assert_non_null(slot);
			assert_int_equal(slot->fd, fd);
			assert_int_equal(slot->gen, gen);
			assert_int_equal(slot->data, 0x1234567890);
			assert_memory_equal(stackmap_rx_data(port, slot),
					    in + done, slot->len);
			done += slot->len;
		}
		assert_null(stackmap_rx_next(port));
		assert_int_equal(stackmap_sync(port, 0), 0);
	}
}

static void test_rx_full(void **state)
{
	static const unsigned char in[64 * 20];
	int fd = fk_socket(0), n = 0;

	(void)state;
	stackmap_attach(port, fd, 0);
	fk_receive(fd, in, sizeof(in));
	assert_int_equal(stackmap_sync(port, 0), SLOTS - 1);
	assert_int_equal(stackmap_sync(port, 0), SLOTS - 1);
	while (stackmap_rx_next(port))
		n++;
	assert_int_equal(n, SLOTS - 1);
	assert_int_equal(stackmap_sync(port, 0), 20 - (SLOTS - 1));
}

static void test_keep(void **state)
{
	uint32_t kept[EXTRA];
	struct stackmap_slot *slot;
	char c, in[64 * 5];
	int fd = fk_socket(0);

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (char)('a' + i / 64);
	stackmap_attach(port, fd, 0);
	fk_receive(fd, in, sizeof(in));
	assert_int_equal(stackmap_sync(port, 0), 5);
	for (uint32_t i = 0; i < EXTRA; i++) {
		slot = stackmap_rx_next(port);
		kept[i] = stackmap_keep(port, slot);
		assert_int_not_equal(kept[i], slot->buf);
	}
	slot = stackmap_rx_next(port);
	assert_int_equal(stackmap_buf_spares(port), 0);
	assert_int_equal(stackmap_keep(port, slot), STACKMAP_NO_BUF);
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(stackmap_buf_take(port), STACKMAP_NO_BUF);
	fk_audit(port, kept, EXTRA);
	/* what is kept survives a whole turn of the ring */
	for (int i = 0; i < 8; i++) {
		fk_receive(fd, in, sizeof(in));
		stackmap_sync(port, 0);
		while (stackmap_rx_next(port))
			;
	}
	for (uint32_t i = 0; i < EXTRA; i++) {
		memcpy(&c, stackmap_buf(port, kept[i]), 1);
		assert_int_equal(c, 'a' + (int)i);
		assert_int_equal(stackmap_buf_give(port, kept[i]), 0);
	}
	assert_int_equal(stackmap_buf_give(port, kept[0]), -1);
	assert_int_equal(errno, EINVAL);
	kept[0] = stackmap_buf_take(port);
	assert_int_equal(stackmap_buf_give(port, 1u << 20), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(stackmap_buf_give(port, kept[0]), 0);
}

/* Slots of sockets that are gone are not shown, although they are there */
static void test_rx_stale(void **state)
{
	int a = fk_socket(0), b = fk_socket(0), reused;
	struct stackmap_slot *slot;

	(void)state;
	stackmap_attach(port, a, 1);
	stackmap_attach(port, b, 2);
	fk_receive(a, "a", 1);
	fk_sock(a)->events = STACKMAP_RX_FIN;
	fk_receive(b, "b", 1);
	fk_sock(b)->events = STACKMAP_RX_ACCEPT;
	assert_int_equal(stackmap_sync(port, 0), 4);
	slot = stackmap_rx_next(port);
	assert_int_equal(slot->data, 1);
	stackmap_forget(port, a);
	close(a);
	reused = fk_socket(0);
	assert_int_equal(reused, a);
	stackmap_attach(port, reused, 3);
	slot = stackmap_rx_next(port);
	assert_int_equal(slot->data, 2);
	slot = stackmap_rx_next(port);
	assert_int_equal(slot->flags, STACKMAP_RX_ACCEPT);
	assert_null(stackmap_rx_next(port));
	fk_receive(b, "b", 1);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_detach(port, b), 0);
	assert_null(stackmap_rx_next(port));
}

static void commit(int fd, uint32_t gen, char c)
{
	struct stackmap_slot *slot = stackmap_tx_reserve(port);

	assert_non_null(slot);
	assert_ptr_equal(slot, stackmap_tx_reserve(port));
	memset(stackmap_buf(port, slot->buf), c, 64);
	stackmap_tx_commit(port, fd, 2, 10, 0, gen);
}

/* What is committed is sent by whoever sends next, were this process to end now */
static void test_tx_committed(void **state)
{
	int fd = fk_socket(1000);
	uint32_t gen = stackmap_attach(port, fd, 0), head = port->tx_ring->head, buf;

	(void)state;
	assert_int_equal(stackmap_tx_commit(port, fd, 0, 1, 0, gen), 0);
	assert_int_equal(port->tx_ring->head, (head + 1) & port->tx_mask);
	buf = stackmap_buf_take(port);
	assert_int_equal(stackmap_tx_commit_buf(port, fd, buf, 0, 1, 0, gen), 0);
	assert_int_equal(port->tx_ring->head, (head + 2) & port->tx_mask);
	/* Nothing was reserved of what is refused */
	assert_int_equal(stackmap_tx_commit(port, fd, 0, 1 << 16, 0, gen), -1);
	assert_int_equal(port->tx_ring->head, (head + 2) & port->tx_mask);
}

static void test_tx_wraparound(void **state)
{
	int fd = fk_socket(100000);
	uint32_t gen = stackmap_attach(port, fd, 0);
	struct fk_bytes *out = &fk_sock(fd)->out;
	size_t total = 0;

	(void)state;
	for (uint32_t n = 0; n < SLOTS; n++) {
		for (uint32_t i = 0; i < n; i++)
			commit(fd, gen, (char)('a' + i));
		assert_int_equal(stackmap_tx_room(port), SLOTS - 1 - n);
		if (n == SLOTS - 1)
			assert_null(stackmap_tx_reserve(port));
		assert_int_equal(stackmap_sync(port, 0), 0);
		assert_null(stackmap_next_refused(port));
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(out->p[total + 10 * i + 9], 'a' + i);
		total += 10 * n;
		assert_int_equal(out->len, total);
		fk_ack_all();
	}
}

static void test_tx_swap_and_keep(void **state)
{
	int fd = fk_socket(1000);
	uint32_t own, mine, lent;

	(void)state;
	stackmap_attach(port, fd, 0);
	mine = stackmap_buf_take(port);
	lent = stackmap_buf_take(port);
	memset(stackmap_buf(port, mine), 'm', 64);
	memset(stackmap_buf(port, lent), 'l', 64);
	own = stackmap_tx_reserve(port)->buf;
	stackmap_tx_commit_buf(port, fd, mine, 0, 3, 0, 0);
	for (uint32_t i = 0; i < 2 * SLOTS; i++) {
		stackmap_tx_reserve(port);
		stackmap_tx_commit_buf(port, fd, lent, 1, 2, STACKMAP_TX_KEEP, 0);
		fk_audit(port, &lent, 1);
		stackmap_sync(port, 0);
		fk_audit(port, &lent, 1);
	}
	assert_memory_equal(fk_sock(fd)->out.p, "mmmllll", 7);
	assert_int_equal(port->spare[EXTRA - 2], own);
	assert_int_equal(stackmap_buf_give(port, lent), 0);
	assert_int_equal(stackmap_buf_spares(port), EXTRA - 1);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_buf_spares(port), EXTRA);
}

/* Slots of which some are refused, wherever they are */
static void test_tx_refused(void **state)
{
	(void)state;
	for (uint32_t mask = 0; mask < 32; mask++) {
		int good = fk_socket(1000), bad = fk_socket(3);
		struct stackmap_slot *slot;
		uint32_t first = mask, buf;

		stackmap_attach(port, good, 0);
		stackmap_attach(port, bad, 0);
		for (uint32_t i = 0; i < 5; i++)
			commit(mask & 1u << i ? bad : good, 0, (char)('0' + i));
		/* what was refused is something to look at: nobody may sleep over it */
		assert_int_equal(stackmap_sync(port, 0), __builtin_popcount(mask));
		assert_int_equal(fk.tx->refused, __builtin_popcount(mask));
		for (uint32_t i = 0; i < 5; i++) {
			if (!(mask & 1u << i))
				continue;
			slot = stackmap_next_refused(port);
			assert_non_null(slot);
			assert_int_equal(slot->fd, bad);
			assert_int_equal(slot->err, EAGAIN);
			assert_int_equal(slot->taken, mask == first ? 3 : 0);
			assert_int_equal(slot->len, 10 - slot->taken);
			first = 0;
			buf = stackmap_keep(port, slot);
			assert_int_equal(*(char *)stackmap_buf(port, buf),
					 '0' + (int)i);
			assert_int_equal(stackmap_buf_give(port, buf), 0);
		}
		assert_null(stackmap_next_refused(port));
		assert_int_equal(stackmap_tx_room(port), SLOTS - 1);
		stackmap_forget(port, good);
		stackmap_forget(port, bad);
		close(good);
		close(bad);
	}
}

/* A refused slot cannot be filled again before it was shown */
static void test_tx_refused_protected(void **state)
{
	int fd = fk_socket(10);
	uint32_t lent = stackmap_buf_take(port);
	struct stackmap_slot *slot;

	(void)state;
	stackmap_attach(port, fd, 0);
	commit(fd, 0, 'x');
	commit(fd, 77, 'y');
	stackmap_tx_reserve(port);
	stackmap_tx_commit_buf(port, fd, lent, 0, 5, STACKMAP_TX_KEEP, 0);
	commit(-1, 0, 'z');
	stackmap_sync(port, 0);
	assert_int_equal(fk.tx->refused, 3);
	assert_int_equal(stackmap_tx_room(port), SLOTS - 3);
	slot = stackmap_next_refused(port);
	assert_int_equal(slot->err, ESTALE);
	assert_int_equal(stackmap_tx_room(port), SLOTS - 3);
	slot = stackmap_next_refused(port);
	assert_int_equal(slot->err, EAGAIN);
	assert_int_equal(stackmap_keep(port, slot), lent);
	assert_int_equal(stackmap_tx_room(port), SLOTS - 2);
	assert_null(stackmap_next_refused(port));
	assert_int_equal(stackmap_tx_room(port), SLOTS - 1);
	assert_int_equal(stackmap_buf_give(port, lent), 0);
}

static int polls;

static int poll_timeout(int timeout_ms)
{
	assert_int_equal(timeout_ms, 30);
	polls++;
	return 0;
}

static int poll_signal(int timeout_ms)
{
	(void)timeout_ms;
	errno = EINTR;
	return -1;
}

static int poll_spurious(int timeout_ms)
{
	/* (a busy host may sleep for far longer than it is asked to) */
	assert_true(timeout_ms > 0 && timeout_ms <= 300);
	polls++;
	usleep(4000);
	return 1;
}

static int poll_data(int timeout_ms)
{
	assert_int_equal(timeout_ms, -1);
	if (++polls == 3)
		fk_receive(FK_FD_MIN, "x", 1);
	return 1;
}

static void test_wait(void **state)
{
	int fd = fk_socket(0);

	(void)state;
	stackmap_attach(port, fd, 0);
	assert_int_equal(stackmap_wait(port, 0), 0);
	assert_int_equal(fk.sleeps, 1);
	polls = 0;
	fk.poll = poll_timeout;
	assert_int_equal(stackmap_wait(port, 30), 0);
	assert_int_equal(polls, 1);
	fk.poll = poll_signal;
	assert_int_equal(stackmap_wait(port, -1), -1);
	assert_int_equal(errno, EINTR);
	polls = 0;
	fk.poll = poll_spurious;
	assert_int_equal(stackmap_wait(port, 300), 0);
	assert_true(polls > 1);
	polls = 0;
	fk.poll = poll_data;
	assert_int_equal(stackmap_wait(port, -1), 1);
	assert_int_equal(polls, 3);
	assert_non_null(stackmap_rx_next(port));
	fk.ioctl_errno[4] = EINTR;
	assert_int_equal(stackmap_sync(port, 0), -1);
	fk.ioctl_errno[4] = ENODEV;
	assert_int_equal(stackmap_idle(port), -1);
	assert_int_equal(errno, ENODEV);
	fk.ioctl_errno[4] = ENODEV;
	assert_int_equal(stackmap_wait(port, 5), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test_setup_teardown(test_params, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rx_wraparound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rx_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rx_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_committed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_wraparound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_swap_and_keep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tx_refused_protected, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
