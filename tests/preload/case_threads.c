// SPDX-License-Identifier: GPL-2.0
/*
 * case_threads.c - scenarios with signals and with other threads, while one sleeps in epoll_wait()
 *
 * Only the main thread writes down; what another one found is written down when it was joined.
 */
#include "ops.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Enough for the other thread to be asleep */
#define SOON		30

/* --------------------------------------------------------------------- signals */

static volatile sig_atomic_t usr1;
static int handler_fd = -1;
static volatile long handler_ret;
static char handler_buf[64];

static void on_usr1(int sig)
{
	(void)sig;
	usr1++;
}

static void on_usr1_write(int sig)
{
	int err = errno;

	usr1 += sig == SIGUSR1;
	handler_ret = write(handler_fd, "handler", 7);
	if (handler_ret < 0)
		handler_ret = -errno;
	errno = err;
}

static void on_usr1_read(int sig)
{
	int err = errno;

	usr1 += sig == SIGUSR1;
	handler_ret = read(handler_fd, handler_buf, sizeof(handler_buf));
	if (handler_ret < 0)
		handler_ret = -errno;
	errno = err;
}

/* SIGUSR1 to this thread, in so many milliseconds */
static timer_t timer_in(unsigned int ms)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct itimerspec at = { .it_value = { ms / 1000, ms % 1000 * 1000000L } };
	timer_t t;

	ev._sigev_un._tid = gettid();
	timer_create(CLOCK_MONOTONIC, &ev, &t);
	timer_settime(t, 0, &at, NULL);
	return t;
}

static void handle(void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigaction(SIGUSR1, &sa, NULL);
	usr1 = 0;
}

static void interrupted(struct side *s)
{
	timer_t t;
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 2; i++) {
		handle(on_usr1, i ? SA_RESTART : 0);
		t = timer_in(SOON);
		wait_for(s, 8, 2000);
		NOTE_VALUE(s, "signals", usr1);
		timer_delete(t);
		wait_for(s, 8, 0);
	}
	/* One that is ignored is none */
	handle(SIG_IGN, 0);
	t = timer_in(SOON);
	wait_for(s, 8, 2 * SOON);
	timer_delete(t);
	must_be_fast(s, "in the end");
}

static void masked(struct side *s)
{
	struct epoll_event ev[8];
	sigset_t block, none, old;
	timer_t t;
	int i;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	arm(s, EPOLLIN);
	handle(on_usr1, 0);
	/* Blocked */
	pthread_sigmask(SIG_BLOCK, &block, &old);
	t = timer_in(SOON);
	wait_for(s, 8, 2 * SOON);
	NOTE_VALUE(s, "signals, blocked", usr1);
	/* It is pending, and let in */
	NOTE(s, epoll_pwait(s->ep, ev, 8, 1000, &none));
	NOTE_VALUE(s, "signals, let in", usr1);
	timer_delete(t);
	/* It comes while it is let in */
	t = timer_in(SOON);
	NOTE(s, epoll_pwait(s->ep, ev, 8, 2000, &none));
	NOTE_VALUE(s, "signals, let in", usr1);
	timer_delete(t);
	/* It is pending, and there is something to tell, or no time to wait */
	for (i = 0; i < 2; i++) {
		raise(SIGUSR1);
		if (i)
			peer_says(s, 10);
		arrive(s);
		NOTE(s, epoll_pwait(s->ep, ev, 8, i ? 1000 : 0, &none));
		NOTE_VALUE(s, "signals, pending", usr1);
	}
	app_hears(s, 100);
	NOTE(s, epoll_pwait2(s->ep, ev, 8, &(struct timespec){ 1, 0 }, &none));
	NOTE_VALUE(s, "signals, let in by epoll_pwait2()", usr1);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	NOTE_VALUE(s, "signals, not blocked", usr1);
	/* The mask keeps it out */
	t = timer_in(SOON);
	NOTE(s, epoll_pwait(s->ep, ev, 8, 2 * SOON, &block));
	NOTE_VALUE(s, "signals, kept out, and then not", usr1);
	timer_delete(t);
	must_be_fast(s, "in the end");
}

static void handler_writes(struct side *s)
{
	timer_t t;

	arm(s, EPOLLIN);
	handler_fd = s->app;
	handle(on_usr1_write, 0);
	t = timer_in(SOON);
	wait_for(s, 8, 2000);
	NOTE_VALUE(s, "write() in the handler", handler_ret);
	s->sent += 7;
	timer_delete(t);
	peer_hears(s, 7);
}

static void handler_reads(struct side *s)
{
	arm(s, EPOLLIN);
	handler_fd = s->app;
	handle(on_usr1_read, 0);
	peer_says(s, 20);
	wait_for(s, 8, 2000);
	raise(SIGUSR1);
	NOTE_VALUE(s, "read() in the handler", handler_ret);
	seen(s, handler_buf, 20);
	wait_for(s, 8, 0);
}

/* Many, while it is read and written: none of them loses a byte */
static void many_signals(struct side *s)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct itimerspec at = { { 0, 700000 }, { 0, 700000 } };
	struct epoll_event e;
	unsigned char buf[256], want[256];
	uint64_t got = 0, end = ms_now() + 10000;
	bool right = true;
	timer_t t;
	long n;
	int i;

	arm(s, EPOLLIN);
	handle(on_usr1, 0);
	ev._sigev_un._tid = gettid();
	timer_create(CLOCK_MONOTONIC, &ev, &t);
	timer_settime(t, 0, &at, NULL);
	for (i = 0; i < 100 || (usr1 < 20 && ms_now() < end); i++) {
		pattern(buf, 200, s->peer_sent, 1);
		while (send(s->peer, buf, 200, 0) < 0 && errno == EINTR)
			;
		s->peer_sent += 200;
		while (got < s->peer_sent && ms_now() < end) {
			if (epoll_wait(s->ep, &e, 1, 100) < 0 && errno != EINTR)
				break;
			n = read(s->app, buf, sizeof(buf));
			if (n <= 0)
				continue;
			pattern(want, (size_t)n, got, 1);
			right = right && !memcmp(want, buf, (size_t)n);
			got += (uint64_t)n;
		}
	}
	timer_delete(t);
	NOTE_VALUE(s, "all came", got == s->peer_sent);
	NOTE_VALUE(s, "all are right", right);
	NOTE_VALUE(s, "there were signals", usr1 >= 20);
	must_be_fast(s, "in the end");
}

/* --------------------------------------------------------------------- threads */

struct other {
	pthread_t thread;
	struct side *s;
	void (*does)(struct side *s, struct other *o);
	unsigned int after;	/* ms */
	int fd;
	long ret;
	int err;
	struct epoll_event ev[8];
	bool fast;
};

static void *other_main(void *arg)
{
	struct other *o = arg;

	ms_sleep(o->after);
	errno = 0;
	o->does(o->s, o);
	o->err = o->ret < 0 ? errno : 0;
	return NULL;
}

static void other_start(struct side *s, struct other *o, void (*does)(struct side *, struct other *),
			unsigned int after)
{
	o->s = s;
	o->does = does;
	o->after = after;
	pthread_create(&o->thread, NULL, other_main, o);
}

static void other_join(struct side *s, struct other *o, const char *what)
{
	pthread_join(o->thread, NULL);
	begin_note(s, what);
	note_events(s, what, (int)o->ret, o->err, o->ev);
}

static void o_peer_says(struct side *s, struct other *o)
{
	char buf[30];

	pattern(buf, 30, s->peer_sent, 1);
	o->ret = send(s->peer, buf, 30, 0);
	s->peer_sent += 30;
}

static void o_app_says(struct side *s, struct other *o)
{
	char buf[40];

	pattern(buf, 40, s->sent, 0);
	o->ret = send(s->app, buf, 40, 0);
}

static void o_app_hears(struct side *s, struct other *o)
{
	char buf[10];

	o->ret = read(s->app, buf, 10);
	if (o->ret < 0 && errno == EAGAIN && may_repeat(s))
		o->ret = read(s->app, buf, 10);
}

static void o_app_closes(struct side *s, struct other *o)
{
	o->ret = close(s->app);
}

static void o_app_shuts(struct side *s, struct other *o)
{
	o->ret = shutdown(s->app, SHUT_RDWR);
}

static void o_set_closes(struct side *s, struct other *o)
{
	o->ret = close(s->ep);
}

static void o_mod_out(struct side *s, struct other *o)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.u64 = 42 };

	o->ret = epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, &ev);
}

static void o_add(struct side *s, struct other *o)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 43 };

	o->ret = epoll_ctl(s->ep, EPOLL_CTL_ADD, o->fd, &ev);
}

static void o_del_and_says(struct side *s, struct other *o)
{
	o->ret = epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL);
	if (send(s->peer, "12345", 5, 0) == 5)
		s->peer_sent += 5;
}

static void o_waits(struct side *s, struct other *o)
{
	o->ret = epoll_wait(s->ep, o->ev, 8, 300);
}

static void o_polls(struct side *s, struct other *o)
{
	struct pollfd p = { .fd = s->app, .events = POLLIN };

	o->ret = poll(&p, 1, 2000);
}

static void told_asleep(struct side *s)
{
	struct other o = { 0 };
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		other_start(s, &o, o_peer_says, SOON);
		wait_ep(s, s->ep, 8, 2000);
		other_join(s, &o, "another thread's send() to it");
		app_hears(s, 100);
	}
	must_be_fast(s, "in the end");
}

/* The peer has it before the sleep has ended */
static void written_asleep(struct side *s)
{
	struct other o = { 0 };
	char buf[64];

	arm(s, EPOLLIN);
	other_start(s, &o, o_app_says, SOON);
	wait_ep(s, s->ep, 8, 200);
	NOTE(s, recv(s->peer, buf, 64, MSG_DONTWAIT));
	seen(s, buf, 40);
	other_join(s, &o, "another thread's send()");
	s->sent += 40;
	wait_ep(s, s->ep, 8, 0);
	app_says(s, 5);
	peer_hears(s, 5);
	must_be_fast(s, "in the end");
}

static void read_asleep(struct side *s)
{
	struct other o = { 0 };

	arm(s, EPOLLIN);
	peer_says(s, 50);
	wait_for(s, 8, 1000);
	app_hears(s, 5);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLRDHUP, APP_DATA);
	other_start(s, &o, o_app_hears, SOON);
	wait_ep(s, s->ep, 8, 100);
	other_join(s, &o, "another thread's read()");
	app_hears(s, 100);
}

static void closed_asleep(struct side *s)
{
	struct other o = { 0 };
	int app = s->app;

	arm(s, EPOLLIN);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	app_says(s, 10);
	other_start(s, &o, o_app_closes, SOON);
	wait_ep(s, s->ep, 8, 150);
	other_join(s, &o, "another thread's close()");
	s->app = -1;
	s->fin = true;
	peer_hears(s, 10);
	leave(s);
	peer_hears(s, 1);
	ctl(s, EPOLL_CTL_MOD, app, EPOLLIN, APP_DATA);
	wait_ep(s, s->ep, 8, 0);
	close(s->peer);
	pair_open(s, 0);
	arm(s, EPOLLIN | EPOLLOUT);
}

static void shut_asleep(struct side *s)
{
	struct other o = { 0 };

	arm(s, EPOLLIN | EPOLLRDHUP);
	other_start(s, &o, o_app_shuts, SOON);
	wait_ep(s, s->ep, 8, 2000);
	other_join(s, &o, "another thread's shutdown()");
	wait_ep(s, s->ep, 8, 0);
	app_hears(s, 10);
}

static void set_closed_asleep(struct side *s)
{
	struct other o = { 0 };

	arm(s, EPOLLIN);
	other_start(s, &o, o_set_closes, SOON);
	wait_ep(s, s->ep, 8, 150);
	other_join(s, &o, "another thread's close() of the set");
	s->ep = set_new(s);
	arm(s, EPOLLIN | EPOLLOUT);
}

static void changed_asleep(struct side *s)
{
	struct other o = { 0 };
	int first = s->app, peer = s->peer;

	arm(s, EPOLLIN);
	other_start(s, &o, o_mod_out, SOON);
	wait_ep(s, s->ep, 8, 2000);
	other_join(s, &o, "another thread's MOD");
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN, APP_DATA);
	other_start(s, &o, o_del_and_says, SOON);
	wait_ep(s, s->ep, 8, 100);
	other_join(s, &o, "another thread's DEL");
	app_hears(s, 10);
	/* One that is ready, and one that will be */
	pair_open(s, 0);
	peer_says(s, 5);
	arrive(s);
	o.fd = s->app;
	other_start(s, &o, o_add, SOON);
	wait_ep(s, s->ep, 8, 2000);
	other_join(s, &o, "another thread's ADD");
	app_hears(s, 10);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	pair_close(s);
	pair_open(s, PAIR_CONNECTED);
	o.fd = s->app;
	other_start(s, &o, o_add, SOON);
	wait_ep(s, s->ep, 8, 3 * SOON);
	other_join(s, &o, "another thread's ADD");
	other_start(s, &o, o_peer_says, SOON);
	wait_ep(s, s->ep, 8, 2000);
	other_join(s, &o, "another thread's send() to it");
	app_hears(s, 100);
	must_be_fast(s, "in the end");
	close(first);
	close(peer);
}

static void polled_by_another(struct side *s)
{
	struct other o = { 0 };

	arm(s, EPOLLIN);
	other_start(s, &o, o_polls, 0);
	ms_sleep(SOON);
	wait_ep(s, s->ep, 8, SOON);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	other_join(s, &o, "another thread's poll()");
	app_hears(s, 100);
}

/* With EPOLLONESHOT or EPOLLET one of them is told */
static void two_wait(struct side *s, uint32_t events)
{
	struct other o = { 0 }, p = { 0 };
	int i;

	arm(s, events);
	for (i = 0; i < 2; i++) {
		other_start(s, &o, o_waits, 0);
		other_start(s, &p, o_waits, 0);
		ms_sleep(SOON);
		peer_says(s, 10);
		pthread_join(o.thread, NULL);
		pthread_join(p.thread, NULL);
		NOTE_VALUE(s, "events told to two threads", o.ret + p.ret);
		app_hears(s, 100);
		ctl(s, EPOLL_CTL_MOD, s->app, events, APP_DATA);
	}
	peer_says(s, 10);
	wait_for(s, 8, 100);
	app_hears(s, 100);
}

static void two_wait_edge(struct side *s)
{
	two_wait(s, EPOLLIN | EPOLLET);
}

static void two_wait_one_shot(struct side *s)
{
	two_wait(s, EPOLLIN | EPOLLONESHOT);
}

/* The main thread has it, and another one comes */
static void another_waits_too(struct side *s)
{
	struct other o = { 0 }, p = { 0 };

	arm(s, EPOLLIN | EPOLLET);
	other_start(s, &o, o_waits, SOON);
	other_start(s, &p, o_peer_says, 2 * SOON);
	NOTE_VALUE(s, "events told to the main thread, or to the other",
		   epoll_wait(s->ep, (struct epoll_event[1]){ 0 }, 1, 300) + (pthread_join(o.thread, NULL), o.ret));
	other_join(s, &p, "another thread's send() to it");
	app_hears(s, 100);
	wait_ep(s, s->ep, 8, 0);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
}

/* Waits for the set, which it makes if there is none, and reads and writes. It is not the main thread's yet */
static void o_drives(struct side *s, struct other *o)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = APP_DATA };

	if (s->ep < 0) {
		s->ep = set_new(s);
		epoll_ctl(s->ep, EPOLL_CTL_ADD, s->app, &ev);
	}
	o->ret = epoll_wait(s->ep, o->ev, 8, 2000);
	o->fast = attached(s->ep, s->app);
	if (o->ret == 1 && read(s->app, o->ev, 4) != 4)
		o->ret = -2;
	if (write(s->app, "driven", 6) != 6)
		o->ret = -3;
}

static void driver_ends(struct side *s)
{
	struct other o = { 0 };
	int i;

	close(s->ep);
	s->ep = -1;
	for (i = 0; i < 4; i++) {
		other_start(s, &o, o_drives, 0);
		ms_sleep(SOON);
		peer_says(s, 10);
		pthread_join(o.thread, NULL);
		NOTE_VALUE(s, "what the other thread has read", o.ret);
		NOTE_VALUE(s, "it was the fast one", !s->fast || !config.port || o.fast);
		s->sent += 6;
		if (i & 1) {
			peer_hears(s, 6);
			app_hears(s, 16);
			app_says(s, 10);
			peer_hears(s, 10);
		} else {
			app_says(s, 10);
			app_hears(s, 6);
			peer_hears(s, 16);
		}
	}
	/* And then this one */
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	must_be_fast(s, "for the last thread");
}

/* It does not get to the end of its wait */
static void driver_is_cancelled(struct side *s)
{
	struct other o = { 0 };
	void *ret;
	int i;

	close(s->ep);
	s->ep = -1;
	for (i = 0; i < 2; i++) {
		other_start(s, &o, o_drives, 0);
		ms_sleep(2 * SOON);
		NOTE(s, pthread_cancel(o.thread));
		pthread_join(o.thread, &ret);
		NOTE_VALUE(s, "it was cancelled", ret == PTHREAD_CANCELED);
		peer_says(s, 10);
		app_says(s, 10);
		peer_hears(s, 10);
		app_hears(s, 10);
	}
	other_start(s, &o, o_drives, 0);
	ms_sleep(SOON);
	peer_says(s, 10);
	pthread_join(o.thread, NULL);
	NOTE_VALUE(s, "what another thread has read then", o.ret);
	NOTE_VALUE(s, "it was the fast one", !s->fast || !config.port || o.fast);
	s->sent += 6;
	app_hears(s, 100);
	peer_hears(s, 6);
}

/* A loop that others tell by an eventfd what there is to do, while they write themselves */
struct work {
	struct side *s;
	int efd;
	int left;
	uint64_t written;
	pthread_mutex_t lock;
};

static void *worker(void *arg)
{
	struct work *w = arg;
	uint64_t one = 1;
	char buf[50];
	int i;

	for (i = 0; i < 100; i++) {
		pthread_mutex_lock(&w->lock);
		pattern(buf, 50, w->written, 0);
		if (send(w->s->app, buf, 50, 0) == 50)
			w->written += 50;
		pthread_mutex_unlock(&w->lock);
		if (i % 10 == 9 && write(w->efd, &one, 8) != 8)
			break;
	}
	__atomic_fetch_sub(&w->left, 1, __ATOMIC_SEQ_CST);
	if (write(w->efd, &one, 8) != 8)
		return arg;
	return NULL;
}

static void workers(struct side *s)
{
	struct work w = { .s = s, .efd = eventfd(0, EFD_NONBLOCK), .left = 3, .lock = PTHREAD_MUTEX_INITIALIZER };
	uint64_t end = ms_now() + 10000, n;
	struct epoll_event ev[4];
	pthread_t t[3];
	int i;

	arm(s, EPOLLIN);
	ctl(s, EPOLL_CTL_ADD, w.efd, EPOLLIN, 2);
	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, worker, &w);
	while (__atomic_load_n(&w.left, __ATOMIC_SEQ_CST) && ms_now() < end)
		if (epoll_wait(s->ep, ev, 4, 500) > 0 && read(w.efd, &n, 8) < 0)
			continue;
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	NOTE_VALUE(s, "bytes that were written", w.written);
	s->sent += w.written;
	peer_hears(s, w.written);
	must_be_fast(s, "in the end");
	close(w.efd);
}

const struct scenario signal_cases[] = {
	{ "a signal ends the wait", interrupted, 0 },
	{ "epoll_pwait()'s mask", masked, 0 },
	{ "a handler writes", handler_writes, 0 },
	{ "a handler reads", handler_reads, 0 },
	{ "many signals", many_signals, 0 },
	{ NULL, NULL, 0 },
};

/* Before the main thread waits for anything: there may be one port only */
const struct scenario driver_cases[] = {
	{ "the thread that drove a set is cancelled", driver_is_cancelled, 0 },
	{ "the thread that drove a set ends", driver_ends, 0 },
	{ NULL, NULL, 0 },
};

const struct scenario thread_cases[] = {
	{ "what comes ends the sleep", told_asleep, 0 },
	{ "another thread writes, meanwhile", written_asleep, 0 },
	{ "another thread reads, meanwhile", read_asleep, 0 },
	{ "another thread closes it, meanwhile", closed_asleep, 0 },
	{ "another thread shuts it down, meanwhile", shut_asleep, 0 },
	{ "another thread closes the set, meanwhile", set_closed_asleep, 0 },
	{ "another thread calls epoll_ctl(), meanwhile", changed_asleep, 0 },
	{ "another thread polls it, meanwhile", polled_by_another, 0 },
	{ "two threads wait, EPOLLET", two_wait_edge, 0 },
	{ "two threads wait, EPOLLONESHOT", two_wait_one_shot, 0 },
	{ "another thread waits, too", another_waits_too, 0 },
	{ "workers write, and poke the loop", workers, 0 },
	{ NULL, NULL, 0 },
};

/* -------------------------------------------------------------- what may end us */

static void bad_addresses(struct side *s)
{
	char *gone = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[2] = { { gone, 4 }, { gone + 4096, 4 } };

	mprotect(gone + 4096, 4096, PROT_NONE);
	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	NOTE_OUT(s, write(s->app, gone + 4096, 10));
	NOTE_OUT(s, writev(s->app, iov, 2));
	NOTE_IO(s, read(s->app, gone + 4096, 10));
	NOTE_IO(s, read(s->app, NULL, 10));
	NOTE_IO(s, recv(s->app, gone + 4090, 20, 0));
	NOTE_IO(s, recvmsg(s->app, NULL, 0));
	NOTE(s, epoll_wait(s->ep, (struct epoll_event *)(void *)(gone + 4096), 1, 0));
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, (struct epoll_event *)(void *)(gone + 4096)));
	munmap(gone, 8192);
}

const struct scenario last_cases[] = {
	{ "bad addresses", bad_addresses, 0 },
	{ NULL, NULL, 0 },
};
