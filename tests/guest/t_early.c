// SPDX-License-Identifier: GPL-2.0
/*
 * t_early.c - what is committed to the transmit ring is sent as the owner stalls, and the next sync tells
 *
 * The clock that finds an owner stalled runs while it has the NIC, whatever its sockets go over.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"
#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sm.h"
#include "tap.h"

#define PIECE 700
#define PIECES 14
#define SEED 3

/*
 * How long an owner is away, and when what it has committed has to be there: by far before. (It takes
 * a tick, or stall_us; but the machine is shared.)
 */
#define AWAY (1.5 * slow())
#define SOON (1.0 * slow())

enum away { SLEEPS, BURNS, SLEEPS_LATE };

static void be_away(enum away how, double s)
{
	double until = mono() + s;

	if (how != BURNS)
		usleep(s * 1e6);
	while (mono() < until)
		;
}

static void new_port(struct sm *sm, uint32_t slots, uint32_t stall_us)
{
	struct stackmap_register reg = sm_reg(here ? here->ifname : IFNAME, slots);

	reg.pool_bufs = 64;
	reg.stall_us = stall_us;
	sm_new(sm, &reg);
}

/* Sync until it has the NIC */
static void own_nic(struct sm *sm)
{
	uint64_t polls = sm_info(sm).stats.nic_polls;
	int tries = 1000;

	do {
		sm_sync(sm, 1000);
		CHECK(tries--);
	} while (sm_info(sm).stats.nic_polls == polls);
}

/* Head moved on to where the slots end: a sync would send them */
static void publish(struct sm *sm)
{
	__atomic_store_n(&sm->tx->head, sm->tx_head, __ATOMIC_RELEASE);
}

/* @n slots of @len bytes of the stream each, from byte @at on */
static void commit_small(struct sm *sm, int fd, uint32_t at, uint32_t n, uint32_t len)
{
	uint8_t block[PIECE];

	for (; n--; at += len) {
		pat_fill(block, SEED, at, len);
		sm_put(sm, fd, block, len);
	}
	publish(sm);
}

/* @n pieces, from piece @at on */
static void commit(struct sm *sm, int fd, uint32_t at, uint32_t n)
{
	commit_small(sm, fd, at * PIECE, n, PIECE);
}

/* Bytes that the peer's TCP has had */
static uint64_t acked(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0, sizeof(info));
	CHECK(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_bytes_acked;
}

/* ---------------------------------------------------------------- it is sent */

__attribute__((noreturn)) static void owner(int fd, enum away how, uint32_t stall_us, int told)
{
	uint32_t first, i;
	struct sm sm;
	char go[2];

	new_port(&sm, 64, stall_us);
	sm_attach(&sm, fd, 0);
	sm_read(&sm, fd, go, 2, 2000);
	own_nic(&sm);
	first = sm.tx_head;
	/* A tick finds it asleep, and the NIC is its interrupts', before there is anything */
	if (how == SLEEPS_LATE)
		usleep(15000);
	commit(&sm, fd, 0, PIECES);
	CHECK(write(told, "x", 1) == 1);
	be_away(how, AWAY);
	/* As if this had sent them */
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	for (i = first; i != sm.tx_head; i = (i + 1) & (sm.tx->nslots - 1))
		EQ(sm.tx->slots[i].flags, 0);
	sm_quiet(&sm, 5);
	CHECK(write(told, "x", 1) == 1);
	for (;;)
		pause();
}

/* While its owner is away it all comes to the peer, which looks at the bytes: each once, in order */
static void arrives(enum away how, uint32_t stall_us)
{
	int l = try_listen(here->guest4, 0), p[2], fd;
	struct ask a;
	uint64_t base;
	double t;
	pid_t pid;
	char b;

	CHECK(l >= 0 && !pipe(p));
	ask(&a, "slow %s %d %d %d 0", here->guest4, port_of(l), SEED, PIECES * PIECE);
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0);
	base = acked(fd);
	pid = fork();
	if (pid == 0)
		owner(fd, how, stall_us, p[1]);
	close(p[1]);
	CHECK(read(p[0], &b, 1) == 1);
	t = mono();
	while (acked(fd) - base < PIECES * PIECE) {
		CHECKF(mono() < t + SOON, "%llu bytes", (unsigned long long)(acked(fd) - base));
		usleep(5000);
	}
	tap_note("%.0f ms", (mono() - t) * 1e3);
	CHECK(read(p[0], &b, 1) == 1);
	EQ(acked(fd) - base, PIECES * PIECE);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	close(fd);
	close(l);
	close(p[0]);
	ask_wait(&a, 10);
}

/* At the next tick, though it would be stalled much later */
TEST_BOTH(early_asleep, 30)
{
	arrives(SLEEPS, STACKMAP_STALL_MAX_US);
}

/* What comes after that tick, too */
TEST_BOTH(early_late, 30)
{
	arrives(SLEEPS_LATE, 100000);
}

TEST_BOTH(early_busy, 30)
{
	arrives(BURNS, 100000);
}

/* Not of one who is about to sync; and all but the sending is left to the sync */
TEST(early_not_before, 30)
{
	static uint8_t b[(PIECES + 1) * PIECE];
	struct stackmap_stats was, is;
	uint32_t tail;
	struct sm sm;
	int fd[2];

	new_port(&sm, 64, STACKMAP_STALL_MAX_US);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	own_nic(&sm);
	was = sm_info(&sm).stats;
	tail = sm.tx->tail;
	commit(&sm, fd[0], 0, PIECES);
	be_away(BURNS, 0.1);
	is = sm_info(&sm).stats;
	EQ(is.tx_slots, was.tx_slots);
	EQ(is.stalls, was.stalls);
	be_away(SLEEPS, 0.1 * slow());
	is = sm_info(&sm).stats;
	EQ(is.tx_slots - was.tx_slots, PIECES);
	EQ(is.stalls - was.stalls, 1);
	EQ(is.syncs, was.syncs);
	EQ(sm.tx->tail, tail);
	/* Once for each time that it stalls: it is nobody's task to look any more */
	commit(&sm, fd[0], PIECES, 1);
	be_away(SLEEPS, 0.05);
	EQ(sm_info(&sm).stats.tx_slots - was.tx_slots, PIECES);
	sm_sync(&sm, 0);
	EQ(sm_info(&sm).stats.tx_slots - was.tx_slots, PIECES + 1);
	EQ(sm_detail(&sm).early_slots, PIECES);
	EQ(sm.tx->refused, 0);
	CHECK(recv_all(fd[1], b, sizeof(b)) && pat_is(b, SEED, 0, sizeof(b)));
	sm_settle(&sm);
	sm_account(&sm, 128);
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
}

/* A head that is none: nothing is sent, and a proper one is as good as ever */
TEST(early_garbage_head, 30)
{
	uint8_t b[PIECE];
	struct sm sm;
	int fd[2], i;

	new_port(&sm, 16, STACKMAP_STALL_MAX_US);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	set_timeout(fd[1], 2000);
	for (i = 0; i < 10; i++) {
		own_nic(&sm);
		__atomic_store_n(&sm.tx->head, i & 1 ? 16u << i : UINT32_MAX - i, __ATOMIC_RELEASE);
		be_away(SLEEPS, 0.03);
		EQ(recv(fd[1], b, 1, MSG_DONTWAIT), -1);
		EQ(errno, EAGAIN);
		publish(&sm);
		own_nic(&sm);
		commit(&sm, fd[0], i, 1);
		be_away(SLEEPS, 0.01);
		CHECK(recv_all(fd[1], b, PIECE) && pat_is(b, SEED, i * PIECE, PIECE));
	}
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
}

/* ------------------------------------------------- TCP has no room for all of it */

/* A stream to a peer in this process; a slot's data is where in the stream it begins */
struct stream {
	struct sm sm;
	int fd[2];
	uint64_t sent, got;
	bool blocked;		/* refused: wait for ROOM */
	uint32_t first;		/* slots since the last sync */
};

static void stream_open(struct stream *st, uint32_t stall_us)
{
	int size = 16384;

	memset(st, 0, sizeof(*st));
	new_port(&st->sm, 256, stall_us);
	pair_tcp(st->fd, AF_INET);
	CHECK(!setsockopt(st->fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	nonblock(st->fd[1]);
	sm_attach(&st->sm, st->fd[0], 0);
	st->first = st->sm.tx_head;
	own_nic(&st->sm);
}

/* Up to @n slots of up to @most bytes each, not beyond @end */
static void stream_commit(struct stream *st, uint32_t n, uint32_t most, uint64_t end, uint32_t *seed)
{
	static uint8_t block[4096];

	while (n-- && st->sent < end && st->sm.tx_head != st->sm.tx->tail) {
		uint32_t len = 1 + rnd(seed) % most;

		if (len > end - st->sent)
			len = end - st->sent;
		pat_fill(block, SEED, st->sent, len);
		sm_put(&st->sm, st->fd[0], block, len)->data = st->sent;
		st->sent += len;
	}
	publish(&st->sm);
}

/*
 * The slots refused are the last ones of the stream, and no more of its bytes are taken than
 * up to there. Returns how many; it goes on with the first
 */
static uint32_t stream_sync(struct stream *st)
{
	uint32_t mask = st->sm.tx->nslots - 1, n = 0, i;
	struct stackmap_slot *s;

	sm_sync(&st->sm, 0);
	for (i = st->first; i != st->sm.tx_head; i = (i + 1) & mask) {
		s = &st->sm.tx->slots[i];
		if (s->fd != st->fd[0])
			continue;
		if (!(s->flags & STACKMAP_TX_REFUSED)) {
			EQ(n, 0);
			continue;
		}
		EQ(s->err, EAGAIN);
		EQ(s->off, s->taken);
		CHECK(pat_is(sm_buf(&st->sm, s->buf) + s->off, SEED, s->data + s->taken, s->len));
		if (n)
			EQ(s->taken, 0);
		else
			st->sent = s->data + s->taken;
		s->flags = 0;
		n++;
	}
	st->first = st->sm.tx_head;
	EQ(st->sm.tx->refused, n);
	st->blocked = st->blocked || n;
	for (; (s = sm_peek(&st->sm)); sm_next(&st->sm)) {
		EQ(s->flags, STACKMAP_RX_ROOM);
		st->blocked = false;
	}
	return n;
}

/* The peer reads up to so much */
static void stream_read(struct stream *st, uint32_t most)
{
	static uint8_t in[65536];
	ssize_t n;

	while (most && (n = recv(st->fd[1], in, most < sizeof(in) ? most : sizeof(in), 0)) > 0) {
		CHECKF(pat_is(in, SEED, st->got, n), "at %llu", (unsigned long long)st->got);
		st->got += n;
		most -= n;
	}
}

/* Its owner stalls at random, in a random place. Returns how often slots were refused before a sync */
static uint32_t stream_run(struct stream *st, uint64_t end)
{
	double limit = mono() + 40 * slow();
	uint32_t seed = 11, early = 0;
	uint64_t refused;

	while (st->got < end) {
		CHECKF(mono() < limit, "only %llu bytes", (unsigned long long)st->got);
		refused = sm_info(&st->sm).stats.tx_refused;
		if (!st->blocked)
			stream_commit(st, rnd(&seed) % 60, 4096, end, &seed);
		if (rnd(&seed) % 4)
			be_away(rnd(&seed) % 2 ? SLEEPS : BURNS, rnd(&seed) % 12000 * 1e-6);
		early += sm_info(&st->sm).stats.tx_refused > refused;
		if (!st->blocked)
			stream_commit(st, rnd(&seed) % 20, 4096, end, &seed);
		if (rnd(&seed) % 2)
			stream_read(st, rnd(&seed) % 200000);
		stream_sync(st);
		if (rnd(&seed) % 2)
			stream_read(st, rnd(&seed) % 100000);
	}
	return early;
}

/* Nothing follows but FIN, and no frame is lost */
static void stream_close(struct stream *st)
{
	uint8_t b;

	shutdown(st->fd[0], SHUT_WR);
	fcntl(st->fd[1], F_SETFL, 0);
	set_timeout(st->fd[1], 5000);
	EQ(recv(st->fd[1], &b, 1, 0), 0);
	sm_settle(&st->sm);
	sm_account(&st->sm, 512);
	sm_close(&st->sm);
	close(st->fd[0]);
	close(st->fd[1]);
}

/*
 * What is committed behind slots that were refused, and told of by nobody yet, must not overtake
 * them, and neither must a mark. Another socket's goes its way
 */
TEST(early_refused, 60)
{
	struct stackmap_stats was, is;
	struct stackmap_slot *s;
	uint32_t seed = 7, tail;
	uint8_t b[PIECE];
	struct stream st;
	int fd[2];

	stream_open(&st, STACKMAP_STALL_MAX_US);
	pair_tcp(fd, AF_INET);
	sm_attach(&st.sm, fd[0], 0);
	own_nic(&st.sm);
	was = sm_info(&st.sm).stats;
	tail = st.sm.tx->tail;
	stream_commit(&st, 100, 4096, 1 << 20, &seed);
	be_away(SLEEPS, 0.1 * slow());
	is = sm_info(&st.sm).stats;
	EQ(is.tx_slots - was.tx_slots, 100);
	CHECK(is.tx_refused > was.tx_refused);
	EQ(is.syncs, was.syncs);
	EQ(st.sm.tx->tail, tail);
	/* There is room again, which nobody may use yet */
	stream_read(&st, 1 << 20);
	stream_commit(&st, 10, 4096, 1 << 20, &seed);
	commit(&st.sm, fd[0], 0, 1);
	s = &st.sm.tx->slots[(st.sm.tx_head - 1) & 255];
	stream_commit(&st, 10, 4096, 1 << 20, &seed);
	sm_request(&st.sm, st.fd[0], STACKMAP_TX_ACKED, st.sent);
	CHECKF(stream_sync(&st) >= 22, "%llu before", (unsigned long long)(is.tx_refused - was.tx_refused));
	EQ(sm_info(&st.sm).stats.tx_refused - is.tx_refused, 21);
	EQ(s->flags, 0);
	set_timeout(fd[1], 2000);
	CHECK(recv_all(fd[1], b, PIECE) && pat_is(b, SEED, 0, PIECE));
	stream_run(&st, 1 << 20);
	stream_close(&st);
	close(fd[0]);
	close(fd[1]);
}

TEST(early_stream, 60)
{
	struct stream st;
	uint32_t early;

	stream_open(&st, STACKMAP_STALL_MIN_US);
	early = stream_run(&st, 4 << 20);
	tap_note("refused %u times before a sync", early);
	CHECK(early > 0);
	stream_close(&st);
}

/* What the last sync has told is there until the next one, whatever is sent meanwhile */
TEST(early_told_once, 30)
{
	struct stackmap_slot *s;
	uint8_t b[PIECE];
	struct sm sm;
	int fd[2];

	new_port(&sm, 64, STACKMAP_STALL_MAX_US);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	own_nic(&sm);
	s = sm_put(&sm, fd[1], "x", 1);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 1);
	commit(&sm, fd[0], 0, 1);
	be_away(SLEEPS, 0.1 * slow());
	set_timeout(fd[1], 2000);
	CHECK(recv_all(fd[1], b, PIECE));
	EQ(s->flags, STACKMAP_TX_REFUSED);
	EQ(s->err, EBADF);
	EQ(sm.tx->refused, 1);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
}

/* ------------------------------------------------------ it ends before it is told */

/* More slots than are sent at a time */
#define MANY 200
#define SMALL 7

/* All of it came, once, and then FIN */
static void whole(int fd)
{
	uint8_t block[MANY * SMALL], b;

	set_timeout(fd, 5000);
	CHECK(recv_all(fd, block, sizeof(block)));
	CHECK(pat_is(block, SEED, 0, sizeof(block)));
	EQ(recv(fd, &b, 1, 0), 0);
	close(fd);
}

/* Killed about when it is found stalled */
TEST_NIC(early_killed, 120)
{
	int i, fd[2], p[2];
	uint32_t seed = 4;
	struct sm sm;
	pid_t pid;
	char b;

	for (i = 0; i < few(50); i++) {
		CHECK(!pipe(p));
		pair_tcp(fd, AF_INET);
		pid = fork();
		if (pid == 0) {
			close(fd[1]);
			new_port(&sm, 256, STACKMAP_STALL_MIN_US);
			sm_attach(&sm, fd[0], 0);
			own_nic(&sm);
			commit_small(&sm, fd[0], 0, MANY, SMALL);
			CHECK(write(p[1], "x", 1) == 1);
			be_away(i % 2 ? SLEEPS : BURNS, 100);
		}
		close(fd[0]);
		close(p[1]);
		CHECK(read(p[0], &b, 1) == 1);
		usleep(rnd(&seed) % 12000);
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, NULL, 0) == pid);
		whole(fd[1]);
		close(p[0]);
		EQ(sm_ports(), 0);
	}
	nic_is_ordinary();
}

/* Closed likewise, and TCP has no room for all of it */
TEST_NIC(early_closed, 120)
{
	uint32_t seed = 5;
	struct stream st;
	int i;

	for (i = 0; i < few(50); i++) {
		stream_open(&st, STACKMAP_STALL_MIN_US);
		stream_commit(&st, 250, i % 3 ? 4096 : 10, 1 << 20, &seed);
		be_away(i % 2 ? SLEEPS : BURNS, rnd(&seed) % 12000 * 1e-6);
		sm_close(&st.sm);
		EQ(sm_ports(), 0);
		shutdown(st.fd[0], SHUT_WR);
		fcntl(st.fd[1], F_SETFL, 0);
		set_timeout(st.fd[1], 5000);
		stream_read(&st, UINT32_MAX);
		CHECKF(i % 3 ? st.got > 0 : st.got == st.sent, "%llu of %llu bytes, round %d",
		       (unsigned long long)st.got, (unsigned long long)st.sent, i);
		close(st.fd[0]);
		close(st.fd[1]);
	}
	nic_is_ordinary();
}
