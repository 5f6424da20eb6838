// SPDX-License-Identifier: GPL-2.0
/*
 * load.c - bench-load: requests over many connections, and how long each took
 *
 * One thread on epoll; every connection has one request under way at most.
 *
 *  - Closed loop: the answer to a request is followed by the next at once. Latency counts from when
 *    the request was sent.
 *  - Open loop (--rate): requests are due at the times of a Poisson process that knows nothing of
 *    the server, the same ones in every run. A request that finds all connections taken is sent
 *    later, but its latency counts from when it was due: a server that stalls is charged for all
 *    that were due meanwhile, not for the few that were sent ("coordinated omission"). What was
 *    never answered counts with the time it had waited at the end.
 *
 * The protocols: HTTP, the 16-byte requests of apps/binary.h, getting one value from redis or
 * memcached (where it is set before) or setting it, with --pipeline so many times in one request,
 * and UDP datagrams that come back as they are (bench/reflect.c). It prints one line:
 *
 *   load RPS P50 P90 P99 P99.9 MAX ERRORS UNANSWERED LATE
 *
 * in requests/s and microseconds; LATE is the 99th percentile of how much too late a request was
 * sent though a connection was free: the generator's own fault, which it includes in the latencies.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../apps/binary.h"
#include "histogram.h"

#define EVENTS		512
#define RECV_SIZE	(1u << 18)
#define CONNECT_NS	10000000000ull	/* all connections are there after so long, or we fail */
#define DRAIN_NS	1000000000ull	/* open loop: wait so long for answers at the end */
#define LOST_NS		200000000ull	/* a datagram that has not come back */
#define ERRORS_MAX	10000

enum protocol { PROTO_HTTP, PROTO_BINARY, PROTO_REDIS, PROTO_MEMCACHED, PROTO_UDP };

/**
 * struct conn - a connection
 * @open: connected
 * @listed: in the list of idle ones
 * @waiting: a request is under way
 * @closing: answered, and the server is about to close
 * @due: when the request was due; closed loop: was sent
 * @idle_at: when the connection became free
 * @sent: bytes of the request
 * @got: bytes of the response
 * @next: in the list of idle ones
 */
struct conn {
	int fd;
	bool open;
	bool listed;
	bool waiting;
	bool closing;
	uint64_t due;
	uint64_t idle_at;
	size_t sent;
	size_t got;
	struct conn *next;
};

static struct {
	enum protocol protocol;
	struct sockaddr_in addr;
	unsigned long connections, size, post, pipeline;
	double seconds, warmup;
	bool per_connection, store;
	double rate;
} set = { .connections = 1, .size = 64, .pipeline = 1, .seconds = 2, .warmup = 1 };

static int epoll = -1;
static struct conn *conns, *idle;
static unsigned int nopen, nwaiting;
static char *request;
static size_t request_len, response_len;
static char recv_buf[RECV_SIZE];

static uint64_t from, until;		/* the window that is measured */
static bool running;			/* requests are sent */
static uint64_t next_due;		/* open loop: of the next request */
static uint64_t now;
static struct histogram latency, late;
static uint64_t answered, errors, unanswered;

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void conn_connect(struct conn *conn);
static void conn_idle(struct conn *conn);

static void failed(struct conn *conn, const char *what)
{
	if (!errors)
		fprintf(stderr, "bench-load: %s: %s (told once)\n", what, strerror(errno));
	if (++errors > ERRORS_MAX)
		die(what);
	nopen -= conn->open;
	nwaiting -= conn->waiting;
	close(conn->fd);
	conn->fd = -1;
	conn->open = false;
	conn->waiting = false;
	if (set.per_connection)
		conn_idle(conn);
	else
		conn_connect(conn);
}

/* Exponential gaps of a generator that always begins alike */
static uint64_t next_gap(void)
{
	static uint64_t state = 88172645463325252ull;
	double uniform;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	uniform = ((double)(state >> 11) + 1) / 9007199254740993.0;	/* (0, 1] */
	return (uint64_t)(-log(uniform) * 1e9 / set.rate);
}

static void conn_send(struct conn *conn)
{
	while (conn->sent < request_len) {
		ssize_t n = send(conn->fd, request + conn->sent, request_len - conn->sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			failed(conn, "send");
			return;
		}
		conn->sent += n;
	}
}

static void conn_start(struct conn *conn, uint64_t due)
{
	conn->waiting = true;
	nwaiting++;
	conn->due = due;
	conn->sent = 0;
	conn->got = 0;
	if (conn->open)
		conn_send(conn);
	else if (conn->fd < 0)
		conn_connect(conn);
	/* Goes on when it is open */
}

/* Open loop: all that is due and finds a connection */
static void send_due(void)
{
	while (idle && next_due <= now && next_due < until) {
		struct conn *conn = idle;

		idle = conn->next;
		conn->listed = false;
		if (conn->idle_at <= next_due && next_due >= from)
			hist_record(&late, now - next_due);
		conn_start(conn, next_due);
		next_due += next_gap();
		now = clock_ns();
	}
}

static void conn_idle(struct conn *conn)
{
	conn->idle_at = now;
	if (running && set.rate == 0) {
		if (now < until)
			conn_start(conn, clock_ns());
		return;
	}
	if (conn->listed)
		return;
	conn->listed = true;
	conn->next = idle;
	idle = conn;
}

static void conn_connect(struct conn *conn)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn,
	};
	int one = 1;

	conn->closing = false;
	conn->fd = socket(AF_INET, SOCK_NONBLOCK | SOCK_CLOEXEC |
			  (set.protocol == PROTO_UDP ? SOCK_DGRAM : SOCK_STREAM), 0);
	if (conn->fd < 0)
		die("socket");
	if (set.protocol != PROTO_UDP)
		setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(conn->fd, (void *)&set.addr, sizeof(set.addr)) && errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &event))
		die("epoll_ctl");
}

static void conn_answered(struct conn *conn)
{
	conn->waiting = false;
	nwaiting--;
	if (running && now < until && now >= from)
		answered++;
	/* Open loop: all that were due in the window; closed loop: all answered in it */
	if (running && (set.rate > 0 ? conn->due >= from : now >= from && now < until))
		hist_record(&latency, now - conn->due);
	if (set.per_connection)
		conn->closing = true;	/* until the server has closed */
	else
		conn_idle(conn);
}

static void conn_closed(struct conn *conn)
{
	close(conn->fd);
	conn->fd = -1;
	conn->open = false;
	conn->closing = false;
	nopen--;
	conn_idle(conn);
}

static void conn_receive(struct conn *conn)
{
	for (;;) {
		ssize_t n = recv(conn->fd, recv_buf, sizeof(recv_buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 || (!n && !conn->closing) || (n && !conn->waiting)) {
			failed(conn, "recv");
			return;
		}
		if (!n) {
			conn_closed(conn);
			return;
		}
		if (set.protocol == PROTO_HTTP && !conn->got && n >= 12 &&
		    memcmp(recv_buf + 9, "200", 3)) {
			errno = EPROTO;
			failed(conn, "not a 200");
			return;
		}
		conn->got += n;
		if (conn->got > response_len) {
			errno = EPROTO;
			failed(conn, "too long a response");
			return;
		}
		if (conn->got == response_len) {
			now = clock_ns();
			conn_answered(conn);
			if (!conn->closing)
				return;
		} else if ((size_t)n < sizeof(recv_buf)) {
			return;		/* drained */
		}
	}
}

static void handle(struct conn *conn, uint32_t what)
{
	if (!conn->open) {
		if (what & (EPOLLERR | EPOLLHUP)) {
			failed(conn, "connect");
			return;
		}
		if (!(what & EPOLLOUT))
			return;
		conn->open = true;
		nopen++;
		if (conn->waiting)
			conn_send(conn);	/* of a request that made the connection */
		else if (!set.per_connection)
			conn_idle(conn);
		return;
	}
	if ((what & EPOLLOUT) && conn->waiting && conn->sent < request_len)
		conn_send(conn);
	if (conn->open && (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		conn_receive(conn);
}

/* Handles what comes until @deadline at most; once */
static void turn(uint64_t deadline)
{
	static struct epoll_event events[EVENTS];
	struct timespec ts;
	int64_t wait = (int64_t)(deadline - now);
	int i, n;

	if (wait < 0)
		wait = 0;
	ts.tv_sec = wait / 1000000000;
	ts.tv_nsec = wait % 1000000000;
	n = epoll_pwait2(epoll, events, EVENTS, &ts, NULL);
	if (n < 0 && errno != EINTR)
		die("epoll_pwait2");
	now = clock_ns();
	for (i = 0; i < n; i++)
		handle(events[i].data.ptr, events[i].events);
}

/* Datagrams that do not come back */
static void look_for_lost(void)
{
	static uint64_t next_look;
	unsigned long i;

	if (set.protocol != PROTO_UDP || now < next_look)
		return;
	next_look = now + LOST_NS / 4;
	for (i = 0; i < set.connections; i++) {
		struct conn *conn = &conns[i];

		if (conn->waiting && now > conn->due + LOST_NS) {
			errno = ETIMEDOUT;
			failed(conn, "a datagram");
		}
	}
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void run(void)
{
	uint64_t end = until + (set.rate > 0 ? DRAIN_NS : 0), deadline;

	while (now < end && (now < until || nwaiting || next_due < until)) {
		if (set.rate > 0)
			send_due();
		look_for_lost();
		deadline = now < until ? until : end;
		if (set.rate > 0 && idle && next_due < until)
			deadline = min64(deadline, next_due);
		if (set.protocol == PROTO_UDP)
			deadline = min64(deadline, now + LOST_NS / 4);
		turn(deadline);
	}
}

/* What was due and has no answer has waited until now, at least */
static void count_unanswered(void)
{
	unsigned long i;

	if (set.rate == 0)
		return;
	for (i = 0; i < set.connections; i++) {
		if (conns[i].waiting && conns[i].due >= from) {
			hist_record(&latency, now - conns[i].due);
			unanswered++;
		}
	}
	for (; next_due < until; next_due += next_gap()) {
		if (next_due < from)
			continue;
		hist_record(&latency, now - next_due);
		unanswered++;
	}
}

/* As the stores have them: how to ask for the value, and what comes before and after it */
struct store {
	const char *set;	/* printf() of its length, then the value, then this: */
	const char *set_end;
	const char *get;
	const char *value;
	const char *value_end;
	const char *stored;
};

static const struct store redis = {
	"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%lu\r\n", "\r\n", "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "$%lu\r\n", "\r\n",
	"+OK\r\n",
};

static const struct store memcached = {
	"set key 0 0 %lu\r\n", "\r\n", "get key\r\n", "VALUE key 0 %lu\r\n", "\r\nEND\r\n", "STORED\r\n",
};

static bool is_store(void)
{
	return set.protocol == PROTO_REDIS || set.protocol == PROTO_MEMCACHED;
}

static const struct store *store(void)
{
	return set.protocol == PROTO_REDIS ? &redis : &memcached;
}

/* A printf() format of the value's length in @buf; returns how long that is */
static size_t with_size(char *buf, size_t room, const char *format)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return (size_t)snprintf(buf, room, format, set.size);
#pragma GCC diagnostic pop
}

/* What sets the value, in a buffer of its own */
static char *set_command(size_t *len)
{
	char *buf = malloc(set.size + 128);
	size_t n;

	if (!buf)
		die("memory");
	n = with_size(buf, 64, store()->set);
	memset(buf + n, 'x', set.size);
	n += set.size;
	*len = n + (size_t)sprintf(buf + n, "%s", store()->set_end);
	return buf;
}

static void make_store_request(void)
{
	size_t n = strlen(store()->get);
	char *command, head[64];
	unsigned long i;

	response_len = with_size(head, sizeof(head), store()->value) + set.size + strlen(store()->value_end);
	command = set.store ? set_command(&n) : strdup(store()->get);
	if (set.store)
		response_len = strlen(store()->stored);
	request = malloc(n * set.pipeline);
	if (!command || !request)
		die("memory");
	for (i = 0; i < set.pipeline; i++)
		memcpy(request + i * n, command, n);
	free(command);
	request_len = n * set.pipeline;
	response_len *= set.pipeline;
}

static void make_request(void)
{
	size_t room = 512 + set.post + set.size;
	uint64_t size = set.size;

	if (is_store()) {
		make_store_request();
		return;
	}
	request = malloc(room);
	if (!request)
		die("memory");
	memset(request, 'x', room);
	if (set.protocol == PROTO_UDP) {
		request_len = set.size;
		response_len = set.size;
	} else if (set.protocol == PROTO_BINARY) {
		request_len = BINARY_REQUEST;
		response_len = set.size;
		memcpy(request, BINARY_MAGIC, 8);
		memcpy(request + 8, &size, 8);
	} else {
		char length[64] = "";
		int n;

		if (set.post)
			snprintf(length, sizeof(length), "Content-Length: %lu\r\n", set.post);
		n = snprintf(request, 512, "%s / HTTP/1.1\r\nHost: 10.77.0.2\r\n%s%s\r\n",
			     set.post ? "POST" : "GET", length,
			     set.per_connection ? "Connection: close\r\n" : "");
		memset(request + n, 'x', set.post);
		request_len = n + set.post;
	}
}

/* A connection with all of @buf sent; nothing waits for more than 5 s */
static int ask(const char *buf, size_t len)
{
	struct timeval limit = { .tv_sec = 5 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (void *)&set.addr, sizeof(set.addr)))
		die("connect");
	for (; len; buf += n, len -= (size_t)n) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		if (n <= 0)
			die("send");
	}
	return fd;
}

/* The value that is asked for */
static void set_value(void)
{
	size_t n, want = strlen(store()->stored), got = 0;
	char *buf = set_command(&n);
	ssize_t m;
	int fd;

	fd = ask(buf, n);
	for (; got < want; got += (size_t)m) {
		m = recv(fd, recv_buf + got, want - got, 0);
		if (m <= 0)
			die("no answer to setting the value");
	}
	errno = EPROTO;
	if (memcmp(recv_buf, store()->stored, want))
		die("the value was not set");
	close(fd);
	free(buf);
}

/* HTTP: the server's responses are all as long as its first */
static void learn_response(void)
{
	char *end = NULL, *length;
	size_t got = 0;
	ssize_t n;
	int fd;

	fd = ask(request, request_len);
	while (!end) {
		n = recv(fd, recv_buf + got, sizeof(recv_buf) - 1 - got, 0);
		if (n <= 0)
			die("no response");
		got += n;
		recv_buf[got] = '\0';
		end = strstr(recv_buf, "\r\n\r\n");
	}
	length = strcasestr(recv_buf, "\r\nContent-Length:");
	errno = EPROTO;
	if (got < 12 || memcmp(recv_buf + 9, "200", 3) || !length || length > end)
		die("not a 200 with a Content-Length");
	response_len = end + 4 - recv_buf + strtoul(length + 17, NULL, 10);
	for (; got < response_len; got += n) {
		n = recv(fd, recv_buf, sizeof(recv_buf), 0);
		if (n <= 0)
			die("the rest of the response");
	}
	close(fd);
}

static void connect_all(void)
{
	uint64_t limit = clock_ns() + CONNECT_NS;
	unsigned long i;

	conns = calloc(set.connections, sizeof(*conns));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!conns || epoll < 0)
		die("start");
	now = clock_ns();
	for (i = 0; i < set.connections; i++) {
		conns[i].fd = -1;
		if (set.per_connection)
			conn_idle(&conns[i]);
		else
			conn_connect(&conns[i]);
	}
	while (!set.per_connection && nopen < set.connections) {
		turn(limit);
		if (now >= limit) {
			errno = ETIMEDOUT;
			die("connect");
		}
	}
}

static void measure(void)
{
	struct conn *conn;

	now = clock_ns();
	from = now + (uint64_t)(set.warmup * 1e9);
	until = from + (uint64_t)(set.seconds * 1e9);
	running = true;
	if (set.rate > 0) {
		next_due = now + next_gap();
	} else {
		next_due = until;
		while ((conn = idle)) {
			idle = conn->next;
			conn->listed = false;
			conn_start(conn, clock_ns());
		}
	}
	run();
	count_unanswered();
}

static void report(void)
{
	static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
	unsigned int i;

	printf("load %.1f", (double)answered / set.seconds);
	for (i = 0; i < sizeof(shares) / sizeof(*shares); i++)
		printf(" %.1f", (double)hist_percentile(&latency, shares[i]) / 1000);
	printf(" %.1f %llu %llu %.1f\n", (double)latency.max / 1000, (unsigned long long)errors,
	       (unsigned long long)unanswered, (double)hist_percentile(&late, 0.99) / 1000);
}

static const char usage[] =
	"Usage: bench-load [OPTION]... ADDRESS PORT\n"
	"Sends requests over many connections and tells how long the answers took.\n"
	"\n"
	"  --protocol P      http (the default), binary (apps/binary.h), redis, memcached (getting one\n"
	"                    value, which is set before) or udp (bench-reflect)\n"
	"  --connections N   (1)\n"
	"  --size N          bytes of a response to ask for; http: the server's choice (64)\n"
	"  --post N          http: POST bodies of N bytes\n"
	"  --pipeline N      redis, memcached: N times in one request (1)\n"
	"  --store           redis, memcached: set the value again and again, and do not get it\n"
	"  --per-connection  http: a connection for each request\n"
	"  --rate R          open loop: R requests per second, whatever the server does\n"
	"  --seconds S       measure for so long (2) ...\n"
	"  --warmup S        ... after so long (1)\n"
	"  --help            show this\n";

static unsigned long number(const char *option, unsigned long min, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(optarg, &end, 10);
	if (errno || end == optarg || *end || *optarg == '-' || value < min || value > max) {
		fprintf(stderr, "bench-load: %s: not a number from %lu to %lu: %s\n", option, min,
			max, optarg);
		exit(2);
	}
	return value;
}

static double seconds(const char *option, double min)
{
	double value;
	char *end;

	errno = 0;
	value = strtod(optarg, &end);
	if (errno || end == optarg || *end || !(value >= min && value <= 3600)) {
		fprintf(stderr, "bench-load: %s: not from %g to 3600 seconds: %s\n", option, min, optarg);
		exit(2);
	}
	return value;
}

static enum protocol protocol(void)
{
	if (!strcmp(optarg, "http"))
		return PROTO_HTTP;
	if (!strcmp(optarg, "binary"))
		return PROTO_BINARY;
	if (!strcmp(optarg, "redis"))
		return PROTO_REDIS;
	if (!strcmp(optarg, "memcached"))
		return PROTO_MEMCACHED;
	if (!strcmp(optarg, "udp"))
		return PROTO_UDP;
	fprintf(stderr, "bench-load: --protocol: http, binary, redis, memcached or udp, not %s\n", optarg);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "protocol", required_argument, NULL, 'P' },
		{ "connections", required_argument, NULL, 'c' },
		{ "size", required_argument, NULL, 's' },
		{ "post", required_argument, NULL, 'b' },
		{ "pipeline", required_argument, NULL, 'p' },
		{ "store", no_argument, NULL, 'S' },
		{ "per-connection", no_argument, NULL, 'o' },
		{ "rate", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 'd' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'P':
			set.protocol = protocol();
			break;
		case 'c':
			set.connections = number("--connections", 1, 50000);
			break;
		case 's':
			set.size = number("--size", 1, BINARY_SIZE_MAX);
			break;
		case 'b':
			set.post = number("--post", 1, 1u << 20);
			break;
		case 'p':
			set.pipeline = number("--pipeline", 1, 1000);
			break;
		case 'S':
			set.store = true;
			break;
		case 'o':
			set.per_connection = true;
			break;
		case 'r':
			set.rate = (double)number("--rate", 1, 10000000);
			break;
		case 'd':
			set.seconds = seconds("--seconds", 0.1);
			break;
		case 'w':
			set.warmup = seconds("--warmup", 0);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			fputs("Try 'bench-load --help'.\n", stderr);
			exit(2);
		}
	}
	set.addr.sin_family = AF_INET;
	if (argc - optind != 2 || inet_pton(AF_INET, argv[optind], &set.addr.sin_addr) != 1) {
		fputs("bench-load: an IPv4 address and a port: see --help\n", stderr);
		exit(2);
	}
	optarg = argv[optind + 1];
	set.addr.sin_port = htons((uint16_t)number("port", 1, 65535));
	if ((set.pipeline > 1 || set.store) && !is_store()) {
		fputs("bench-load: --pipeline and --store are for redis and memcached\n", stderr);
		exit(2);
	}
	if ((set.protocol != PROTO_HTTP && (set.post || set.per_connection)) ||
	    (set.protocol == PROTO_UDP && set.size > 1472)) {
		fputs("bench-load: --post and --per-connection are for http, datagrams have at most"
		      " 1472 bytes\n", stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct rlimit files;

	parse(argc, argv);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	prctl(PR_SET_TIMERSLACK, 1);	/* requests are due to the microsecond */
	make_request();
	if (set.protocol == PROTO_HTTP)
		learn_response();
	if (is_store())
		set_value();
	connect_all();
	measure();
	report();
	return 0;
}
