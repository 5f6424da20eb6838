// SPDX-License-Identifier: GPL-2.0
/*
 * t_unread.c - STACKMAP_DETACH_UNREAD: what was delivered goes back to the socket as it is detached
 *
 * Whoever reads from the plain socket then finds each byte once and in order. The kernel is the
 * oracle: FIONREAD, poll() and recv() say what they say of a socket that was never attached.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sm.h"
#include "tap.h"

#define SEED 77

static void give(int fd, uint64_t at, uint32_t n)
{
	uint8_t *block = malloc(n + 1);

	pat_fill(block, SEED, at, n);
	CHECK(send_all(fd, block, n));
	free(block);
}

static int try_unread(struct sm *sm, int fd, const void *from, uint32_t len, uint32_t gen)
{
	struct stackmap_unread u = { .addr = (uintptr_t)from, .len = len, .gen = gen };
	struct stackmap_detach d = { .fd = fd, .flags = STACKMAP_DETACH_UNREAD, .unread = (uintptr_t)&u };

	return ioctl(sm->fd, STACKMAP_IOC_DETACH, &d) ? errno : 0;
}

/* What the connection has had from @at on goes back, and it is a plain one */
static void unread(struct sm *sm, int fd, uint64_t at, uint32_t n)
{
	uint8_t *block = malloc(n + 1);

	pat_fill(block, SEED, at, n);
	EQ(try_unread(sm, fd, block, n, 0), 0);
	free(block);
}

/* The next @n bytes of a plain socket are those */
static void plain(int fd, uint64_t at, uint32_t n)
{
	uint8_t *block = malloc(n + 1);

	set_timeout(fd, 2000);
	CHECK(recv_all(fd, block, n));
	CHECK(pat_is(block, SEED, at, n));
	free(block);
}

static int waiting(int fd)
{
	int n = -1;

	EQ(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && p.revents & POLLIN;
}

static void take(struct sm *sm, int fd, uint64_t at, uint32_t n)
{
	uint8_t *block = malloc(n + 1);

	sm_read(sm, fd, block, n, 2000);
	CHECK(pat_is(block, SEED, at, n));
	free(block);
}

/* All of it, a part, none: and what comes afterwards is behind it */
static void unread_some(int family)
{
	static const uint32_t back[] = { 1000, 1, 999, 500, 0 };
	uint32_t i, k;
	struct sm sm;
	uint8_t b[16];
	int fd[2];

	sm_new_small(&sm, 64);
	for (i = 0; i < sizeof(back) / sizeof(back[0]); i++) {
		k = back[i];
		pair_tcp(fd, family);
		sm_attach(&sm, fd[0], 0);
		give(fd[1], 0, 1000);
		take(&sm, fd[0], 0, 1000);
		EQ(waiting(fd[0]), 0);
		unread(&sm, fd[0], 1000 - k, k);
		EQ(waiting(fd[0]), k);
		EQ(readable(fd[0], 0), k > 0);
		give(fd[1], 1000, 200);
		if (k) {
			EQ(recv(fd[0], b, 1, MSG_PEEK), 1);
			CHECK(pat_is(b, SEED, 1000 - k, 1));
		}
		plain(fd[0], 1000 - k, k + 200);
		EQ(waiting(fd[0]), 0);
		/* And the same again, from the place where a plain reader has left it */
		give(fd[1], 1200, 5000);
		plain(fd[0], 1200, 10);
		sm_attach(&sm, fd[0], 0);
		take(&sm, fd[0], 1210, 4990);
		unread(&sm, fd[0], 6200 - k, k);
		plain(fd[0], 6200 - k, k);
		close(fd[0]);
		close(fd[1]);
	}
	sm_close(&sm);
}

TEST(unread_part, 20)
{
	unread_some(AF_INET);
}

TEST(unread_part_v6, 20)
{
	unread_some(AF_INET6);
}

/* In front of what was not delivered, which began in the midst of an skb */
TEST(unread_before_undelivered, 20)
{
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 2500);
	give(fd[1], 0, 6000);
	take(&sm, fd[0], 0, 2500);
	sm_quiet(&sm, 10);
	EQ(waiting(fd[0]), 3500);
	unread(&sm, fd[0], 100, 2400);
	EQ(waiting(fd[0]), 5900);
	give(fd[1], 6000, 1000);
	plain(fd[0], 100, 6900);
	close(fd[0]);
	close(fd[1]);
	sm_close(&sm);
}

/* With the FIN behind it, delivered or not: it is read again, once */
TEST(unread_before_fin, 20)
{
	int i, fd[2], mark;
	struct sm sm;
	char b[8];

	sm_new_small(&sm, 64);
	for (i = 0; i < 4; i++) {
		pair_tcp(fd, i & 2 ? AF_INET6 : AF_INET);
		sm_attach(&sm, fd[0], 0);
		give(fd[1], 0, 3000);
		if (i & 1)
			take(&sm, fd[0], 0, 3000);
		shutdown(fd[1], SHUT_WR);
		if (!(i & 1))
			take(&sm, fd[0], 0, 3000);
		sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000);
		mark = i & 2 ? 3000 : 1;
		unread(&sm, fd[0], 3000 - mark, mark);
		EQ(waiting(fd[0]), mark);
		CHECK(readable(fd[0], 0));
		plain(fd[0], 3000 - mark, mark);
		EQ(waiting(fd[0]), 0);
		EQ(recv(fd[0], b, 1, 0), 0);
		EQ(recv(fd[0], b, 1, 0), 0);
		/* And nothing goes back where only the FIN was */
		close(fd[0]);
		close(fd[1]);
	}
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	shutdown(fd[1], SHUT_WR);
	sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000);
	EQ(try_unread(&sm, fd[0], b, 1, 0), EINVAL);
	EQ(try_unread(&sm, fd[0], b, 0, 0), 0);
	EQ(recv(fd[0], b, 1, 0), 0);
	close(fd[0]);
	close(fd[1]);
	sm_close(&sm);
}

/* Who waits in poll() on the descriptor itself is woken */
TEST(unread_wakes, 20)
{
	struct sm sm;
	int fd[2];
	pid_t pid;
	int status;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	give(fd[1], 0, 10);
	take(&sm, fd[0], 0, 10);
	pid = fork();
	if (pid == 0)
		_exit(!readable(fd[0], -1));	/* if it is not woken, never */
	usleep(100000);
	unread(&sm, fd[0], 0, 10);
	CHECK(waitpid(pid, &status, 0) == pid);
	EQ(status, 0);
	close(fd[0]);
	close(fd[1]);
	sm_close(&sm);
}

/* What cannot be changes nothing: it is attached as before, and has all of its payload */
TEST(unread_wrong, 20)
{
	struct stackmap_unread u = { .reserved = { 0, 1 } };
	struct stackmap_detach d = { .unread = (uintptr_t)&u };
	uint8_t *b = calloc(1, 4096);
	struct sm sm;
	uint32_t gen;
	int fd[2], l;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	give(fd[1], 0, 100);
	plain(fd[0], 0, 50);
	gen = sm_attach(&sm, fd[0], 0);
	/* What a plain reader had before attach was not delivered */
	EQ(try_unread(&sm, fd[0], b, 1, 0), EINVAL);
	take(&sm, fd[0], 50, 50);
	EQ(try_unread(&sm, fd[0], b, 51, 0), EINVAL);
	EQ(try_unread(&sm, fd[0], b, 50, gen + 1), ESTALE);
	EQ(try_unread(&sm, fd[0], NULL, 50, gen), EFAULT);
	EQ(try_unread(&sm, fd[0], b, STACKMAP_UNREAD_MAX, gen), EINVAL);
	EQ(try_unread(&sm, fd[0], b, STACKMAP_UNREAD_MAX + 1, gen), EMSGSIZE);
	EQ(try_unread(&sm, fd[0], b, 0xffffffff, gen), EMSGSIZE);
	EQ(try_unread(&sm, fd[1], b, 0, 0), EBADF);
	EQ(try_unread(&sm, -1, b, 0, 0), EBADF);
	d.fd = fd[0];
	EQ(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), -1);
	EQ(errno, EINVAL);		/* without the flag */
	d.flags = 2;
	EQ(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), -1);
	EQ(errno, EINVAL);
	d.flags = STACKMAP_DETACH_UNREAD;
	EQ(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), -1);
	EQ(errno, EINVAL);		/* reserved */
	d.unread = 8;
	EQ(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), -1);
	EQ(errno, EFAULT);
	give(fd[1], 100, 10);
	take(&sm, fd[0], 100, 10);
	unread(&sm, fd[0], 50, 60);
	plain(fd[0], 50, 60);
	EQ(try_unread(&sm, fd[0], b, 0, 0), EBADF);

	l = try_listen("127.0.0.1", 0);
	sm_attach(&sm, l, 0);
	EQ(try_unread(&sm, l, b, 1, 0), EINVAL);
	EQ(try_unread(&sm, l, b, 0, 0), 0);
	/* Not the bytes of the connection before */
	sm_attach(&sm, fd[0], 0);
	give(fd[1], 110, 10);
	take(&sm, fd[0], 110, 10);
	EQ(connect(fd[0], &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)), 0);
	EQ(try_unread(&sm, fd[0], b, 1, 0), EINVAL);
	close(l);
	close(fd[0]);
	close(fd[1]);
	free(b);
	sm_close(&sm);
}

/* A socket that is connected again while it is attached has the new connection's back, and no more */
TEST(unread_reconnected, 20)
{
	int fd, l = try_listen("127.0.0.1", 0), peer[2], i;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct sm sm;
	uint8_t b[2];

	sm_new_small(&sm, 64);
	CHECK(!getsockname(l, (void *)&ss, &len));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	for (i = 0; i < 2; i++) {
		CHECK(!connect(fd, (void *)&ss, len));
		peer[i] = accept(l, NULL, NULL);
		CHECK(peer[i] >= 0);
		if (!i)
			sm_attach(&sm, fd, 0);
		else
			sm_event(&sm, fd, STACKMAP_RX_CONNECTED, 1000);
		give(peer[i], 0, i ? 10 : 1000);
		take(&sm, fd, 0, i ? 10 : 1000);
		if (!i)
			CHECK(!connect(fd, &none, sizeof(none)));
	}
	EQ(try_unread(&sm, fd, b, 11, 0), EINVAL);
	unread(&sm, fd, 0, 10);
	plain(fd, 0, 10);
	close(fd);
	close(l);
	close(peer[0]);
	close(peer[1]);
	sm_close(&sm);
}

/* Of a connection that has ended by a reset: the payload, then the error, though it was told */
TEST(unread_before_error, 20)
{
	struct linger rst = { 1, 0 };
	struct sm sm;
	int fd[2], i;
	uint8_t b;

	sm_new_small(&sm, 64);
	for (i = 0; i < 2; i++) {
		pair_tcp(fd, AF_INET);
		sm_attach(&sm, fd[0], 0);
		give(fd[1], 0, 1000);
		take(&sm, fd[0], 0, 1000);
		setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
		close(fd[1]);
		EQ(sm_event(&sm, fd[0], STACKMAP_RX_ERROR, 1000).err, ECONNRESET);
		unread(&sm, fd[0], i ? 400 : 1000, i ? 600 : 0);
		CHECK(readable(fd[0], 0));
		if (i)
			plain(fd[0], 400, 600);
		EQ(recv(fd[0], &b, 1, 0), -1);
		EQ(errno, ECONNRESET);
		EQ(recv(fd[0], &b, 1, 0), 0);
		close(fd[0]);
	}
	sm_close(&sm);
}

/* While it is detached and attached again, closed and made anew by another thread: no report of the kernel's */
static struct sm race_sm;
static int race_fd[2], race_ended;

static void *race(void *unused)
{
	uint32_t gen, seed = 8;

	while (!__atomic_load_n(&race_ended, __ATOMIC_RELAXED)) {
		sm_try_detach(race_sm.fd, race_fd[0]);
		if (rnd(&seed) % 8 == 0) {
			close(race_fd[0]);
			close(race_fd[1]);
			pair_tcp(race_fd, AF_INET);
		}
		sm_try_attach(race_sm.fd, race_fd[0], 0, &gen);
		send(race_fd[1], "0123456789", 10, MSG_DONTWAIT | MSG_NOSIGNAL);
		sm_try_sync(race_sm.fd, 0, 0);
	}
	return unused;
}

TEST(unread_race, 30)
{
	double end = mono() + 3;
	uint8_t *b = calloc(1, 4096);
	pthread_t t;
	int i, err;

	sm_new_small(&race_sm, 64);
	pair_tcp(race_fd, AF_INET);
	CHECK(!pthread_create(&t, NULL, race, NULL));
	for (i = 0; mono() < end; i++) {
		err = try_unread(&race_sm, race_fd[0], b, i % 12, 0);
		CHECKF(!err || err == EBADF || err == EINVAL, "%s", strerror(err));
	}
	__atomic_store_n(&race_ended, 1, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	close(race_fd[0]);
	close(race_fd[1]);
	sm_close(&race_sm);
	free(b);
}

/*
 * A long stream, of which the reader is now an owner that takes more than it wants, now a plain
 * one; with a window that is full, so that TCP collapses and merges what lies in the queue
 */
static void stream(int in, uint32_t total, uint32_t seed)
{
	uint32_t at = 0, had, k;
	struct sm sm;
	uint8_t b[20000];
	ssize_t n;

	sm_new_small(&sm, 256);
	set_timeout(in, 5000);
	while (at < total) {
		uint32_t gen = sm_attach(&sm, in, 0);
		int syncs = rnd(&seed) % 4;

		had = 0;
		while (syncs-- || !had) {
			struct stackmap_slot *s;

			if (had)
				sm_sync(&sm, 1000);
			s = had ? sm_peek(&sm) : sm_wait(&sm, 5000);
			for (; s && !(s->flags & STACKMAP_RX_FIN); s = sm_peek(&sm)) {
				CHECKF(pat_is(sm_buf(&sm, s->buf) + s->off, SEED, at + had, s->len),
				       "at %u", at + had);
				had += s->len;
				sm_next(&sm);
			}
			if (s) {
				sm_next(&sm);
				break;
			}
			if (had > 100000)
				break;
		}
		k = had ? rnd(&seed) % (had + 1) : 0;
		if (k > 60000)
			k = 60000;
		{
			uint8_t *block = malloc(k + 1);

			pat_fill(block, SEED, at + had - k, k);
			EQ(try_unread(&sm, in, block, k, gen), 0);
			free(block);
		}
		at += had - k;
		EQ(waiting(in) >= (int)k, 1);
		for (syncs = rnd(&seed) % 3; syncs-- && at < total; at += n) {
			n = recv(in, b, 1 + rnd(&seed) % sizeof(b), 0);
			CHECKF(n > 0, "%s at %u", n ? strerror(errno) : "FIN", at);
			CHECKF(pat_is(b, SEED, at, n), "at %u", at);
		}
	}
	EQ(at, total);
	EQ(recv(in, b, 1, 0), 0);
	sm_close(&sm);
}

TEST(unread_stream, 60)
{
	uint32_t total, round, done;
	int fd[2], size = 30000;
	pid_t pid;

	for (round = 0; round < 3; round++) {
		/* What does not fit in a small buffer is refused and sent again, in 0.2 s or more on 6.1 */
		total = round ? 1000000 : 4000000;
		pair_tcp(fd, round & 1 ? AF_INET6 : AF_INET);
		if (round)
			CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
		pid = fork();
		if (pid == 0) {
			uint32_t seed = 5 + round;

			close(fd[0]);
			for (done = 0; done < total;) {
				uint32_t n = 1 + rnd(&seed) % (round == 2 ? 700 : 9000);

				if (n > total - done)
					n = total - done;
				give(fd[1], done, n);
				done += n;
			}
			_exit(0);
		}
		close(fd[1]);
		stream(fd[0], total, 11 + round);
		close(fd[0]);
	}
}

/* The window: who gives back does not offer more than there is room for, and goes on as a plain one */
TEST_NIC(unread_from_nic, 60)
{
	int l = try_listen(here->guest4, 0), fd, i;
	uint8_t b[4096];
	struct ask a;
	struct sm sm;
	ssize_t n;

	CHECK(l >= 0);
	for (i = 0; i < 3; i++) {
		uint32_t had = 0, k;
		uint8_t *copy = malloc(60000);

		ask(&a, "half %s %d 9 %d", here->guest4, port_of(l), 200000);
		fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		sm_new_small(&sm, 256);
		sm_attach(&sm, fd, 0);
		/* All that is delivered is to be given back or used, so not too much of it */
		sm_credit(&sm, fd, 0);
		sm_credit(&sm, fd, 60000);
		while (had < 60000) {
			struct stackmap_slot *s = sm_wait(&sm, 5000);

			CHECK(s);
			EQ(s->flags & STACKMAP_RX_DATA, STACKMAP_RX_DATA);
			CHECK(had + s->len <= 60000);
			memcpy(copy + had, sm_buf(&sm, s->buf) + s->off, s->len);
			had += s->len;
			sm_next(&sm);
		}
		k = had < 50000 ? had : 50000;
		EQ(try_unread(&sm, fd, copy + had - k, k, 0), 0);
		sm_close(&sm);
		CHECK(send_all(fd, copy, had - k));
		set_timeout(fd, 5000);
		while ((n = recv(fd, b, sizeof(b), 0)) > 0)
			CHECK(send_all(fd, b, n));
		EQ(n, 0);
		close(fd);
		ask_wait(&a, 10);
		free(copy);
	}
	close(l);
}
