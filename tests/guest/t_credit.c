// SPDX-License-Identifier: GPL-2.0
/*
 * t_credit.c - STACKMAP_TX_CREDIT: connections that are paused, or get so many bytes
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
#include "sh.h"
#include "sm.h"
#include "tap.h"

static void reset(int fd)
{
	struct linger rst = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	close(fd);
}

static void give(int fd, uint32_t seed, uint32_t at, uint32_t n)
{
	uint8_t block[4096];

	CHECK(n <= sizeof(block));
	pat_fill(block, seed, at, n);
	CHECK(send_all(fd, block, n));
}

/* Exactly these bytes come, and no more */
static void comes(struct sm *sm, int fd, uint32_t seed, uint32_t at, uint32_t n)
{
	uint8_t block[8192];

	CHECK(n <= sizeof(block));
	sm_read(sm, fd, block, n, 1000);
	CHECK(pat_is(block, seed, at, n));
	sm_quiet(sm, 10);
}

static int polled(struct sm *sm)
{
	struct pollfd p = { .fd = sm->fd, .events = POLLIN };

	__atomic_store_n(&sm->rx->head, sm->head, __ATOMIC_RELEASE);
	EQ(poll(&p, 1, 20) >= 0, 1);
	return p.revents;
}

/* Paused: nothing comes and nobody is woken. Then so many bytes, in this very sync */
TEST(credit_pause_and_grant, 20)
{
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	give(fd[1], 1, 0, 1000);
	comes(&sm, fd[0], 1, 0, 1000);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 1000, 3000);
	sm_quiet(&sm, 50);
	EQ(polled(&sm), 0);
	give(fd[1], 1, 4000, 1000);
	EQ(polled(&sm), 0);
	sm_credit(&sm, fd[0], 1);
	CHECK(sm_peek(&sm));
	comes(&sm, fd[0], 1, 1000, 1);
	sm_credit(&sm, fd[0], 3000);
	CHECK(sm_peek(&sm));
	comes(&sm, fd[0], 1, 1001, 3000);
	EQ(polled(&sm), 0);
	/* More than there is: the rest is for what comes later */
	sm_credit(&sm, fd[0], 1500);
	comes(&sm, fd[0], 1, 4001, 999);
	give(fd[1], 1, 5000, 501);
	EQ(polled(&sm), POLLIN);
	comes(&sm, fd[0], 1, 5000, 501);
	give(fd[1], 1, 5501, 100);
	sm_quiet(&sm, 20);
	sm_credit(&sm, fd[0], UINT64_MAX);
	comes(&sm, fd[0], 1, 5501, 100);
	give(fd[1], 1, 5601, 4000);
	comes(&sm, fd[0], 1, 5601, 4000);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Added, saturating; a pause forgets what was left */
TEST(credit_adds, 20)
{
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 0, 4000);
	for (i = 0; i < 5; i++)
		sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 7);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	comes(&sm, fd[0], 1, 0, 35);
	sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 100);
	sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 0);
	sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 3);
	sm_sync(&sm, 0);
	comes(&sm, fd[0], 1, 35, 3);
	/* Nearly as many as there are numbers, and beyond: without bound */
	sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, UINT64_MAX - 1);
	sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, UINT64_MAX - 1);
	sm_sync(&sm, 0);
	comes(&sm, fd[0], 1, 38, 3962);
	/* Something more than that changes nothing, but a pause does */
	sm_credit(&sm, fd[0], 10);
	give(fd[1], 1, 4000, 1000);
	comes(&sm, fd[0], 1, 4000, 1000);
	sm_credit(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], UINT64_MAX - 1);
	give(fd[1], 1, 5000, 1000);
	comes(&sm, fd[0], 1, 5000, 1000);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 6000, 1000);
	sm_quiet(&sm, 20);
	sm_close(&sm);
}

/* An error that leaves the connection as it is does not wait with the payload: nothing can be sent before it was told */
TEST(credit_soft_error, 20)
{
	struct stackmap_slot *s;
	int fd[2], one = 1, i;
	uint8_t b[10];
	struct sm sm;

	if (sh("modprobe -q nf_tables; nft list ruleset >/dev/null 2>&1"))
		tap_skip("no nft here");
	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	EQ(setsockopt(fd[0], IPPROTO_IP, IP_RECVERR, &one, sizeof(one)), 0);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 0, 1000);
	sm_quiet(&sm, 20);
	EQ(sh("nft 'add table inet sm; add chain inet sm out { type filter hook output priority 0; }; add rule inet sm out tcp dport %d reject with icmp type host-unreachable'",
	      port_of(fd[1])), 0);
	s = sm_put(&sm, fd[0], "0123456789", 10);
	sm_sync(&sm, 0);
	EQ(s->flags, 0);
	usleep(20000);
	EQ(sh("nft delete table inet sm"), 0);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ERROR, 2000).err, EHOSTUNREACH);
	/* TCP sends again what did not get through, some time */
	for (i = 0; i < 2; i++) {
		if (i) {
			s = sm_put(&sm, fd[0], "0123456789", 10);
			sm_sync(&sm, 0);
			EQ(s->flags, 0);
		}
		set_timeout(fd[1], 5000);
		CHECK(recv_all(fd[1], b, 10));
		CHECK(!memcmp(b, "0123456789", 10));
	}
	sm_quiet(&sm, 20);
	sm_credit(&sm, fd[0], UINT64_MAX);
	comes(&sm, fd[0], 1, 0, 1000);
	sm_close(&sm);
}

/*
 * A peer sends @total bytes. So many come at a time, at most @most (0: without bound), and
 * the application writes to their buffers at once, as they are its own: what credit
 * holds back is not in them. Back they go, and the peer compares
 */
static void by_grants(struct sm *sm, int l, uint32_t total, uint32_t most)
{
	uint32_t seed = most, granted = most ? 0 : total, got = 0, sent = 0, n;
	uint8_t *all = malloc(total);
	bool fin = false, room = true;
	struct stackmap_slot *s;
	struct ask a;
	int fd;

	ask(&a, "half %s %d 9 %u", here->guest4, port_of(l), total);
	fd = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	CHECK(fd >= 0);
	sm_attach(sm, fd, 0);
	if (most)
		sm_credit(sm, fd, 0);
	while (!fin) {
		if (got == granted && got < total) {
			n = 1 + rnd(&seed) % (rnd(&seed) % 4 ? most : 200);
			sm_request(sm, fd, STACKMAP_TX_CREDIT, n);
			granted += n;
		}
		sm_sync(sm, 300);
		for (; (s = sm_peek(sm)); sm_next(sm)) {
			CHECK(!(s->flags & STACKMAP_RX_ERROR));
			if (s->flags & STACKMAP_RX_FIN) {
				EQ(got, total);
				fin = true;
				continue;
			}
			CHECKF(got + s->len <= granted, "%u granted, %u come", granted, got + s->len);
			memcpy(all + got, sm_buf(sm, s->buf) + s->off, s->len);
			CHECK(pat_is(all + got, 9, got, s->len));
			got += s->len;
			memset(sm_buf(sm, s->buf), 0xee, sm_buf_size(sm, s->buf));
		}
	}
	while (sent < total) {
		n = total - sent < 4096 ? total - sent : 4096;
		if (room) {
			s = sm_put(sm, fd, all + sent, n);
			sm_sync(sm, 0);
			sent += s->flags & STACKMAP_TX_REFUSED ? s->taken : n;
			room = !(s->flags & STACKMAP_TX_REFUSED);
		} else {
			sm_event(sm, fd, STACKMAP_RX_ROOM, 5000);
			room = true;
		}
	}
	shutdown(fd, SHUT_WR);
	while (!ask_done(&a))
		sm_sync(sm, 1000);
	close(fd);
	free(all);
}

static void bytes_exact(uint32_t most)
{
	struct stackmap_register reg = sm_reg(here->ifname, 256);
	int l = try_listen(here->guest4, 0);
	uint64_t handed;
	struct sm sm;
	bool own;

	CHECK(l >= 0);
	reg.pool_bufs = 4096;
	sm_new(&sm, &reg);
	own = sm.reg.nic == STACKMAP_NIC_VIRTIO && here == &place_nic;
	/* Until the own driver's ring holds the port's buffers only */
	if (own)
		by_grants(&sm, l, 1500000 * sh_ring_turns(here->ifname), 0);
	handed = sm_info(&sm).stats.rx_handed_bytes;
	by_grants(&sm, l, few(600000), most);
	handed = sm_info(&sm).stats.rx_handed_bytes - handed;
	tap_note("%llu bytes handed over", (unsigned long long)handed);
	/* (Credit ends in the middle of a large buffer nearly always) */
	CHECK(!own || sm.reg.large_bufs || handed > (unsigned int)few(20000));
	sm_settle(&sm);
	sm_account(&sm, 512);
	close(l);
	sm_close(&sm);
}

TEST_BOTH(credit_bytes_exact_small, 90)
{
	bytes_exact(1000);
}

TEST_BOTH(credit_bytes_exact_large, 60)
{
	bytes_exact(20000);
}

/* A FIN with nothing before it is told without credit; else it waits for what is before it */
TEST(credit_and_fin, 20)
{
	struct sm sm;
	int fd[2], i;

	for (i = 0; i < 3; i++) {
		sm_new_small(&sm, 64);
		pair_tcp(fd, i & 1 ? AF_INET : AF_INET6);
		sm_attach(&sm, fd[0], 0);
		sm_credit(&sm, fd[0], i == 2 ? 1000 : 0);
		if (i)
			give(fd[1], 1, 0, 1000);
		if (i == 2)
			comes(&sm, fd[0], 1, 0, 1000);
		CHECK(!shutdown(fd[1], SHUT_WR));
		if (i == 1) {
			sm_quiet(&sm, 30);
			EQ(polled(&sm), 0);
			sm_credit(&sm, fd[0], 999);
			comes(&sm, fd[0], 1, 0, 999);
			sm_credit(&sm, fd[0], 1);
			sm_read(&sm, fd[0], (char [1]){ 0 }, 1, 100);
		}
		EQ(sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000).flags, STACKMAP_RX_FIN);
		sm_quiet(&sm, 20);
		sm_close(&sm);
		close(fd[0]);
		close(fd[1]);
	}
}

/* An error after payload waits for it; with none before it it is told */
TEST(credit_and_error, 20)
{
	struct stackmap_slot s;
	struct sm sm;
	int fd[2], i;

	for (i = 0; i < 2; i++) {
		sm_new_small(&sm, 64);
		pair_tcp(fd, AF_INET);
		sm_attach(&sm, fd[0], 0);
		sm_credit(&sm, fd[0], 0);
		if (i)
			give(fd[1], 1, 0, 1000);
		reset(fd[1]);
		if (i) {
			sm_quiet(&sm, 30);
			sm_credit(&sm, fd[0], 400);
			comes(&sm, fd[0], 1, 0, 400);
			sm_credit(&sm, fd[0], UINT64_MAX);
			sm_read(&sm, fd[0], (char [600]){ 0 }, 600, 100);
		}
		s = sm_event(&sm, fd[0], STACKMAP_RX_ERROR, 1000);
		EQ(s.err, ECONNRESET);
		sm_quiet(&sm, 20);
		sm_close(&sm);
		close(fd[0]);
	}
}

/* Its window closes, so that the peer has to stop; a plain read() gets what is held back */
TEST(credit_window_closes, 30)
{
	uint32_t sent = 0, got = 0, i;
	uint8_t block[65536];
	struct sm sm;
	int fd[2];
	ssize_t k;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	nonblock(fd[1]);
	nonblock(fd[0]);
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	for (i = 0; i < 20;) {
		pat_fill(block, 3, sent, sizeof(block));
		k = send(fd[1], block, sizeof(block), MSG_NOSIGNAL);
		if (k > 0) {
			sent += k;
			continue;
		}
		EQ(errno, EAGAIN);
		sm_sync(&sm, 1000);
		i++;
	}
	CHECK(!sm_peek(&sm));
	CHECKF(sent < 64 << 20, "%u", sent);
	/* By read(), some of it */
	for (i = 0; i < 4; i++) {
		k = recv(fd[0], block, 10000, 0);
		EQ(k, 10000);
		CHECK(pat_is(block, 3, got, k));
		got += k;
	}
	/* By the port, some */
	sm_credit(&sm, fd[0], 5000);
	sm_read(&sm, fd[0], block, 5000, 1000);
	CHECK(pat_is(block, 3, got, 5000));
	got += 5000;
	sm_quiet(&sm, 10);
	/* The rest by read() after detach, and attached again it is without bound */
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	while (got < sent - 1000) {
		uint32_t n = sent - 1000 - got < sizeof(block) ? sent - 1000 - got : sizeof(block);

		k = recv(fd[0], block, n, 0);
		if (k < 0) {
			EQ(errno, EAGAIN);
			usleep(1000);
			continue;
		}
		CHECK(pat_is(block, 3, got, k));
		got += k;
	}
	sm_attach(&sm, fd[0], 0);
	comes(&sm, fd[0], 3, got, 1000);
	sm_close(&sm);
}

/* Room, a connection that is made, an acknowledgment: told though it is paused */
TEST(credit_and_other_events, 30)
{
	int fd[2], small = 4096, l, c;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct stackmap_slot *s;
	uint8_t block[65536];
	uint32_t n = 0;
	struct sm sm;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	nonblock(fd[1]);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 0, 1000);
	do {
		s = sm_put(&sm, fd[0], block, 4096);
		sm_sync(&sm, 0);
		CHECK(!sm_peek(&sm));
	} while (!(s->flags & STACKMAP_TX_REFUSED) && n++ < 10000);
	EQ(s->err, EAGAIN);
	while (!sm_peek(&sm)) {
		while (recv(fd[1], block, sizeof(block), 0) > 0)
			;
		sm_sync(&sm, 1000);
	}
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ROOM, 0).flags, STACKMAP_RX_ROOM);
	sm_mark(&sm, fd[0]);
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ACKED, 1000).flags, STACKMAP_RX_ACKED);
	sm_quiet(&sm, 20);
	/* With CONNECTED and a pause from the beginning */
	l = try_listen("127.0.0.1", 0);
	CHECK(!listen(l, 0));
	CHECK(!getsockname(l, (void *)&ss, &len));
	c = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(c, (void *)&ss, len));
	c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	FAILS(connect(c, (void *)&ss, len), EINPROGRESS);
	sm_attach(&sm, c, 0);
	sm_credit(&sm, c, 0);
	CHECK(accept(l, NULL, NULL) >= 0);
	EQ(sm_event(&sm, c, STACKMAP_RX_CONNECTED, 8000).flags, STACKMAP_RX_CONNECTED);
	fd[1] = accept(l, NULL, NULL);
	CHECK(fd[1] >= 0);
	give(fd[1], 1, 0, 1000);
	sm_quiet(&sm, 20);
	sm_credit(&sm, c, 1000);
	comes(&sm, c, 1, 0, 1000);
	sm_close(&sm);
}

/* A full ring takes nothing from the credit */
TEST(credit_and_full_ring, 20)
{
	struct sm sm;
	uint32_t at;
	int fd[2], i;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	for (i = 0; i < 30; i++)
		give(fd[1], 1, i * 4096, 4096);
	sm_credit(&sm, fd[0], 28 * 4096 + 5);
	EQ(sm_sync(&sm, 0), 15);
	EQ(sm_sync(&sm, 0), 15);
	for (at = 0; at < 28 * 4096 + 5;) {
		struct stackmap_slot *s = sm_wait(&sm, 1000);

		CHECK(pat_is(sm_buf(&sm, s->buf) + s->off, 1, at, s->len));
		at += s->len;
		CHECK(at <= 28 * 4096 + 5);
		sm_next(&sm);
	}
	sm_quiet(&sm, 20);
	sm_settle(&sm);
	sm_close(&sm);
}

/* In the midst of payload slots, whose order stays; and not held up by a refused one */
TEST(credit_among_payload, 20)
{
	int fd[2], small = 4096, i;
	struct stackmap_slot *s;
	uint8_t block[65536];
	uint32_t at = 0, first;
	struct sm sm;
	ssize_t k;

	sm_new_small(&sm, 128);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 1000);
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 0, 1000);
	for (i = 0; i < 90; i++) {
		if (i % 9 == 4) {
			sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 10);
			continue;
		}
		pat_fill(block, 2, at, 100 + i);
		sm_put(&sm, fd[0], block, 100 + i);
		at += 100 + i;
	}
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	comes(&sm, fd[0], 1, 0, 100);
	CHECK(recv_all(fd[1], block, at));
	CHECK(pat_is(block, 2, 0, at));
	/* Without room */
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	first = sm.tx_head;
	do {
		s = sm_put(&sm, fd[0], block, 4096);
		sm_sync(&sm, 0);
	} while (!(s->flags & STACKMAP_TX_REFUSED));
	first = sm.tx_head;
	sm_put(&sm, fd[0], block, 4096);
	sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 10);
	sm_put(&sm, fd[0], block, 4096);
	sm_sync(&sm, 0);
	EQ(sm.tx->slots[first].err, EAGAIN);
	EQ(sm.tx->slots[(first + 1) & 127].flags, STACKMAP_TX_CREDIT);
	EQ(sm.tx->slots[(first + 2) & 127].err, EAGAIN);
	/* This very sync has told of them; room may come with them, or when the peer has read */
	CHECK(sm_peek(&sm)->flags & STACKMAP_RX_DATA);
	sm_read(&sm, fd[0], block, 10, 0);
	CHECK(pat_is(block, 1, 100, 10));
	nonblock(fd[1]);
	while (!sm_peek(&sm)) {
		while ((k = recv(fd[1], block, sizeof(block), 0)) > 0)
			;
		sm_sync(&sm, 1000);
	}
	EQ(sm_event(&sm, fd[0], STACKMAP_RX_ROOM, 0).flags, STACKMAP_RX_ROOM);
	sm_quiet(&sm, 10);
	sm_close(&sm);
}

/* shutdown(SHUT_RD): what has come before is still to be had, then the end */
TEST(credit_and_shut_rd, 20)
{
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_credit(&sm, fd[0], 0);
	give(fd[1], 1, 0, 1000);
	CHECK(!shutdown(fd[0], SHUT_RD));
	sm_quiet(&sm, 30);
	sm_credit(&sm, fd[0], 600);
	comes(&sm, fd[0], 1, 0, 600);
	sm_credit(&sm, fd[0], 400);
	sm_read(&sm, fd[0], (char [400]){ 0 }, 400, 1000);
	sm_close(&sm);
}

/* A listener has no payload: it tells what it has */
TEST(credit_of_a_listener, 20)
{
	int l = try_listen("127.0.0.1", 0), fd[2];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct sm sm;

	sm_new_small(&sm, 16);
	sm_attach(&sm, l, 0);
	sm_credit(&sm, l, 0);
	sm_sync(&sm, 0);
	CHECK(!getsockname(l, (void *)&ss, &len));
	fd[1] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(fd[1], (void *)&ss, len));
	EQ(polled(&sm), POLLIN);
	sm_event(&sm, l, STACKMAP_RX_ACCEPT, 1000);
	fd[0] = accept(l, NULL, NULL);
	CHECK(fd[0] >= 0);
	while (sm_sync(&sm, 0))
		sm_next(&sm);
	sm_attach(&sm, fd[0], 0);
	give(fd[1], 1, 0, 100);
	comes(&sm, fd[0], 1, 0, 100);
	sm_close(&sm);
}

TEST(credit_errors, 10)
{
	struct stackmap_slot *s;
	struct sm sm;
	uint32_t gen, own;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	gen = sm_attach(&sm, fd[0], 0);
#define CREDIT(fd_, gen_, flags_, len_, error) do {				\
	s = sm_request(&sm, fd_, flags_, 0);					\
	s->gen = gen_;								\
	s->len = len_;								\
	sm_sync(&sm, 0);							\
	EQ(!!(s->flags & STACKMAP_TX_REFUSED), !!(error));			\
	if (error)								\
		EQ(s->err, error);						\
} while (0)
	CREDIT(fd[0], gen + 1, STACKMAP_TX_CREDIT, 0, ESTALE);
	CREDIT(fd[1], 0, STACKMAP_TX_CREDIT, 0, EBADF);
	CREDIT(-1, 0, STACKMAP_TX_CREDIT, 0, EBADF);
	CREDIT(INT32_MIN, 0, STACKMAP_TX_CREDIT, 0, EBADF);
	CREDIT(fd[0], gen, STACKMAP_TX_CREDIT, 1, EINVAL);
	CREDIT(fd[0], gen, STACKMAP_TX_CREDIT | STACKMAP_TX_KEEP, 0, EINVAL);
	CREDIT(fd[0], gen, STACKMAP_TX_CREDIT | STACKMAP_TX_ACKED, 0, EINVAL);
	CREDIT(fd[0], gen, STACKMAP_TX_CREDIT | STACKMAP_TX_RETURN, 0, EINVAL);
	CREDIT(fd[0], gen, STACKMAP_TX_CREDIT | STACKMAP_TX_REFUSED, 0, EINVAL);
	/* None of them has paused it */
	give(fd[1], 1, 0, 100);
	comes(&sm, fd[0], 1, 0, 100);
	/* buf and off are ignored */
	s = sm_request(&sm, fd[0], STACKMAP_TX_CREDIT, 0);
	own = s->buf;
	s->buf = UINT32_MAX;
	s->off = UINT16_MAX;
	s->gen = gen;
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	s->buf = own;
	give(fd[1], 1, 0, 100);
	sm_quiet(&sm, 20);
	close(fd[0]);
	CREDIT(fd[0], gen, STACKMAP_TX_CREDIT, 0, EBADF);
	sm_account(&sm, 128);
	sm_close(&sm);
}
