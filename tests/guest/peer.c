// SPDX-License-Identifier: GPL-2.0
/*
 * peer.c - what is at the other end of the tests' connections
 *
 * Commands; ADDR PORT is the test's listener, all are bounded:
 *   echo ADDR PORT SEED BYTES PIECE CONNS	send BYTES on each of CONNS connections at
 *		once, in pieces up to PIECE; all must come back; then FIN both ways
 *   short ADDR PORT N SEED PAR	N connections, one exchange each, one after the other
 *		in each of PAR processes
 *   churn ADDR PORT N SEED	N connections, up to 64 at once, in random order, closed
 *		by FIN, by RST or with an answer still to come
 *   flood ADDR PORT MS		as many short connections as fit, whatever happens to them
 *   idle ADDR PORT N MS	N connections at once, nothing for MS, one exchange on each, half of
 *		them end by RST
 *   reset ADDR PORT		one exchange, then RST
 *   linger ADDR PORT MS	one exchange, then wait for FIN or RST: "ok fin" or "ok rst"
 *   nobody ADDR PORT MS	never read: "ok fin" or "ok rst", by what poll() tells
 *   half ADDR PORT SEED BYTES	send BYTES, FIN, then read them all back and FIN
 *   pieces ADDR PORT SEED PIECE N FIRST	send PIECE bytes, N times, each after the last
 *		has come back: so each is a segment, or a few, of its own. FIRST of the
 *		bytes, if not 0, are sent before the others
 *   slow ADDR PORT SEED BYTES MS	ask for BYTES, do not read for MS, then read all
 *   target ADDR PORT N		listen ("ready"), echo on N connections, each until FIN
 *   rstarget ADDR PORT		listen ("ready"), accept one, reset it
 *   small ADDR PORT SEED BYTES RCVBUF MSS	as echo, on one connection with such a receive
 *		buffer and such an MSS
 *   ping ADDR N MS		"ok LOST MAX_RTT_MS"
 *   rtt ADDR PORT N MS		UDP round trips to an echo: "ok LOST MAX_US P99_US MEDIAN_US"
 *   datagrams ADDR PORT N	N of 100 bytes by UDP, which have their number, four bytes, 25 times
 *   link ADDR MS N		N times, take the carrier from the test's NIC for MS (SM_MONITOR
 *		names the socket of QEMU's monitor)
 * From addresses of nobody (see rawtcp.h), FROM, to ADDR:
 *   raw ADDR PORT SEED BYTES MANNER FROM	as echo, on one connection, in some MANNER
 *   syns ADDR PORT N RATE FROM	half-open connections
 *   refuse ADDR PORT CODE FROM	"ready", then answer a SYN to FROM, PORT with ICMP
 */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "rawtcp.h"

#define CONNS_MAX 1024
#define BLOCK 65536

static int ctl;

__attribute__((noreturn, format(printf, 1, 2))) static void answer(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	send_all(ctl, line, n);
	_exit(0);
}

static int must_connect(const char *addr, int port)
{
	int fd = try_connect(addr, port, 20000);

	if (fd < 0)
		answer("fail connect to %s %d: %s", addr, port, strerror(errno));
	return fd;
}

static void abort_conn(int fd)
{
	struct linger l = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void cmd_raw_is(const char *what, const char *err)
{
	if (err)
		answer("fail %s: %s", what, err);
	answer("ok");
}

static void tell_ready(void)
{
	send_all(ctl, "ready\n", 6);
}

struct stream {
	int fd;
	uint32_t seed;
	uint64_t sent;
	uint64_t got;
};

static void echo_write(struct stream *s, uint64_t bytes, uint32_t piece, uint32_t *state)
{
	static uint8_t block[BLOCK];
	uint64_t n = 1 + rnd(state) % piece;
	ssize_t k;

	if (n > bytes - s->sent)
		n = bytes - s->sent;
	if (n > BLOCK)
		n = BLOCK;
	pat_fill(block, s->seed, s->sent, n);
	k = send(s->fd, block, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (k < 0 && errno != EAGAIN)
		answer("fail echo: send after %llu: %s", (unsigned long long)s->sent,
		       strerror(errno));
	if (k > 0)
		s->sent += k;
	if (s->sent == bytes)
		shutdown(s->fd, SHUT_WR);
}

/* Returns whether the stream is over */
static bool echo_read(struct stream *s, uint64_t bytes)
{
	static uint8_t block[BLOCK];
	ssize_t k = recv(s->fd, block, sizeof(block), MSG_DONTWAIT);

	if (k < 0 && errno == EAGAIN)
		return false;
	if (k < 0)
		answer("fail echo: recv after %llu: %s", (unsigned long long)s->got,
		       strerror(errno));
	if (k == 0) {
		if (s->got != bytes)
			answer("fail echo: FIN after %llu of %llu", (unsigned long long)s->got,
			       (unsigned long long)bytes);
		return true;
	}
	if (s->got + k > s->sent || !pat_is(block, s->seed, s->got, k))
		answer("fail echo: wrong bytes at %llu + %zd", (unsigned long long)s->got, k);
	s->got += k;
	return false;
}

static void cmd_echo(const char *addr, int port, uint32_t seed, uint64_t bytes,
		     uint32_t piece, int n, int fd)
{
	static struct stream s[CONNS_MAX];
	static struct pollfd p[CONNS_MAX];
	uint32_t state = seed;
	int i, left = n;

	for (i = 0; i < n; i++) {
		s[i].fd = fd >= 0 ? fd : must_connect(addr, port);
		s[i].seed = seed + i * 7919;
		p[i].fd = s[i].fd;
		if (!bytes)
			shutdown(s[i].fd, SHUT_WR);
	}
	while (left) {
		for (i = 0; i < n; i++)
			p[i].events = POLLIN | (s[i].sent < bytes ? POLLOUT : 0);
		if (poll(p, n, 60000 * slow()) <= 0)
			answer("fail echo: %d of %d connections stuck, the first at %llu of %llu",
			       left, n, (unsigned long long)s[0].got, (unsigned long long)bytes);
		for (i = 0; i < n; i++) {
			if (p[i].revents & POLLOUT && s[i].sent < bytes)
				echo_write(&s[i], bytes, piece, &state);
			if (p[i].revents & (POLLIN | POLLERR | POLLHUP) &&
			    echo_read(&s[i], bytes)) {
				close(s[i].fd);
				p[i].fd = -1;
				left--;
			}
		}
	}
	answer("ok");
}

static void cmd_small(const char *addr, int port, uint32_t seed, uint64_t bytes, int rcvbuf,
		      int mss)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, addr, port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (rcvbuf)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
	if (mss && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)))
		answer("fail small: MSS: %s", strerror(errno));
	set_timeout(fd, 20000);
	if (connect(fd, (void *)&ss, len))
		answer("fail small: connect: %s", strerror(errno));
	cmd_echo(addr, port, seed, bytes, 999, 1, fd);
}

/* Send and get back @n bytes. False, with errno, when the connection fails */
static bool exchange(int fd, uint32_t seed, uint32_t n)
{
	uint8_t out[4096], in[4096];

	pat_fill(out, seed, 0, n);
	if (!send_all(fd, out, n) || !recv_all(fd, in, n))
		return false;
	if (memcmp(in, out, n))
		answer("fail exchange: wrong bytes, seed %u, %u bytes", seed, n);
	return true;
}

static void cmd_short(const char *addr, int port, int n, uint32_t state, int par)
{
	double start = mono();
	int i, fd, status;

	for (i = 1; i < par; i++) {
		if (fork() == 0) {
			state += i;
			ctl = -1;
			n /= par;
			par = 0;
			break;
		}
	}
	if (par > 1)
		n -= (par - 1) * (n / par);

	for (i = 0; i < n; i++) {
		fd = must_connect(addr, port);
		if (!exchange(fd, rnd(&state), 1 + rnd(&state) % 64))
			answer("fail short: exchange on connection %d: %s", i, strerror(errno));
		/* In turn: whoever closes first keeps TIME_WAIT */
		if (i % 2)
			abort_conn(fd);
		else
			close(fd);
	}
	if (!par)
		_exit(42);
	while (--par > 0)
		if (wait(&status) == -1 || WEXITSTATUS(status) != 42)
			answer("fail short: in another process");
	answer("ok in %.1f s", mono() - start);
}

static void cmd_churn(const char *addr, int port, int n, uint32_t state)
{
	int fds[64], i, opened = 0, open_now = 0;

	memset(fds, -1, sizeof(fds));
	while (opened < n || open_now) {
		i = rnd(&state) % 64;
		if (fds[i] < 0) {
			if (opened == n)
				continue;
			fds[i] = must_connect(addr, port);
			opened++;
			open_now++;
			continue;
		}
		switch (rnd(&state) % 8) {
		case 0:
			abort_conn(fds[i]);
			break;
		case 1:
			close(fds[i]);
			break;
		case 2:
			send(fds[i], "an echo that nobody reads", 25, MSG_NOSIGNAL);
			close(fds[i]);
			break;
		default:
			if (!exchange(fds[i], rnd(&state), 1 + rnd(&state) % 4096))
				answer("fail churn: exchange: %s", strerror(errno));
			continue;
		}
		fds[i] = -1;
		open_now--;
	}
	answer("ok");
}

static void cmd_flood(const char *addr, int port, int ms)
{
	double end = mono() + ms / 1e3;
	int fds[16], i, n = 0;
	char b[1024] = "";

	memset(fds, -1, sizeof(fds));
	while (mono() < end) {
		for (i = 0; i < 16; i++) {
			if (fds[i] < 0)
				fds[i] = try_connect(addr, port, 300);
			if (fds[i] < 0) {
				usleep(1000);
				continue;
			}
			if (send(fds[i], b, sizeof(b), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 || ++n % 8 == 0 ||
			    recv(fds[i], b, sizeof(b), MSG_DONTWAIT) == 0) {
				abort_conn(fds[i]);
				fds[i] = -1;
			}
		}
	}
	answer("ok %d", n);
}

static void cmd_idle(const char *addr, int port, int n, int ms)
{
	int *fds = calloc(n, sizeof(int)), i;

	for (i = 0; i < n; i++)
		fds[i] = must_connect(addr, port);
	usleep(ms * 1000);
	for (i = 0; i < n; i++) {
		if (!exchange(fds[i], i, 1 + i % 100))
			answer("fail idle: exchange on connection %d: %s", i, strerror(errno));
		if (i % 2)
			abort_conn(fds[i]);
		else
			close(fds[i]);
	}
	answer("ok");
}

static void cmd_reset(const char *addr, int port)
{
	int fd = must_connect(addr, port);

	if (!exchange(fd, 1, 16))
		answer("fail reset: exchange: %s", strerror(errno));
	abort_conn(fd);
	answer("ok");
}

static void cmd_linger(const char *addr, int port, int ms)
{
	int fd = must_connect(addr, port);
	char c;
	ssize_t k;

	if (!exchange(fd, 1, 16))
		answer("fail linger: exchange: %s", strerror(errno));
	set_timeout(fd, ms);
	k = recv(fd, &c, 1, 0);
	if (k > 0)
		answer("fail linger: more bytes");
	if (k == 0)
		answer("ok fin");
	answer(errno == ECONNRESET ? "ok rst" : "fail linger: %s", strerror(errno));
}

static void cmd_nobody(const char *addr, int port, int ms)
{
	int fd = must_connect(addr, port);
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	send_all(fd, "nobody reads this", 17);
	if (poll(&p, 1, ms) <= 0)
		answer("fail nobody: neither FIN nor RST");
	answer(p.revents & POLLERR ? "ok rst" : "ok fin");
}

static void cmd_half(const char *addr, int port, uint32_t seed, uint32_t bytes)
{
	int fd = must_connect(addr, port);
	uint8_t *b = malloc(bytes + 1);

	pat_fill(b, seed, 0, bytes);
	if (!send_all(fd, b, bytes))
		answer("fail half: send: %s", strerror(errno));
	shutdown(fd, SHUT_WR);
	if (!recv_all(fd, b, bytes) || !pat_is(b, seed, 0, bytes))
		answer("fail half: not the bytes sent: %s", strerror(errno));
	if (recv(fd, b, 1, 0) != 0)
		answer("fail half: no FIN");
	answer("ok");
}

static void cmd_pieces(const char *addr, int port, uint32_t seed, uint32_t piece, int n,
		       uint32_t first)
{
	int fd = must_connect(addr, port), i;
	uint8_t b[BLOCK];

	for (i = 0; i < n; i++) {
		pat_fill(b, seed, (uint64_t)i * piece, piece);
		if (!send_all(fd, b, first) || !send_all(fd, b + first, piece - first) ||
		    !recv_all(fd, b, piece))
			answer("fail pieces: piece %d of %u bytes: %s", i, piece, strerror(errno));
		if (!pat_is(b, seed, (uint64_t)i * piece, piece))
			answer("fail pieces: wrong bytes in piece %d of %u bytes", i, piece);
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, b, 1, 0) != 0)
		answer("fail pieces: no FIN");
	answer("ok");
}

static void cmd_slow(const char *addr, int port, uint32_t seed, uint64_t bytes, int ms)
{
	int fd = must_connect(addr, port);
	uint8_t b[BLOCK];
	uint64_t got = 0;
	ssize_t k;

	if (!send_all(fd, "go", 2))
		answer("fail slow: send: %s", strerror(errno));
	usleep(ms * 1000);
	while ((k = recv(fd, b, sizeof(b), 0)) > 0) {
		if (!pat_is(b, seed, got, k))
			answer("fail slow: wrong bytes at %llu", (unsigned long long)got);
		got += k;
	}
	if (k < 0)
		answer("fail slow: recv after %llu: %s", (unsigned long long)got, strerror(errno));
	if (got != bytes)
		answer("fail slow: %llu bytes of %llu", (unsigned long long)got,
		       (unsigned long long)bytes);
	answer("ok");
}

static int must_listen(const char *addr, int port)
{
	int fd = try_listen(addr, port);

	if (fd < 0)
		answer("fail listen: %s", strerror(errno));
	set_timeout(fd, 10000);
	send_all(ctl, "ready\n", 6);
	return fd;
}

static void cmd_target(const char *addr, int port, int n)
{
	int l = must_listen(addr, port);
	char b[BLOCK];
	ssize_t k;
	int fd;

	while (n--) {
		fd = accept(l, NULL, NULL);
		if (fd < 0)
			answer("fail target: accept: %s", strerror(errno));
		set_timeout(fd, 10000);
		while ((k = recv(fd, b, sizeof(b), 0)) > 0)
			if (!send_all(fd, b, k))
				answer("fail target: send: %s", strerror(errno));
		if (k < 0)
			answer("fail target: recv: %s", strerror(errno));
		close(fd);
	}
	answer("ok");
}

static void cmd_rstarget(const char *addr, int port)
{
	int fd = accept(must_listen(addr, port), NULL, NULL);

	if (fd < 0)
		answer("fail rstarget: accept: %s", strerror(errno));
	abort_conn(fd);
	answer("ok");
}

static void cmd_ping(const char *addr, int n, int ms)
{
	double min, avg, max = -1;
	char line[256];
	int got = 0;
	FILE *f;

	snprintf(line, sizeof(line), "bash -c 'ping -n -q -c %d -i %.3f -W 2 -w %d %s 2>&1'", n, ms / 1e3,
		 3 + n * ms / 1000, addr);
	f = popen(line, "r");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "%*d packets transmitted, %d received", &got);
		sscanf(line, "rtt min/avg/max/mdev = %lf/%lf/%lf", &min, &avg, &max);
	}
	/* (With a deadline it goes on until so many are answered: one more is where the first is late) */
	answer("ok %d %d", got < n ? n - got : 0, (int)(max + 0.999));
}

static int by_size(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void cmd_rtt(const char *addr, int port, int n, int ms)
{
	static int us[20000];
	int fd, i, got, lost = 0, have = 0;
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, addr, port);
	struct pollfd p = { .events = POLLIN };
	double sent;

	p.fd = fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n > 20000 || connect(fd, (void *)&ss, len))
		answer("fail rtt: connect: %s", strerror(errno));
	for (i = 0; i < n; i++) {
		sent = mono();
		send(fd, &i, sizeof(i), 0);
		do {
			got = -1;
			if (poll(&p, 1, 3000) <= 0 || recv(fd, &got, sizeof(got), 0) != sizeof(got))
				break;
		} while (got != i);
		if (got == i)
			us[have++] = (mono() - sent) * 1e6;
		else
			lost++;
		usleep(ms * 1000);
	}
	if (!have)
		answer("fail rtt: no answers");
	qsort(us, have, sizeof(us[0]), by_size);
	answer("ok %d %d %d %d", lost, us[have - 1], us[have * 99 / 100], us[have / 2]);
}

static void cmd_datagrams(const char *addr, int port, int n)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, addr, port);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int data[25], i, j;

	if (connect(fd, (void *)&ss, len))
		answer("fail datagrams: connect: %s", strerror(errno));
	for (i = 0; i < n; i++) {
		for (j = 0; j < 25; j++)
			data[j] = i;
		send(fd, data, sizeof(data), 0);
		/* Not more at once than what takes them can have */
		if (i % 16 == 15)
			usleep(5000);
	}
	answer("ok");
}

int peer_monitor(const char *line, FILE *out)
{
	const char *path = getenv("SM_MONITOR");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char said[4096];
	ssize_t n;

	strncpy(un.sun_path, path ? path : "", sizeof(un.sun_path) - 1);
	if (connect(fd, (void *)&un, sizeof(un))) {
		err = errno;
		close(fd);
		return err;
	}
	usleep(20000);
	send_all(fd, line, strlen(line));
	send_all(fd, "\n", 1);
	usleep(20000);
	while (out && poll(&p, 1, 500) > 0 && (n = recv(fd, said, sizeof(said), 0)) > 0)
		fwrite(said, 1, n, out);
	close(fd);
	return 0;
}

static void set_link(const char *what)
{
	char line[32];
	int err;

	snprintf(line, sizeof(line), "set_link n0 %s", what);
	err = peer_monitor(line, NULL);
	if (err)
		answer("ok no monitor: %s", strerror(err));
}

static void cmd_link(int ms, int n)
{
	for (; n > 0; n--) {
		set_link("off");
		usleep(ms * 1000);
		set_link("on");
		if (n > 1)
			usleep(ms * 1000);
	}
	answer("ok");
}

static void command(char *line)
{
	unsigned long v[4] = { 0 };
	char cmd[16], addr[64], *from = strrchr(line, ' ') + 1;
	int port;

	if (sscanf(line, "%15s %63s %d %lu %lu %lu %lu", cmd, addr, &port, &v[0], &v[1], &v[2],
		   &v[3]) < 3)
		answer("fail: what is '%s'?", line);
	if (!strcmp(cmd, "echo") && v[3] <= CONNS_MAX && v[2])
		cmd_echo(addr, port, v[0], v[1], v[2], v[3], -1);
	if (!strcmp(cmd, "short"))
		cmd_short(addr, port, v[0], v[1], v[2]);
	if (!strcmp(cmd, "churn"))
		cmd_churn(addr, port, v[0], v[1]);
	if (!strcmp(cmd, "flood"))
		cmd_flood(addr, port, v[0]);
	if (!strcmp(cmd, "idle"))
		cmd_idle(addr, port, v[0], v[1]);
	if (!strcmp(cmd, "reset"))
		cmd_reset(addr, port);
	if (!strcmp(cmd, "linger"))
		cmd_linger(addr, port, v[0]);
	if (!strcmp(cmd, "nobody"))
		cmd_nobody(addr, port, v[0]);
	if (!strcmp(cmd, "half"))
		cmd_half(addr, port, v[0], v[1]);
	if (!strcmp(cmd, "pieces") && v[1] <= BLOCK && v[3] < v[1])
		cmd_pieces(addr, port, v[0], v[1], v[2], v[3]);
	if (!strcmp(cmd, "slow"))
		cmd_slow(addr, port, v[0], v[1], v[2]);
	if (!strcmp(cmd, "target"))
		cmd_target(addr, port, v[0]);
	if (!strcmp(cmd, "rstarget"))
		cmd_rstarget(addr, port);
	if (!strcmp(cmd, "ping"))
		cmd_ping(addr, port, v[0]);
	if (!strcmp(cmd, "small"))
		cmd_small(addr, port, v[0], v[1], v[2], v[3]);
	if (!strcmp(cmd, "rtt"))
		cmd_rtt(addr, port, v[0], v[1]);
	if (!strcmp(cmd, "datagrams"))
		cmd_datagrams(addr, port, v[0]);
	if (!strcmp(cmd, "link"))
		cmd_link(port, v[0]);
	if (!strcmp(cmd, "raw"))
		cmd_raw_is(cmd, raw_echo(from, addr, port, v[2], v[0], v[1]));
	if (!strcmp(cmd, "syns"))
		cmd_raw_is(cmd, raw_syns(from, addr, port, v[0], v[1]));
	if (!strcmp(cmd, "refuse")) {
		raw_ready = tell_ready;
		cmd_raw_is(cmd, raw_refuse(from, addr, port, v[0]));
	}
	answer("fail: what is '%s'?", line);
}

static void serve_one(int fd)
{
	char line[256];
	int n = 0;

	ctl = fd;
	alarm(120 * slow());
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	while (n < (int)sizeof(line) - 1 && recv(fd, line + n, 1, 0) == 1) {
		if (line[n] == '\n') {
			line[n] = 0;
			command(line);
		}
		n++;
	}
	_exit(0);
}

int peer_serve(const char *host)
{
	int l = try_listen(host, PEER_PORT);
	int fd;

	if (l < 0) {
		perror("peer: listen");
		return 1;
	}
	signal(SIGCHLD, SIG_IGN);
	while ((fd = accept(l, NULL, NULL)) >= 0 || errno == EINTR || errno == ECONNABORTED) {
		if (fd < 0)
			continue;
		if (fork() == 0) {
			close(l);
			serve_one(fd);
		}
		close(fd);
	}
	perror("peer: accept");
	return 1;
}
