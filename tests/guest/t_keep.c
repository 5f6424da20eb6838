// SPDX-License-Identifier: GPL-2.0
/*
 * t_keep.c - buffers that are sent and kept: when the peer has acknowledged them,
 * and what becomes of one that is given back before
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sm.h"
#include "tap.h"

#ifndef TCP_REPAIR_OFF_NO_WP
#define TCP_REPAIR_OFF_NO_WP -1
#endif

/* A pair of which fd[1] takes in about 4 kB without being read */
static void pair_narrow(int fd[2])
{
	int l = try_listen("127.0.0.1", 0), small = 2048, large = 1 << 20;

	/* So that the accepted one begins with such a window */
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	CHECK(!getsockname(l, (void *)&ss, &len));
	CHECK(!connect(fd[0], (void *)&ss, len));
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	CHECK(fd[1] >= 0);
	/* By force, as small segments are charged more than twice over where windows are small (6.1) */
	CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large)));
	set_timeout(fd[1], 2000 * slow());
	nonblock(fd[0]);
	close(l);
}

static void reset(int fd)
{
	struct linger rst = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	close(fd);
}

static void drain(int fd, uint32_t seed, uint32_t at, uint32_t n)
{
	uint8_t in[4096];
	uint32_t k;

	for (; n; n -= k, at += k) {
		k = n < sizeof(in) ? n : sizeof(in);
		CHECK(recv_all(fd, in, k));
		CHECK(pat_is(in, seed, at, k));
	}
}

/* Put @len bytes of a stream, with flags */
static struct stackmap_slot *put(struct sm *sm, int fd, uint32_t seed, uint32_t at, uint16_t len,
				 uint16_t flags)
{
	uint8_t block[4096];
	struct stackmap_slot *s;

	pat_fill(block, seed, at, len);
	s = sm_put(sm, fd, block, len);
	s->flags = flags;
	return s;
}

/* ------------------------------------------------------------------ ACKED */

/* With payload, without, with others: told once, with the count */
TEST_BOTH(acked_tells, 20)
{
	struct sm sm;
	int fd, l;
	struct ask a;

	sm_new_small(&sm, 64);
	l = try_listen(here->guest4, 0);
	ask(&a, "slow %s %d 3 30000 100", here->guest4, port_of(l));
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0);
	sm_attach(&sm, fd, 5);
	while (sm_wait(&sm, 2000)->flags & STACKMAP_RX_DATA) {
		sm_next(&sm);
		break;
	}
	for (uint32_t at = 0; at < 28000; at += 4000)
		put(&sm, fd, 3, at, 4000, STACKMAP_TX_KEEP * (at == 4000));
	put(&sm, fd, 3, 28000, 2000, STACKMAP_TX_ACKED);
	EQ(sm.tx->refused, 0);
	{
		struct stackmap_slot s = sm_event(&sm, fd, STACKMAP_RX_ACKED, 5000);

		EQ(s.taken, 30000);
		EQ(s.data, 5);
		EQ(s.flags & ~STACKMAP_RX_FIN, STACKMAP_RX_ACKED);
	}
	shutdown(fd, SHUT_WR);
	ask_wait(&a, 20);
	close(fd);
	close(l);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Nothing sent, and all acknowledged: this very sync tells */
TEST(acked_at_once, 10)
{
	struct stackmap_slot s;
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_mark(&sm, fd[0]);
	CHECK(sm_peek(&sm));
	s = sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0);
	EQ(s.flags, STACKMAP_RX_ACKED);
	EQ(s.taken, 0);
	sm_send(&sm, fd[0], "hello", 5);
	CHECK(recv_all(fd[1], (char [5]){ 0 }, 5));
	sm_quiet(&sm, 300);	/* the delayed ACK, too */
	sm_mark(&sm, fd[0]);
	CHECK(sm_peek(&sm));
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 5);
	sm_quiet(&sm, 10);
	/* All three flags, without payload */
	EQ(sm_request(&sm, fd[0], STACKMAP_TX_ACKED | STACKMAP_TX_KEEP | STACKMAP_TX_MORE, 0)->err, 0);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 5);
	sm_settle(&sm);
	sm_close(&sm);
}

/* The first and the last are told, of a peer that reads little by little */
TEST(acked_first_and_last, 30)
{
	uint32_t at, told = 0, events = 0, first = 0;
	struct stackmap_slot s;
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 128);
	pair_narrow(fd);
	sm_attach(&sm, fd[0], 0);
	for (at = 0; at < 200000; at += 2000)
		put(&sm, fd[0], 7, at, 2000, STACKMAP_TX_ACKED | STACKMAP_TX_KEEP);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	/* Its window is shut, far before the end */
	for (at = 0; at < 200000; at += 1000) {
		drain(fd[1], 7, at, 1000);
		sm_sync(&sm, 100);
		while (sm_peek(&sm)) {
			s = sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0);
			EQ(s.flags, STACKMAP_RX_ACKED);
			CHECKF(s.taken >= told && s.taken <= 200000, "%u after %u", s.taken, told);
			CHECK(events || s.taken >= 2000);
			/* What the peer has read at least it has acknowledged at most so late */
			told = s.taken;
			if (!events++)
				first = told;
		}
		CHECK(told < 200000 || at > 100000);
	}
	while (told < 200000) {
		s = sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000);
		events++;
		told = s.taken;
	}
	EQ(told, 200000);
	EQ(events, 2);
	CHECK(first < 100000);
	sm_quiet(&sm, 50);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Marks and bytes of others: before attach they do not count, afterwards they do */
TEST(acked_counts_since_attach, 20)
{
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_narrow(fd);
	CHECK(send_all(fd[0], (char [50000]){ 0 }, 50000));
	sm_attach(&sm, fd[0], 0);
	put(&sm, fd[0], 1, 0, 4000, STACKMAP_TX_ACKED);
	sm_sync(&sm, 0);
	/* It waits for what was sent before, too */
	sm_quiet(&sm, 50);
	EQ(send(fd[0], (char [3000]){ 0 }, 3000, 0), 3000);
	sm_mark(&sm, fd[0]);
	for (int i = 0; i < 57; i++) {
		uint8_t in[1000];

		CHECK(recv_all(fd[1], in, 1000));
	}
	while (sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken < 7000)
		;
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 7000);
	/* Detached and attached again it begins anew */
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	sm_attach(&sm, fd[0], 0);
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 0);
	sm_quiet(&sm, 20);
	sm_settle(&sm);
	sm_close(&sm);
}

/* For so long there is room at most, and no mark is told */
static void not_told(struct sm *sm, int ms)
{
	double end = mono() + ms / 1e3;

	do {
		sm_sync(sm, 100);
		for (; sm_peek(sm); sm_next(sm))
			CHECKF(sm_peek(sm)->flags == STACKMAP_RX_ROOM, "0x%x", sm_peek(sm)->flags);
	} while (mono() < end);
}

/* A mark goes with the slot that was refused, and none overtakes it */
TEST(acked_of_refused, 30)
{
	uint32_t first, i, sent = 0, total = 0, got = 0;
	int fd[2], small = 4096;
	struct stackmap_slot *s, *mark;
	struct sm sm;

	sm_new_small(&sm, 64);
	pair_narrow(fd);
	CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	sm_attach(&sm, fd[0], 0);
	first = sm.tx_head;
	for (i = 0; i < 40; i++, total += 4000)
		put(&sm, fd[0], 2, total, 4000, i == 39 ? STACKMAP_TX_ACKED : 0);
	mark = sm_request(&sm, fd[0], STACKMAP_TX_ACKED, 0);
	sm_sync(&sm, 0);
	EQ(mark->flags, STACKMAP_TX_ACKED | STACKMAP_TX_REFUSED);
	EQ(mark->err, EAGAIN);
	EQ(mark->taken, 0);
	CHECK(sm.tx->refused >= 2);
	for (i = first; &sm.tx->slots[i] != mark; i = (i + 1) & 63) {
		s = &sm.tx->slots[i];
		sent += s->flags & STACKMAP_TX_REFUSED ? s->taken : 4000;
		if (s->flags & STACKMAP_TX_REFUSED)
			EQ(s->err, EAGAIN);
	}
	CHECK(sent < total);
	not_told(&sm, 30);
	/* All of it again, as it has room, without the mark that was refused */
	while (got < total) {
		uint32_t n = got + 1000 <= sent ? 1000 : sent - got;

		if (n)
			drain(fd[1], 2, got, n);
		got += n;
		not_told(&sm, 0);
		if (sent < total) {
			n = total - sent < 4000 ? total - sent : 4000;
			s = put(&sm, fd[0], 2, sent, n, 0);
			sm_sync(&sm, 0);
			sent += s->flags & STACKMAP_TX_REFUSED ? s->taken : n;
		}
	}
	not_told(&sm, 100);
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken, total);
	sm_settle(&sm);
	sm_close(&sm);
}

/* In SYN_SENT: with the connection. Payload before it was refused: it is, too */
TEST(acked_connecting, 30)
{
	struct stackmap_slot *p, *m, s;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int l, fd, other, one;
	struct sm sm;

	sm_new_small(&sm, 16);
	l = try_listen("127.0.0.1", 0);
	CHECK(!listen(l, 0));
	CHECK(!getsockname(l, (void *)&ss, &len));
	other = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(other, (void *)&ss, len));
	/* The queue of one is full: SYNs are dropped until it is taken */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	FAILS(connect(fd, (void *)&ss, len), EINPROGRESS);
	sm_attach(&sm, fd, 0);
	sm_mark(&sm, fd);
	sm_quiet(&sm, 20);
	p = sm_put(&sm, fd, "x", 1);
	m = sm_request(&sm, fd, STACKMAP_TX_ACKED, 0);
	sm_sync(&sm, 0);
	EQ(p->err, EAGAIN);
	EQ(m->flags, STACKMAP_TX_ACKED | STACKMAP_TX_REFUSED);
	EQ(m->err, EAGAIN);
	one = accept(l, NULL, NULL);
	CHECK(one >= 0);
	s = sm_event(&sm, fd, STACKMAP_RX_ACKED, 8000);
	EQ(s.flags, STACKMAP_RX_ACKED | STACKMAP_RX_CONNECTED | STACKMAP_RX_ROOM);
	EQ(s.taken, 0);
	put(&sm, fd, 0, 0, 100, STACKMAP_TX_ACKED);
	EQ(sm_event(&sm, fd, STACKMAP_RX_ACKED, 2000).taken, 100);
	sm_close(&sm);
}

/* The FIN is no byte. Marks after shutdown(), and when both have closed */
TEST(acked_and_fin, 20)
{
	struct stackmap_slot s;
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 64);
	pair_narrow(fd);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 10; i++)
		put(&sm, fd[0], 4, i * 4000, 4000, STACKMAP_TX_KEEP);
	sm_sync(&sm, 0);
	CHECK(!shutdown(fd[0], SHUT_WR));
	/* FIN_WAIT1, with bytes that the peer has no window for */
	sm_mark(&sm, fd[0]);
	sm_quiet(&sm, 20);
	drain(fd[1], 4, 0, 40000);
	s = sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000);
	EQ(s.taken, 40000);
	EQ(recv(fd[1], &i, 1, 0), 0);
	sm_quiet(&sm, 100);
	/* FIN_WAIT2 */
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 40000);
	close(fd[1]);
	sm_event(&sm, fd[0], STACKMAP_RX_FIN, 2000);
	/* Closed by both */
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 40000);
	sm_settle(&sm);
	sm_close(&sm);

	/* The peer first: LAST_ACK, then closed */
	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET6);
	sm_attach(&sm, fd[0], 0);
	CHECK(!shutdown(fd[1], SHUT_WR));
	sm_event(&sm, fd[0], STACKMAP_RX_FIN, 2000);
	put(&sm, fd[0], 4, 0, 4000, STACKMAP_TX_ACKED);
	sm_sync(&sm, 0);
	CHECK(!shutdown(fd[0], SHUT_WR));
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken, 4000);
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken, 4000);
	sm_quiet(&sm, 20);
	sm_close(&sm);
}

/* Attached after shutdown() */
TEST(acked_attached_late, 10)
{
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_narrow(fd);
	CHECK(send_all(fd[0], (char [20000]){ 0 }, 20000));
	CHECK(!shutdown(fd[0], SHUT_WR));
	sm_attach(&sm, fd[0], 0);
	sm_mark(&sm, fd[0]);
	sm_quiet(&sm, 30);
	for (int i = 0; i < 20; i++) {
		uint8_t in[1000];

		CHECK(recv_all(fd[1], in, 1000));
	}
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken, 0);
	sm_close(&sm);
}

/* A connection that fails: marks are dropped, later ones refused */
TEST(acked_and_error, 20)
{
	struct stackmap_slot s, *m;
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 64);
	pair_narrow(fd);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 10; i++)
		put(&sm, fd[0], 4, i * 4000, 4000, STACKMAP_TX_ACKED | STACKMAP_TX_KEEP);
	sm_sync(&sm, 0);
	reset(fd[1]);
	do {
		s = sm_event(&sm, fd[0], STACKMAP_RX_ERROR | STACKMAP_RX_ACKED, 2000);
		CHECK(!(s.flags & STACKMAP_RX_ACKED) || s.taken < 40000);
	} while (!(s.flags & STACKMAP_RX_ERROR));
	sm_quiet(&sm, 50);
	m = sm_request(&sm, fd[0], STACKMAP_TX_ACKED, 0);
	sm_sync(&sm, 0);
	EQ(m->flags, STACKMAP_TX_ACKED | STACKMAP_TX_REFUSED);
	EQ(m->err, EPIPE);
	sm_quiet(&sm, 20);
	sm_settle(&sm);
	sm_close(&sm);

	/* The error is the last that is told, though all was acknowledged */
	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	reset(fd[1]);
	sm_event(&sm, fd[0], STACKMAP_RX_ERROR, 1000);
	m = sm_request(&sm, fd[0], STACKMAP_TX_ACKED, 0);
	sm_sync(&sm, 0);
	EQ(m->err, EPIPE);
	sm_quiet(&sm, 20);
	sm_close(&sm);
}

/* Another connection of the same socket, with and without a sync in between */
static void again(bool sync)
{
	struct sockaddr_storage ss;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);
	struct stackmap_slot s;
	int fd[2], l, i;
	struct sm sm;

	sm_new_small(&sm, 64);
	pair_narrow(fd);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 10; i++)
		put(&sm, fd[0], 4, i * 4000, 4000, STACKMAP_TX_ACKED);
	sm_sync(&sm, 0);
	if (sm_peek(&sm))
		sm_next(&sm);
	l = try_listen("127.0.0.1", 0);
	CHECK(!getsockname(l, (void *)&ss, &len));
	CHECK(!connect(fd[0], &none, sizeof(none)));
	close(fd[1]);
	if (sync)
		sm_sync(&sm, 0);
	while (connect(fd[0], (void *)&ss, len))
		CHECKF(errno == EINPROGRESS || errno == ECONNABORTED || errno == ECONNRESET, "%s", strerror(errno));
	fd[1] = accept(l, NULL, NULL);
	CHECK(fd[1] >= 0);
	for (i = 0; i < 20; i++) {
		sm_sync(&sm, 1000);
		while (sm_peek(&sm)) {
			CHECKF(!(sm_peek(&sm)->flags & STACKMAP_RX_ACKED), "a mark of another connection, %u",
			       sm_peek(&sm)->taken);
			sm_next(&sm);
		}
	}
	put(&sm, fd[0], 4, 0, 3000, STACKMAP_TX_ACKED);
	do
		s = sm_event(&sm, fd[0], ~0u, 2000);
	while (!(s.flags & STACKMAP_RX_ACKED));
	EQ(s.taken, 3000);
	sm_close(&sm);
}

TEST(acked_connect_again, 20)
{
	again(true);
}

TEST(acked_connect_again_unseen, 20)
{
	again(false);
}

/* Sequence numbers that wrap around between two marks, and at one */
TEST(acked_wraps, 30)
{
	static const uint32_t from[] = { 0xffffffff, 0xfffffffe, 0xffffffff - 2000, 0xffffffff - 2001,
					 0x7fffffff, 0x7fffffff - 2000 };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int l, fd[2], on = 1, off = TCP_REPAIR_OFF_NO_WP, queue = TCP_SEND_QUEUE, large = 1 << 20;
	uint32_t i, at, told;
	struct sm sm;

	sm_new_small(&sm, 64);
	l = try_listen("127.0.0.1", 0);
	CHECK(!getsockname(l, (void *)&ss, &len));
	for (i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		uint32_t seq = from[i];

		fd[0] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(!setsockopt(fd[0], IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)));
		CHECK(!setsockopt(fd[0], IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)));
		CHECK(!setsockopt(fd[0], IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, sizeof(seq)));
		CHECK(!setsockopt(fd[0], IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)));
		CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)));
		CHECK(!connect(fd[0], (void *)&ss, len));
		fd[1] = accept(l, NULL, NULL);
		CHECK(fd[1] >= 0);
		set_timeout(fd[1], 2000);
		sm_attach(&sm, fd[0], 0);
		for (at = 0; at < 8000; at += 1000) {
			put(&sm, fd[0], i, at, 1000, STACKMAP_TX_ACKED);
			EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken, at + 1000);
			drain(fd[1], i, at, 1000);
		}
		/* Many at once: never more than was sent, and all in the end */
		for (; at < 40000; at += 1000)
			put(&sm, fd[0], i, at, 1000, STACKMAP_TX_ACKED);
		for (told = 8000; told < 40000;) {
			uint32_t n = sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 2000).taken;

			CHECKF(n > told && n <= 40000, "from %x: %u after %u", from[i], n, told);
			told = n;
		}
		drain(fd[1], i, 8000, 32000);
		close(fd[0]);
		close(fd[1]);
	}
	sm_settle(&sm);
	sm_close(&sm);
}

/* Where ring or room are short it is told all the same */
TEST(acked_ring_full, 20)
{
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	/* 15 slots of payload: no room for an event */
	CHECK(send_all(fd[1], (char [80000]){ 0 }, 80000));
	EQ(sm_sync(&sm, 0), 15);
	sm_mark(&sm, fd[0]);
	for (i = 0; i < 3; i++)
		EQ(sm_sync(&sm, 0), 15);
	while (sm_wait(&sm, 1000)->flags & STACKMAP_RX_DATA)
		sm_next(&sm);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 1000).flags, STACKMAP_RX_ACKED);
	sm_quiet(&sm, 10);
	sm_close(&sm);
}

/* A sleeper is woken by the ACK */
TEST(acked_wakes, 20)
{
	struct pollfd p;
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 64);
	pair_narrow(fd);
	sm_attach(&sm, fd[0], 0);
	p = (struct pollfd){ .fd = sm.fd, .events = POLLIN };
	for (i = 0; i < 10; i++)
		put(&sm, fd[0], 4, i * 4000, 4000, i == 9 ? STACKMAP_TX_ACKED : 0);
	sm_sync(&sm, 0);
	EQ(poll(&p, 1, 50), 0);
	if (!fork()) {
		drain(fd[1], 4, 0, 40000);
		_exit(0);
	}
	EQ(poll(&p, 1, 5000 * slow()), 1);
	sm_sync(&sm, 0);
	CHECK(sm_peek(&sm));
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 0).taken, 40000);
	sm_close(&sm);
}

TEST(acked_errors, 10)
{
	struct stackmap_slot *s;
	struct sm sm;
	uint32_t gen;
	int fd[2], l;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	gen = sm_attach(&sm, fd[0], 0);
	l = try_listen("127.0.0.1", 0);
	sm_attach(&sm, l, 0);
#define MARK(fd_, gen_, flags_, error) do {					\
	s = sm_request(&sm, fd_, flags_, 0);					\
	s->gen = gen_;								\
	sm_sync(&sm, 0);							\
	CHECKF((s->flags & STACKMAP_TX_REFUSED) && s->err == (error),		\
	       "flags 0x%x, %s", s->flags, strerror(s->err));			\
} while (0)
	MARK(fd[0], gen + 1, STACKMAP_TX_ACKED, ESTALE);
	MARK(-1, 0, STACKMAP_TX_ACKED, EBADF);
	MARK(fd[1], 0, STACKMAP_TX_ACKED, EBADF);
	MARK(l, 0, STACKMAP_TX_ACKED, EPIPE);
	MARK(fd[0], gen, STACKMAP_TX_ACKED | STACKMAP_TX_CREDIT, EINVAL);
	MARK(fd[0], gen, STACKMAP_TX_ACKED | 0x20, EINVAL);
	MARK(fd[0], gen, STACKMAP_TX_MORE, EINVAL);
	MARK(fd[0], gen, STACKMAP_TX_KEEP, EINVAL);
	sm_quiet(&sm, 20);
	/* buf and off are ignored without payload */
	s = sm_request(&sm, fd[0], STACKMAP_TX_ACKED, 0);
	l = s->buf;
	s->buf = UINT32_MAX;
	s->off = UINT16_MAX;
	sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 1000);
	EQ(sm.tx->refused, 0);
	s->buf = l;
	sm_settle(&sm);
	sm_close(&sm);
}

/* ----------------------------------------------------------------- RETURN */

TEST(return_idle_and_busy, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	uint32_t buf, got, user;
	struct stackmap_slot *s;
	struct sm sm;
	int fd[2], err;

	reg.pool_bufs = 16;
	reg.extra_bufs = 8;
	sm_new(&sm, &reg);
	user = sm_info(&sm).stats.frames_user;
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 2000);
	sm_attach(&sm, fd[0], 0);
	buf = sm.extra[0];
	/* Idle: it stays */
	EQ(sm_return(&sm, buf, &err), buf);
	EQ(err, 0);
	sm_account(&sm, user);
	/* Sent, kept, not read: another one */
	pat_fill(sm_buf(&sm, buf), 9, 0, 4096);
	s = sm_put(&sm, fd[0], "", 0);
	got = s->buf;
	s->buf = buf;
	s->len = 4096;
	s->flags = STACKMAP_TX_KEEP;
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	EQ(s->buf, buf);
	s->buf = got;
	got = sm_return(&sm, buf, &err);
	EQ(err, 0);
	CHECK(got != buf);
	sm_account(&sm, user);
	EQ(sm_info(&sm).stats.frames_flight, 1);
	/* It is not the application's any more */
	EQ(sm_return(&sm, buf, &err), buf);
	EQ(err, EINVAL);
	memset(sm_buf(&sm, got), 0, 4096);
	drain(fd[1], 9, 0, 4096);
	sm_settle(&sm);
	sm_account(&sm, user);
	sm_close(&sm);
}

/* None is left: it stays the application's, and comes back when one is idle */
TEST(return_without_idle_ones, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	int fd[2], err = 0, i, n = 0, large = 1 << 20;
	struct stackmap_slot *s;
	uint32_t got[64], own, user;
	struct sm sm;

	reg.pool_bufs = 4;
	reg.extra_bufs = 32;
	sm_new(&sm, &reg);
	if (sm.reg.nic == STACKMAP_NIC_VIRTIO)
		tap_skip("the ring holds them");
	user = sm_info(&sm).stats.frames_user;
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 2000);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 8; i++) {
		pat_fill(sm_buf(&sm, sm.extra[i]), 9, i * 1000, 1000);
		s = sm_put(&sm, fd[0], "", 0);
		own = s->buf;
		s->buf = sm.extra[i];
		s->len = 1000;
		s->flags = STACKMAP_TX_KEEP;
		sm_sync(&sm, 0);
		EQ(sm.tx->refused, 0);
		s->buf = own;
		got[i] = sm_return(&sm, sm.extra[i], &err);
		if (err) {
			EQ(err, EAGAIN);
			EQ(got[i], sm.extra[i]);
			n++;
		} else {
			CHECK(got[i] != sm.extra[i]);
		}
		sm_account(&sm, user);
	}
	EQ(n, 4);
	EQ(sm_info(&sm).stats.tx_refused, 4);
	EQ(sm_info(&sm).stats.frames_pool, 0);
	drain(fd[1], 9, 0, 8000);
	sm_settle(&sm);
	for (i = 4; i < 8; i++) {
		EQ(sm_return(&sm, got[i], &err), got[i]);
		EQ(err, 0);
	}
	sm_account(&sm, user);
	sm_close(&sm);
}

/* In its place between payload of a socket, which stays in order; fd, gen, off, len are ignored */
TEST(return_among_payload, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct stackmap_slot *s;
	struct sm sm;
	uint32_t at, own[64], first;
	int fd[2], i, n = 0;

	reg.extra_bufs = 8;
	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 2000);
	sm_attach(&sm, fd[0], 0);
	first = sm.tx_head;
	for (i = 0, at = 0; i < 60; i++) {
		if (i % 4 != 3) {
			put(&sm, fd[0], 6, at, 500, 0);
			at += 500;
			continue;
		}
		s = sm_request(&sm, i % 8 == 3 ? -7 : fd[0], STACKMAP_TX_RETURN, ~0ull);
		s->gen = 12345;
		s->off = 65535;
		s->len = 65535;
		own[n] = s->buf;
		s->buf = sm.extra[n++ % 8];
	}
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	drain(fd[1], 6, 0, at);
	for (i = 3, n = 0; i < 60; i += 4, n++) {
		EQ(sm.tx->slots[(first + i) & 63].buf, sm.extra[n % 8]);
		sm.tx->slots[(first + i) & 63].buf = own[n];
	}
	EQ(sm_info(&sm).stats.tx_handed_bytes + sm_info(&sm).stats.tx_copied_bytes, at);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(return_errors, 10)
{
	static const uint16_t flags[] = { 5, 6, 7, 12, 20, 0x24, 0x8004 };
	struct stackmap_slot *s;
	struct sm sm;
	unsigned int i;
	int err;

	sm_new_small(&sm, 16);
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		s = sm_request(&sm, -1, flags[i], 0);
		sm_sync(&sm, 0);
		EQ(s->flags, STACKMAP_TX_REFUSED);
		EQ(s->err, EINVAL);
	}
	EQ(sm_return(&sm, sm.reg.frames, &err), sm.reg.frames);
	EQ(err, EINVAL);
	EQ(sm_return(&sm, UINT32_MAX, &err), UINT32_MAX);
	EQ(err, EINVAL);
	sm_return(&sm, sm.reg.frames - 1, &err);	/* the pool's */
	EQ(err, EINVAL);
	sm_account(&sm, 32);
	sm_close(&sm);
}

/* ------------------------------------------------------------ kept, and received into */

/*
 * A kept buffer, still to be sent, put into a receive slot: what is received meanwhile
 * goes elsewhere, and the peer gets what was sent
 */
TEST(kept_not_received_into, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	uint32_t kept[12], own, i, at;
	struct stackmap_slot *s;
	int a[2], b[2];
	struct sm sm;

	reg.pool_bufs = 64;
	reg.extra_bufs = 12;
	sm_new(&sm, &reg);
	pair_narrow(a);
	pair_tcp(b, AF_INET);
	sm_attach(&sm, a[0], 0);
	sm_attach(&sm, b[0], 0);
	for (i = 0; i < 12; i++) {
		kept[i] = sm.extra[i];
		pat_fill(sm_buf(&sm, kept[i]), 'A', i * 4096, 4096);
		s = sm_put(&sm, a[0], "", 0);
		own = s->buf;
		s->buf = kept[i];
		s->len = 4096;
		s->flags = STACKMAP_TX_KEEP;
		sm_sync(&sm, 0);
		EQ(sm.tx->refused, 0);
		s->buf = own;
	}
	/* All that the next payload could be put into */
	for (i = 0; i < 12; i++)
		sm.rx->slots[(sm.rx->tail + i) & 15].buf = kept[i];
	for (at = 0; at < 12 * 3000; at += 3000) {
		uint8_t block[3000];

		pat_fill(block, 'B', at, 3000);
		CHECK(send_all(b[1], block, 3000));
		for (uint32_t got = 0; got < 3000;) {
			s = sm_wait(&sm, 1000);
			EQ(s->fd, b[0]);
			for (i = 0; i < 12; i++)
				CHECKF(s->buf != kept[i], "received into kept buffer %u", i);
			CHECK(pat_is(sm_buf(&sm, s->buf) + s->off, 'B', at + got, s->len));
			got += s->len;
			sm_next(&sm);
		}
	}
	drain(a[1], 'A', 0, 12 * 4096);
	sm_settle(&sm);
	sm_account(&sm, 44);
	sm_close(&sm);
}

/*
 * A store whose clients do not read: buffers are sent and kept, returned at once, and
 * reused for the next client. Each client gets its own bytes, exactly
 */
TEST_BOTH(kept_returned_reused, 90)
{
	enum { CLIENTS = 4, BYTES = 400000 };
	struct stackmap_register reg = sm_reg(IFNAME, 256);
	uint32_t sent[CLIENTS] = { 0 }, buf, own, n, swapped = 0, dry = 0;
	bool room[CLIENTS];
	int fd[CLIENTS], seed[CLIENTS], l, i, k, err, left = CLIENTS;
	struct stackmap_slot *s;
	struct ask a[CLIENTS];
	struct sm sm;

	/* Fewer than are in flight at times */
	reg.pool_bufs = 512;
	reg.extra_bufs = 4;
	sm_new(&sm, &reg);
	l = try_listen(here->guest4, 0);
	CHECK(l >= 0);
	for (i = 0; i < CLIENTS; i++) {
		seed[i] = 100 + 11 * i;
		ask(&a[i], "slow %s %d %d %d %d", here->guest4, port_of(l), seed[i], BYTES, 500 * slow());
		fd[i] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
		CHECK(fd[i] >= 0);
		sm_attach(&sm, fd[i], i);
		room[i] = true;
	}
	for (k = 0; left; k++) {
		i = k % CLIENTS;
		buf = sm.extra[k % 4];
		if (room[i] && sent[i] < BYTES) {
			n = BYTES - sent[i] < 4096 ? BYTES - sent[i] : 4096;
			/* It must be idle: whoever got it before must not see this */
			pat_fill(sm_buf(&sm, buf), seed[i], sent[i], n);
			s = sm_put(&sm, fd[i], "", 0);
			own = s->buf;
			s->buf = buf;
			s->len = n;
			s->flags = STACKMAP_TX_KEEP;
			sm_sync(&sm, 0);
			EQ(s->buf, buf);
			if (s->flags & STACKMAP_TX_REFUSED) {
				CHECKF(s->err == EAGAIN, "%s", strerror(s->err));
				room[i] = false;
				n = s->taken;
			}
			s->buf = own;
			sent[i] += n;
			if (sent[i] == BYTES) {
				CHECK(!shutdown(fd[i], SHUT_WR));
				left--;
			}
			while ((sm.extra[k % 4] = sm_return(&sm, buf, &err)) == buf && err) {
				EQ(err, EAGAIN);
				dry++;
				sm_sync(&sm, 1000);
			}
			swapped += sm.extra[k % 4] != buf;
		}
		sm_sync(&sm, 200);
		while ((s = sm_peek(&sm))) {
			CHECK(!(s->flags & STACKMAP_RX_ERROR));
			if (s->flags & STACKMAP_RX_ROOM)
				room[s->data] = true;
			sm_next(&sm);
		}
	}
	for (i = 0; i < CLIENTS; i++)
		while (!ask_done(&a[i]))
			sm_sync(&sm, 1000);
	tap_note("%u of %u buffers were busy, none was idle %u times", swapped, k, dry);
	CHECK(swapped > 50);
	for (i = 0; i < CLIENTS; i++)
		close(fd[i]);
	sm_settle(&sm);
	sm_account(&sm, 516);
	sm_close(&sm);
}
