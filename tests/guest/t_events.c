// SPDX-License-Identifier: GPL-2.0
/*
 * t_events.c - what happens to a socket, as slots tell it and as epoll does
 *
 * Each row of the table in stackmap(7) is a script that runs twice: on a plain
 * socket with edge-triggered epoll, and on an attached one. What each was told is
 * written as words, and has to be the same. How epoll's bits become words is how a
 * program reads them: data until read() returns 0 (fin) or an errno, SO_ERROR,
 * what accept() returns. Words that follow themselves count once, as an edge that
 * tells what is known already is nothing new.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#define QUIET_MS 20

#define IN EPOLLIN
#define OUT EPOLLOUT
#define PRI EPOLLPRI
#define ERR EPOLLERR
#define HUP EPOLLHUP
#define RDHUP EPOLLRDHUP
#define DEAD (IN | OUT | ERR | HUP | RDHUP)

struct side {
	const char *name;
	int fd;
	int peer;
	int listener;		/* of the peer's side, for connect() */
	bool syncs;		/* look at events between two steps that allow for none, too */
	/* Plain */
	int ep;
	bool connecting;
	bool listening;
	bool over;
	uint32_t bits;		/* all that epoll has told since told() was called */
	/* Attached */
	struct sm *sm;
	/* What was told */
	char words[256];
	char last[32];
	int data;
	int fins;
};

static void flush_data(struct side *s)
{
	char b[32];

	if (s->data) {
		snprintf(b, sizeof(b), "data:%d ", s->data);
		strcat(s->words, b);
		strcpy(s->last, b);
	}
	s->data = 0;
}

__attribute__((format(printf, 2, 3))) static void word(struct side *s, const char *fmt, ...)
{
	char b[32];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b, sizeof(b) - 1, fmt, ap);
	va_end(ap);
	strcat(b, " ");
	flush_data(s);
	if (strcmp(b, s->last) && strlen(s->words) + strlen(b) < sizeof(s->words)) {
		strcat(s->words, b);
		strcpy(s->last, b);
	}
}

static const char *name_of(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "?";
}

static bool listens(int fd)
{
	socklen_t len = sizeof(int);
	int on = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on;
}

static int so_error(int fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	CHECK(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	return err;
}

static void plain_failed(struct side *s, int err)
{
	word(s, "error:%s", name_of(err));
	s->over = true;
	s->connecting = false;
}

static void plain_read(struct side *s)
{
	char b[4096];
	ssize_t n;

	do {
		n = recv(s->fd, b, sizeof(b), MSG_DONTWAIT);
		if (n > 0)
			s->data += n;
		else if (n == 0)
			word(s, "fin");
		else if (errno != EAGAIN && errno != ENOTCONN)
			plain_failed(s, errno);
	} while (n > 0);
}

static void plain_bits(struct side *s, uint32_t bits)
{
	int err;

	s->bits |= bits;
	if (listens(s->fd)) {
		if (bits & EPOLLIN)
			word(s, "accept");
		return;
	}
	if (s->listening && (bits & EPOLLHUP)) {
		s->listening = false;
		err = so_error(s->fd);
		if (!err && accept(s->fd, NULL, NULL) < 0)
			err = errno;
		word(s, "error:%s", name_of(err));
		return;
	}
	if (s->connecting && (bits & EPOLLOUT) && !(bits & EPOLLERR)) {
		word(s, "connected");
		s->connecting = false;
	}
	if ((bits & EPOLLIN) && !s->over)
		plain_read(s);
	err = so_error(s->fd);
	if (err)
		plain_failed(s, err);
}

static void plain_look(struct side *s)
{
	double end = mono() + QUIET_MS * slow() / 1e3;
	struct epoll_event ev;

	do {
		if (epoll_wait(s->ep, &ev, 1, 1) == 1)
			plain_bits(s, ev.events);
	} while (mono() < end);
}

/* Slots have events behind payload, also this one */
static void connected(struct side *s)
{
	int data = s->data;

	s->data = 0;
	word(s, "connected");
	s->data = data;
}

static void slot_look(struct side *s)
{
	double end = mono() + QUIET_MS * slow() / 1e3;
	struct stackmap_slot *t;

	do {
		sm_sync(s->sm, 1000);
		while ((t = sm_peek(s->sm))) {
			EQ(t->fd, s->fd);
			if (t->flags & STACKMAP_RX_DATA)
				s->data += t->len;
			if (t->flags & STACKMAP_RX_CONNECTED)
				connected(s);
			if (t->flags & STACKMAP_RX_ACCEPT)
				word(s, "accept");
			if (t->flags & STACKMAP_RX_FIN) {
				s->fins++;
				word(s, "fin");
			}
			if (t->flags & STACKMAP_RX_ERROR)
				word(s, "error:%s", name_of(t->err));
			sm_next(s->sm);
		}
	} while (mono() < end);
}

static void look(struct side *s)
{
	if (s->sm)
		slot_look(s);
	else
		plain_look(s);
	flush_data(s);
}

/* Since it was asked last, this was told: in words, and to the plain one by these bits */
static void told(struct side *s, const char *what, uint32_t bits)
{
	size_t n;

	look(s);
	n = strlen(s->words);
	if (n)
		s->words[n - 1] = 0;
	if (!s->sm)
		tap_note("%s: epoll 0x%x, \"%s\"", s->name, s->bits, s->words);
	if (!s->sm && !s->syncs)
		CHECKF(s->bits == bits, "%s has 0x%x, not 0x%x", s->name, s->bits, bits);
	CHECKF(!strcmp(s->words, what), "%s is told \"%s\", not \"%s\"", s->name, s->words, what);
	s->words[0] = 0;
	s->bits = 0;
}

/* What the words before have told does not matter from here on */
static void anew(struct side *s)
{
	s->last[0] = 0;
}

static void step(void)
{
	usleep(5000 * slow());
}

static void watch(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET };

	if (s->sm) {
		sm_attach(s->sm, s->fd, 0);
		return;
	}
	s->ep = epoll_create1(EPOLL_CLOEXEC);
	CHECK(s->ep >= 0 && !epoll_ctl(s->ep, EPOLL_CTL_ADD, s->fd, &ev));
}

/* Accepted, and its peer has connected */
static void accepted(struct side *s)
{
	int fd[2];

	pair_tcp(fd, AF_INET);
	s->fd = fd[0];
	s->peer = fd[1];
	nonblock(s->fd);
	watch(s);
}

/* Returns the errno of a connect() to @port, or 0 */
static int connects(struct side *s, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, "127.0.0.1", port);
	int err = connect(s->fd, (void *)&ss, len) ? errno : 0;

	if (err == EINPROGRESS) {
		s->connecting = true;
		s->over = false;
	}
	return err;
}

static void disconnects(struct side *s)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };

	CHECK(!connect(s->fd, &sa, sizeof(sa)));
}

static void reset_peer(struct side *s)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(s->peer);
	step();
}

static void peer_sends(struct side *s, int n)
{
	char b[100] = "";

	CHECK(send(s->peer, b, n, MSG_NOSIGNAL) == n);
	step();
}

static void peer_closes(struct side *s)
{
	close(s->peer);
	step();
}

static void may_look(struct side *s)
{
	if (s->syncs)
		look(s);
}

/* A port of 127.0.0.1 on which nobody listens */
static int refusing_port(void)
{
	int l = try_listen("127.0.0.1", 0), port = port_of(l);

	CHECK(l >= 0);
	close(l);
	return port;
}

/* Its connect() is under way, and the peer has accepted it if anybody listens */
static void connecting(struct side *s, int port, bool first)
{
	if (first) {
		s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		/* Attached and added only then: neither can be before there is something */
		EQ(connects(s, port), EINPROGRESS);
		watch(s);
	} else {
		EQ(connects(s, port), EINPROGRESS);
	}
	step();
}

static void peer_accepts(struct side *s)
{
	s->peer = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(s->peer >= 0);
}

static void listening(struct side *s)
{
	s->fd = try_listen("127.0.0.1", 0);
	CHECK(s->fd >= 0);
	s->listening = true;
	nonblock(s->fd);
	watch(s);
}

static void peer_connects(struct side *s)
{
	s->peer = try_connect("127.0.0.1", port_of(s->fd), 1000);
	CHECK(s->peer >= 0);
	step();
}

/* The script on a plain socket, and on an attached one */
static void both(void (*script)(struct side *))
{
	struct side plain = { .name = "plain" }, slots = { .name = "attached" };
	struct sm sm;
	int i;

	for (i = 0; i < 2; i++) {
		struct side *s = i ? &slots : &plain;

		if (i) {
			sm_new_small(&sm, 16);
			s->sm = &sm;
		}
		s->listener = try_listen("127.0.0.1", 0);
		CHECK(s->listener >= 0);
		script(s);
		close(s->listener);
	}
	close(slots.fd);
	sm_settle(&sm);
	sm_close(&sm);
}

/* ... and once more with a look wherever the script may take one */
static void both_ways(void (*script)(struct side *))
{
	struct side plain = { .name = "plain, looking", .syncs = true };
	struct side slots = { .name = "attached, syncing", .syncs = true };
	struct sm sm;

	both(script);
	plain.listener = try_listen("127.0.0.1", 0);
	script(&plain);
	sm_new_small(&sm, 16);
	slots.sm = &sm;
	slots.listener = try_listen("127.0.0.1", 0);
	script(&slots);
	close(slots.fd);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Not every kernel can: CONFIG_INET_DIAG_DESTROY */
static void kill_by_ss(struct side *s, const char *which)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	sh("ss -K %s 'sport = :%d' >/dev/null 2>&1", which, port_of(s->fd));
	CHECK(!getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	if (info.tcpi_state != TCP_CLOSE)
		tap_skip("no ss -K");
	step();
}

#define ROW(id, how) \
	static void row_##id(struct side *s); \
	TEST(events_##id, 40) { how(row_##id); } \
	static void row_##id(struct side *s)

/* ------------------------------------------------------------- connections */

ROW(fin, both)
{
	accepted(s);
	told(s, "", OUT);
	peer_sends(s, 5);
	told(s, "data:5", IN | OUT);
	peer_sends(s, 7);
	peer_closes(s);
	told(s, "data:7 fin", IN | OUT | RDHUP);
}

ROW(reset, both)
{
	accepted(s);
	peer_sends(s, 5);
	reset_peer(s);
	told(s, "data:5 error:ECONNRESET", DEAD);
}

ROW(reset_after_fin, both)
{
	accepted(s);
	shutdown(s->peer, SHUT_WR);
	step();
	told(s, "fin", IN | OUT | RDHUP);
	reset_peer(s);
	told(s, "error:EPIPE", DEAD);
}

/* FIN here and there, so that the connection is over: epoll adds EPOLLHUP, which says no more */
ROW(shut_wr, both)
{
	accepted(s);
	shutdown(s->fd, SHUT_WR);
	step();
	told(s, "", OUT);
	peer_sends(s, 5);
	told(s, "data:5", IN | OUT);
	peer_closes(s);
	told(s, "fin", IN | OUT | HUP | RDHUP);
}

ROW(shut_wr_after_fin, both)
{
	accepted(s);
	peer_closes(s);
	told(s, "fin", IN | OUT | RDHUP);
	shutdown(s->fd, SHUT_WR);
	step();
	told(s, "", IN | OUT | HUP | RDHUP);
}

/* read() returns what is queued and 0; what comes later and 0; and 0 */
ROW(shut_rd, both)
{
	accepted(s);
	peer_sends(s, 5);
	shutdown(s->fd, SHUT_RD);
	step();
	told(s, "data:5 fin", IN | OUT | RDHUP);
	peer_sends(s, 7);
	told(s, "data:7 fin", IN | OUT | RDHUP);
	s->fins = 0;
	peer_closes(s);
	told(s, "", IN | OUT | RDHUP);
	/* epoll says the same as before. A slot says that there is nothing behind it */
	if (s->sm)
		EQ(s->fins, 1);
}

ROW(shut_rd_then_reset, both)
{
	accepted(s);
	shutdown(s->fd, SHUT_RD);
	told(s, "fin", IN | OUT | RDHUP);
	reset_peer(s);
	told(s, "error:ECONNRESET", DEAD);
}

/* Nobody is there to read: TCP answers what comes with a reset */
ROW(shut_rdwr, both)
{
	accepted(s);
	shutdown(s->fd, SHUT_RDWR);
	step();
	told(s, "fin", IN | OUT | HUP | RDHUP);
	peer_sends(s, 5);
	told(s, "error:ECONNRESET", DEAD);
}

ROW(killed, both)
{
	accepted(s);
	kill_by_ss(s, "-t");
	told(s, "error:ECONNABORTED", DEAD);
}

/* ------------------------------------------------------------ connect() */

ROW(connect, both_ways)
{
	connecting(s, port_of(s->listener), true);
	peer_accepts(s);
	may_look(s);
	peer_sends(s, 5);
	may_look(s);
	peer_closes(s);
	told(s, "connected data:5 fin", IN | OUT | RDHUP);
}

ROW(connect_refused, both)
{
	connecting(s, refusing_port(), true);
	told(s, "error:ECONNREFUSED", DEAD);
}

/* ... and ends it: there is nothing to tell until the next */
ROW(connect_aborted, both)
{
	connecting(s, refusing_port(), true);
	told(s, "error:ECONNREFUSED", DEAD);
	EQ(connects(s, port_of(s->listener)), ECONNABORTED);
	step();
	told(s, "", OUT | HUP);
}

/* The second connect() only says that the first has failed, and ends that */
static void connect_again(struct side *s, int times)
{
	while (times--) {
		told(s, "error:ECONNREFUSED", DEAD);
		EQ(connects(s, port_of(s->listener)), ECONNABORTED);
		may_look(s);
		anew(s);
		if (times)
			connecting(s, refusing_port(), false);
	}
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	may_look(s);
	peer_sends(s, 5);
	peer_closes(s);
	told(s, "connected data:5 fin", IN | OUT | RDHUP);
}

ROW(connect_after_refused, both_ways)
{
	connecting(s, refusing_port(), true);
	connect_again(s, 1);
}

ROW(connect_after_refused_twice, both_ways)
{
	connecting(s, refusing_port(), true);
	connect_again(s, 2);
}

/* What was not looked at before the next connect() is forgotten, by both */
ROW(disconnect_connect, both)
{
	accepted(s);
	peer_sends(s, 5);
	disconnects(s);
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	peer_sends(s, 7);
	told(s, "connected data:7", IN | OUT);
	disconnects(s);
	step();
	told(s, "error:ECONNRESET", OUT | ERR | HUP);
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	told(s, "connected", OUT);
	peer_closes(s);
	told(s, "fin", IN | OUT | RDHUP);
}

ROW(disconnect_after_fin, both)
{
	accepted(s);
	peer_closes(s);
	told(s, "fin", IN | OUT | RDHUP);
	disconnects(s);
	anew(s);
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	peer_closes(s);
	told(s, "connected fin", IN | OUT | RDHUP);
	disconnects(s);
	step();
	told(s, "error:ECONNRESET", OUT | ERR | HUP);
	connecting(s, refusing_port(), false);
	told(s, "error:ECONNREFUSED", DEAD);
}

ROW(disconnect_after_reset, both_ways)
{
	accepted(s);
	reset_peer(s);
	told(s, "error:ECONNRESET", DEAD);
	disconnects(s);
	may_look(s);
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	may_look(s);
	peer_closes(s);
	told(s, "connected fin", IN | OUT | RDHUP);
}

ROW(disconnect_after_shut_rd, both_ways)
{
	accepted(s);
	shutdown(s->fd, SHUT_RD);
	told(s, "fin", IN | OUT | RDHUP);
	disconnects(s);
	look(s);
	s->words[0] = 0;
	s->bits = 0;
	anew(s);
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	may_look(s);
	peer_sends(s, 5);
	peer_closes(s);
	told(s, "connected data:5 fin", IN | OUT | RDHUP);
}

/* ------------------------------------------------------------- listeners */

static void takes(struct side *s)
{
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

	CHECK(fd >= 0);
	close(fd);
	close(s->peer);
	step();
}

ROW(listener, both)
{
	listening(s);
	told(s, "", 0);
	peer_connects(s);
	told(s, "accept", IN);
	takes(s);
	told(s, "", 0);
}

ROW(listener_shut_down, both)
{
	listening(s);
	shutdown(s->fd, SHUT_RD);
	step();
	told(s, "error:EINVAL", OUT | HUP);
	told(s, "", 0);
}

ROW(listener_shut_down_full, both)
{
	listening(s);
	peer_connects(s);
	told(s, "accept", IN);
	shutdown(s->fd, SHUT_RDWR);
	step();
	close(s->peer);
	told(s, "error:EINVAL", OUT | HUP);
}

ROW(listener_killed, both)
{
	listening(s);
	kill_by_ss(s, "-lt");
	told(s, "error:ECONNABORTED", DEAD);
	told(s, "", 0);
}

/* Again a listener, and again shut down; at last it connects */
ROW(listener_again, both_ways)
{
	listening(s);
	shutdown(s->fd, SHUT_RD);
	told(s, "error:EINVAL", OUT | HUP);
	CHECK(!listen(s->fd, 5));
	s->listening = true;
	peer_connects(s);
	told(s, "accept", IN);
	takes(s);
	shutdown(s->fd, SHUT_RD);
	step();
	told(s, "error:EINVAL", OUT | HUP);
	may_look(s);
	connecting(s, port_of(s->listener), false);
	peer_accepts(s);
	peer_closes(s);
	told(s, "connected fin", IN | OUT | RDHUP);
}

/* -------------------------------------------------- what only slots can tell */

/* Room to send: an edge of EPOLLOUT after EAGAIN, an event after a refused slot */
ROW(room, both)
{
	char b[4096] = "", in[65536];
	struct epoll_event ev;
	struct stackmap_slot *t;
	int i;

	accepted(s);
	told(s, "", OUT);
	if (s->sm) {
		do {
			t = sm_put(s->sm, s->fd, b, sizeof(b));
			sm_sync(s->sm, 0);
		} while (!(t->flags & STACKMAP_TX_REFUSED));
		EQ(t->err, EAGAIN);
	} else {
		while (send(s->fd, b, sizeof(b), MSG_DONTWAIT) > 0)
			;
		EQ(errno, EAGAIN);
		while (epoll_wait(s->ep, &ev, 1, 10) == 1)
			;
	}
	for (i = 0; i < 1000; i++) {
		while (recv(s->peer, in, sizeof(in), MSG_DONTWAIT) > 0)
			;
		if (!s->sm) {
			if (epoll_wait(s->ep, &ev, 1, 1) == 1)
				break;
			continue;
		}
		sm_sync(s->sm, 1000);
		if (sm_peek(s->sm))
			break;
	}
	if (s->sm) {
		sm_event(s->sm, s->fd, STACKMAP_RX_ROOM, 1000);
	} else {
		CHECK(i < 1000);
		EQ(ev.events, EPOLLOUT);
	}
	peer_closes(s);
}

/* Urgent data is payload like any other in slots, as RFC 6093 has it; epoll has EPOLLPRI for it */
ROW(urgent, both)
{
	accepted(s);
	told(s, "", OUT);
	peer_sends(s, 5);
	CHECK(send(s->peer, "!", 1, MSG_OOB) == 1);
	step();
	told(s, s->sm ? "data:6" : "data:5", IN | OUT | PRI);
	peer_closes(s);
	told(s, "fin", IN | OUT | RDHUP);
}
