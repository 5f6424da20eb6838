// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * calls.c - the intercepted calls: each looks up the descriptor, and goes on
 *
 * What is not attached goes to libc at once. What is, and what the library does not do itself, is made plain
 * before. A child of vfork() runs in its parent's memory, and touches nothing here.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "next.h"
#include "preload.h"

#define PUBLIC __attribute__((visibility("default")))

/* The kernel does it, now */
static bool plain(int fd, const char *why)
{
	struct sock *s = fd_sock(fd);

	return likely(!s) || stream_plain(fd, s, why, false);
}

/* False: what it writes would be ahead of what was written before, and the program tries again */
static bool may_write(int fd, const char *why)
{
	if (likely(plain(fd, why)))
		return true;
	errno = EAGAIN;
	return false;
}

/* Likewise of what it reads. *@reads is for KERNEL_READ() then */
static bool may_read(int fd, const char *why, struct sock **reads)
{
	*reads = fd_sock(fd);
	if (likely(!*reads) || stream_plain_read(fd, reads, why))
		return true;
	errno = EAGAIN;
	return false;
}

/* And from now on. False: it cannot yet (stream_plain()) */
static bool never(int fd, const char *why)
{
	struct set *set = fd_set_of(fd);

	if (set)
		wait_never(fd, set, why);
	return !ports_any() || stream_never(fd, why);
}

/* Somebody else is to have it, too, by another number or in another process */
static bool may_be_shared(int fd, const char *why, int error)
{
	if (likely(never(fd, why)))
		return true;
	errno = error;
	return false;
}

static bool is_ours(int fd)
{
	return unlikely(fd_kind(fd) == FD_OURS);
}

/* ------------------------------------------------------------ descriptors come */

static int other(int fd)
{
	fd_new(fd, FD_OTHER);
	return fd;
}

PUBLIC int socket(int domain, int type, int protocol)
{
	int fd = next()->socket(domain, type, protocol);
	bool tcp = (domain == AF_INET || domain == AF_INET6) &&
		   (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM &&
		   (!protocol || protocol == IPPROTO_TCP);

	fd_new(fd, tcp ? FD_TCP : FD_OTHER);
	if (fd >= 0)
		fd_set_nonblock(fd, type & SOCK_NONBLOCK);
	return fd;
}

PUBLIC int socketpair(int domain, int type, int protocol, int sv[2])
{
	int ret = next()->socketpair(domain, type, protocol, sv);

	if (!ret) {
		other(sv[0]);
		other(sv[1]);
	}
	return ret;
}

/* A child of a TCP listener is a TCP socket */
static int accepted(int listener, int fd, int nonblock)
{
	if (fd < 0)
		return fd;
	fd_new(fd, fd_kind(listener) == FD_LISTENER ? FD_TCP : FD_UNKNOWN);
	fd_set_nonblock(fd, nonblock);
	if (fd_ent(fd))
		ent_is_accepted(fd_ent(fd), true);
	return fd;
}

PUBLIC int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return accepted(fd, next()->accept(fd, addr, len), 0);
}

PUBLIC int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return accepted(fd, next()->accept4(fd, addr, len, flags), flags & SOCK_NONBLOCK);
}

PUBLIC int listen(int fd, int backlog)
{
	struct fdent *e = fd_ent(fd);
	int ret;

	never(fd, "listen()");
	ret = next()->listen(fd, backlog);
	/* FD_OTHER by now: what it is, is asked when somebody wants to know */
	if (!ret && e && !fd_sock(fd) && ports_any() && !stackmap_vforked) {
		fd_is(e, FD_UNKNOWN);
		fd_is_stream(fd);
	}
	return ret;
}

PUBLIC int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return other(next()->open(path, flags, mode));
}

PUBLIC int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return other(next()->open64(path, flags, mode));
}

PUBLIC int openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return other(next()->openat(dir, path, flags, mode));
}

PUBLIC int openat64(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return other(next()->openat64(dir, path, flags, mode));
}

PUBLIC int creat(const char *path, mode_t mode)
{
	return other(next()->creat(path, mode));
}

PUBLIC int pipe(int fds[2])
{
	int ret = next()->pipe(fds);

	if (!ret) {
		other(fds[0]);
		other(fds[1]);
	}
	return ret;
}

PUBLIC int pipe2(int fds[2], int flags)
{
	int ret = next()->pipe2(fds, flags);

	if (!ret) {
		other(fds[0]);
		other(fds[1]);
	}
	return ret;
}

PUBLIC int eventfd(unsigned int count, int flags)
{
	return other(next()->eventfd(count, flags));
}

PUBLIC int timerfd_create(int clock, int flags)
{
	return other(next()->timerfd_create(clock, flags));
}

PUBLIC int signalfd(int fd, const sigset_t *mask, int flags)
{
	int ret = next()->signalfd(fd, mask, flags);

	return fd < 0 ? other(ret) : ret;
}

PUBLIC int inotify_init(void)
{
	return other(next()->inotify_init());
}

PUBLIC int inotify_init1(int flags)
{
	return other(next()->inotify_init1(flags));
}

PUBLIC int memfd_create(const char *name, unsigned int flags)
{
	return other(next()->memfd_create(name, flags));
}

static int new_set(int fd)
{
	int err = errno;

	if (fd < 0)
		return fd;
	fd_new(fd, FD_OTHER);
	if (ports_any() && !stackmap_vforked)
		set_new(fd);
	errno = err;
	return fd;
}

PUBLIC int epoll_create(int size)
{
	return new_set(next()->epoll_create(size));
}

PUBLIC int epoll_create1(int flags)
{
	return new_set(next()->epoll_create1(flags));
}

/* Two numbers of one socket: the kernel keeps them apart */
static int duplicated(int fd)
{
	fd_new(fd, FD_OTHER);
	return fd;
}

PUBLIC int dup(int fd)
{
	if (is_ours(fd)) {
		errno = EBADF;
		return -1;
	}
	if (!may_be_shared(fd, "dup()", ENOMEM))
		return -1;
	return duplicated(next()->dup(fd));
}

/* What had the number that is taken over is closed by that */
static bool takes_over(int fd, int to)
{
	struct sock *s = fd_sock(to);
	struct set *set = fd_set_of(to);

	if (is_ours(fd) || is_ours(to)) {
		errno = EBADF;
		return false;
	}
	if (fd == to || fcntl(fd, F_GETFD) < 0 || stackmap_vforked)
		return true;
	if (!may_be_shared(fd, "dup()", ENOMEM))
		return false;
	if (s)
		stream_plain(to, s, "its number is taken over", true);
	else if (set)
		wait_close(to, set);
	return true;
}

PUBLIC int dup2(int fd, int to)
{
	if (!takes_over(fd, to))
		return -1;
	return fd == to ? next()->dup2(fd, to) : duplicated(next()->dup2(fd, to));
}

PUBLIC int dup3(int fd, int to, int flags)
{
	if (!takes_over(fd, to))
		return -1;
	return fd == to ? next()->dup3(fd, to, flags) : duplicated(next()->dup3(fd, to, flags));
}

/* --------------------------------------------------------------- descriptors go */

PUBLIC int close(int fd)
{
	struct set *set;
	struct sock *s;
	int ret;

	if (is_ours(fd)) {
		errno = EBADF;
		return -1;
	}
	/* (In a signal handler that has interrupted one of these calls the number is found out to be new later) */
	if (stackmap_vforked || self.busy)
		return next()->close(fd);
	s = fd_sock(fd);
	set = fd_set_of(fd);
	if (s && stream_close(fd, s, &ret))
		return ret;
	if (set)
		wait_close(fd, set);
	if (fd_ent(fd))
		fd_gone(fd_ent(fd));
	return next()->close(fd);
}

PUBLIC int fclose(FILE *f)
{
	int fd = fileno(f);


	never(fd, "fclose()");
	/* Before it is: another thread may get the number at once */
	fd_new(fd, FD_UNKNOWN);
	return next()->fclose(f);
}

PUBLIC FILE *fdopen(int fd, const char *mode)
{
	never(fd, "fdopen()");
	return next()->fdopen(fd, mode);
}

/* All of the range but what is ours */
static int close_all(unsigned int first, unsigned int last, unsigned int flags)
{
	unsigned int fd, from = first;
	int ret = 0;

	if (first > last)
		return next()->close_range(first, last, (int)flags);
	for (fd = first; fd <= last && fd < fd_count; fd++) {
		enum fd_kind kind = fd_kind((int)fd);

		if (kind != FD_OURS) {
			if (!flags && !stackmap_vforked && (kind == FD_SOCK || kind == FD_SET))
				close((int)fd);
			else if (!flags && !stackmap_vforked && kind != FD_UNKNOWN)
				fd_gone(&fd_table[fd]);
			continue;
		}
		if (fd > from)
			ret = next()->close_range(from, fd - 1, (int)flags);
		from = fd + 1;
	}
	return from > last ? ret : next()->close_range(from, last, (int)flags);
}

PUBLIC int close_range(unsigned int first, unsigned int last, int flags)
{
	if (!ports_any())
		return next()->close_range(first, last, flags);
	return close_all(first, last, (unsigned int)flags);
}

PUBLIC void closefrom(int first)
{
	if (!ports_any() || close_all(first < 0 ? 0 : (unsigned int)first, ~0u, 0))
		next()->closefrom(first);
}

PUBLIC int shutdown(int fd, int how)
{
	struct sock *s = fd_sock(fd);
	int ret;

	if (s && stream_shutdown(fd, s, how, &ret))
		return ret;
	if (!s)
		never(fd, "shutdown()");
	return next()->shutdown(fd, how);
}

/* ------------------------------------------------------------------ what they are */

PUBLIC int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sock *s;
	int ret, err;

	if (addr && len >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC)
		never(fd, "connect(AF_UNSPEC)");
	plain(fd, "connect()");
	if (fd_ent(fd) && !stackmap_vforked)
		ent_is_accepted(fd_ent(fd), false);
	ret = next()->connect(fd, addr, len);
	s = fd_sock(fd);
	if (s && (!ret || errno == EINPROGRESS)) {
		err = errno;
		wait_again(fd, s);
		errno = err;
	}
	return ret;
}

static void nonblocking(int fd, bool nonblock)
{
	struct sock *s = fd_sock(fd);

	if (s && !nonblock)
		stream_plain(fd, s, "it is blocking", false);
	fd_set_nonblock(fd, nonblock);
	if (s && nonblock)
		wait_again(fd, s);
}

static int do_fcntl(int (*call)(int, int, ...), int fd, int cmd, long arg)
{
	int ret;

	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (is_ours(fd)) {
			errno = EBADF;
			return -1;
		}
		if (!may_be_shared(fd, "dup()", ENOMEM))
			return -1;
		return duplicated(call(fd, cmd, arg));
	case F_SETFL:
		ret = call(fd, cmd, arg);
		if (!ret && ports_any() && !stackmap_vforked)
			nonblocking(fd, arg & O_NONBLOCK);
		return ret;
	case F_SETOWN:
	case F_SETSIG:
		never(fd, "F_SETOWN");
		return call(fd, cmd, arg);
	default:
		return call(fd, cmd, arg);
	}
}

PUBLIC int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return do_fcntl(next()->fcntl, fd, cmd, arg);
}

PUBLIC int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return do_fcntl(next()->fcntl64, fd, cmd, arg);
}

PUBLIC int ioctl(int fd, unsigned long request, ...)
{
	struct sock *s = fd_sock(fd);
	va_list ap;
	int ret, n;
	long arg;

	va_start(ap, request);
	arg = va_arg(ap, long);
	va_end(ap);
	if (likely(!s) && request != FIONBIO)
		return next()->ioctl(fd, request, arg);
	switch (request) {
	case FIONBIO:
		ret = next()->ioctl(fd, request, arg);
		if (!ret && ports_any() && !stackmap_vforked)
			nonblocking(fd, *(int *)arg);
		return ret;
	case FIONREAD:
		ret = next()->ioctl(fd, request, arg);
		if (!ret && stream_unread(fd, s, &n))
			*(int *)arg += n;
		return ret;
	case SIOCOUTQ:
	case SIOCOUTQNSD:
		stream_flush(fd, s);
		ret = next()->ioctl(fd, request, arg);
		if (!ret && stream_unsent(fd, s, &n))
			*(int *)arg += n;
		return ret;
	default:
		plain(fd, "ioctl()");
		return next()->ioctl(fd, request, arg);
	}
}

/* Which the kernel has to see, from now on: they change what is read, or how */
static bool changes_reading(int level, int name)
{
	switch (level) {
	case SOL_SOCKET:
		return name == SO_RCVLOWAT || name == SO_OOBINLINE || name == SO_TIMESTAMP ||
		       name == SO_TIMESTAMPNS || name == SO_TIMESTAMPING || name == SO_PEEK_OFF ||
		       name == SO_ZEROCOPY || name == SO_RXQ_OVFL;
	case IPPROTO_TCP:
		return name == TCP_ULP || name == TCP_REPAIR || name == TCP_INQ ||
		       name == TCP_ZEROCOPY_RECEIVE || name == TCP_NOTSENT_LOWAT;
	case IPPROTO_IP:
		return name == IP_RECVERR;
	case IPPROTO_IPV6:
		return name == IPV6_RECVERR;
	default:
		return false;
	}
}

PUBLIC int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct sock *s = fd_sock(fd);

	if (s && level == IPPROTO_TCP && name == TCP_CORK && value && (int)len >= (int)sizeof(int) &&
	    stream_cork(fd, s, *(const int *)value))
		return 0;
	if (unlikely(s || ports_any()) && changes_reading(level, name))
		never(fd, "setsockopt()");
	/* What was written before has the option as it was */
	else if (s && level == IPPROTO_TCP)
		stream_flush(fd, s);
	return next()->setsockopt(fd, level, name, value, len);
}

PUBLIC int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct sock *s = fd_sock(fd);

	/* The kernel knows it then */
	if (s && level == IPPROTO_TCP && name == TCP_CORK)
		stream_flush(fd, s);
	return next()->getsockopt(fd, level, name, value, len);
}

/* ------------------------------------------------------------------------- bytes */

PUBLIC ssize_t read(int fd, void *buf, size_t n)
{
	struct sock *s = fd_sock(fd);
	struct iovec iov = { buf, n };
	ssize_t ret;

	/* Of nothing read() says 0, and recv() does not */
	if (!n)
		return next()->read(fd, buf, n);
	if (s && stream_recv(fd, &s, &iov, 1, 0, &ret))
		return ret;
	return KERNEL_READ(s, next()->read(fd, buf, n));
}

static bool is_empty(const struct iovec *iov, int n)
{
	while (n--)
		if (iov++->iov_len)
			return false;
	return true;
}

PUBLIC ssize_t readv(int fd, const struct iovec *iov, int n)
{
	struct sock *s = fd_sock(fd);
	ssize_t ret;

	if (!s || n < 0 || n > IOV_MAX || is_empty(iov, n))
		return next()->readv(fd, iov, n);
	if (stream_recv(fd, &s, iov, n, 0, &ret))
		return ret;
	return KERNEL_READ(s, next()->readv(fd, iov, n));
}

PUBLIC ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct sock *s = fd_sock(fd);
	struct iovec iov = { buf, n };
	ssize_t ret;

	if (s && stream_recv(fd, &s, &iov, 1, flags, &ret))
		return ret;
	return KERNEL_READ(s, next()->recv(fd, buf, n, flags));
}

PUBLIC ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct sock *s = fd_sock(fd);
	struct iovec iov = { buf, n };
	ssize_t ret;

	/* TCP has no address for it */
	if (s && stream_recv(fd, &s, &iov, 1, flags, &ret)) {
		if (ret >= 0 && addr && len)
			*len = 0;
		return ret;
	}
	return KERNEL_READ(s, next()->recvfrom(fd, buf, n, flags, addr, len));
}

PUBLIC ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct sock *s = fd_sock(fd);
	struct cmsghdr *c;
	ssize_t ret;

	if (!msg || msg->msg_iovlen > IOV_MAX)
		return next()->recvmsg(fd, msg, flags);
	if (s && stream_recv(fd, &s, msg->msg_iov, (int)msg->msg_iovlen, flags, &ret)) {
		if (ret >= 0) {
			msg->msg_namelen = 0;
			msg->msg_controllen = 0;
			msg->msg_flags = flags & MSG_CMSG_CLOEXEC;
		}
		return ret;
	}
	ret = KERNEL_READ(s, next()->recvmsg(fd, msg, flags));
	if (ret < 0 || !msg->msg_control)
		return ret;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		/* Others may have them, too */
		for (i = 0; c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && i < n; i++) {
			int passed;

			memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			fd_new(passed, FD_OTHER);
		}
	}
	return ret;
}

PUBLIC int recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags, struct timespec *timeout)
{
	struct sock *s;

	if (!may_read(fd, "recvmmsg()", &s))
		return -1;
	return (int)KERNEL_READ(s, next()->recvmmsg(fd, msgs, n, flags, timeout));
}

PUBLIC ssize_t write(int fd, const void *buf, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)buf, n };
	struct sock *s = fd_sock(fd);
	ssize_t ret;

	if (s && stream_send(fd, s, &iov, 1, 0, &ret))
		return ret;
	return next()->write(fd, buf, n);
}

PUBLIC ssize_t writev(int fd, const struct iovec *iov, int n)
{
	struct sock *s = fd_sock(fd);
	ssize_t ret;

	if (s && n >= 0 && n <= IOV_MAX && stream_send(fd, s, iov, n, 0, &ret))
		return ret;
	return next()->writev(fd, iov, n);
}

PUBLIC ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct iovec iov = { (void *)(uintptr_t)buf, n };
	struct sock *s = fd_sock(fd);
	ssize_t ret;

	if (s && stream_send(fd, s, &iov, 1, flags, &ret))
		return ret;
	return next()->send(fd, buf, n, flags);
}

PUBLIC ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
		      socklen_t len)
{
	struct iovec iov = { (void *)(uintptr_t)buf, n };
	struct sock *s = fd_sock(fd);
	ssize_t ret;

	/* TCP looks at an address only to connect with it, and it is connected */
	if (s && !(flags & MSG_FASTOPEN) && stream_send(fd, s, &iov, 1, flags, &ret))
		return ret;
	return next()->sendto(fd, buf, n, flags, addr, len);
}

/* Whoever gets it has it, too */
static bool passes(const struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, c)) {
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (i = 0; c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (!may_be_shared(fd, "SCM_RIGHTS", ENOBUFS))
				return false;
		}
	}
	return true;
}

PUBLIC ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct sock *s = fd_sock(fd);
	ssize_t ret;

	if (s && msg && !msg->msg_controllen && msg->msg_iovlen <= IOV_MAX &&
	    stream_send(fd, s, msg->msg_iov, (int)msg->msg_iovlen, flags, &ret))
		return ret;
	if (s ? !may_write(fd, "sendmsg() with control data") : msg && msg->msg_controllen && !passes(msg))
		return -1;
	return next()->sendmsg(fd, msg, flags);
}

PUBLIC int sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	if (!may_write(fd, "sendmmsg()"))
		return -1;
	return next()->sendmmsg(fd, msgs, n, flags);
}

PUBLIC ssize_t sendfile(int out, int in, off_t *off, size_t count)
{
	struct sock *s = fd_sock(out);
	ssize_t ret;

	plain(in, "sendfile()");
	if (s && stream_sendfile(out, s, in, off, count, &ret))
		return ret;
	return next()->sendfile(out, in, off, count);
}

PUBLIC ssize_t sendfile64(int out, int in, off64_t *off, size_t count)
{
	return sendfile(out, in, off, count);
}

PUBLIC ssize_t splice(int in, off_t *off_in, int out, off_t *off_out, size_t n, unsigned int flags)
{
	struct sock *s;

	if (!may_write(out, "splice()") || !may_read(in, "splice()", &s))
		return -1;
	return KERNEL_READ(s, next()->splice(in, off_in, out, off_out, n, flags));
}

PUBLIC ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned int flags)
{
	if (!may_write(fd, "vmsplice()"))
		return -1;
	return next()->vmsplice(fd, iov, n, flags);
}

/* What libc writes by itself is behind what was written before */
PUBLIC int vdprintf(int fd, const char *format, va_list ap)
{
	if (!may_write(fd, "dprintf()"))
		return -1;
	return next()->vdprintf(fd, format, ap);
}

PUBLIC int dprintf(int fd, const char *format, ...)
{
	va_list ap;
	int ret;

	va_start(ap, format);
	ret = vdprintf(fd, format, ap);
	va_end(ap);
	return ret;
}

PUBLIC int __vdprintf_chk(int fd, int flag, const char *format, va_list ap);
int __vdprintf_chk(int fd, int flag, const char *format, va_list ap)
{
	(void)flag;
	return vdprintf(fd, format, ap);
}

PUBLIC int __dprintf_chk(int fd, int flag, const char *format, ...);
int __dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list ap;
	int ret;

	(void)flag;
	va_start(ap, format);
	ret = vdprintf(fd, format, ap);
	va_end(ap);
	return ret;
}

PUBLIC ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct sock *s;

	if (!may_read(fd, "preadv2()", &s))
		return -1;
	return KERNEL_READ(s, next()->preadv2(fd, iov, n, off, flags));
}

PUBLIC ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return preadv2(fd, iov, n, off, flags);
}

PUBLIC ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	if (!may_write(fd, "pwritev2()"))
		return -1;
	return next()->pwritev2(fd, iov, n, off, flags);
}

PUBLIC ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return pwritev2(fd, iov, n, off, flags);
}

/* The variants of _FORTIFY_SOURCE */
__attribute__((noreturn)) void __chk_fail(void);

PUBLIC ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
	if (n > size)
		__chk_fail();
	return read(fd, buf, n);
}

PUBLIC ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	if (n > size)
		__chk_fail();
	return recv(fd, buf, n, flags);
}

PUBLIC ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
			      struct sockaddr *addr, socklen_t *len)
{
	if (n > size)
		__chk_fail();
	return recvfrom(fd, buf, n, flags, addr, len);
}

/* ----------------------------------------------------------------------- waiting */

/* No time: for ever */
static const struct timespec *of_ms(int ms, struct timespec *ts)
{
	if (ms < 0)
		return NULL;
	ts->tv_sec = ms / 1000;
	ts->tv_nsec = ms % 1000 * 1000000L;
	return ts;
}

PUBLIC int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts;
	int ret;

	if (unlikely(ports_any()) && poll_poll(fds, n, of_ms(timeout, &ts), NULL, &ret))
		return ret;
	return next()->poll(fds, n, timeout);
}

PUBLIC int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	int ret;

	if (unlikely(ports_any()) && poll_poll(fds, n, timeout, mask, &ret))
		return ret;
	return next()->ppoll(fds, n, timeout, mask);
}

PUBLIC int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

PUBLIC int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		       const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, timeout, mask);
}

PUBLIC int select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	struct timespec ts;
	bool done;
	int ret;

	/* (What is not valid is the kernel's to refuse. Microseconds may be more than a second's) */
	if (likely(!ports_any()) || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
		return next()->select(n, r, w, e, timeout);
	if (timeout) {
		ts.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
		ts.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	}
	done = poll_select(n, r, w, e, timeout ? &ts : NULL, NULL, &ret);
	/* As Linux has it */
	if (timeout) {
		timeout->tv_sec = ts.tv_sec;
		timeout->tv_usec = ts.tv_nsec / 1000;
	}
	return done ? ret : next()->select(n, r, w, e, timeout);
}

PUBLIC int pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
		   const sigset_t *mask)
{
	struct timespec ts;
	int ret;

	if (likely(!ports_any()))
		return next()->pselect(n, r, w, e, timeout, mask);
	if (timeout)
		ts = *timeout;
	if (poll_select(n, r, w, e, timeout ? &ts : NULL, mask, &ret))
		return ret;
	return next()->pselect(n, r, w, e, timeout ? &ts : NULL, mask);
}

PUBLIC int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return wait_ctl(epfd, op, fd, ev);
}

PUBLIC int epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	struct timespec ts;

	if (!fd_set_of(epfd))
		return next()->epoll_wait(epfd, ev, max, ms);
	return wait_wait(epfd, ev, max, of_ms(ms, &ts), NULL);
}

PUBLIC int epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms, const sigset_t *mask)
{
	struct timespec ts;

	if (!fd_set_of(epfd))
		return next()->epoll_pwait(epfd, ev, max, ms, mask);
	return wait_wait(epfd, ev, max, of_ms(ms, &ts), mask);
}

PUBLIC int epoll_pwait2(int epfd, struct epoll_event *ev, int max, const struct timespec *timeout,
			const sigset_t *mask)
{
	if (!fd_set_of(epfd))
		return next()->epoll_pwait2(epfd, ev, max, timeout, mask);
	return wait_wait(epfd, ev, max, timeout, mask);
}

/* ---------------------------------------------------------------- other programs */

PUBLIC int execve(const char *path, char *const argv[], char *const envp[])
{
	process_before_exec();
	return next()->execve(path, argv, envp);
}

PUBLIC int execv(const char *path, char *const argv[])
{
	process_before_exec();
	return next()->execv(path, argv);
}

PUBLIC int execvp(const char *file, char *const argv[])
{
	process_before_exec();
	return next()->execvp(file, argv);
}

PUBLIC int execvpe(const char *file, char *const argv[], char *const envp[])
{
	process_before_exec();
	return next()->execvpe(file, argv, envp);
}

PUBLIC int fexecve(int fd, char *const argv[], char *const envp[])
{
	process_before_exec();
	return next()->fexecve(fd, argv, envp);
}

/* The arguments of execl() and its like, counted and then copied */
#define GATHER(arg, argv, ap)								\
	do {										\
		size_t gather_n = 1, gather_i;						\
		va_start(ap, arg);							\
		while (va_arg(ap, char *))						\
			gather_n++;							\
		va_end(ap);								\
		argv = __builtin_alloca((gather_n + 1) * sizeof(*argv));		\
		va_start(ap, arg);							\
		argv[0] = (char *)(uintptr_t)arg;					\
		for (gather_i = 1; gather_i <= gather_n; gather_i++)			\
			argv[gather_i] = va_arg(ap, char *);				\
	} while (0)

PUBLIC int execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	GATHER(arg, argv, ap);
	va_end(ap);
	return execv(path, argv);
}

PUBLIC int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	GATHER(arg, argv, ap);
	va_end(ap);
	return execvp(file, argv);
}

PUBLIC int execle(const char *path, const char *arg, ...)
{
	char **argv, **envp;
	va_list ap;

	GATHER(arg, argv, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}

/* What a spawned program inherits is plain: nothing is, that is closed on exec */
PUBLIC int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	process_before_spawn();
	return next()->posix_spawn(pid, path, actions, attr, argv, envp);
}

PUBLIC int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	process_before_spawn();
	return next()->posix_spawnp(pid, file, actions, attr, argv, envp);
}

PUBLIC void _exit(int status)
{
	process_before_end();
	next()->_exit(status);
	__builtin_unreachable();
}

PUBLIC void _Exit(int status)
{
	process_before_end();
	next()->_Exit(status);
	__builtin_unreachable();
}

PUBLIC int system(const char *command)
{
	process_before_spawn();
	return next()->system(command);
}

PUBLIC FILE *popen(const char *command, const char *mode)
{
	process_before_spawn();
	return next()->popen(command, mode);
}

/*
 * vfork() returns twice, so that no C function can stand before it: the return address is kept in
 * a register meanwhile, as libc's own does. The child marks the thread, whose memory it shares,
 * and the parent, which runs when the child has gone, takes the mark away.
 */
__attribute__((visibility("hidden"))) void stackmap_before_vfork(void);
void stackmap_before_vfork(void)
{
	process_before_spawn();
}

__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	subq $8, %rsp\n"
	"	call stackmap_before_vfork\n"
	"	addq $8, %rsp\n"
	"	popq %rdi\n"
	"	movl $58, %eax\n"
	"	syscall\n"
	"	pushq %rdi\n"
	"	movq stackmap_vforked@gottpoff(%rip), %rcx\n"
	"	cmpq $-4095, %rax\n"
	"	jae 2f\n"
	"	testl %eax, %eax\n"
	"	jnz 1f\n"
	"	movl $1, %fs:(%rcx)\n"
	"	ret\n"
	"1:	movl $0, %fs:(%rcx)\n"
	"	ret\n"
	"2:	negl %eax\n"
	"	pushq %rax\n"
	"	call __errno_location@PLT\n"
	"	popq %rcx\n"
	"	movl %ecx, (%rax)\n"
	"	movq $-1, %rax\n"
	"	ret\n"
	".size vfork, .-vfork\n");

/* A raw system call that is made known here */
PUBLIC long syscall(long nr, ...)
{
	long a[6];
	va_list ap;
	int i;

	va_start(ap, nr);
	for (i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (unlikely(ports_any())) {
		switch (nr) {
		case SYS_read: case SYS_write: case SYS_readv: case SYS_writev: case SYS_recvfrom:
		case SYS_sendto: case SYS_recvmsg: case SYS_sendmsg: case SYS_shutdown:
		case SYS_dup: case SYS_dup2: case SYS_dup3: case SYS_sendfile: case SYS_ioctl:
			never((int)a[0], "a raw system call");
			break;
		case SYS_close:
			return close((int)a[0]);
		case SYS_setsockopt:
			return setsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3], (socklen_t)a[4]);
		case SYS_getsockopt:
			return getsockopt((int)a[0], (int)a[1], (int)a[2], (void *)a[3], (socklen_t *)a[4]);
		case SYS_epoll_wait: case SYS_epoll_pwait: case SYS_epoll_pwait2: case SYS_epoll_ctl:
			never((int)a[0], "a raw system call");
			break;
		case SYS_io_uring_setup:
			process_before_exec();
			break;
		default:
			break;
		}
	}
	return next()->syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
