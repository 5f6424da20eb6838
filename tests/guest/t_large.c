// SPDX-License-Identifier: GPL-2.0
/*
 * t_large.c - large buffers: what is asked for, where they are, what comes in them and leaves in them
 *
 * (tests/guest/run --large has all other tests run with some, too.)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "sh.h"
#include "tap.h"

#define LARGE	32768u

static struct stackmap_register large_reg(const char *ifname, uint32_t slots, uint32_t size, uint32_t n)
{
	struct stackmap_register reg = sm_reg(ifname, slots);

	reg.large_size = size;
	reg.large_bufs = n;
	return reg;
}

static void refused(uint32_t size, uint32_t n)
{
	struct stackmap_register reg = large_reg(IFNAME, 64, size, n);
	int fd = sm_open();

	CHECKF(ioctl(fd, STACKMAP_IOC_REGISTER, &reg) && errno == EINVAL, "%u of %u: %s", n, size, strerror(errno));
	close(fd);
}

TEST(large_wrong, 20)
{
	static const uint32_t sizes[] = { 0, 1, 4095, 4096, 4097, 8191, 12288, 65535, 131072, 0x80000000, UINT32_MAX };
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		refused(sizes[i], 16);
	refused(8192, 0);
	/* With their numbers they are too many */
	refused(8192, STACKMAP_FRAMES_MAX / 2);
	refused(65536, STACKMAP_FRAMES_MAX / 16);
	refused(65536, 0x10000000);
	refused(65536, UINT32_MAX);
}

/* Each of its own memory, zeroed, and none within another; told by all that tells of a port */
TEST(large_answers, 20)
{
	static const uint32_t sizes[] = { 8192, 16384, 32768, 65536 };
	struct stackmap_register reg, again;
	unsigned int i, j, k;
	struct sm sm;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		reg = large_reg(IFNAME, 16, sizes[i], 10);
		reg.pool_bufs = 7;
		reg.extra_bufs = 3;
		sm_new(&sm, &reg);
		EQ(sm.reg.large_first, 16 + 16 + 7 + 3);
		EQ(sm.reg.frames, sm.reg.large_first + 10 * sizes[i] / 4096);
		EQ(sm.reg.frame_size, 4096);
		EQ(sm.reg.map_size, sm.reg.frames_off + 4096ull * sm.reg.frames);
		for (j = 0; j < sm.reg.frames; j++) {
			for (k = 0; k < 4096; k++)
				CHECK(!sm_buf(&sm, j)[k]);
			memset(sm_buf(&sm, j), j % 251 + 1, 4096);
		}
		for (j = 0; j < sm.reg.frames; j++)
			for (k = 0; k < 4096; k++)
				EQ(sm_buf(&sm, j)[k], j % 251 + 1);
		EQ(sm_info(&sm).large_bufs, 10);
		EQ(sm_info(&sm).large_size, sizes[i]);
		CHECK(!ioctl(sm.fd, STACKMAP_IOC_PORT, &again));
		EQ(again.large_first, sm.reg.large_first);
		EQ(again.large_size, sizes[i]);
		sm_account(&sm, 16 + 16 + 3);
		sm_settle(&sm);
		sm_close(&sm);
	}
}

/* Neither one that the kernel has, nor a number within one, is the application's to name */
TEST(large_not_yours, 20)
{
	struct stackmap_register reg = large_reg(IFNAME, 64, LARGE, 8);
	struct stackmap_slot *s;
	int fd[2], err;
	struct sm sm;
	uint32_t i;

	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	for (i = sm.reg.large_first; i < sm.reg.frames + 3; i++) {
		uint32_t own;

		s = sm_put(&sm, fd[0], "x", 1);
		own = s->buf;
		s->buf = i;
		sm_sync(&sm, 0);
		CHECK(s->flags & STACKMAP_TX_REFUSED);
		EQ(s->err, EINVAL);
		s->buf = own;
		EQ(sm_return(&sm, i, &err), i);
		EQ(err, EINVAL);
	}
	sm_account(&sm, sm.reg.rx_slots + sm.reg.tx_slots);
	sm_close(&sm);
}

/* Until there is nothing in the NIC's ring but large buffers, and the window is open */
static void turn_ring(struct app *app, int port)
{
	struct ask a;

	ask(&a, "pieces %s %d 3 2000 %d 0", here->guest4, port, 300 * sh_ring_turns(here->ifname));
	app_run(app, &a, 30);
	ask(&a, "pieces %s %d 3 65536 20 0", here->guest4, port);
	app_run(app, &a, 30);
}

/* A server on the own driver's NIC, whose ring has large buffers only */
static struct app *own_server(uint32_t size, uint32_t n, int *port)
{
	struct stackmap_register reg = large_reg(here->ifname, 256, size, n);
	struct app *app = app_new(&reg);

	if (app->sm.reg.nic != STACKMAP_NIC_VIRTIO)
		tap_skip("for the module's own driver");
	*port = app_listen(app, here->guest4);
	app->spin = true;
	turn_ring(app, *port);
	return app;
}

/* What arrives in a burst of 64 KB is in few slots where the port's buffers are the NIC's, and each byte is right */
TEST_NIC(large_few_slots, 60)
{
	static const uint32_t sizes[] = { 8192, 16384, 32768, 65536 };
	struct stackmap_stats before, st;
	unsigned long long slots, most;
	struct app *app;
	unsigned int i;
	struct ask a;
	int port;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		app = own_server(sizes[i], 1024, &port);
		before = sm_info(&app->sm).stats;
		ask(&a, "pieces %s %d 4 65536 40 0", here->guest4, port);
		app_run(app, &a, 20);
		st = sm_info(&app->sm).stats;
		EQ(st.rx_handed_bytes + st.rx_copied_bytes - before.rx_handed_bytes - before.rx_copied_bytes, 40 * 65536);
		/* A packet takes as many as it is long, and one: a slot has up to 64 bytes less than a buffer */
		slots = st.rx_slots - before.rx_slots;
		most = st.nic_packets - before.nic_packets + 40 * 65536 / (sizes[i] - 64) + 1;
		CHECKF(slots <= most, "%u: %llu slots, at most %llu", sizes[i], slots, most);
		tap_note("%u: %llu slots of at most %llu, %llu copied", sizes[i], slots, most,
			 (unsigned long long)(st.rx_copied_bytes - before.rx_copied_bytes));
		/* (The end of a packet may be short: that is copied) */
		CHECK(st.rx_copied_bytes - before.rx_copied_bytes < 40 * 128 * 2);
		app_end(app);
	}
}

/* With a stock driver all is copied, and what is more than a page comes in large buffers, too */
TEST_NIC(large_copied, 60)
{
	struct stackmap_register reg = large_reg(here->ifname, 64, 65536, 128);
	struct stackmap_stats before, st;
	struct app *app;
	struct ask a;
	int port;

	app = app_new(&reg);
	if (app->sm.reg.nic != STACKMAP_NIC_NAPI)
		tap_skip("for a stock driver");
	port = app_listen(app, here->guest4);
	app->spin = true;
	ask(&a, "pieces %s %d 4 65536 20 0", here->guest4, port);
	app_run(app, &a, 20);
	before = sm_info(&app->sm).stats;
	ask(&a, "pieces %s %d 4 65536 20 0", here->guest4, port);
	app_run(app, &a, 20);
	/* What is short stays in pages */
	ask(&a, "pieces %s %d 4 1000 20 0", here->guest4, port);
	app_run(app, &a, 20);
	st = sm_info(&app->sm).stats;
	EQ(st.rx_copied_bytes - before.rx_copied_bytes, 20 * 66536);
	CHECKF(st.rx_slots - before.rx_slots <= 20 * 6 + 20 + 10, "%llu slots",
	       (unsigned long long)(st.rx_slots - before.rx_slots));
	app_end(app);
}

/* Odd pieces and sizes, both ways, with rings that are always full, and few large ones: all arrives */
static void mixed(uint32_t size, uint32_t n, uint32_t slots)
{
	struct stackmap_register reg = large_reg(here->ifname, slots, size, n);
	struct app *app;
	struct ask a[3];
	unsigned int i;
	int port;

	reg.pool_bufs = 64;
	app = app_new(&reg);
	port = app_listen(app, here->guest4);
	app->spin = true;
	ask(&a[0], "echo %s %d 7 %d 5000 20", here->guest4, port, few(200000));
	ask(&a[1], "echo %s %d 8 %d 65536 3", here->guest4, port, few(2000000));
	ask(&a[2], "echo %s %d 9 %d 100 20", here->guest4, port, few(20000));
	for (i = 0; i < 3; i++)
		app_run(app, &a[i], 60);
	EQ(app->accepted, 43);
	EQ(app->errors, 0);
	app_end(app);
}

TEST_NIC(large_mixed, 180)
{
	mixed(65536, 300, 256);
}

TEST_NIC(large_mixed_few, 180)
{
	mixed(16384, 3, 16);
}

/* One of the large buffers that came in receive slots changes places with the next transmit slot's */
static uint32_t to_send_from(struct sm *sm)
{
	uint32_t i, buf;

	for (i = 0; i < sm->reg.rx_slots && sm->rx->slots[i].buf < sm->reg.large_first; i++)
		;
	CHECK(i < sm->reg.rx_slots);
	buf = sm->rx->slots[i].buf;
	sm->rx->slots[i].buf = sm->tx->slots[sm->tx_head].buf;
	sm->tx->slots[sm->tx_head].buf = buf;
	return buf;
}

/* Many slots with all of one, of which a round takes a few: all of it arrives */
TEST_NIC(large_sent_often, 60)
{
	uint32_t buf, own[40], i, want = 8 << 20;
	uint64_t got = 0, total = 40 * 65000;
	uint8_t *block, *in;
	struct app *app;
	struct sm *sm;
	int fd[2], port, n;
	double end;

	app = own_server(65536, 700, &port);
	sm = &app->sm;
	buf = to_send_from(sm);
	pair_tcp(fd, AF_INET);
	CHECK(!setsockopt(fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want)));
	sm_attach(sm, fd[1], 0);
	block = malloc(65536);
	in = malloc(total);
	CHECK(block && in);
	pat_fill(block, 5, 0, 65536);
	memcpy(sm_buf(sm, buf), block, 65536);
	for (i = 0; i < 40; i++) {
		struct stackmap_slot *s = &sm->tx->slots[(sm->tx_head + i) & (sm->tx->nslots - 1)];

		own[i] = s->buf;
		s->buf = buf;
		s->fd = fd[1];
		s->gen = 0;
		s->off = i;
		s->len = 65000;
		s->flags = STACKMAP_TX_KEEP;
	}
	sm->tx_head = (sm->tx_head + 40) & (sm->tx->nslots - 1);
	end = mono() + 20 * slow();
	sm_sync(sm, 0);
	for (i = 0; i < 40; i++)
		CHECK(!(sm->tx->slots[(sm->tx_head - 40 + i) & (sm->tx->nslots - 1)].flags & STACKMAP_TX_REFUSED));
	while (got < total && mono() < end) {
		n = recv(fd[0], in + got, total - got, MSG_DONTWAIT);
		got += n > 0 ? n : 0;
		sm_sync(sm, 0);
	}
	EQ(got, total);
	for (i = 0; i < 40; i++) {
		CHECKF(!memcmp(in + 65000 * i, block + i, 65000), "slot %u", i);
		sm->tx->slots[(sm->tx_head - 40 + i) & (sm->tx->nslots - 1)].buf = own[i];
	}
	/* (The first one's own went to a receive slot: the large one takes its place) */
	sm->tx->slots[(sm->tx_head - 40) & (sm->tx->nslots - 1)].buf = buf;
	close(fd[0]);
	close(fd[1]);
	free(block);
	free(in);
	app_end(app);
}

/* One that was received is sent as it is, from any place in it; what TCP does not take stays, and goes later */
TEST_NIC(large_sent_on, 60)
{
	uint64_t sent = 0, got = 0;
	uint8_t *block, *in;
	struct stackmap_slot *s;
	struct app *app;
	struct sm *sm;
	uint32_t buf, i;
	int fd[2], port, n, want = 4096, l;

	app = own_server(65536, 700, &port);
	sm = &app->sm;
	buf = to_send_from(sm);

	l = try_listen("127.0.0.1", 0);
	CHECK(l >= 0 && !setsockopt(l, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want)));
	pair_from(l, fd);
	close(l);
	want = 16384;
	CHECK(!setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &want, sizeof(want)));
	sm_attach(sm, fd[1], 0);
	block = malloc(65536);
	in = malloc(65535);
	CHECK(block && in);
	pat_fill(block, 5, 0, 65536);
	memcpy(sm_buf(sm, buf), block, 65536);
	s = &sm->tx->slots[sm->tx_head];
	s->fd = fd[1];
	s->gen = 0;
	/* To its last byte */
	s->off = 1;
	s->len = 65535;
	s->flags = 0;
	sm->tx_head = (sm->tx_head + 1) & (sm->tx->nslots - 1);
	sm_sync(sm, 0);
	/* Its receiver takes little: in pieces, each from a buffer that is as large */
	CHECK(s->flags & STACKMAP_TX_REFUSED);
	for (i = 0; i < 10000 && got < 65535; i++) {
		if (s->flags & STACKMAP_TX_REFUSED) {
			struct stackmap_slot rest = *s;

			EQ(rest.err, EAGAIN);
			EQ(rest.off + rest.len, 65536);
			CHECK(rest.buf >= sm->reg.large_first);
			sent = rest.off - 1;
			/* The next slot's own takes the place of the one that goes there */
			s->buf = sm->tx->slots[sm->tx_head].buf;
			s = &sm->tx->slots[sm->tx_head];
			*s = rest;
			s->flags = 0;
			sm->tx_head = (sm->tx_head + 1) & (sm->tx->nslots - 1);
		}
		n = recv(fd[0], in + got, 65535 - got, MSG_DONTWAIT);
		if (n > 0)
			got += n;
		else
			usleep(1000);
		sm_sync(sm, 0);
		while (sm_peek(sm))
			sm_next(sm);
	}
	EQ(got, 65535);
	CHECK(sent < 65535);
	CHECK(!memcmp(in, block + 1, got));
	close(fd[0]);
	close(fd[1]);
	free(block);
	free(in);
	app_end(app);
}

/* What a socket is charged for a short packet is what that uses of a large buffer: or a few would fill it */
TEST_NIC(large_charged, 30)
{
	uint32_t mem[SK_MEMINFO_VARS];
	socklen_t len = sizeof(mem);
	double end = mono() + 10 * slow();
	struct app *app;
	struct ask a;
	uint8_t in[500];
	int port, l, fd = -1, n = 0;

	app = own_server(65536, 1024, &port);
	/* An ordinary socket on the same NIC */
	l = try_listen(here->guest4, 0);
	CHECK(l >= 0);
	ask(&a, "pieces %s %d 3 500 1 0", here->guest4, port_of(l));
	while (n < 500 && mono() < end) {
		app_round(app);
		if (fd < 0)
			fd = accept4(l, NULL, NULL, SOCK_NONBLOCK);
		else
			CHECK(!ioctl(fd, SIOCINQ, &n));
	}
	EQ(n, 500);
	CHECKF(!getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len), "%s", strerror(errno));
	CHECKF(mem[SK_MEMINFO_RMEM_ALLOC] < 3 * 4096, "%u bytes", mem[SK_MEMINFO_RMEM_ALLOC]);
	EQ(recv(fd, in, 500, 0), 500);
	EQ(send(fd, in, 500, 0), 500);
	while (!ask_done(&a) && recv(fd, in, 1, 0))
		app_round(app);
	close(fd);
	close(l);
	while (!ask_done(&a))
		app_round(app);
	app_end(app);
}

/* 20 000 bytes, by 6000 and the rest. Returns how many were handed over from beyond the first page of a buffer */
static uint32_t in_parts(struct sm *sm, int l)
{
	uint32_t total = 20000, got = 0, beyond = 0;
	uint8_t *all = malloc(total);
	struct stackmap_slot *s;
	struct ask a;
	int fd, n = 0;

	CHECK(all);
	ask(&a, "pieces %s %d 9 %u 1 0", here->guest4, port_of(l), total);
	fd = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	CHECK(fd >= 0);
	sm_attach(sm, fd, 0);
	sm_credit(sm, fd, 0);
	while (ioctl(fd, SIOCINQ, &n) || n < (int)total)
		sm_sync(sm, 1000);
	while (got < total) {
		sm_request(sm, fd, STACKMAP_TX_CREDIT, got < 12000 ? 6000 : UINT64_MAX);
		sm_sync(sm, 1000);
		for (; (s = sm_peek(sm)); sm_next(sm)) {
			EQ(s->flags & ~STACKMAP_RX_HANDED, STACKMAP_RX_DATA);
			CHECK(pat_is(sm_buf(sm, s->buf) + s->off, 9, got, s->len));
			memcpy(all + got, sm_buf(sm, s->buf) + s->off, s->len);
			got += s->len;
			if (s->flags & STACKMAP_RX_HANDED && s->off >= 4096)
				beyond += s->len;
		}
	}
	sm_send(sm, fd, all, total);
	CHECK(!shutdown(fd, SHUT_WR));
	while (!ask_done(&a))
		sm_sync(sm, 1000);
	close(fd);
	free(all);
	/* It is detached when its last segments are exchanged */
	while (sm_info(sm).stats.sockets > 1)
		sm_sync(sm, 1000);
	return beyond;
}

/* Credit ends within a large buffer: that part is copied, and the rest is handed over when it may be, where it lies */
TEST_NIC(large_rest, 60)
{
	uint32_t beyond = 0;
	struct app *app;
	int port, l, tries;

	app = own_server(LARGE, 1024, &port);
	l = try_listen(here->guest4, 0);
	CHECK(l >= 0);
	/* (On a busy machine the packets may be so small that none goes on beyond a page) */
	for (tries = 0; tries < 10 && !beyond; tries++)
		beyond = in_parts(&app->sm, l);
	CHECK(beyond > 0);
	close(l);
	app_end(app);
}

/* What is queued of an echo, and the rest of it, by ordinary calls */
static void finish(struct conn *c)
{
	static uint8_t block[65536];
	ssize_t n;

	CHECK(!fcntl(c->fd, F_SETFL, 0));
	while (c->start < c->end) {
		n = write(c->fd, c->queue + c->start, c->end - c->start);
		CHECKF(n > 0, "%s", strerror(errno));
		c->start += n;
	}
	while ((n = read(c->fd, block, sizeof(block))) > 0)
		EQ(write(c->fd, block, n), n);
	EQ(n, 0);
}

/* The port goes while they are everywhere: in the ring, in queues, in flight */
TEST_NIC(large_closed_under_load, 90)
{
	struct app *app;
	struct ask a;
	int port, i, fd, l;

	for (i = 0; i < few(20); i++) {
		struct stackmap_register reg = large_reg(here->ifname, 64, 8192 << i % 4, 200);

		app = app_new(&reg);
		app->keep = true;
		port = app_listen(app, here->guest4);
		app->spin = true;
		ask(&a, "echo %s %d 7 2000000 65536 1", here->guest4, port);
		do
			app_run_ms(app, 2 + 3 * i);
		while (!app->accepted);
		sm_close(&app->sm);
		for (fd = 0, l = -1; fd < APP_FDS; fd++) {
			if (app->conn[fd] && app->conn[fd]->listener)
				l = fd;
			else if (app->conn[fd])
				finish(app->conn[fd]);
		}
		CHECK(l >= 0);
		for (fd = 0; fd < APP_FDS; fd++) {
			if (app->conn[fd]) {
				close(fd);
				free(app->conn[fd]->queue);
				free(app->conn[fd]);
			}
		}
		ask_wait(&a, 30);
		free(app->placed);
		free(app);
	}
}
