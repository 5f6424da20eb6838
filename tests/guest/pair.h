/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pair.h - connected TCP sockets in one process
 */
#ifndef PAIR_H
#define PAIR_H

/* fd[0] was accepted, fd[1] has connected; AF_INET or AF_INET6 */
void pair_tcp(int fd[2], int family);
/* The same, from a listener of the caller's */
void pair_from(int listener, int fd[2]);

#endif /* PAIR_H */
