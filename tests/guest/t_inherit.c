// SPDX-License-Identifier: GPL-2.0
/*
 * t_inherit.c - descriptors of attached sockets that somebody else has, too
 *
 * When the number under which a socket was attached does not name it any more in
 * the process that attached it, it is a plain socket: its bytes are for whoever
 * still has a descriptor of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sm.h"
#include "tap.h"

/* Another process that has what we have now, and does @what with @fd once let() is called */
struct other {
	pid_t pid;
	int go;
};

static struct other other(bool (*what)(int fd), int fd)
{
	struct other o;
	char b;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC));
	o.pid = fork();
	CHECK(o.pid >= 0);
	if (o.pid == 0) {
		close(p[1]);
		set_timeout(fd, 2000);
		_exit(read(p[0], &b, 1) != 1 || !what(fd));
	}
	close(p[0]);
	o.go = p[1];
	return o;
}

static void let(struct other *o)
{
	int status;

	CHECK(write(o->go, "", 1) == 1);
	CHECK(waitpid(o->pid, &status, 0) == o->pid);
	CHECKF(!status, "status 0x%x", status);
	close(o->go);
}

static bool reads_hello(int fd)
{
	char b[5];

	return recv_all(fd, b, 5) && !memcmp(b, "hello", 5);
}

static bool reads_hello_and_fin(int fd)
{
	char b;

	return reads_hello(fd) && recv(fd, &b, 1, 0) == 0;
}

static bool accepts(int fd)
{
	return accept(fd, NULL, NULL) >= 0;
}

static void nothing_attached(struct sm *sm)
{
	sm_quiet(sm, 20);
	EQ(sm_info(sm).stats.sockets, 0);
}

static void pair_attached(struct sm *sm, int fd[2])
{
	sm_new_small(sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(sm, fd[0], 1);
}

/* Closed here, with nothing queued: what comes is the child's */
TEST(inherit_close, 20)
{
	struct other o;
	struct sm sm;
	int fd[2];

	pair_attached(&sm, fd);
	sm_quiet(&sm, 5);
	o = other(reads_hello_and_fin, fd[0]);
	close(fd[0]);
	CHECK(send_all(fd[1], "hello", 5));
	nothing_attached(&sm);
	shutdown(fd[1], SHUT_WR);
	sm_quiet(&sm, 20);
	let(&o);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Closed here, with payload waiting */
TEST(inherit_close_queued, 20)
{
	struct other o;
	struct sm sm;
	int fd[2];

	pair_attached(&sm, fd);
	o = other(reads_hello, fd[0]);
	CHECK(send_all(fd[1], "hello", 5));
	usleep(10000);
	close(fd[0]);
	nothing_attached(&sm);
	let(&o);
	sm_close(&sm);
}

/* As long as the number is open here, it is as ever */
TEST(inherit_open, 20)
{
	struct other o;
	struct sm sm;
	char b[5];
	int fd[2];

	pair_attached(&sm, fd);
	o = other(reads_hello, fd[0]);
	CHECK(send_all(fd[1], "mine!", 5));
	sm_read(&sm, fd[0], b, 5, 1000);
	CHECK(!memcmp(b, "mine!", 5));
	CHECK(send_all(fd[1], "yours", 5));
	sm_read(&sm, fd[0], b, 5, 1000);
	close(fd[0]);
	CHECK(send_all(fd[1], "hello", 5));
	nothing_attached(&sm);
	let(&o);
	sm_close(&sm);
}

/* Nothing is sent on it any more, either */
TEST(inherit_close_send, 20)
{
	struct stackmap_slot *t;
	struct pollfd p;
	struct other o;
	struct sm sm;
	int fd[2];

	pair_attached(&sm, fd);
	o = other(reads_hello, fd[0]);
	close(fd[0]);
	t = sm_put(&sm, fd[0], "lost", 4);
	sm_sync(&sm, 0);
	EQ(t->flags, STACKMAP_TX_REFUSED);
	EQ(t->err, EBADF);
	EQ(sm_info(&sm).stats.sockets, 0);
	p = (struct pollfd){ .fd = fd[1], .events = POLLIN };
	EQ(poll(&p, 1, 20), 0);
	CHECK(send_all(fd[1], "hello", 5));
	sm_quiet(&sm, 10);
	let(&o);
	sm_close(&sm);
}

TEST(inherit_listener, 20)
{
	int l = try_listen("127.0.0.1", 0), c;
	struct other o;
	struct sm sm;

	CHECK(l >= 0);
	sm_new_small(&sm, 16);
	sm_attach(&sm, l, 1);
	o = other(accepts, l);
	c = port_of(l);
	close(l);
	c = try_connect("127.0.0.1", c, 1000);
	CHECK(c >= 0);
	nothing_attached(&sm);
	let(&o);
	sm_close(&sm);
}

/* By another number of the same process it can be attached again, at once or after a sync */
TEST(inherit_dup, 20)
{
	int fd[2], copy, i;
	struct sm sm;
	char b[5];

	for (i = 0; i < 2; i++) {
		pair_attached(&sm, fd);
		copy = dup(fd[0]);
		CHECK(copy >= 0);
		close(fd[0]);
		CHECK(send_all(fd[1], "hello", 5));
		if (i)
			nothing_attached(&sm);
		sm_attach(&sm, copy, 2);
		EQ(sm_info(&sm).stats.sockets, 1);
		sm_read(&sm, copy, b, 5, 1000);
		CHECK(!memcmp(b, "hello", 5));
		close(copy);
		close(fd[1]);
		nothing_attached(&sm);
		sm_settle(&sm);
		sm_close(&sm);
	}
}

/* The number names something else, which is no socket */
TEST(inherit_dup2, 20)
{
	int fd[2], copy, null = open("/dev/null", O_RDWR);
	struct sm sm;

	pair_attached(&sm, fd);
	copy = dup(fd[0]);
	CHECK(dup2(null, fd[0]) == fd[0]);
	CHECK(send_all(fd[1], "hello", 5));
	nothing_attached(&sm);
	set_timeout(copy, 1000);
	CHECK(reads_hello(copy));
	FAILS(sm_try_detach(sm.fd, fd[0]), EBADF);
	sm_close(&sm);
}

/* On its way to nobody knows whom, in a message that was not received yet */
TEST(inherit_in_flight, 20)
{
	char ctl[CMSG_SPACE(sizeof(int))] = "", b;
	struct iovec iov = { .iov_base = &b, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl,
			    .msg_controllen = sizeof(ctl) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd[2], un[2], got;
	struct sm sm;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, un));
	pair_attached(&sm, fd);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd[0], sizeof(int));
	CHECK(sendmsg(un[0], &m, 0) == 1);
	close(fd[0]);
	CHECK(send_all(fd[1], "hello", 5));
	nothing_attached(&sm);
	m.msg_controllen = sizeof(ctl);
	CHECK(recvmsg(un[1], &m, 0) == 1 && CMSG_FIRSTHDR(&m));
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	set_timeout(got, 1000);
	CHECK(reads_hello(got));
	sm_close(&sm);
}

/* Many at once, some closed here, with as many children as there are */
TEST(inherit_many, 30)
{
	int fd[40][2], i, n = 0;
	struct stackmap_slot *s;
	struct other o;
	struct sm sm;

	sm_new_small(&sm, 64);
	for (i = 0; i < 40; i++) {
		pair_tcp(fd[i], AF_INET);
		sm_attach(&sm, fd[i][0], i);
	}
	o = other(reads_hello, fd[1][0]);
	for (i = 1; i < 40; i += 2)
		close(fd[i][0]);
	for (i = 0; i < 40; i++)
		CHECK(send_all(fd[i][1], "hello", 5));
	while (n < 20) {
		s = sm_wait(&sm, 1000);
		EQ(s->data % 2, 0);
		EQ(s->len, 5);
		n++;
		sm_next(&sm);
	}
	sm_quiet(&sm, 20);
	EQ(sm_info(&sm).stats.sockets, 20);
	let(&o);
	sm_close(&sm);
}
