// SPDX-License-Identifier: GPL-2.0
/*
 * pair.c - a side's connection and set, and waiting for what is under way on it
 */
#include "ops.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Its layout: libc's may be older */
struct tcp_numbers {
	uint8_t state;
	uint8_t rest[103];
	uint64_t pacing_rate;
	uint64_t max_pacing_rate;
	uint64_t bytes_acked;
	uint64_t bytes_received;
};

__attribute__((noreturn)) static void die(const char *what)
{
	printf("Bail out! %s: %s (in %s, %s)\n", what, strerror(errno), where_case, where_side);
	exit(2);
}

/* ----------------------------------------------------------------- connections */

int listen_on(bool v6, int backlog, struct sockaddr_storage *addr, unsigned int *len)
{
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *a4 = (struct sockaddr_in *)addr;
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(addr, 0, sizeof(*addr));
	if (v6) {
		a6->sin6_family = AF_INET6;
		a6->sin6_addr = in6addr_loopback;
		*len = sizeof(*a6);
	} else {
		a4->sin_family = AF_INET;
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*len = sizeof(*a4);
	}
	if (fd < 0 || bind(fd, (struct sockaddr *)addr, *len) || listen(fd, backlog) ||
	    getsockname(fd, (struct sockaddr *)addr, len))
		die("a listener");
	return fd;
}

/* The app and the peer, connected */
void pair_open(struct side *s, unsigned int flags)
{
	struct timeval limit = { 5, 0 };
	struct sockaddr_storage addr;
	unsigned int len;
	int listener, from, to, one = 1;

	listener = listen_on(flags & PAIR_V6, 4, &addr, &len);
	from = socket(addr.ss_family, SOCK_STREAM, 0);
	if (from < 0 || connect(from, (struct sockaddr *)&addr, len))
		die("connect()");
	to = accept(listener, NULL, NULL);
	if (to < 0)
		die("accept()");
	close(listener);
	s->app = flags & PAIR_CONNECTED ? from : to;
	s->peer = flags & PAIR_CONNECTED ? to : from;
	s->sent = s->peer_sent = s->heard = 0;
	s->fin = s->peer_fin = false;
	setsockopt(s->peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(s->peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(s->peer, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	/* Against a hang, where it is made blocking */
	setsockopt(s->app, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(s->app, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!(flags & PAIR_NAGLE))
		setsockopt(s->app, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!(flags & PAIR_BLOCKING) && fcntl(s->app, F_SETFL, O_RDWR | O_NONBLOCK))
		die("O_NONBLOCK");
}

void pair_close(struct side *s)
{
	if (s->app >= 0)
		close(s->app);
	if (s->peer >= 0)
		close(s->peer);
	s->app = s->peer = -1;
}

/* An epoll set; of the plain side the kernel's alone, by being dup()ed */
int set_new(struct side *s)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0)
		die("epoll_create1()");
	if (!s->fast)
		close(dup(ep));
	return ep;
}

/* Without a connection */
void side_begin(struct side *s, bool fast)
{
	if (!s->log)
		s->log = calloc(LOG_MAX, sizeof(*s->log));
	if (!s->log)
		die("memory");
	s->name = fast ? "fast" : "plain";
	s->fast = fast;
	s->app = s->peer = s->ep = -1;
	s->n = 0;
}

void side_open(struct side *s, bool fast, unsigned int flags)
{
	side_begin(s, fast);
	s->ep = set_new(s);
	pair_open(s, flags);
}

void side_close(struct side *s)
{
	pair_close(s);
	if (s->ep >= 0)
		close(s->ep);
	s->ep = -1;
}

/* Whether an fd that was added to an epoll set is not in the kernel's: then the library has it */
bool attached(int ep, int fd)
{
	char path[48], text[8192], want[24];
	long info, n, got = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ep);
	info = raw(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	if (info < 0)
		return false;
	while (got < (long)sizeof(text) - 1 &&
	       (n = raw(SYS_read, info, (long)text + got, (long)sizeof(text) - 1 - got, 0, 0, 0)) > 0)
		got += n;
	raw(SYS_close, info, 0, 0, 0, 0, 0);
	text[got] = '\0';
	/* "tfd:        7 events: ..." */
	snprintf(want, sizeof(want), "tfd: %8d ", fd);
	return !strstr(text, want);
}

/* Or the scenario proves nothing */
bool must_be_fast(struct side *s, const char *when)
{
	bool is = !s->fast || !config.port || attached(s->ep, s->app);

	if (!is)
		printf("# the fast side's socket is not attached: %s\n", when);
	NOTE_VALUE(s, "the fast side is fast", is);
	return is;
}

/* ------------------------------------------------------------------ waiting for TCP */

static bool numbers(int fd, struct tcp_numbers *t)
{
	socklen_t len = sizeof(*t);

	memset(t, 0, sizeof(*t));
	return fd >= 0 && !raw(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, (long)t, (long)&len, 0);
}

/* All that was sent has come to @fd's TCP, which nobody syncs for that; and a FIN, or a reset */
static void all_here(int fd, uint64_t bytes, bool fin)
{
	struct tcp_numbers t;
	int tries;

	for (tries = 0; tries < 400; tries++) {
		if (!numbers(fd, &t))
			return;
		if (t.state == TCP_CLOSE)
			return;
		if (t.bytes_received >= bytes &&
		    (!fin || (t.state != TCP_ESTABLISHED && t.state != TCP_FIN_WAIT1 &&
			      t.state != TCP_FIN_WAIT2)))
			return;
		us_sleep(tries < 20 ? 200 : 2000);
	}
	if (config.verbose)
		fprintf(stderr, "# gave up on %d: state %d, %llu of %llu bytes, fin %d (%s)\n", fd, t.state,
			(unsigned long long)t.bytes_received, (unsigned long long)bytes, fin, where_op);
}

void arrive(struct side *s)
{
	all_here(s->app, s->peer_sent, s->peer_fin);
}

void leave(struct side *s)
{
	all_here(s->peer, s->sent, s->fin);
}

/*
 * A set of its own that the same thread drives: to wait for it is to sync the port, and tells
 * nothing of the sets that are compared
 */
static struct side pumped = { .app = -1, .peer = -1, .ep = -1 };

void pump_open(void)
{
	struct epoll_event ev = { .events = EPOLLIN };

	side_open(&pumped, true, 0);
	if (epoll_ctl(pumped.ep, EPOLL_CTL_ADD, pumped.app, &ev))
		die("epoll_ctl()");
	pump();
}

void pump(void)
{
	struct epoll_event ev;

	if (pumped.ep >= 0 && epoll_wait(pumped.ep, &ev, 1, 0))
		die("the pump's epoll_wait()");
}

/* What was just written has left, and the answer has come, which is a reset if the peer is gone */
void answered(struct side *s)
{
	struct tcp_numbers t;
	int tries;

	pump();
	leave(s);
	arrive(s);
	for (tries = 0; s->peer < 0 && tries < 50 && numbers(s->app, &t) && t.state != TCP_CLOSE; tries++) {
		us_sleep(500);
		pump();
	}
	/* By the one that has sent it, or by this one */
	pump();
}
