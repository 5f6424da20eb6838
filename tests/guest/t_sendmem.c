// SPDX-License-Identifier: GPL-2.0
/*
 * t_sendmem.c - sending from memory of the application's own (STACKMAP_IOC_MEMORY, STACKMAP_TX_MEMORY)
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#define MB 1048576u
#define NOBODY 65534

/* What slots had for a buffer before they named memory */
static uint32_t own[65536];

static int try_memory(int port, const void *addr, uint64_t len)
{
	struct stackmap_memory m = { .addr = (uintptr_t)addr, .len = len };

	return ioctl(port, STACKMAP_IOC_MEMORY, &m) ? -1 : (int)m.id;
}

static int try_forget(int port, uint32_t id)
{
	struct stackmap_memory m = { .id = id, .flags = STACKMAP_MEMORY_FORGET };

	return ioctl(port, STACKMAP_IOC_MEMORY, &m);
}

static uint32_t memory(struct sm *sm, const void *addr, uint64_t len)
{
	int id = try_memory(sm->fd, addr, len);

	CHECKF(id >= 0, "%s", strerror(errno));
	return id;
}

/* Memory in large pages, if there are any, with a stream in it */
static uint8_t *large(size_t len, uint32_t seed)
{
	uint8_t *p = mmap(NULL, len + 2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	p = (uint8_t *)(((uintptr_t)p + 2 * MB - 1) & ~(uintptr_t)(2 * MB - 1));
	madvise(p, len, MADV_HUGEPAGE);
	pat_fill(p, seed, 0, len);
	return p;
}

/* Fill the next slot, do not sync */
static struct stackmap_slot *put_memory(struct sm *sm, int fd, uint32_t id, uint64_t at, uint32_t len,
					uint16_t flags)
{
	struct stackmap_slot *s = sm_put(sm, fd, "", 0);

	own[s - sm->tx->slots] = s->buf;
	s->buf = id;
	s->data = at;
	s->off = len >> 16;
	s->len = len & 0xffff;
	s->flags = flags | STACKMAP_TX_MEMORY;
	return s;
}

/* What is left of it when it was refused; the slot has its own buffer again */
static uint32_t left_of(struct sm *sm, struct stackmap_slot *s)
{
	uint32_t left = 0;

	if (s->flags & STACKMAP_TX_REFUSED) {
		EQ(s->err, EAGAIN);
		left = s->len | (uint32_t)s->off << 16;
	}
	s->buf = own[s - sm->tx->slots];
	return left;
}

/* Send so many bytes that lie in memory from @at on, in slots of up to @most, until TCP has all */
static void send_memory(struct sm *sm, int fd, uint32_t id, uint64_t at, uint32_t len, uint32_t most)
{
	double end = mono() + 20 * slow();
	uint32_t seed = most;

	while (len) {
		uint32_t n = rnd(&seed) % most + 1, left, before;
		struct stackmap_slot *s;

		CHECK(mono() < end);
		if (n > len)
			n = len;
		s = put_memory(sm, fd, id, at, n, 0);
		before = n;
		sm_sync(sm, 0);
		left = left_of(sm, s);
		if (left) {
			CHECK(left <= before);
			EQ(s->taken, before - left);
			EQ(s->data, at + before - left);
			sm_sync(sm, 20000);
		}
		for (; sm_peek(sm); sm_next(sm))
			CHECKF(sm_peek(sm)->flags == STACKMAP_RX_ROOM, "0x%x", sm_peek(sm)->flags);
		at += before - left;
		len -= before - left;
	}
}

/* A peer that asks for so many bytes of a stream, and reads them after so long; returns the connection */
static int peer_of(struct sm *sm, struct ask *a, int *l, uint32_t seed, uint32_t bytes, int ms)
{
	int fd;

	*l = try_listen(here->guest4, 0);
	CHECK(*l >= 0);
	ask(a, "slow %s %d %u %u %d", here->guest4, port_of(*l), seed, bytes, ms);
	fd = accept(*l, NULL, NULL);
	CHECK(fd >= 0);
	sm_attach(sm, fd, 5);
	/* What it asks with */
	CHECK(sm_wait(sm, 5000)->flags & STACKMAP_RX_DATA);
	sm_next(sm);
	return fd;
}

static void peer_ends(struct ask *a, int fd, int l)
{
	shutdown(fd, SHUT_WR);
	ask_wait(a, 60);
	close(fd);
	close(l);
}

/* Any pieces, from any place: large pages, small ones, one in the middle of another */
static void sent(uint8_t *p, uint32_t from, uint32_t len, uint32_t seed, uint32_t most)
{
	struct sm sm;
	struct ask a;
	int fd, l;
	uint32_t id;

	sm_new_small(&sm, 64);
	id = memory(&sm, p + from, len);
	fd = peer_of(&sm, &a, &l, seed + from, len, 0);
	send_memory(&sm, fd, id, 0, len, most);
	EQ(sm_info(&sm).stats.tx_copied_bytes, 0);
	CHECK(sm_info(&sm).stats.tx_handed_bytes >= len);
	peer_ends(&a, fd, l);
	sm_close(&sm);
}

TEST_BOTH(memory_sent, 60)
{
	sent(large(4 * MB, 3), 0, 4 * MB, 3, STACKMAP_TX_MEMORY_MAX);
}

TEST_BOTH(memory_sent_odd, 60)
{
	sent(large(4 * MB, 3), 12345, 3 * MB + 77, 3, 100000);
}

TEST_BOTH(memory_sent_small_pages, 60)
{
	uint8_t *p = mmap(NULL, 2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	madvise(p, 2 * MB, MADV_NOHUGEPAGE);
	/* From the end, so that hardly a page lies behind the one before */
	for (uint32_t at = 2 * MB; at; at -= 4096)
		pat_fill(p + at - 4096, 9, at - 4096, 4096);
	sent(p, 4095, MB, 9, STACKMAP_TX_MEMORY_MAX);
}

/* A large page of which only some are mapped, in another order */
TEST_BOTH(memory_sent_shuffled, 60)
{
	uint8_t *p = large(2 * MB, 4), *q;
	int i, from;

	q = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(q != MAP_FAILED);
	for (i = 0; i < 64; i++) {
		from = (i * 37 + 5) % 64;
		CHECK(mremap(p + from * 4096, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, q + i * 4096) ==
		      q + i * 4096);
		pat_fill(q + i * 4096, 21, i * 4096, 4096);
	}
	sent(q, 100, 64 * 4096 - 100, 21, 70000);
}

/* Frames and memory take turns, in one batch and in one write; two memories, and frames of which some are kept */
TEST_BOTH(memory_with_frames, 60)
{
	uint32_t id[2], at = 0, len = 600000, seed = 1, n, left, i, first;
	uint8_t *p = large(2 * MB, 7), block[4096];
	struct stackmap_slot *s;
	struct sm sm;
	struct ask a;
	int fd, l, small = 1 << 20;

	sm_new_small(&sm, 64);
	id[0] = memory(&sm, p, MB);
	id[1] = memory(&sm, p + 100, MB);
	fd = peer_of(&sm, &a, &l, 7, len, 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &small, sizeof(small)));
	while (at < len) {
		first = sm.tx_head;
		for (i = 0; i < 60 && at < len; i++) {
			n = rnd(&seed) % (i % 3 ? 4096 : 60000) + 1;
			if (n > len - at)
				n = len - at;
			if (i % 3) {
				pat_fill(block, 7, at, n);
				s = sm_put(&sm, fd, block, n);
				s->flags = rnd(&seed) % 4 ? 0 : STACKMAP_TX_MORE;
			} else if (rnd(&seed) % 2) {
				put_memory(&sm, fd, id[0], at, n, rnd(&seed) % 2 ? STACKMAP_TX_KEEP : 0);
			} else if (at >= 100) {
				put_memory(&sm, fd, id[1], at - 100, n, 0);
			} else {
				continue;
			}
			at += n;
		}
		sm_sync(&sm, 0);
		/* From the first that was not taken on all of it again: none behind it was */
		for (left = 0; first != sm.tx_head; first = (first + 1) & 63) {
			s = &sm.tx->slots[first];
			if (s->flags & STACKMAP_TX_REFUSED) {
				EQ(s->err, EAGAIN);
				left += s->flags & STACKMAP_TX_MEMORY ?
					s->len | (uint32_t)s->off << 16 : s->len;
			} else {
				EQ(left, 0);
			}
			if (s->flags & STACKMAP_TX_MEMORY)
				s->buf = own[first];
		}
		at -= left;
		if (left)
			sm_sync(&sm, 20000);
		for (; sm_peek(&sm); sm_next(&sm))
			CHECKF(sm_peek(&sm)->flags == STACKMAP_RX_ROOM, "0x%x", sm_peek(&sm)->flags);
	}
	peer_ends(&a, fd, l);
	sm_settle(&sm);
	sm_account(&sm, sm.reg.frames - sm.reg.pool_bufs);
	sm_close(&sm);
}

/* A mark behind memory; what an ACKED says is what may be written to */
TEST_BOTH(memory_acked, 30)
{
	uint8_t *p = large(2 * MB, 11);
	struct stackmap_slot *s;
	struct sm sm;
	struct ask a;
	uint32_t id;
	int fd, l, big = MB;

	sm_new_small(&sm, 64);
	id = memory(&sm, p, MB);
	fd = peer_of(&sm, &a, &l, 11, 120000, 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)));
	s = put_memory(&sm, fd, id, 0, 60000, STACKMAP_TX_ACKED);
	sm_sync(&sm, 0);
	EQ(left_of(&sm, s), 0);
	EQ(sm_event(&sm, fd, STACKMAP_RX_ACKED, 5000).taken, 60000);
	pat_fill(p, 11, 60000, 60000);
	s = put_memory(&sm, fd, id, 0, 60000, STACKMAP_TX_ACKED | STACKMAP_TX_MORE);
	sm_sync(&sm, 0);
	EQ(left_of(&sm, s), 0);
	sm_mark(&sm, fd);
	EQ(sm_event(&sm, fd, STACKMAP_RX_ACKED, 5000).taken, 120000);
	peer_ends(&a, fd, l);
	sm_close(&sm);
}

static void refused(struct sm *sm, struct stackmap_slot *s, int err)
{
	sm_sync(sm, 0);
	EQ(sm->tx->refused, 1);
	CHECK(s->flags & STACKMAP_TX_REFUSED);
	EQ(s->err, err);
	EQ(s->taken, 0);
	s->buf = own[s - sm->tx->slots];
}

/* Slots that name what is not there: EINVAL, and nothing is sent */
TEST(memory_wrong_slots, 20)
{
	uint8_t *p = large(2 * MB, 0), in[3];
	struct stackmap_slot *s;
	struct sm sm;
	uint32_t id;
	int fd[2];

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	id = memory(&sm, p, MB);
	refused(&sm, put_memory(&sm, fd[0], id + 1, 0, 10, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], STACKMAP_MEMORIES, 0, 10, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], UINT32_MAX, 0, 10, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, 0, 0, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, 0, 0, STACKMAP_TX_ACKED), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, 0, STACKMAP_TX_MEMORY_MAX + 1, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, MB - 9, 10, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, MB, 1, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, UINT64_MAX, 2, 0), EINVAL);
	refused(&sm, put_memory(&sm, fd[0], id, UINT64_MAX - 1, 65535, 0), EINVAL);
	for (int flag = 1; flag < 0x10000; flag <<= 1)
		if (!(flag & (STACKMAP_TX_KEEP | STACKMAP_TX_MORE | STACKMAP_TX_ACKED |
			      STACKMAP_TX_MEMORY)))
			refused(&sm, put_memory(&sm, fd[0], id, 0, 10, flag), EINVAL);
	refused(&sm, put_memory(&sm, fd[1], id, 0, 10, 0), EBADF);
	s = put_memory(&sm, fd[0], id, MB - 3, 3, 0);
	sm_sync(&sm, 0);
	EQ(left_of(&sm, s), 0);
	CHECK(recv_all(fd[1], in, 3));
	CHECK(!memcmp(in, p + MB - 3, 3));
	EQ(recv(fd[1], in, 1, MSG_DONTWAIT), -1);
	/* Forgotten: its number names nothing */
	EQ(try_forget(sm.fd, id), 0);
	refused(&sm, put_memory(&sm, fd[0], id, 0, 10, 0), EINVAL);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(memory_wrong_calls, 20)
{
	struct stackmap_memory m = { .addr = 0 };
	uint8_t *p = large(2 * MB, 0);
	struct sm sm;
	int fd = sm_open(), i;

	FAILS(try_memory(fd, p, MB), ENXIO);
	close(fd);
	sm_new_small(&sm, 16);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_MEMORY, NULL), EFAULT);
	FAILS(try_memory(sm.fd, p, 0), EINVAL);
	FAILS(try_memory(sm.fd, p, STACKMAP_MEMORY_MAX + 1), EINVAL);
	FAILS(try_memory(sm.fd, (void *)(UINTPTR_MAX - 4096), 8192), EINVAL);
	FAILS(try_memory(sm.fd, NULL, MB), EFAULT);
	FAILS(try_memory(sm.fd, (void *)(UINTPTR_MAX - 3 * 4096), 4096), EFAULT);
	FAILS(try_memory(sm.fd, (void *)(1ul << 63), 4096), EFAULT);
	/* The port's own */
	FAILS(try_memory(sm.fd, sm_buf(&sm, 0), 4096), EFAULT);
	FAILS(try_memory(sm.fd, sm.map, 4096), EFAULT);
	/* Begins well */
	munmap(p + MB, MB);
	FAILS(try_memory(sm.fd, p, MB + 1), EFAULT);
	FAILS(try_forget(sm.fd, 0), EBADF);
	FAILS(try_forget(sm.fd, STACKMAP_MEMORIES), EBADF);
	FAILS(try_forget(sm.fd, UINT32_MAX), EBADF);
	m = (struct stackmap_memory){ .addr = (uintptr_t)p, .len = 1, .flags = 2 };
	FAILS(ioctl(sm.fd, STACKMAP_IOC_MEMORY, &m), EINVAL);
	m.flags = STACKMAP_MEMORY_FORGET;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_MEMORY, &m), EINVAL);
	m = (struct stackmap_memory){ .addr = (uintptr_t)p, .len = 1, .id = 1 };
	FAILS(ioctl(sm.fd, STACKMAP_IOC_MEMORY, &m), EINVAL);
	m.id = 0;
	m.reserved[1] = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_MEMORY, &m), EINVAL);
	/* As many as there can be; the number of one that is given up is for the next */
	for (i = 0; i < STACKMAP_MEMORIES; i++)
		EQ(try_memory(sm.fd, p + i, 5000), i);
	FAILS(try_memory(sm.fd, p, 1), ENOSPC);
	EQ(try_forget(sm.fd, 17), 0);
	FAILS(try_forget(sm.fd, 17), EBADF);
	EQ(try_memory(sm.fd, p, 1), 17);
	sm_close(&sm);
}

/* What can be pinned for long and written to: no files, but for copies of them */
TEST(memory_kinds, 20)
{
	uint8_t *p;
	struct sm sm;
	int fd;

	sm_new_small(&sm, 16);
	fd = open("/tmp/t_sendmem", O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK(!ftruncate(fd, 8192));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(try_memory(sm.fd, p, 8192) >= 0);
	p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
	FAILS(try_memory(sm.fd, p, 8192), EFAULT);
	unlink("/tmp/t_sendmem");
	close(fd);
	fd = memfd_create("t_sendmem", MFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(!ftruncate(fd, 8192));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(try_memory(sm.fd, p, 8192) >= 0);
	close(fd);
	/* A page that was never written to */
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(try_memory(sm.fd, p, 8192) >= 0);
	sm_close(&sm);
}

/* A page that is first written to after it was registered is the one that is sent; and not the child's */
TEST(memory_written_later, 20)
{
	uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct stackmap_slot *s;
	struct sm sm;
	uint8_t in[8192];
	uint32_t id;
	int fd[2], status;
	pid_t pid;

	CHECK(p != MAP_FAILED);
	CHECK(!p[0]);
	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	id = memory(&sm, p, 8192);
	memset(p, 'a', 8192);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		memset(p, 'c', 8192);
		_exit(0);
	}
	memset(p, 'b', 4096);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	s = put_memory(&sm, fd[0], id, 0, 8192, 0);
	sm_sync(&sm, 0);
	EQ(left_of(&sm, s), 0);
	CHECK(recv_all(fd[1], in, 8192));
	EQ(in[0], 'b');
	EQ(in[4095], 'b');
	EQ(in[4096], 'a');
	EQ(in[8191], 'a');
	sm_close(&sm);
}

/* What was sent of it is sent again as it was, though it is given up, unmapped, and its pages wanted elsewhere */
TEST_BOTH(memory_forgotten_in_flight, 60)
{
	uint8_t *p = large(2 * MB, 13), *other;
	struct stackmap_slot *s;
	struct sm sm;
	struct ask a;
	uint32_t id, left;
	int fd, l, big = 4 * MB;

	sm_new_small(&sm, 64);
	id = memory(&sm, p, 2 * MB);
	/* It reads nothing for a while: most of it waits here */
	fd = peer_of(&sm, &a, &l, 13, 200000, 1500);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)));
	s = put_memory(&sm, fd, id, 0, 200000, 0);
	sm_sync(&sm, 0);
	left = left_of(&sm, s);
	EQ(left, 0);
	EQ(try_forget(sm.fd, id), 0);
	CHECK(!munmap(p, 2 * MB));
	other = mmap(NULL, 64 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(other, 0xee, 64 * MB);
	peer_ends(&a, fd, l);
	sm_close(&sm);
}

/* So it is with a port that is closed, and an owner that is killed between commit and sync */
TEST_BOTH(memory_owner_dies, 60)
{
	struct ask a;
	int l, out[2], status;
	char c;
	pid_t pid;

	l = try_listen(here->guest4, 0);
	CHECK(l >= 0);
	CHECK(!pipe(out));
	ask(&a, "slow %s %d 15 200000 1000", here->guest4, port_of(l));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		uint8_t *p = large(2 * MB, 15);
		int big = 4 * MB, fd = accept(l, NULL, NULL);
		struct sm sm;

		close(l);
		CHECK(fd >= 0);
		CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)));
		sm_new_small(&sm, 64);
		sm_attach(&sm, fd, 0);
		CHECK(sm_wait(&sm, 5000)->flags & STACKMAP_RX_DATA);
		sm_next(&sm);
		put_memory(&sm, fd, memory(&sm, p, MB), 0, 200000, 0);
		__atomic_store_n(&sm.tx->head, sm.tx_head, __ATOMIC_RELEASE);
		CHECK(write(out[1], "x", 1) == 1);
		for (;;)
			pause();
	}
	close(l);
	CHECK(read(out[0], &c, 1) == 1);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ask_wait(&a, 60);
}

/* How much this process' pages count as pinned, in kB */
static long pinned(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "exit $(($(awk '/^VmPin/ { print $2 }' /proc/%d/status) / 1024))", getpid());
	return sh(cmd);
}

/* Whether this very page is part of a transparent huge page: that the machine has some says little */
static bool is_huge(const void *at)
{
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int all = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, flags = 0;

	CHECK(map >= 0 && all >= 0);
	CHECK(pread(map, &entry, 8, (uintptr_t)at / 4096 * 8) == 8);
	CHECK(pread(all, &flags, 8, (entry & ((1ull << 55) - 1)) * 8) == 8);
	close(map);
	close(all);
	return flags >> 22 & 1;	/* KPF_THP */
}

/* Pinned, and shown: until it is given up */
TEST(memory_is_accounted, 30)
{
	uint8_t *p = large(32 * MB, 1), *in = malloc(200000);
	struct rlimit lim = { 8 * MB, 8 * MB };
	int fd[2], big = 4 * MB, status;
	struct stackmap_slot *s;
	long before;
	uint64_t had;
	struct sm sm;
	uint32_t id;
	pid_t pid;
	bool huge;

	sm_new_small(&sm, 16);
	before = pinned();
	had = sm_detail(&sm).memory;
	id = memory(&sm, p, 32 * MB);
	EQ(pinned() - before, 32);
	EQ(sm_detail(&sm).memory - had, 32 * MB);
	pair_tcp(fd, AF_INET);
	CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)));
	big = 4096;
	CHECK(!setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &big, sizeof(big)));
	sm_attach(&sm, fd[0], 0);
	s = put_memory(&sm, fd[0], id, 0, 200000, 0);
	sm_sync(&sm, 0);
	EQ(left_of(&sm, s), 0);
	/* Given up it is not, though its peer reads nothing */
	EQ(try_forget(sm.fd, id), 0);
	EQ(sm_detail(&sm).memory, had);
	EQ(pinned(), before);
	/* One byte of a large page has all of it stay. (Of one that a fork() has seen a small copy would be pinned) */
	p = large(2 * MB, 1);
	id = memory(&sm, p + MB, 1);
	huge = is_huge(p + MB);
	EQ(pinned() - before, huge ? 2 : 0);
	EQ(try_forget(sm.fd, id), 0);
	tap_note("the page is %s", huge ? "huge" : "small");
	set_timeout(fd[1], 20000 * slow());
	CHECK(recv_all(fd[1], in, 200000));
	CHECK(pat_is(in, 1, 0, 200000));
	/* The limit, for who has no CAP_IPC_LOCK */
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK(!setrlimit(RLIMIT_MEMLOCK, &lim));
		CHECK(!syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY));
		p = large(16 * MB, 1);
		FAILS(try_memory(sm.fd, p, 9 * MB), ENOBUFS);
		CHECK(try_memory(sm.fd, p, 4 * MB) >= 0);
		FAILS(try_memory(sm.fd, p, 5 * MB), ENOBUFS);
		CHECK(try_memory(sm.fd, p, 4 * MB) >= 0);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	sm_close(&sm);
}

/* Memory is the application's that has the port mapped: the next one begins without */
TEST(memory_ends_with_mapping, 20)
{
	uint8_t *p = large(2 * MB, 1);
	uint64_t had;
	struct sm sm;
	long before;

	sm_new_small(&sm, 16);
	before = pinned();
	had = sm_detail(&sm).memory;
	EQ(memory(&sm, p, 2 * MB), 0);
	EQ(memory(&sm, p, 2 * MB), 1);
	EQ(pinned() - before, 4);
	CHECK(!munmap(sm.map, sm.reg.map_size));
	EQ(pinned(), before);
	EQ(sm_detail(&sm).memory, had);
	FAILS(try_forget(sm.fd, 0), EBADF);
	FAILS(try_forget(sm.fd, 1), EBADF);
	close(sm.fd);
}

/* An interface that cannot send from more than one place (see trace_copied_without_sg, too) */
TEST_NIC(memory_no_sg, 30)
{
	uint8_t *p = large(2 * MB, 17);
	struct sm sm;
	struct ask a;
	uint32_t id;
	int fd, l;

	EQ(sh("ethtool -K " IFNAME " sg off >/dev/null"), 0);
	sm_new_small(&sm, 64);
	id = memory(&sm, p, MB);
	fd = peer_of(&sm, &a, &l, 17, 300000, 0);
	send_memory(&sm, fd, id, 0, 300000, 100000);
	peer_ends(&a, fd, l);
	sm_close(&sm);
	EQ(sh("ethtool -K " IFNAME " sg on tso on >/dev/null"), 0);
}

/* The application's own MSG_ZEROCOPY before, and a packet socket that looks at all */
TEST_BOTH(memory_beside_others, 60)
{
	uint8_t *p = large(2 * MB, 19), *q = large(2 * MB, 19);
	int fd, l, one = 1, big = 4 * MB, tcpdump;
	struct sm sm;
	struct ask a;
	uint32_t id;

	tcpdump = socket(AF_PACKET, SOCK_RAW, 0x300 /* ETH_P_ALL */);
	CHECK(tcpdump >= 0);
	sm_new_small(&sm, 64);
	id = memory(&sm, p, MB);
	fd = peer_of(&sm, &a, &l, 19, 500000, 100);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)));
	EQ(send(fd, q, 100000, MSG_ZEROCOPY), 100000);
	send_memory(&sm, fd, id, 100000, 200000, 70000);
	/* (The kernel refuses it behind what was sent with another ubuf_info: msg_zerocopy_realloc()) */
	if (send(fd, q + 300000, 100000, MSG_ZEROCOPY) != 100000) {
		EQ(errno, ENOBUFS);
		CHECK(send_all(fd, q + 300000, 100000));
	}
	sm_send(&sm, fd, q + 400000, 1000);
	send_memory(&sm, fd, id, 401000, 99000, 70000);
	peer_ends(&a, fd, l);
	close(tcpdump);
	sm_close(&sm);
}
