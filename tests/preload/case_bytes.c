// SPDX-License-Identifier: GPL-2.0
/*
 * case_bytes.c - scenarios of reading and writing
 */
#include "ops.h"

#include <limits.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>
#include <linux/sockios.h>

static void told_and_read(struct side *s)
{
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 5; i++) {
		peer_says(s, 100 + (size_t)i);
		wait_for(s, 8, 1000);
		app_hears(s, 1000);
		app_hears(s, 1000);
		wait_ep(s, s->ep, 8, 0);
	}
	must_be_fast(s, "in the end");
}

static void echo(struct side *s)
{
	char buf[512];
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 30; i++) {
		long n;

		peer_says(s, 1 + (size_t)i * 17 % 400);
		wait_for(s, 8, 1000);
		n = NOTE_IO(s, read(s->app, buf, sizeof(buf)));
		if (n <= 0)
			break;
		NOTE_OUT(s, write(s->app, buf, (size_t)n));
		peer_hears(s, (size_t)n);
	}
	must_be_fast(s, "in the end");
}

/* The file has 3000 bytes of the stream's beginning */
static int a_file(void)
{
	char path[] = "/tmp/same-XXXXXX", buf[3000];
	int fd = mkstemp(path);

	pattern(buf, sizeof(buf), 0, 0);
	unlink(path);
	if (write(fd, buf, sizeof(buf)) != sizeof(buf) || lseek(fd, 0, SEEK_SET))
		return -1;
	return fd;
}

static void ways_to_write(struct side *s)
{
	char a[300], b[200];
	struct iovec iov[] = { { NULL, 0 }, { a, 100 }, { a + 100, 0 }, { b, 77 }, { a + 100, 200 }, { NULL, 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 6 };
	struct sockaddr_in nowhere = { .sin_family = AF_INET };
	int fd = a_file(), null;
	off_t off = 1000;

	pattern(a, sizeof(a), 5, 0);
	pattern(b, sizeof(b), 6, 0);
	arm(s, EPOLLIN);
	NOTE_OUT(s, write(s->app, a, 300));
	NOTE_OUT(s, writev(s->app, iov, 6));
	NOTE_OUT(s, writev(s->app, iov, 0));
	NOTE_OUT(s, writev(s->app, iov, 1));
	NOTE_OUT(s, send(s->app, b, 200, 0));
	NOTE_OUT(s, send(s->app, b, 200, MSG_NOSIGNAL | MSG_DONTWAIT));
	NOTE_OUT(s, send(s->app, b, 100, MSG_MORE));
	NOTE_OUT(s, send(s->app, b + 100, 100, MSG_MORE | MSG_DONTWAIT));
	NOTE_OUT(s, sendto(s->app, a, 50, 0, NULL, 0));
	NOTE_OUT(s, sendto(s->app, a, 50, 0, (struct sockaddr *)&nowhere, sizeof(nowhere)));
	NOTE_OUT(s, sendmsg(s->app, &msg, 0));
	msg.msg_iovlen = 0;
	NOTE_OUT(s, sendmsg(s->app, &msg, 0));
	NOTE_OUT(s, sendfile(s->app, fd, NULL, 1200));
	NOTE_VALUE(s, "where the file is", lseek(fd, 0, SEEK_CUR));
	NOTE_OUT(s, sendfile(s->app, fd, &off, 500));
	NOTE_VALUE(s, "the offset", off);
	NOTE_VALUE(s, "where the file is", lseek(fd, 0, SEEK_CUR));
	/* Past its end */
	NOTE_OUT(s, sendfile(s->app, fd, NULL, 5000));
	NOTE_OUT(s, sendfile(s->app, fd, NULL, 5000));
	off = 2900;
	NOTE_OUT(s, sendfile(s->app, fd, &off, 5000));
	NOTE_VALUE(s, "the offset", off);
	NOTE_OUT(s, sendfile(s->app, fd, &off, 0));
	off = -1;
	NOTE_OUT(s, sendfile(s->app, fd, &off, 10));
	NOTE_OUT(s, sendfile(s->app, -1, NULL, 10));
	NOTE_OUT(s, sendfile(s->app, -1, NULL, 0));
	must_be_fast(s, "after all of these");
	NOTE_OUT(s, sendfile(s->app, s->peer, NULL, 10));
	null = open("/dev/null", O_RDONLY);
	NOTE_OUT(s, sendfile(s->app, null, NULL, 10));
	close(null);
	NOTE_OUT(s, write(s->app, a, 1));
	peer_hears(s, s->sent);
	close(fd);
}

static void ways_to_read(struct side *s)
{
	char a[300], b[40], control[64];
	struct iovec iov[] = { { NULL, 0 }, { a, 10 }, { a + 100, 0 }, { b, 40 }, { a + 10, 100 }, { NULL, 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 6 };
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);

	arm(s, EPOLLIN);
	peer_says(s, 2000);
	wait_for(s, 8, 1000);
	memset(a, 0, sizeof(a));
	NOTE_IO(s, read(s->app, a, 50));
	seen(s, a, sizeof(a));
	NOTE_IO(s, readv(s->app, iov, 6));
	seen(s, a, sizeof(a));
	seen(s, b, sizeof(b));
	NOTE_IO(s, recv(s->app, a, 60, MSG_DONTWAIT));
	seen(s, a, sizeof(a));
	memset(&from, 0x55, sizeof(from));
	NOTE_IO(s, recvfrom(s->app, a, 70, 0, (struct sockaddr *)&from, &len));
	seen(s, a, sizeof(a));
	seen(s, &from, sizeof(from));
	NOTE_VALUE(s, "the address's length", len);
	NOTE_IO(s, recvfrom(s->app, a, 70, 0, NULL, NULL));
	seen(s, a, sizeof(a));
	msg.msg_name = &from;
	msg.msg_namelen = sizeof(from);
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	msg.msg_flags = 0x7fff;
	NOTE_IO(s, recvmsg(s->app, &msg, 0));
	seen(s, a, sizeof(a));
	seen(s, b, sizeof(b));
	NOTE_VALUE(s, "msg_namelen", msg.msg_namelen);
	NOTE_VALUE(s, "msg_controllen", msg.msg_controllen);
	NOTE_VALUE(s, "msg_flags", msg.msg_flags);
	NOTE_IO(s, recvmsg(s->app, &msg, MSG_CMSG_CLOEXEC));
	NOTE_VALUE(s, "msg_flags with MSG_CMSG_CLOEXEC", msg.msg_flags);
	NOTE_IO(s, recv(s->app, a, 300, MSG_WAITALL | MSG_DONTWAIT));
	seen(s, a, sizeof(a));
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	must_be_fast(s, "before the rest");
	do
		app_hears(s, 300);
	while (s->log[s->n - 1].ret > 0);
	/* And with nothing there */
	NOTE_IO(s, readv(s->app, iov, 6));
	len = sizeof(from);
	NOTE_IO(s, recvfrom(s->app, a, 70, 0, (struct sockaddr *)&from, &len));
	NOTE_VALUE(s, "the address's length", len);
	msg.msg_namelen = sizeof(from);
	NOTE_IO(s, recvmsg(s->app, &msg, 0));
	NOTE_VALUE(s, "msg_namelen", msg.msg_namelen);
	NOTE_IO(s, recv(s->app, a, 300, MSG_WAITALL));
}

static void peeking(struct side *s)
{
	char a[1000];
	struct iovec iov[] = { { a, 7 }, { a + 7, 0 }, { a + 7, 300 } };
	int i;

	arm(s, EPOLLIN);
	peer_says(s, 200);
	wait_for(s, 8, 1000);
	for (i = 0; i < 3; i++) {
		memset(a, 0, sizeof(a));
		NOTE_IO(s, recv(s->app, a, 50 + (size_t)i * 200, MSG_PEEK));
		seen(s, a, sizeof(a));
	}
	app_hears(s, 30);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	memset(a, 0, sizeof(a));
	NOTE_IO(s, recvmsg(s->app, &(struct msghdr){ .msg_iov = iov, .msg_iovlen = 3 }, MSG_PEEK));
	seen(s, a, sizeof(a));
	NOTE_IO(s, recv(s->app, a, sizeof(a), MSG_PEEK | MSG_WAITALL));
	seen(s, a, 270);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	wait_ep(s, s->ep, 8, 0);
	must_be_fast(s, "after peeking");
	app_hears(s, sizeof(a));
	NOTE_IO(s, recv(s->app, a, sizeof(a), MSG_PEEK));
	peer_ends(s);
	wait_for(s, 8, 1000);
	NOTE_IO(s, recv(s->app, a, sizeof(a), MSG_PEEK));
	NOTE_IO(s, recv(s->app, a, sizeof(a), MSG_PEEK));
	app_hears(s, 10);
}

/* More than one receive slot has, before it is copied and after */
static void peeking_far(struct side *s)
{
	static char a[12000];
	int i;

	arm(s, EPOLLIN);
	peer_says(s, 9000);
	wait_for(s, 8, 1000);
	for (i = 0; i < 3; i++) {
		memset(a, 0, sizeof(a));
		NOTE_IO(s, recv(s->app, a, 3000 + (size_t)i * 4000, MSG_PEEK));
		seen(s, a, sizeof(a));
		NOTE_IO(s, recv(s->app, a, 1700, 0));
		seen(s, a, sizeof(a));
		if (i == 1)
			wait_ep(s, s->ep, 8, 0);
	}
	peer_says(s, 5000);
	wait_for(s, 8, 1000);
	NOTE_IO(s, recv(s->app, a, sizeof(a), MSG_PEEK));
	seen(s, a, 5000 + 9000 - 3 * 1700);
	must_be_fast(s, "after peeking");
	NOTE_IO(s, recv(s->app, a, 6000, MSG_TRUNC));
	app_hears(s, sizeof(a));
}

static void truncating(struct side *s)
{
	char a[100];

	arm(s, EPOLLIN);
	peer_says(s, 500);
	wait_for(s, 8, 1000);
	app_hears(s, 100);
	memset(a, 0x33, sizeof(a));
	NOTE_IO(s, recv(s->app, a, 50, MSG_TRUNC));
	seen(s, a, sizeof(a));
	NOTE_IO(s, recv(s->app, NULL, 50, MSG_TRUNC));
	NOTE_IO(s, recv(s->app, a, 50, MSG_TRUNC | MSG_PEEK));
	app_hears(s, 100);
	wait_ep(s, s->ep, 8, 0);
	must_be_fast(s, "again, after MSG_TRUNC");
	app_hears(s, 1000);
	NOTE_IO(s, recv(s->app, a, 50, MSG_TRUNC));
}

static void of_no_length(struct side *s)
{
	struct iovec none = { NULL, 0 };
	struct msghdr msg = { .msg_iov = &none, .msg_iovlen = 1 };
	char a[16];
	int i;

	arm(s, EPOLLIN);
	/* With nothing there, with something, and after the end */
	for (i = 0; i < 3; i++) {
		if (i == 1)
			peer_says(s, 10);
		if (i == 2)
			peer_ends(s);
		wait_for(s, 8, 0);
		NOTE_IO(s, read(s->app, a, 0));
		NOTE_IO(s, read(s->app, NULL, 0));
		NOTE_IO(s, readv(s->app, &none, 1));
		NOTE_IO(s, readv(s->app, NULL, 0));
		NOTE_IO(s, recv(s->app, a, 0, 0));
		NOTE_IO(s, recv(s->app, a, 0, MSG_PEEK));
		NOTE_IO(s, recv(s->app, a, 0, MSG_WAITALL));
		NOTE_IO(s, recvmsg(s->app, &msg, 0));
		NOTE_OUT(s, write(s->app, a, 0));
		NOTE_OUT(s, write(s->app, NULL, 0));
		NOTE_OUT(s, send(s->app, a, 0, 0));
		NOTE_OUT(s, sendmsg(s->app, &msg, 0));
		app_hears(s, 100);
	}
}

static void wrong_arguments(struct side *s)
{
	char a[16] = "";
	struct iovec huge[] = { { a, 8 }, { a, SIZE_MAX / 2 }, { a, SIZE_MAX / 2 } };
	struct iovec *many = calloc(IOV_MAX + 1, sizeof(*many));
	struct msghdr msg = { .msg_iov = many, .msg_iovlen = IOV_MAX + 1 };
	int i;

	arm(s, EPOLLIN);
	peer_says(s, 100);
	wait_for(s, 8, 1000);
	for (i = 0; i <= IOV_MAX; i++)
		many[i] = (struct iovec){ a, 1 };
	NOTE_IO(s, readv(s->app, many, -1));
	NOTE_IO(s, readv(s->app, many, IOV_MAX + 1));
	NOTE_IO(s, recvmsg(s->app, &msg, 0));
	NOTE_OUT(s, writev(s->app, many, -1));
	NOTE_OUT(s, writev(s->app, many, IOV_MAX + 1));
	NOTE_OUT(s, sendmsg(s->app, &msg, 0));
	NOTE_IO(s, readv(s->app, huge, 3));
	NOTE_OUT(s, writev(s->app, huge, 3));
	NOTE_IO(s, pread(s->app, a, 4, 0));
	NOTE_OUT(s, pwrite(s->app, a, 4, 0));
	NOTE(s, lseek(s->app, 0, SEEK_CUR));
	NOTE_IO(s, recv(s->app, a, 4, MSG_ERRQUEUE));
	NOTE_IO(s, recv(s->app, a, 4, MSG_OOB));
	wait_ep(s, s->ep, 8, 0);
	app_hears(s, 1000);
	NOTE_OUT(s, writev(s->app, many, IOV_MAX));
	peer_hears(s, s->sent);
	free(many);
}

static void one_by_one(struct side *s)
{
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 40; i++)
		peer_says(s, 1 + (size_t)i % 3);
	wait_for(s, 8, 1000);
	for (i = 0; i < 60; i++)
		app_hears(s, 1);
	wait_ep(s, s->ep, 8, 0);
	app_hears(s, 1000);
	for (i = 0; i < 40; i++)
		app_says(s, 1 + (size_t)i % 3);
	peer_hears(s, s->sent);
	must_be_fast(s, "in the end");
}

static void large_ones(struct side *s)
{
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 6; i++) {
		uint64_t before = s->peer_sent, got = 0;

		peer_says(s, 24000);
		while (got < s->peer_sent - before) {
			wait_for(s, 8, 1000);
			app_hears(s, 40000);
			if (s->log[s->n - 1].ret <= 0)
				break;
			got += (uint64_t)s->log[s->n - 1].ret;
		}
		app_says(s, 24000);
		peer_hears(s, 24000);
	}
	must_be_fast(s, "in the end");
}

static int corked(const struct side *s)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(s->app, IPPROTO_TCP, TCP_CORK, &value, &len) ? -1 : value;
}

/* A head and a file, as web servers send them; and one that lies corked when something else happens */
static void cork(struct side *s)
{
	struct pollfd nothing = { .fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN };
	int on = 1, off = 0, fd = a_file(), i;
	char c[2] = "";

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		off_t at = 1000;

		NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
		app_says(s, 100);
		NOTE_OUT(s, sendfile(s->app, fd, &at, 1900));
		NOTE_VALUE(s, "the offset", at);
		NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
		peer_hears(s, 2000);
	}
	must_be_fast(s, "in between");
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	NOTE_VALUE(s, "it is corked", corked(s));
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
	NOTE_VALUE(s, "it is corked", corked(s));
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	NOTE_VALUE(s, "it is corked", corked(s));
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
	NOTE_VALUE(s, "it is corked after it was twice", corked(s));
	/* Nobody hears of it here for longer than it takes until the ring is sent from; then one that waits for others */
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	app_says(s, 100);
	ms_sleep(15);
	NOTE(s, recv(s->peer, c, 1, MSG_DONTWAIT | MSG_PEEK));
	app_says(s, 100);
	NOTE(s, poll(&nothing, 1, 15));
	NOTE(s, recv(s->peer, c, 1, MSG_DONTWAIT | MSG_PEEK));
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
	peer_hears(s, 200);
	/* The wait comes before the end */
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	app_says(s, 100);
	wait_for(s, 8, 20);
	NOTE(s, recv(s->peer, c, 1, MSG_DONTWAIT | MSG_PEEK));
	NOTE_VALUE(s, "it is corked", corked(s));
	app_says(s, 50);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
	peer_hears(s, 150);
	/* It is told to the kernel before it is a plain one, and closed as one that is corked */
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	app_says(s, 10);
	must_be_fast(s, "in the end");
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, NULL, 1));
	NOTE(s, recv(s->app, c, 1, MSG_DONTWAIT | MSG_TRUNC));
	NOTE_VALUE(s, "it is corked", corked(s));
	close(nothing.fd);
	close(fd);
}

static void more_and_cork(struct side *s)
{
	int on = 1, off = 0, i;

	arm(s, EPOLLIN);
	NOTE_OUT(s, send(s->app, "ab", 2, MSG_MORE));
	NOTE_OUT(s, send(s->app, "cd", 2, MSG_MORE));
	NOTE_OUT(s, send(s->app, "ef", 2, 0));
	peer_hears(s, 6);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	for (i = 0; i < 10; i++)
		app_says(s, 100);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &off, sizeof(off)));
	peer_hears(s, 1000);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
	app_says(s, 100);
	/* It goes by itself after 200 ms, in both cases */
	peer_hears(s, 100);
	NOTE_OUT(s, send(s->app, "gh", 2, MSG_MORE));
	peer_hears(s, 2);
	must_be_fast(s, "in the end");
}

/* Nothing is waited for after it: the kernel sends it when the port stalls */
static void written_and_left(struct side *s)
{
	arm(s, EPOLLIN);
	app_says(s, 500);
	peer_hears(s, 500);
	ms_sleep(60);
	app_says(s, 500);
	ms_sleep(60);
	NOTE(s, recv(s->peer, (char[600]){ 0 }, 600, MSG_DONTWAIT));
	app_says(s, 30000);
	peer_hears(s, 30000);
	must_be_fast(s, "in the end");
}

static void urgent_out(struct side *s)
{
	char c = 0, buf[32] = "";

	arm(s, EPOLLIN);
	app_says(s, 10);
	NOTE_OUT(s, send(s->app, "xyz", 3, MSG_OOB));
	app_says(s, 10);
	leave(s);
	NOTE(s, recv(s->peer, buf, 32, 0));
	seen(s, buf, 32);
	NOTE(s, recv(s->peer, &c, 1, MSG_OOB));
	seen(s, &c, 1);
	NOTE(s, recv(s->peer, buf, 32, 0));
	seen(s, buf, 32);
}

static void urgent_in(struct side *s, uint32_t events, bool in_line, bool late)
{
	char c = 0;
	int on = 1, mark = -1, i;

	if (!late)
		arm(s, events & ~(uint32_t)EPOLLPRI);
	if (in_line)
		NOTE(s, setsockopt(s->app, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	if (!late && (events & EPOLLPRI))
		ctl(s, EPOLL_CTL_MOD, s->app, events, APP_DATA);
	peer_says(s, 10);
	NOTE_PEER(s, send(s->peer, "xyz!", 4, MSG_OOB));
	peer_says(s, 10);
	if (late) {
		arrive(s);
		ctl(s, EPOLL_CTL_ADD, s->app, events, APP_DATA);
	}
	for (i = 0; i < 3; i++) {
		wait_for(s, 8, 20);
		app_hears(s, 64);
		if (i != 1)
			continue;
		NOTE(s, ioctl(s->app, SIOCATMARK, &mark));
		NOTE_VALUE(s, "at the mark", mark);
		NOTE_IO(s, recv(s->app, &c, 1, MSG_OOB));
		seen(s, &c, 1);
	}
	peer_says(s, 10);
	wait_for(s, 8, 20);
	app_hears(s, 64);
}

static void urgent_in_plain(struct side *s)
{
	urgent_in(s, EPOLLIN, false, false);
}

static void urgent_in_pri(struct side *s)
{
	urgent_in(s, EPOLLIN | EPOLLPRI, false, false);
}

static void urgent_in_line(struct side *s)
{
	urgent_in(s, EPOLLIN, true, false);
}

static void urgent_before(struct side *s)
{
	urgent_in(s, EPOLLIN, false, true);
}

static void several_messages(struct side *s)
{
	char a[4][50];
	struct iovec iov[4];
	struct mmsghdr m[4];
	int i;

	memset(m, 0, sizeof(m));
	memset(a, 0, sizeof(a));
	for (i = 0; i < 4; i++) {
		iov[i] = (struct iovec){ a[i], 50 };
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	arm(s, EPOLLIN);
	peer_says(s, 120);
	wait_for(s, 8, 1000);
	app_hears(s, 10);
	NOTE_IO(s, recvmmsg(s->app, m, 4, MSG_DONTWAIT, NULL));
	seen(s, a, sizeof(a));
	app_says(s, 10);
	NOTE(s, sendmmsg(s->app, m, 4, 0));
	s->sent += 200;
	app_says(s, 10);
	peer_hears(s, 220);
	wait_ep(s, s->ep, 8, 0);
	must_be_fast(s, "again");
}

static void spliced(struct side *s)
{
	int p[2], file = a_file();
	loff_t off = 0;
	char a[100] = "";

	NOTE(s, pipe(p));
	arm(s, EPOLLIN);
	peer_says(s, 300);
	wait_for(s, 8, 1000);
	app_hears(s, 50);
	NOTE_IO(s, splice(s->app, NULL, p[1], NULL, 100, 0));
	NOTE(s, read(p[0], a, 100));
	seen(s, a, 100);
	app_hears(s, 50);
	app_says(s, 10);
	NOTE(s, splice(file, &off, p[1], NULL, 100, 0));
	NOTE_OUT(s, splice(p[0], NULL, s->app, NULL, 100, SPLICE_F_MORE));
	app_says(s, 10);
	peer_hears(s, 120);
	wait_ep(s, s->ep, 8, 0);
	app_hears(s, 1000);
	NOTE_IO(s, splice(s->app, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK));
	close(p[0]);
	close(p[1]);
	close(file);
}

/* Calls by which libc writes past write() */
static void behind_libc(struct side *s)
{
	struct iovec iov[2] = { { (char[]){ "123" }, 3 }, { (char[8]){ 0 }, 5 } };

	arm(s, EPOLLIN);
	app_says(s, 10);
	NOTE_OUT(s, dprintf(s->app, "%d bottles\n", 99));
	app_says(s, 10);
	NOTE_OUT(s, pwritev2(s->app, iov, 1, -1, 0));
	app_says(s, 10);
	peer_hears(s, s->sent);
	peer_says(s, 20);
	wait_for(s, 8, 1000);
	app_hears(s, 10);
	NOTE_IO(s, preadv2(s->app, iov + 1, 1, -1, 0));
	seen(s, iov[1].iov_base, 5);
	app_hears(s, 10);
}

/* Options that change what is read */
static void options_of_reading(struct side *s)
{
	char a[100], control[128];
	struct iovec iov = { a, 100 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int on = 1, low = 100;
	struct cmsghdr *c;

	arm(s, EPOLLIN);
	peer_says(s, 150);
	wait_for(s, 8, 1000);
	app_hears(s, 50);
	NOTE(s, setsockopt(s->app, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low)));
	wait_for(s, 8, 0);
	app_hears(s, 50);
	wait_for(s, 8, 0);
	app_hears(s, 500);
	peer_says(s, 60);
	wait_for(s, 8, 0);
	app_hears(s, 1);
	NOTE(s, setsockopt(s->app, IPPROTO_TCP, TCP_INQ, &on, sizeof(on)));
	NOTE_IO(s, recvmsg(s->app, &msg, 0));
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		NOTE_VALUE(s, "control data", c->cmsg_type);
		seen(s, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	}
}

static void counts(struct side *s)
{
	int n, i;

	arm(s, EPOLLIN);
	for (i = 0; i < 3; i++) {
		peer_says(s, 100);
		arrive(s);
		NOTE_VALUE(s, "FIONREAD", queued(s->app));
	}
	wait_ep(s, s->ep, 8, 0);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	app_hears(s, 120);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	peer_says(s, 100);
	peer_ends(s);
	arrive(s);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	wait_ep(s, s->ep, 8, 0);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	must_be_fast(s, "in the end");
	app_hears(s, 1000);
	NOTE_VALUE(s, "FIONREAD", queued(s->app));
	app_says(s, 1000);
	/* All of it is acknowledged soon */
	peer_hears(s, 1000);
	for (i = 0; i < 100 && !ioctl(s->app, SIOCOUTQ, &n) && n; i++)
		ms_sleep(5);
	NOTE_VALUE(s, "SIOCOUTQ", n);
	NOTE(s, ioctl(s->app, SIOCOUTQNSD, &n));
	NOTE_VALUE(s, "SIOCOUTQNSD", n);
}

/* Written and not yet TCP's counts as not sent */
static void counts_unsent(struct side *s)
{
	int n = -1, m = -1;

	arm(s, EPOLLIN);
	app_says(s, 1000);
	NOTE(s, ioctl(s->app, SIOCOUTQ, &n));
	/* The peer has acknowledged it, or not */
	NOTE_VALUE(s, "SIOCOUTQ in range", n >= 0 && n <= 1000);
	NOTE(s, ioctl(s->app, SIOCOUTQNSD, &m));
	NOTE_VALUE(s, "SIOCOUTQNSD in range", m >= 0 && m <= 1000);
	peer_hears(s, 1000);
}

/* Nagle, and acknowledgements that are late */
static void nagle(struct side *s)
{
	int i;

	arm(s, EPOLLIN);
	for (i = 0; i < 8; i++)
		app_says(s, 100);
	peer_hears(s, 800);
	for (i = 0; i < 8; i++) {
		app_says(s, 20);
		peer_hears(s, 20);
	}
}

const struct scenario bytes_cases[] = {
	{ "what the peer sends is told and read", told_and_read, 0 },
	{ "likewise with the app as the one that connected", told_and_read, PAIR_CONNECTED },
	{ "likewise with IPv6", told_and_read, PAIR_V6 },
	{ "echo", echo, 0 },
	{ "ways to write", ways_to_write, 0 },
	{ "ways to read", ways_to_read, 0 },
	{ "MSG_PEEK", peeking, 0 },
	{ "MSG_PEEK of much", peeking_far, 0 },
	{ "MSG_TRUNC", truncating, 0 },
	{ "zero lengths", of_no_length, 0 },
	{ "wrong arguments", wrong_arguments, 0 },
	{ "small pieces", one_by_one, 0 },
	{ "large pieces", large_ones, 0 },
	{ "TCP_CORK, a head and a file", cork, 0 },
	{ "MSG_MORE and TCP_CORK", more_and_cork, 0 },
	{ "written, and then nothing", written_and_left, 0 },
	{ "Nagle", nagle, PAIR_NAGLE },
	{ "urgent data from the app", urgent_out, 0 },
	{ "urgent data from the peer, nobody asked", urgent_in_plain, 0 },
	{ "urgent data from the peer, EPOLLPRI", urgent_in_pri, 0 },
	{ "urgent data from the peer, SO_OOBINLINE", urgent_in_line, 0 },
	{ "urgent data from the peer, before the set", urgent_before, 0 },
	{ "recvmmsg() and sendmmsg()", several_messages, 0 },
	{ "splice()", spliced, 0 },
	{ "dprintf(), pwritev2() and preadv2()", behind_libc, 0 },
	{ "options that change what is read", options_of_reading, 0 },
	{ "FIONREAD and SIOCOUTQ", counts, 0 },
	{ "SIOCOUTQ of what was just written", counts_unsent, 0 },
	{ NULL, NULL, 0 },
};
