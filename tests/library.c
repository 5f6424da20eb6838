// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * library.c - the library on the real module, in a guest: tests/library.sh
 *
 * The port is eth0's. Peers are ordinary sockets of this process, over the
 * loopback interface: there the peer's receive queue refers to the sender's
 * buffers until it is read, so that they are busy for as long as the test likes.
 */
#define _GNU_SOURCE 1

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stackmap/stackmap.h>

#define EXTRA	32u

static struct stackmap_port *port;
static struct stackmap_conn conn;
static int peer;

static void check(int line, int good, const char *what)
{
	if (good)
		return;
	printf("# line %d: %s: %s\n", line, what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

#define CHECK(what) check(__LINE__, !!(what), #what)

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A connection over loopback: its end here, the other is the peer's */
static int connect_one(struct stackmap_conn *c)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int l = socket(AF_INET, SOCK_STREAM, 0), fd, other;

	CHECK(!bind(l, (void *)&addr, len) && !listen(l, 1) &&
	      !getsockname(l, (void *)&addr, &len));
	other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	connect(other, (void *)&addr, len);
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0 && !stackmap_conn_attach(c, port, fd));
	close(l);
	return other;
}

/* Sync for so long, or until these events have come; returns them, and counts payload */
static size_t payload;

static unsigned int events_for(double seconds, unsigned int until)
{
	unsigned int events = 0;
	struct stackmap_slot *slot;
	double end = now() + seconds;

	while (now() < end && !(events & until)) {
		CHECK(stackmap_wait(port, 10) >= 0);
		while ((slot = stackmap_rx_next(port))) {
			events |= slot->flags;
			if (slot->flags & STACKMAP_RX_DATA)
				payload += slot->len;
		}
		while (stackmap_next_writable(port))
			;
	}
	return events;
}

/* What the peer has got, of which all must be this byte; syncs meanwhile */
static size_t read_all(int fd, char c, size_t want, double seconds)
{
	double end = now() + seconds;
	static char data[65536];
	size_t got = 0;
	ssize_t n;

	while (got < want && now() < end) {
		n = recv(fd, data, sizeof(data), 0);
		for (ssize_t i = 0; i < n; i++)
			CHECK(data[i] == c);
		got += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			events_for(0.01, 0);
	}
	return got;
}

/* Whoever takes a spare buffer writes to it */
static void scribble(void)
{
	uint32_t buf[EXTRA], n = 0;

	while ((buf[n] = stackmap_buf_take(port)) != STACKMAP_NO_BUF) {
		memset(stackmap_buf(port, buf[n]), '!', stackmap_frame_size(port));
		if (++n == EXTRA)
			break;
	}
	while (n)
		CHECK(!stackmap_buf_give(port, buf[--n]));
}

/* shared/repro/keep/hazard.c: given back at once, and others' bytes go through all buffers */
static void test_keep(void)
{
	static char bs[65536];
	static struct stackmap_conn other;
	uint32_t buf[16], size = stackmap_frame_size(port);
	int to = connect_one(&other);
	size_t sent = 0;

	memset(bs, 'B', sizeof(bs));
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 16; i++) {
			double end = now() + 5;

			while ((buf[i] = stackmap_buf_take(port)) == STACKMAP_NO_BUF && now() < end)
				events_for(0.01, 0);
			CHECK(buf[i] != STACKMAP_NO_BUF);
			memset(stackmap_buf(port, buf[i]), 'A', size);
			CHECK(!stackmap_send_buf(&conn, buf[i], 0, size, STACKMAP_TX_KEEP));
		}
		CHECK(stackmap_sync(port, 0) >= 0);
		for (int i = 0; i < 16; i++)
			CHECK(!stackmap_buf_give(port, buf[i]));
		for (int i = 0; i < 40; i++) {
			ssize_t n = stackmap_send(&other, bs, sizeof(bs));

			sent += n > 0 ? (size_t)n : 0;
			scribble();
			events_for(0.01, 0);
			read_all(to, 'B', 1, 0.01);
		}
		CHECK(read_all(peer, 'A', 16 * (size_t)size, 20) == 16 * (size_t)size);
	}
	CHECK(sent > 1000000);
	CHECK(!stackmap_conn_close(&other));
	close(to);
	events_for(0.5, 0);
	CHECK(stackmap_buf_spares(port) == EXTRA);
}

static void test_acked(void)
{
	uint32_t buf = stackmap_buf_take(port), size = stackmap_frame_size(port);
	uint64_t before;

	memset(stackmap_buf(port, buf), 'k', size);
	CHECK(!stackmap_conn_tell_acked(&conn));
	CHECK(events_for(5, STACKMAP_RX_ACKED) & STACKMAP_RX_ACKED);
	before = stackmap_conn_acked(&conn);
	for (int i = 0; i < 10; i++)
		CHECK(!stackmap_send_buf(&conn, buf, 0, size, STACKMAP_TX_KEEP));
	CHECK(!stackmap_conn_tell_acked(&conn));
	CHECK(events_for(10, STACKMAP_RX_ACKED) & STACKMAP_RX_ACKED);
	CHECK(stackmap_conn_acked(&conn) == before + 10 * (uint64_t)size);
	CHECK(read_all(peer, 'k', 10 * (size_t)size, 5) == 10 * (size_t)size);
	CHECK(!stackmap_buf_give(port, buf));
	events_for(0.2, 0);
	CHECK(stackmap_buf_spares(port) == EXTRA);
}

static void test_pause(void)
{
	char data[1000] = { 0 };
	unsigned int events;

	CHECK(!stackmap_conn_pause(&conn));
	CHECK(stackmap_sync(port, 0) >= 0);
	payload = 0;
	CHECK(send(peer, data, sizeof(data), 0) == sizeof(data));
	CHECK(!events_for(0.3, STACKMAP_RX_DATA) && !payload);
	CHECK(!stackmap_conn_credit(&conn, 300));
	events_for(0.3, 0);
	CHECK(payload == 300);
	CHECK(!stackmap_conn_resume(&conn));
	events = events_for(5, STACKMAP_RX_DATA);
	CHECK(events == STACKMAP_RX_DATA && payload == sizeof(data));
}

static void test_shutdown(void)
{
	static char text[200000];
	static struct stackmap_conn c;
	int to = connect_one(&c);
	size_t sent = 0;
	ssize_t n;
	char x;

	/* more than the socket takes, as the peer does not read yet */
	memset(text, 's', sizeof(text));
	while ((n = stackmap_send(&c, text, sizeof(text))) > 0 && sent < 8000000) {
		sent += (size_t)n;
		CHECK(stackmap_sync(port, 0) >= 0);
	}
	CHECK(!stackmap_conn_shutdown(&c));
	CHECK(stackmap_send(&c, "x", 1) == -1 && errno == EPIPE);
	CHECK(read_all(to, 's', sent, 20) == sent);
	events_for(0.2, 0);
	CHECK(recv(to, &x, 1, 0) == 0);
	payload = 0;
	CHECK(send(to, "y", 1, 0) == 1);
	CHECK(events_for(5, STACKMAP_RX_DATA) && payload == 1);
	CHECK(!stackmap_conn_close(&c));
	close(to);
}

static void *waker(void *arg)
{
	usleep(300000);
	CHECK(!stackmap_wake(port));
	return arg;
}

static void test_wake(void)
{
	double start = now();
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, waker, NULL));
	CHECK(stackmap_wait(port, 20000) == 0);
	CHECK(now() - start > 0.2 && now() - start < 10);
	pthread_join(thread, NULL);
	/* while it polls the NIC, too; and before it waits */
	start = now();
	CHECK(!pthread_create(&thread, NULL, waker, NULL));
	CHECK(stackmap_sync(port, 1000000) == 0);
	CHECK(now() - start < 0.9);
	pthread_join(thread, NULL);
	start = now();
	CHECK(stackmap_wait(port, 20000) == 0);
	CHECK(now() - start < 10);
}

static volatile sig_atomic_t handled;

static void handler(int sig)
{
	(void)sig;
	handled = 1;
}

static void test_pwait(void)
{
	struct sigaction sa = { .sa_handler = handler };
	sigset_t block, before;
	double start = now();

	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigaction(SIGUSR1, &sa, NULL);
	sigprocmask(SIG_BLOCK, &block, &before);
	raise(SIGUSR1);
	CHECK(stackmap_pwait(port, 20000, &before) == -1 && errno == EINTR);
	CHECK(handled && now() - start < 10);
	handled = 0;
	raise(SIGUSR1);
	CHECK(send(peer, "x", 1, 0) == 1);
	start = now();
	while (!handled && now() - start < 5)
		stackmap_pwait(port, 100, &before);
	CHECK(handled);
	events_for(0.2, 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void test_fork(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		CHECK(!stackmap_rx_next(port) && !stackmap_tx_reserve(port));
		CHECK(stackmap_sync(port, 0) == -1 && errno == ESTALE);
		CHECK(stackmap_send(&conn, "x", 1) == -1 && errno == ESTALE);
		CHECK(stackmap_buf_take(port) == STACKMAP_NO_BUF);
		CHECK(!stackmap_conn_close(&conn));
		stackmap_close(port);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	CHECK(stackmap_send(&conn, "ffff", 4) == 4);
	CHECK(read_all(peer, 'f', 4, 5) == 4);
	payload = 0;
	CHECK(send(peer, "back", 4, 0) == 4);
	CHECK(events_for(5, STACKMAP_RX_DATA) && payload == 4);
}

/* Closed with kept data on its way; the peer gets all of it */
static void test_close(void)
{
	static struct stackmap_conn c;
	uint32_t size = stackmap_frame_size(port), buf = stackmap_buf_take(port);
	int to = connect_one(&c);

	memset(stackmap_buf(port, buf), 'c', size);
	for (int i = 0; i < 8; i++)
		CHECK(!stackmap_send_buf(&c, buf, 0, size, STACKMAP_TX_KEEP));
	CHECK(!stackmap_conn_close(&c));
	memset(&c, 0xdd, sizeof(c));
	CHECK(!stackmap_buf_give(port, buf));
	for (int i = 0; i < 20; i++) {
		events_for(0.01, 0);
		scribble();
	}
	CHECK(read_all(to, 'c', 8 * (size_t)size, 10) == 8 * (size_t)size);
	close(to);
	events_for(0.3, 0);
	CHECK(stackmap_buf_spares(port) == EXTRA);
}

/* What was not used, and what was not shown, is read from the plain socket, and the rest behind it */
static void test_unread(void)
{
	char got[1700], *data;
	struct stackmap_slot *slot;
	double end = now() + 5;
	size_t n = 0;
	int fd;

	CHECK(send(peer, memset(got, 'a', 500), 500, 0) == 500);
	while (!(slot = stackmap_rx_next(port)) && now() < end)
		stackmap_sync(port, 1000);
	CHECK(slot && slot->len == 500);
	data = stackmap_rx_data(port, slot);
	CHECK(send(peer, memset(got, 'b', 600), 600, 0) == 600);
	/* the slot that was shown is not given back to the kernel before the data is copied */
	memcpy(got, data, 500);
	while (!stackmap_sync(port, 1000) && now() < end)
		;
	CHECK(send(peer, memset(got + 500, 'c', 600), 600, 0) == 600 && !shutdown(peer, SHUT_WR));
	fd = stackmap_conn_detach_unread(&conn, got + 100, 400);
	CHECK(fd >= 0 && !stackmap_rx_next(port));
	memset(got, 0, sizeof(got));
	while (n < sizeof(got) && now() < end) {
		ssize_t k = recv(fd, got + n, sizeof(got) - n, 0);

		CHECK(k >= 0);
		if (!k)
			break;
		n += (size_t)k;
	}
	CHECK(n == 1600 && got[0] == 'a' && got[399] == 'a' && got[400] == 'b' && got[999] == 'b' &&
	      got[1000] == 'c' && got[1599] == 'c');
	close(fd);
}

static void test_watch(void)
{
	int ev = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	unsigned int told;
	double start = now();

	CHECK(!stackmap_sync_watch(port, 100000, ev, &told) && !told && now() - start > 0.09);
	CHECK(!eventfd_write(ev, 1));
	CHECK(!stackmap_sync_watch(port, 1000000, ev, &told) && told == STACKMAP_TOLD_WATCH);
	CHECK(now() - start < 0.9);
	CHECK(!stackmap_sync_watch(port, 0, -1, &told) && !told);
	CHECK(stackmap_sync_watch(port, 0, 12345, &told) == -1 && errno == EBADF);
	close(ev);
}

/* What was sent and not synced arrives, though the program is killed */
static void test_killed(void)
{
	char got[3000];
	size_t n = 0;
	int p[2], l, other;
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	pid_t pid;

	CHECK((l = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && !bind(l, (void *)&addr, len) && !listen(l, 1));
	CHECK(!getsockname(l, (void *)&addr, &len) && !pipe(p));
	stackmap_conn_abort(&conn);
	stackmap_close(port);
	pid = fork();
	if (!pid) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		port = stackmap_open("eth0", 0, NULL);
		CHECK(port && !connect(fd, (void *)&addr, len) && !stackmap_conn_attach(&conn, port, fd));
		memset(got, 'k', sizeof(got));
		CHECK(stackmap_send(&conn, got, sizeof(got)) == (ssize_t)sizeof(got));
		CHECK(write(p[1], "x", 1) == 1);
		kill(getpid(), SIGKILL);
	}
	close(p[1]);
	other = accept(l, NULL, NULL);
	CHECK(other >= 0 && waitpid(pid, NULL, 0) == pid);
	while (n < sizeof(got)) {
		ssize_t k = recv(other, got + n, sizeof(got) - n, 0);

		if (k <= 0)
			break;
		n += (size_t)k;
	}
	CHECK(n == sizeof(got) && got[0] == 'k' && got[n - 1] == 'k');
	close(other);
	close(l);
	port = stackmap_open("eth0", 0, NULL);
	peer = connect_one(&conn);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{ "keep", test_keep }, { "acked", test_acked }, { "close", test_close },
		{ "pause", test_pause }, { "shutdown", test_shutdown },
		{ "unread", test_unread }, { "watch", test_watch }, { "killed", test_killed },
		{ "wake", test_wake }, { "pwait", test_pwait }, { "fork", test_fork },
	};
	struct stackmap_options opt = { .extra_bufs = EXTRA };
	int status, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		/* each in a process and with a port of its own */
		pid_t pid = fork();

		if (!pid) {
			alarm(120);
			port = stackmap_open("eth0", 0, &opt);
			if (!port)
				printf("# %s\n", stackmap_open_hint(errno));
			CHECK(port);
			peer = connect_one(&conn);
			tests[i].run();
			stackmap_conn_abort(&conn);
			stackmap_close(port);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (WIFSIGNALED(status))
			printf("# signal %d\n", WTERMSIG(status));
		printf("%s - library: %s\n", status ? "not ok" : "ok", tests[i].name);
		failed |= status;
	}
	return !!failed;
}
