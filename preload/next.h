/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * next.h - libc's calls behind those that this library has put before them
 */
#ifndef STACKMAP_NEXT_H
#define STACKMAP_NEXT_H

#include <poll.h>
#include <stdarg.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define NEXT_CALLS(X)									\
	X(int, socket, (int, int, int))							\
	X(int, socketpair, (int, int, int, int *))					\
	X(int, listen, (int, int))							\
	X(int, accept, (int, struct sockaddr *, socklen_t *))				\
	X(int, accept4, (int, struct sockaddr *, socklen_t *, int))			\
	X(int, connect, (int, const struct sockaddr *, socklen_t))			\
	X(int, shutdown, (int, int))							\
	X(int, close, (int))								\
	X(int, close_range, (unsigned int, unsigned int, int))				\
	X(void, closefrom, (int))							\
	X(int, fclose, (FILE *))							\
	X(FILE *, fdopen, (int, const char *))						\
	X(int, dup, (int))								\
	X(int, dup2, (int, int))							\
	X(int, dup3, (int, int, int))							\
	X(int, fcntl, (int, int, ...))							\
	X(int, fcntl64, (int, int, ...))						\
	X(int, ioctl, (int, unsigned long, ...))					\
	X(int, getsockopt, (int, int, int, void *, socklen_t *))			\
	X(int, setsockopt, (int, int, int, const void *, socklen_t))			\
	X(ssize_t, read, (int, void *, size_t))						\
	X(ssize_t, readv, (int, const struct iovec *, int))				\
	X(ssize_t, recv, (int, void *, size_t, int))					\
	X(ssize_t, recvfrom, (int, void *, size_t, int, struct sockaddr *, socklen_t *)) \
	X(ssize_t, recvmsg, (int, struct msghdr *, int))				\
	X(int, recvmmsg, (int, struct mmsghdr *, unsigned int, int, struct timespec *))	\
	X(ssize_t, write, (int, const void *, size_t))					\
	X(ssize_t, writev, (int, const struct iovec *, int))				\
	X(ssize_t, send, (int, const void *, size_t, int))				\
	X(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t)) \
	X(ssize_t, sendmsg, (int, const struct msghdr *, int))				\
	X(int, sendmmsg, (int, struct mmsghdr *, unsigned int, int))			\
	X(ssize_t, sendfile, (int, int, off_t *, size_t))				\
	X(ssize_t, splice, (int, off_t *, int, off_t *, size_t, unsigned int))		\
	X(ssize_t, vmsplice, (int, const struct iovec *, size_t, unsigned int))		\
	X(int, poll, (struct pollfd *, nfds_t, int))					\
	X(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)) \
	X(int, select, (int, fd_set *, fd_set *, fd_set *, struct timeval *))		\
	X(int, pselect, (int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)) \
	X(int, epoll_create, (int))							\
	X(int, epoll_create1, (int))							\
	X(int, epoll_ctl, (int, int, int, struct epoll_event *))			\
	X(int, epoll_wait, (int, struct epoll_event *, int, int))			\
	X(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *))	\
	X(int, epoll_pwait2, (int, struct epoll_event *, int, const struct timespec *, const sigset_t *)) \
	X(int, open, (const char *, int, ...))						\
	X(int, open64, (const char *, int, ...))					\
	X(int, openat, (int, const char *, int, ...))					\
	X(int, openat64, (int, const char *, int, ...))					\
	X(int, creat, (const char *, mode_t))						\
	X(int, pipe, (int *))								\
	X(int, pipe2, (int *, int))							\
	X(int, eventfd, (unsigned int, int))						\
	X(int, timerfd_create, (int, int))						\
	X(int, signalfd, (int, const sigset_t *, int))					\
	X(int, inotify_init, (void))							\
	X(int, inotify_init1, (int))							\
	X(int, memfd_create, (const char *, unsigned int))				\
	X(int, execve, (const char *, char *const *, char *const *))			\
	X(int, execv, (const char *, char *const *))					\
	X(int, execvp, (const char *, char *const *))					\
	X(int, execvpe, (const char *, char *const *, char *const *))			\
	X(int, fexecve, (int, char *const *, char *const *))				\
	X(void, _exit, (int))								\
	X(void, _Exit, (int))								\
	X(int, system, (const char *))							\
	X(FILE *, popen, (const char *, const char *))					\
	X(int, vdprintf, (int, const char *, va_list))					\
	X(ssize_t, preadv2, (int, const struct iovec *, int, off_t, int))		\
	X(ssize_t, pwritev2, (int, const struct iovec *, int, off_t, int))		\
	X(int, posix_spawn, (pid_t *, const char *, const posix_spawn_file_actions_t *,	\
			     const posix_spawnattr_t *, char *const *, char *const *))	\
	X(int, posix_spawnp, (pid_t *, const char *, const posix_spawn_file_actions_t *,	\
			      const posix_spawnattr_t *, char *const *, char *const *))	\
	X(long, syscall, (long, ...))

#define NEXT_FIELD(ret, name, args) ret (*name) args;
extern struct next_calls {
	NEXT_CALLS(NEXT_FIELD)
} next_calls;

extern int next_ready;
void next_init(void);

/* Before any constructor of ours has run, too */
static inline const struct next_calls *next(void)
{
	if (__builtin_expect(!__atomic_load_n(&next_ready, __ATOMIC_ACQUIRE), 0))
		next_init();
	return &next_calls;
}

#endif /* STACKMAP_NEXT_H */
