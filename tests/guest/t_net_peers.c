// SPDX-License-Identifier: GPL-2.0
/*
 * t_net_peers.c - peers with tiny windows, tiny segments, and ACKs that no kernel sends
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "rawtcp.h"
#include "sh.h"
#include "tap.h"

/* Kernel sockets as small as they can be made, on either side */
TEST_NET(net_small_peers, 90)
{
	static const struct { int rcvbuf, mss, bytes; } peer[] = {
		{ 1, 0, 60000 }, { 2304, 536, 60000 }, { 1, 88, 20000 }, { 0, 88, 60000 },
	};
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4);
	struct ask a[4];
	size_t i;

	app->spin = true;
	for (i = 0; i < 4; i++)
		ask(&a[i], "small %s %d %zu %d %d %d", here->guest4, port, i, peer[i].bytes,
		    peer[i].rcvbuf, peer[i].mss);
	for (i = 0; i < 4; i++)
		app_run(app, &a[i], 60);
	EQ(app->fins, 4);
	EQ(app->errors, 0);
	app_end(app);
}

/* Our own receive buffer is small: what was taken out of it must open the window again */
TEST_NET(net_small_self, 90)
{
	struct app *app = app_new_slots(16);
	int port = app_listen(app, here->guest4), small = 1, fd;
	struct ask a;

	for (fd = 0; fd < APP_FDS; fd++)
		if (app->conn[fd])
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	/*
	 * Little, as it is slow, and would be with plain sockets: a buffer of the
	 * NIC counts as a page, so that the window shrinks to some hundred bytes,
	 * and the peer sends that much each time its probe timer ends (200 ms).
	 */
	ask(&a, "echo %s %d 3 15000 9999 4", here->guest4, port);
	app_run(app, &a, 60);
	EQ(app->fins, 4);
	EQ(app->errors, 0);
	app_end(app);
}

/* The way to the raw peers: a default route, if there was one, is gone after `stackmap bind` */
static void raw_route(void)
{
	EQ(sh("ip route replace %s.0/24 via %s", here->raw, here->peer4), 0);
}

static void raw(int manner, uint32_t bytes, int conns, bool spin)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4), i;
	bool quit = manner & RAW_QUIT;
	struct ask a[4];
	char from[32];

	raw_route();
	app->spin = spin;
	for (i = 0; i < conns; i++) {
		snprintf(from, sizeof(from), "%s.%d", here->raw, 20 + i);
		ask(&a[i], "raw %s %d %d %u %d %s", here->guest4, port, 100 + i, bytes, manner, from);
	}
	for (i = 0; i < conns; i++)
		app_run(app, &a[i], 100);
	if (quit)
		app_run_ms(app, 500);
	EQ(app->accepted, conns);
	EQ(app->fins, quit ? 0 : conns);
	EQ(app->errors, quit ? conns : 0);
	if (quit)
		EQ(app->last_err, ECONNRESET);
	app_end(app);
}

TEST_NET(net_raw_plain, 120)
{
	raw(0, 300000, 4, true);
}

TEST_NET(net_raw_mss_1, 120)
{
	raw(RAW_MSS1, 2500, 2, true);
}

TEST_NET(net_raw_tiny_window, 120)
{
	raw(RAW_TINY, 30000, 4, false);
}

TEST_NET(net_raw_zero_window, 120)
{
	raw(RAW_ZERO, 60000, 4, true);
}

TEST_NET(net_raw_silly_acks, 120)
{
	raw(RAW_ACKS, 100000, 4, true);
}

TEST_NET(net_raw_chaos, 120)
{
	raw(RAW_ACKS | RAW_CHAOS | RAW_TINY, 20000, 4, false);
}

TEST_NET(net_raw_reset, 120)
{
	raw(RAW_QUIT | RAW_ACKS, 100000, 4, true);
}

/* ICMP errors about an established connection never end it; a smaller path MTU is kept to */
TEST_NET(net_raw_icmp, 120)
{
	raw(RAW_ICMP, 300000, 4, true);
	sh("ip route flush cache");
}

/* Who asks for it (IP_RECVERR) is told of them, and of the end all the same */
TEST_NET(net_raw_icmp_told, 120)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4), fd, one = 1;
	struct ask a;
	char from[32];

	/* (Connections inherit it.) */
	for (fd = 0; fd < APP_FDS; fd++)
		if (app->conn[fd])
			EQ(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)), 0);
	app->soft = true;
	app->spin = true;
	raw_route();
	snprintf(from, sizeof(from), "%s.24", here->raw);
	ask(&a, "raw %s %d 104 100000 %d %s", here->guest4, port, RAW_ICMP, from);
	app_run(app, &a, 100);
	tap_note("told of %llu errors, the last: %s", (unsigned long long)app->errors,
		 strerror(app->last_err));
	CHECK(app->errors > 0);
	EQ(app->fins, 1);
	app_end(app);
	sh("ip route flush cache");
}

static void refused(int code, int err)
{
	struct app *app = app_new_slots(64);
	struct sockaddr_storage ss;
	struct ask a;
	char to[32];
	socklen_t len;
	int fd;

	raw_route();
	snprintf(to, sizeof(to), "%s.40", here->raw);
	ask(&a, "refuse %s 7070 %d %s", here->guest4, code, to);
	ask_ready(&a);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	len = addr_of(&ss, to, 7070);
	FAILS(connect(fd, (void *)&ss, len), EINPROGRESS);
	app_add(app, fd);
	app_run(app, &a, 20);
	app_run_ms(app, 300);
	EQ(app->errors, 1);
	EQ(app->last_err, err);
	app_end(app);
}

/* ... but it ends a connection that is not established yet */
TEST_NET(net_icmp_while_connecting, 60)
{
	refused(3, ECONNREFUSED);
	refused(1, EHOSTUNREACH);
	refused(13, EHOSTUNREACH);
}

/* ------------------------------------------------------- half-open connections */

static void half_open(uint32_t n, int backlog, int cookies, bool spin)
{
	struct app *app = app_new_slots(256);
	int port, before, i, fd;
	char from[32], out[64];
	struct ask s, a;
	double start;

	EQ(sh("sysctl -q -w net.core.somaxconn=200000 net.ipv4.tcp_max_syn_backlog=200000"
	      " net.ipv4.tcp_syncookies=%d net.ipv4.tcp_synack_retries=5", cookies), 0);
	EQ(sh_read(out, sizeof(out), "awk '/^TcpExt/ {if (k) {print $(c)} else {for (c=1; $c != \"SyncookiesRecv\"; c++); k=1}}' /proc/net/netstat"), 0);
	before = atoi(out);
	port = app_listen(app, here->guest4);
	for (fd = 0; fd < APP_FDS; fd++)
		if (app->conn[fd])
			EQ(listen(fd, backlog), 0);
	raw_route();
	app->spin = spin;
	snprintf(from, sizeof(from), "%s.50", here->raw);
	start = mono();
	/*
	 * A queue over half full would be pruned, so it is larger by far. Some
	 * SYNs are lost where the NIC's queue is full: once more, then.
	 */
	for (i = 0; i < (cookies ? 1 : 6); i++) {
		ask(&s, "syns %s %d %u 5000 %s", here->guest4, port, n, from);
		if (!i)		/* real ones meanwhile, and afterwards */
			ask(&a, "short %s %d 200 3 4", here->guest4, port);
		app_run(app, &s, 60);
		EQ(sh_read(out, sizeof(out), "awk '$4 == \"03\"' /proc/net/tcp | wc -l"), 0);
		tap_note("%.1f s: %d half-open", mono() - start, atoi(out));
		if (atoi(out) >= 50000)
			break;
	}
	if (!cookies)
		CHECKF(atoi(out) >= 50000, "%d half-open", atoi(out));
	app_run(app, &a, 60);
	for (i = 0; i < 3; i++) {
		ask(&a, "echo %s %d 5 20000 9999 4", here->guest4, port);
		app_run(app, &a, 30);
	}
	EQ(sh_read(out, sizeof(out), "awk '/^TcpExt/ {if (k) {print $(c)} else {for (c=1; $c != \"SyncookiesRecv\"; c++); k=1}}' /proc/net/netstat"), 0);
	tap_note("%d connections by cookies", atoi(out) - before);
	if (cookies)
		CHECK(atoi(out) > before);
	EQ(app->accepted, 212);
	app_end(app);
	EQ(sh("sysctl -q -w net.ipv4.tcp_syncookies=1 net.ipv4.tcp_synack_retries=5"), 0);
}

TEST_ASKED(net_half_open_50000, ON_NIC, 120)
{
	half_open(51000, 200000, 0, true);
}

TEST_NET(net_syn_flood_cookies, 120)
{
	half_open(20000, 64, 2, true);
}
