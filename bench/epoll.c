// SPDX-License-Identifier: GPL-2.0
/*
 * epoll.c - bench-epoll: the HTTP server an expert would write with epoll, to compare with.
 *
 * One thread; in steady state one epoll_wait() per batch of ready connections and, per request,
 * one recv() and one send():
 *
 *  - Edge-triggered, for IN, OUT and RDHUP at once, registered when a connection is accepted and
 *    never changed. Level-triggered would make epoll_wait() poll every socket it reported a second
 *    time, and would need epoll_ctl() whenever a send falls short. The price is to remember
 *    (conn.readable) what has not been drained.
 *  - A recv() shorter than its buffer has drained the socket; what comes later is a new edge. A
 *    FIN that was there already shows as RDHUP, then the socket is read to its end.
 *  - The response lies ready in memory, header and body together. Pipelined requests of one recv()
 *    are answered by one sendmsg(). A large response is sent from a file in memory by sendfile(),
 *    which copies nothing; for small ones that costs more than the copy. Nothing is read from a
 *    connection that has responses pending, so a client that does not read stops itself.
 *  - Options are set on the listening socket, accepted ones inherit them.
 *
 * --busy-poll: since 6.9 an epoll instance has busy poll parameters of its own (EPIOCSPARAMS, see
 * Documentation/networking/napi.rst): epoll_wait() polls the NIC's NAPI instance for that long
 * before it sleeps. SO_BUSY_POLL on sockets would make only blocking recv() and poll() spin: epoll
 * never looks at it. Before 6.9 there is only the net.core.busy_poll sysctl. --prefer masks the
 * interrupt between calls, but only if the NIC's gro_flush_timeout and napi_defer_hard_irqs are set
 * too (in /sys/class/net/NIC, by the administrator, or by --defer); on a virtio NIC it made a lone
 * connection slower, so it is not the default.
 *
 * --suspend: IRQ suspension (Linux 6.13, the same document). As long as epoll_wait() finds events,
 * the NIC's interrupt stays off, and nothing is polled but by the epoll_wait() that has none left;
 * when it found nothing, the deferral of --defer takes over, and then the interrupt. It is set up as
 * its authors did for their memcached (the "suspend20" of the patches' cover letter): no time to
 * busy poll, for one look is enough; 64 packets a poll; interrupts deferred 100 times, by 20 us;
 * suspended for at most 20 ms. Their other two are there as well: "napibusy" is --busy-poll=64
 * --budget 64 --prefer --defer 200, and "fullbusy" --busy-poll=1000 with --defer 5000. As in
 * theirs, SO_INCOMING_NAPI_ID of each accepted connection says which NAPI instance it is about.
 * Not done: to spread the connections of several queues so that a process has those of one
 * instance only (a program for SO_REUSEPORT); with one queue they all are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "binary.h"
#include "napi.h"

/* Linux 6.9; Debian 12's headers are older. */
#ifndef EPIOCSPARAMS
struct epoll_params {
	uint32_t busy_poll_usecs;
	uint16_t busy_poll_budget;
	uint8_t prefer_busy_poll;
	uint8_t pad;
};
#define EPIOCSPARAMS	_IOW(0x8A, 0x01, struct epoll_params)
#endif

#define EVENTS		1024	/* events per epoll_wait() */
#define RECV_SIZE	65536
#define SUSPEND_BUDGET	64	/* packets a poll, as the authors of --suspend have it */
#define SUSPEND_DEFER	20	/* us, likewise */
#define IOVS		256	/* responses per sendmsg() */
#define ROUNDS		32	/* full buffers of one connection before others have their turn */
#define FILE_MIN	65536	/* shorter responses are copied */
#define LINGER_MAX	(4 << 20) /* bytes ignored after our FIN until we give up on the client's */

/* Responses to send: count times the same bytes. */
struct run {
	const char *at;
	size_t len;
	size_t count;
};

struct conn {
	int fd;
	bool readable;		/* an edge was seen and recv() has not drained it */
	bool hup;		/* read until recv() says so */
	bool shut;		/* we sent our FIN; only waiting for the client's */
	size_t ignored;
	size_t sent;		/* of runs[0]'s first */
	unsigned int nruns, maxruns;
	struct run *runs;	/* one, or an array from malloc() */
	struct run one;
	struct binary_conn binary;
	struct http_conn http;
	struct conn *next, *prev;	/* in the list of open ones; next: or of spare ones */
};

static struct {
	int epoll, listener, signals;
	bool accepting;
	struct http_canned canned;
	int file;		/* what is in canned.mem, or -1 */
	char *binary;		/* the bytes that answer binary requests; NULL: it is HTTP */
	unsigned long size;
	struct napi_settings napi;	/* of the instances that connections come from, if any is set */
	struct conn *open, *spare;
	uint64_t requests, connections;
} server = { .epoll = -1, .listener = -1, .signals = -1, .file = -1 };

/* What epoll's data.ptr says for the two that are no connections. */
static char listener_tag, signal_tag;

static char recv_buf[RECV_SIZE];

static int fail(const char *what)
{
	fprintf(stderr, "bench-epoll: %s: %s\n", what, strerror(errno));
	return -1;
}

static int watch(int op, int fd, uint32_t events, void *tag)
{
	struct epoll_event event = { .events = events, .data.ptr = tag };

	return epoll_ctl(server.epoll, op, fd, &event);
}

static struct conn *conn_open(int fd)
{
	struct conn *conn = server.spare;

	if (conn)
		server.spare = conn->next;
	else
		conn = malloc(sizeof(*conn));
	if (!conn)
		return NULL;
	memset(conn, 0, offsetof(struct conn, http));
	conn->fd = fd;
	conn->runs = &conn->one;
	conn->maxruns = 1;
	http_conn_init(&conn->http);
	conn->prev = NULL;
	conn->next = server.open;
	if (conn->next)
		conn->next->prev = conn;
	server.open = conn;
	return conn;
}

static void conn_close(struct conn *conn)
{
	close(conn->fd);
	http_conn_free(&conn->http);
	if (conn->runs != &conn->one)
		free(conn->runs);
	if (conn->next)
		conn->next->prev = conn->prev;
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		server.open = conn->next;
	conn->next = server.spare;
	server.spare = conn;
	if (!server.accepting) {	/* we had run out of descriptors */
		watch(EPOLL_CTL_ADD, server.listener, EPOLLIN, &listener_tag);
		server.accepting = true;
	}
}

static int on_request(void *arg, const struct http_request *req)
{
	struct conn *conn = arg;
	struct run *run = conn->runs + conn->nruns;
	const char *at;
	size_t len;

	if (server.binary) {
		at = server.binary;
		len = req->body_len;
	} else {
		at = http_reply(&server.canned, req, &len);
	}
	server.requests += !req->status;
	if (conn->nruns && run[-1].at == at && run[-1].len == len) {
		run[-1].count++;
		return 0;
	}
	if (conn->nruns == conn->maxruns) {
		struct run *more = malloc(2 * conn->maxruns * sizeof(*more));

		if (!more) {
			conn->hup = true;	/* cannot be answered in full: not at all */
			return 1;
		}
		memcpy(more, conn->runs, conn->nruns * sizeof(*more));
		if (conn->runs != &conn->one)
			free(conn->runs);
		conn->runs = more;
		conn->maxruns *= 2;
		run = conn->runs + conn->nruns;
	}
	*run = (struct run){ .at = at, .len = len, .count = 1 };
	conn->nruns++;
	return 0;
}

/* Takes n sent bytes off the runs. */
static void conn_sent(struct conn *conn, size_t n)
{
	struct run *run = conn->runs;
	unsigned int done;

	n += conn->sent;
	while (run < conn->runs + conn->nruns && n >= run->len * run->count) {
		n -= run->len * run->count;
		run++;
	}
	done = run - conn->runs;
	conn->nruns -= done;
	if (conn->nruns) {
		if (done)
			memmove(conn->runs, run, conn->nruns * sizeof(*run));
		conn->runs->count -= n / conn->runs->len;
		n %= conn->runs->len;
	}
	conn->sent = n;
}

/* If the responses are large: has the file that they are sent from. */
static int make_file(void)
{
	size_t size = http_canned_size(&server.canned), done = 0;
	ssize_t n;

	if (server.size < FILE_MIN)
		return 0;
	server.file = memfd_create("responses", MFD_CLOEXEC);
	if (server.file < 0)
		return -1;
	for (; done < size; done += n) {
		n = write(server.file, server.canned.mem + done, size - done);
		if (n <= 0)
			return -1;
	}
	return 0;
}

/* Another second has begun. */
static int new_date(void)
{
	int i;

	http_canned_date(&server.canned);
	for (i = 0; server.file >= 0 && i < HTTP_PERSIST_COUNT; i++) {
		const char *at = server.canned.at[i] + server.canned.date_at[i];

		if (pwrite(server.file, at, HTTP_DATE_LEN, at - server.canned.mem) != HTTP_DATE_LEN)
			return -1;
	}
	return 0;
}

/* Whether a response is in the file, as errors are not, and long. */
static bool in_file(const struct run *run)
{
	return server.file >= 0 && run->len >= FILE_MIN && !server.binary;
}

/* 1: all was sent. 0: the socket is full, EPOLLOUT will tell. -1: the connection is gone. */
static int conn_flush(struct conn *conn)
{
	while (conn->nruns) {
		struct iovec iov[IOVS];
		struct msghdr msg = { .msg_iov = iov };
		size_t total = 0;
		unsigned int i;
		ssize_t n;

		if (in_file(conn->runs)) {
			off_t at = conn->runs->at - server.canned.mem + conn->sent;

			total = conn->runs->len - conn->sent;
			n = sendfile(conn->fd, server.file, &at, total);
			goto sent;
		}
		for (i = 0; i < conn->nruns && msg.msg_iovlen < IOVS; i++) {
			size_t left = conn->runs[i].count;

			for (; left && msg.msg_iovlen < IOVS; left--, msg.msg_iovlen++) {
				size_t skip = total ? 0 : conn->sent;

				iov[msg.msg_iovlen].iov_base = (char *)conn->runs[i].at + skip;
				iov[msg.msg_iovlen].iov_len = conn->runs[i].len - skip;
				total += conn->runs[i].len - skip;
			}
		}
		if (msg.msg_iovlen == 1)
			n = send(conn->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
		else
			n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
sent:
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? 0 : -1;
		}
		conn_sent(conn, n);
		/* Short means full; the kernel has noted that we want to hear when it is not. */
		if ((size_t)n < total)
			return 0;
	}
	return 1;
}

/* Reads the requests in recv_buf; fewer bytes than n if the connection is to be dropped. */
static size_t conn_feed(struct conn *conn, size_t n)
{
	if (!server.binary)
		return http_feed(&conn->http, recv_buf, n, on_request, conn);
	n = binary_feed(&conn->binary, recv_buf, n, server.size, on_request, conn);
	return conn->binary.done ? 0 : n;
}

/* Does all there is to do for a connection until one of its edges. */
static void conn_run(struct conn *conn)
{
	int round;

	for (round = 0; round < ROUNDS; round++) {
		ssize_t n;
		int sent = conn_flush(conn);

		if (sent < 0)
			goto close;
		if (!sent)
			return;
		if (!conn->shut && http_conn_done(&conn->http)) {
			/*
			 * close() with bytes unread would reset the connection, and the client
			 * might never see the response. So: our FIN, then wait for its.
			 */
			shutdown(conn->fd, SHUT_WR);
			conn->shut = true;
		}
		if (!conn->readable)
			return;
		n = recv(conn->fd, recv_buf, sizeof(recv_buf), 0);
		if (n < 0 && errno == EAGAIN) {
			conn->readable = false;
			return;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			goto close;
		if ((size_t)n < sizeof(recv_buf) && !conn->hup)
			conn->readable = false;
		if (conn->shut) {
			conn->ignored += n;
			if (conn->ignored > LINGER_MAX)
				goto close;
			continue;
		}
		if (conn_feed(conn, n) < (size_t)n)
			goto close;
	}
	/* Others first; a MOD reports again what is still true. */
	if (watch(EPOLL_CTL_MOD, conn->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, conn))
		goto close;
	return;
close:
	conn_close(conn);
}

static void accept_all(void)
{
	for (;;) {
		int fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct conn *conn;

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			    errno == ENOBUFS) {
				fail("accept");
				/* Until a connection closes. */
				watch(EPOLL_CTL_DEL, server.listener, 0, NULL);
				server.accepting = false;
			}
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return;
		}
		if (server.napi.defer_hard_irqs && napi_claim(napi_of(fd), &server.napi) < 0)
			fail("the NAPI instance's settings (netdev genl, napi-set)");
		conn = conn_open(fd);
		if (!conn) {
			close(fd);
			return;
		}
		/* What has arrived already is reported by the next epoll_wait(). */
		if (watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, conn)) {
			fail("epoll_ctl");
			conn_close(conn);
			return;
		}
		server.connections++;
	}
}

static int serve(void)
{
	static struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(server.epoll, events, EVENTS, -1);
		int i;

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return fail("epoll_wait");
		}
		if (http_date_turn() && new_date())
			return fail("the responses' date");
		for (i = 0; i < n; i++) {
			uint32_t what = events[i].events;
			struct conn *conn = events[i].data.ptr;

			if (events[i].data.ptr == &listener_tag) {
				accept_all();
				continue;
			}
			if (events[i].data.ptr == &signal_tag)
				return 0;
			if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
				conn->readable = true;
			if (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
				conn->hup = true;
			conn_run(conn);
		}
	}
}

static int listen_on(const char *addr, const char *port, bool reuseport)
{
	struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	int one = 1, fd, err;

	err = getaddrinfo(addr, port, &hints, &ai);
	if (err) {
		fprintf(stderr, "bench-epoll: %s port %s: %s\n", addr, port, gai_strerror(err));
		return -1;
	}
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) ||
	    listen(fd, 65535)) {	/* the kernel cuts it to net.core.somaxconn */
		fprintf(stderr, "bench-epoll: listen on %s port %s: %s\n", addr, port,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(ai);
	return fd;
}

static int busy_poll(unsigned int usecs, unsigned int budget, bool prefer)
{
	struct epoll_params params = {
		.busy_poll_usecs = usecs,
		.busy_poll_budget = budget,
		.prefer_busy_poll = prefer,
	};

	if (ioctl(server.epoll, EPIOCSPARAMS, &params))
		return fail("epoll busy polling (EPIOCSPARAMS, Linux 6.9)");
	return 0;
}

static const char usage[] =
	"Usage: bench-epoll [OPTION]...\n"
	"An HTTP server on epoll that answers every request with the same response.\n"
	"\n"
	"  --addr ADDR     listen on this address (0.0.0.0)\n"
	"  --port PORT     listen on this port (8080)\n"
	"  --size N        respond with N bytes (64)\n"
	"  --binary        not HTTP but requests of 16 bytes that say how many bytes they want, up\n"
	"                  to the --size (apps/binary.h)\n"
	"  --reuseport     share the port with other processes, one for each processor\n"
	"  --busy-poll[=USECS]\n"
	"                  busy poll the NIC in epoll_wait() for so long (200); Linux 6.9\n"
	"  --prefer        with --busy-poll: keep the NIC's interrupt masked meanwhile; needs\n"
	"                  gro_flush_timeout and napi_defer_hard_irqs set on the NIC, or --defer\n"
	"  --budget N      with --busy-poll: packets per poll (the kernel's: 8); more than 64\n"
	"                  needs CAP_NET_ADMIN\n"
	"  --defer USECS   have the NAPI instances that connections come from defer interrupts by\n"
	"                  so long, a hundred times in a row; Linux 6.13, CAP_NET_ADMIN\n"
	"  --suspend       and have them suspended while there are events: --prefer --budget 64\n"
	"                  --defer 20, if not given; Linux 6.13, CAP_NET_ADMIN\n"
	"  --probe         do not serve: status 0, or 1 and what this kernel cannot\n"
	"  --help          show this\n";

static int number(const char *option, const char *text, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || *out > max) {
		fprintf(stderr, "bench-epoll: %s: not a number from 0 to %lu: %s\n", option, max,
			text);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	enum { BINARY = 256, DEFER, SUSPEND, PROBE };
	static const struct option options[] = {
		{ "addr", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 's' },
		{ "binary", no_argument, NULL, BINARY },
		{ "reuseport", no_argument, NULL, 'R' },
		{ "busy-poll", optional_argument, NULL, 'b' },
		{ "prefer", no_argument, NULL, 'P' },
		{ "budget", required_argument, NULL, 'B' },
		{ "defer", required_argument, NULL, DEFER },
		{ "suspend", no_argument, NULL, SUSPEND },
		{ "probe", no_argument, NULL, PROBE },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const char *addr = "0.0.0.0", *port = "8080";
	unsigned long size = 64, usecs = 0, budget = 0, defer = 0;
	bool prefer = false, suspend = false, binary = false, reuseport = false, probe = false;
	struct rlimit files;
	struct conn *conn;
	sigset_t stop;
	int opt, ret = 1;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'a':
			addr = optarg;
			break;
		case 'p':
			port = optarg;
			break;
		case 's':
			if (number("--size", optarg, 1ul << 30, &size))
				return 2;
			break;
		case 'b':
			usecs = 200;
			if (optarg && number("--busy-poll", optarg, 1000000, &usecs))
				return 2;
			break;
		case 'P':
			prefer = true;
			break;
		case 'B':
			if (number("--budget", optarg, 65535, &budget))
				return 2;
			break;
		case DEFER:
			if (number("--defer", optarg, 1000000, &defer))
				return 2;
			break;
		case SUSPEND:
			suspend = true;
			break;
		case PROBE:
			probe = true;
			break;
		case BINARY:
			binary = true;
			break;
		case 'R':
			reuseport = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try 'bench-epoll --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bench-epoll: unexpected argument: %s\n", argv[optind]);
		return 2;
	}

	if (suspend) {
		prefer = true;
		budget = budget ? budget : SUSPEND_BUDGET;
		defer = defer ? defer : SUSPEND_DEFER;
		server.napi.irq_suspend_ns = NAPI_SUSPEND_NS;
	}
	if (defer) {
		server.napi.defer_hard_irqs = NAPI_DEFER_IRQS;
		server.napi.gro_flush_ns = defer * 1000;
	}

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	sigemptyset(&stop);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	signal(SIGPIPE, SIG_IGN);	/* sendfile() has no MSG_NOSIGNAL */

	server.size = size;
	if (binary) {
		server.binary = malloc(size + 1);
		if (server.binary)
			memset(server.binary, 'x', size);
	}
	if (http_canned_fill(&server.canned, 200, "text/plain", 'x', size) ||
	    (binary && !server.binary)) {
		fail("out of memory");
		return 1;
	}
	if (make_file()) {
		fail("a file for the response");
		goto out;
	}
	server.listener = listen_on(addr, port, reuseport);
	if (server.listener < 0)
		goto out;
	server.epoll = epoll_create1(EPOLL_CLOEXEC);
	server.signals = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
	if (server.epoll < 0 || server.signals < 0 ||
	    watch(EPOLL_CTL_ADD, server.listener, EPOLLIN, &listener_tag) ||
	    watch(EPOLL_CTL_ADD, server.signals, EPOLLIN, &signal_tag)) {
		fail("epoll");
		goto out;
	}
	server.accepting = true;
	if ((usecs || suspend) && busy_poll(usecs, budget, prefer))
		goto out;
	if (defer && napi_open()) {
		fail("settings of a NAPI instance (netdev genl, napi-set: Linux 6.13)");
		goto out;
	}
	if (probe) {
		ret = 0;
		goto out;
	}

	printf("bench-epoll: %lu bytes on %s port %s", size, addr, port);
	if (usecs)
		printf(", busy polling %lu us%s", usecs, prefer ? ", preferred" : "");
	if (defer)
		printf(", interrupts deferred %lu us", defer);
	if (suspend)
		printf(", and suspended");
	printf("\n");
	fflush(stdout);
	ret = serve() ? 1 : 0;
	printf("bench-epoll: %llu requests on %llu connections\n",
	       (unsigned long long)server.requests, (unsigned long long)server.connections);
out:
	while (server.open)
		conn_close(server.open);
	while ((conn = server.spare)) {
		server.spare = conn->next;
		free(conn);
	}
	napi_close();
	if (server.signals >= 0)
		close(server.signals);
	if (server.epoll >= 0)
		close(server.epoll);
	if (server.listener >= 0)
		close(server.listener);
	if (server.file >= 0)
		close(server.file);
	http_canned_free(&server.canned);
	free(server.binary);
	return ret;
}
