// SPDX-License-Identifier: GPL-2.0
/*
 * case_signals.c - scenarios with signals; and one that may end us
 */
#include "ops.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Enough to be asleep by then */
#define SOON		30

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

const struct scenario signal_cases[] = {
	{ "a signal ends the wait", interrupted, 0 },
	{ "epoll_pwait()'s mask", masked, 0 },
	{ "a handler writes", handler_writes, 0 },
	{ "a handler reads", handler_reads, 0 },
	{ "many signals", many_signals, 0 },
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
