/* SPDX-License-Identifier: GPL-2.0 */
/*
 * net.h - plain sockets, patterns and time, for tests and peers alike
 */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

double mono(void);
/* How many times slower than usual this machine is: for bounds in time (environment: SM_SLOW) */
int slow(void);
/* Of what is many of the same, only a part where the machine is slow (environment: SM_FEW) */
int few(int many);
uint32_t rnd(uint32_t *state);

/* Byte @at of the stream @seed */
static inline uint8_t pat(uint32_t seed, uint64_t at)
{
	return (((uint32_t)at + seed) * 2654435761u) >> 15;
}

void pat_fill(uint8_t *to, uint32_t seed, uint64_t at, size_t n);
bool pat_is(const uint8_t *p, uint32_t seed, uint64_t at, size_t n);

socklen_t addr_of(struct sockaddr_storage *ss, const char *host, int port);
/* These return -1 with errno */
int try_listen(const char *host, int port);
int try_connect(const char *host, int port, int ms);
bool send_all(int fd, const void *p, size_t n);
bool recv_all(int fd, void *p, size_t n);
void nonblock(int fd);
void set_timeout(int fd, int ms);
int port_of(int fd);

#endif /* NET_H */
