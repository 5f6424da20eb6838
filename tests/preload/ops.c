// SPDX-License-Identifier: GPL-2.0
/*
 * ops.c - operations on a side; what they gave, and whether both sides gave the same
 */
#include "ops.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct config config;
const char *volatile where_case = "the start";
const char *volatile where_side = "";
char where_op[88];
unsigned long extra_edges;
extern volatile sig_atomic_t sigpipes;
static int pipes_before;

/* ------------------------------------------------------------------ small things */

/* Past the library, whose syscall() looks at numbers */
long raw(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

uint64_t ms_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void us_sleep(unsigned int us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void ms_sleep(unsigned int ms)
{
	us_sleep(ms * 1000);
}

/* What byte @from of a stream and the next ones are */
void pattern(void *to, size_t n, uint64_t from, int dir)
{
	unsigned char *p = to;

	for (; n--; from++)
		*p++ = (unsigned char)((from * 167 + (from >> 8) * 13 + (from >> 16) + (dir ? 91 : 0)) ^ 0x5a);
}

/* ------------------------------------------------------------------- results */

/* The first place for allowed differences: the first repetition syncs */
bool may_repeat(const struct side *s)
{
	return s->fast;
}

void begin_note(struct side *s, const char *what)
{
	snprintf(where_op, sizeof(where_op), "%s", what);
	where_side = s->name;
	pipes_before = sigpipes;
}

long noted(struct side *s, long ret)
{
	int err = errno;
	struct result *r = &s->log[s->n];

	if (s->n == LOG_MAX - 1)
		memmove(s->log, s->log + 1, (LOG_MAX - 1) * sizeof(*s->log)), r--;
	else
		s->n++;
	memset(r, 0, sizeof(*r));
	memcpy(r->what, where_op, sizeof(r->what));
	r->ret = ret;
	r->err = ret < 0 ? err : 0;
	r->pipes = sigpipes - pipes_before;
	if (config.verbose) {
		char text[400];

		describe(r, text, sizeof(text));
		fprintf(stderr, "# %s: %s\n", s->name, text);
	}
	errno = err;
	return ret;
}

/* Payload that the last operation has brought */
void seen(struct side *s, const void *data, size_t n)
{
	const unsigned char *p = data;
	struct result *r = &s->log[s->n - 1];
	uint32_t h = r->hash ? r->hash : 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	r->hash = h;
}

static const struct {
	uint32_t bit;
	const char *name;
} event_names[] = {
	{ EPOLLIN, "IN" }, { EPOLLOUT, "OUT" }, { EPOLLPRI, "PRI" }, { EPOLLERR, "ERR" },
	{ EPOLLHUP, "HUP" }, { EPOLLRDHUP, "RDHUP" }, { EPOLLRDNORM, "RDNORM" },
	{ EPOLLWRNORM, "WRNORM" }, { EPOLLRDBAND, "RDBAND" }, { EPOLLWRBAND, "WRBAND" },
	{ EPOLLET, "ET" }, { EPOLLONESHOT, "ONESHOT" }, { EPOLLEXCLUSIVE, "EXCLUSIVE" },
};

static size_t describe_events(uint32_t events, char *to, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < sizeof(event_names) / sizeof(*event_names); i++) {
		if (!(events & event_names[i].bit))
			continue;
		n += (size_t)snprintf(to + n, size - n, "%s%s", n ? "|" : "", event_names[i].name);
		events &= ~event_names[i].bit;
	}
	if (events || !n)
		n += (size_t)snprintf(to + n, size - n, "%s%#x", n ? "|" : "", events);
	return n;
}

void describe(const struct result *r, char *to, size_t size)
{
	int i;
	size_t n = (size_t)snprintf(to, size, "%s = %ld%s%s", r->what, r->ret, r->err ? " " : "",
				    r->err ? strerrorname_np(r->err) : "");

	if (r->pipes)
		n += (size_t)snprintf(to + n, size - n, ", SIGPIPE");
	if (r->hash)
		n += (size_t)snprintf(to + n, size - n, ", payload %08x", r->hash);
	for (i = 0; i < r->nevents && n < size - 80; i++) {
		n += (size_t)snprintf(to + n, size - n, ", %llx: ",
				      (unsigned long long)r->events[i].data.u64);
		n += describe_events(r->events[i].events, to + n, size - n);
	}
}

/*
 * The second place for allowed differences. Where the kernel tells an edge, we do; and once more
 * after the socket was a plain one for a while, as its set was told of it anew
 */
static bool extra_edge(const struct result *fast, const struct result *plain)
{
	int i, j = 0;

	if (config.exact || fast->nevents <= plain->nevents || fast->ret != fast->nevents ||
	    plain->ret != plain->nevents)
		return false;
	for (i = 0; i < plain->nevents; i++) {
		while (j < fast->nevents && fast->events[j].data.u64 != plain->events[i].data.u64)
			j++;
		if (j == fast->nevents || fast->events[j].events != plain->events[i].events)
			return false;
	}
	extra_edges++;
	return true;
}

/* What differs, or NULL */
const char *differs(const struct result *fast, const struct result *plain)
{
	bool edge = strstr(plain->what, "[ET]") && extra_edge(fast, plain);

	if (strcmp(fast->what, plain->what))
		return "what was done";
	if (edge)
		return NULL;
	if (fast->ret != plain->ret)
		return "what it returned";
	if (fast->err != plain->err)
		return "errno";
	if (fast->pipes != plain->pipes)
		return "SIGPIPE";
	if (fast->nevents != plain->nevents ||
	    memcmp(fast->events, plain->events, sizeof(fast->events)))
		return "events";
	if (fast->hash != plain->hash)
		return "payload";
	return NULL;
}

bool same_logs(const struct side *fast, const struct side *plain)
{
	char text[2][400];
	const char *why = NULL;
	unsigned int i, j, n = fast->n < plain->n ? fast->n : plain->n;

	for (i = 0; i < n; i++) {
		why = differs(&fast->log[i], &plain->log[i]);
		if (why)
			break;
	}
	if (!why && fast->n == plain->n)
		return true;
	if (!why)
		printf("# the plain side has %u operations, the fast one %u\n", plain->n, fast->n);
	else
		printf("# %s differs, at operation %u:\n", why, i);
	for (j = i > 20 ? i - 20 : 0; j <= i; j++) {
		snprintf(text[0], sizeof(text[0]), "(none)");
		snprintf(text[1], sizeof(text[1]), "(none)");
		if (j < plain->n)
			describe(&plain->log[j], text[0], sizeof(text[0]));
		if (j < fast->n)
			describe(&fast->log[j], text[1], sizeof(text[1]));
		if (!strcmp(text[0], text[1]))
			printf("#   both:  %s\n", text[0]);
		else
			printf("#   plain: %s\n#   fast:  %s\n", text[0], text[1]);
	}
	return false;
}

/* ------------------------------------------------------------------- operations */

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return x->data.u64 < y->data.u64 ? -1 : x->data.u64 > y->data.u64;
}

void note_events(struct side *s, const char *what, int n, int err, const struct epoll_event *ev)
{
	struct result *r;

	snprintf(where_op, sizeof(where_op), "%s", what);
	errno = err;
	noted(s, n);
	r = &s->log[s->n - 1];
	if (n <= 0)
		return;
	r->nevents = n < EVENTS_MAX ? n : EVENTS_MAX;
	memcpy(r->events, ev, (size_t)r->nevents * sizeof(*ev));
	qsort(r->events, (size_t)r->nevents, sizeof(*ev), by_data);
	if (config.verbose) {
		char text[400];

		describe(r, text, sizeof(text));
		fprintf(stderr, "# %s: ... %s\n", s->name, text);
	}
}

/* Which they were is not promised */
void forget_events(struct side *s)
{
	struct result *r = &s->log[s->n - 1];

	r->nevents = 0;
	memset(r->events, 0, sizeof(r->events));
}

static int wait_as(struct side *s, int ep, int max, int ms, const char *how)
{
	struct epoll_event ev[64];
	char what[88];
	int n;

	snprintf(what, sizeof(what), "epoll_wait(%s%d, %d ms)%s", ep == s->ep ? "" : "another, ", max, ms, how);
	begin_note(s, what);
	errno = 0;
	n = epoll_wait(ep, ev, max > 64 ? 64 : max, ms);
	note_events(s, what, n, errno, ev);
	return n;
}

int wait_ep(struct side *s, int ep, int max, int ms)
{
	return wait_as(s, ep, max, ms, "");
}

/* Of a socket with EPOLLET that the kernel had for a while */
int wait_edge(struct side *s)
{
	arrive(s);
	return wait_as(s, s->ep, 8, 0, " [ET]");
}

/* With what was sent before arrived */
int wait_for(struct side *s, int max, int ms)
{
	arrive(s);
	return wait_ep(s, s->ep, max, ms);
}

long ctl(struct side *s, int op, int fd, uint32_t events, uint64_t data)
{
	static const char *const ops[] = { "?", "ADD", "DEL", "MOD" };
	struct epoll_event ev = { .events = events, .data.u64 = data };
	char what[88], names[64];

	describe_events(events, names, sizeof(names));
	snprintf(what, sizeof(what), "epoll_ctl(%s, %s, %llx)", ops[op & 3], names, (unsigned long long)data);
	begin_note(s, what);
	errno = 0;
	return noted(s, epoll_ctl(s->ep, op, fd, &ev));
}

/* Into the set, and attached */
void arm(struct side *s, uint32_t events)
{
	ctl(s, EPOLL_CTL_ADD, s->app, events, APP_DATA);
	wait_ep(s, s->ep, 8, 0);
	must_be_fast(s, "after it was waited for");
}

void peer_says(struct side *s, size_t n)
{
	unsigned char *buf = malloc(n + 1);

	pattern(buf, n, s->peer_sent, 1);
	NOTE_PEER(s, send(s->peer, buf, n, MSG_NOSIGNAL));
	free(buf);
}

void peer_hears(struct side *s, size_t n)
{
	unsigned char *buf = calloc(1, n + 1);
	long got = NOTE(s, recv(s->peer, buf, n, MSG_WAITALL));

	if (got > 0)
		seen(s, buf, (size_t)got);
	free(buf);
}

void app_says(struct side *s, size_t n)
{
	unsigned char *buf = malloc(n + 1);

	pattern(buf, n, s->sent, 0);
	NOTE_OUT(s, send(s->app, buf, n, 0));
	free(buf);
}

/* Up to so much */
void app_hears(struct side *s, size_t n)
{
	unsigned char *buf = calloc(1, n + 1);
	long got = NOTE_IO(s, recv(s->app, buf, n, 0));

	if (got > 0)
		seen(s, buf, (size_t)got);
	free(buf);
}

void peer_ends(struct side *s)
{
	NOTE(s, shutdown(s->peer, SHUT_WR));
	s->peer_fin = true;
}

/* With all that was sent to it arrived: else it is chance whether that is a reset */
void peer_closes(struct side *s)
{
	leave(s);
	arrive(s);
	NOTE(s, close(s->peer));
	s->peer = -1;
	s->peer_fin = true;
	arrive(s);
}

void peer_resets(struct side *s)
{
	struct linger l = { 1, 0 };

	leave(s);
	arrive(s);
	NOTE(s, setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	peer_closes(s);
}

/* Bytes to read, or -errno; as the kernel says, or who is before it */
int queued(int fd)
{
	int n = -1;

	return ioctl(fd, FIONREAD, &n) ? -errno : n;
}

/* Reads and writes, by that number of it and by its own */
void use(struct side *s, int fd)
{
	char buf[64] = "";
	long n;

	peer_says(s, 20);
	wait_for(s, 8, 100);
	n = NOTE_IO(s, read(fd, buf, 7));
	if (n > 0)
		seen(s, buf, (size_t)n);
	app_hears(s, 64);
	NOTE_OUT(s, write(fd, "0123", 4));
	app_says(s, 10);
	NOTE_OUT(s, write(fd, "0123", 4));
	peer_hears(s, 18);
}
