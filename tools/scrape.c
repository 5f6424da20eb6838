// SPDX-License-Identifier: GPL-2.0
/*
 * scrape.c - stackmap metrics --listen: the metrics, for who asks by HTTP
 *
 * One request a connection, one connection at a time, and few seconds for each: there is one who asks, every
 * few seconds. Who may ask is up to the address, which is the loopback's if none is given.
 */
#include "metrics.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http.h"

#define CLIENT_MS	5000

struct client {
	int fd;
	long end;	/* of now_ms(): nobody waits for it longer */
	bool failed;
	bool answered;
};

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether it is ready before the client's time is over */
static bool wait_for(struct client *c, short what)
{
	struct pollfd p = { .fd = c->fd, .events = what };
	long left = c->end - now_ms();

	return left > 0 && poll(&p, 1, (int)left) == 1;
}

static void send_all(struct client *c, const char *p, size_t len)
{
	while (len && !c->failed) {
		ssize_t n = wait_for(c, POLLOUT) ? send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;

		if (n < 0) {
			c->failed = true;
			return;
		}
		p += n;
		len -= (size_t)n;
	}
}

static void answer(struct client *c, const struct http_request *req, int status, const char *type, const char *body,
		   size_t len)
{
	char head[HTTP_HEAD_MAX];
	size_t n = http_response_head(head, sizeof(head), status, len, type, HTTP_CLOSE, NULL);

	send_all(c, head, n);
	if (!req->is_head)
		send_all(c, body, len);
	c->answered = true;
}

static bool is_metrics(const struct http_request *req)
{
	static const char path[] = "/metrics";
	size_t n = sizeof(path) - 1;

	return req->target_len >= n && !memcmp(req->target, path, n) && (req->target_len == n || req->target[n] == '?');
}

static int on_request(void *arg, const struct http_request *req)
{
	static const char where[] = "the metrics are at /metrics\n";
	struct client *c = arg;
	char *text;
	size_t len;

	if (req->status == 100) {
		text = (char *)http_reply(NULL, req, &len);
		send_all(c, text, len);
		return 0;
	}
	if (req->status) {
		answer(c, req, req->status, NULL, "", 0);
		return 1;
	}
	if (!is_metrics(req)) {
		answer(c, req, 404, "text/plain", where, sizeof(where) - 1);
		return 1;
	}
	text = metrics_text(&len);
	if (text)
		answer(c, req, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
	else
		answer(c, req, 500, NULL, "", 0);
	free(text);
	return 1;
}

static void serve(int fd)
{
	struct client c = { .fd = fd, .end = now_ms() + CLIENT_MS };
	struct http_conn http;
	char buf[4096];

	http_conn_init(&http);
	http.files = true;	/* GET and HEAD only */
	while (!c.answered && !c.failed && wait_for(&c, POLLIN)) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n <= 0)
			break;
		http_feed(&http, buf, (size_t)n, on_request, &c);
	}
	http_conn_free(&http);
	shutdown(fd, SHUT_WR);
	/* Who is still sending would get a reset before the answer */
	while (wait_for(&c, POLLIN) && recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	close(fd);
}

/* [ADDR:]PORT, an IPv6 address in brackets. Returns a listener, or -1 and has said why */
static int listen_at(const char *where)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
	struct addrinfo *addr = NULL;
	char host[64] = "127.0.0.1";
	const char *port = strrchr(where, ':');
	int fd = -1, on = 1, err;

	if (port) {
		size_t n = (size_t)(port - where);
		bool six = n > 1 && where[0] == '[' && where[n - 1] == ']';

		if (n >= sizeof(host) || !n)
			goto unknown;
		snprintf(host, sizeof(host), "%.*s", (int)(six ? n - 2 : n), six ? where + 1 : where);
	}
	port = port ? port + 1 : where;
	err = getaddrinfo(host, port, &hints, &addr);
	if (err)
		goto unknown;
	fd = socket(addr->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, addr->ai_addr, addr->ai_addrlen) || listen(fd, 16)) {
		fprintf(stderr, "stackmap metrics: listening at %s: %s\n", where, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(addr);
	return fd;
unknown:
	fprintf(stderr, "stackmap metrics: --listen takes [ADDR:]PORT with numbers, as 127.0.0.1:9100 or [::1]:9100, not '%s'\n",
		where);
	return -1;
}

static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

int metrics_listen(const char *where)
{
	struct sigaction act = { .sa_handler = end };
	int listener = listen_at(where), fd;
	sigset_t signals, before;
	struct pollfd p;

	if (listener < 0)
		return 2;
	/* They come while it waits, and at no other time: nobody's answer is cut short */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, &before);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	p = (struct pollfd){ .fd = listener, .events = POLLIN };
	while (!ended) {
		if (ppoll(&p, 1, NULL, &before) != 1)
			continue;
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			serve(fd);
		} else if (errno != EAGAIN && errno != ECONNABORTED) {
			fprintf(stderr, "stackmap metrics: %s\n", strerror(errno));
			/* Descriptors or memory: somebody may give some back */
			sleep(1);
		}
	}
	close(listener);
	return 0;
}
