// SPDX-License-Identifier: GPL-2.0
/*
 * case_poll.c - scenarios of poll() and select()
 */
#include "ops.h"

#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void note_poll(struct side *s, int timeout)
{
	struct pollfd p[4] = {
		{ .fd = s->app, .events = POLLIN | POLLOUT | POLLRDHUP },
		{ .fd = -1, .events = POLLIN },
		{ .fd = s->app, .events = POLLIN | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDBAND },
		{ .fd = s->app, .events = 0 },
	};
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000L };
	struct timeval tv = { timeout / 1000, timeout % 1000 * 1000 };
	fd_set r, w, e;
	int i;

	arrive(s);
	NOTE(s, poll(p, 4, timeout));
	for (i = 0; i < 4; i++)
		NOTE_VALUE(s, "revents", p[i].revents);
	p[0].events = POLLIN;
	NOTE(s, ppoll(p, 2, &ts, NULL));
	NOTE_VALUE(s, "revents", p[0].revents);
	for (i = 0; i < 2; i++) {
		FD_ZERO(&r);
		FD_ZERO(&w);
		FD_ZERO(&e);
		FD_SET(s->app, &r);
		FD_SET(s->app, &e);
		if (i)
			FD_SET(s->app, &w);
		if (i)
			NOTE(s, pselect(s->app + 1, &r, &w, &e, &ts, NULL));
		else
			NOTE(s, select(s->app + 1, &r, NULL, &e, &tv));
		NOTE_VALUE(s, "the bits", (FD_ISSET(s->app, &r) ? 1 : 0) | (FD_ISSET(s->app, &w) ? 2 : 0) |
			   (FD_ISSET(s->app, &e) ? 4 : 0));
	}
}

static void polled(struct side *s)
{
	arm(s, EPOLLIN);
	note_poll(s, 0);
	note_poll(s, 10);
	peer_says(s, 50);
	note_poll(s, 100);
	wait_for(s, 8, 1000);
	note_poll(s, 0);
	app_hears(s, 20);
	note_poll(s, 0);
	app_hears(s, 100);
	note_poll(s, 0);
	app_says(s, 100);
	note_poll(s, 0);
	peer_hears(s, 100);
	peer_says(s, 1);
	peer_ends(s);
	note_poll(s, 0);
	wait_for(s, 8, 0);
	note_poll(s, 0);
	app_hears(s, 100);
	app_hears(s, 100);
	note_poll(s, 0);
	peer_resets(s);
	note_poll(s, 0);
	wait_for(s, 8, 0);
	app_hears(s, 100);
	note_poll(s, 0);
}

static void polled_only_out(struct side *s)
{
	struct pollfd p[3] = {
		{ .fd = s->app, .events = POLLOUT }, { .fd = s->peer, .events = POLLIN },
		{ .fd = 1 << 21, .events = POLLIN },
	};

	arm(s, EPOLLIN);
	NOTE(s, poll(p, 2, 100));
	NOTE_VALUE(s, "revents", p[0].revents);
	app_says(s, 10);
	p[0].events = 0;
	NOTE(s, poll(p, 2, 2000));
	NOTE_VALUE(s, "revents", p[1].revents);
	NOTE(s, poll(p, 3, 100));
	NOTE_VALUE(s, "revents", p[2].revents);
	NOTE(s, poll(NULL, 0, 1));
	NOTE(s, poll(NULL, 1, 1));
	NOTE(s, ppoll(p, 2, &(struct timespec){ 0, -1 }, NULL));
	NOTE(s, select(-1, NULL, NULL, NULL, NULL));
	NOTE(s, select(0, NULL, NULL, NULL, &(struct timeval){ 0, 1 }));
	peer_hears(s, 10);
}

/* One that is in no set any more, or never was in one that was waited for */
static void polled_elsewhere(struct side *s)
{
	note_poll(s, 0);
	arm(s, EPOLLIN);
	peer_says(s, 10);
	wait_for(s, 8, 0);
	NOTE(s, epoll_ctl(s->ep, EPOLL_CTL_DEL, s->app, NULL));
	note_poll(s, 0);
	app_hears(s, 100);
	note_poll(s, 5);
	peer_says(s, 10);
	note_poll(s, 100);
	app_hears(s, 100);
	ctl(s, EPOLL_CTL_ADD, s->app, EPOLLIN, APP_DATA);
	wait_for(s, 8, 0);
	use(s, s->app);
}

static void polled_closed(struct side *s)
{
	struct pollfd p = { .fd = s->app, .events = POLLIN };
	fd_set r;

	arm(s, EPOLLIN);
	NOTE(s, close(s->app));
	NOTE(s, poll(&p, 1, 0));
	NOTE_VALUE(s, "revents", p.revents);
	FD_ZERO(&r);
	FD_SET(s->app, &r);
	NOTE(s, select(s->app + 1, &r, NULL, NULL, &(struct timeval){ 0, 0 }));
	s->app = -1;
}

const struct scenario poll_cases[] = {
	{ "poll() and select()", polled, 0 },
	{ "poll() with others, and wrong", polled_only_out, 0 },
	{ "poll() and select() out of the set", polled_elsewhere, 0 },
	{ "poll() and select() of a closed one", polled_closed, 0 },
	{ NULL, NULL, 0 },
};
