/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pair.h - connected TCP sockets in one process, and descriptors for others
 */
#ifndef PAIR_H
#define PAIR_H

/* fd[0] was accepted, fd[1] has connected; AF_INET or AF_INET6 */
void pair_tcp(int fd[2], int family);
/* The same, from a listener of the caller's */
void pair_from(int listener, int fd[2]);

/* A descriptor to whoever has the other end of a UNIX socket, and from him */
void pair_send_fd(int sock, int fd);
int pair_recv_fd(int sock);

#endif /* PAIR_H */
