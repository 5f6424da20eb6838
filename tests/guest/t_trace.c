// SPDX-License-Identifier: GPL-2.0
/*
 * t_trace.c - what is told of a port: each trace event, each reason, each counter of STACKMAP_IOC_DETAIL
 *
 * Every one is provoked, and then it must have been told, and counted as often as it was told.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "sh.h"
#include "tap.h"

#define TRACING "/sys/kernel/tracing/"

static void write_to(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	CHECKF(fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what), "%s: %s", path, strerror(errno));
	close(fd);
}

/* Events are written down from here on */
static void trace_on(void)
{
	if (access(TRACING "events", F_OK))
		tap_skip("this kernel has no trace events");
	write_to(TRACING "buffer_size_kb", "4096");
	write_to(TRACING "trace", "");
	write_to(TRACING "events/stackmap/enable", "1");
}

static void trace_off(void)
{
	write_to(TRACING "events/stackmap/enable", "0");
}

/* How many lines there are with both */
static int traced(const char *event, const char *what)
{
	char line[1024], name[64];
	FILE *f = fopen(TRACING "trace", "r");
	int n = 0;

	CHECK(f);
	snprintf(name, sizeof(name), " stackmap_%s: ", event);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, name) && strstr(line, what);
	fclose(f);
	return n;
}

#define TRACED(n, event, ...) do {						\
	char what_[256];							\
	int got_;								\
	snprintf(what_, sizeof(what_), __VA_ARGS__);				\
	got_ = traced(event, what_);						\
	if (got_ != (n))							\
		trace_missing(__LINE__, event, what_, n, got_);			\
} while (0)

static void trace_missing(int line, const char *event, const char *what, int n, int got)
{
	char all[4096];

	sh_read(all, sizeof(all), "grep stackmap_%s: " TRACING "trace | cut -c 34-200 | tail -n 20", event);
	tap_note("%s", all);
	tap_fail(__FILE__, line, "stackmap_%s with '%s': %d, not %d", event, what, got, n);
}

static uint64_t sum(const __u64 *a, int n)
{
	uint64_t s = 0;

	while (n--)
		s += *a++;
	return s;
}

/* What is counted twice is the same, whatever has been done */
static struct stackmap_detail adds_up(struct sm *sm)
{
	struct stackmap_detail d = sm_detail(sm);
	const struct stackmap_stats *st = &d.info.stats;

	EQ(sum(d.rx_copied, 8), st->rx_copied_bytes);
	EQ(sum(d.tx_copied, 8), st->tx_copied_bytes);
	EQ(sum(d.refused, 16), st->tx_refused + st->tx_bad);
	EQ(sum(d.sync_times, STACKMAP_TIMES), st->syncs);
	EQ(sum(d.away_times, STACKMAP_TIMES), st->syncs ? st->syncs - 1 : 0);
	CHECKF(sum(d.batches, STACKMAP_BATCHES) <= st->syncs, "%llu", (unsigned long long)st->syncs);
	CHECKF(d.claims - sum(d.released, 8) <= 1, "%llu claims", (unsigned long long)d.claims);
	CHECK(d.wait_ns <= d.sync_ns);
	EQ(d.memory, sm->reg.map_size);
	return d;
}

/* A port begins, has sockets, and ends */
TEST(trace_life, 40)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64), again;
	unsigned int ifindex = if_nametoindex(IFNAME);
	int fd[2], more[2], p[2], port, queue = 0, i;
	struct sm sm;
	uint32_t gen;
	char b[8];

	trace_on();
	again = reg;
	sm_new(&sm, &reg);
	TRACED(1, "register", "ifindex=%u queue=%d err=0 nic=%s rx_slots=64 tx_slots=64 frames=%u stall_us=10000", ifindex,
	       queue, sm.reg.nic == STACKMAP_NIC_VIRTIO ? "virtio" : "napi", sm.reg.frames);
	port = sm_open();
	FAILS(ioctl(port, STACKMAP_IOC_REGISTER, &again), EBUSY);
	TRACED(1, "register", "err=%d", -EBUSY);
	again.flags = 1;
	FAILS(ioctl(port, STACKMAP_IOC_REGISTER, &again), EINVAL);
	TRACED(1, "register", "err=%d", -EINVAL);
	close(port);

	pair_tcp(fd, AF_INET);
	pair_tcp(more, AF_INET);
	gen = sm_attach(&sm, fd[0], 1);
	TRACED(1, "attach", "fd=%d gen=%u err=0 family=%d state=1 sport=%d dport=%d", fd[0], gen, AF_INET,
	       port_of(fd[0]), port_of(fd[1]));
	FAILS(sm_try_attach(sm.fd, fd[0], 1, NULL), EALREADY);
	TRACED(1, "attach", "fd=%d gen=0 err=%d", fd[0], -EALREADY);
	CHECK(!pipe(p));
	FAILS(sm_try_attach(sm.fd, p[0], 1, NULL), ENOTSOCK);
	FAILS(sm_try_attach(sm.fd, 12345, 1, NULL), EBADF);
	TRACED(1, "attach", "fd=%d gen=0 err=%d family=0", p[0], -ENOTSOCK);
	TRACED(1, "attach", "fd=12345 gen=0 err=%d", -EBADF);

	/* One slot each way */
	CHECK(send_all(fd[1], "12345678", 8));
	sm_put(&sm, fd[0], "1234", 4);
	sm_read(&sm, fd[0], b, 8, 1000);
	CHECK(traced("sync", "tx_slots=1 refused=0") == 1);
	CHECK(traced("sync", "rx_slots=1 ") == 1);
	TRACED((int)sm_info(&sm).stats.syncs, "sync", "ifindex=%u queue=%d", ifindex, queue);

	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	TRACED(1, "detach", "fd=%d gen=%u why=asked rx_slots=1 tx_slots=1", fd[0], gen);
	/* Its number becomes another one's */
	gen = sm_attach(&sm, fd[0], 1);
	CHECK(dup2(fd[0], p[1]) == p[1]);
	CHECK(dup2(more[0], fd[0]) == fd[0]);
	sm_attach(&sm, fd[0], 1);
	TRACED(1, "detach", "gen=%u why=stray", gen);
	close(more[0]);
	close(more[1]);
	EQ(read(fd[0], b, 1), 0);
	close(fd[0]);
	/* When the peer has acknowledged its FIN */
	for (i = 0; i < 200 && !traced("detach", "why=closed"); i++)
		usleep(10000);
	TRACED(1, "detach", "fd=%d gen=%u why=closed", fd[0], gen + 1);
	gen = sm_attach(&sm, p[1], 1);
	sm_close(&sm);
	TRACED(1, "close", "ifindex=%u queue=%d", ifindex, queue);
	TRACED(1, "detach", "fd=%d gen=%u why=port", p[1], gen);
	trace_off();
	close(p[0]);
	close(p[1]);
	close(fd[1]);
}

/* ------------------------------------------------------------- what is refused */

static struct sm refusing;

/* @what of the event, and the counter of @why */
static void refused(int why, const char *what)
{
	TRACED((int)sm_detail(&refusing).refused[why], "refuse", "why=%s", what);
	CHECKF(sm_detail(&refusing).refused[why], "%s", what);
}

static void *page_of_nobody;

/* In send(), with the socket locked, until the page is there */
static void *send_slowly(void *arg)
{
	return (void *)send(*(int *)arg, page_of_nobody, 100, 0);
}

TEST(trace_refused, 40)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register page;
	struct uffdio_zeropage zero;
	struct stackmap_slot *s;
	int fd[2], ended[2], uffd, err, i;
	pthread_t thread;
	struct pollfd p;
	uint32_t busy;
	void *ret;
	char b[4096] = { 0 };

	trace_on();
	reg.pool_bufs = 1;
	sm_new(&refusing, &reg);
	pair_tcp(fd, AF_INET);
	pair_tcp(ended, AF_INET);
	sm_attach(&refusing, fd[0], 1);
	sm_attach(&refusing, ended[0], 1);

	sm_put(&refusing, 999, b, 1);
	sm_sync(&refusing, 0);
	refused(STACKMAP_REFUSED_EBADF, "ebadf");
	sm_put(&refusing, fd[0], b, 1)->gen = ~0u;
	sm_sync(&refusing, 0);
	refused(STACKMAP_REFUSED_ESTALE, "estale");
	sm_put(&refusing, fd[0], b, 1)->off = 4096;
	sm_sync(&refusing, 0);
	refused(STACKMAP_REFUSED_EINVAL, "einval");
	shutdown(ended[0], SHUT_WR);
	sm_put(&refusing, ended[0], b, 1);
	sm_sync(&refusing, 0);
	refused(STACKMAP_REFUSED_EPIPE, "epipe");

	/* A buffer that is in use, and the only idle one is, too */
	s = sm_put(&refusing, fd[0], b, 100);
	busy = s->buf;
	s->flags = STACKMAP_TX_KEEP;
	sm_put(&refusing, fd[0], b, 100);
	sm_put(&refusing, fd[0], b, 100);
	sm_sync(&refusing, 0);
	EQ(sm_detail(&refusing).tx_copied[STACKMAP_COPY_NO_BUFFER], 100);
	TRACED(1, "copy", "fd=%d tx why=no_buffer len=100", fd[0]);
	sm_return(&refusing, busy, &err);
	EQ(err, EAGAIN);
	refused(STACKMAP_REFUSED_NO_BUFFER, "no_buffer");

	/* A thread has the socket locked */
	page_of_nobody = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* (poll() takes it for an error without this) */
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	page = (struct uffdio_register){ .range = { (uintptr_t)page_of_nobody, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	if (uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) && !ioctl(uffd, UFFDIO_REGISTER, &page)) {
		CHECK(!pthread_create(&thread, NULL, send_slowly, &fd[0]));
		p = (struct pollfd){ .fd = uffd, .events = POLLIN };
		CHECK(poll(&p, 1, 2000 * slow()) == 1);
		sm_put(&refusing, fd[0], b, 1);
		sm_sync(&refusing, 0);
		zero = (struct uffdio_zeropage){ .range = page.range };
		CHECK(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
		CHECK(!pthread_join(thread, &ret));
		EQ((long)ret, 100);
		refused(STACKMAP_REFUSED_LOCKED, "locked");
		close(uffd);
	}

	/* Nobody reads: no room, and what follows must not overtake */
	for (i = 0; i < 3000 && !sm_detail(&refusing).refused[STACKMAP_REFUSED_ROOM]; i++) {
		while (sm_peek(&refusing))
			sm_next(&refusing);
		sm_put(&refusing, fd[0], b, 4096);
		/* Its write ends with it */
		s = sm_put(&refusing, fd[0], b, 4096);
		s->flags = STACKMAP_TX_MORE;
		sm_put(&refusing, fd[0], b, 1);
		sm_sync(&refusing, 0);
	}
	refused(STACKMAP_REFUSED_ROOM, "room");
	refused(STACKMAP_REFUSED_ORDER, "order");

	/* The error that has ended the connection, not told yet */
	close(ended[1]);
	pair_tcp(ended, AF_INET);
	sm_attach(&refusing, ended[0], 1);
	setsockopt(ended[1], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	close(ended[1]);
	sm_put(&refusing, ended[0], b, 1);
	sm_sync(&refusing, 0);
	refused(STACKMAP_REFUSED_OTHER, "other");
	adds_up(&refusing);
	trace_off();
	sm_close(&refusing);
	close(fd[0]);
	close(fd[1]);
	close(ended[0]);
}

/* ------------------------------------------------- whose the NIC is, and why */

static void released(struct sm *sm, int why, const char *what, bool is)
{
	struct stackmap_detail d = sm_detail(sm);

	TRACED((int)d.released[why], "release", "why=%s", what);
	CHECKF(!is || d.released[why], "%s", what);
}

static void owned(struct sm *sm)
{
	double end = mono() + 10 * slow();
	uint64_t polls = sm_info(sm).stats.nic_polls;

	while (sm_info(sm).stats.nic_polls == polls) {
		sm_sync(sm, 100);
		CHECK(mono() < end);
	}
}

/* Busy elsewhere, in user space */
static void busy(int ms)
{
	double end = mono() + ms / 1e3;

	while (mono() < end)
		;
}

TEST(trace_claim, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct pollfd p;
	struct sm sm;
	double end;
	int i;

	trace_on();
	/* There are too many of these */
	write_to(TRACING "events/stackmap/stackmap_sync/enable", "0");
	write_to(TRACING "events/stackmap/stackmap_claim/filter", "got == 1");
	reg.stall_us = 20000;
	sm_new(&sm, &reg);
	owned(&sm);
	CHECK(traced("claim", "got=1") >= 1);
	EQ(sm_detail(&sm).claims, (uint64_t)traced("claim", "got=1"));

	/* (A busy machine may have it stall before) */
	p = (struct pollfd){ .fd = sm.fd, .events = POLLIN };
	for (i = 0; i < 50 && !sm_detail(&sm).released[STACKMAP_RELEASED_SLEEP]; i++) {
		owned(&sm);
		EQ(poll(&p, 1, 20), 0);
	}
	released(&sm, STACKMAP_RELEASED_SLEEP, "sleep", true);
	for (i = 0; i < 50 && !sm_detail(&sm).released[STACKMAP_RELEASED_BLOCKED]; i++) {
		owned(&sm);
		usleep(100000);
	}
	released(&sm, STACKMAP_RELEASED_BLOCKED, "blocked", true);
	CHECK(traced("stall", "why=blocked") >= 1);
	end = mono() + 20 * slow();
	do {
		owned(&sm);
		busy(60);
		CHECK(mono() < end);
	} while (!sm_detail(&sm).released[STACKMAP_RELEASED_STALL]);
	released(&sm, STACKMAP_RELEASED_STALL, "stall", true);
	CHECK(traced("stall", "why=stall") >= 1);
	TRACED((int)sm_info(&sm).stats.stalls, "stall", "owner=sm-test:%d", getpid());

	/* Somebody reconfigures: what takes the claim away depends on the driver */
	unlink("/tmp/sm-enough");
	i = sh_meanwhile("for i in {1..40}; do [ -e /tmp/sm-enough ] && exit; ip link set " IFNAME " mtu 1400; ip link set " IFNAME
			 " mtu 1500; ip link set " IFNAME " down; sleep 0.1; ip link set " IFNAME " up; sleep 0.3; done");
	for (end = mono() + 30 * slow(); mono() < end;) {
		struct stackmap_detail d = sm_detail(&sm);

		if (d.released[STACKMAP_RELEASED_DOWN] + d.released[STACKMAP_RELEASED_WANTED] >= 2)
			break;
		for (int k = 0; k < 20; k++)
			sm_sync(&sm, 1000);
	}
	EQ(sh("touch /tmp/sm-enough"), 0);
	sh_end(i);
	released(&sm, STACKMAP_RELEASED_WANTED, "wanted", false);
	released(&sm, STACKMAP_RELEASED_DOWN, "down", false);
	CHECKF(sm_detail(&sm).released[STACKMAP_RELEASED_DOWN] + sm_detail(&sm).released[STACKMAP_RELEASED_WANTED] >= 2,
	       "%llu", (unsigned long long)sm_detail(&sm).released[STACKMAP_RELEASED_DOWN]);
	CHECK(sm_detail(&sm).unclaimed > 0);
	EQ(sm_detail(&sm).claims, (uint64_t)traced("claim", "got=1"));
	write_to(TRACING "events/stackmap/stackmap_claim/filter", "0");
	EQ(sh("ip link set " IFNAME " down"), 0);
	sm_sync(&sm, 0);
	CHECK(traced("claim", "got=0") >= 1);
	sh_restore_nic();
	owned(&sm);
	adds_up(&sm);
	/* (A tick may come first, and see that somebody has RTNL, or that this task waits for it) */
	for (i = 0; i < 20 && !traced("release", "why=close"); i++) {
		owned(&sm);
		sm_close(&sm);
		sm_new(&sm, &reg);
	}
	CHECK(traced("release", "why=close") >= 1);
	sm_close(&sm);
	trace_off();
}

/* An owner that stalls all the time is told of in the kernel's log, once in 10 s */
TEST(trace_stalls_are_logged, 90)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct sm sm;
	double end = mono() + 45;
	bool enough;

	EQ(sh("dmesg -c >/dev/null"), 0);
	reg.stall_us = STACKMAP_STALL_MIN_US;
	sm_new(&sm, &reg);
	do {
		struct timespec t = { 0, 6000000 };
		double start = mono();
		uint64_t stalls = sm_info(&sm).stats.stalls;

		while (sm_info(&sm).stats.stalls - stalls < 450 && mono() < start + 10) {
			sm_sync(&sm, 0);
			nanosleep(&t, NULL);
		}
		enough = sm_info(&sm).stats.stalls - stalls >= 400;
	} while (!enough && mono() < end);
	if (!enough)
		tap_skip("this machine is too slow to stall so often");
	/* (In two periods of 10 s at most, of which one has had 200) */
	EQ(sh("dmesg | grep -q 'stackmap: the owner of queue 0 of interface %u .sm-test, pid %d. has stalled 200 times in 10 s'",
	      if_nametoindex(IFNAME), getpid()), 0);
	CHECK(!sh("[ \"$(dmesg | grep -c 'has stalled 200 times')\" -le 8 ]"));
	EQ(sh("dmesg | grep -q 'stackmap: queue 0 is owned by sm-test, pid %d'", getpid()), 0);
	sm_close(&sm);
	EQ(sh("dmesg | grep -q 'stackmap: queue 0 is given back'"), 0);
}

/* ------------------------------------------------------------- what is copied */

static void copied(struct sm *sm, int why, const char *what)
{
	struct stackmap_detail d = sm_detail(sm);

	CHECKF(d.rx_copied[why], "%s", what);
	CHECKF(traced("copy", what) > 0, "%s", what);
}

static void pieces(struct app *app, int port, int piece, int n, int first)
{
	struct ask a;

	ask(&a, "pieces %s %d %d %d %d %d", here->guest4, port, piece, piece, n, first);
	app_run(app, &a, 20);
}

TEST_NIC(trace_copied, 60)
{
	struct stackmap_register reg = sm_reg(here->ifname, 256);
	struct app *app;
	int port, fd, one[2];
	char b[2];

	trace_on();
	reg.pool_bufs = 4096;
	app = app_new(&reg);
	app->spin = true;
	port = app_listen(app, here->guest4);
	pieces(app, port, 50, 10, 0);
	copied(&app->sm, STACKMAP_COPY_HEAD, "rx why=head");
	/* From memory of the loopback interface's sender */
	pair_tcp(one, AF_INET);
	sm_attach(&app->sm, one[0], 1);
	CHECK(send_all(one[1], "12", 2));
	sm_read(&app->sm, one[0], b, 2, 1000);
	copied(&app->sm, STACKMAP_COPY_FOREIGN, "rx why=foreign");
	CHECK(sm_try_detach(app->sm.fd, one[0]) == 0);

	if (app->sm.reg.nic == STACKMAP_NIC_VIRTIO) {
		pieces(app, port, 20000, 60 * sh_ring_turns(here->ifname), 0);
		fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
		CHECK(fd >= 0);
		pieces(app, port, 1000, 30, 0);
		copied(&app->sm, STACKMAP_COPY_SHARED, "rx why=shared");
		close(fd);
	}
	adds_up(&app->sm);
	trace_off();
	close(one[0]);
	close(one[1]);
	app_end(app);
}

static void sign(int fd, const char *peer)
{
	struct tcp_md5sig md5 = { .tcpm_keylen = 1, .tcpm_key = "k" };

	addr_of(&md5.tcpm_addr, peer, 0);
	if (setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &md5, sizeof(md5)))
		tap_skip("this kernel signs no segments");
}

/* Signed segments are not cut by the NIC, and an interface without scatter-gather has them copied */
TEST(trace_copied_without_sg, 40)
{
	int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), ns, fd[2], l;
	struct stackmap_memory m = { .addr = 0 };
	struct stackmap_slot *s;
	uint32_t own;
	struct sockaddr_storage ss;
	struct sm sm;
	socklen_t len;
	char b[100];

	sh_veth();
	ns = open("/run/netns/smnet", O_RDONLY | O_CLOEXEC);
	CHECK(ours >= 0 && ns >= 0);
	EQ(sh("ethtool -K smn0 sg off >/dev/null"), 0);
	trace_on();
	sm_new_small(&sm, 64);
	l = try_listen(place_veth.guest4, 0);
	CHECK(l >= 0);
	sign(l, place_veth.peer4);
	CHECK(!setns(ns, CLONE_NEWNET));
	fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!setns(ours, CLONE_NEWNET));
	sign(fd[1], place_veth.guest4);
	len = addr_of(&ss, place_veth.guest4, port_of(l));
	CHECKF(!connect(fd[1], (void *)&ss, len), "%s", strerror(errno));
	fd[0] = accept(l, NULL, NULL);
	CHECK(fd[0] >= 0);
	sm_attach(&sm, fd[0], 1);
	memset(b, 1, sizeof(b));
	sm_send(&sm, fd[0], b, sizeof(b));
	EQ(sm_detail(&sm).tx_copied[STACKMAP_COPY_NO_SG], 100);
	TRACED(1, "copy", "fd=%d tx why=no_sg len=100", fd[0]);
	/* So it is with memory of the application */
	m.addr = (uintptr_t)b;
	m.len = sizeof(b);
	CHECK(!ioctl(sm.fd, STACKMAP_IOC_MEMORY, &m));
	s = sm_put(&sm, fd[0], "", 0);
	own = s->buf;
	s->buf = m.id;
	s->data = 0;
	s->len = 70;
	s->flags = STACKMAP_TX_MEMORY;
	sm_sync(&sm, 0);
	EQ(s->flags & STACKMAP_TX_REFUSED, 0);
	s->buf = own;
	EQ(sm_detail(&sm).tx_copied[STACKMAP_COPY_NO_SG], 170);
	m = (struct stackmap_memory){ .id = m.id, .flags = STACKMAP_MEMORY_FORGET };
	CHECK(!ioctl(sm.fd, STACKMAP_IOC_MEMORY, &m));
	adds_up(&sm);
	trace_off();
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
	close(l);
}

/* The payload of @fd that is in slots, into @to; what else is there is dropped */
static int take(struct sm *sm, int fd, char *to)
{
	struct stackmap_slot *s;
	int n = 0;

	for (; (s = sm_peek(sm)); sm_next(sm)) {
		if (s->fd != fd || !(s->flags & STACKMAP_RX_DATA))
			continue;
		memcpy(to + n, sm_buf(sm, s->buf) + s->off, s->len);
		n += s->len;
	}
	return n;
}

/* The peer's 1400 bytes, of which @n were taken, go back to it */
static void give_back(struct sm *sm, struct ask *a, int fd, char *b, int n)
{
	EQ(sm_try_detach(sm->fd, fd), 0);
	CHECK(recv_all(fd, b + n, 1400 - n));
	CHECK(send_all(fd, b, 1400));
	EQ(recv(fd, b, 1, 0), 0);
	close(fd);
	ask_wait(a, 20);
}

/* A port on the module's own driver, whose receive ring has the port's buffers */
static int own_driver(struct sm *sm)
{
	struct stackmap_register reg = sm_reg(here->ifname, 16);
	static char b[20000];
	int listener, fd;
	struct ask a;
	ssize_t n;

	reg.pool_bufs = 4096;
	sm_new(sm, &reg);
	if (sm->reg.nic != STACKMAP_NIC_VIRTIO)
		tap_skip("for the module's own driver");
	trace_on();
	listener = try_listen(here->guest4, 0);
	CHECK(listener >= 0);
	/* Each packet that a plain socket gets makes way for one of them */
	ask(&a, "pieces %s %d 5 20000 %d 0", here->guest4, port_of(listener), 60 * sh_ring_turns(here->ifname));
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	while ((n = recv(fd, b, sizeof(b), 0)) > 0)
		CHECK(send_all(fd, b, n));
	close(fd);
	ask_wait(&a, 20);
	return listener;
}

/* What credit holds back lies in the same buffer */
TEST_NIC(trace_copied_for_credit, 60)
{
	int listener, fd, n;
	char b[1400];
	struct sm sm;
	struct ask a;

	listener = own_driver(&sm);
	ask(&a, "pieces %s %d 5 1400 1 1", here->guest4, port_of(listener));
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	sm_attach(&sm, fd, 1);
	sm_credit(&sm, fd, 0);
	/* 1 byte in a segment of its own, and the rest is there */
	usleep(500000);
	sm_sync(&sm, 0);
	sm_request(&sm, fd, STACKMAP_TX_CREDIT, 700);
	sm_wait(&sm, 5000);
	n = take(&sm, fd, b);
	EQ(n, 700);
	copied(&sm, STACKMAP_COPY_CREDIT, "rx why=credit");
	adds_up(&sm);
	give_back(&sm, &a, fd, b, n);
	trace_off();
	close(listener);
	sm_close(&sm);
}

/* TCP joins two packets in a socket's queue: the head of the second is a fragment of the first then */
TEST_NIC(trace_copied_from_joined, 60)
{
	struct stackmap_detail d;
	int listener, fd, n;
	char b[1400];
	struct sm sm;
	struct ask a;

	listener = own_driver(&sm);
	ask(&a, "pieces %s %d 5 1400 1 1300", here->guest4, port_of(listener));
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	usleep(500000);
	sm_attach(&sm, fd, 1);
	EQ(sm_sync(&sm, 0), 2);
	n = take(&sm, fd, b);
	EQ(n, 1400);
	copied(&sm, STACKMAP_COPY_HEAD, "rx why=head");
	d = sm_detail(&sm);
	EQ(d.rx_copied[STACKMAP_COPY_HEAD], 100);
	EQ(d.rx_copied[STACKMAP_COPY_FOREIGN], 0);
	adds_up(&sm);
	give_back(&sm, &a, fd, b, n);
	trace_off();
	close(listener);
	sm_close(&sm);
}

/* The ring is full, and the last slot has room left */
TEST_NIC(trace_copied_for_lack_of_slots, 60)
{
	int listener, fd, other[14][2], i, n;
	char b[1400];
	struct sm sm;
	struct ask a;

	listener = own_driver(&sm);
	for (i = 0; i < 14; i++) {
		pair_tcp(other[i], AF_INET);
		sm_attach(&sm, other[i][0], 2);
		CHECK(send_all(other[i][1], "1", 1));
	}
	ask(&a, "pieces %s %d 5 1400 1 64", here->guest4, port_of(listener));
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0);
	usleep(500000);
	sm_attach(&sm, fd, 1);
	/* 14 slots for the others, one for 64 bytes that are copied, and there is room for 1336 more */
	EQ(sm_sync(&sm, 0), 15);
	copied(&sm, STACKMAP_COPY_FULL, "rx why=full");
	n = take(&sm, fd, b);
	EQ(n, 1400);
	adds_up(&sm);
	give_back(&sm, &a, fd, b, n);
	trace_off();
	for (i = 0; i < 14; i++) {
		close(other[i][0]);
		close(other[i][1]);
	}
	close(listener);
	sm_close(&sm);
}

/* ------------------------------------------------------------- what is dropped */

/* In what the NIC receives into, the device's header says nonsense: more buffers than there are, an unknown GSO */
static void scribble(struct sm *sm)
{
	uint32_t i;

	for (i = 0; i < sm->reg.frames; i++) {
		uint8_t *hdr = sm_buf(sm, i);

		hdr[1] = 0x7f;
		hdr[10] = hdr[11] = 0xff;
	}
}

static long rx_dropped(void)
{
	char out[32];

	EQ(sh_read(out, sizeof(out), "cat /sys/class/net/%s/statistics/rx_dropped", here->ifname), 0);
	return atol(out);
}

/* An owner that writes where it should not has its packets dropped, each with an event */
TEST_NIC(trace_dropped, 60)
{
	struct stackmap_register reg = sm_reg(here->ifname, 16);
	double end = mono() + 30 * slow();
	struct ask a;
	struct sm sm;
	long before;
	int n;

	/* It has the NIC, and does not look at what the device has written for so long */
	reg.stall_us = STACKMAP_STALL_MAX_US;
	sm_new(&sm, &reg);
	if (sm.reg.nic != STACKMAP_NIC_VIRTIO)
		tap_skip("for the module's own driver");
	trace_on();
	write_to(TRACING "events/stackmap/stackmap_sync/enable", "0");
	write_to(TRACING "events/stackmap/stackmap_claim/enable", "0");
	before = rx_dropped();
	do {
		double busy_until;

		owned(&sm);
		ask(&a, "datagrams %s 9 200", here->guest4);
		for (busy_until = mono() + 0.5; mono() < busy_until;)
			scribble(&sm);
		while (sm_sync(&sm, 1000) > 0)
			while (sm_peek(&sm))
				sm_next(&sm);
		ask_wait(&a, 10);
		n = traced("drop", "why=length") + traced("drop", "why=header");
	} while (!n && mono() < end);
	n = traced("drop", "");
	tap_note("%d dropped", n);
	CHECK(n > 0);
	EQ(rx_dropped() - before, n);
	trace_off();
	sm_close(&sm);
}

/* ----------------------------------------------------------- the other places */

TEST(detail_wrong, 10)
{
	struct stackmap_detail d = { 0 };
	struct sm sm;

	sm_new_small(&sm, 16);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETAIL, &d), EPROTONOSUPPORT);
	d.info.version = STACKMAP_ABI_VERSION;
	d.reserved[31] = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETAIL, &d), EINVAL);
	d.reserved[31] = 0;
	d.info.reserved[0] = 1;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETAIL, &d), EINVAL);
	d.info.reserved[0] = 0;
	d.info.index = 1000;
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETAIL, &d), ENOENT);
	FAILS(ioctl(sm.fd, STACKMAP_IOC_DETAIL, NULL), EFAULT);
	/* Nothing of the question is left in the answer */
	memset(&d.refused, 0xff, sizeof(d.refused));
	d.info.index = 0;
	EQ(ioctl(sm.fd, STACKMAP_IOC_DETAIL, &d), 0);
	EQ(sum(d.refused, 16), 0);
	sm_close(&sm);
}

/* Times and batches are where they belong */
TEST(detail_times, 30)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct stackmap_detail before, d;
	struct sm sm;
	int fd[2], i;
	char b[64];

	/* What it commits is not to be sent without it */
	reg.stall_us = STACKMAP_STALL_MAX_US;
	sm_new(&sm, &reg);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 1);
	sm_sync(&sm, 0);
	before = adds_up(&sm);
	/* 100 ms waiting in vain, and as long elsewhere */
	sm_sync(&sm, 100000);
	usleep(100000);
	sm_sync(&sm, 0);
	d = adds_up(&sm);
	CHECKF(d.sync_ns - before.sync_ns >= 100000000, "%llu", (unsigned long long)d.sync_ns);
	CHECKF(d.wait_ns - before.wait_ns >= 99000000, "%llu", (unsigned long long)d.wait_ns);
	CHECKF(d.away_ns - before.away_ns >= 100000000, "%llu", (unsigned long long)d.away_ns);
	/* 2^26 ns are 67 ms */
	CHECK(sum(d.sync_times + 17, STACKMAP_TIMES - 17) > sum(before.sync_times + 17, STACKMAP_TIMES - 17));
	CHECK(sum(d.away_times + 17, STACKMAP_TIMES - 17) > sum(before.away_times + 17, STACKMAP_TIMES - 17));
	/* A batch of one */
	CHECK(send_all(fd[1], b, 1));
	sm_read(&sm, fd[0], b, 1, 1000);
	EQ(sm_detail(&sm).batches[0], before.batches[0] + 1);

	/* What waits, each way */
	sm_sync(&sm, 0);
	for (i = 0; i < 3; i++)
		sm_put(&sm, fd[0], b, 1);
	__atomic_store_n(&sm.tx->head, sm.tx_head, __ATOMIC_RELEASE);
	EQ(sm_detail(&sm).tx_waiting, 3);
	CHECK(send_all(fd[1], b, 1));
	EQ(sm_detail(&sm).ready, 1);
	sm_sync(&sm, 0);
	EQ(sm_detail(&sm).tx_waiting, 0);
	EQ(sm_detail(&sm).rx_waiting, 1);
	EQ(sm_detail(&sm).ready, 0);
	EQ(sm_detail(&sm).tx_segments, 1);
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
}

/* /proc/PID/fdinfo */
TEST(told_in_fdinfo, 10)
{
	char out[1024], want[64];
	struct sm sm;
	int fd[2];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 1);
	sm_sync(&sm, 0);
	EQ(sh_read(out, sizeof(out), "cat /proc/%d/fdinfo/%d", getpid(), sm.fd), 0);
	snprintf(want, sizeof(want), "stackmap-ifindex:\t%u\n", if_nametoindex(IFNAME));
	CHECKF(strstr(out, want), "%s", out);
	CHECKF(strstr(out, "stackmap-queue:\t0\n") && strstr(out, "stackmap-sockets:\t1\n") &&
	       strstr(out, "stackmap-syncs:\t1\n") && strstr(out, "stackmap-stalls:\t"), "%s", out);
	snprintf(want, sizeof(want), "stackmap-memory:\t%llu kB\n", (unsigned long long)sm.reg.map_size / 1024);
	CHECKF(strstr(out, want), "%s", out);
	snprintf(want, sizeof(want), "stackmap-buffers:\t%u user ", sm.reg.frames);
	CHECKF(strstr(out, want), "%s", out);
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
}

/* The attribute @type in @len bytes of them, or NULL */
static struct rtattr *attribute(void *first, int len, int type)
{
	struct rtattr *a;

	for (a = first; RTA_OK(a, len); a = RTA_NEXT(a, len))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

/* What sock_diag tells of the socket with these ports. False: nothing of ours */
static bool ask_diag(int sport, int dport, struct stackmap_sock_info *info)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} ask = {
		.h = { sizeof(ask), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 },
		.r = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u,
		       .idiag_ext = 1 << (INET_DIAG_INFO - 1) },
	};
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	static char buf[65536];
	bool found = false;
	int n;

	CHECK(nl >= 0 && send(nl, &ask, sizeof(ask), 0) == sizeof(ask));
	set_timeout(nl, 5000);
	for (;;) {
		struct nlmsghdr *h = (struct nlmsghdr *)buf;

		n = recv(nl, buf, sizeof(buf), 0);
		CHECK(n > 0);
		for (; NLMSG_OK(h, (unsigned int)n); h = NLMSG_NEXT(h, n)) {
			struct inet_diag_msg *m = NLMSG_DATA(h);
			struct rtattr *ulp;

			if (h->nlmsg_type == NLMSG_DONE) {
				close(nl);
				return found;
			}
			if (ntohs(m->id.idiag_sport) != sport || ntohs(m->id.idiag_dport) != dport)
				continue;
			ulp = attribute(m + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)), INET_DIAG_ULP_INFO);
			if (!ulp)
				continue;
			ulp = attribute(RTA_DATA(ulp), RTA_PAYLOAD(ulp), STACKMAP_ULP_INFO);
			if (!ulp)
				continue;
			EQ(RTA_PAYLOAD(ulp), sizeof(*info));
			memcpy(info, RTA_DATA(ulp), sizeof(*info));
			found = true;
		}
	}
}

/* By sock_diag, as ss asks it */
TEST(told_by_sock_diag, 20)
{
	struct stackmap_sock_info info;
	struct sm sm;
	uint32_t gen;
	int fd[2];
	char b[3];

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	gen = sm_attach(&sm, fd[0], 1);
	CHECK(!ask_diag(port_of(fd[1]), port_of(fd[0]), &info));
	CHECK(ask_diag(port_of(fd[0]), port_of(fd[1]), &info));
	EQ(info.ifindex, if_nametoindex(IFNAME));
	EQ(info.queue, 0);
	EQ(info.fd, fd[0]);
	EQ(info.gen, gen);
	EQ(info.rx_slots + info.tx_slots, 0);
	CHECK(send_all(fd[1], "123", 3));
	sm_put(&sm, fd[0], "12345", 5);
	sm_read(&sm, fd[0], b, 3, 1000);
	CHECK(ask_diag(port_of(fd[0]), port_of(fd[1]), &info));
	EQ(info.rx_slots, 1);
	EQ(info.rx_copied_bytes + info.rx_handed_bytes, 3);
	EQ(info.tx_slots, 1);
	EQ(info.tx_handed_bytes, 5);
	EQ(info.tx_copied_bytes, 0);
	/* A plain one again */
	EQ(sm_try_detach(sm.fd, fd[0]), 0);
	CHECK(!ask_diag(port_of(fd[0]), port_of(fd[1]), &info));
	sm_close(&sm);
	close(fd[0]);
	close(fd[1]);
}
