// SPDX-License-Identifier: GPL-2.0
/*
 * killed.c - what write() has returned for arrives, though the server is killed in the middle of it
 *
 *   killed server PORT FILE    answers each request of 8 bytes with 100, and counts in FILE, which it shares, what
 *                              write() has returned for on each connection
 *   killed client ADDRESS PORT CONNECTIONS FILE
 *                              sends requests on each until the server has gone, and prints for each connection how
 *                              many bytes have come. FILE: where to say that the load runs
 *
 * The server is an ordinary program on epoll; whoever compares the two kills it between.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS	64
#define ASK	8
#define ANSWER	100

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "killed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void answer(int fd, uint64_t *count)
{
	static const char data[ANSWER * 512];
	char buf[ASK * 512];
	ssize_t n, done;

	n = read(fd, buf, sizeof(buf));
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(fd);
		return;
	}
	/* Requests may come in pieces: what is counted is what is written */
	for (done = 0; done < n / ASK * ANSWER;) {
		ssize_t m = write(fd, data, (size_t)(n / ASK * ANSWER - done));

		if (m < 0)
			return;
		done += m;
		__atomic_fetch_add(count, (uint64_t)m, __ATOMIC_RELEASE);
	}
}

static void server(int port, const char *path)
{
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(0), file;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = CONNS }, evs[CONNS + 1];
	int fds[CONNS], nconns = 0;
	uint64_t *counts;

	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || ftruncate(file, CONNS * sizeof(*counts)))
		die(path);
	counts = mmap(NULL, CONNS * sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (counts == MAP_FAILED || bind(l, (void *)&a, sizeof(a)) || listen(l, CONNS) ||
	    epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev))
		die("listen");
	for (;;) {
		int i, n = epoll_wait(ep, evs, CONNS + 1, -1);

		for (i = 0; i < n; i++) {
			if (evs[i].data.u64 < CONNS) {
				answer(fds[evs[i].data.u64], &counts[evs[i].data.u64]);
				continue;
			}
			if (nconns == CONNS)
				die("too many connections");
			fds[nconns] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
			ev.data.u64 = (uint64_t)nconns;
			if (fds[nconns] < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fds[nconns++], &ev))
				die("accept");
		}
	}
}

static void client(const char *addr, int port, int n, const char *path)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct epoll_event ev = { .events = EPOLLIN }, evs[CONNS];
	int fds[CONNS], ep = epoll_create1(0), i, left = n, one = 1;
	uint64_t got[CONNS] = { 0 }, sum = 0;
	char buf[65536];

	alarm(60);
	inet_pton(AF_INET, addr, &a.sin_addr);
	/* One after the other, so that the server counts them in this order */
	for (i = 0; i < n; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		ev.data.u32 = (uint32_t)i;
		if (connect(fds[i], (void *)&a, sizeof(a)) ||
		    setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
		    epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev) ||
		    send(fds[i], "request", ASK, MSG_NOSIGNAL) != ASK || recv(fds[i], buf, ANSWER, MSG_WAITALL) != ANSWER)
			die("connect");
		got[i] = ANSWER;
	}
	for (i = 0; i < n; i++)
		send(fds[i], "request", ASK, MSG_NOSIGNAL);
	while (left) {
		int j, m = epoll_wait(ep, evs, CONNS, -1);

		for (j = 0; j < m; j++) {
			uint32_t c = evs[j].data.u32;
			ssize_t k = recv(fds[c], buf, sizeof(buf), MSG_DONTWAIT);

			if (k > 0) {
				/*
				 * One under way: of one that has payload which nobody has read the
				 * kernel sends a reset, and what was not sent yet is lost with that
				 */
				if ((got[c] + (uint64_t)k) / ANSWER != got[c] / ANSWER)
					send(fds[c], "request", ASK, MSG_NOSIGNAL);
				got[c] += (uint64_t)k;
				sum += (uint64_t)k;
				if (path && sum > 200 * ANSWER) {
					close(open(path, O_WRONLY | O_CREAT, 0600));
					path = NULL;
				}
			} else if (!k || errno != EAGAIN) {
				epoll_ctl(ep, EPOLL_CTL_DEL, fds[c], NULL);
				left--;
			}
		}
	}
	for (i = 0; i < n; i++)
		printf("%llu\n", (unsigned long long)got[i]);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "server"))
		server(atoi(argv[2]), argv[3]);
	if (argc == 6 && !strcmp(argv[1], "client") && atoi(argv[4]) <= CONNS) {
		client(argv[2], atoi(argv[3]), atoi(argv[4]), argv[5]);
		return 0;
	}
	fputs("usage: killed server PORT FILE | client ADDRESS PORT CONNECTIONS FILE\n", stderr);
	return 2;
}
