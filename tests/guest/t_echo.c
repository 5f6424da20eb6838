// SPDX-License-Identifier: GPL-2.0
/*
 * t_echo.c - payload, both ways, byte by byte; what is queued before attaching
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "tap.h"

static void echo(const char *addr, uint32_t slots, bool spin, uint64_t bytes, uint32_t piece,
		 int conns)
{
	struct app *app = app_new_slots(slots);
	int port = app_listen(app, addr);
	struct ask a;

	app->spin = spin;
	ask(&a, "echo %s %d 42 %llu %u %d", addr, port, (unsigned long long)bytes, piece, conns);
	app_run(app, &a, 60);
	EQ(app->accepted, conns);
	EQ(app->fins, conns);
	EQ(app->errors, 0);
	app_end(app);
}

TEST_BOTH(echo_1_byte, 10)
{
	echo(here->guest4, 64, true, 1, 1, 1);
}

TEST_BOTH(echo_no_byte, 10)
{
	echo(here->guest4, 64, false, 0, 1, 3);
}

TEST_BOTH(echo_odd_pieces, 60)
{
	echo(here->guest4, 256, true, few(300000) + 1, 777, 7);
}

TEST_BOTH(echo_odd_pieces_v6, 60)
{
	echo(here->guest6, 256, false, few(300000) + 1, 777, 7);
}

TEST_BOTH(echo_page_edges_v6, 60)
{
	echo(here->guest6, 64, true, 4096 * 16 + 1, 4096, 2);
}

TEST_BOTH(echo_10_MB, 90)
{
	echo(here->guest4, 1024, true, few(10 << 20), 65536, 1);
}

TEST_BOTH(echo_200_connections, 60)
{
	echo(here->guest4, 64, false, 5000, 4096, 200);
}

/* Rings so small that they are always full, both of them */
TEST_BOTH(echo_16_slots, 90)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	struct app *app;
	struct ask a;
	int port;

	reg.pool_bufs = 16;
	app = app_new(&reg);
	port = app_listen(app, here->guest4);
	app->spin = true;
	ask(&a, "echo %s %d 7 60000 5000 40", here->guest4, port);
	app_run(app, &a, 60);
	EQ(app->accepted, 40);
	/* How often they are full is chance, that all arrives is not */
	app_end(app);
}

/* connect(), from here to the peer. Attached after it has finished */
static void connected(const char *addr)
{
	struct app *app = app_new_slots(64);
	uint8_t out[20000];
	struct conn *c;
	struct ask a;
	int fd, tries;

	ask(&a, "target %s 9100 1", addr);
	ask_ready(&a);
	fd = try_connect(addr, 9100, 3000);
	CHECKF(fd >= 0, "%s", strerror(errno));
	app->on_slot = app_echo;
	c = app_add(app, fd);
	pat_fill(out, 3, 0, sizeof(out));
	/* The target echoes, we echo: around it goes. Then our FIN ends it */
	app_send(c, out, sizeof(out));
	/* On a busy host the peer may take its time */
	for (tries = 0; tries < 30 && c->in <= sizeof(out); tries++)
		app_run_ms(app, 300);
	CHECK(c->in > sizeof(out));
	EQ(app->connected, 0);
	shutdown(fd, SHUT_WR);
	app_run(app, &a, 10);
	app_run_ms(app, 50);
	app_end(app);
}

TEST_BOTH(connect_blocking, 20)
{
	connected(here->peer4);
}

TEST_BOTH(connect_blocking_v6, 20)
{
	connected(here->peer6);
}

/* A port that has the NIC for long */
static void new_claimed(struct sm *sm)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);

	reg.stall_us = STACKMAP_STALL_MAX_US;
	sm_new(sm, &reg);
}

static int start_connect(const char *addr, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, addr, port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	CHECK(fd >= 0);
	if (connect(fd, (void *)&ss, len))
		CHECKF(errno == EINPROGRESS, "%s", strerror(errno));
	return fd;
}

/* From here on nothing arrives but in sync */
static int start_connect_claimed(struct sm *sm, const char *addr, int port)
{
	sm_quiet(sm, 20);
	return start_connect(addr, port);
}

TEST_NIC(connect_nonblocking, 20)
{
	struct stackmap_slot s;
	struct sm sm;
	struct ask a;
	char b[4];
	int fd;

	new_claimed(&sm);
	ask(&a, "target %s 9101 1", here->peer4);
	ask_ready(&a);
	fd = start_connect_claimed(&sm, here->peer4, 9101);
	sm_attach(&sm, fd, 5);
	s = sm_event(&sm, fd, STACKMAP_RX_CONNECTED, 3000);
	EQ(s.flags, STACKMAP_RX_CONNECTED);
	EQ(s.data, 5);
	sm_quiet(&sm, 20);
	sm_send(&sm, fd, "ping", 4);
	sm_read(&sm, fd, b, 4, 3000);
	CHECK(!memcmp(b, "ping", 4));
	shutdown(fd, SHUT_WR);
	sm_event(&sm, fd, STACKMAP_RX_FIN, 3000);
	sm_quiet(&sm, 20);
	close(fd);
	ask_wait(&a, 5);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Sending before the connection is there: refused, and ROOM or CONNECTED tells when */
TEST_NIC(connect_send_early, 20)
{
	struct stackmap_slot *t, s;
	struct sm sm;
	struct ask a;
	char b[4];
	int fd;

	new_claimed(&sm);
	ask(&a, "target %s 9102 1", here->peer6);
	ask_ready(&a);
	fd = start_connect_claimed(&sm, here->peer6, 9102);
	sm_attach(&sm, fd, 5);
	t = sm_put(&sm, fd, "ping", 4);
	sm_sync(&sm, 0);
	EQ(t->flags, STACKMAP_TX_REFUSED);
	EQ(t->err, EAGAIN);
	EQ(t->len, 4);
	s = sm_event(&sm, fd, STACKMAP_RX_CONNECTED, 3000);
	if (!(s.flags & STACKMAP_RX_ROOM))
		sm_event(&sm, fd, STACKMAP_RX_ROOM, 1000);
	sm_send(&sm, fd, "ping", 4);
	sm_read(&sm, fd, b, 4, 3000);
	shutdown(fd, SHUT_WR);
	sm_event(&sm, fd, STACKMAP_RX_FIN, 3000);
	close(fd);
	ask_wait(&a, 5);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST_NIC(connect_refused, 20)
{
	struct stackmap_slot s, *t;
	struct sm sm;
	int fd;

	new_claimed(&sm);
	fd = start_connect_claimed(&sm, here->peer4, 9);
	sm_attach(&sm, fd, 0);
	s = sm_event(&sm, fd, STACKMAP_RX_ERROR, 3000);
	EQ(s.flags, STACKMAP_RX_ERROR);
	EQ(s.err, ECONNREFUSED);
	sm_quiet(&sm, 20);
	t = sm_put(&sm, fd, "x", 1);
	sm_sync(&sm, 0);
	EQ(t->flags, STACKMAP_TX_REFUSED);
	EQ(t->err, EPIPE);
	close(fd);
	sm_settle(&sm);
	sm_close(&sm);
}

/* What is there before comes out first, then what comes after, then FIN */
TEST(queued_before_attach, 10)
{
	uint8_t in[9000], out[9000];
	int fam, fd[2];
	struct sm sm;

	sm_new_small(&sm, 16);
	for (fam = 0; fam < 2; fam++) {
		pair_tcp(fd, fam ? AF_INET6 : AF_INET);
		pat_fill(out, 9, 0, sizeof(out));
		CHECK(send_all(fd[1], out, 6000));
		sm_attach(&sm, fd[0], 0);
		CHECK(send_all(fd[1], out + 6000, 3000));
		shutdown(fd[1], SHUT_WR);
		sm_read(&sm, fd[0], in, sizeof(in), 1000);
		CHECK(!memcmp(in, out, sizeof(in)));
		sm_event(&sm, fd[0], STACKMAP_RX_FIN, 1000);
		sm_quiet(&sm, 10);
		close(fd[0]);
		close(fd[1]);
	}
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(accepted_before_attach, 10)
{
	int l = try_listen("127.0.0.1", 0), fd[2];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct sm sm;

	sm_new_small(&sm, 16);
	getsockname(l, (void *)&ss, &len);
	fd[1] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(fd[1], (void *)&ss, len));
	sm_attach(&sm, l, 0);
	sm_event(&sm, l, STACKMAP_RX_ACCEPT, 1000);
	/* Repeated until there is nothing to accept */
	sm_event(&sm, l, STACKMAP_RX_ACCEPT, 1000);
	fd[0] = accept(l, NULL, NULL);
	CHECK(fd[0] >= 0);
	sm_quiet(&sm, 20);
	/* A child is an ordinary socket until it is attached itself */
	CHECK(send_all(fd[1], "a", 1));
	sm_quiet(&sm, 20);
	CHECK(recv(fd[0], &len, 1, 0) == 1);
	EQ(sm_info(&sm).stats.sockets, 1);
	/* A listener can be detached, and still accepts */
	EQ(sm_try_detach(sm.fd, l), 0);
	close(fd[0]);
	pair_from(l, fd);
	sm_quiet(&sm, 10);
	sm_close(&sm);
}

/* What has not been delivered stays for read(); and attached again, for slots */
TEST(detach_and_attach_again, 10)
{
	uint32_t gen[2];
	int fd[2], i;
	struct sm sm;
	char b[8];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	set_timeout(fd[0], 1000);
	for (i = 0; i < 3; i++) {
		gen[i % 2] = sm_attach(&sm, fd[0], i);
		CHECK(gen[0] != gen[1]);
		CHECK(send_all(fd[1], "one", 3));
		sm_read(&sm, fd[0], b, 3, 1000);
		CHECK(send_all(fd[1], "two", 3));
		usleep(10000);
		EQ(sm_try_detach(sm.fd, fd[0]), 0);
		CHECK(recv_all(fd[0], b, 3) && !memcmp(b, "two", 3));
		CHECK(send_all(fd[1], "six", 3));
		CHECK(recv_all(fd[0], b, 3) && !memcmp(b, "six", 3));
	}
	/* poll() on the socket itself wakes as ever, attached or not */
	for (i = 0; i < 2; i++) {
		struct pollfd p = { .fd = fd[0], .events = POLLIN };

		if (i)
			sm_attach(&sm, fd[0], 0);
		CHECK(poll(&p, 1, 0) == 0);
		CHECK(send_all(fd[1], "x", 1));
		CHECK(poll(&p, 1, 1000) == 1);
		if (!i)
			CHECK(recv_all(fd[0], b, 1));
		else
			sm_read(&sm, fd[0], b, 1, 1000);
	}
	sm_settle(&sm);
	sm_close(&sm);
	/* The port is gone, the connection is not */
	CHECK(send_all(fd[1], "end", 3) && recv_all(fd[0], b, 3) && !memcmp(b, "end", 3));
	CHECK(send_all(fd[0], "end", 3) && recv_all(fd[1], b, 3) && !memcmp(b, "end", 3));
}

/* read() and write() on an attached socket: each byte comes out once, somewhere */
TEST(read_write_on_attached, 10)
{
	int fd[2], i, n = 0;
	struct sm sm;
	char b[64];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	CHECK(send_all(fd[0], "direct", 6));
	CHECK(recv_all(fd[1], b, 6) && !memcmp(b, "direct", 6));
	for (i = 0; i < 50; i++) {
		CHECK(send_all(fd[1], "y", 1));
		if (i % 2) {
			n += recv(fd[0], b, sizeof(b), MSG_DONTWAIT) == 1;
		}
		sm_sync(&sm, 0);
		while (sm_peek(&sm)) {
			n += sm_peek(&sm)->len;
			sm_next(&sm);
		}
	}
	usleep(10000);
	sm_sync(&sm, 1000);
	while (sm_peek(&sm)) {
		n += sm_peek(&sm)->len;
		sm_next(&sm);
	}
	EQ(n, 50);
	sm_settle(&sm);
	sm_close(&sm);
}

/* An urgent byte is part of the stream */
TEST(urgent_data, 10)
{
	int fd[2];
	struct sm sm;
	char b[8];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	CHECK(send(fd[1], "abc", 3, MSG_OOB) == 3);
	CHECK(send_all(fd[1], "def", 3));
	sm_read(&sm, fd[0], b, 6, 1000);
	CHECK(!memcmp(b, "abcdef", 6));
	sm_quiet(&sm, 10);
	sm_close(&sm);
}
