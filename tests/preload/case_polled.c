// SPDX-License-Identifier: GPL-2.0
/*
 * case_polled.c - scenarios of sockets that are in no epoll set: poll() and select() are all that waits for them
 *
 * The library attaches such a socket by the fourth poll() for it. The plain side's has been dup()ed, and stays plain.
 */
#include "ops.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* In ms: nothing that is waited for takes so long */
#define LONG	5000

/* What is attached has the port's upper-layer protocol */
static bool has_ulp(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name);

	return !raw(SYS_getsockopt, fd, IPPROTO_TCP, TCP_ULP, (long)name, (long)&len, 0) && len && *name;
}

static void must_be_attached(struct side *s, const char *when)
{
	bool is = !s->fast || !config.port || has_ulp(s->app);

	if (!is)
		printf("# the fast side's socket is not attached: %s\n", when);
	NOTE_VALUE(s, "the fast side is fast", is);
}

static int poll_for(struct side *s, short events, int ms)
{
	struct pollfd p = { .fd = s->app, .events = events };
	uint64_t t;
	int n;

	arrive(s);
	t = ms_now();
	n = (int)NOTE(s, poll(&p, 1, ms));
	NOTE_VALUE(s, "revents", p.revents);
	/* By what has happened, not by the end of the time */
	if (ms >= LONG)
		NOTE_VALUE(s, "in time", ms_now() - t < LONG / 2);
	return n;
}

static void select_for(struct side *s, bool in, bool out, unsigned int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	fd_set r, w;

	FD_ZERO(&r);
	FD_ZERO(&w);
	if (in)
		FD_SET(s->app, &r);
	if (out)
		FD_SET(s->app, &w);
	arrive(s);
	NOTE(s, select(s->app + 1, &r, out ? &w : NULL, NULL, &tv));
	NOTE_VALUE(s, "bits", FD_ISSET(s->app, &r) | FD_ISSET(s->app, &w) << 1);
	NOTE_VALUE(s, "no time is left", !tv.tv_sec && !tv.tv_usec);
}

/* From now on polls are what waits for it */
static void begin_polls(struct side *s)
{
	int i;

	close(s->ep);
	s->ep = -1;
	if (!s->fast)
		close(dup(s->app));
	for (i = 0; i < 5; i++)
		poll_for(s, POLLIN, 0);
	must_be_attached(s, "polled five times");
}

static void all_waits(struct side *s, unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };
	struct pollfd p[3] = {
		{ .fd = s->app, .events = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLRDHUP },
		{ .fd = -1, .events = POLLIN }, { .fd = s->app },
	};
	fd_set r;

	poll_for(s, POLLIN, (int)ms);
	poll_for(s, POLLIN | POLLOUT | POLLRDHUP, (int)ms);
	NOTE(s, ppoll(p, 3, &ts, NULL));
	NOTE_VALUE(s, "revents", p[0].revents);
	NOTE_VALUE(s, "revents", p[1].revents | p[2].revents);
	select_for(s, true, false, ms);
	select_for(s, true, true, ms);
	FD_ZERO(&r);
	FD_SET(s->app, &r);
	NOTE(s, pselect(s->app + 1, &r, NULL, NULL, &ts, NULL));
	NOTE_VALUE(s, "bit", FD_ISSET(s->app, &r) != 0);
}

static void only_polled(struct side *s)
{
	begin_polls(s);
	all_waits(s, 0);
	all_waits(s, 5);
	peer_says(s, 100);
	all_waits(s, 100);
	app_hears(s, 30);
	all_waits(s, 0);
	app_hears(s, 100);
	all_waits(s, 0);
	app_says(s, 50);
	poll_for(s, POLLIN, 0);
	peer_hears(s, 50);
	peer_says(s, 10);
	peer_says(s, 5000);
	poll_for(s, POLLIN, 1000);
	app_hears(s, 6000);
	must_be_attached(s, "before the end");
	peer_says(s, 1);
	peer_ends(s);
	all_waits(s, 100);
	app_hears(s, 10);
	all_waits(s, 0);
	app_hears(s, 10);
	app_says(s, 20);
	poll_for(s, POLLIN | POLLRDHUP, 0);
	peer_hears(s, 20);
	all_waits(s, 0);
}

static void polled_and_reset(struct side *s)
{
	begin_polls(s);
	peer_says(s, 10);
	poll_for(s, POLLIN, 100);
	peer_resets(s);
	poll_for(s, POLLIN, 0);
	all_waits(s, 100);
	app_hears(s, 100);
	all_waits(s, 0);
}

/* Others beside it, of which some are ready */
static void polled_with_others(struct side *s)
{
	int e = eventfd(0, EFD_NONBLOCK), p[2], i;
	struct pollfd fds[4] = { { .fd = e, .events = POLLIN }, { .fd = s->app, .events = POLLIN } };
	uint64_t one = 1, t;
	fd_set r, w;

	if (pipe(p))
		abort();
	fds[2] = (struct pollfd){ .fd = p[0], .events = POLLIN };
	fds[3] = (struct pollfd){ .fd = p[1], .events = POLLOUT };
	begin_polls(s);
	for (i = 0; i < 3; i++) {
		arrive(s);
		NOTE(s, poll(fds, 3, 20));
		NOTE_VALUE(s, "revents", fds[0].revents | fds[1].revents << 8 | fds[2].revents << 16);
		NOTE(s, poll(fds, 4, 20));
		NOTE_VALUE(s, "revents", fds[0].revents | fds[1].revents << 8 | fds[2].revents << 16);
		NOTE_VALUE(s, "revents", fds[3].revents);
		if (!i)
			NOTE(s, write(e, &one, sizeof(one)));
		else
			peer_says(s, 10);
	}
	/* A hangup is nothing that may be written to, as select() has it */
	poll_for(s, POLLIN, 0);
	app_hears(s, 100);
	NOTE(s, close(p[1]));
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(s->app, &r);
	FD_SET(p[0], &w);
	t = ms_now();
	NOTE(s, select((s->app > p[0] ? s->app : p[0]) + 1, &r, &w, NULL, &(struct timeval){ 0, 50000 }));
	NOTE_VALUE(s, "bits", FD_ISSET(s->app, &r) | FD_ISSET(p[0], &w) << 1);
	NOTE_VALUE(s, "the time is over", ms_now() - t >= 49);
	/* What is closed */
	NOTE(s, close(p[0]));
	NOTE(s, poll(fds, 3, 20));
	NOTE_VALUE(s, "revents", fds[0].revents | fds[1].revents << 8 | fds[2].revents << 16);
	FD_ZERO(&r);
	FD_SET(s->app, &r);
	FD_SET(p[0], &r);
	NOTE(s, select((s->app > p[0] ? s->app : p[0]) + 1, &r, NULL, NULL, &(struct timeval){ 0, 20000 }));
	close(e);
	poll_for(s, POLLIN, 0);
	peer_says(s, 10);
	poll_for(s, POLLIN, 100);
}

/* More than there is room for on the stack */
static void polled_many(struct side *s)
{
	enum { MANY = 400 };
	static struct pollfd fds[MANY];
	int e = eventfd(0, EFD_NONBLOCK), i, n;

	begin_polls(s);
	for (n = 0; n < 2; n++) {
		for (i = 0; i < MANY; i++)
			fds[i] = (struct pollfd){ .fd = i % 3 ? e : s->app, .events = POLLIN };
		arrive(s);
		NOTE(s, poll(fds, MANY, 10));
		for (i = 0; i < MANY; i += 37)
			NOTE_VALUE(s, "revents", fds[i].revents);
		peer_says(s, 10);
	}
	close(e);
	must_be_attached(s, "in the end");
}

/* Nothing of what another thread does meanwhile is missed */
static void o_writes_eventfd(struct side *s, struct other *o)
{
	uint64_t one = 1;

	(void)s;
	o->ret = write(o->fd, &one, sizeof(one));
}

static void polled_asleep(struct side *s)
{
	struct other o = { .fd = eventfd(0, EFD_NONBLOCK) };
	struct pollfd fds[2] = { { .fd = s->app, .events = POLLIN }, { .fd = o.fd, .events = POLLIN } };
	fd_set r;

	begin_polls(s);
	other_start(s, &o, o_peer_says, SOON);
	NOTE(s, poll(fds, 1, -1));
	NOTE_VALUE(s, "revents", fds[0].revents);
	other_join(s, &o, "another thread's send() to it");
	app_hears(s, 100);
	other_start(s, &o, o_peer_says, SOON);
	NOTE(s, poll(fds, 2, 5000));
	NOTE_VALUE(s, "revents", fds[0].revents | fds[1].revents << 8);
	other_join(s, &o, "another thread's send() to it");
	app_hears(s, 100);
	other_start(s, &o, o_writes_eventfd, SOON);
	NOTE(s, poll(fds, 2, 5000));
	NOTE_VALUE(s, "revents", fds[0].revents | fds[1].revents << 8);
	other_join(s, &o, "another thread's write() to another one");
	other_start(s, &o, o_peer_says, SOON);
	FD_ZERO(&r);
	FD_SET(s->app, &r);
	NOTE(s, select(s->app + 1, &r, NULL, NULL, NULL));
	other_join(s, &o, "another thread's send() to it");
	must_be_attached(s, "in the end");
	app_hears(s, 100);
	close(o.fd);
}

static void polled_read_asleep(struct side *s)
{
	struct other o = { 0 };

	begin_polls(s);
	peer_says(s, 50);
	poll_for(s, POLLIN, 1000);
	app_hears(s, 5);
	other_start(s, &o, o_app_hears, SOON);
	poll_for(s, POLLRDHUP, 100);
	other_join(s, &o, "another thread's read()");
	app_hears(s, 100);
}

static void polled_closed_asleep(struct side *s)
{
	struct other o = { 0 };

	begin_polls(s);
	app_says(s, 10);
	other_start(s, &o, o_app_closes, SOON);
	poll_for(s, POLLIN, 150);
	other_join(s, &o, "another thread's close()");
	s->app = -1;
	s->fin = true;
	peer_hears(s, 10);
	peer_hears(s, 1);
}

static void o_adds(struct side *s, struct other *o)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.u64 = 42 };

	o->fd = epoll_create1(0);
	o->ret = epoll_ctl(o->fd, EPOLL_CTL_ADD, s->app, &ev);
}

/* It becomes plain while its thread sleeps, and that hears of what comes then */
static void polled_plain_asleep(struct side *s, void (*does)(struct side *, struct other *), const char *what)
{
	struct other o = { 0 }, p = { 0 };

	begin_polls(s);
	other_start(s, &o, does, SOON);
	other_start(s, &p, o_peer_says, 3 * SOON);
	poll_for(s, POLLIN, LONG);
	other_join(s, &o, what);
	other_join(s, &p, "a third thread's send() to it");
	app_hears(s, 100);
	close(o.fd);
}

static void polled_dup_asleep(struct side *s)
{
	polled_plain_asleep(s, o_dups, "another thread's dup()");
}

static void polled_added_asleep(struct side *s)
{
	polled_plain_asleep(s, o_adds, "another thread's ADD");
}

static void o_peer_says_often(struct side *s, struct other *o)
{
	int i;

	for (i = 0; i < 100; i++) {
		o_peer_says(s, o);
		ms_sleep(2);
	}
}

static void o_polls_too(struct side *s, struct other *o)
{
	struct pollfd p = { .fd = s->app, .events = POLLIN };

	o->ret = poll(&p, 1, 5000);
}

static void polled_by_two(struct side *s)
{
	struct other o = { 0 }, p = { 0 };
	int i;

	begin_polls(s);
	for (i = 0; i < 2; i++) {
		other_start(s, &o, o_polls_too, i ? 0 : SOON);
		other_start(s, &p, o_peer_says, 3 * SOON);
		if (i)
			ms_sleep(SOON);
		poll_for(s, POLLIN, LONG);
		other_join(s, &o, "another thread's poll()");
		other_join(s, &p, "a third thread's send() to it");
		app_hears(s, 100);
	}
}

/* One is asleep in the kernel's poll() before the other has polled at all */
static void polled_by_two_first(struct side *s)
{
	struct pollfd p = { .fd = s->app, .events = POLLOUT };
	struct other o = { 0 };
	int i;

	if (!s->fast)
		close(dup(s->app));
	other_start(s, &o, o_polls_too, 0);
	ms_sleep(SOON);
	for (i = 0; i < 6; i++)
		NOTE(s, poll(&p, 1, 0));
	/* What a poll takes now before the other one runs that one does not see */
	peer_says(s, 10);
	for (i = 0; i < 3; i++)
		NOTE(s, poll(&p, 1, 0));
	other_join(s, &o, "another thread's poll()");
	app_hears(s, 100);
}

/* A set that is the kernel's alone hears of one that was polled meanwhile */
static void polled_and_never(struct side *s)
{
	struct pollfd p = { .fd = s->ep, .events = POLLIN };
	int i;

	arm(s, EPOLLIN);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	NOTE(s, poll(&p, 1, 0));
	for (i = 0; i < 6; i++)
		poll_for(s, POLLIN, 0);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	peer_says(s, 10);
	wait_ep(s, s->ep, 8, 1000);
	app_hears(s, 100);
}

/* And so does what is left of a set that is closed */
static void polled_and_set_dup(struct side *s)
{
	int ep, i;

	arm(s, EPOLLIN);
	ep = dup(s->ep);
	close(s->ep);
	s->ep = -1;
	for (i = 0; i < 6; i++)
		poll_for(s, POLLIN, 0);
	peer_says(s, 10);
	for (i = 0; i < 6; i++)
		poll_for(s, POLLOUT, 0);
	wait_ep(s, ep, 8, 1000);
	app_hears(s, 100);
	close(ep);
}

/* A timed poll() ends in time, whatever comes for others of the port */
static void polled_beside_traffic(struct side *s)
{
	struct other o = { 0 };
	uint64_t t;

	begin_polls(s);
	peer_says(s, 10);
	poll_for(s, POLLIN, 100);
	other_start(s, &o, o_peer_says_often, 0);
	t = ms_now();
	poll_for(s, POLLRDHUP, 100);
	NOTE_VALUE(s, "in time", ms_now() - t < 1000);
	other_join(s, &o, "another thread's send(), again and again");
}

/* To and fro between poll(), sets, and what makes it plain */
static void polled_and_more(struct side *s)
{
	int i;

	begin_polls(s);
	s->ep = set_new(s);
	peer_says(s, 10);
	poll_for(s, POLLIN, 100);
	arm(s, EPOLLIN);
	wait_for(s, 8, 100);
	poll_for(s, POLLIN, 0);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	for (i = 0; i < 5; i++)
		poll_for(s, POLLIN, 0);
	app_hears(s, 100);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, &(struct epoll_event){ .events = EPOLLIN }));
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	poll_for(s, POLLIN | POLLPRI, 0);
	poll_for(s, POLLIN, 0);
	must_be_attached(s, "after POLLPRI");
	NOTE(s, fcntl(s->app, F_SETFL, O_RDWR));
	peer_says(s, 10);
	poll_for(s, POLLIN, 100);
	app_hears(s, 100);
	NOTE(s, fcntl(s->app, F_SETFL, O_RDWR | O_NONBLOCK));
	poll_for(s, POLLIN, 0);
	must_be_attached(s, "non-blocking again");
	use(s, s->app);
	poll_for(s, POLLIN, 0);
	NOTE(s, shutdown(s->app, SHUT_WR));
	s->fin = true;
	poll_for(s, POLLIN | POLLOUT, 0);
	peer_hears(s, 100);
}

static void polled_and_forked(struct side *s)
{
	int pid, status = -1;

	begin_polls(s);
	peer_says(s, 10);
	poll_for(s, POLLIN, 100);
	pid = fork();
	if (!pid) {
		struct pollfd p = { .fd = s->app, .events = POLLIN };

		_exit(poll(&p, 1, 1000) == 1 && p.revents == POLLIN ? 0 : 1);
	}
	NOTE(s, waitpid(pid, &status, 0) == pid);
	NOTE_VALUE(s, "what the child has found", status);
	poll_for(s, POLLIN, 100);
	app_hears(s, 100);
	poll_for(s, POLLIN, 0);
	must_be_attached(s, "after a fork");
}

/* No room, and then there is */
static void polled_full(struct side *s)
{
	static char block[1 << 16];
	struct pollfd p = { .fd = s->app, .events = POLLOUT };
	size_t written = 0, heard = 0;
	ssize_t k;
	int i;

	begin_polls(s);
	pattern(block, sizeof(block), 0, 0);
	while ((k = write(s->app, block, sizeof(block))) > 0 || (k < 0 && poll(&p, 1, 50) == 1))
		written += k > 0 ? (size_t)k : 0;
	NOTE_VALUE(s, "it is EAGAIN", k < 0 && errno == EAGAIN);
	NOTE(s, poll(&p, 1, 0));
	for (i = 0; heard < written && i < 100000; i++) {
		k = recv(s->peer, block, sizeof(block), MSG_DONTWAIT);
		if (k > 0)
			heard += (size_t)k;
		else
			poll(&p, 1, 1);
	}
	NOTE_VALUE(s, "all has come", heard == written);
	NOTE(s, poll(&p, 1, 2000));
	NOTE_VALUE(s, "revents", p.revents);
	p.events = POLLIN | POLLOUT;
	NOTE(s, poll(&p, 1, 0));
	NOTE_VALUE(s, "revents", p.revents);
	must_be_attached(s, "in the end");
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static pthread_t waits;

static void o_kills(struct side *s, struct other *o)
{
	(void)s;
	o->ret = pthread_kill(waits, SIGUSR1);
}

static void polled_interrupted(struct side *s)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, old;
	struct pollfd p = { .fd = s->app, .events = POLLIN };
	struct timespec none = { 0, 0 }, some = { 2, 0 };
	sigset_t block, mask;
	struct other o = { 0 };

	sigaction(SIGUSR1, &sa, &old);
	signals = 0;
	waits = pthread_self();
	begin_polls(s);
	other_start(s, &o, o_kills, SOON);
	poll_for(s, POLLIN, LONG);
	other_join(s, &o, "another thread's pthread_kill()");
	other_start(s, &o, o_kills, SOON);
	select_for(s, true, false, 2000);
	other_join(s, &o, "another thread's pthread_kill()");
	NOTE_VALUE(s, "signals", signals);
	/* Blocked, and let in by the wait */
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &block, &mask);
	other_start(s, &o, o_kills, SOON);
	poll_for(s, POLLIN, 3 * SOON);
	other_join(s, &o, "another thread's pthread_kill()");
	NOTE_VALUE(s, "signals", signals);
	NOTE(s, ppoll(&p, 1, &none, &mask));
	NOTE_VALUE(s, "signals", signals);
	other_start(s, &o, o_kills, SOON);
	NOTE(s, ppoll(&p, 1, &some, &mask));
	other_join(s, &o, "another thread's pthread_kill()");
	NOTE_VALUE(s, "signals", signals);
	/* Pending, and something is ready */
	pthread_kill(waits, SIGUSR1);
	peer_says(s, 10);
	arrive(s);
	NOTE(s, ppoll(&p, 1, &some, &mask));
	NOTE_VALUE(s, "revents", p.revents);
	NOTE_VALUE(s, "signals", signals);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	NOTE_VALUE(s, "signals", signals);
	sigaction(SIGUSR1, &old, NULL);
	must_be_attached(s, "in the end");
}

/* A thread that is cancelled in poll() leaves no lock behind, and its memory */
static void *cancelled(void *arg)
{
	enum { MANY = 300 };
	struct side *s = arg;
	struct pollfd fds[MANY];
	int i;

	for (i = 0; i < MANY; i++)
		fds[i] = (struct pollfd){ .fd = s->app, .events = POLLIN };
	for (i = 0; i < 5; i++)
		poll(fds, 1, 0);
	poll(fds, MANY, -1);
	return NULL;
}

static void polled_cancelled(struct side *s)
{
	pthread_t thread;
	void *ret;

	if (!s->fast)
		close(dup(s->app));
	pthread_create(&thread, NULL, cancelled, s);
	ms_sleep(2 * SOON);
	NOTE(s, pthread_cancel(thread));
	NOTE(s, pthread_join(thread, &ret));
	NOTE_VALUE(s, "it was cancelled", ret == PTHREAD_CANCELED);
	peer_says(s, 10);
	poll_for(s, POLLIN, 1000);
	app_hears(s, 100);
	use(s, s->app);
}

const struct scenario polled_cases[] = {
	{ "only polled", only_polled, 0 },
	{ "only polled, IPv6, by connect()", only_polled, PAIR_V6 | PAIR_CONNECTED },
	{ "only polled, and reset", polled_and_reset, 0 },
	{ "only polled, with others", polled_with_others, 0 },
	{ "only polled, many", polled_many, 0 },
	{ "only polled, asleep", polled_asleep, 0 },
	{ "only polled, and another thread reads", polled_read_asleep, 0 },
	{ "only polled, and another thread closes", polled_closed_asleep, 0 },
	{ "only polled, and another thread has it plain", polled_dup_asleep, 0 },
	{ "only polled, and another thread adds it to a set", polled_added_asleep, 0 },
	{ "only polled, by two threads", polled_by_two, 0 },
	{ "only polled, by two threads, one of them asleep", polled_by_two_first, 0 },
	{ "only polled, and a set that is never ours", polled_and_never, 0 },
	{ "only polled, and a set that has a dup()", polled_and_set_dup, 0 },
	{ "only polled, beside other traffic", polled_beside_traffic, 0 },
	{ "only polled, and more", polled_and_more, 0 },
	{ "only polled, and forked", polled_and_forked, 0 },
	{ "only polled, full", polled_full, 0 },
	{ "only polled, interrupted", polled_interrupted, 0 },
	{ "only polled, cancelled", polled_cancelled, 0 },
	{ NULL, NULL, 0 },
};
