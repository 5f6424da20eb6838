// SPDX-License-Identifier: GPL-2.0
/*
 * t_conn.c - how connections begin and end, one and many
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "tap.h"

TEST_BOTH(churn_1000, 60)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4);
	unsigned int n = few(1000);
	struct ask a;

	app->spin = here == &place_nic;
	ask(&a, "churn %s %d %u 99", here->guest4, port, n);
	app_run(app, &a, 50);
	app_run_ms(app, 50);
	CHECK(app->accepted >= n * 9 / 10 && app->accepted <= n);
	CHECK(app->errors > n / 20);
	app_end(app);
}

/* Four at a time: one after the other takes nearly twice as long, most of it waiting for the host */
TEST_NIC(short_20000, 150)
{
	struct app *app = app_new_slots(256);
	int port = app_listen(app, here->guest4);
	struct ask a;

	app->spin = true;
	ask(&a, "short %s %d %d 5 4", here->guest4, port, few(20000));
	app_run(app, &a, 140);
	tap_note("%s", a.answer);
	EQ(app->accepted, few(20000));
	app_end(app);
}

TEST_LO(short_2000, 60)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest6);
	struct ask a;

	ask(&a, "short %s %d %d 5 1", here->guest6, port, few(2000));
	app_run(app, &a, 50);
	EQ(app->accepted, few(2000));
	app_end(app);
}

TEST_BOTH(peer_reset, 20)
{
	struct app *app = app_new_slots(16);
	int port = app_listen(app, here->guest4);
	struct ask a;

	ask(&a, "reset %s %d", here->guest4, port);
	app_run(app, &a, 10);
	app_run_ms(app, 50);
	EQ(app->errors, 1);
	EQ(app->last_err, ECONNRESET);
	EQ(app->fins, 0);
	app_end(app);
}

/* The peer's FIN comes first; then we still send */
TEST_BOTH(peer_half_close, 20)
{
	struct app *app = app_new_slots(16);
	int port = app_listen(app, here->guest4);
	struct ask a;

	ask(&a, "half %s %d 4 300000", here->guest4, port);
	app_run(app, &a, 15);
	EQ(app->fins, 1);
	app_end(app);
}

static void on_fin_close(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	if (s->flags & STACKMAP_RX_DATA) {
		app_send(c, p, s->len);
		c->closing = true;
	}
}

TEST_BOTH(close_all_read_is_fin, 20)
{
	struct app *app = app_new_slots(16);
	int port = app_listen(app, here->guest4);
	struct ask a;

	app->on_slot = on_fin_close;
	ask(&a, "linger %s %d 5000", here->guest4, port);
	app_run(app, &a, 10);
	CHECKF(!strcmp(a.answer, "ok fin"), "%s", a.answer);
	app_end(app);
}

/* Payload that was not delivered is lost with close(): the peer is told by RST */
TEST_BOTH(close_unread_is_reset, 20)
{
	int l = try_listen(here->guest4, 0), fd;
	struct ask a;
	struct sm sm;

	CHECK(l >= 0);
	sm_new_small(&sm, 16);
	ask(&a, "nobody %s %d 5000", here->guest4, port_of(l));
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0);
	sm_attach(&sm, fd, 0);
	usleep(100000);
	close(fd);
	ask_wait(&a, 10);
	CHECKF(!strcmp(a.answer, "ok rst"), "%s", a.answer);
	sm_quiet(&sm, 10);
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Waits in @wait for packets that nobody else polls for. Returns how long that took, at best */
static double owner_waits(void (*wait)(struct sm *sm, int l))
{
	struct stackmap_register reg = sm_reg(here->ifname, 16);
	int l = try_listen(here->guest4, 0), i;
	double best = 100, t;
	struct sm sm;

	CHECK(l >= 0);
	reg.stall_us = 1000000;
	sm_new(&sm, &reg);
	for (i = 0; i < 4; i++) {
		t = mono();
		wait(&sm, l);
		t = mono() - t;
		if (t < best)
			best = t;
	}
	tap_note("%.0f ms", best * 1e3);
	sm_settle(&sm);
	sm_close(&sm);
	close(l);
	return best;
}

/* close() waits until the peer has acknowledged FIN: not until the owner has stalled */
static void lingers(struct sm *sm, int l)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 5 };
	struct ask a;
	char b[17];
	int fd;

	ask(&a, "nobody %s %d 10000", here->guest4, port_of(l));
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0);
	sm_attach(sm, fd, 0);
	sm_read(sm, fd, b, 17, 2000);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	sm_sync(sm, 0);
	close(fd);
	ask_wait(&a, 10);
	CHECKF(!strcmp(a.answer, "ok fin"), "%s", a.answer);
}

TEST_NIC(owner_in_linger, 60)
{
	double t = owner_waits(lingers);

	CHECKF(t < 0.4 * slow(), "%.3f s", t);
}

/* So does a connect() that blocks */
static void connects(struct sm *sm, int l)
{
	int fd;

	(void)l;
	sm_sync(sm, 0);
	fd = try_connect(here->peer4, PEER_PORT, 5000);
	CHECK(fd >= 0);
	close(fd);
}

TEST_NIC(owner_in_connect, 60)
{
	double t = owner_waits(connects);

	CHECKF(t < 0.4 * slow(), "%.3f s", t);
}

/* shutdown() from here: the peer sees FIN, and we go on receiving */
TEST(our_half_close, 10)
{
	int fd[2];
	struct sm sm;
	char b[8];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[1], 1000);
	sm_attach(&sm, fd[0], 0);
	sm_send(&sm, fd[0], "last", 4);
	shutdown(fd[0], SHUT_WR);
	CHECK(recv_all(fd[1], b, 4) && recv(fd[1], b, 1, 0) == 0);
	CHECK(send_all(fd[1], "more", 4));
	sm_read(&sm, fd[0], b, 4, 1000);
	{
		struct stackmap_slot *t = sm_put(&sm, fd[0], "x", 1);

		sm_sync(&sm, 0);
		EQ(t->flags, STACKMAP_TX_REFUSED);
		EQ(t->err, EPIPE);
	}
	close(fd[1]);
	sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000);
	sm_quiet(&sm, 10);
	close(fd[0]);
	sm_settle(&sm);
	sm_close(&sm);
}

/* FIN, and later RST: whoever still sends is told */
TEST(reset_after_fin, 10)
{
	struct linger l = { .l_onoff = 1 };
	struct stackmap_slot *t;
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	shutdown(fd[1], SHUT_WR);
	sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000);
	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd[1]);
	usleep(10000);
	sm_sync(&sm, 1000);
	if (sm_peek(&sm)) {
		EQ(sm_peek(&sm)->flags, STACKMAP_RX_ERROR);
		sm_next(&sm);
	}
	t = sm_put(&sm, fd[0], "x", 1);
	sm_sync(&sm, 0);
	EQ(t->flags, STACKMAP_TX_REFUSED);
	CHECKF(t->err == EPIPE || t->err == ECONNRESET, "%s", strerror(t->err));
	close(fd[0]);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Waiting for ROOM, and the peer resets: something must come */
TEST(reset_while_refused, 20)
{
	struct linger l = { .l_onoff = 1 };
	uint8_t block[4096] = "";
	struct stackmap_slot *t, s;
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 16);
	for (i = 0; i < 2; i++) {
		pair_tcp(fd, AF_INET);
		sm_attach(&sm, fd[0], 0);
		if (i) {
			shutdown(fd[1], SHUT_WR);
			sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000);
		}
		do {
			t = sm_put(&sm, fd[0], block, sizeof(block));
			sm_sync(&sm, 0);
		} while (!(t->flags & STACKMAP_TX_REFUSED));
		EQ(t->err, EAGAIN);
		setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		close(fd[1]);
		s = *sm_wait(&sm, 3000);
		sm_next(&sm);
		EQ(s.fd, fd[0]);
		CHECKF(s.flags & (STACKMAP_RX_ERROR | STACKMAP_RX_ROOM), "0x%x", s.flags);
		close(fd[0]);
	}
	sm_settle(&sm);
	sm_close(&sm);
}

/* A number is used again: no slot of the old connection after the new attach */
TEST(fd_reuse, 30)
{
	uint32_t seed = 1, old = 0, gen;
	struct sm sm;
	int fd[2], i;

	sm_new_small(&sm, 64);
	for (i = 0; i < 500; i++) {
		int l = try_listen("127.0.0.1", 0), num;

		pair_from(l, fd);
		close(l);
		num = fd[0];
		gen = sm_attach(&sm, num, i);
		CHECK(gen != old);
		CHECK(send_all(fd[1], &i, sizeof(i)));
		if (rnd(&seed) % 2)
			sm_sync(&sm, 0);
		while (sm_peek(&sm)) {
			struct stackmap_slot *s = sm_peek(&sm);

			EQ(s->fd, num);
			EQ(s->gen, gen);
			EQ(s->data, i);
			if (s->flags & STACKMAP_RX_DATA)
				EQ(*(int *)(sm_buf(&sm, s->buf) + s->off), i);
			sm_next(&sm);
		}
		/* Closed in either order, with or without payload waiting */
		if (rnd(&seed) % 2)
			close(fd[1]);
		else
			send(fd[1], "late", 4, MSG_NOSIGNAL);
		close(num);
		close(fd[1]);
		{
			struct stackmap_slot *t = sm_put(&sm, num, "stale", 5);

			t->gen = gen;
			sm_sync(&sm, 0);
			EQ(t->flags, STACKMAP_TX_REFUSED);
			EQ(t->err, EBADF);
		}
		while (sm_peek(&sm)) {
			EQ(sm_peek(&sm)->gen, gen);
			sm_next(&sm);
		}
		old = gen;
	}
	sm_quiet(&sm, 10);
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_settle(&sm);
	sm_close(&sm);
}

/* The number goes to another socket by dup2() while the old one lives on */
TEST(fd_dup2, 10)
{
	int a[2], b[2], copy;
	struct stackmap_slot *s;
	uint32_t gen[2];
	struct sm sm;

	sm_new_small(&sm, 16);
	pair_tcp(a, AF_INET);
	pair_tcp(b, AF_INET);
	gen[0] = sm_attach(&sm, a[0], 1);
	copy = dup(a[0]);
	CHECK(dup2(b[0], a[0]) == a[0]);
	gen[1] = sm_attach(&sm, a[0], 2);
	CHECK(gen[0] != gen[1]);
	CHECK(send_all(a[1], "old", 3) && send_all(b[1], "new", 3));
	s = sm_wait(&sm, 1000);
	EQ(s->gen, gen[1]);
	EQ(s->data, 2);
	CHECK(!memcmp(sm_buf(&sm, s->buf) + s->off, "new", 3));
	sm_next(&sm);
	sm_quiet(&sm, 20);
	s = sm_put(&sm, a[0], "x", 1);
	s->gen = gen[0];
	sm_sync(&sm, 0);
	EQ(s->err, ESTALE);
	/* The old one is an ordinary socket now */
	CHECK(recv(copy, &s, 3, MSG_DONTWAIT) == 3);
	EQ(sm_info(&sm).stats.sockets, 1);
	sm_close(&sm);
}

/* A listener that is closed under connections arriving */
TEST_BOTH(listener_closed, 20)
{
	struct app *app = app_new_slots(64);
	struct ask a;
	int i, port;

	for (i = 0; i < 20; i++) {
		port = app_listen(app, here->guest4);
		ask(&a, "flood %s %d 50", here->guest4, port);
		app_run_ms(app, 20);
		{
			int fd;

			for (fd = 0; fd < APP_FDS; fd++)
				if (app->conn[fd])
					app_drop(app->conn[fd]);
		}
		app_run(app, &a, 10);
	}
	app_end(app);
}
