// SPDX-License-Identifier: GPL-2.0
/*
 * bulk.c - large transfers, both ways at once, and how they end
 *
 * How much a write takes when there is no room is not compared. That every byte comes, in order,
 * that there is room again, and what comes last: it is.
 */
#include "ops.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum ending {
	APP_CLOSES,		/* as soon as all is written: it all has to come, and then a FIN */
	APP_SHUTS,		/* and reads on */
	PEER_SHUTS,		/* and the app reads until then */
	PEER_RESETS,		/* in the middle */
	PEER_CLOSES,		/* in the middle, with something unread */
	ENDINGS,
};

static const char *const ending_names[] = {
	"the app closes", "the app shuts down", "the peer shuts down", "the peer resets", "the peer closes",
};

/**
 * struct plan - of a transfer
 * @out: bytes that the app sends
 * @in: bytes that the peer sends
 * @cut: after so many the peer resets or closes
 * @room: the sockets' buffers; 0: as they are, and what TCP makes of them
 */
struct plan {
	enum ending ending;
	uint64_t out;
	uint64_t in;
	uint64_t cut;
	int room;
	uint32_t events;
	bool file;
	bool sleepy;
	uint64_t seed;
};

/* What the peer's two threads find */
struct peer {
	struct side *s;
	const struct plan *plan;
	uint64_t heard;
	bool right;
	long last;
	int last_err;
	uint64_t said;
};

#define CHUNK	65536

static void *peer_hears_all(void *arg)
{
	unsigned char *buf = malloc(CHUNK), *want = malloc(CHUNK);
	struct peer *p = arg;
	struct rng r = { p->plan->seed + 1 };
	struct linger l = { 1, 0 };
	long n;

	p->right = true;
	for (;;) {
		n = recv(p->s->peer, buf, 1 + rng_below(&r, CHUNK), 0);
		if (n <= 0)
			break;
		pattern(want, (size_t)n, p->heard, 0);
		p->right = p->right && !memcmp(buf, want, (size_t)n);
		p->heard += (uint64_t)n;
		if (p->plan->sleepy && rng_one_in(&r, 8))
			ms_sleep(rng_below(&r, 25));
		if (p->plan->ending >= PEER_RESETS && p->heard >= p->plan->cut) {
			if (p->plan->ending == PEER_RESETS)
				setsockopt(p->s->peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
			/* Nobody else uses it: what it has to say it has said */
			close(p->s->peer);
			p->s->peer = -1;
			break;
		}
	}
	p->last = n;
	p->last_err = n < 0 ? errno : 0;
	free(buf);
	free(want);
	return NULL;
}

static void *peer_says_all(void *arg)
{
	unsigned char *buf = malloc(CHUNK);
	struct peer *p = arg;
	struct rng r = { p->plan->seed + 2 };
	long n;

	while (p->said < p->plan->in) {
		size_t want = 1 + rng_below(&r, CHUNK);

		if (want > p->plan->in - p->said)
			want = p->plan->in - p->said;
		pattern(buf, want, p->said, 1);
		n = send(p->s->peer, buf, want, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		p->said += (uint64_t)n;
		if (p->plan->sleepy && rng_one_in(&r, 8))
			ms_sleep(rng_below(&r, 25));
	}
	if (p->plan->ending == PEER_SHUTS)
		shutdown(p->s->peer, SHUT_WR);
	free(buf);
	return NULL;
}

/*
 * What the app finds
 * @wrong: a byte was, or epoll told what is not so
 */
struct app {
	uint64_t wrote;
	uint64_t heard;
	bool wrong;
	bool fin;
	int read_err;
	int write_err;
	unsigned int waits;
	unsigned int full;
};

static long write_some(struct side *s, uint64_t from, size_t n, int file)
{
	static unsigned char buf[4 * CHUNK];
	off_t off = (off_t)from;
	long ret;
	int i;

	pattern(buf, n, from, 0);
	for (i = 0; i < 2; i++) {
		ret = file >= 0 ? sendfile(s->app, file, &off, n) : send(s->app, buf, n, MSG_NOSIGNAL);
		if (ret >= 0 || errno != EAGAIN || !may_repeat(s))
			break;
	}
	return ret;
}

/* All that is to be written: not to be changed before the peer has it, as its pages are sent */
static int file_of(uint64_t n)
{
	static unsigned char buf[CHUNK];
	char path[] = "/tmp/same-XXXXXX";
	int fd = mkstemp(path);
	uint64_t from;

	unlink(path);
	for (from = 0; from < n; from += CHUNK) {
		pattern(buf, CHUNK, from, 0);
		if (write(fd, buf, CHUNK) != CHUNK)
			return -1;
	}
	return fd;
}

static void app_writes(struct side *s, const struct plan *plan, struct app *a, struct rng *r, int file)
{
	long n;

	while (a->wrote < plan->out && !a->write_err) {
		size_t want = 1 + rng_below(r, 4 * CHUNK - 1);

		if (want > plan->out - a->wrote)
			want = plan->out - a->wrote;
		n = write_some(s, a->wrote, want, file);
		if (n < 0 && errno == EAGAIN) {
			a->full++;
			return;
		}
		if (n < 0)
			a->write_err = errno;
		else
			a->wrote += (uint64_t)n;
	}
}

static void app_reads(struct side *s, struct app *a, struct rng *r)
{
	static unsigned char buf[CHUNK], want[CHUNK];
	bool again = may_repeat(s);
	long n;

	for (;;) {
		n = recv(s->app, buf, 1 + rng_below(r, CHUNK), 0);
		if (n < 0 && errno == EAGAIN && again) {
			again = false;
			continue;
		}
		if (n <= 0)
			break;
		pattern(want, (size_t)n, a->heard, 1);
		a->wrong = a->wrong || memcmp(buf, want, (size_t)n);
		a->heard += (uint64_t)n;
	}
	if (!n)
		a->fin = true;
	else if (errno != EAGAIN)
		a->read_err = errno;
}

/* Until it has written and read all of it, or it has ended */
static void app_runs(struct side *s, const struct plan *plan, struct app *a)
{
	uint64_t end = ms_now() + 60000;
	struct rng r = { plan->seed + 3 };
	struct epoll_event ev = { .events = plan->events };
	uint32_t interest = plan->events;
	int file = plan->file ? file_of(plan->out) : -1;

	epoll_ctl(s->ep, EPOLL_CTL_ADD, s->app, &ev);
	while (ms_now() < end) {
		bool wrote = a->wrote == plan->out || a->write_err;
		bool read = a->heard == plan->in && plan->ending != PEER_SHUTS;
		int n;

		if (a->read_err || (plan->ending < PEER_RESETS ? wrote && (read || a->fin) : a->write_err || a->fin))
			break;
		/* Level-triggered ones that want no room would be told of it again and again */
		if (!(plan->events & EPOLLET) && wrote && (interest & EPOLLOUT)) {
			ev.events = interest &= ~(uint32_t)EPOLLOUT;
			epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, &ev);
		}
		n = epoll_wait(s->ep, &ev, 1, 10000);
		a->waits++;
		if (n != 1) {
			a->wrong = true;
			printf("# %s: epoll_wait() = %d, with %llu of %llu written and %llu of %llu read\n", s->name, n,
			       (unsigned long long)a->wrote, (unsigned long long)plan->out,
			       (unsigned long long)a->heard, (unsigned long long)plan->in);
			break;
		}
		if (ev.events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
			app_reads(s, a, &r);
		if (ev.events & EPOLLOUT)
			app_writes(s, plan, a, &r, file);
		if (plan->events & EPOLLONESHOT) {
			if (a->wrote == plan->out || a->write_err)
				interest &= ~(uint32_t)EPOLLOUT;
			ev.events = interest;
			epoll_ctl(s->ep, EPOLL_CTL_MOD, s->app, &ev);
		}
	}
	if (file >= 0)
		close(file);
}

static void transfer(struct side *s, const struct plan *plan)
{
	struct peer p = { .s = s, .plan = plan };
	struct app a = { 0 };
	pthread_t t[2];

	where_side = s->name;
	if (plan->room) {
		setsockopt(s->app, SOL_SOCKET, SO_SNDBUF, &plan->room, sizeof(plan->room));
		setsockopt(s->app, SOL_SOCKET, SO_RCVBUF, &plan->room, sizeof(plan->room));
		setsockopt(s->peer, SOL_SOCKET, SO_RCVBUF, &plan->room, sizeof(plan->room));
	}
	if (plan->ending >= PEER_RESETS)
		peer_says_all(&p);
	else
		pthread_create(&t[1], NULL, peer_says_all, &p);
	pthread_create(&t[0], NULL, peer_hears_all, &p);
	app_runs(s, plan, &a);
	if (plan->ending == APP_CLOSES) {
		NOTE(s, close(s->app));
		s->app = -1;
	}
	if (plan->ending == APP_SHUTS || plan->ending == PEER_SHUTS)
		NOTE(s, shutdown(s->app, SHUT_WR));
	pthread_join(t[0], NULL);
	if (plan->ending < PEER_RESETS)
		pthread_join(t[1], NULL);
	if (config.verbose)
		printf("# %s: %u waits, %u times full; wrote %llu, read %llu; the peer heard %llu, said %llu\n", s->name,
		       a.waits, a.full, (unsigned long long)a.wrote, (unsigned long long)a.heard,
		       (unsigned long long)p.heard, (unsigned long long)p.said);
	NOTE_VALUE(s, "the app was told something wrong", a.wrong);
	NOTE_VALUE(s, "the peer heard what was said", p.right);
	if (plan->ending < PEER_RESETS) {
		NOTE_VALUE(s, "the app has written all", a.wrote == plan->out);
		NOTE_VALUE(s, "the app has read all", a.heard);
		NOTE_VALUE(s, "the app has seen a FIN", a.fin);
		NOTE_VALUE(s, "its error in reading", a.read_err);
		NOTE_VALUE(s, "its error in writing", a.write_err);
		NOTE_VALUE(s, "the peer has heard all", p.heard);
		NOTE_VALUE(s, "the peer's last read", p.last);
		NOTE_VALUE(s, "the peer's error", p.last_err);
	} else {
		NOTE_VALUE(s, "there was an error in reading or writing, or a FIN", a.read_err || a.write_err || a.fin);
	}
}

bool bulk_run(uint64_t seed, unsigned int n)
{
	static const uint32_t events[] = {
		EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLOUT | EPOLLET, EPOLLIN | EPOLLOUT | EPOLLONESHOT,
		EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
	};
	static struct side fast, plain;
	struct rng r = { seed * 1000 + n };
	unsigned int nagle;
	struct plan plan;
	int i;

	plan = (struct plan){
		.ending = n % ENDINGS, .out = 1 + rng_below(&r, 1500000), .in = 1 + rng_below(&r, 1500000),
		.events = events[n / ENDINGS % 4], .file = rng_one_in(&r, 4), .sleepy = rng_one_in(&r, 2),
		.seed = seed * 1000 + n,
	};
	if (plan.ending >= PEER_RESETS) {
		plan.out = 2000000;
		plan.in = rng_below(&r, 30000);
		plan.cut = 100000 + rng_below(&r, 500000);
	}
	/* The first ones have little room, so that there are some in any case */
	plan.room = n < 3 || rng_one_in(&r, 2) ? 20000 << rng_below(&r, 4) : 0;
	nagle = rng_one_in(&r, 2) ? PAIR_NAGLE : 0;
	printf("# %s; %llu bytes out%s, %llu in%s; room %d\n", ending_names[plan.ending], (unsigned long long)plan.out,
	       plan.file ? " of a file" : "", (unsigned long long)plan.in, plan.sleepy ? ", slowly" : "", plan.room);
	for (i = 0; i < 2; i++) {
		struct side *s = i ? &fast : &plain;

		side_open(s, i, nagle);
		transfer(s, &plan);
		side_close(s);
	}
	return same_logs(&fast, &plain);
}
