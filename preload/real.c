// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * real.c - system calls that nobody intercepts, and that are no cancellation points
 */
#define _GNU_SOURCE 1

#include "real.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>

/* syscall() of libc is one of those that are intercepted */
static long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	if ((unsigned long)ret > -4096UL) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

static long third(va_list ap)
{
	return va_arg(ap, long);
}

int open(const char *path, int flags, ...)
{
	va_list ap;
	long mode;

	va_start(ap, flags);
	mode = third(ap);
	va_end(ap);
	return (int)call(SYS_open, (long)path, flags, mode, 0, 0);
}

int close(int fd)
{
	return (int)call(SYS_close, fd, 0, 0, 0, 0);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	long arg;

	va_start(ap, request);
	arg = third(ap);
	va_end(ap);
	return (int)call(SYS_ioctl, fd, (long)request, arg, 0, 0);
}

int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = third(ap);
	va_end(ap);
	return (int)call(SYS_fcntl, fd, cmd, arg, 0, 0);
}

int shutdown(int fd, int how)
{
	return (int)call(SYS_shutdown, fd, how, 0, 0, 0);
}

int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left, *t = NULL;

	/* The kernel writes what is left */
	if (timeout) {
		left = *timeout;
		t = &left;
	}
	return (int)call(SYS_ppoll, (long)fds, (long)n, (long)t, (long)mask, _NSIG / 8);
}

/* What is ready now */
int stackmap_real_epoll_look(int epfd, struct epoll_event *ev, int max)
{
	return (int)call(SYS_epoll_wait, epfd, (long)ev, max, 0, 0);
}

int stackmap_real_poll_look(struct pollfd *fds, unsigned long n)
{
	struct timespec none = { 0, 0 };

	return (int)call(SYS_ppoll, (long)fds, (long)n, (long)&none, 0, _NSIG / 8);
}

long stackmap_real_pread(int fd, void *buf, unsigned long n, long off)
{
	return call(SYS_pread64, fd, (long)buf, (long)n, off, 0);
}

/* (The offset's upper half is in a register of its own, which 64 bits do not need) */
long stackmap_real_preadv(int fd, const struct iovec *iov, int n, long off)
{
	return call(SYS_preadv, fd, (long)iov, n, off, 0);
}
