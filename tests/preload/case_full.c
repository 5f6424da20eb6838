// SPDX-License-Identifier: GPL-2.0
/*
 * case_full.c - scenarios of a socket that takes no more, as its peer does not read: what is done to it then loses nothing
 */
#include "ops.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define CHUNK	16384

/* How much that is may differ */
static void fill(struct side *s)
{
	static unsigned char buf[CHUNK];
	int quiet = 0;
	long n;

	while (quiet < 4) {
		pattern(buf, CHUNK, s->sent, 0);
		n = send(s->app, buf, CHUNK, MSG_NOSIGNAL);
		if (n > 0) {
			s->sent += (uint64_t)n;
			quiet = 0;
			continue;
		}
		/* TCP may have room again, when it has sent some */
		pump();
		ms_sleep(5);
		quiet++;
	}
}

static void begin(struct side *s, uint32_t events)
{
	arm(s, events);
	fill(s);
	NOTE_VALUE(s, "it has taken something", s->sent > 100000);
	must_be_fast(s, "full");
}

/* Whether there is room again is chance: TCP asks the peer from time to time. So it is not compared */
static void look(struct side *s)
{
	struct epoll_event ev;
	char c;

	pump();
	if (epoll_wait(s->ep, &ev, 1, 0) < 0)
		NOTE_VALUE(s, "epoll_wait() failed", errno);
	pattern(&c, 1, s->sent, 0);
	if (s->app >= 0 && send(s->app, &c, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		s->sent++;
}

/* The peer reads all of it, and what comes then: the end, or nothing for now */
static void drained(struct side *s, bool ends)
{
	static unsigned char buf[CHUNK], want[CHUNK];
	bool right = true;
	long n = 0;

	while (s->heard < s->sent) {
		size_t most = s->sent - s->heard < CHUNK ? s->sent - s->heard : CHUNK;

		n = recv(s->peer, buf, most, 0);
		if (n <= 0)
			break;
		pattern(want, (size_t)n, s->heard, 0);
		right = right && !memcmp(buf, want, (size_t)n);
		s->heard += (uint64_t)n;
	}
	NOTE_VALUE(s, "all has come", s->heard == s->sent);
	NOTE_VALUE(s, "as it was written", right);
	if (ends)
		NOTE(s, recv(s->peer, buf, CHUNK, 0));
	else
		NOTE(s, recv(s->peer, buf, CHUNK, MSG_DONTWAIT));
}

/* It goes on, by that number */
static void goes_on(struct side *s, int fd)
{
	drained(s, false);
	wait_for(s, 8, 1000);
	NOTE_OUT(s, write(fd, "and so on", 9));
	peer_hears(s, 9);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
}

static void full(struct side *s)
{
	struct epoll_event ev;
	int i, wrong = 0;
	char c;

	begin(s, EPOLLIN | EPOLLOUT);
	for (i = 0; i < 20; i++) {
		if (epoll_wait(s->ep, &ev, 1, 5) != 1)
			continue;
		pattern(&c, 1, s->sent, 0);
		if (send(s->app, &c, 1, 0) == 1)
			s->sent++;
		else
			wrong++;
	}
	NOTE_VALUE(s, "it is told that it can write when it can, or nearly so", wrong < 4);
	goes_on(s, s->app);
	must_be_fast(s, "in the end");
}

static void full_edge(struct side *s)
{
	int i;

	begin(s, EPOLLIN | EPOLLOUT | EPOLLET);
	for (i = 0; i < 3; i++) {
		drained(s, false);
		wait_for(s, 8, 1000);
		wait_for(s, 8, 0);
		fill(s);
		look(s);
	}
	must_be_fast(s, "in the end");
}

static void full_shut(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, shutdown(s->app, SHUT_WR));
	wait_for(s, 8, 0);
	NOTE_OUT(s, send(s->app, "x", 1, 0));
	drained(s, true);
	wait_for(s, 8, 0);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
}

static void full_shut_both(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, shutdown(s->app, SHUT_RDWR));
	wait_for(s, 8, 0);
	drained(s, true);
}

static void full_close(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, close(s->app));
	s->app = -1;
	wait_ep(s, s->ep, 8, 0);
	drained(s, true);
}

static void full_close_and_set(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, close(s->app));
	NOTE(s, close(s->ep));
	s->app = s->ep = -1;
	drained(s, true);
}

static void full_close_file(struct side *s)
{
	FILE *f;

	begin(s, EPOLLIN | EPOLLOUT);
	f = fdopen(s->app, "r+");
	NOTE(s, fclose(f));
	s->app = -1;
	drained(s, true);
}

static void full_dup_over(struct side *s)
{
	int null = open("/dev/null", O_RDWR);

	begin(s, EPOLLIN | EPOLLOUT);
	NOTE_VALUE(s, "dup2()", dup2(null, s->app) == s->app);
	close(null);
	close(s->app);
	s->app = -1;
	drained(s, true);
}

/* Something is unread: then it is a reset, and what has not left is lost */
static void full_reset(struct side *s)
{
	static unsigned char buf[CHUNK];
	long n;

	begin(s, EPOLLIN | EPOLLOUT);
	peer_says(s, 10);
	wait_for(s, 8, 0);
	NOTE(s, close(s->app));
	s->app = -1;
	wait_ep(s, s->ep, 8, 0);
	do
		n = recv(s->peer, buf, CHUNK, 0);
	while (n > 0);
	begin_note(s, "the end of what the peer reads");
	noted(s, n);
}

static void full_peer_resets(struct side *s)
{
	struct linger l = { 1, 0 };

	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	NOTE(s, close(s->peer));
	s->peer = -1;
	ms_sleep(5);
	pump();
	wait_ep(s, s->ep, 8, 1000);
	NOTE_OUT(s, send(s->app, "x", 1, 0));
	NOTE_OUT(s, send(s->app, "x", 1, 0));
	app_hears(s, 10);
	wait_ep(s, s->ep, 8, 0);
}

static void full_dup(struct side *s)
{
	int fd;

	begin(s, EPOLLIN | EPOLLOUT);
	fd = NOTE_FD(s, dup(s->app));
	look(s);
	goes_on(s, fd);
	close(fd);
}

static void full_fork(struct side *s)
{
	int status = -1;
	pid_t pid;

	begin(s, EPOLLIN | EPOLLOUT);
	pid = fork();
	if (!pid) {
		unsigned char c;

		pattern(&c, 1, s->sent, 0);
		_exit(send(s->app, &c, 1, MSG_NOSIGNAL) == 1);
	}
	NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
	s->sent += WIFEXITED(status) && WEXITSTATUS(status) == 1;
	look(s);
	goes_on(s, s->app);
}

static void full_spawn(struct side *s)
{
	char *argv[] = { "true", NULL };
	int status = -1;
	pid_t pid;

	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ));
	NOTE_VALUE(s, "the child has ended", waitpid(pid, &status, 0) == pid);
	goes_on(s, s->app);
}

static void full_poll(struct side *s)
{
	struct pollfd p = { .events = POLLIN | POLLOUT };

	begin(s, EPOLLIN | EPOLLOUT);
	p.fd = s->app;
	poll(&p, 1, 10);
	drained(s, false);
	NOTE(s, poll(&p, 1, 1000));
	NOTE_VALUE(s, "revents", p.revents);
	wait_for(s, 8, 1000);
}

static void full_blocking(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, fcntl(s->app, F_SETFL, 0));
	look(s);
	goes_on(s, s->app);
	NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
}

static void full_priority(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLOUT | EPOLLPRI, APP_DATA);
	look(s);
	goes_on(s, s->app);
}

static void full_urgent(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	send(s->app, "", 0, MSG_OOB);
	look(s);
	goes_on(s, s->app);
}

static void full_two_sets(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.u64 = 5 };
	int other = set_new(s);

	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, epoll_ctl(other, EPOLL_CTL_ADD, s->app, &ev));
	look(s);
	goes_on(s, s->app);
	wait_ep(s, other, 8, 0);
	close(other);
}

static void full_set_closed(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, close(s->ep));
	look(s);
	s->ep = set_new(s);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN | EPOLLOUT, APP_DATA);
	look(s);
	goes_on(s, s->app);
}

static void full_deleted(struct side *s)
{
	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	drained(s, false);
	wait_for(s, 8, 0);
	NOTE_OUT(s, send(s->app, "xyz", 3, 0));
	peer_hears(s, 3);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN | EPOLLOUT, APP_DATA);
	wait_for(s, 8, 0);
}

static void full_cork(struct side *s)
{
	int on = 1, off = 0;

	begin(s, EPOLLIN | EPOLLOUT);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	look(s);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
	goes_on(s, s->app);
}

const struct scenario full_cases[] = {
	{ "full", full, 0 },
	{ "full, EPOLLET", full_edge, 0 },
	{ "full, and shutdown(SHUT_WR)", full_shut, 0 },
	{ "full, and shutdown(SHUT_RDWR)", full_shut_both, 0 },
	{ "full, and close()", full_close, 0 },
	{ "full, and close() of the set, too", full_close_and_set, 0 },
	{ "full, and fclose()", full_close_file, 0 },
	{ "full, and dup2() over it", full_dup_over, 0 },
	{ "full, and close() with something unread", full_reset, 0 },
	{ "full, and the peer resets", full_peer_resets, 0 },
	{ "full, and dup()", full_dup, 0 },
	{ "full, and fork()", full_fork, 0 },
	{ "full, and posix_spawn()", full_spawn, 0 },
	{ "full, and poll()", full_poll, 0 },
	{ "full, and to be blocking", full_blocking, 0 },
	{ "full, and EPOLLPRI", full_priority, 0 },
	{ "full, and urgent", full_urgent, 0 },
	{ "full, and in two sets", full_two_sets, 0 },
	{ "full, and the set is closed", full_set_closed, 0 },
	{ "full, and deleted from its set", full_deleted, 0 },
	{ "full, and TCP_CORK", full_cork, 0 },
	{ NULL, NULL, 0 },
};
