// SPDX-License-Identifier: GPL-2.0
/*
 * net.c - plain sockets, patterns and time, for tests and peers alike
 */
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

double mono(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int number_of(const char *name)
{
	const char *s = getenv(name);

	return s && atoi(s) > 0 ? atoi(s) : 1;
}

int slow(void)
{
	static int times;

	if (!times)
		times = number_of("SM_SLOW");
	return times;
}

int few(int many)
{
	many /= number_of("SM_FEW");
	return many ? many : 1;
}

uint32_t rnd(uint32_t *state)
{
	uint32_t x = *state ? *state : 1;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

void pat_fill(uint8_t *to, uint32_t seed, uint64_t at, size_t n)
{
	while (n--)
		*to++ = pat(seed, at++);
}

bool pat_is(const uint8_t *p, uint32_t seed, uint64_t at, size_t n)
{
	while (n--)
		if (*p++ != pat(seed, at++))
			return false;
	return true;
}

socklen_t addr_of(struct sockaddr_storage *ss, const char *host, int port)
{
	struct sockaddr_in6 *a6 = (void *)ss;
	struct sockaddr_in *a4 = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (strchr(host, ':')) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons(port);
		inet_pton(AF_INET6, host, &a6->sin6_addr);
		return sizeof(*a6);
	}
	a4->sin_family = AF_INET;
	a4->sin_port = htons(port);
	inet_pton(AF_INET, host, &a4->sin_addr);
	return sizeof(*a4);
}

int try_listen(const char *host, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, host, port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len) || listen(fd, 1024)) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int try_connect(const char *host, int port, int ms)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, host, port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	int one = 1;

	if (fd < 0)
		return -1;
	tv.tv_sec *= slow();
	/* SO_SNDTIMEO bounds connect(), too */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (void *)&ss, len)) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

bool send_all(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		p = (const char *)p + k;
		n -= k;
	}
	return true;
}

bool recv_all(int fd, void *p, size_t n)
{
	while (n) {
		ssize_t k = recv(fd, p, n, 0);

		if (k <= 0)
			return false;
		p = (char *)p + k;
		n -= k;
	}
	return true;
}

void nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void set_timeout(int fd, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000 * slow(), .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

int port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (void *)&ss, &len))
		return -1;
	/* The port is in the same place in both families */
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}
