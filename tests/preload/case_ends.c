// SPDX-License-Identifier: GPL-2.0
/*
 * case_ends.c - scenarios of how connections begin and end
 */
#include "ops.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALL	(EPOLLIN | EPOLLOUT | EPOLLRDHUP)

static void so_error(struct side *s)
{
	int err = -1;
	socklen_t len = sizeof(err);

	NOTE(s, getsockopt(s->app, SOL_SOCKET, SO_ERROR, &err, &len));
	NOTE_VALUE(s, "SO_ERROR", err);
}

static void state(struct side *s)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	NOTE(s, getsockopt(s->app, IPPROTO_TCP, TCP_INFO, &info, &len));
	NOTE_VALUE(s, "the state of TCP", info.tcpi_state);
}

/* Whatever can be asked */
static void everything(struct side *s)
{
	wait_for(s, 8, 0);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	app_hears(s, 64);
	app_hears(s, 64);
	wait_for(s, 8, 0);
	NOTE_OUT(s, send(s->app, "x", 1, 0));
	answered(s);
	wait_for(s, 8, 0);
	NOTE_OUT(s, send(s->app, "y", 1, 0));
	answered(s);
	wait_for(s, 8, 0);
	NOTE_OUT(s, send(s->app, "z", 1, MSG_NOSIGNAL));
	app_hears(s, 64);
	wait_for(s, 8, 0);
	so_error(s);
	state(s);
	NOTE(s, shutdown(s->app, SHUT_RDWR));
	wait_for(s, 8, 0);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	NOTE(s, close(s->app));
	s->app = -1;
	wait_ep(s, s->ep, 8, 0);
}

static void peer_shuts(struct side *s)
{
	arm(s, ALL);
	peer_says(s, 50);
	peer_ends(s);
	wait_for(s, 8, 1000);
	app_says(s, 100);
	peer_hears(s, 100);
	must_be_fast(s, "half closed");
	everything(s);
}

static void both_shut(struct side *s)
{
	arm(s, ALL);
	peer_says(s, 50);
	peer_ends(s);
	wait_for(s, 8, 1000);
	app_says(s, 100);
	NOTE(s, shutdown(s->app, SHUT_WR));
	s->fin = true;
	peer_hears(s, 101);
	leave(s);
	ms_sleep(5);
	everything(s);
}

static void peer_goes(struct side *s)
{
	arm(s, ALL);
	peer_says(s, 50);
	peer_closes(s);
	everything(s);
}

static void peer_goes_silently(struct side *s)
{
	arm(s, EPOLLIN);
	peer_closes(s);
	everything(s);
}

static void peer_breaks(struct side *s)
{
	arm(s, ALL);
	peer_resets(s);
	everything(s);
}

static void peer_breaks_read_first(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 30);
	peer_says(s, 100);
	peer_resets(s);
	wait_for(s, 8, 1000);
	app_hears(s, 30);
	everything(s);
}

static void peer_breaks_error_first(struct side *s)
{
	arm(s, ALL);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	peer_resets(s);
	wait_for(s, 8, 1000);
	so_error(s);
	so_error(s);
	everything(s);
}

static void peer_breaks_write_first(struct side *s)
{
	arm(s, EPOLLIN | EPOLLET);
	peer_says(s, 100);
	peer_resets(s);
	wait_for(s, 8, 1000);
	NOTE_OUT(s, write(s->app, "1", 1));
	NOTE_OUT(s, write(s->app, "2", 1));
	everything(s);
}

/* Nobody waits between the reset and what is done then */
static void peer_breaks_unseen(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	peer_resets(s);
	app_hears(s, 100);
	app_hears(s, 100);
	app_hears(s, 100);
	everything(s);
}

static void peer_breaks_after_fin(struct side *s)
{
	arm(s, ALL);
	peer_says(s, 10);
	peer_ends(s);
	wait_for(s, 8, 1000);
	peer_resets(s);
	everything(s);
}

static void peer_leaves_unread(struct side *s)
{
	arm(s, ALL);
	app_says(s, 100);
	peer_says(s, 10);
	peer_closes(s);
	everything(s);
}

static void peer_shuts_reading(struct side *s)
{
	arm(s, ALL);
	NOTE(s, shutdown(s->peer, SHUT_RD));
	app_says(s, 100);
	leave(s);
	wait_for(s, 8, 0);
	peer_hears(s, 100);
	everything(s);
}

static void app_shuts(struct side *s, int how)
{
	arm(s, ALL);
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
	app_says(s, 100);
	NOTE(s, shutdown(s->app, how));
	s->fin = how != SHUT_RD;
	wait_for(s, 8, 0);
	NOTE_OUT(s, send(s->app, "x", 1, 0));
	NOTE_OUT(s, send(s->app, "x", 1, MSG_NOSIGNAL));
	app_hears(s, 20);
	wait_for(s, 8, 0);
	peer_hears(s, 100);
	if (how == SHUT_WR)
		peer_says(s, 30);
	wait_for(s, 8, 0);
	NOTE(s, shutdown(s->app, how));
	app_hears(s, 64);
	app_hears(s, 64);
	if (how != SHUT_RD)
		peer_hears(s, 1);
	peer_ends(s);
	wait_for(s, 8, 0);
	everything(s);
}

/* The kernel has it from then on, wherever it is waited for */
static void app_shuts_before(struct side *s)
{
	NOTE(s, shutdown(s->app, SHUT_WR));
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN | EPOLLRDHUP, APP_DATA);
	wait_for(s, 8, 0);
	NOTE_VALUE(s, "it is attached", attached(s->ep, s->app));
	NOTE_OUT(s, send(s->app, "x", 1, MSG_NOSIGNAL));
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 64);
	everything(s);
}

static void app_shuts_reading(struct side *s)
{
	app_shuts(s, SHUT_RD);
}

static void app_shuts_writing(struct side *s)
{
	app_shuts(s, SHUT_WR);
}

static void app_shuts_both(struct side *s)
{
	app_shuts(s, SHUT_RDWR);
}

static void app_shuts_wrongly(struct side *s)
{
	arm(s, ALL);
	NOTE(s, shutdown(s->app, 3));
	NOTE(s, shutdown(s->app, -1));
	peer_says(s, 1);
	wait_for(s, 8, 0);
}

/* SHUT_RD, and then it comes after all */
static void app_shuts_reading_and_reads(struct side *s)
{
	arm(s, EPOLLIN);
	NOTE(s, shutdown(s->app, SHUT_RD));
	wait_for(s, 8, 0);
	app_hears(s, 10);
	peer_says(s, 20);
	wait_for(s, 8, 0);
	app_hears(s, 10);
	app_hears(s, 100);
	app_hears(s, 100);
	app_says(s, 10);
	peer_hears(s, 10);
}

static void peer_sees(struct side *s)
{
	char c;

	s->fin = true;
	leave(s);
	NOTE(s, recv(s->peer, &c, 1, 0));
	NOTE(s, recv(s->peer, &c, 1, 0));
	NOTE(s, send(s->peer, "x", 1, MSG_NOSIGNAL));
	ms_sleep(3);
	NOTE(s, send(s->peer, "x", 1, MSG_NOSIGNAL));
}

static void app_goes(struct side *s)
{
	arm(s, EPOLLIN);
	app_says(s, 1000);
	NOTE(s, close(s->app));
	wait_ep(s, s->ep, 8, 0);
	peer_hears(s, 1000);
	peer_sees(s);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN, APP_DATA);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	NOTE(s, read(s->app, (char[1]){ 0 }, 1));
	NOTE(s, write(s->app, "x", 1));
	NOTE(s, close(s->app));
	s->app = -1;
}

/* And nothing is done after it that would sync */
static void app_goes_and_that_is_all(struct side *s)
{
	arm(s, EPOLLIN);
	app_says(s, 10000);
	NOTE(s, close(s->app));
	s->app = -1;
	peer_hears(s, 10000);
	peer_sees(s);
}

static void app_leaves_unread(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 60);
	app_says(s, 10);
	leave(s);
	NOTE(s, close(s->app));
	s->app = -1;
	wait_ep(s, s->ep, 8, 0);
	peer_hears(s, 10);
	peer_sees(s);
}

/* It has come, and nobody was told */
static void app_leaves_unseen(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 100);
	arrive(s);
	NOTE(s, close(s->app));
	s->app = -1;
	wait_ep(s, s->ep, 8, 0);
	peer_sees(s);
}

static void app_leaves_all_read(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	peer_ends(s);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	NOTE(s, close(s->app));
	s->app = -1;
	wait_ep(s, s->ep, 8, 0);
	s->fin = true;
	leave(s);
	peer_hears(s, 10);
	peer_hears(s, 10);
}

static void app_breaks(struct side *s)
{
	struct linger l = { 1, 0 };

	arm(s, EPOLLIN);
	app_says(s, 10);
	leave(s);
	NOTE(s, setsockopt(s->app, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	NOTE(s, close(s->app));
	s->app = -1;
	peer_hears(s, 10);
	peer_sees(s);
}

/* A number is used again at once */
static void number_again(struct side *s)
{
	int i, app;

	for (i = 0; i < 4; i++) {
		arm(s, EPOLLIN);
		peer_says(s, 100);
		wait_for(s, 8, 1000);
		app_hears(s, 50);
		app = s->app;
		NOTE(s, close(s->peer));
		NOTE(s, close(s->app));
		pair_open(s, i & 1 ? PAIR_CONNECTED : 0);
		NOTE_VALUE(s, "one of both has the number", s->app == app || s->peer == app);
		wait_ep(s, s->ep, 8, 0);
		app_hears(s, 10);
	}
	arm(s, EPOLLIN | EPOLLOUT);
	must_be_fast(s, "in the end");
}

/* ----------------------------------------------------------------- connecting */

static int connecting(struct side *s, const struct sockaddr_storage *addr, unsigned int len)
{
	struct timeval limit = { 5, 0 };

	s->app = socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(s->app, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return (int)NOTE(s, connect(s->app, (const struct sockaddr *)addr, len));
}

static void connect_well(struct side *s)
{
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len);

	pair_close(s);
	connecting(s, &addr, len);
	ctl(s, EPOLL_CTL_ADD, s->app, ALL, APP_DATA);
	wait_ep(s, s->ep, 8, 1000);
	so_error(s);
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	s->peer = accept(l, NULL, NULL);
	wait_ep(s, s->ep, 8, 0);
	peer_says(s, 20);
	wait_for(s, 8, 0);
	app_hears(s, 20);
	app_says(s, 20);
	peer_hears(s, 20);
	must_be_fast(s, "connected");
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	wait_ep(s, s->ep, 8, 0);
	must_be_fast(s, "connected once more");
	close(l);
}

static void connect_in_set(struct side *s)
{
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len);

	pair_close(s);
	s->app = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ctl(s, EPOLL_CTL_ADD, s->app, ALL, APP_DATA);
	wait_ep(s, s->ep, 8, 0);
	NOTE_OUT(s, send(s->app, "x", 1, MSG_NOSIGNAL));
	NOTE_IO(s, recv(s->app, (char[1]){ 0 }, 1, 0));
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	wait_ep(s, s->ep, 8, 1000);
	s->peer = accept(l, NULL, NULL);
	app_says(s, 20);
	peer_hears(s, 20);
	wait_ep(s, s->ep, 8, 0);
	must_be_fast(s, "connected");
	close(l);
}

static void connect_in_set_edge(struct side *s)
{
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len);

	pair_close(s);
	s->app = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ctl(s, EPOLL_CTL_ADD, s->app, ALL | EPOLLET, APP_DATA);
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	wait_ep(s, s->ep, 8, 1000);
	s->peer = accept(l, NULL, NULL);
	wait_ep(s, s->ep, 8, 0);
	peer_says(s, 20);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
	must_be_fast(s, "connected");
	close(l);
}

static void connect_refused(struct side *s)
{
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len), i;

	pair_close(s);
	close(l);
	for (i = 0; i < 2; i++) {
		if (i) {
			s->app = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			ctl(s, EPOLL_CTL_ADD, s->app, ALL, APP_DATA);
			wait_ep(s, s->ep, 8, 0);
			NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
		} else {
			connecting(s, &addr, len);
			ctl(s, EPOLL_CTL_ADD, s->app, ALL, APP_DATA);
		}
		wait_ep(s, s->ep, 8, 1000);
		so_error(s);
		wait_ep(s, s->ep, 8, 0);
		app_hears(s, 10);
		NOTE_OUT(s, send(s->app, "x", 1, MSG_NOSIGNAL));
		NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
		wait_ep(s, s->ep, 8, 1000);
		app_hears(s, 10);
		NOTE(s, close(s->app));
		s->app = -1;
	}
}

/*
 * The peer's queue is full, so that a SYN is not answered; it is sent again in a second, when there
 * is room, or nobody listens
 */
static void connect_late(struct side *s, bool refused, bool in_set)
{
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 0, &addr, &len), full[2], i;

	pair_close(s);
	for (i = 0; i < 2; i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(full[i], (struct sockaddr *)&addr, len);
	}
	s->app = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (in_set) {
		ctl(s, EPOLL_CTL_ADD, s->app, ALL, APP_DATA);
		wait_ep(s, s->ep, 8, 0);
	}
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	if (!in_set)
		ctl(s, EPOLL_CTL_ADD, s->app, ALL, APP_DATA);
	wait_ep(s, s->ep, 8, 0);
	state(s);
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	wait_ep(s, s->ep, 8, 20);
	NOTE_OUT(s, send(s->app, "x", 1, MSG_NOSIGNAL));
	NOTE_IO(s, recv(s->app, (char[1]){ 0 }, 1, 0));
	wait_ep(s, s->ep, 8, 0);
	if (refused) {
		close(l);
	} else {
		close(accept(l, NULL, NULL));
	}
	for (i = 0; i < 2; i++)
		close(full[i]);
	wait_ep(s, s->ep, 8, 4000);
	so_error(s);
	if (!refused) {
		s->peer = accept(l, NULL, NULL);
		while (s->peer >= 0 && recv(s->peer, (char[1]){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
			/* One of those that have filled it */
			close(s->peer);
			s->peer = accept(l, NULL, NULL);
		}
		close(l);
	}
}

static void connect_late_well(struct side *s)
{
	connect_late(s, false, false);
}

static void connect_late_refused(struct side *s)
{
	connect_late(s, true, false);
}

static void connect_late_in_set(struct side *s)
{
	connect_late(s, true, true);
}

/* AF_UNSPEC ends a connection, and the socket can connect again */
static void connect_nowhere(struct side *s)
{
	struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len);

	arm(s, ALL);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	NOTE(s, connect(s->app, &nowhere, sizeof(nowhere)));
	wait_ep(s, s->ep, 8, 0);
	app_hears(s, 10);
	NOTE_OUT(s, send(s->app, "x", 1, MSG_NOSIGNAL));
	NOTE(s, connect(s->app, (struct sockaddr *)&addr, len));
	close(s->peer);
	s->peer = accept(l, NULL, NULL);
	s->sent = s->peer_sent = 0;
	wait_ep(s, s->ep, 8, 1000);
	peer_says(s, 15);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	app_says(s, 15);
	peer_hears(s, 15);
	close(l);
}

/* The listener in the set, too, as servers have it */
static void accept_in_set(struct side *s)
{
	struct sockaddr_storage addr;
	unsigned int len;
	int l = listen_on(false, 4, &addr, &len), i;

	fcntl(l, F_SETFL, O_NONBLOCK);
	ctl(s, EPOLL_CTL_ADD, l, EPOLLIN, 5);
	wait_ep(s, s->ep, 8, 0);
	for (i = 0; i < 3; i++) {
		pair_close(s);
		s->peer = socket(AF_INET, SOCK_STREAM, 0);
		NOTE(s, connect(s->peer, (struct sockaddr *)&addr, len));
		wait_ep(s, s->ep, 8, 1000);
		s->app = NOTE_FD(s, accept4(l, NULL, NULL, i == 1 ? 0 : SOCK_NONBLOCK));
		if (i == 1)
			NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
		s->sent = s->peer_sent = 0;
		NOTE(s, accept(l, NULL, NULL));
		ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN | EPOLLRDHUP | EPOLLET, 6);
		peer_says(s, 50);
		wait_for(s, 8, 1000);
		app_hears(s, 100);
		app_says(s, 50);
		peer_hears(s, 50);
		must_be_fast(s, "accepted");
	}
	close(l);
}

const struct scenario end_cases[] = {
	{ "the peer sends no more", peer_shuts, 0 },
	{ "both send no more", both_shut, 0 },
	{ "the peer closes", peer_goes, 0 },
	{ "the peer closes, without a word", peer_goes_silently, 0 },
	{ "the peer resets", peer_breaks, 0 },
	{ "the peer resets, and something is unread", peer_breaks_read_first, 0 },
	{ "the peer resets, and SO_ERROR tells it", peer_breaks_error_first, 0 },
	{ "the peer resets, and write() tells it", peer_breaks_write_first, 0 },
	{ "the peer resets, and nobody was waiting", peer_breaks_unseen, 0 },
	{ "the peer resets after a FIN", peer_breaks_after_fin, 0 },
	{ "the peer leaves something unread", peer_leaves_unread, 0 },
	{ "the peer reads no more", peer_shuts_reading, 0 },
	{ "shutdown(SHUT_RD)", app_shuts_reading, 0 },
	{ "shutdown(SHUT_RD), and it comes after all", app_shuts_reading_and_reads, 0 },
	{ "shutdown(SHUT_WR)", app_shuts_writing, 0 },
	{ "shutdown(SHUT_RDWR)", app_shuts_both, 0 },
	{ "shutdown() before it is in a set", app_shuts_before, 0 },
	{ "shutdown(), wrong", app_shuts_wrongly, 0 },
	{ "close()", app_goes, 0 },
	{ "close(), and that is all", app_goes_and_that_is_all, 0 },
	{ "close() with something unread", app_leaves_unread, 0 },
	{ "close() with something that nobody was told", app_leaves_unseen, 0 },
	{ "close() after all was read", app_leaves_all_read, 0 },
	{ "close() with SO_LINGER 0", app_breaks, 0 },
	{ "a number is used again", number_again, 0 },
	{ NULL, NULL, 0 },
};

const struct scenario connect_cases[] = {
	{ "connect()", connect_well, 0 },
	{ "connect() of one in a set", connect_in_set, 0 },
	{ "connect() of one in a set, EPOLLET", connect_in_set_edge, 0 },
	{ "connect(), refused", connect_refused, 0 },
	{ "connect() that takes long", connect_late_well, 0 },
	{ "connect() that takes long, refused", connect_late_refused, 0 },
	{ "connect() that takes long, of one in a set", connect_late_in_set, 0 },
	{ "connect(AF_UNSPEC)", connect_nowhere, 0 },
	{ "accept() in a set", accept_in_set, 0 },
	{ NULL, NULL, 0 },
};
