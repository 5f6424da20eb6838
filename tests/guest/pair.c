// SPDX-License-Identifier: GPL-2.0
/*
 * pair.c - connected TCP sockets in one process, and descriptors for others
 */
#include "pair.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "tap.h"

void pair_from(int listener, int fd[2])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int one = 1;

	CHECK(!getsockname(listener, (void *)&ss, &len));
	fd[1] = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECKF(fd[1] >= 0, "%s", strerror(errno));
	setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	CHECKF(!connect(fd[1], (void *)&ss, len), "%s", strerror(errno));
	fd[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECKF(fd[0] >= 0, "%s", strerror(errno));
}

void pair_tcp(int fd[2], int family)
{
	int l = try_listen(family == AF_INET ? "127.0.0.1" : "::1", 0);

	CHECKF(l >= 0, "%s", strerror(errno));
	pair_from(l, fd);
	close(l);
}

void pair_send_fd(int sock, int fd)
{
	char ctl[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl,
			    .msg_controllen = sizeof(ctl) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	CHECK(sendmsg(sock, &m, 0) == 1);
}

int pair_recv_fd(int sock)
{
	char b, ctl[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { .iov_base = &b, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl,
			    .msg_controllen = sizeof(ctl) };
	int fd;

	CHECK(recvmsg(sock, &m, 0) == 1 && CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}
