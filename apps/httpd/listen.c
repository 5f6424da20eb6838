// SPDX-License-Identifier: GPL-2.0
/*
 * listen.c - the listening socket, and accepting from it
 */
#define _GNU_SOURCE 1

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "httpd.h"

#define BACKLOG	65535	/* the kernel cuts it to net.core.somaxconn */

/* Accepted sockets inherit the options */
static int listen_addr(const struct sockaddr *addr, socklen_t len, bool reuseport)
{
	int on = 1, off = 0, fd, err;

	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on))) ||
	    (addr->sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off))) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
	    bind(fd, addr, len) ||
	    listen(fd, BACKLOG)) {
		err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

static int listen_any(unsigned int port, bool reuseport)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd;

	fd = listen_addr((struct sockaddr *)&any6, sizeof(any6), reuseport);
	if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		fd = listen_addr((struct sockaddr *)&any4, sizeof(any4), reuseport);
	return fd;
}

static const char *listen_hint(int err)
{
	switch (err) {
	case EADDRINUSE:
		return ": stop who has it (ss -ltnp), or choose another with --port";
	case EADDRNOTAVAIL:
		return ": no interface has this address (ip address)";
	case EACCES:
		return ": run as root, or choose a port from 1024 on";
	default:
		return "";
	}
}

/* Returns the socket, or -1 and has said why. addr NULL: any, of both families */
int listen_on(const char *addr, unsigned int port, bool reuseport)
{
	struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	char name[16];
	int fd, err;

	if (addr) {
		snprintf(name, sizeof(name), "%u", port);
		if (getaddrinfo(addr, name, &hints, &ai)) {
			fprintf(stderr, "stackmap-httpd: --addr %s is not a numeric address, of"
				" IPv4 or IPv6\n", addr);
			return -1;
		}
		fd = listen_addr(ai->ai_addr, ai->ai_addrlen, reuseport);
		err = errno;
		freeaddrinfo(ai);
	} else {
		fd = listen_any(port, reuseport);
		err = errno;
	}
	if (fd < 0)
		fprintf(stderr, "stackmap-httpd: cannot listen on %s port %u: %s%s\n",
			addr ? addr : "any address,", port, strerror(err), listen_hint(err));
	return fd;
}

/*
 * A listener that an administrator has shut down (ss -K) keeps its port, which this program may
 * have no right to bind any more. It is shut down for sending and receiving, though, as its connections
 * would be: connect(AF_UNSPEC) ends that.
 */
static int listen_again(void)
{
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	socklen_t len = sizeof(int);
	int listening = 1;

	if (getsockopt(server.listener, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) || listening)
		return 0;
	if (connect(server.listener, &unspec, sizeof(unspec)))
		return -1;
	return listen(server.listener, BACKLOG);
}

/* Hear of connections, again */
int listener_start(void)
{
	if (listen_again())
		return -1;
	/* A module older than 0.2 does not know the first of the two */
	if ((server.descriptors || !stackmap_attach_listener(server.port, server.listener, 0)) &&
	    !stackmap_attach(server.port, server.listener, 0))
		return -1;
	server.accepting = true;
	server.crowded = false;
	return 0;
}

/*
 * A listener is reported as long as connections wait, so one that cannot be served must not be
 * attached. The main loop tries again with every tick; if there are too many connections, it closes some
 * that were idle before.
 */
static void listener_stop(const char *why, bool crowded)
{
	static _Thread_local bool said;

	if (!said)
		fprintf(stderr, "stackmap-httpd: %s (%u connections): new ones wait. Said once.\n", why,
			server.nconns);
	said = true;
	stackmap_detach(server.port, server.listener);	/* or it was already */
	server.accepting = false;
	server.crowded = crowded;
}

/* A connection that has come in a slot */
void accept_one(struct stackmap_slot *slot)
{
	if (!conn_open(-1, slot))
		stackmap_refuse(server.port, slot);
}

/* After a batch of these: the rest wait if there are too many */
void accept_enough(void)
{
	if (__builtin_expect(server.accepting && server.nconns >= server.max_conns, 0))
		listener_stop("as many connections as the limit of open files allows", true);
}

void accept_all(void)
{
	while (server.accepting) {
		int fd;

		if (server.nconns >= server.max_conns) {
			listener_stop("as many connections as the limit of open files allows", true);
			return;
		}
		fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			switch (errno) {
			case EAGAIN:
				return;
			/* What happened to the connection meanwhile: accept(2) */
			case EINTR:
			case ECONNABORTED:
			case ENETDOWN:
			case EPROTO:
			case ENOPROTOOPT:
			case EHOSTDOWN:
			case ENONET:
			case EHOSTUNREACH:
			case ENETUNREACH:
			case ETIMEDOUT:
				continue;
			default:
				listener_stop(strerror(errno), errno == EMFILE || errno == ENFILE ||
					      errno == ENOBUFS || errno == ENOMEM);
				return;
			}
		}
		if (!conn_open(fd, NULL))
			close(fd);
	}
}
