// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * test_lib_wait.c - waiting: signals, being woken; pausing and shutting down a
 * connection; and what is left of a port in a child of fork()
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "one_port.h"

static struct stackmap_conn a, b;

/* Sync, and return the payload that comes, and the events */
static size_t got(unsigned int *events)
{
	struct stackmap_slot *slot;
	size_t n = 0;

	*events = 0;
	assert_true(stackmap_sync(port, 0) >= 0);
	while ((slot = stackmap_rx_next(port))) {
		n += slot->len;
		*events |= slot->flags;
	}
	return n;
}

/* ----------------------------------------------------------------- signals */

static int polls, moments;

static int poll_signal(int timeout_ms)
{
	assert_int_equal(timeout_ms, 70);
	polls++;
	errno = EINTR;
	return -1;
}

static int poll_never(int timeout_ms)
{
	(void)timeout_ms;
	fail_msg("it sleeps");
	return 0;
}

static int signals_none(void)
{
	moments++;
	return 0;
}

static int signals_one(void)
{
	moments++;
	errno = EINTR;
	return -1;
}

static void test_pwait(void **state)
{
	sigset_t set;

	(void)state;
	polls = moments = 0;
	sigemptyset(&set);
	connect_one(&a, 0);
	fk.poll = poll_signal;
	assert_int_equal(stackmap_pwait(port, 70, &set), -1);
	assert_int_equal(errno, EINTR);
	assert_int_equal(polls, 1);
	/* busy programs get their signals, too, and what there is to look at */
	fk.poll = poll_never;
	fk.signals = signals_one;
	fk_receive(a.fd, "x", 1);
	assert_int_equal(stackmap_pwait(port, -1, &set), 1);
	assert_int_equal(moments, 1);
	assert_non_null(stackmap_rx_next(port));
	assert_int_equal(stackmap_pwait(port, 0, &set), -1);
	assert_int_equal(errno, EINTR);
	fk.signals = signals_none;
	assert_int_equal(stackmap_pwait(port, 0, &set), 0);
	assert_int_equal(moments, 3);
	assert_int_equal(stackmap_pwait(port, 0, NULL), 0);
	fk.ioctl_errno[4] = ENODEV;
	assert_int_equal(stackmap_pwait(port, -1, &set), -1);
	assert_int_equal(errno, ENODEV);
	assert_int_equal(moments, 3);
}

/* ------------------------------------------------------------------- waking */

static int poll_woken(int timeout_ms)
{
	assert_int_equal(timeout_ms, -1);
	if (++polls == 3)
		assert_int_equal(stackmap_wake(port), 0);
	return 1;
}

static void test_wake(void **state)
{
	(void)state;
	polls = 0;
	fk.poll = poll_woken;
	/* while it sleeps: after two times for nothing */
	assert_int_equal(stackmap_wait(port, -1), 0);
	assert_int_equal(polls, 3);
	assert_int_equal(fk.wakes, 1);
	/* before it */
	fk.poll = poll_never;
	assert_int_equal(stackmap_wake(port), 0);
	assert_int_equal(stackmap_wake(port), 0);
	assert_int_equal(stackmap_wait(port, -1), 0);
	/* and with a sync between, as a program goes on to wait without looking */
	assert_int_equal(stackmap_wake(port), 0);
	assert_int_equal(stackmap_sync(port, 50), 0);
	assert_int_equal(stackmap_wait(port, -1), 0);
	/* once only */
	polls = 1;
	fk.poll = poll_woken;
	assert_int_equal(stackmap_wait(port, -1), 0);
	assert_int_equal(polls, 3);
	/* an error is told first, and being woken then */
	fk.poll = poll_never;
	assert_int_equal(stackmap_wake(port), 0);
	fk.ioctl_errno[4] = EINTR;
	assert_int_equal(stackmap_wait(port, -1), -1);
	assert_int_equal(stackmap_wait(port, -1), 0);
	fk.ioctl_errno[6] = ENXIO;
	assert_int_equal(stackmap_wake(port), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(stackmap_wait(port, -1), 0);
}

/* ----------------------------------------------------------------- shutdown */

static void test_shutdown(void **state)
{
	static char text[1000];
	unsigned int events;

	(void)state;
	connect_one(&a, PLENTY);
	assert_int_equal(stackmap_conn_shutdown(&a), 0);
	assert_true(fk_sock(a.fd)->shut);
	assert_int_equal(stackmap_send(&a, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	/* it goes on receiving */
	fk_receive(a.fd, "abc", 3);
	assert_int_equal(got(&events), 3);
	/* with something in the ring, and in the queue */
	connect_one(&b, 100);
	assert_int_equal(stackmap_send(&b, text, sizeof(text)), sizeof(text));
	assert_int_equal(stackmap_conn_shutdown(&b), 0);
	assert_int_equal(stackmap_conn_shutdown(&b), 0);
	for (int i = 0; i < 18; i++) {
		assert_false(fk_sock(b.fd)->shut);
		got(&events);
		fk_grow(b.fd, 50);
	}
	fk_grow(b.fd, 50);
	for (int i = 0; i < 4; i++)
		got(&events);
	assert_true(fk_sock(b.fd)->shut);
	assert_int_equal(fk_sock(b.fd)->out.len, sizeof(text));
	assert_int_equal(stackmap_conn_error(&b), 0);
	assert_int_equal(stackmap_conn_close(&b), 0);
	/* closed before it was through: the FIN comes with that */
	connect_one(&b, 0);
	assert_int_equal(stackmap_send(&b, text, 10), 10);
	assert_int_equal(stackmap_conn_shutdown(&b), 0);
	fk_grow(b.fd, 10);
	assert_int_equal(stackmap_conn_close(&b), 0);
	got(&events);
	assert_int_equal(stackmap_lingering(port), 0);
	/* failed */
	fk_sock(a.fd)->events = STACKMAP_RX_ERROR;
	fk_sock(a.fd)->err = ECONNRESET;
	got(&events);
	assert_int_equal(stackmap_conn_shutdown(&a), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* ------------------------------------------------------------------- pausing */

static void test_pause(void **state)
{
	static char text[200];
	unsigned int events;

	(void)state;
	connect_one(&a, PLENTY);
	assert_int_equal(stackmap_conn_pause(&a), 0);
	fk_receive(a.fd, text, sizeof(text));
	fk_sock(a.fd)->events = STACKMAP_RX_FIN | STACKMAP_RX_ROOM;
	assert_int_equal(got(&events), 0);
	assert_int_equal(events, STACKMAP_RX_ROOM);
	assert_int_equal(stackmap_conn_credit(&a, 70), 0);
	assert_int_equal(stackmap_conn_credit(&a, 30), 0);
	assert_int_equal(got(&events), 100);
	assert_int_equal(events, STACKMAP_RX_DATA);
	/* the last word counts */
	stackmap_conn_resume(&a);
	stackmap_conn_pause(&a);
	assert_int_equal(got(&events), 0);
	stackmap_conn_credit(&a, 5);
	stackmap_conn_pause(&a);
	stackmap_conn_credit(&a, 7);
	stackmap_conn_credit(&a, 0);
	assert_int_equal(got(&events), 7);
	stackmap_conn_pause(&a);
	stackmap_conn_resume(&a);
	assert_int_equal(got(&events), 93);
	assert_int_equal(events, STACKMAP_RX_DATA | STACKMAP_RX_FIN);
	fk_receive(a.fd, "more", 4);
	assert_int_equal(got(&events), 4);
}

/* With a full ring it is done as soon as there is a slot, whoever has gone */
static void test_pause_full_ring(void **state)
{
	static struct stackmap_conn conn[4];
	static char text[64 * SLOTS];
	unsigned int events;

	(void)state;
	connect_one(&a, PLENTY);
	assert_int_equal(stackmap_send(&a, text, sizeof(text)), sizeof(text));
	assert_int_equal(stackmap_tx_room(port), 0);
	for (int i = 0; i < 4; i++) {
		connect_one(&conn[i], 0);
		fk_receive(conn[i].fd, "payload", 7);
		assert_int_equal(stackmap_conn_pause(&conn[i]), 0);
		assert_int_equal(stackmap_conn_credit(&conn[i], 2), 0);
		assert_int_equal(stackmap_conn_credit(&conn[i], 1), 0);
	}
	stackmap_conn_abort(&conn[1]);
	stackmap_conn_close(&conn[3]);
	stackmap_conn_abort(&conn[0]);
	connect_one(&conn[0], 0);
	got(&events);
	assert_int_equal(fk_sock(conn[2].fd)->credit, UINT64_MAX);
	got(&events);
	assert_int_equal(fk_sock(conn[2].fd)->credit, 3);
	assert_true(fk_sock(conn[0].fd)->credit == UINT64_MAX);
	assert_int_equal(port->control_first, 0);
	assert_int_equal(port->control_last, 0);
}

/* ---------------------------------------------------------------------- fork */

#define CHECK(what) do { \
	if (!(what)) { \
		fprintf(stderr, "child: line %d: %s, errno %d\n", __LINE__, #what, errno); \
		_exit(1); \
	} \
} while (0)

#define STALE(call) do { errno = 0; CHECK((call) == -1 && errno == ESTALE); } while (0)

static void child(struct stackmap_conn *lingering)
{
	struct stackmap_slot slot = { 0 };
	struct stackmap_conn conn;
	uint32_t syncs = fk.syncs;

	/* what is inline */
	CHECK(!stackmap_rx_next(port));
	CHECK(!stackmap_tx_reserve(port));
	CHECK(!stackmap_tx_room(port));
	CHECK(stackmap_tx_commit(port, a.fd, 0, 1, 0, 0) == -1);
	CHECK(stackmap_fd(port) == -1);
	CHECK(!stackmap_frame_size(port) && !stackmap_params(port)->frames);
	CHECK(!stackmap_buf_spares(port) && !stackmap_lingering(port));
	CHECK(!stackmap_conn_room(&a) && !stackmap_conn_error(&a));
	/* and what is not */
	STALE(stackmap_sync(port, 0));
	STALE(stackmap_idle(port));
	STALE(stackmap_wait(port, -1));
	STALE(stackmap_wake(port));
	STALE(stackmap_buf_give(port, 0));
	CHECK(stackmap_buf_take(port) == STACKMAP_NO_BUF && errno == ESTALE);
	CHECK(stackmap_keep(port, &slot) == STACKMAP_NO_BUF && errno == ESTALE);
	CHECK(!stackmap_attach(port, a.fd, 0) && errno == ESTALE);
	STALE(stackmap_detach(port, a.fd));
	stackmap_forget(port, a.fd);
	STALE(stackmap_conn_attach(&conn, port, a.fd));
	STALE(stackmap_tx_commit_buf(port, a.fd, 0, 0, 1, 0, 0));
	STALE(stackmap_send(&a, "x", 1));
	STALE(stackmap_send_buf(&a, 0, 0, 1, 0));
	STALE(stackmap_conn_detach(&a));
	STALE(stackmap_conn_shutdown(&a));
	STALE(stackmap_conn_pause(&a));
	STALE(stackmap_conn_tell_acked(&a));
	CHECK(!stackmap_conn_acked(&a) && !stackmap_slot_conn(port, &slot));
	CHECK(!stackmap_next_refused(port) && !stackmap_next_writable(port));
	stackmap_want_writable(&a);
	/* descriptors are closed, each once */
	CHECK(!stackmap_conn_close(&a) && fk.closes == 1);
	CHECK(stackmap_conn_close(&a) == -1 && errno == EBADF);
	CHECK(stackmap_conn_close(lingering) == -1);
	CHECK(fk.closes == 1 && fk.opens == 1);
	stackmap_close(port);
	/* the lingering one's; b's is still its owner's */
	CHECK(fk.closes == 2 && fk.opens == 0);
	stackmap_conn_abort(&b);
	CHECK(fk.closes == 3);
	CHECK(fk.syncs == syncs);
	_exit(0);
}

static void test_fork(void **state)
{
	static struct stackmap_conn c;
	struct stackmap_slot *slot;
	int status;
	pid_t pid;

	(void)state;
	connect_one(&a, 10);
	connect_one(&b, 10);
	connect_one(&c, 0);
	assert_int_equal(stackmap_send(&a, "0123456789abcdef", 16), 16);
	assert_int_equal(stackmap_send(&b, "0123456789abcdef", 16), 16);
	assert_int_equal(stackmap_send(&c, "lingers", 7), 7);
	assert_int_equal(stackmap_conn_close(&c), 0);
	fk_receive(a.fd, "for the parent", 14);
	stackmap_want_writable(&b);
	/* there are receive slots, queues and refused slots in the child */
	assert_true(stackmap_sync(port, 0) > 0);
	assert_int_equal(stackmap_send(&b, "more", 4), 4);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		child(&c);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* the parent has noticed nothing */
	slot = stackmap_rx_next(port);
	assert_memory_equal(stackmap_rx_data(port, slot), "for the parent", 14);
	fk_grow(a.fd, 100);
	fk_grow(b.fd, 100);
	for (int i = 0; i < 4; i++) {
		stackmap_sync(port, 0);
		while (stackmap_rx_next(port))
			;
	}
	assert_memory_equal(fk_sock(a.fd)->out.p, "0123456789abcdef", 16);
	assert_memory_equal(fk_sock(b.fd)->out.p, "0123456789abcdefmore", 20);
	assert_int_equal(stackmap_lingering(port), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pwait),
		TEST(test_wake),
		TEST(test_shutdown),
		TEST(test_pause),
		TEST(test_pause_full_ring),
		TEST(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
