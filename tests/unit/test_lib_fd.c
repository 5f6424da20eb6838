// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_fd.c - stackmap_open_fd(): ports that somebody else has opened, and has used before
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_kernel.h"

#define SLOTS	16u
#define PLENTY	1000000u

static struct stackmap_conn a, b;

/* As who has the rights does it, without the library; the one port that there is */
static int open_port(uint32_t extra)
{
	struct stackmap_register reg = {
		.version = STACKMAP_ABI_VERSION, .rx_slots = SLOTS, .tx_slots = SLOTS,
		.extra_bufs = extra, .pool_bufs = 32, .stall_us = 5000,
	};
	int fd = open(STACKMAP_DEVICE, O_RDWR);

	assert_int_equal(fd, FK_PORT_FD);
	assert_int_equal(ioctl(fd, STACKMAP_IOC_REGISTER, &reg), 0);
	return fd;
}

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

/* And the descriptor is still the caller's */
static void fails(int fd, const struct stackmap_options *opt, int err)
{
	errno = 0;
	assert_null(stackmap_open_fd(fd, opt));
	assert_int_equal(errno, err);
	assert_int_equal(fk.opens, 1);
}

static void done(struct stackmap_port *port)
{
	fk_audit(port, NULL, 0);
	stackmap_close(port);
	assert_int_equal(fk.opens, 0);
}

static void test_open(void **state)
{
	struct stackmap_options opt = { .send_max = 100, .linger_ms = 5 };
	struct stackmap_port *port;
	struct stackmap_slot *slot;
	int fd = open_port(0);

	(void)state;
	port = stackmap_open_fd(fd, &opt);
	assert_non_null(port);
	assert_int_equal(stackmap_fd(port), fd);
	assert_memory_equal(stackmap_params(port), &fk.reg, sizeof(fk.reg));
	assert_int_equal(stackmap_frame_size(port), 64);
	assert_int_equal(stackmap_buf_spares(port), 0);
	assert_int_equal(stackmap_tx_room(port), SLOTS - 1);
	/* Both ways */
	assert_int_equal(stackmap_conn_attach(&a, port, fk_socket(PLENTY)), 0);
	fk_receive(a.fd, "hello", 5);
	assert_int_equal(stackmap_sync(port, 0), 1);
	slot = stackmap_rx_next(port);
	assert_ptr_equal(stackmap_rx_conn(slot), &a);
	assert_memory_equal(stackmap_rx_data(port, slot), "hello", 5);
	assert_int_equal(stackmap_conn_room(&a), 100);
	assert_int_equal(stackmap_send(&a, "world", 5), 5);
	assert_int_equal(stackmap_sync(port, 0), 0);
	assert_memory_equal(fk_sock(a.fd)->out.p, "world", 5);
	done(port);
}

/* What it was opened with may be said again, but is not to be changed */
static void test_options(void **state)
{
	static const size_t fixed[] = {
		offsetof(struct stackmap_options, rx_slots),
		offsetof(struct stackmap_options, tx_slots),
		offsetof(struct stackmap_options, extra_bufs),
		offsetof(struct stackmap_options, pool_bufs),
		offsetof(struct stackmap_options, stall_us),
		offsetof(struct stackmap_options, large_size),
		offsetof(struct stackmap_options, large_bufs),
	};
	struct stackmap_options opt = { 0 }, same = {
		.rx_slots = SLOTS, .tx_slots = SLOTS, .pool_bufs = 32, .stall_us = 5000,
	};
	struct stackmap_port *port;
	int fd = open_port(0);

	(void)state;
	for (size_t i = 0; i < sizeof(opt.reserved) / 4; i++) {
		opt.reserved[i] = 1;
		fails(fd, &opt, EINVAL);
		opt.reserved[i] = 0;
	}
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		memset(&opt, 0, sizeof(opt));
		*(uint32_t *)((char *)&opt + fixed[i]) = 64;
		fails(fd, &opt, EINVAL);
		opt = same;
		*(uint32_t *)((char *)&opt + fixed[i]) = 64;
		fails(fd, &opt, EINVAL);
	}
	memset(&opt, 0, sizeof(opt));
	opt.send_max = 63;
	fails(fd, &opt, EINVAL);
	port = stackmap_open_fd(fd, &same);
	assert_non_null(port);
	done(port);
}

static void test_errors(void **state)
{
	struct stackmap_port *port;
	int fd = open(STACKMAP_DEVICE, O_RDWR), i;

	(void)state;
	fails(fd, NULL, ENXIO);
	fk.ioctl_errno[_IOC_NR(STACKMAP_IOC_PORT)] = ENOTTY;
	fails(fd, NULL, ENOTTY);
	close(fd);
	/* Nobody can tell where its extra buffers are */
	fd = open_port(4);
	fails(fd, NULL, EINVAL);
	fk_reset();
	fd = open_port(0);
	fk.mmap_errno = ENOMEM;
	fails(fd, NULL, ENOMEM);
	for (i = 1;; i++) {
		fk.malloc_in = i;
		port = stackmap_open_fd(fd, NULL);
		if (port)
			break;
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(fk.opens, 1);
	}
	fk.malloc_in = 0;
	assert_int_equal(i, 6);
	done(port);
}

/* A port in use, with extra buffers of which one is kept in a send, goes on with another owner */
static void test_hand_over(void **state)
{
	struct stackmap_options opt = { .rx_slots = SLOTS, .tx_slots = SLOTS, .extra_bufs = 6, .send_max = 200 };
	struct stackmap_port *port = stackmap_open("fake0", 0, &opt), *next;
	uint32_t kept, mine, i, n, spares, got[6];
	char left[200];
	int fd;

	(void)state;
	assert_non_null(port);
	assert_int_equal(stackmap_conn_attach(&a, port, fk_socket(PLENTY)), 0);
	kept = stackmap_buf_take(port);
	mine = stackmap_buf_take(port);
	assert_true(kept != STACKMAP_NO_BUF && mine != STACKMAP_NO_BUF);
	memcpy(stackmap_buf(port, kept), "precious", 8);
	assert_int_equal(stackmap_send_buf(&a, kept, 0, 8, STACKMAP_TX_KEEP), 0);
	/* Something is in the ring, and then something is attached */
	assert_int_equal(stackmap_hand_over(port), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(stackmap_conn_unqueue(&a, left, sizeof(left)), -1);
	assert_int_equal(errno, EBUSY);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_hand_over(port), -1);
	assert_int_equal(errno, EBUSY);
	/* TCP has no room for what comes next */
	fk_sock(a.fd)->room = 3;
	assert_int_equal(stackmap_send(&a, "0123456789", 10), 10);
	stackmap_sync(port, 0);
	assert_int_equal(stackmap_conn_unqueue(&a, left, 6), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(stackmap_conn_unqueue(&a, left, sizeof(left)), 7);
	assert_memory_equal(left, "3456789", 7);
	assert_int_equal(stackmap_conn_unqueue(&a, left, sizeof(left)), 0);
	assert_true(stackmap_conn_detach(&a) >= 0);
	fd = stackmap_hand_over(port);
	assert_true(fd >= 0);

	next = stackmap_open_fd(fd, &opt);
	assert_non_null(next);
	spares = stackmap_buf_spares(next);
	/* All but the one that the peer has not acknowledged; what was only taken is a spare one, too */
	assert_int_equal(spares, 5);
	for (i = 0; i < 4; i++) {
		assert_true(stackmap_sync(next, 0) >= 0);
		stackmap_idle(next);
	}
	spares = stackmap_buf_spares(next);
	assert_true(spares == 5 || spares == 6);
	for (n = 0; n < spares; n++) {
		got[n] = stackmap_buf_take(next);
		assert_int_not_equal(got[n], kept);
		for (i = 0; i < n; i++)
			assert_int_not_equal(got[i], got[n]);
		for (i = 0; i < SLOTS; i++) {
			assert_int_not_equal(next->rx_slots[i].buf, got[n]);
			assert_int_not_equal(next->tx_slots[i].buf, got[n]);
		}
	}
	assert_memory_equal(stackmap_buf(next, kept), "precious", 8);
	/* It is an ordinary port: handed over once more, and not if its owner was killed */
	fd = stackmap_hand_over(next);
	assert_true(fd >= 0);
	port = stackmap_open_fd(fd, NULL);
	assert_non_null(port);
	stackmap_free_port_(port);
	fails(fd, NULL, EINVAL);
	close(fd);
}

/* As any port: a child of fork() closes its copy, and has nothing else of it */
static void test_fork(void **state)
{
	struct stackmap_port *port = stackmap_open_fd(open_port(0), NULL);
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(port);
	pid = fork();
	if (pid == 0) {
		bool gone = stackmap_sync(port, 0) == -1 && errno == ESTALE && stackmap_fd(port) == -1;

		stackmap_close(port);
		_exit(!gone || fk.opens);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	done(port);
}

/*
 * Passed on while there are slots of its owner: what it has not looked at is not shown, also when
 * a socket has the same number, and what it has committed is sent and nobody is told of it
 */
static void test_passed_on(void **state)
{
	struct stackmap_port *port = stackmap_open_fd(open_port(0), NULL);
	struct stackmap_slot *slot;
	int fd, other, i;

	(void)state;
	assert_non_null(port);
	fd = fk_socket(10);
	other = fk_socket(PLENTY);
	assert_int_equal(stackmap_conn_attach(&a, port, fd), 0);
	assert_int_equal(stackmap_conn_attach(&b, port, other), 0);
	for (i = 0; i < 5; i++) {
		fk_receive(fd, "old payload", 11);
		stackmap_sync(port, 0);
	}
	slot = stackmap_rx_next(port);
	assert_int_equal(slot->len, 11);
	/* More than there is room for, and of a socket that goes on */
	for (i = 0; i < 3; i++)
		assert_int_equal(stackmap_send(&a, "0123456", 7), 7);
	assert_int_equal(stackmap_send(&b, "committed", 9), 9);
	stackmap_close(port);
	/* Its process ends, and so does what it had */
	close(fd);
	assert_int_equal(fk.opens, 0);
	assert_int_equal(open(STACKMAP_DEVICE, O_RDWR), FK_PORT_FD);
	port = stackmap_open_fd(FK_PORT_FD, NULL);
	assert_non_null(port);
	assert_null(stackmap_rx_next(port));
	assert_null(stackmap_next_refused(port));
	assert_int_equal(fk_socket(PLENTY), fd);
	assert_int_equal(stackmap_conn_attach(&a, port, fd), 0);
	assert_int_equal(stackmap_send(&a, "mine", 4), 4);
	fk_receive(fd, "new", 3);
	/* (With the mapping it would all have been sent: here somebody else has that, too.) */
	assert_int_equal(stackmap_sync(port, 0), 1);
	assert_int_equal(fk.tx->refused, 3);
	slot = stackmap_rx_next(port);
	assert_memory_equal(stackmap_rx_data(port, slot), "new", 3);
	assert_null(stackmap_rx_next(port));
	assert_null(stackmap_next_refused(port));
	assert_null(stackmap_next_writable(port));
	assert_int_equal(fk_sock(fd)->out.len, 4);
	assert_memory_equal(fk_sock(fd)->out.p, "mine", 4);
	assert_int_equal(fk_sock(other)->out.len, 9);
	/* All slots are used in turn, twice over */
	for (i = 0; i < 2 * (int)SLOTS; i++) {
		fk_receive(fd, "x", 1);
		assert_int_equal(stackmap_send(&a, "y", 1), 1);
		assert_int_equal(stackmap_sync(port, 0), 1);
		assert_int_equal(*(char *)stackmap_rx_data(port, stackmap_rx_next(port)), 'x');
	}
	assert_int_equal(fk_sock(fd)->out.len, 4 + 2 * SLOTS);
	stackmap_sync(port, 0);
	assert_int_equal(fk.rx_head, fk.rx->tail);
	done(port);
	stackmap_conn_close(&a);
}

/* A ring full of what the one before has left, before the first sync */
static void test_full(void **state)
{
	struct stackmap_port *port = stackmap_open_fd(open_port(0), NULL);
	int fd = fk_socket(PLENTY);
	uint32_t n = 0;

	(void)state;
	assert_non_null(port);
	assert_int_equal(stackmap_conn_attach(&a, port, fd), 0);
	for (; stackmap_tx_room(port); n++)
		assert_int_equal(stackmap_send(&a, "left", 4), 4);
	assert_int_equal(n, SLOTS - 1);
	stackmap_close(port);
	assert_int_equal(open(STACKMAP_DEVICE, O_RDWR), FK_PORT_FD);
	port = stackmap_open_fd(FK_PORT_FD, NULL);
	assert_non_null(port);
	assert_null(stackmap_tx_reserve(port));
	assert_int_equal(stackmap_conn_attach(&b, port, fk_socket(PLENTY)), 0);
	assert_int_equal(stackmap_send(&b, "queued", 6), 6);
	assert_int_equal(stackmap_sync(port, 0), 0);
	assert_int_equal(stackmap_sync(port, 0), 0);
	assert_int_equal(fk_sock(fd)->out.len, 4 * n);
	assert_memory_equal(fk_sock(b.fd)->out.p, "queued", 6);
	done(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hand_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fork, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
