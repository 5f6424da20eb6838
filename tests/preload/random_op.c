// SPDX-License-Identifier: GPL-2.0
/*
 * random_op.c - one random operation, done to one side
 */
#include "random.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define BUF	40000

static unsigned char buf[BUF + 64];

void rside_open(struct rside *r, bool fast)
{
	char path[] = "/tmp/same-XXXXXX";

	side_open(&r->s, fast, 0);
	r->other = set_new(&r->s);
	r->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->alt = r->outer = -1;
	r->file = mkstemp(path);
	unlink(path);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void rside_close(struct rside *r)
{
	close_one(&r->alt);
	close_one(&r->outer);
	close_one(&r->other);
	close_one(&r->efd);
	close_one(&r->file);
	side_close(&r->s);
}

/* The bytes in vectors, of which some are empty */
static int divide(struct iovec *iov, size_t n, uint32_t shape)
{
	struct rng r = { shape };
	int i, k = 1 + (int)rng_below(&r, 6);
	size_t off = 0, m;

	for (i = 0; i < k; i++) {
		m = i == k - 1 ? n - off : rng_below(&r, 4) ? rng_below(&r, (uint32_t)(n - off) + 1) : 0;
		iov[i] = (struct iovec){ m || rng_below(&r, 2) ? buf + off : NULL, m };
		off += m;
	}
	return k;
}

static int number_of(const struct op *op, const struct rside *r)
{
	return r->alt >= 0 && (op->shape & 1) ? r->alt : r->s.app;
}

/* ----------------------------------------------------------------------- bytes */

static long write_by(const struct op *op, struct rside *r, int fd)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct iovec iov[8];
	struct msghdr msg = { .msg_iov = iov };
	off_t off = 100;
	long ret;

	pattern(buf, op->n, r->s.sent, 0);
	switch (op->how) {
	case 0:
		return write(fd, buf, op->n);
	case 1:
		return send(fd, buf, op->n, op->flags);
	case 2:
		return op->shape & 2 ? sendto(fd, buf, op->n, op->flags, (struct sockaddr *)&addr, sizeof(addr)) :
			sendto(fd, buf, op->n, op->flags, NULL, 0);
	case 3:
		return writev(fd, iov, divide(iov, op->n, op->shape));
	case 4:
		msg.msg_iovlen = (size_t)divide(iov, op->n, op->shape);
		return sendmsg(fd, &msg, op->flags);
	default:
		if (ftruncate(r->file, 0) || pwrite(r->file, buf, op->n, 100) != (ssize_t)op->n ||
		    lseek(r->file, 100, SEEK_SET) != 100)
			abort();
		ret = sendfile(fd, r->file, op->how == 5 ? NULL : &off, op->n + (op->shape & 4 ? 10 : 0));
		if (ret >= 0 && (op->how == 5 ? lseek(r->file, 0, SEEK_CUR) : off) != 100 + ret)
			return -1000;
		return ret;
	}
}

static void do_write(const struct op *op, struct rside *r)
{
	struct side *s = &r->s;
	int fd = number_of(op, r);
	long ret;

	errno = 0;
	ret = write_by(op, r, fd);
	if (ret < 0 && errno == EAGAIN && may_repeat(s)) {
		errno = 0;
		ret = write_by(op, r, fd);
	}
	noted(s, ret);
	if (ret > 0)
		s->sent += (uint64_t)ret;
}

static long read_by(const struct op *op, int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	struct iovec iov[8];
	struct msghdr msg = { .msg_iov = iov };

	switch (op->how) {
	case 0:
		return read(fd, buf, op->n);
	case 1:
		return recv(fd, buf, op->n, op->flags);
	case 2:
		return recvfrom(fd, buf, op->n, op->flags, op->shape & 2 ? (struct sockaddr *)&addr : NULL,
				op->shape & 2 ? &len : NULL);
	case 3:
		return readv(fd, iov, divide(iov, op->n, op->shape));
	default:
		msg.msg_iovlen = (size_t)divide(iov, op->n, op->shape);
		return recvmsg(fd, &msg, op->flags);
	}
}

static void do_read(const struct op *op, struct rside *r)
{
	struct side *s = &r->s;
	int fd = number_of(op, r);
	size_t i, n;
	long ret;

	memset(buf, 0xee, op->n + 64);
	errno = 0;
	ret = read_by(op, fd);
	if (ret < 0 && errno == EAGAIN && may_repeat(s)) {
		errno = 0;
		ret = read_by(op, fd);
	}
	noted(s, ret);
	n = ret > 0 && !((op->flags & MSG_TRUNC) && !(op->flags & MSG_PEEK)) ? (size_t)ret : 0;
	if (n > op->n)
		n = op->n;
	if (n)
		seen(s, buf, n);
	/* Nothing behind it was touched */
	for (i = n; i < op->n + 64; i++)
		if (buf[i] != 0xee)
			s->log[s->n - 1].pipes += 1000;
}

/*
 * The third place for allowed differences: without a sync before it, a read gives what had come by
 * the last one. The rest is read here
 */
void few_bytes(const struct op *op, struct rside *fast, const struct rside *plain)
{
	struct result *f = &fast->s.log[fast->s.n - 1];
	const struct result *p = &plain->s.log[plain->s.n - 1];
	int i;

	if (f->ret <= 0 || (op->flags & (MSG_PEEK | MSG_TRUNC)))
		return;
	for (i = 0; i < 8 && f->ret < p->ret; i++) {
		long n = recv(number_of(op, fast), buf, (size_t)(p->ret - f->ret), MSG_DONTWAIT);

		if (n <= 0)
			continue;
		f->ret += n;
		seen(&fast->s, buf, (size_t)n);
	}
}

/* ---------------------------------------------------------------------- events */

static void do_wait(const struct op *op, struct rside *r)
{
	struct timespec ts = { op->ms / 1000, op->ms % 1000 * 1000000L + (op->shape & 1) };
	int ep = op->flags ? r->other : r->s.ep, n;
	struct epoll_event ev[16];
	sigset_t mask;

	sigemptyset(&mask);
	errno = 0;
	switch (op->how) {
	case 0:
		n = epoll_wait(ep, ev, op->max, op->ms);
		break;
	case 1:
		n = epoll_pwait(ep, ev, op->max, op->ms, op->shape & 2 ? &mask : NULL);
		break;
	default:
		n = epoll_pwait2(ep, ev, op->max, &ts, op->shape & 2 ? &mask : NULL);
		break;
	}
	note_events(&r->s, op->text, n, errno, ev);
}

static void do_ctl(const struct op *op, struct rside *r)
{
	struct epoll_event ev = { .events = op->events, .data.u64 = op->data };
	int fd = number_of(op, r), ep = r->s.ep;

	errno = 0;
	switch (op->how) {
	case 1:		/* No event */
		noted(&r->s, epoll_ctl(ep, op->flags, fd, NULL));
		break;
	case 2:		/* No set */
		noted(&r->s, epoll_ctl(r->efd, op->flags, fd, &ev));
		break;
	case 3:
		noted(&r->s, epoll_ctl(-1, op->flags, fd, &ev));
		break;
	case 4:
		noted(&r->s, epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
		break;
	case 5:
		noted(&r->s, epoll_ctl(r->other, op->flags == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : op->flags, fd, &ev));
		break;
	case 6:		/* The eventfd */
		noted(&r->s, epoll_ctl(ep, op->flags, r->efd, &ev));
		break;
	default:
		noted(&r->s, epoll_ctl(ep, op->flags, fd, &ev));
		break;
	}
}

static void do_count(const struct op *op, struct rside *r)
{
	int fd = number_of(op, r), v = -1, on = (int)(op->shape & 1);
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(v);
	struct side *s = &r->s;
	long ret;

	errno = 0;
	switch (op->how) {
	case 0:
		ret = ioctl(fd, FIONREAD, &v);
		noted(s, ret ? ret : v);
		break;
	case 1:
		ret = getsockopt(fd, SOL_SOCKET, SO_ERROR, &v, &len);
		noted(s, ret ? ret : v);
		break;
	case 2:
		len = sizeof(info);
		ret = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
		noted(s, ret ? ret : info.tcpi_state);
		break;
	case 3:
		noted(s, setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
		break;
	case 4:
		noted(s, setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)));
		break;
	case 5:
		noted(s, fcntl(fd, F_GETFL));
		break;
	default:
		ret = ioctl(fd, TIOCOUTQ, &v);
		noted(s, ret ? ret : v < 0 || v > 1 << 20);
		break;
	}
}

static void do_poll(const struct op *op, struct rside *r)
{
	struct pollfd p[2] = {
		{ .fd = number_of(op, r), .events = (short)op->events }, { .fd = r->efd, .events = POLLIN },
	};
	nfds_t n = op->shape & 2 ? 2 : 1;
	struct timespec ts = { 0, op->ms * 1000000L };
	struct timeval tv = { 0, op->ms * 1000L };
	struct side *s = &r->s;
	fd_set in, out, err;
	int fd = p[0].fd;

	errno = 0;
	if (op->how < 2) {
		noted(s, op->how ? ppoll(p, n, &ts, NULL) : poll(p, n, op->ms));
		NOTE_VALUE(s, "revents", p[0].revents << 16 | p[1].revents);
		return;
	}
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&err);
	if (op->events & POLLIN)
		FD_SET(fd, &in);
	if (op->events & POLLOUT)
		FD_SET(fd, &out);
	if (op->events & POLLPRI)
		FD_SET(fd, &err);
	noted(s, op->how == 2 ? select(fd + 1, &in, &out, &err, &tv) : pselect(fd + 1, &in, &out, &err, &ts, NULL));
	NOTE_VALUE(s, "bits", FD_ISSET(fd, &in) | FD_ISSET(fd, &out) << 1 | FD_ISSET(fd, &err) << 2);
}

/* -------------------------------------------------------------------- processes */

struct child_says {
	long ret;
	int err;
	uint32_t hash;
};

static void do_fork(const struct op *op, struct rside *r)
{
	struct side *s = &r->s;
	struct child_says says = { -3, 0, 0 };
	int p[2], status;
	pid_t pid;

	if (pipe(p))
		abort();
	pattern(buf, op->n, s->sent, 0);
	pid = fork();
	if (!pid) {
		alarm(10);
		errno = 0;
		if (op->how == 0)
			says.ret = recv(s->app, buf, op->n, MSG_DONTWAIT);
		else if (op->how == 1)
			says.ret = send(s->app, buf, op->n, MSG_NOSIGNAL);
		else
			says.ret = close(s->app);
		says.err = says.ret < 0 ? errno : 0;
		if (op->how == 0 && says.ret > 0) {
			noted(s, 0);
			s->log[s->n - 1].hash = 0;
			seen(s, buf, (size_t)says.ret);
			says.hash = s->log[s->n - 1].hash;
		}
		_exit(write(p[1], &says, sizeof(says)) != sizeof(says));
	}
	close(p[1]);
	if (read(p[0], &says, sizeof(says)) != sizeof(says))
		says.ret = -4;
	close(p[0]);
	waitpid(pid, &status, 0);
	errno = says.err;
	noted(s, says.ret);
	s->log[s->n - 1].hash = says.hash;
	if (op->how == 1 && says.ret > 0)
		s->sent += (uint64_t)says.ret;
	NOTE_VALUE(s, "the child's status", status);
}

static void do_spawn(const struct op *op, struct rside *r)
{
	char *argv[] = { "true", NULL };
	int status = -1;
	pid_t pid = -1;

	if (op->how) {
		posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ);
	} else {
		pid = vfork();
		if (!pid) {
			execve("/bin/true", argv, environ);
			_exit(127);
		}
	}
	waitpid(pid, &status, 0);
	noted(&r->s, status);
}

static void do_dup(const struct op *op, struct rside *r)
{
	int fd = -1, app = r->s.app;

	errno = 0;
	switch (op->how) {
	case 0:
		fd = dup(app);
		break;
	case 1:
		fd = fcntl(app, F_DUPFD, 200);
		break;
	case 2:
		fd = fcntl(app, F_DUPFD_CLOEXEC, 200);
		break;
	case 3:
		fd = dup2(app, 300 + r->s.fast);
		break;
	default:
		fd = dup3(app, 310 + r->s.fast, O_CLOEXEC);
		break;
	}
	noted(&r->s, fd < 0 ? -1 : 0);
	r->alt = fd;
}

/* To itself; it has another number then */
static void do_pass(struct rside *r)
{
	char control[CMSG_SPACE(sizeof(int))] = "", c = 'x';
	struct iovec iov = { &c, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
	int un[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, un))
		abort();
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &r->s.app, sizeof(int));
	errno = 0;
	noted(&r->s, sendmsg(un[0], &msg, 0));
	NOTE(&r->s, recvmsg(un[1], &msg, 0));
	memcpy(&r->alt, CMSG_DATA(cm), sizeof(int));
	close(un[0]);
	close(un[1]);
}

/* ------------------------------------------------------------------- the peer's */

static void do_peer_hears(const struct op *op, struct rside *r)
{
	struct side *s = &r->s;
	long ret;

	if (op->flags & MSG_DONTWAIT)
		leave(s);
	errno = 0;
	ret = recv(s->peer, buf, op->n, op->flags);
	noted(s, ret);
	if (ret > 0)
		seen(s, buf, (size_t)ret);
}

static void do_close(const struct op *op, struct rside *r)
{
	struct side *s = &r->s;
	struct linger l = { 1, 0 };
	int left = 60;
	long n;

	/* It has come, or not: else it is chance what is a reset */
	leave(s);
	if (op->flags & 1)
		setsockopt(s->app, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	errno = 0;
	noted(s, close(s->app));
	if (r->alt >= 0) {
		/* As long as the other number is open it goes on */
		s->app = r->alt;
		r->alt = -1;
		return;
	}
	s->app = -1;
	s->fin = true;
	if (s->peer >= 0) {
		if (!(op->flags & 1))
			leave(s);
		do {
			n = recv(s->peer, buf, BUF, 0);
			begin_note(s, "the peer's last reads");
			if (n > 0)
				continue;
			noted(s, n);
		} while (n > 0 && left--);
		close(s->peer);
	}
	pair_open(s, (unsigned int)op->how);
}

static void do_new_set(struct rside *r)
{
	errno = 0;
	noted(&r->s, close(r->s.ep));
	close_one(&r->outer);
	r->s.ep = set_new(&r->s);
}

void op_do(const struct op *op, struct rside *r)
{
	struct epoll_event ev = { .events = op->events, .data.u64 = op->data };
	struct linger l = { 1, 0 };
	struct side *s = &r->s;
	struct mmsghdr m = { 0 };
	struct iovec iov = { buf, op->n };
	uint64_t one = 1;
	int v = op->flags;
	long ret;

	begin_note(s, op->text);
	switch (op->kind) {
	case OP_WRITE:
		do_write(op, r);
		break;
	case OP_READ:
		do_read(op, r);
		break;
	case OP_WAIT:
		do_wait(op, r);
		break;
	case OP_CTL:
		do_ctl(op, r);
		break;
	case OP_COUNT:
		do_count(op, r);
		break;
	case OP_POLL:
		do_poll(op, r);
		break;
	case OP_FORK:
		do_fork(op, r);
		break;
	case OP_SPAWN:
		do_spawn(op, r);
		break;
	case OP_DUP:
		do_dup(op, r);
		break;
	case OP_PASS:
		do_pass(r);
		break;
	case OP_PEER_HEARS:
		do_peer_hears(op, r);
		break;
	case OP_CLOSE:
		do_close(op, r);
		break;
	case OP_NEW_SET:
		do_new_set(r);
		break;
	case OP_PEER_SAYS:
		pattern(buf, op->n, s->peer_sent, 1);
		noted(s, ret = send(s->peer, buf, op->n, MSG_NOSIGNAL));
		s->peer_sent += ret > 0 ? (uint64_t)ret : 0;
		break;
	case OP_URGENT:
		if (op->how) {
			noted(s, ret = send(s->app, "!", 1, MSG_OOB | MSG_NOSIGNAL));
			s->sent += ret > 0;
		} else {
			noted(s, ret = send(s->peer, "!", 1, MSG_OOB | MSG_NOSIGNAL));
			s->peer_sent += ret > 0;
		}
		break;
	case OP_EVENTFD:
		noted(s, op->how ? write(r->efd, &one, 8) : read(r->efd, &one, 8));
		break;
	case OP_SLEEP:
		ms_sleep((unsigned int)op->ms);
		noted(s, 0);
		break;
	case OP_PEER_ENDS:
		noted(s, shutdown(s->peer, SHUT_WR));
		s->peer_fin = true;
		break;
	case OP_PEER_CLOSES:
		leave(s);
		arrive(s);
		if (op->how)
			setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		noted(s, close(s->peer));
		s->peer = -1;
		s->peer_fin = true;
		break;
	case OP_SHUTDOWN:
		noted(s, shutdown(s->app, op->flags));
		s->fin = s->fin || op->flags != SHUT_RD;
		break;
	case OP_NONBLOCK:
		if (op->how) {
			noted(s, ioctl(s->app, FIONBIO, &v));
		} else {
			noted(s, fcntl(s->app, F_SETFL, op->flags ? O_NONBLOCK : 0));
		}
		break;
	case OP_MESSAGES:
		m.msg_hdr.msg_iov = &iov;
		m.msg_hdr.msg_iovlen = 1;
		pattern(buf, op->n, s->sent, 0);
		if (op->how) {
			noted(s, ret = sendmmsg(s->app, &m, 1, MSG_NOSIGNAL));
			s->sent += ret == 1 ? m.msg_len : 0;
		} else {
			ret = recvmmsg(s->app, &m, 1, MSG_DONTWAIT, NULL);
			noted(s, ret < 0 ? ret : (long)m.msg_len);
			if (ret == 1)
				seen(s, buf, m.msg_len);
		}
		break;
	case OP_TWO_SETS:
		noted(s, epoll_ctl(r->other, op->flags, s->app, &ev));
		break;
	case OP_NESTED:
		r->outer = set_new(s);
		noted(s, epoll_ctl(r->outer, EPOLL_CTL_ADD, s->ep, &ev));
		ret = epoll_wait(r->outer, &ev, 1, 0);
		note_events(s, op->text, (int)ret, 0, &ev);
		break;
	case OP_LOWAT:
		noted(s, setsockopt(s->app, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof(v)));
		break;
	case OPS:
		break;
	}
}
