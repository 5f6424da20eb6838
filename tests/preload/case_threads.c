// SPDX-License-Identifier: GPL-2.0
/*
 * case_threads.c - scenarios with other threads, while one sleeps in epoll_wait()
 *
 * Only the main thread writes down; what another one found is written down when it was joined.
 */
#include "ops.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void o_app_says(struct side *s, struct other *o)
{
	char buf[40];

	pattern(buf, 40, s->sent, 0);
	o->ret = send(s->app, buf, 40, 0);
}

static void o_reads(struct side *s, struct other *o)
{
	struct sched_param param = { 0 };
	char buf[100];

	/* What wakes it goes on before it runs */
	sched_setscheduler(0, SCHED_IDLE, &param);
	o->ret = recv(s->app, buf, sizeof(buf), 0);
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

/*
 * The child ends only when fork() has returned here. Until then libc has this thread's
 * signals blocked, so that the kernel does not ignore a SIGCHLD but wakes another
 * thread for it, whose wait gives EINTR: of the kernel's sockets, too
 */
static void o_forks(struct side *s, struct other *o)
{
	int go[2];
	pid_t pid;
	char c;

	if (pipe(go))
		return;
	pid = fork();
	if (!pid) {
		close(go[1]);
		_exit(s->app < 0 || read(go[0], &c, 1));
	}
	close(go[0]);
	close(go[1]);
	o->ret = pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static void o_polls(struct side *s, struct other *o)
{
	struct pollfd p = { .fd = s->app, .events = POLLIN };

	o->ret = poll(&p, 1, 2000);
}

/* And not at the end of the timeout */
static void wait_soon(struct side *s)
{
	uint64_t began = ms_now();

	wait_ep(s, s->ep, 8, 2000);
	NOTE_VALUE(s, "soon", ms_now() - began < 1500);
}

static void told_asleep(struct side *s)
{
	struct other o = { 0 };
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		other_start(s, &o, o_peer_says, SOON);
		wait_soon(s);
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
	wait_soon(s);
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
	wait_soon(s);
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
	wait_soon(s);
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
	wait_soon(s);
	other_join(s, &o, "another thread's send() to it");
	app_hears(s, 100);
	must_be_fast(s, "in the end");
	close(first);
	close(peer);
}

/* What makes it plain is no end of the sleep, and what comes is */
static void plain_asleep(struct side *s, void (*does)(struct side *, struct other *))
{
	struct other o = { .fd = -1 }, p = { 0 };
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		peer_says(s, 20);
		wait_for(s, 8, 1000);
		app_hears(s, i ? 20 : 10);
		ctl(s, EPOLL_CTL_MOD, s->app, i ? EPOLLIN : EPOLLRDHUP, APP_DATA);
		app_says(s, 10);
		other_start(s, &o, does, SOON);
		wait_ep(s, s->ep, 8, 3 * SOON);
		other_join(s, &o, "what another thread does");
		if (o.fd >= 0)
			close(o.fd);
		o.fd = -1;
		ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN, APP_DATA);
		app_hears(s, 20);
		other_start(s, &o, does, SOON);
		other_start(s, &p, o_peer_says, 2 * SOON);
		wait_soon(s);
		other_join(s, &o, "what another thread does");
		if (o.fd >= 0)
			close(o.fd);
		o.fd = -1;
		other_join(s, &p, "a third thread's send() to it");
		app_hears(s, 100);
		peer_hears(s, 10);
	}
}

static void forked_asleep(struct side *s)
{
	plain_asleep(s, o_forks);
	must_be_fast(s, "in the end");
}

static void duplicated_asleep(struct side *s)
{
	plain_asleep(s, o_dups);
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

/* A loop that echoes, while others fork, dup, poll, and put sockets of their own into its set and out */
#define ECHOES		4

struct storm {
	struct side *s;
	int ep;
	int fd[ECHOES];
	bool end;
};

static void *storm_main(void *arg)
{
	struct storm *st = arg;
	struct rng r = { 77 };
	struct side own = *st->s;

	while (!__atomic_load_n(&st->end, __ATOMIC_SEQ_CST)) {
		struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = 1000 };
		struct pollfd p = { .fd = st->fd[rng_below(&r, ECHOES)], .events = POLLIN };
		pid_t pid;
		int fd;

		switch (rng_below(&r, 7)) {
		case 0:
			pid = fork();
			if (!pid)
				_exit(0);
			waitpid(pid, NULL, 0);
			break;
		case 1:
			fd = dup(st->fd[0]);
			close(fd);
			break;
		case 2:
			poll(&p, 1, 0);
			break;
		case 3:
			queued(p.fd);
			break;
		default:
			pair_open(&own, 0);
			epoll_ctl(st->ep, EPOLL_CTL_ADD, own.app, &ev);
			if (send(own.peer, "hello", 5, 0) != 5)
				return arg;
			if (rng_one_in(&r, 2))
				epoll_ctl(st->ep, EPOLL_CTL_DEL, own.app, NULL);
			pair_close(&own);
			break;
		}
	}
	return NULL;
}

static void storm(struct side *s)
{
	struct storm st = { .s = s, .ep = s->ep };
	uint64_t end = ms_now() + 1500, limit = end + 10000, got[ECHOES] = { 0 }, sent[ECHOES] = { 0 };
	int peers[ECHOES], i, n;
	struct epoll_event ev[8];
	unsigned char buf[700], want[700];
	bool right = true, running = true;
	pthread_t t;

	arm(s, EPOLLIN);
	for (i = 0; i < ECHOES; i++) {
		struct side one = *s;

		pair_open(&one, i & 1 ? PAIR_CONNECTED : 0);
		st.fd[i] = one.app;
		peers[i] = one.peer;
		ev[0] = (struct epoll_event){ .events = EPOLLIN | (i & 2 ? EPOLLET : 0), .data.u64 = (uint64_t)i };
		epoll_ctl(s->ep, EPOLL_CTL_ADD, st.fd[i], &ev[0]);
	}
	pthread_create(&t, NULL, storm_main, &st);
	while (running && right && ms_now() < limit) {
		running = ms_now() < end;
		for (i = 0; i < ECHOES; i++) {
			/* What has come back of what was sent; and then more of it */
			while ((n = (int)recv(peers[i], buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
				pattern(want, (size_t)n, got[i], i);
				right = right && !memcmp(buf, want, (size_t)n);
				got[i] += (uint64_t)n;
			}
			running = running || got[i] < sent[i];
			if (ms_now() >= end || sent[i] - got[i] > 5000)
				continue;
			pattern(buf, 600, sent[i], i);
			if (send(peers[i], buf, 600, 0) == 600)
				sent[i] += 600;
		}
		n = epoll_wait(s->ep, ev, 8, 20);
		while (n-- > 0) {
			uint64_t which = ev[n].data.u64;
			long m, again = 1;

			if (which >= ECHOES)
				continue;
			for (;;) {
				m = read(st.fd[which], buf, sizeof(buf));
				if (m < 0 && errno == EAGAIN && may_repeat(s) && again--)
					continue;
				if (m <= 0)
					break;
				right = right && write(st.fd[which], buf, (size_t)m) == m;
			}
		}
	}
	__atomic_store_n(&st.end, true, __ATOMIC_SEQ_CST);
	pthread_join(t, NULL);
	for (i = 0; i < ECHOES; i++) {
		NOTE_VALUE(s, "all came back", got[i] == sent[i] && sent[i]);
		if (config.verbose || got[i] != sent[i])
			printf("# %s: %llu bytes of %llu\n", s->name, (unsigned long long)got[i], (unsigned long long)sent[i]);
		close(st.fd[i]);
		close(peers[i]);
	}
	NOTE_VALUE(s, "as it was sent", right);
}

/* In a set, non-blocking again, and another thread is in the kernel's read of it since before */
static void is_being_read(struct side *s, struct other *o)
{
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	wait_for(s, 8, 0);
	NOTE(s, fcntl(s->app, F_SETFL, 0));
	other_start(s, o, o_reads, 0);
	ms_sleep(SOON);
	NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
}

/* The kernel's read of it has begun, and has what comes; the next has what comes behind */
static void read_has_begun(struct side *s)
{
	struct other o = { 0 };

	is_being_read(s, &o);
	wait_for(s, 8, 0);
	peer_says(s, 10);
	/* A port would take it before the thread runs */
	pump();
	other_join(s, &o, "a read that had begun");
	wait_for(s, 8, 0);
	peer_says(s, 30);
	arrive(s);
	wait_for(s, 8, 100);
	app_hears(s, 20);
	wait_for(s, 8, 100);
	app_hears(s, 20);
	wait_for(s, 8, 0);
}

/* Who is cancelled in the kernel's read of it reads no more: it can be attached again */
static void read_is_cancelled(struct side *s)
{
	struct other o = { 0 };
	void *ret;

	is_being_read(s, &o);
	NOTE(s, pthread_cancel(o.thread));
	pthread_join(o.thread, &ret);
	NOTE_VALUE(s, "it was cancelled", ret == PTHREAD_CANCELED);
	wait_for(s, 8, 0);
	peer_says(s, 30);
	wait_for(s, 8, 1000);
	app_hears(s, 20);
	wait_for(s, 8, 100);
	app_hears(s, 20);
	wait_for(s, 8, 0);
	must_be_fast(s, "when nobody reads it");
}

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
	{ "another thread is in a read, as it becomes non-blocking", read_has_begun, 0 },
	{ "another thread is cancelled in a read", read_is_cancelled, 0 },
	{ "another thread closes it, meanwhile", closed_asleep, 0 },
	{ "another thread shuts it down, meanwhile", shut_asleep, 0 },
	{ "another thread closes the set, meanwhile", set_closed_asleep, 0 },
	{ "another thread calls epoll_ctl(), meanwhile", changed_asleep, 0 },
	{ "another thread forks, meanwhile", forked_asleep, 0 },
	{ "another thread dup()s it, meanwhile", duplicated_asleep, 0 },
	{ "another thread polls it, meanwhile", polled_by_another, 0 },
	{ "two threads wait, EPOLLET", two_wait_edge, 0 },
	{ "two threads wait, EPOLLONESHOT", two_wait_one_shot, 0 },
	{ "another thread waits, too", another_waits_too, 0 },
	{ "workers write, and poke the loop", workers, 0 },
	{ "others fork, dup(), poll() and change the set all the time", storm, 0 },
	{ NULL, NULL, 0 },
};
