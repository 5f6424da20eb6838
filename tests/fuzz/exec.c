// SPDX-License-Identifier: GPL-2.0
/*
 * exec.c - a program's process: its threads, the scribbler, every call
 *
 * Threads and children share sixteen descriptors and eight mappings, without
 * any lock. Memory that somebody unmaps meanwhile is touched through guarded().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "stackmap.h"

#define SLOTS	16
#define REGIONS	8
#define PORT	7000		/* and the next three: what the host floods */

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct region {
	uint8_t *at;
	size_t len;
	struct stackmap_register reg;
};

static int fds[SLOTS];
static struct stackmap_register regs[SLOTS];
static struct region regions[REGIONS];
static const struct prog *prog;
static bool stop;
static uint8_t *odd;		/* a page that can be read, and one that cannot be touched */

static __thread sigjmp_buf jump;
static __thread volatile bool guarding;
static __thread uint64_t rng;

static void on_fault(int sig)
{
	if (guarding)
		siglongjmp(jump, 1);
	signal(sig, SIG_DFL);
}

/* Do something with memory that may go away. (Its name must not be moved into a function) */
#define guarded(what) do {							\
	guarding = true;							\
	if (!sigsetjmp(jump, 0)) {						\
		what;								\
	}									\
	guarding = false;							\
} while (0)

static int handle_of(uint32_t i)
{
	return STACKMAP_HANDLE_MIN + i % 8;
}

static int fd_of(uint32_t i)
{
	if ((i & 0xfffff00) == 0xf00)
		return handle_of(i);
	return i < 0x1000 ? fds[i % SLOTS] : (int)i;
}

/* A new descriptor in the place of an old one, which is closed */
static int put(uint32_t i, int fd)
{
	int old;

	if (fd < 0)
		return -1;
	old = __atomic_exchange_n(&fds[i % SLOTS], fd, __ATOMIC_RELAXED);
	if (old > 2)
		close(old);
	return 0;
}

static struct region *region_of(uint32_t i)
{
	return &regions[i % REGIONS];
}

/* ------------------------------------------------------------------ arguments */

/*
 * Where a structure is put for a call, by five bits of a number: mostly where
 * it belongs. Returns the address; *copy is where to read the answer, if any.
 */
static void *place(const void *s, size_t size, uint32_t how, uint8_t *room)
{
	struct region *r;

	memcpy(room, s, size);
	switch (how >> 24 & 31) {
	case 12:
		return NULL;
	case 13:
		return (void *)0xffffffff81000000;
	case 14:	/* can be read only */
		mprotect(odd, 4096, PROT_READ | PROT_WRITE);
		guarded(memcpy(odd, s, size));
		mprotect(odd, 4096, PROT_READ);
		return odd;
	case 15:	/* ends in nothing */
		mprotect(odd, 4096, PROT_READ | PROT_WRITE);
		guarded(memcpy(odd + 4096 - size / 2, s, size / 2));
		return odd + 4096 - size / 2;
	case 16:	/* in memory that the kernel shares, and others write to */
		r = region_of(how);
		if (!r->at || r->len < size)
			return room;
		guarded(memcpy(r->at, s, size));
		return r->at;
	default:
		return room;
	}
}

static int call_open(const struct op *op)
{
	return put(op->a, open(STACKMAP_DEVICE, (op->b & 0x10 ? O_RDONLY : O_RDWR) |
			       (op->b & 0x20 ? O_NONBLOCK : 0)));
}

static int call_register(const struct op *op)
{
	struct stackmap_register reg = { .version = STACKMAP_ABI_VERSION }, *got;
	uint8_t room[sizeof(reg)];
	uint32_t c = op->c;
	int ret;

	reg.ifindex = nic_ifindex(op->b % 8 == 7 ? c % 5 : op->b % 8 == 3 ? 1 : 0);
	reg.queue = c & 0x8000 ? c >> 12 & 3 : 0;
	reg.rx_slots = 16 << (c & 3);
	reg.tx_slots = 16 << (c >> 2 & 3);
	reg.extra_bufs = c >> 4 & 31;
	reg.pool_bufs = c & 0x200 ? 1 + (c >> 10 & 7) : 16 + (c >> 9 & 127);
	reg.stall_us = c & 0x4000 ? 1000 : 0;
	if (c & 0x10000) {
		reg.large_bufs = 1 + (c >> 17 & 63);
		reg.large_size = 8192 << (c >> 23 & 3);
	}
	if ((op->b & 0xf0) == 0x10)
		((uint32_t *)&reg)[c % (sizeof(reg) / 4)] = c * 2654435761u;
	if ((op->b & 0xf0) == 0x20)
		((uint32_t *)&reg)[c % 9] = 0xffffffff;
	if ((op->b & 0xf00) == 0x100) {
		reg.rx_slots = 4096;
		reg.extra_bufs = c % 4096;
		reg.pool_bufs = 0;
	}
	got = place(&reg, sizeof(reg), op->b, room);
	ret = ioctl(fd_of(op->a), STACKMAP_IOC_REGISTER, got);
	if (!ret && got == (void *)room)
		memcpy(&regs[op->a % SLOTS], room, sizeof(reg));
	return ret;
}

static int call_mmap(const struct op *op)
{
	struct stackmap_register reg = regs[op->a % SLOTS];
	struct region *r = region_of(op->a);
	size_t len = reg.map_size ? reg.map_size : 4096;
	int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED;
	off_t off = 0;
	void *at;

	switch (op->b & 0xff) {
	case 0x10: len += 4096; break;
	case 0x11: len -= 4096; break;
	case 0x12: off = 4096; break;
	case 0x13: flags = MAP_PRIVATE; break;
	case 0x14: prot = PROT_READ; break;
	case 0x15: prot |= PROT_EXEC; break;
	case 0x16: len = op->c; break;
	case 0x17: off = (off_t)op->c << 12; break;
	case 0x18: flags |= MAP_POPULATE; break;
	case 0x19: flags |= MAP_LOCKED; break;
	case 0x1a: prot = PROT_NONE; break;
	case 0x1b: flags |= MAP_NORESERVE | MAP_HUGETLB; break;
	case 0x1c: off = -4096; break;
	}
	at = mmap(NULL, len, prot, flags, fd_of(op->a), off);
	if (at == MAP_FAILED)
		return -1;
	r->len = 0;
	r->reg = reg;
	r->at = at;
	r->len = len;
	return 0;
}

static int call_munmap(const struct op *op)
{
	struct region *r = region_of(op->a);
	size_t off = 0, len = r->len;

	if (!r->at || !len)
		return -1;
	if (op->b & 0x10) {
		off = op->c % len & ~4095ul;
		len = 4096;
	} else {
		r->len = 0;
	}
	return munmap(r->at + off, len);
}

static int call_attach(const struct op *op)
{
	struct stackmap_attach a = { .fd = fd_of(op->b & 0xffffff), .data = op->c };
	uint8_t room[sizeof(a)];

	/* A listener that accepts, a handle; both only now and then */
	a.flags = op->c >> 12 & 3;
	if (a.flags == 3 && op->c & 0x4000)
		a.flags = STACKMAP_ATTACH_ACCEPT;
	if ((op->c & 0xff) == 0xff)
		((uint32_t *)&a)[op->c >> 8 & 7] = op->c;
	return ioctl(fd_of(op->a), STACKMAP_IOC_ATTACH, place(&a, sizeof(a), op->b, room));
}

static int call_handle(const struct op *op)
{
	struct stackmap_handle_fd h = {
		.handle = op->c & 0x10000 ? fd_of(op->b & 0xffffff) : handle_of(op->b),
		.flags = op->c & 0x20000 ? O_CLOEXEC : op->c & 0x40000 ? O_NONBLOCK : 0,
	};
	uint8_t room[sizeof(h)];

	if ((op->c & 0xff) == 0xff)
		((uint32_t *)&h)[op->c >> 8 & 3] = op->c;
	return put(op->c, ioctl(fd_of(op->a), STACKMAP_IOC_HANDLE_FD, place(&h, sizeof(h), op->b, room)));
}

/* Memory to send from: some of this process', a mapping of a port's, nothing; or the end of one */
static int call_memory(const struct op *op)
{
	static uint8_t *mine;
	struct stackmap_memory m = { .len = 1 + op->c % 400000 };
	uint8_t room[sizeof(m)];
	uint8_t *at = mine, *old = NULL;

	if (!at) {
		at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED)
			return -1;
		if (op->c & 0x1000000)
			madvise(at, 1 << 20, MADV_HUGEPAGE);
		if (!__atomic_compare_exchange_n(&mine, &old, at, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			munmap(at, 1 << 20);
			at = old;
		}
	}
	m.addr = (uintptr_t)at + (op->c >> 8 & 0xffff);
	switch (op->b & 0xf) {
	case 1: m.addr = (uintptr_t)region_of(op->c)->at; break;
	case 2: m.addr = op->c; break;
	case 3: m.len = (uint64_t)op->c << 12; break;
	case 4: /* gone from here, and not from the port */
		madvise(at, 1 << 20, MADV_DONTNEED);
		return 0;
	case 5: ((uint32_t *)&m)[op->c & 7] = op->c; break;
	case 6: case 7: case 8:
		m = (struct stackmap_memory){ .id = op->c % 3, .flags = STACKMAP_MEMORY_FORGET };
	}
	return ioctl(fd_of(op->a), STACKMAP_IOC_MEMORY, place(&m, sizeof(m), op->b, room));
}

static int call_detach(const struct op *op)
{
	struct stackmap_detach d = {
		.fd = op->c & 0x20000000 ? handle_of(op->b) : fd_of(op->b & 0xffffff),
	};
	static const uint8_t bytes[0x4000];
	struct stackmap_unread u = { .addr = (uintptr_t)bytes, .len = op->c >> 8 & 0x3fff };
	uint8_t room[sizeof(d)];

	if (op->c & 0x40) {
		d.flags = STACKMAP_DETACH_UNREAD;
		d.unread = (uintptr_t)&u;
		if ((op->c & 0x3f) == 0x3f)
			u.addr = op->c;
		if ((op->c & 0x3f) == 0x3e)
			u.len = op->c;
	}
	if ((op->c & 0xff) == 0xff)
		((uint32_t *)&d)[op->c >> 8 & 3] = op->c;
	return ioctl(fd_of(op->a), STACKMAP_IOC_DETACH, place(&d, sizeof(d), op->b, room));
}

static int call_sync(const struct op *op)
{
	struct stackmap_sync s = { .flags = op->b & 1, .wait_us = op->c % 8 ? op->c % 3000 : op->c % 60000 };
	uint32_t times = op->b & 2 ? 20 : 1;
	uint8_t room[sizeof(s)];
	int ret;

	if (op->b & 4) {
		s.flags |= STACKMAP_SYNC_WATCH;
		s.watch = fd_of(op->c >> 8);
	}
	if ((op->c & 0xff) == 0xff)
		((uint32_t *)&s)[op->c >> 8 & 3] = op->c;
	while (times--)
		ret = ioctl(fd_of(op->a), STACKMAP_IOC_SYNC, place(&s, sizeof(s), op->b, room));
	return ret;
}

static int call_info(const struct op *op)
{
	struct stackmap_info i = { .version = op->c & 7 ? STACKMAP_ABI_VERSION : op->c,
				   .index = op->c & 8 ? op->c : 0 };
	struct stackmap_detail d = { .info = i };
	uint8_t room[sizeof(d)];

	/* What explains the same */
	if (op->c & 16) {
		if ((op->c & 0xff00) == 0xff00)
			((uint32_t *)&d)[op->c >> 16 & 255] = op->c;
		return ioctl(fd_of(op->a), STACKMAP_IOC_DETAIL, place(&d, sizeof(d), op->b, room));
	}
	return ioctl(fd_of(op->a), STACKMAP_IOC_INFO, place(&i, sizeof(i), op->b, room));
}

/* A command that there is not, or with a size that is wrong */
static int call_ioctl(const struct op *op)
{
	uint8_t room[512] = { 0 };

	return ioctl(fd_of(op->a), op->b & 0x10 ? op->c : 0xC0B70000 | (op->c & 0xfff0f), room);
}

static int call_wake(const struct op *op)
{
	return ioctl(fd_of(op->a), STACKMAP_IOC_WAKE, op->c);
}

/* Whoever has got a port by call_pass() can map it from then on */
static int call_port(const struct op *op)
{
	struct stackmap_register reg = { 0 }, *got;
	uint8_t room[sizeof(reg)];
	int ret;

	got = place(&reg, sizeof(reg), op->b, room);
	ret = ioctl(fd_of(op->a), STACKMAP_IOC_PORT, got);
	if (!ret && got == (void *)room)
		memcpy(&regs[op->a % SLOTS], room, sizeof(reg));
	return ret;
}

static int call_poll(const struct op *op)
{
	struct pollfd p[2] = { { .fd = fd_of(op->a), .events = op->b },
			       { .fd = fd_of(op->b), .events = POLLIN } };

	if (!(op->b & 0xf))
		p[0].events = POLLIN;
	return poll(p, 1 + (op->c & 1), op->c % 20);
}

static int call_epoll(const struct op *op)
{
	struct epoll_event e = { .events = EPOLLIN | (op->c & 2 ? EPOLLET : 0) | (op->c & 4 ? EPOLLONESHOT : 0) };
	int fd = fd_of(op->a);

	if (op->c & 1)
		put(op->a, fd = epoll_create1(0));
	epoll_ctl(fd, op->c & 8 ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, fd_of(op->b), &e);
	return epoll_wait(fd, &e, 1, op->c % 20);
}

/* ---------------------------------------------------------------- descriptors */

static int call_socket(const struct op *op)
{
	int a = op->a, sv[2];

	switch (op->b % 22) {
	case 0: return put(a, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	case 1: return put(a, socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
	case 2: return put(a, socket(AF_INET, SOCK_DGRAM, 0));
	case 3: return put(a, socket(AF_INET6, SOCK_DGRAM, 0));
	case 4: return put(a, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_MPTCP));
	case 5: return put(a, socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
	case 6: return put(a, socket(AF_PACKET, SOCK_RAW, htons(3)));
	case 7: return put(a, socket(AF_NETLINK, SOCK_RAW, 0));
	case 8: return put(a, eventfd(0, EFD_NONBLOCK));
	case 9: return put(a, epoll_create1(0));
	case 10: return put(a, open("/dev/null", O_RDWR));
	case 11: return put(a, memfd_create("fuzz", 0));
	case 12: return put(a, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	case 13: return put(a, open("/proc/self/mem", O_RDWR));
	case 14: return put(a, open("/", O_RDONLY | O_DIRECTORY));
	case 15: return put(a, open("/root", O_PATH));
	case 16: return put(a, open("/sys/kernel/debug/kcov", O_RDWR));
	case 17: return pipe2(sv, O_NONBLOCK) ? -1 : put(a, sv[0]) | put(op->b >> 8, sv[1]);
	case 18: return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) ? -1 :
			put(a, sv[0]) | put(op->b >> 8, sv[1]);
	case 19: return put(a, syscall(SYS_io_uring_setup, 4, (uint8_t[256]){ 0 }));
	case 20: return put(a, syscall(SYS_pidfd_open, getpid(), 0));
	default: return put(a, open("/dev/zero", O_RDWR));
	}
}

static socklen_t address(struct sockaddr_in6 *to, uint32_t b, uint32_t c)
{
	static const char *const v4[] = { "127.0.0.1", "10.77.0.2", "10.77.0.1", "10.79.0.2", "10.77.0.99", "127.0.0.1" };
	struct sockaddr_in *a4 = (void *)to;

	memset(to, 0, sizeof(*to));
	if (c & 0x40) {
		to->sin6_family = AF_INET6;
		to->sin6_port = htons(PORT + b % 4);
		inet_pton(AF_INET6, c & 0x80 ? "fd77::2" : "::1", &to->sin6_addr);
		return sizeof(*to);
	}
	a4->sin_family = AF_INET;
	a4->sin_port = htons((c & 7) == 2 ? 9000 : PORT + b % 4);
	inet_pton(AF_INET, v4[c % 6], &a4->sin_addr);
	return sizeof(*a4);
}

static int call_listen(const struct op *op)
{
	struct sockaddr_in6 at;
	socklen_t len = address(&at, op->b, op->c & ~7u);
	int fd = socket(at.sin6_family, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, fo = 5;

	if (at.sin6_family == AF_INET)
		((struct sockaddr_in *)&at)->sin_addr.s_addr = 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (op->c & 8)
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &fo, sizeof(fo));
	if (bind(fd, (void *)&at, len) || listen(fd, 1 + op->c % 64)) {
		close(fd);
		return -1;
	}
	return put(op->a, fd);
}

static int call_connect(const struct op *op)
{
	struct sockaddr_in6 to;
	socklen_t len = address(&to, op->b >> 4, op->c);
	int fd = fd_of(op->a), one = 1;

	if (op->c & 0x100 || fd < 0) {
		fd = socket(to.sin6_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		put(op->a, fd);
	}
	if (op->c & 0x200)
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one));
	return connect(fd, (void *)&to, len);
}

static int call_disconnect(const struct op *op)
{
	struct sockaddr sa = { .sa_family = AF_UNSPEC };

	return connect(fd_of(op->a), &sa, sizeof(sa));
}

static int call_pair(const struct op *op)
{
	struct sockaddr_in6 at;
	socklen_t len = sizeof(at);
	int family = op->c & 1 ? AF_INET6 : AF_INET, l, fd, child;

	l = socket(family, SOCK_STREAM, 0);
	memset(&at, 0, sizeof(at));
	at.sin6_family = family;
	if (bind(l, (void *)&at, len) || listen(l, 1) || getsockname(l, (void *)&at, &len)) {
		close(l);
		return -1;
	}
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(fd, (void *)&at, len) && errno != EINPROGRESS) {
		close(fd);
		fd = -1;
	}
	child = fd < 0 ? -1 : accept4(l, NULL, NULL, SOCK_NONBLOCK);
	close(l);
	return put(op->a, fd) | put(op->b, child);
}

static int call_accept(const struct op *op)
{
	struct pollfd p = { .fd = fd_of(op->a), .events = POLLIN };

	if (op->c & 1)
		poll(&p, 1, 5);
	return put(op->b, accept4(fd_of(op->a), NULL, NULL, SOCK_NONBLOCK));
}

static int call_send(const struct op *op)
{
	static uint8_t data[65536];
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;

	if (op->c & 1)
		flags |= MSG_OOB;
	if (op->c & 2)
		flags |= MSG_MORE;
	if (op->c & 4)
		flags |= MSG_ZEROCOPY;
	if (op->c & 8)
		flags |= MSG_FASTOPEN;
	return send(fd_of(op->a), data, op->b % 64 ? op->b % 65536 : 65536, flags);
}

static int call_recv(const struct op *op)
{
	static uint8_t data[65536];

	return recv(fd_of(op->a), data, op->b % 65536,
		    MSG_DONTWAIT | (op->c & 1 ? MSG_PEEK : 0) | (op->c & 2 ? MSG_OOB : 0) | (op->c & 4 ? MSG_TRUNC : 0));
}

static int call_shutdown(const struct op *op)
{
	return shutdown(fd_of(op->a), op->b % 3);
}

static int call_close(const struct op *op)
{
	int fd = __atomic_exchange_n(&fds[op->a % SLOTS], -1, __ATOMIC_RELAXED);

	return fd > 2 ? close(fd) : -1;
}

static int call_dup(const struct op *op)
{
	int to;

	if (op->c & 1) {	/* over a number that is in use */
		to = fd_of(op->b);
		return to > 2 && to < 1024 ? dup2(fd_of(op->a), to) : -1;
	}
	return put(op->b, dup(fd_of(op->a)));
}

static int call_setsockopt(const struct op *op)
{
	static const struct { int level, name; } opt[] = {
		{ SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_SNDBUF }, { SOL_SOCKET, SO_LINGER },
		{ SOL_SOCKET, SO_ZEROCOPY }, { SOL_SOCKET, SO_BUSY_POLL }, { SOL_SOCKET, SO_RCVLOWAT },
		{ SOL_SOCKET, SO_OOBINLINE }, { SOL_SOCKET, SO_BINDTOIFINDEX }, { SOL_SOCKET, SO_KEEPALIVE },
		{ SOL_SOCKET, SO_MAX_PACING_RATE }, { SOL_SOCKET, SO_INCOMING_CPU }, { SOL_SOCKET, SO_TIMESTAMPING },
		{ IPPROTO_TCP, TCP_NODELAY }, { IPPROTO_TCP, TCP_CORK }, { IPPROTO_TCP, TCP_MAXSEG },
		{ IPPROTO_TCP, TCP_DEFER_ACCEPT }, { IPPROTO_TCP, TCP_USER_TIMEOUT }, { IPPROTO_TCP, TCP_REPAIR },
		{ IPPROTO_TCP, TCP_REPAIR_QUEUE }, { IPPROTO_TCP, TCP_QUEUE_SEQ }, { IPPROTO_TCP, TCP_WINDOW_CLAMP },
		{ IPPROTO_TCP, TCP_QUICKACK }, { IPPROTO_TCP, TCP_NOTSENT_LOWAT }, { IPPROTO_TCP, TCP_LINGER2 },
		{ IPPROTO_TCP, TCP_SAVE_SYN }, { IPPROTO_TCP, TCP_INQ }, { IPPROTO_TCP, TCP_KEEPIDLE },
		{ IPPROTO_IPV6, 1 /* ADDRFORM */ }, { IPPROTO_IPV6, 26 /* V6ONLY */ }, { IPPROTO_IP, 1 /* TOS */ },
	};
	static const char *const ulps[] = { "tls", "stackmap", "mptcp", "espintcp", "smc", "" };
	static const char *const ccs[] = { "cubic", "reno", "bbr", "dctcp" };
	struct linger l = { op->c & 1, op->c >> 1 & 1 };
	uint32_t i = op->b % (sizeof(opt) / sizeof(opt[0]) + 4);
	int v = op->c;
	const char *s;

	if (i == 0) {
		s = ulps[op->c % 6];
		return setsockopt(fd_of(op->a), IPPROTO_TCP, TCP_ULP, s, strlen(s));
	}
	if (i == 1) {
		s = ccs[op->c % 4];
		return setsockopt(fd_of(op->a), IPPROTO_TCP, TCP_CONGESTION, s, strlen(s));
	}
	if (i < 4) {
		socklen_t len = sizeof(v);

		return getsockopt(fd_of(op->a), SOL_SOCKET, SO_ERROR, &v, &len);
	}
	i -= 4;
	if (opt[i].name == SO_LINGER && opt[i].level == SOL_SOCKET)
		return setsockopt(fd_of(op->a), SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	if (opt[i].level == IPPROTO_IPV6 && opt[i].name == 1)
		v = AF_INET;
	if (opt[i].level == SOL_SOCKET && opt[i].name == SO_BINDTOIFINDEX)
		v = nic_ifindex(op->c % 8);
	return setsockopt(fd_of(op->a), opt[i].level, opt[i].name, &v, sizeof(v));
}

/* Over a UNIX socket, perhaps to nobody: closed by whoever collects the garbage */
static int call_pass(const struct op *op)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } c = { 0 };
	struct iovec iov = { "", 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	int sv[2], fd = fd_of(op->a), ret;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sv))
		return -1;
	if (op->c & 8)
		fd = sv[1];	/* a cycle */
	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c.h), &fd, sizeof(int));
	ret = sendmsg(sv[0], &m, 0);
	if (op->c & 8) {	/* with the port in it */
		fd = fd_of(op->a);
		memcpy(CMSG_DATA(&c.h), &fd, sizeof(int));
		sendmsg(sv[0], &m, 0);
	}
	if (op->c & 1)
		call_close(op);
	if (op->c & 2) {
		m.msg_controllen = sizeof(c);
		if (recvmsg(sv[1], &m, 0) >= 0 && m.msg_controllen >= sizeof(c.h)) {
			memcpy(&fd, CMSG_DATA(&c.h), sizeof(int));
			put(op->b, fd);
		}
	}
	close(sv[0]);
	close(sv[1]);
	return ret;
}

/* --------------------------------------------------------------- shared memory */

static struct stackmap_ring *ring_of(const struct region *r, bool tx)
{
	uint64_t off = tx ? r->reg.tx_off : r->reg.rx_off;
	uint32_t slots = tx ? r->reg.tx_slots : r->reg.rx_slots;

	if (!r->at || !slots || off + sizeof(struct stackmap_ring) + slots * sizeof(struct stackmap_slot) > r->len)
		return NULL;
	return (void *)(r->at + off);
}

/* Slots that make sense, to be given to TCP by the next sync */
/* Payload in memory of ours: mostly some that there is, up to 64 KB */
static void memory_slot(struct stackmap_slot *s)
{
	uint32_t how = pick(&rng);

	s->buf = how % 2 ? 0 : how % 3;
	s->data = how & 0x40 ? pick(&rng) % 300000 : 0;
	s->off = how & 0x380 ? 0 : pick(&rng) % 5;
	s->len = pick(&rng);
	s->flags = (s->flags & 0xb) | STACKMAP_TX_MEMORY;
}

static int call_txfill(const struct op *op)
{
	struct region *r = region_of(op->a);
	struct stackmap_ring *ring = ring_of(r, true);
	uint32_t n, i, mask;

	if (!ring)
		return -1;
	mask = r->reg.tx_slots - 1;
	guarded(
		n = 1 + op->c % (mask + 1);
		i = ring->head & mask;
		while (n-- && i != (ring->tail & mask)) {
			struct stackmap_slot *s = &ring->slots[i];

			s->fd = fd_of((op->c & 0x10000 ? n : 0) + (op->b & 0xffffff));
			if (op->c & 0x100000)
				s->fd = handle_of(n);
			s->off = op->c & 0x20000 ? pick(&rng) % 4096 : 0;
			s->len = 1 + pick(&rng) % (4096 - s->off);
			/* KEEP, MORE, ACKED */
			s->flags = op->c & 0x40000 ? pick(&rng) & 0xb : 0;
			s->gen = 0;
			if (op->c & 0x80000)
				s->buf = pick(&rng) % (r->reg.frames + 1);
			if (op->c & 0x200000 && pick(&rng) % 2)
				memory_slot(s);
			i = (i + 1) & mask;
		}
		__atomic_store_n(&ring->head, i, __ATOMIC_RELEASE);
	);
	return 0;
}

/* Slots without payload: buffers returned, marks, credit, the ends of handles; the next txfill is behind them */
static int call_txask(const struct op *op)
{
	static const uint16_t asks[] = {
		STACKMAP_TX_RETURN, STACKMAP_TX_ACKED, STACKMAP_TX_CREDIT, STACKMAP_TX_CLOSE,
		STACKMAP_TX_FIN, STACKMAP_TX_CLOSE | STACKMAP_TX_ABORT,
	};
	struct region *r = region_of(op->a);
	struct stackmap_ring *ring = ring_of(r, true);
	uint32_t n, i, mask;

	if (!ring)
		return -1;
	mask = r->reg.tx_slots - 1;
	guarded(
		n = 1 + op->c % 8;
		i = ring->head & mask;
		while (n-- && i != (ring->tail & mask)) {
			struct stackmap_slot *s = &ring->slots[i];

			s->fd = fd_of((op->c & 0x10000 ? n : 0) + (op->b & 0xffffff));
			s->len = 0;
			s->flags = asks[(op->c & 0x20000 ? pick(&rng) : op->c >> 18 & 3) % 6];
			if (s->flags >= STACKMAP_TX_CLOSE && pick(&rng) % 16)
				s->fd = handle_of(op->b + n);
			if ((op->c & 0xf00000) == 0x100000)
				s->flags |= 1 << pick(&rng) % 16;
			s->gen = (op->c & 0xf000000) == 0x1000000 ? pick(&rng) : 0;
			s->data = op->c & 0x10000000 ? pick(&rng) % 10000 : (uint64_t)(int32_t)number(&rng);
			if (op->c & 0x80)
				s->buf = pick(&rng) % (r->reg.frames + 1);
			i = (i + 1) & mask;
		}
		__atomic_store_n(&ring->head, i, __ATOMIC_RELEASE);
	);
	return 0;
}

static int call_rxtake(const struct op *op)
{
	struct region *r = region_of(op->a);
	struct stackmap_ring *ring = ring_of(r, false);

	if (!ring)
		return -1;
	guarded(
		uint32_t mask = r->reg.rx_slots - 1;
		uint32_t there = (ring->tail - ring->head) & mask;

		if (op->b & 0x10 && there)
			there = op->c % (there + 1);
		/* Another buffer of ours, or of nobody's, takes its place */
		if (op->b & 0x20)
			ring->slots[ring->head & mask].buf = op->c & 1 ? op->c : pick(&rng) % (r->reg.frames + 1);
		__atomic_store_n(&ring->head, (ring->head + there) & mask, __ATOMIC_RELEASE);
	);
	return 0;
}

static void scribble_once(struct region *r)
{
	struct stackmap_ring *ring = ring_of(r, pick(&rng) & 1);
	size_t len = r->len;
	uint32_t slots, i;

	if (!r->at || len < 4096)
		return;
	if (!ring || pick(&rng) % 8 == 0) {
		guarded(((uint32_t *)r->at)[pick(&rng) % (len / 4)] = number(&rng));
		return;
	}
	slots = r->reg.rx_slots < r->reg.tx_slots ? r->reg.rx_slots : r->reg.tx_slots;
	i = pick(&rng) % slots;
	guarded(
		switch (pick(&rng) % 10) {
		case 0: ring->head = number(&rng); break;
		case 1: ring->head = ring->tail; break;
		case 2: ring->tail = number(&rng); break;
		case 3: ring->slots[i].buf = pick(&rng) % (r->reg.frames + 2); break;
		case 4: ring->slots[i].fd = fd_of(pick(&rng) % SLOTS); ring->slots[i].gen = 0; break;
		case 8: ring->slots[i].fd = handle_of(pick(&rng)); ring->slots[i].gen = 0; break;
		case 5: ring->slots[i].off = pick(&rng); ring->slots[i].len = pick(&rng); break;
		case 6: ring->slots[i].flags = pick(&rng) & 0xb; ring->slots[i].len = 1 + pick(&rng) % 4096; break;
		case 7: ring->slots[i].flags = 4 << pick(&rng) % 6; ring->slots[i].len = 0; break;
		default: memset(r->at + r->reg.frames_off % len, pick(&rng), len - r->reg.frames_off % len > 8192 ? 8192 : 0);
		}
	);
}

static int call_scribble(const struct op *op)
{
	uint32_t n = 1 + op->c % 64;

	while (n--)
		scribble_once(region_of(op->a));
	return 0;
}

/* All the while. Sleeps now and then, as there may be one CPU only */
static void *scribbler(void *arg)
{
	uint32_t n;

	rng = (uintptr_t)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (n = 0; n < 40; n++)
			scribble_once(region_of(pick(&rng)));
		usleep(100);
	}
	return NULL;
}

static int call_remap(const struct op *op)
{
	struct region *r = region_of(op->a);
	size_t len = r->len;
	void *at;

	if (!r->at || len < 8192)
		return -1;
	switch (op->b % 8) {
	case 0:
		return mprotect(r->at, len, PROT_READ | PROT_EXEC);
	case 1:
		return mprotect(r->at, len, op->c & 1 ? PROT_READ : PROT_READ | PROT_WRITE);
	case 2:
		return madvise(r->at, len, op->c % 26);
	case 3:
		return mlock(r->at, len);
	case 4:
		at = mremap(r->at, len, op->c & 1 ? len / 2 & ~4095ul : len + 4096, MREMAP_MAYMOVE);
		break;
	case 5:
		at = mremap(r->at, len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
		break;
	case 6:		/* a second mapping of the same pages */
		at = mremap(r->at, 0, len, MREMAP_MAYMOVE);
		break;
	default:
		return syscall(SYS_remap_file_pages, r->at, 4096, 0, op->c & 1, 0);
	}
	if (at == MAP_FAILED)
		return -1;
	r->len = op->b % 8 == 4 && op->c & 1 ? len / 2 & ~4095ul : len;
	r->at = at;
	return 0;
}

/* Others read and write it: pipes, sockets, other processes, direct I/O, itself */
static int call_copy(const struct op *op)
{
	struct region *r = region_of(op->a);
	struct iovec iov = { r->at, r->len < 16384 ? r->len : 16384 }, odd_iov = { odd, 4096 };
	uint32_t off = r->len > 32768 ? op->c % (r->len - 16384) : 0;
	uint8_t vec[4096];

	if (!r->at)
		return -1;
	iov.iov_base = r->at + off;
	switch (op->b % 8) {
	case 0: return write(fd_of(op->c), iov.iov_base, iov.iov_len);
	case 1: return read(fd_of(op->c), iov.iov_base, iov.iov_len);
	case 2: return process_vm_readv(getpid(), &odd_iov, 1, &iov, 1, 0);
	case 3: return process_vm_writev(getpid(), &odd_iov, 1, &iov, 1, 0);
	case 4: return vmsplice(fd_of(op->c), &iov, 1, SPLICE_F_NONBLOCK | SPLICE_F_GIFT);
	case 5: return send(fd_of(op->c), iov.iov_base, iov.iov_len, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_ZEROCOPY);
	case 6: return getrandom(iov.iov_base, iov.iov_len, 0);
	default: return mincore((void *)((uintptr_t)iov.iov_base & ~4095ul), 4096, vec);
	}
}

/* ------------------------------------------------------------------- processes */

static int run_call(const struct op *op);

/* A child with the same descriptors, which outlives its parent for a moment */
static int call_fork(const struct op *op)
{
	struct op sub;
	uint32_t i;
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -1 : 0;
	prctl(PR_SET_PDEATHSIG, 0);
	rng = op->c;
	for (i = 0; i < 1 + op->b % 6; i++) {
		sub = prog->op[pick(&rng) % prog->n];
		if (sub.call != CALL_fork && sub.call != CALL_unshare)
			run_call(&sub);
	}
	usleep(op->c % 20000);
	if (op->c & 1)
		raise(SIGKILL);
	_exit(0);
}

/* In a user and network namespace of its own, where it is root */
static int call_unshare(const struct op *op)
{
	struct op sub;
	uint32_t i;
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -1 : 0;
	if (unshare((op->c & 1 ? CLONE_NEWUSER : 0) | CLONE_NEWNET))
		_exit(1);
	rng = op->c;
	for (i = 0; i < 6; i++) {
		sub = prog->op[pick(&rng) % prog->n];
		if (sub.call != CALL_fork && sub.call != CALL_unshare && sub.call != CALL_netdev)
			run_call(&sub);
	}
	_exit(0);
}

/* The owner is stopped, by another process, and goes on a while later */
static int call_stop(const struct op *op)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid < 0 ? -1 : 0;
	kill(parent, SIGSTOP);
	usleep(op->c % 60000);
	kill(parent, SIGCONT);
	_exit(0);
}

static int call_sleep(const struct op *op)
{
	return usleep(op->c % 5000);
}

static int call_netdev(const struct op *op)
{
	return nic_disturb(op->a, op->b, op->c);
}

static int call_module(const struct op *op)
{
	return nic_module(op->b);
}

static int run_call(const struct op *op)
{
	static int (*const calls[])(const struct op *) = {
#define X(name) call_##name,
		CALLS(X)
#undef X
	};
	int ret = calls[op->call](op);

	__atomic_add_fetch(&shared->calls, 1, __ATOMIC_RELAXED);
	if (ret >= 0)
		__atomic_add_fetch(&shared->ok, 1, __ATOMIC_RELAXED);
	return ret;
}

struct thread {
	pthread_t id;
	uint32_t number;
	uint64_t seed;
};

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	uint32_t i;

	rng = t->seed;
	kcov_begin();
	for (i = 0; i < prog->n; i++)
		if (prog->op[i].thread % THREADS == t->number)
			run_call(&prog->op[i]);
	kcov_end();
	return NULL;
}

void exec_prog(const struct prog *p, uint64_t seed)
{
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	struct thread threads[THREADS];
	pthread_t scribbling;
	uint32_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	for (i = 0; i < SLOTS; i++)
		fds[i] = -1;
	odd = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(odd + 4096, 4096, PROT_NONE);
	prog = p;
	pthread_create(&scribbling, NULL, scribbler, (void *)(uintptr_t)(seed ^ 0x5c41bb1e));
	for (i = 1; i < THREADS; i++) {
		threads[i] = (struct thread){ .number = i, .seed = seed + i };
		pthread_create(&threads[i].id, NULL, run_thread, &threads[i]);
	}
	threads[0] = (struct thread){ .number = 0, .seed = seed };
	run_thread(&threads[0]);
	for (i = 1; i < THREADS; i++)
		pthread_join(threads[i].id, NULL);
	/* The end, with everything open, as it may come to any application */
	_exit(0);
}
