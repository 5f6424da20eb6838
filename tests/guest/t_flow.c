// SPDX-License-Identifier: GPL-2.0
/*
 * t_flow.c - readers that stop, rings and pools that are full
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "tap.h"

#define SLOW_BYTES 8000000

static void on_go(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	static uint8_t *all;

	(void)p;
	if (s->flags & STACKMAP_RX_ERROR)
		app_drop(c);
	if (!(s->flags & STACKMAP_RX_DATA))
		return;
	if (!all) {
		all = malloc(SLOW_BYTES);
		pat_fill(all, 77, 0, SLOW_BYTES);
	}
	app_send(c, all, SLOW_BYTES);
	c->closing = true;
}

/* A reader that stops for 5 s: refused, ROOM, and then everything exactly once */
TEST_BOTH(reader_stops, 60)
{
	struct app *app = app_new_slots(256);
	int port = app_listen(app, here->guest4);
	struct ask a[3], e;
	int i;

	app->on_slot = on_go;
	for (i = 0; i < 3; i++)
		ask(&a[i], "slow %s %d 77 %d %d", here->guest4, port, SLOW_BYTES, 5000 * slow());
	app_run_ms(app, 2000 * slow());
	EQ(app->nconns, 3);
	CHECK(app->refused >= 3);
	/* Nobody else suffers meanwhile */
	app->on_slot = app_echo;
	ask(&e, "echo %s %d 5 200000 9999 2", here->guest4, port);
	app_run(app, &e, 20);
	for (i = 0; i < 3; i++)
		app_run(app, &a[i], 30);
	CHECK(app->rooms >= 3);
	CHECK(sm_info(&app->sm).stats.tx_refused >= 3);
	app_end(app);
}

/* Many connections with much to tell, and 15 slots for all of them */
TEST(rx_ring_full, 20)
{
	uint8_t block[4096], in[4096];
	int fd[40][2], i, k, lens[40] = { 0 };
	struct stackmap_slot *s;
	struct sm sm;

	sm_new_small(&sm, 16);
	pat_fill(block, 1, 0, sizeof(block));
	for (i = 0; i < 40; i++) {
		pair_tcp(fd[i], AF_INET);
		sm_attach(&sm, fd[i][0], i);
		for (k = 0; k < 3; k++)
			CHECK(send_all(fd[i][1], block, sizeof(block)));
		shutdown(fd[i][1], SHUT_WR);
	}
	/* Nothing given back: nothing more is delivered */
	EQ(sm_sync(&sm, 0), 15);
	EQ(sm_sync(&sm, 0), 15);
	EQ(sm_sync(&sm, 1000), 15);
	CHECK(sm_info(&sm).stats.rx_full >= 1);
	for (k = 0; k < 40;) {
		s = sm_wait(&sm, 1000);
		i = s->data;
		CHECK(i >= 0 && i < 40);
		EQ(s->fd, fd[i][0]);
		if (s->flags & STACKMAP_RX_DATA) {
			memcpy(in, sm_buf(&sm, s->buf) + s->off, s->len);
			pat_fill(block, 1, 0, sizeof(block));
			CHECK(lens[i] + s->len <= 3 * 4096);
			for (int j = 0; j < s->len; j++)
				CHECK(in[j] == block[(lens[i] + j) % 4096]);
			lens[i] += s->len;
		}
		if (s->flags & STACKMAP_RX_FIN) {
			EQ(lens[i], 3 * 4096);
			lens[i] = -1;
			k++;
		}
		sm_next(&sm);
	}
	sm_quiet(&sm, 10);
	for (i = 0; i < 40; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
	sm_settle(&sm);
	sm_close(&sm);
}

/*
 * Thousands of segments of one byte, which fit in a slot or two: one sync may not walk
 * through all of them with softirqs off. TCP puts segments together unless something
 * else has a clone of them, so a packet socket is there that does not read.
 */
TEST(rx_small_segments, 30)
{
	int fd[2], tap, size = 64 << 20, i, n = 6000, got = 0, most = 0, syncs = 0;
	int unsent;
	struct {
		struct tcp_info begin;	/* which ends here in the C library's header */
		uint64_t rates_and_bytes[4];
		uint32_t segs_out, segs_in, notsent, min_rtt, data_segs_in;
	} info;
	socklen_t len = sizeof(info);
	struct stackmap_slot *s;
	struct sm sm;

	tap = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	CHECK(tap >= 0);
	CHECK(!setsockopt(tap, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)));
	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)));
	for (i = 0; i < n; i++) {
		CHECK(send(fd[1], "x", 1, 0) == 1);
		/* What waits for the congestion window becomes one segment: it is given the time to go */
		while (!ioctl(fd[1], SIOCOUTQNSD, &unsent) && unsent)
			usleep(1000);
	}
	usleep(50000 * slow());
	CHECK(!getsockopt(fd[0], IPPROTO_TCP, TCP_INFO, &info, &len));
	CHECKF(info.data_segs_in > 5000, "%u segments", info.data_segs_in);
	sm_attach(&sm, fd[0], 1);
	while (got < n) {
		int before = got;

		CHECK(syncs++ < n);
		sm_sync(&sm, 0);
		while ((s = sm_peek(&sm))) {
			EQ(s->flags, STACKMAP_RX_DATA);
			got += s->len;
			sm_next(&sm);
		}
		most = got - before > most ? got - before : most;
	}
	tap_note("%u segments in %d syncs, at most %d in one", info.data_segs_in, syncs, most);
	EQ(got, n);
	CHECKF(most <= 2200, "%d segments in one sync", most);
	sm_quiet(&sm, 5);
	close(tap);
	close(fd[0]);
	close(fd[1]);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Slots given back one at a time, at random, while more arrives */
TEST(rx_ring_random_head, 20)
{
	uint32_t seed = 3, sent = 0, got = 0;
	uint8_t block[20000];
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET6);
	nonblock(fd[1]);
	sm_attach(&sm, fd[0], 0);
	while (got < (unsigned int)few(3000000)) {
		uint32_t n = 1 + rnd(&seed) % sizeof(block);
		ssize_t k;

		pat_fill(block, 8, sent, n);
		k = send(fd[1], block, n, MSG_NOSIGNAL);
		if (k > 0)
			sent += k;
		sm_sync(&sm, 0);
		for (n = rnd(&seed) % 16; n && sm_peek(&sm); n--) {
			struct stackmap_slot *s = sm_peek(&sm);

			EQ(s->flags & ~STACKMAP_RX_HANDED, STACKMAP_RX_DATA);
			CHECK(pat_is(sm_buf(&sm, s->buf) + s->off, 8, got, s->len));
			got += s->len;
			sm_next(&sm);
		}
	}
	sm_settle(&sm);
	sm_close(&sm);
}

/* What is refused of a connection is the end of what was given, whatever made it so */
TEST(tx_refused_is_suffix, 30)
{
	uint32_t seed = 5, i, n, first;
	uint64_t sent, got;
	int fd[3][2], c, round, small = 8192;
	struct stackmap_slot *s;
	uint8_t block[65536];
	struct sm sm;
	ssize_t k;

	sm_new_small(&sm, 1024);
	for (c = 0; c < 3; c++) {
		pair_tcp(fd[c], AF_INET);
		setsockopt(fd[c][0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		sm_attach(&sm, fd[c][0], c);
		nonblock(fd[c][1]);
	}
	for (round = 0; round < 30; round++) {
		bool refused[3] = { false };

		first = sm.tx_head;
		n = 200 + rnd(&seed) % 800;
		for (i = 0; i < n; i++) {
			c = rnd(&seed) % 64 ? round % 3 : (int)(rnd(&seed) % 3);
			s = sm_put(&sm, fd[c][0], block, 1 + rnd(&seed) % 4096);
			if (rnd(&seed) % 32 == 0)
				s->flags = STACKMAP_TX_MORE;
		}
		sent = 0;
		sm_sync(&sm, 0);
		for (i = first; i != sm.tx_head; i = (i + 1) & 1023) {
			s = &sm.tx->slots[i];
			for (c = 0; s->fd != fd[c][0]; c++)
				;
			if (refused[c])
				CHECKF((s->flags & STACKMAP_TX_REFUSED) && !s->taken,
				       "round %d, slot %u: taken after a refused one", round, i);
			refused[c] = s->flags & STACKMAP_TX_REFUSED;
		}
		for (c = 0; c < 3; c++)
			while ((k = recv(fd[c][1], block, sizeof(block), 0)) > 0)
				got += k;
		sm_sync(&sm, 1000);
		while (sm_peek(&sm)) {
			EQ(sm_peek(&sm)->flags, STACKMAP_RX_ROOM);
			sm_next(&sm);
		}
	}
	(void)sent;
	(void)got;
	sm_close(&sm);
}

/* Transmit ring full again and again, to a peer that reads at random */
TEST(tx_ring_full, 30)
{
	uint32_t seed = 11, sent = 0, got = 0, placed, first, i;
	const uint32_t total = few(3000000);
	bool blocked = false;
	uint8_t block[65536];
	struct sm sm;
	int fd[2];
	ssize_t k;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	nonblock(fd[1]);
	sm_attach(&sm, fd[0], 0);
	while (got < total) {
		first = sm.tx_head;
		placed = sent;
		while (!blocked && placed < total && sm.tx_head != sm.tx->tail) {
			i = 1 + rnd(&seed) % 4096;
			if (i > total - placed)
				i = total - placed;
			pat_fill(block, 4, placed, i);
			sm_put(&sm, fd[0], block, i);
			placed += i;
		}
		sm_sync(&sm, 0);
		for (i = first; i != sm.tx_head; i = (i + 1) & 15) {
			struct stackmap_slot *s = &sm.tx->slots[i];

			if (!(s->flags & STACKMAP_TX_REFUSED))
				continue;
			EQ(s->err, EAGAIN);
			/* What is left is still in the slot's buffer */
			if (!blocked)
				sent = placed;
			blocked = true;
		}
		if (blocked) {
			for (i = first; i != sm.tx_head; i = (i + 1) & 15)
				if (sm.tx->slots[i].flags & STACKMAP_TX_REFUSED)
					sent -= sm.tx->slots[i].len;
			for (i = first, placed = sent; i != sm.tx_head; i = (i + 1) & 15) {
				struct stackmap_slot *s = &sm.tx->slots[i];

				if (!(s->flags & STACKMAP_TX_REFUSED))
					continue;
				CHECK(pat_is(sm_buf(&sm, s->buf) + s->off, 4, placed, s->len));
				placed += s->len;
			}
		} else {
			sent = placed;
		}
		/* Only until the next round: if ROOM does not come, got stays */
		while (sm_peek(&sm)) {
			EQ(sm_peek(&sm)->flags, STACKMAP_RX_ROOM);
			blocked = false;
			sm_next(&sm);
		}
		while (blocked || rnd(&seed) % 3) {
			k = recv(fd[1], block, 1 + rnd(&seed) % sizeof(block), 0);
			if (k <= 0)
				break;
			CHECK(pat_is(block, 4, got, k));
			got += k;
		}
	}
	EQ(sent, total);
	sm_settle(&sm);
	sm_close(&sm);
}

/* All the pool in flight: copies instead; acknowledged: handed again */
TEST(pool_is_dry, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct stackmap_stats before, dry, after;
	uint8_t block[4096], in[4096];
	int fd[2], i, big = 4 << 20;
	struct sm sm;

	reg.pool_bufs = 16;
	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	set_timeout(fd[1], 2000);
	sm_attach(&sm, fd[0], 0);
	before = sm_info(&sm).stats;
	EQ(before.frames_pool + before.frames_nic, 16);
	/*
	 * Over loopback frames are in flight until they are read, as the
	 * receiver has the pages themselves
	 */
	for (i = 0; i < 60; i++) {
		pat_fill(block, 2, i * 4096, 4096);
		sm_send(&sm, fd[0], block, 4096);
	}
	dry = sm_info(&sm).stats;
	EQ(dry.tx_copied_bytes + dry.tx_handed_bytes, 60 * 4096);
	CHECK(dry.tx_copied_bytes > 0 && dry.tx_handed_bytes > 0);
	EQ(dry.frames_pool, 0);
	for (i = 0; i < 60; i++) {
		CHECK(recv_all(fd[1], in, 4096));
		CHECK(pat_is(in, 2, i * 4096, 4096));
	}
	sm_settle(&sm);
	after = sm_info(&sm).stats;
	EQ(after.frames_pool + after.frames_nic, 16);
	sm_send(&sm, fd[0], block, 4096);
	EQ(sm_info(&sm).stats.tx_handed_bytes, after.tx_handed_bytes + 4096);
	CHECK(recv_all(fd[1], in, 4096));
	sm_settle(&sm);
	sm_close(&sm);
}

/* A kept buffer stays in its slot, and may be sent again while it is in flight */
TEST(tx_keep, 10)
{
	struct stackmap_slot *s;
	uint8_t in[4096];
	struct sm sm;
	int fd[2], i;
	uint32_t buf;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 2000);
	sm_attach(&sm, fd[0], 0);
	s = &sm.tx->slots[sm.tx_head];
	buf = s->buf;
	pat_fill(sm_buf(&sm, buf), 6, 0, 4096);
	for (i = 0; i < 64; i++) {
		s = &sm.tx->slots[sm.tx_head];
		s->buf = buf;
		s->fd = fd[0];
		s->off = i;
		s->len = 2000;
		s->flags = STACKMAP_TX_KEEP;
		s->gen = 0;
		sm.tx_head = (sm.tx_head + 1) & 15;
		if (i % 8 == 7) {
			sm_sync(&sm, 0);
			EQ(sm.tx->refused, 0);
		}
		EQ(s->buf, buf);
	}
	for (i = 0; i < 64; i++) {
		CHECK(recv_all(fd[1], in, 2000));
		CHECK(pat_is(in, 6, i, 2000));
	}
	EQ(sm_info(&sm).stats.frames_user, 32);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Buffers kept out of receive slots, and put back later: payload is as it was */
TEST(rx_buffers_kept, 20)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	uint32_t bufs[100], lens[100], offs[100], at = 0;
	uint8_t block[1000];
	int fd[2], i, n = 0;
	struct sm sm;

	reg.extra_bufs = 100;
	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 90; i++) {
		struct stackmap_slot *s;

		pat_fill(block, 5, i * 1000, 1000);
		CHECK(send_all(fd[1], block, 1000));
		s = sm_wait(&sm, 1000);
		bufs[n] = s->buf;
		lens[n] = s->len;
		offs[n] = s->off;
		s->buf = sm.extra[n];
		n++;
		sm_next(&sm);
	}
	for (i = 0; i < n; i++) {
		CHECK(pat_is(sm_buf(&sm, bufs[i]) + offs[i], 5, at, lens[i]));
		at += lens[i];
	}
	EQ(at, 90000);
	EQ(sm_info(&sm).stats.frames_user, 132);
	sm_settle(&sm);
	sm_close(&sm);
}

/*
 * Slots whose buffers are kept in sends that nobody reads do not hold up the others, which have idle ones: also
 * not when there are more in a row than are looked at in one sync
 */
static void slots_in_flight(uint32_t slots, int kept)
{
	struct stackmap_register reg = sm_reg(IFNAME, slots);
	int slow[2], fd[2], i;
	uint8_t block[100];
	struct sm sm;
	uint32_t buf;

	reg.pool_bufs = 1;
	sm_new(&sm, &reg);
	pair_tcp(slow, AF_INET);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, slow[0], 0);
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < kept; i++) {
		struct stackmap_slot *s, *tx;

		pat_fill(block, 5, i * 100, 100);
		CHECK(send_all(fd[1], block, 100));
		s = sm_wait(&sm, 1000);
		tx = &sm.tx->slots[sm.tx_head];
		buf = tx->buf;
		tx->buf = s->buf;
		tx->fd = slow[0];
		tx->gen = 0;
		tx->off = s->off;
		tx->len = s->len;
		tx->flags = STACKMAP_TX_KEEP;
		sm.tx_head = (sm.tx_head + 1) & (slots - 1);
		sm_sync(&sm, 0);
		EQ(sm.tx->refused, 0);
		tx->buf = buf;
		sm_next(&sm);
	}
	for (; i < (int)(5 * slots); i++) {
		pat_fill(block, 5, i * 100, 100);
		CHECK(send_all(fd[1], block, 100));
		sm_read(&sm, fd[0], block, 100, 1000);
		CHECK(pat_is(block, 5, i * 100, 100));
	}
	/* What the slow one has is what was sent */
	for (i = 0; i < kept; i++) {
		CHECK(recv_all(slow[1], block, 100));
		CHECK(pat_is(block, 5, i * 100, 100));
	}
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(rx_slot_in_flight, 20)
{
	slots_in_flight(16, 3);
}

TEST(rx_slots_in_flight, 60)
{
	slots_in_flight(512, 300);
}

/* However much waits on one socket, a sync delivers a bounded part of it, and the rest later */
TEST(rx_one_sync_is_bounded, 60)
{
	enum { BYTES = 6 << 20, MOST = 1024 + 1 };
	struct stackmap_register reg = sm_reg(IFNAME, 4096);
	int fd[2], large = 32 << 20, n, left = BYTES;
	uint8_t *block = malloc(BYTES);
	struct stackmap_slot *s;
	struct sm sm;

	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	EQ(setsockopt(fd[0], SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof(large)), 0);
	EQ(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large)), 0);
	pat_fill(block, 9, 0, BYTES);
	CHECK(send_all(fd[1], block, BYTES));
	sm_attach(&sm, fd[0], 0);
	n = sm_sync(&sm, 0);
	/* How many depends on the machine, too: a sync ends after 2 ms of this */
	CHECKF(n >= 32 && n <= MOST, "%d slots", n);
	while (left) {
		while ((s = sm_peek(&sm))) {
			CHECK(s->flags & STACKMAP_RX_DATA);
			CHECK(pat_is(sm_buf(&sm, s->buf) + s->off, 9, BYTES - left, s->len));
			left -= s->len;
			sm_next(&sm);
		}
		n = sm_sync(&sm, 1000);
		CHECKF(n <= MOST, "%d slots", n);
	}
	free(block);
	sm_settle(&sm);
	sm_close(&sm);
}
