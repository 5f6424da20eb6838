// SPDX-License-Identifier: GPL-2.0
/*
 * ops.c - a side and its connection; what an operation gave, and whether both gave the same
 */
#include "ops.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
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

static void us_sleep(unsigned int us)
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

__attribute__((noreturn)) static void die(const char *what)
{
	printf("Bail out! %s: %s (in %s, %s)\n", what, strerror(errno), where_case, where_side);
	exit(2);
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
	s->sent = s->peer_sent = 0;
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
