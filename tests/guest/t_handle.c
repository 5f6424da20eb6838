// SPDX-License-Identifier: GPL-2.0
/*
 * t_handle.c - sockets without descriptors: accepted in sync, closed by slots, given one
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

/* A socket that is accepted as a handle, and its other end */
struct pair {
	int handle;
	uint32_t gen;
	int peer;
};

static int try_attach(struct sm *sm, int fd, uint32_t flags, uint64_t data, struct stackmap_attach *a)
{
	memset(a, 0, sizeof(*a));
	a->fd = fd;
	a->flags = flags;
	a->data = data;
	return ioctl(sm->fd, STACKMAP_IOC_ATTACH, a);
}

/* A listener on a port of its own whose connections come as handles */
static int listener(struct sm *sm, const char *host)
{
	int fd = try_listen(host, 0);
	struct stackmap_attach a;

	CHECK(fd >= 0);
	EQ(try_attach(sm, fd, STACKMAP_ATTACH_ACCEPT, 77, &a), 0);
	return fd;
}

static struct stackmap_slot accepted(struct sm *sm, struct stackmap_accepted *about)
{
	struct stackmap_slot s = *sm_wait(sm, 2000);

	EQ(s.flags, STACKMAP_RX_ACCEPTED);
	EQ(s.data, 77);
	EQ(s.len, sizeof(*about));
	CHECK(s.fd >= STACKMAP_HANDLE_MIN && s.gen);
	memcpy(about, sm_buf(sm, s.buf) + s.off, sizeof(*about));
	sm_next(sm);
	return s;
}

static struct pair pair_handle(struct sm *sm, int listener)
{
	struct stackmap_accepted about;
	struct stackmap_slot s;
	struct pair p;

	p.peer = try_connect("127.0.0.1", port_of(listener), 1000);
	CHECK(p.peer >= 0);
	s = accepted(sm, &about);
	EQ(about.fd, listener);
	p.handle = s.fd;
	p.gen = s.gen;
	set_timeout(p.peer, 2000);
	return p;
}

static int handle_fd(struct sm *sm, int handle, uint32_t gen, uint32_t flags)
{
	struct stackmap_handle_fd req = { .handle = handle, .gen = gen, .flags = flags };

	return ioctl(sm->fd, STACKMAP_IOC_HANDLE_FD, &req);
}

/* Ask, and return why it was refused, or 0 */
static int request(struct sm *sm, int fd, uint32_t gen, uint16_t flags)
{
	struct stackmap_slot *s = sm_request(sm, fd, flags, 0);

	s->gen = gen;
	sm_sync(sm, 0);
	return s->flags & STACKMAP_TX_REFUSED ? s->err : 0;
}

static void handle_is_gone(struct sm *sm, const struct pair *p)
{
	EQ(request(sm, p->handle, p->gen, STACKMAP_TX_CLOSE), EBADF);
}

static void peer_hears(int fd, const char *what)
{
	char buf[64];

	CHECK(recv_all(fd, buf, strlen(what)));
	CHECK(!memcmp(buf, what, strlen(what)));
}

static void end(struct sm *sm)
{
	sm_settle(sm);
	EQ(sm_info(sm).stats.sockets, 1);
	sm_close(sm);
}

/* Who has connected, and what it has sent, come with one sync; it is answered and closed by slots */
static void accept_and_serve(const char *host, int family)
{
	struct sockaddr_storage name;
	struct stackmap_accepted about;
	socklen_t len = sizeof(name);
	struct stackmap_slot s;
	struct sm sm;
	int l, fd;
	char c;

	sm_new_small(&sm, 64);
	l = listener(&sm, host);
	sm_quiet(&sm, 10);
	fd = try_connect(host, port_of(l), 1000);
	CHECK(fd >= 0 && send_all(fd, "hello", 5));
	EQ(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	/* It wakes a sleeper as a listener does */
	{
		struct pollfd p = { .fd = sm.fd, .events = POLLIN };

		EQ(poll(&p, 1, 1000), 1);
	}
	EQ(sm_sync(&sm, 0), 2);
	s = accepted(&sm, &about);
	EQ(about.fd, l);
	EQ(about.reserved, 0);
	EQ(about.addrlen, len);
	CHECK(((struct sockaddr *)about.addr)->sa_family == family);
	CHECK(!memcmp(about.addr, &name, family == AF_INET ? 8 : len));
	{
		char got[5];

		sm_read(&sm, s.fd, got, 5, 0);
		CHECK(!memcmp(got, "hello", 5));
	}
	sm_send(&sm, s.fd, "answer", 6);
	peer_hears(fd, "answer");
	EQ(sm_info(&sm).stats.sockets, 2);
	EQ(request(&sm, s.fd, s.gen, STACKMAP_TX_CLOSE), 0);
	set_timeout(fd, 2000);
	EQ(recv(fd, &c, 1, 0), 0);
	EQ(request(&sm, s.fd, s.gen, STACKMAP_TX_CLOSE), EBADF);
	close(fd);
	end(&sm);
}

TEST(handle_accept, 20)
{
	accept_and_serve("127.0.0.1", AF_INET);
}

TEST(handle_accept_v6, 20)
{
	accept_and_serve("::1", AF_INET6);
}

/* Payload and CLOSE in one sync; a FIN that comes first; a number that comes again has another gen */
TEST(handle_close, 20)
{
	struct stackmap_slot s;
	struct pair p, q;
	struct sm sm;
	int l, i;
	char c;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	sm_put(&sm, p.handle, "bye", 3);
	EQ(request(&sm, p.handle, 0, STACKMAP_TX_CLOSE), 0);
	peer_hears(p.peer, "bye");
	EQ(recv(p.peer, &c, 1, 0), 0);
	close(p.peer);

	q = pair_handle(&sm, l);
	EQ(q.handle, p.handle);
	CHECK(q.gen != p.gen);
	EQ(request(&sm, q.handle, p.gen, STACKMAP_TX_CLOSE), ESTALE);
	close(q.peer);
	s = sm_event(&sm, q.handle, STACKMAP_RX_FIN, 1000);
	EQ(s.gen, q.gen);
	EQ(request(&sm, q.handle, q.gen, STACKMAP_TX_CLOSE), 0);

	/* What was not read makes it a reset, as close() does */
	p = pair_handle(&sm, l);
	sm_credit(&sm, p.handle, 0);
	CHECK(send_all(p.peer, "unread", 6));
	usleep(20000);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	FAILS(recv(p.peer, &c, 1, 0), ECONNRESET);
	close(p.peer);

	/* SO_LINGER of the listener: not waited for */
	EQ(setsockopt(l, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 10 }, sizeof(struct linger)), 0);
	p = pair_handle(&sm, l);
	sm_put(&sm, p.handle, "z", 1);
	{
		double t = mono();

		EQ(request(&sm, p.handle, 0, STACKMAP_TX_CLOSE), 0);
		CHECK(mono() - t < 2);
	}
	peer_hears(p.peer, "z");
	EQ(recv(p.peer, &c, 1, 0), 0);
	close(p.peer);
	/* Not with the port either */
	{
		static char block[4096];
		struct sm other;
		struct pair many[3];
		double t;
		int ol;

		sm_close(&sm);
		sm_new_small(&other, 64);
		ol = listener(&other, "127.0.0.1");
		EQ(setsockopt(ol, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 10 }, sizeof(struct linger)), 0);
		for (i = 0; i < 3; i++) {
			many[i] = pair_handle(&other, ol);
			do {
				sm_put(&other, many[i].handle, block, sizeof(block));
				sm_sync(&other, 0);
			} while (!other.tx->refused);
		}
		t = mono();
		sm_close(&other);
		CHECK(mono() - t < 5);
		for (i = 0; i < 3; i++)
			close(many[i].peer);
		close(ol);
		close(l);
		sm_new_small(&sm, 64);
		l = listener(&sm, "127.0.0.1");
	}
	/* Without a time: a reset */
	EQ(setsockopt(l, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)), 0);
	p = pair_handle(&sm, l);
	EQ(request(&sm, p.handle, 0, STACKMAP_TX_CLOSE), 0);
	FAILS(recv(p.peer, &c, 1, 0), ECONNRESET);
	close(p.peer);
	for (i = 0; i < 3; i++)
		handle_is_gone(&sm, &p);
	end(&sm);
}

/* Behind what TCP has no room for a CLOSE waits, and a reset does not */
TEST(handle_close_in_order, 30)
{
	static char block[4096];
	uint32_t refused = 0, taken = 0, got = 0;
	struct pair p;
	struct sm sm;
	ssize_t n;
	int l, i;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	while (!refused) {
		struct stackmap_slot *s = sm_put(&sm, p.handle, block, sizeof(block));

		sm_sync(&sm, 0);
		refused = sm.tx->refused;
		taken += refused ? s->taken : sizeof(block);
	}
	/* In the sync after it there is room or not, but in that of the refusal it is behind it */
	for (i = 0; i < 2; i++)
		sm_put(&sm, p.handle, block, sizeof(block));
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), EAGAIN);
	EQ(sm.tx->refused, 3);
	while (got < taken) {
		n = recv(p.peer, block, sizeof(block), 0);
		CHECK(n > 0);
		got += n;
	}
	sm_event(&sm, p.handle, STACKMAP_RX_ROOM, 1000);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	EQ(recv(p.peer, block, 1, 0), 0);
	close(p.peer);

	p = pair_handle(&sm, l);
	do {
		sm_put(&sm, p.handle, block, sizeof(block));
		sm_sync(&sm, 0);
	} while (!sm.tx->refused);
	sm_put(&sm, p.handle, block, sizeof(block));
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE | STACKMAP_TX_ABORT), 0);
	while ((n = recv(p.peer, block, sizeof(block), 0)) > 0)
		;
	EQ(n, -1);
	EQ(errno, ECONNRESET);
	close(p.peer);
	end(&sm);
}

/* A FIN behind payload in one sync, after which it still receives; many at once */
TEST(handle_fin, 20)
{
	struct pair p, many[40];
	struct sm sm;
	int l, i;
	char c[4];

	sm_new_small(&sm, 128);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	sm_put(&sm, p.handle, "end", 3);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_FIN), 0);
	peer_hears(p.peer, "end");
	EQ(recv(p.peer, c, 1, 0), 0);
	CHECK(send_all(p.peer, "more", 4));
	sm_read(&sm, p.handle, c, 4, 1000);
	sm_put(&sm, p.handle, "x", 1);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 1);
	close(p.peer);
	sm_event(&sm, p.handle, STACKMAP_RX_FIN, 1000);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	for (i = 0; i < 40; i++) {
		many[i] = pair_handle(&sm, l);
		sm_put(&sm, many[i].handle, "end", 3);
		sm_request(&sm, many[i].handle, STACKMAP_TX_FIN, 0);
	}
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	for (i = 0; i < 40; i++) {
		peer_hears(many[i].peer, "end");
		EQ(recv(many[i].peer, c, 1, 0), 0);
		sm_request(&sm, many[i].handle, STACKMAP_TX_CLOSE, 0);
		close(many[i].peer);
	}
	do
		sm_sync(&sm, 0);
	while (sm_info(&sm).stats.sockets > 1);
	while (sm_peek(&sm))
		sm_next(&sm);
	EQ(request(&sm, p.handle, 0, STACKMAP_TX_FIN), EBADF);
	EQ(request(&sm, l, 0, STACKMAP_TX_FIN), EINVAL);
	end(&sm);
}

/* The last payload and the FIN are one segment, for CLOSE as for FIN */
TEST(handle_fin_with_payload, 20)
{
	struct tcp_info info;
	socklen_t len;
	struct pair p;
	struct sm sm;
	int l, way;
	char c;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	for (way = 0; way < 2; way++) {
		p = pair_handle(&sm, l);
		sm_put(&sm, p.handle, "end", 3);
		EQ(request(&sm, p.handle, 0, way ? STACKMAP_TX_CLOSE : STACKMAP_TX_FIN), 0);
		peer_hears(p.peer, "end");
		EQ(recv(p.peer, &c, 1, 0), 0);
		len = sizeof(info);
		EQ(getsockopt(p.peer, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
		/* and the SYN's answer */
		CHECKF(info.tcpi_segs_in == 2, "way %d: %u segments", way, info.tcpi_segs_in);
		close(p.peer);
		if (!way) {
			sm_event(&sm, p.handle, STACKMAP_RX_FIN, 1000);
			EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
		}
	}
	end(&sm);
}

/* A descriptor of it does all that descriptors do; either may be closed first */
TEST(handle_descriptor, 30)
{
	struct sockaddr_in a, b;
	socklen_t len = sizeof(a);
	struct pair p;
	struct sm sm;
	int l, fd, one = 1;
	char c[8];

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	fd = handle_fd(&sm, p.handle, p.gen, O_CLOEXEC);
	CHECK(fd >= 0);
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(fd, F_GETFL), O_RDWR);
	EQ(getpeername(fd, (struct sockaddr *)&a, &len), 0);
	EQ(getsockname(p.peer, (struct sockaddr *)&b, &len), 0);
	EQ(a.sin_port, b.sin_port);
	EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	EQ(sh("readlink /proc/%d/fd/%d | grep -q '^socket:'", getpid(), fd), 0);
	/* Slots go on */
	sm_send(&sm, p.handle, "one", 3);
	peer_hears(p.peer, "one");
	close(fd);
	sm_send(&sm, p.handle, "two", 3);
	peer_hears(p.peer, "two");
	CHECK(send_all(p.peer, "back", 4));
	sm_read(&sm, p.handle, c, 4, 1000);
	/* A second one; the handle goes, and it is a plain socket */
	fd = handle_fd(&sm, p.handle, 0, 0);
	CHECK(fd >= 0);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	CHECK(send_all(p.peer, "plain", 5) && recv_all(fd, c, 5) && send_all(fd, "x", 1));
	peer_hears(p.peer, "x");
	close(fd);
	EQ(recv(p.peer, c, 1, 0), 0);
	close(p.peer);

	/* Detached: only where there is one, and what was not delivered is read from it */
	p = pair_handle(&sm, l);
	FAILS(sm_try_detach(sm.fd, p.handle), EINVAL);
	fd = handle_fd(&sm, p.handle, 0, O_NONBLOCK);
	EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK);
	close(fd);
	FAILS(sm_try_detach(sm.fd, p.handle), EINVAL);
	fd = handle_fd(&sm, p.handle, 0, 0);
	sm_credit(&sm, p.handle, 0);
	CHECK(send_all(p.peer, "later", 5));
	EQ(sm_try_detach(sm.fd, p.handle), 0);
	FAILS(sm_try_detach(sm.fd, p.handle), EBADF);
	set_timeout(fd, 1000);
	fcntl(fd, F_SETFL, 0);
	CHECK(recv_all(fd, c, 5) && !memcmp(c, "later", 5));
	/* And attached again, by its number */
	sm_attach(&sm, fd, 5);
	CHECK(send_all(p.peer, "again", 5));
	sm_read(&sm, fd, c, 5, 1000);
	close(fd);
	close(p.peer);
	end(&sm);
}

/* A thread in a system call on the descriptor: CLOSE is refused, and told when it can be said again */
TEST(handle_descriptor_locked, 20)
{
	struct pair p;
	struct sm sm;
	int l, fd, err, tries = 0;
	pid_t pid;
	char c;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	fd = handle_fd(&sm, p.handle, 0, 0);
	pid = fork();
	if (!pid) {
		/* It has the socket locked most of the time */
		for (;;)
			recv(fd, &c, 1, MSG_DONTWAIT);
	}
	close(fd);
	usleep(50000);
	while ((err = request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE))) {
		EQ(err, EAGAIN);
		sm_event(&sm, p.handle, STACKMAP_RX_ROOM, 2000);
		CHECK(++tries < 10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EQ(recv(p.peer, &c, 1, 0), 0);
	close(p.peer);
	end(&sm);
}

/* A socket that has connected, or been accepted otherwise, gives up its descriptor */
TEST(handle_of_descriptor, 20)
{
	struct stackmap_attach a;
	struct sm sm;
	int fd[2], l;
	char c[8];

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	pair_tcp(fd, AF_INET);
	CHECK(send_all(fd[1], "first", 5));
	EQ(try_attach(&sm, fd[0], STACKMAP_ATTACH_HANDLE, 9, &a), 0);
	CHECK(a.fd >= STACKMAP_HANDLE_MIN && a.gen);
	FAILS(try_attach(&sm, fd[0], STACKMAP_ATTACH_HANDLE, 9, &(struct stackmap_attach){ 0 }), EALREADY);
	EQ(sm_wait(&sm, 1000)->data, 9);
	sm_read(&sm, a.fd, c, 5, 1000);
	close(fd[0]);
	CHECK(send_all(fd[1], "second", 6));
	sm_read(&sm, a.fd, c, 6, 1000);
	sm_send(&sm, a.fd, "back", 4);
	peer_hears(fd[1], "back");
	EQ(request(&sm, a.fd, a.gen, STACKMAP_TX_CLOSE), 0);
	EQ(recv(fd[1], c, 1, 0), 0);
	close(fd[1]);
	close(l);
	sm_settle(&sm);
	sm_close(&sm);
}

/* As many as there may be descriptors; who waits wakes nobody, and comes when there is one */
TEST(handle_limit, 30)
{
	struct stackmap_accepted about;
	struct rlimit r = { 20, 25 };
	struct stackmap_slot s[20], extra;
	struct sm sm;
	int peer[24], l, i;
	bool ended = false;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	for (i = 0; i < 24; i++) {
		peer[i] = try_connect("127.0.0.1", port_of(l), 1000);
		CHECK(peer[i] >= 0);
	}
	setrlimit(RLIMIT_NOFILE, &r);
	for (i = 0; i < 20; i++)
		s[i] = accepted(&sm, &about);
	sm_quiet(&sm, 20);
	EQ(sm_info(&sm).stats.sockets, 21);
	{
		struct pollfd p = { .fd = sm.fd, .events = POLLIN };

		__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
		EQ(poll(&p, 1, 50), 0);
		FAILS(try_attach(&sm, peer[0], STACKMAP_ATTACH_HANDLE, 0, &(struct stackmap_attach){ 0 }),
		      EMFILE);
		EQ(request(&sm, s[3].fd, 0, STACKMAP_TX_CLOSE), 0);
		__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
	}
	s[3] = accepted(&sm, &about);
	sm_quiet(&sm, 20);
	/* With a higher limit, the next sync has one more */
	r.rlim_cur = 21;
	setrlimit(RLIMIT_NOFILE, &r);
	extra = accepted(&sm, &about);
	sm_quiet(&sm, 20);
	EQ(request(&sm, extra.fd, 0, STACKMAP_TX_CLOSE), 0);
	r.rlim_cur = 20;
	setrlimit(RLIMIT_NOFILE, &r);
	sm_quiet(&sm, 20);
	/* Its end is told though it waits */
	if (!sh("ss -K state listening 'sport = :%d' >/dev/null", port_of(l))) {
		sm_event(&sm, l, STACKMAP_RX_ERROR, 1000);
		ended = true;
	}
	for (i = 0; i < 20; i++)
		EQ(request(&sm, s[i].fd, 0, STACKMAP_TX_CLOSE), 0);
	for (i = 0; i < 2 && !ended; i++) {
		s[i] = accepted(&sm, &about);
		EQ(request(&sm, s[i].fd, 0, STACKMAP_TX_CLOSE), 0);
	}
	for (i = 0; i < 24; i++)
		close(peer[i]);
	end(&sm);
}

/* Garbage */
TEST(handle_wrong, 20)
{
	struct stackmap_handle_fd req = { 0 };
	struct stackmap_attach a;
	struct stackmap_slot *s;
	struct pair p;
	struct sm sm;
	int fd[2], l, i;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	pair_tcp(fd, AF_INET);
	FAILS(try_attach(&sm, fd[0], STACKMAP_ATTACH_ACCEPT, 0, &a), EINVAL);
	FAILS(try_attach(&sm, l, STACKMAP_ATTACH_HANDLE, 0, &a), EINVAL);
	FAILS(try_attach(&sm, fd[0], STACKMAP_ATTACH_ACCEPT | STACKMAP_ATTACH_HANDLE, 0, &a), EINVAL);
	FAILS(try_attach(&sm, fd[0], 4, 0, &a), EINVAL);
	FAILS(try_attach(&sm, p.handle, 0, 0, &a), EBADF);
	FAILS(try_attach(&sm, p.handle, STACKMAP_ATTACH_HANDLE, 0, &a), EBADF);
	sm_attach(&sm, fd[0], 0);
	EQ(request(&sm, fd[0], 0, STACKMAP_TX_CLOSE), EINVAL);
	EQ(request(&sm, p.handle, 0, STACKMAP_TX_ABORT), EINVAL);
	EQ(request(&sm, p.handle, 0, STACKMAP_TX_CLOSE | STACKMAP_TX_MORE), EINVAL);
	EQ(request(&sm, p.handle, 0, STACKMAP_TX_CLOSE | STACKMAP_TX_CREDIT), EINVAL);
	EQ(request(&sm, p.handle, p.gen + 1, STACKMAP_TX_CLOSE), ESTALE);
	EQ(request(&sm, p.handle + 1, 0, STACKMAP_TX_CLOSE), EBADF);
	EQ(request(&sm, STACKMAP_HANDLE_MIN - 1, 0, STACKMAP_TX_CLOSE), EBADF);
	EQ(request(&sm, INT32_MAX, 0, STACKMAP_TX_CLOSE), EBADF);
	EQ(request(&sm, -1, 0, STACKMAP_TX_CLOSE), EBADF);
	s = sm_put(&sm, p.handle, "x", 1);
	s->flags = STACKMAP_TX_CLOSE;
	sm_sync(&sm, 0);
	EQ(s->err, EINVAL);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_HANDLE_FD, NULL), EFAULT);
	FAILS(handle_fd(&sm, fd[0], 0, 0), EBADF);
	FAILS(handle_fd(&sm, -1, 0, 0), EBADF);
	FAILS(handle_fd(&sm, p.handle + 1, 0, 0), EBADF);
	FAILS(handle_fd(&sm, p.handle, p.gen + 1, 0), ESTALE);
	FAILS(handle_fd(&sm, p.handle, p.gen, O_APPEND), EINVAL);
	req.handle = p.handle;
	req.reserved = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_HANDLE_FD, &req), EINVAL);
	FAILS(sm_try_detach(sm.fd, p.handle + 1), EBADF);
	i = sm_open();
	FAILS(ioctl(i, STACKMAP_IOC_HANDLE_FD, &req), ENXIO);
	close(i);
	/* After all that it is as it was */
	sm_send(&sm, p.handle, "x", 1);
	peer_hears(p.peer, "x");
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	close(p.peer);
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	close(fd[0]);
	close(fd[1]);
	end(&sm);
}

/* No descriptor is left: the connection stays as it is */
TEST(handle_no_descriptor, 20)
{
	struct rlimit r, few_fds;
	struct pair p;
	struct sm sm;
	int l, fd;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	getrlimit(RLIMIT_NOFILE, &r);
	few_fds = r;
	few_fds.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &few_fds);
	FAILS(handle_fd(&sm, p.handle, 0, 0), EMFILE);
	setrlimit(RLIMIT_NOFILE, &r);
	sm_send(&sm, p.handle, "x", 1);
	peer_hears(p.peer, "x");
	fd = handle_fd(&sm, p.handle, 0, 0);
	CHECK(fd >= 0);
	close(fd);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	close(p.peer);
	end(&sm);
}

/* With its port a handle goes; what is committed is sent before, also by one that is killed */
TEST(handle_owner_ends, 30)
{
	int l, i, way, pipes[2], to[2];
	char c;

	for (way = 0; way < 3; way++) {
		pid_t pid;

		CHECK(!pipe(pipes) && !pipe(to));
		pid = fork();
		if (!pid) {
			struct pair p;
			struct sm sm;
			int port;

			sm_new_small(&sm, 64);
			l = listener(&sm, "127.0.0.1");
			port = port_of(l);
			CHECK(write(pipes[1], &port, sizeof(port)) == sizeof(port));
			for (i = 0; i < 5; i++) {
				struct stackmap_accepted about;
				struct stackmap_slot s = accepted(&sm, &about);

				p.handle = s.fd;
				sm_put(&sm, p.handle, "last", 4);
				if (way == 2)
					sm_request(&sm, p.handle, STACKMAP_TX_CLOSE, 0);
				__atomic_store_n(&sm.tx->head, sm.tx_head, __ATOMIC_RELEASE);
			}
			if (way == 0)
				_exit(0);
			CHECK(write(pipes[1], "x", 1) == 1);
			for (;;)
				pause();
		} else {
			int port, peer[5];

			CHECK(read(pipes[0], &port, sizeof(port)) == sizeof(port));
			for (i = 0; i < 5; i++) {
				peer[i] = try_connect("127.0.0.1", port, 1000);
				CHECK(peer[i] >= 0);
				set_timeout(peer[i], 5000);
			}
			if (way) {
				CHECK(read(pipes[0], &c, 1) == 1);
				kill(pid, SIGKILL);
			}
			for (i = 0; i < 5; i++) {
				peer_hears(peer[i], "last");
				EQ(recv(peer[i], &c, 1, 0), 0);
				close(peer[i]);
			}
			waitpid(pid, NULL, 0);
		}
		close(pipes[0]);
		close(pipes[1]);
		close(to[0]);
		close(to[1]);
	}
}

/* What happens to a connection is told as of others: an error, ss -K */
TEST(handle_events, 20)
{
	struct stackmap_slot s;
	struct pair p;
	struct sm sm;
	int l, port;

	sm_new_small(&sm, 64);
	l = listener(&sm, "127.0.0.1");
	p = pair_handle(&sm, l);
	setsockopt(p.peer, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(p.peer);
	s = sm_event(&sm, p.handle, STACKMAP_RX_ERROR, 1000);
	EQ(s.err, ECONNRESET);
	sm_put(&sm, p.handle, "x", 1);
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);

	p = pair_handle(&sm, l);
	port = port_of(p.peer);
	EQ(sh("ss -tnie 'sport = :%d and dport = :%d' >/tmp/ss; grep -q 'ino:[1-9]' /tmp/ss && grep -q stackmap /tmp/ss",
	      port_of(l), port), 0);
	if (!sh("ss -K 'sport = :%d and dport = :%d' >/dev/null", port_of(l), port)) {
		s = sm_event(&sm, p.handle, STACKMAP_RX_ERROR, 1000);
		EQ(s.err, ECONNABORTED);
	}
	EQ(request(&sm, p.handle, p.gen, STACKMAP_TX_CLOSE), 0);
	close(p.peer);

	/* A connection that was reset before anybody looked at it */
	p.peer = try_connect("127.0.0.1", port_of(l), 1000);
	setsockopt(p.peer, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(p.peer);
	usleep(20000);
	if (sm_sync(&sm, 0)) {
		struct stackmap_accepted about;

		s = accepted(&sm, &about);
		EQ(sm_event(&sm, s.fd, STACKMAP_RX_ERROR, 1000).err, ECONNRESET);
		EQ(request(&sm, s.fd, 0, STACKMAP_TX_CLOSE), 0);
	}
	end(&sm);
}

/* A small ring, and more connections than it has slots for */
TEST(handle_full_ring, 30)
{
	struct stackmap_accepted about;
	int peer[60], l, i;
	struct sm sm;

	sm_new_small(&sm, 16);
	l = listener(&sm, "127.0.0.1");
	for (i = 0; i < 60; i++) {
		peer[i] = try_connect("127.0.0.1", port_of(l), 1000);
		CHECK(peer[i] >= 0);
	}
	for (i = 0; i < 60; i++) {
		struct stackmap_slot s = accepted(&sm, &about);

		EQ(request(&sm, s.fd, 0, STACKMAP_TX_CLOSE), 0);
	}
	for (i = 0; i < 60; i++)
		close(peer[i]);
	end(&sm);
}

/* Short connections by the thousand, echoed and closed by slots */
TEST_BOTH(handle_storm, 120)
{
	struct stackmap_accepted about;
	uint32_t opened = 0, closed = 0;
	struct stackmap_slot *s;
	struct sm sm;
	struct ask a;
	int l;

	sm_new(&sm, &(struct stackmap_register){ .version = STACKMAP_ABI_VERSION,
		.ifindex = sm_reg(here->ifname, 256).ifindex, .rx_slots = 256, .tx_slots = 256 });
	l = listener(&sm, here->guest4);
	ask(&a, "short %s %d %d 5 8", here->guest4, port_of(l), few(4000));
	while (!ask_done(&a) || closed < opened) {
		uint16_t len, off;
		int h;

		sm_sync(&sm, 1000);
		while ((s = sm_peek(&sm))) {
			h = s->fd;
			if (s->flags & STACKMAP_RX_ACCEPTED) {
				memcpy(&about, sm_buf(&sm, s->buf) + s->off, sizeof(about));
				EQ(about.fd, l);
				opened++;
			} else if (s->flags & STACKMAP_RX_DATA) {
				uint8_t block[4096];

				len = s->len;
				off = s->off;
				memcpy(block, sm_buf(&sm, s->buf) + off, len);
				sm_put(&sm, h, block, len);
			} else {
				/* (the peer ends it with a reset) */
				CHECKF(s->flags & (STACKMAP_RX_FIN | STACKMAP_RX_ERROR), "flags 0x%x", s->flags);
				sm_request(&sm, h, STACKMAP_TX_CLOSE, 0);
				closed++;
			}
			sm_next(&sm);
			if (((sm.tx->tail - sm.tx_head) & (sm.reg.tx_slots - 1)) < 4)
				break;
		}
	}
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	tap_note("%u connections", opened);
	CHECK(opened >= (uint32_t)few(4000));
	close(l);
	sm_settle(&sm);
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_close(&sm);
}
