// SPDX-License-Identifier: GPL-2.0
/*
 * case_events.c - scenarios of epoll sets: interest, edges, waits, and what else polls
 */
#include "ops.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static void level(struct side *s)
{
	int i;

	arm(s, EPOLLIN | EPOLLOUT);
	for (i = 0; i < 3; i++)
		wait_for(s, 8, 0);
	peer_says(s, 100);
	for (i = 0; i < 3; i++)
		wait_for(s, 8, 1000);
	app_hears(s, 60);
	wait_for(s, 8, 1000);
	app_hears(s, 60);
	wait_for(s, 8, 1000);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN, APP_DATA);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLOUT, APP_DATA + 1);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, 0, ~0ull);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDBAND | EPOLLWRBAND, 5);
	peer_says(s, 1);
	wait_for(s, 8, 0);
	must_be_fast(s, "in the end");
}

static void edges(struct side *s)
{
	int i;

	arm(s, EPOLLIN | EPOLLET);
	for (i = 0; i < 3; i++) {
		peer_says(s, 100);
		wait_for(s, 8, 1000);
		wait_for(s, 8, 0);
		app_hears(s, 60);
		wait_for(s, 8, 0);
	}
	/* Two arrivals are one edge, before the wait */
	peer_says(s, 100);
	arrive(s);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	wait_for(s, 8, 0);
	app_hears(s, 1000);
	app_hears(s, 1000);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLOUT | EPOLLET, APP_DATA);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLOUT | EPOLLET, APP_DATA);
	wait_for(s, 8, 0);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_says(s, 100);
	peer_hears(s, 100);
	wait_for(s, 8, 0);
	must_be_fast(s, "in the end");
	peer_ends(s);
	wait_for(s, 8, 1000);
	wait_for(s, 8, 0);
	app_hears(s, 1000);
	wait_for(s, 8, 0);
}

/* What comes is no edge for who waits for room only; the end is one */
static void edges_out_only(struct side *s)
{
	arm(s, EPOLLOUT | EPOLLET);
	wait_for(s, 8, 0);
	peer_says(s, 100);
	wait_for(s, 8, 0);
	peer_says(s, 100);
	wait_for(s, 8, 0);
	app_says(s, 100);
	wait_for(s, 8, 0);
	peer_hears(s, 100);
	wait_for(s, 8, 0);
	must_be_fast(s, "in the end");
	peer_ends(s);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
}

static void edges_rdhup_only(struct side *s)
{
	arm(s, EPOLLRDHUP | EPOLLET);
	wait_for(s, 8, 0);
	peer_says(s, 100);
	wait_for(s, 8, 0);
	peer_ends(s);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
	NOTE(s, shutdown(s->app, SHUT_WR));
	s->fin = true;
	leave(s);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
}

/* The kernel has it for a while. Whether an edge is told again then: extra_edge() */
static void edges_after_plain(struct side *s)
{
	struct pollfd p = { .events = POLLIN };

	arm(s, EPOLLIN | EPOLLOUT | EPOLLET);
	peer_says(s, 100);
	wait_edge(s);
	wait_edge(s);
	p.fd = s->app;
	NOTE(s, poll(&p, 1, 0));
	app_hears(s, 100);
	wait_edge(s);
	wait_edge(s);
	peer_says(s, 10);
	wait_edge(s);
	wait_edge(s);
}

static void one_shot(struct side *s)
{
	arm(s, EPOLLIN | EPOLLONESHOT);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	wait_for(s, 8, 0);
	peer_says(s, 100);
	wait_for(s, 8, 0);
	app_hears(s, 150);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLONESHOT, APP_DATA + 7);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
	app_hears(s, 150);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLONESHOT | EPOLLET, APP_DATA);
	wait_for(s, 8, 0);
	peer_says(s, 100);
	wait_for(s, 8, 0);
	must_be_fast(s, "in the end");
	peer_ends(s);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLRDHUP | EPOLLONESHOT, APP_DATA);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
}

static void one_shot_reset(struct side *s)
{
	arm(s, EPOLLIN | EPOLLONESHOT);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	peer_resets(s);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLONESHOT, APP_DATA);
	wait_for(s, 8, 0);
	wait_for(s, 8, 0);
}

static void rdhup(struct side *s)
{
	arm(s, EPOLLRDHUP);
	peer_says(s, 10);
	wait_for(s, 8, 0);
	peer_ends(s);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN, APP_DATA);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLRDHUP | EPOLLOUT, APP_DATA);
	wait_for(s, 8, 0);
	app_hears(s, 100);
	app_hears(s, 100);
	wait_for(s, 8, 0);
	app_says(s, 100);
	peer_hears(s, 100);
	wait_for(s, 8, 0);
	must_be_fast(s, "in the end");
}

static void no_interest(struct side *s)
{
	arm(s, 0);
	peer_says(s, 10);
	wait_for(s, 8, 0);
	peer_ends(s);
	wait_for(s, 8, 0);
	NOTE(s, shutdown(s->app, SHUT_WR));
	s->fin = true;
	leave(s);
	wait_for(s, 8, 0);
}

static void wrong_ctl(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int i, p[2];

	NOTE(s, pipe(p));
	/* Before it is attached and after */
	for (i = 0; i < 2; i++) {
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, &ev));
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, &ev));
		ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
		ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
		wait_ep(s, s->ep, 8, 0);
		ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_ADD, s->app, NULL));
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, NULL));
		NOTE(s, epoll_ctl(s->ep, 0, s->app, &ev));
		NOTE(s, epoll_ctl(s->ep, 4, s->app, &ev));
		NOTE(s, epoll_ctl(s->ep, -1, s->app, NULL));
		NOTE(s, epoll_ctl(-1, EPOLL_CTL_MOD, s->app, &ev));
		NOTE(s, epoll_ctl(p[0], EPOLL_CTL_MOD, s->app, &ev));
		NOTE(s, epoll_ctl(s->app, EPOLL_CTL_MOD, s->app, &ev));
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_ADD, -1, &ev));
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, 1 << 21, &ev));
		must_be_fast(s, "after what is wrong");
		ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN | EPOLLEXCLUSIVE, APP_DATA);
		peer_says(s, 1);
		wait_for(s, 8, 0);
		app_hears(s, 1);
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	}
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_ADD, s->ep, &ev));
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN | EPOLLEXCLUSIVE, APP_DATA);
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLIN, APP_DATA);
	peer_says(s, 1);
	wait_for(s, 8, 0);
	close(p[0]);
	close(p[1]);
}

static void wrong_waits(struct side *s)
{
	struct epoll_event ev[2];
	int p[2];

	NOTE(s, pipe(p));
	arm(s, EPOLLIN);
	peer_says(s, 1);
	arrive(s);
	NOTE(s, epoll_wait(s->ep, ev, 0, 0));
	NOTE(s, epoll_wait(s->ep, ev, -1, 0));
	NOTE(s, epoll_wait(s->ep, ev, 1 << 30, 0));
	NOTE(s, epoll_wait(s->app, ev, 1, 0));
	NOTE(s, epoll_wait(p[0], ev, 1, 0));
	NOTE(s, epoll_wait(-1, ev, 1, 0));
	NOTE(s, epoll_pwait2(s->ep, ev, 1, &(struct timespec){ 0, -1 }, NULL));
	NOTE(s, epoll_pwait2(s->ep, ev, 1, &(struct timespec){ -1, 0 }, NULL));
	NOTE(s, epoll_pwait2(s->ep, ev, 1, &(struct timespec){ 0, 1000000000 }, NULL));
	NOTE(s, epoll_pwait2(s->ep, ev, 1, NULL, NULL));
	NOTE(s, epoll_wait(s->ep, ev, 1, -2));
	must_be_fast(s, "in the end");
	close(p[0]);
	close(p[1]);
}

/* Two are ready, one is told, and the other one is not to be any more */
static void gone_while_ready(struct side *s)
{
	int first = s->app, first_peer = s->peer, way;
	struct epoll_event ev = { 0 };
	int two[2], peers[2], i;

	arm(s, EPOLLIN);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, first, NULL));
	for (way = 0; way < 4; way++) {
		for (i = 0; i < 2; i++) {
			pair_open(s, 0);
			ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, (uint64_t)i);
			wait_ep(s, s->ep, 8, 0);
			two[i] = s->app;
			peers[i] = s->peer;
			peer_says(s, 10);
			arrive(s);
		}
		NOTE(s, epoll_wait(s->ep, &ev, 1, 1000));
		i = ev.data.u64 ? 0 : 1;
		/* The other one */
		switch (way) {
		case 0:
			NOTE(s, close(two[i]));
			break;
		case 1:
			NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, two[i], NULL));
			break;
		case 2:
			ev.events = EPOLLRDHUP;
			NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, two[i], &ev));
			break;
		default:
			NOTE(s, read(two[i], (char[10]){ 0 }, 10));
			break;
		}
		NOTE(s, epoll_wait(s->ep, (struct epoll_event[8]){ 0 }, 8, 0));
		NOTE(s, epoll_wait(s->ep, (struct epoll_event[8]){ 0 }, 8, 0));
		for (i = 0; i < 2; i++) {
			close(two[i]);
			close(peers[i]);
		}
		wait_ep(s, s->ep, 8, 0);
	}
	s->app = first;
	s->peer = first_peer;
}

/* Once a socket is told, the other ones are told too, however few one asks for */
static void few_at_a_time(struct side *s)
{
	int ev1 = eventfd(1, EFD_NONBLOCK), app = s->app, peer = s->peer, i, n;
	bool told[4] = { false };
	struct epoll_event ev;

	arm(s, EPOLLIN);
	pair_open(s, 0);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, 2);
	ctl(s, EPOLL_CTL_MOD, app, EPOLLIN, 1);
	ctl(s, EPOLL_CTL_ADD, ev1, EPOLLIN, 3);
	peer_says(s, 10);
	NOTE(s, send(peer, "123", 3, 0));
	arrive(s);
	ms_sleep(5);
	for (i = 0; i < 9; i++) {
		n = epoll_wait(s->ep, &ev, 1, 100);
		if (n == 1)
			told[ev.data.u64 & 3] = true;
	}
	NOTE_VALUE(s, "the first is told", told[1]);
	NOTE_VALUE(s, "the second is told", told[2]);
	NOTE_VALUE(s, "the eventfd, which is always ready, is told", told[3]);
	wait_ep(s, s->ep, 2, 0);
	forget_events(s);	/* any two */
	wait_ep(s, s->ep, 3, 0);
	close(ev1);
	close(app);
	close(peer);
}

static void two_sets(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 77 };
	int other = set_new(s), i;

	arm(s, EPOLLIN);
	peer_says(s, 10);
	wait_for(s, 8, 1000);
	NOTE(s, epoll_ctl(other, EPOLL_CTL_ADD, s->app, &ev));
	for (i = 0; i < 2; i++) {
		wait_for(s, 8, 1000);
		wait_ep(s, other, 8, 1000);
	}
	NOTE(s, epoll_ctl(other, EPOLL_CTL_ADD, s->app, &ev));
	ctl(s, EPOLL_CTL_MOD, s->app, EPOLLOUT, APP_DATA);
	wait_for(s, 8, 1000);
	wait_ep(s, other, 8, 1000);
	app_hears(s, 5);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	wait_for(s, 8, 0);
	wait_ep(s, other, 8, 1000);
	NOTE(s, epoll_ctl(other, EPOLL_CTL_DEL, s->app, NULL));
	wait_ep(s, other, 8, 0);
	app_hears(s, 5);
	close(other);
}

/* The first one is the kernel's alone, in any case */
static void two_sets_one_plain(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.u64 = 77 };
	int other = set_new(s), fd = dup(s->ep);

	close(fd);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	wait_for(s, 8, 0);
	NOTE(s, epoll_ctl(other, EPOLL_CTL_ADD, s->app, &ev));
	wait_ep(s, other, 8, 0);
	peer_says(s, 10);
	arrive(s);
	/* Of whoever has it */
	pump();
	wait_for(s, 8, 100);
	wait_ep(s, other, 8, 0);
	app_hears(s, 20);
	peer_says(s, 10);
	arrive(s);
	/* Of whoever has it */
	pump();
	wait_for(s, 8, 100);
	close(other);
}

/* It was blocking as it was added to the first one */
static void two_sets_late(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.u64 = 77 };
	int other = set_new(s);

	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	wait_for(s, 8, 0);
	NOTE(s, fcntl(s->app, F_SETFL, O_NONBLOCK));
	NOTE(s, epoll_ctl(other, EPOLL_CTL_ADD, s->app, &ev));
	wait_ep(s, other, 8, 0);
	peer_says(s, 10);
	arrive(s);
	/* Of whoever has it */
	pump();
	wait_for(s, 8, 100);
	wait_ep(s, other, 8, 0);
	close(other);
}

/* From one set to another, and back */
static void moves(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 77 };
	int other = set_new(s), i;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		peer_says(s, 10);
		wait_for(s, 8, 1000);
		app_hears(s, 5);
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
		wait_ep(s, s->ep, 8, 0);
		app_hears(s, 1);
		app_says(s, 5);
		NOTE(s, epoll_ctl(other, EPOLL_CTL_ADD, s->app, &ev));
		NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, &ev));
		wait_ep(s, other, 8, 1000);
		wait_ep(s, s->ep, 8, 0);
		peer_says(s, 10);
		arrive(s);
		wait_ep(s, other, 8, 1000);
		app_hears(s, 8);
		app_says(s, 5);
		NOTE(s, epoll_ctl(other, EPOLL_CTL_DEL, s->app, NULL));
		ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
		wait_ep(s, other, 8, 0);
	}
	wait_for(s, 8, 0);
	must_be_fast(s, "in the end");
	peer_hears(s, 30);
	close(other);
}

static void nested(struct side *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 99 };
	int outer = set_new(s), i;

	arm(s, EPOLLIN);
	NOTE(s, epoll_ctl(outer, EPOLL_CTL_ADD, s->ep, &ev));
	wait_ep(s, outer, 8, 0);
	for (i = 0; i < 2; i++) {
		peer_says(s, 10);
		arrive(s);
		wait_ep(s, outer, 8, 1000);
		wait_ep(s, s->ep, 8, 0);
		app_hears(s, 100);
		wait_ep(s, outer, 8, 0);
	}
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_ADD, outer, &ev));
	close(outer);
}

/* An epoll set is readable when something in it is ready */
static void set_is_polled(struct side *s)
{
	struct pollfd p = { .fd = s->ep, .events = POLLIN };
	struct timeval tv;
	fd_set set;
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 2; i++) {
		NOTE(s, poll(&p, 1, 0));
		peer_says(s, 10);
		arrive(s);
		NOTE(s, poll(&p, 1, 500));
		NOTE_VALUE(s, "revents", p.revents);
		FD_ZERO(&set);
		FD_SET(s->ep, &set);
		tv = (struct timeval){ 0, 500000 };
		NOTE(s, select(s->ep + 1, &set, NULL, NULL, &tv));
		NOTE_VALUE(s, "the set is readable", FD_ISSET(s->ep, &set));
		wait_for(s, 8, 0);
		app_hears(s, 100);
	}
}

static void took(struct side *s, uint64_t began, unsigned int ms)
{
	uint64_t t = ms_now() - began;

	NOTE_VALUE(s, "it took long enough", t + 1 >= ms);
	NOTE_VALUE(s, "and not too long", t < ms + 3000);
}

static void timeouts(struct side *s)
{
	struct timespec ts = { 0, 12345678 };
	struct epoll_event ev[8];
	uint64_t began;
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 30; i += 7) {
		began = ms_now();
		wait_for(s, 8, i);
		took(s, began, (unsigned int)i);
	}
	began = ms_now();
	NOTE(s, epoll_pwait2(s->ep, ev, 8, &ts, NULL));
	took(s, began, 12);
	ts = (struct timespec){ 0, 1 };
	NOTE(s, epoll_pwait2(s->ep, ev, 8, &ts, NULL));
	NOTE(s, epoll_pwait(s->ep, ev, 8, 3, NULL));
	peer_says(s, 1);
	arrive(s);
	began = ms_now();
	NOTE(s, epoll_pwait2(s->ep, ev, 8, NULL, NULL));
	NOTE(s, epoll_pwait(s->ep, ev, 8, -1, NULL));
	NOTE(s, epoll_pwait2(s->ep, ev, 8, &(struct timespec){ 1000000000000, 0 }, NULL));
	took(s, began, 0);
	must_be_fast(s, "in the end");
}

/* With what is the kernel's in it */
static void mixed(struct side *s)
{
	int efd = eventfd(0, EFD_NONBLOCK), tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), p[2], i;
	struct itimerspec at = { .it_value = { 0, 15000000 } };
	uint64_t n = 1;

	NOTE(s, pipe(p));
	arm(s, EPOLLIN);
	ctl(s, EPOLL_CTL_ADD, efd, EPOLLIN, 10);
	ctl(s, EPOLL_CTL_ADD, tfd, EPOLLIN | EPOLLET, 11);
	ctl(s, EPOLL_CTL_ADD, p[0], EPOLLIN, 12);
	for (i = 0; i < 3; i++) {
		NOTE(s, write(efd, &n, 8));
		wait_for(s, 8, 1000);
		peer_says(s, 10);
		wait_for(s, 8, 1000);
		NOTE(s, read(efd, &n, 8));
		wait_for(s, 8, 1000);
		app_hears(s, 100);
		n = 1;
		timerfd_settime(tfd, 0, &at, NULL);
		wait_for(s, 8, 1000);
		wait_for(s, 8, 0);
		NOTE(s, write(p[1], "x", 1));
		wait_for(s, 1, 1000);
		NOTE(s, read(p[0], &n, 1));
		n = 1;
		wait_for(s, 8, 0);
	}
	must_be_fast(s, "in the end");
	close(efd);
	close(tfd);
	close(p[0]);
	close(p[1]);
}

#define MANY	20

static void many(struct side *s)
{
	struct side one[MANY];
	struct epoll_event ev[64];
	unsigned int told = 0;
	int i, n;

	for (i = 0; i < MANY; i++) {
		one[i] = *s;
		pair_open(&one[i], i & 1 ? PAIR_CONNECTED : 0);
		ctl(s, EPOLL_CTL_ADD, one[i].app, EPOLLIN, (uint64_t)i);
	}
	wait_ep(s, s->ep, 64, 0);
	for (i = 0; i < MANY; i += 3) {
		if (send(one[i].peer, "hello", 5, 0) != 5)
			break;
		one[i].peer_sent += 5;
		arrive(&one[i]);
	}
	ms_sleep(5);
	n = epoll_wait(s->ep, ev, 64, 1000);
	NOTE_VALUE(s, "how many are told", n);
	for (i = 0; i < n; i++)
		told |= 1u << ev[i].data.u64;
	NOTE_VALUE(s, "which", told);
	/* In turn, three at a time */
	for (i = 0, told = 0; i < 6; i++) {
		int j;

		n = epoll_wait(s->ep, ev, 3, 0);
		for (j = 0; j < n; j++)
			told |= 1u << ev[j].data.u64;
	}
	NOTE_VALUE(s, "which, three at a time", told);
	for (i = 0; i < MANY; i++) {
		NOTE(s, read(one[i].app, (char[8]){ 0 }, 8));
		pair_close(&one[i]);
	}
	wait_ep(s, s->ep, 64, 0);
}

/* All of which is nothing that is accelerated */
static void other_sockets(struct side *s)
{
	int un[2], udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	NOTE(s, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, un));
	arm(s, EPOLLIN);
	ctl(s, EPOLL_CTL_ADD, un[0], EPOLLIN | EPOLLOUT, 1);
	ctl(s, EPOLL_CTL_ADD, udp, EPOLLIN, 2);
	wait_for(s, 8, 0);
	NOTE(s, write(un[1], "abc", 3));
	wait_for(s, 8, 1000);
	NOTE(s, close(un[1]));
	wait_for(s, 8, 1000);
	NOTE(s, ctl(s, EPOLL_CTL_ADD, 0, EPOLLIN, 3) < 2);
	NOTE(s, ctl(s, EPOLL_CTL_DEL, 0, 0, 3) < 2);
	close(un[0]);
	close(udp);
}

/* A regular file cannot be in a set */
static void files(struct side *s)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ctl(s, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	close(fd);
	ctl(s, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
}

/* What is unread when a socket leaves a set for good */
static void deleted(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 40);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	app_hears(s, 40);
	peer_says(s, 100);
	arrive(s);
	ms_sleep(30);
	app_hears(s, 20);
	app_hears(s, 1000);
	app_says(s, 50);
	peer_hears(s, 50);
	wait_for(s, 8, 0);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN | EPOLLOUT, 4);
	wait_for(s, 8, 0);
	peer_says(s, 7);
	wait_for(s, 8, 0);
	app_hears(s, 100);
	must_be_fast(s, "in the end");
}

static void set_is_closed(struct side *s)
{
	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 40);
	app_says(s, 10);
	NOTE(s, close(s->ep));
	peer_hears(s, 10);
	app_hears(s, 30);
	app_says(s, 10);
	peer_hears(s, 10);
	NOTE(s, epoll_wait(s->ep, (struct epoll_event[1]){ 0 }, 1, 0));
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	s->ep = set_new(s);
	arm(s, EPOLLIN);
	app_hears(s, 100);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
}

const struct scenario event_cases[] = {
	{ "level-triggered", level, 0 },
	{ "EPOLLET", edges, 0 },
	{ "EPOLLET, and only EPOLLOUT", edges_out_only, 0 },
	{ "EPOLLET, and only EPOLLRDHUP", edges_rdhup_only, 0 },
	{ "EPOLLET, and polled meanwhile", edges_after_plain, 0 },
	{ "EPOLLONESHOT", one_shot, 0 },
	{ "EPOLLONESHOT and a reset", one_shot_reset, 0 },
	{ "EPOLLRDHUP", rdhup, 0 },
	{ "no interest", no_interest, 0 },
	{ "wrong epoll_ctl()", wrong_ctl, 0 },
	{ "wrong epoll_wait()", wrong_waits, 0 },
	{ "a few events at a time", few_at_a_time, 0 },
	{ "gone while it is ready", gone_while_ready, 0 },
	{ "one socket in two sets", two_sets, 0 },
	{ "one socket in two sets, one of them the kernel's", two_sets_one_plain, 0 },
	{ "one socket in two sets, blocking in one", two_sets_late, PAIR_BLOCKING },
	{ "from set to set", moves, 0 },
	{ "a set in a set", nested, 0 },
	{ "poll() and select() of a set", set_is_polled, 0 },
	{ "timeouts", timeouts, 0 },
	{ "among other descriptors", mixed, 0 },
	{ "many sockets", many, 0 },
	{ "other sockets", other_sockets, 0 },
	{ "no sockets", files, 0 },
	{ "deleted from its set", deleted, 0 },
	{ "its set is closed", set_is_closed, 0 },
	{ NULL, NULL, 0 },
};
