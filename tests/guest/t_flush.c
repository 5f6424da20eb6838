// SPDX-License-Identifier: GPL-2.0
/*
 * t_flush.c - what is committed to the transmit ring is sent as the owner ends, however it does
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"
#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sm.h"
#include "tap.h"

#define PIECE 700

enum way { KILLED, EXITS, EXECS, UNMAPS, CRASHES, WAYS };

/* Slots in the ring, and head moved on: a sync would send them */
static void commit(struct sm *sm, int fd, uint32_t seed, uint32_t pieces)
{
	uint8_t block[PIECE];
	uint32_t i;

	for (i = 0; i < pieces; i++) {
		pat_fill(block, seed, i * PIECE, PIECE);
		sm_put(sm, fd, block, PIECE);
	}
	__atomic_store_n(&sm->tx->head, sm->tx_head, __ATOMIC_RELEASE);
}

__attribute__((noreturn)) static void end(struct sm *sm, int fd, enum way way, int pipe_out)
{
	switch (way) {
	case KILLED:
		CHECK(write(pipe_out, "x", 1) == 1);
		for (;;)
			pause();
	case CRASHES:
		abort();
	/* (What is close-on-exec is closed before the memory goes: a sync has to come before) */
	case EXECS:
		fcntl(fd, F_SETFD, 0);
		execl("/bin/true", "true", NULL);
		break;
	case UNMAPS:
		munmap(sm->map, sm->reg.map_size);
		break;
	default:
		break;
	}
	_exit(0);
}

/* @low: the socket's number is below the port's, and so it would be closed first; else above */
static void owner(const char *addr, int port, uint32_t pieces, enum way way, bool low, int pipe_out)
{
	int fd = low ? try_connect(addr, port, 5000) : -1;
	struct sm sm;

	sm_new_small(&sm, 256);
	if (fd < 0)
		fd = try_connect(addr, port, 5000);
	CHECK(fd >= 0);
	EQ(fd < sm.fd, low);
	sm_attach(&sm, fd, 0);
	commit(&sm, fd, 3, pieces);
	end(&sm, fd, way, pipe_out);
}

/* All that was committed comes, and then FIN or, of one that was never read from, a reset */
static void all_comes(const char *addr, enum way way, bool low)
{
	uint32_t pieces = 20;
	int l = try_listen(addr, 0), p[2], fd, status;
	uint8_t block[20 * PIECE], b;
	pid_t pid;

	CHECK(l >= 0 && !pipe(p));
	pid = fork();
	if (pid == 0)
		owner(addr, port_of(l), pieces, way, low, p[1]);
	set_timeout(l, 5000);
	fd = accept(l, NULL, NULL);
	CHECK(fd >= 0);
	if (way == KILLED) {
		CHECK(read(p[0], &b, 1) == 1);
		kill(pid, SIGKILL);
	}
	set_timeout(fd, 5000);
	CHECKF(recv_all(fd, block, sizeof(block)), "way %d, low %d", way, low);
	CHECK(pat_is(block, 3, 0, sizeof(block)));
	EQ(recv(fd, &b, 1, 0), 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	close(fd);
	close(l);
	close(p[0]);
	close(p[1]);
}

TEST(flush_killed, 60)
{
	int i;

	for (i = 0; i < few(40); i++)
		all_comes("127.0.0.1", KILLED, i & 1);
}

TEST(flush_ends, 60)
{
	enum way way;
	int i;

	for (way = EXITS; way < WAYS; way++)
		for (i = 0; i < 2; i++)
			all_comes(i ? "::1" : "127.0.0.1", way, i);
}

/* What TCP has no room for is lost with its process, and hurts nobody */
TEST(flush_too_much, 60)
{
	int fd[2], size = 4000, i;
	struct sm sm;
	uint8_t *block = calloc(1, 4096);
	uint32_t n = 0;
	ssize_t k;

	sm_new_small(&sm, 256);
	pair_tcp(fd, AF_INET);
	CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	sm_attach(&sm, fd[0], 0);
	for (i = 0; i < 250; i++) {
		pat_fill(block, 9, i * 4096, 4096);
		sm_put(&sm, fd[0], block, 4096);
	}
	__atomic_store_n(&sm.tx->head, sm.tx_head, __ATOMIC_RELEASE);
	sm_close(&sm);
	shutdown(fd[0], SHUT_WR);
	set_timeout(fd[1], 5000);
	while ((k = recv(fd[1], block, 4096, 0)) > 0) {
		CHECK(pat_is(block, 9, n, k));
		n += k;
	}
	EQ(k, 0);
	tap_note("%u of %u bytes", n, 250 * 4096);
	CHECK(n > 0 && n <= 250 * 4096);
	close(fd[0]);
	close(fd[1]);
	free(block);
}

/* Garbage in head and slots, of a mapping that goes: nothing but a look at it */
TEST(flush_garbage, 60)
{
	uint32_t seed = 4, i, k;
	struct sm sm;
	int fd[2];

	for (i = 0; i < 100; i++) {
		struct stackmap_slot *s;
		uint32_t whole = 0;
		uint8_t b[PIECE];

		sm_new_small(&sm, 16);
		pair_tcp(fd, AF_INET);
		sm_attach(&sm, fd[0], 0);
		/* Slots as they should be, up to one of which a field is garbage */
		k = rnd(&seed) % 15;
		commit(&sm, fd[0], 5, 15);
		whole = k;
		s = &sm.tx->slots[(sm.tx_head + 16 - 15 + k) % 16];
		switch (i % 6) {
		case 0: s->fd = rnd(&seed); break;
		case 1: s->buf = rnd(&seed) << 8; break;
		case 2: s->off = 60000; break;
		case 3: s->gen = rnd(&seed) | 1 << 31; break;
		case 4: s->flags = 0x7000; break;
		case 5:
			sm.tx->head = 16 + rnd(&seed);
			whole = 0;
		}
		sm_close(&sm);
		shutdown(fd[0], SHUT_WR);
		set_timeout(fd[1], 2000);
		for (k = 0; k < whole; k++) {
			CHECKF(recv_all(fd[1], b, PIECE), "%u: %u of %u", i, k, whole);
			CHECK(pat_is(b, 5, k * PIECE, PIECE));
		}
		if (i % 6 == 5)
			EQ(recv(fd[1], b, 1, 0), 0);
		close(fd[0]);
		close(fd[1]);
	}
}

static void *sync_long(void *sm)
{
	sm_try_sync(((struct sm *)sm)->fd, 0, 300000);
	return NULL;
}

/* While another thread is in a sync, which has looked at the ring before */
TEST(flush_beside_sync, 20)
{
	struct sm sm;
	uint8_t b[PIECE];
	pthread_t t;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	CHECK(!pthread_create(&t, NULL, sync_long, &sm));
	usleep(100000);
	commit(&sm, fd[0], 1, 1);
	CHECK(!munmap(sm.map, sm.reg.map_size));
	set_timeout(fd[1], 2000);
	CHECK(recv_all(fd[1], b, PIECE));
	CHECK(pat_is(b, 1, 0, PIECE));
	pthread_join(t, NULL);
	close(sm.fd);
	close(fd[0]);
	close(fd[1]);
}

/* A part of the mapping that goes is not its end */
TEST(flush_not_yet, 20)
{
	struct sm sm;
	uint8_t b[PIECE];
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	commit(&sm, fd[0], 1, 1);
	CHECK(!munmap(sm.map + sm.reg.map_size - 4096, 4096));
	EQ(recv(fd[1], b, 1, MSG_DONTWAIT), -1);
	EQ(errno, EAGAIN);
	CHECK(!munmap(sm.map, sm.reg.map_size - 4096));
	set_timeout(fd[1], 2000);
	CHECK(recv_all(fd[1], b, PIECE));
	close(sm.fd);
	close(fd[0]);
	close(fd[1]);
}

/* Over the NIC, whose owner it was until then */
TEST_NIC(flush_over_nic, 60)
{
	int i, l, fd, status, p[2];
	struct ask a;
	pid_t pid;

	for (i = 0; i < few(10); i++) {
		l = try_listen(here->guest4, 0);
		CHECK(l >= 0 && !pipe(p));
		ask(&a, "slow %s %d 3 %d 200", here->guest4, port_of(l), 14 * PIECE);
		fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		pid = fork();
		if (pid == 0) {
			uint8_t go[2];
			struct sm sm;

			sm_new_small(&sm, 64);
			sm_attach(&sm, fd, 0);
			sm_read(&sm, fd, go, 2, 2000);
			commit(&sm, fd, 3, 14);
			end(&sm, fd, KILLED, p[1]);
		}
		close(fd);
		{
			char b;

			CHECK(read(p[0], &b, 1) == 1);
		}
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid);
		ask_wait(&a, 10);
		close(l);
		close(p[0]);
		close(p[1]);
	}
	nic_is_ordinary();
}
