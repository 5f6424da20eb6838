/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * real.h - system calls for libstackmap's own files, which would find our calls by libc's names
 *
 * Included before all else when they are compiled for the preload library.
 */
#ifndef STACKMAP_REAL_H
#define STACKMAP_REAL_H

#define open		stackmap_real_open
#define close		stackmap_real_close
#define ioctl		stackmap_real_ioctl
#define fcntl		stackmap_real_fcntl
#define ppoll		stackmap_real_ppoll
#define shutdown	stackmap_real_shutdown

/* What is no cancellation point, for those who have a lock */
struct epoll_event;
struct iovec;
struct pollfd;
int stackmap_real_epoll_look(int epfd, struct epoll_event *ev, int max);
int stackmap_real_poll_look(struct pollfd *fds, unsigned long n);
long stackmap_real_pread(int fd, void *buf, unsigned long n, long off);
long stackmap_real_preadv(int fd, const struct iovec *iov, int n, long off);

#endif /* STACKMAP_REAL_H */
