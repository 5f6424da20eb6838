// SPDX-License-Identifier: GPL-2.0
/*
 * t_limits.c - the memory that a user may take, and what stands between a user and a NIC
 *
 * What a port makes the kernel allocate is charged to who asked for it, and where
 * he may not have it he gets an errno: nobody else pays.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cg.h"
#include "life.h"
#include "mem.h"
#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#define NOBODY 65534
#define MB 1048576ll

/* memory.max is kept, but for what is in flight between a look and a charge */
#define SLACK MB

/* ------------------------------------------------------- what sync sends */

static void write_file(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY);

	CHECKF(fd >= 0 && write(fd, what, strlen(what)) == (ssize_t)strlen(what), "%s: %s", path,
	       strerror(errno));
	close(fd);
}

/*
 * All memory that this process will want, before the cgroup is full of what it
 * sends: a page fault wakes the OOM killer then, whoever has filled it.
 */
static void want_no_more_memory(void)
{
	volatile char stack[65536];
	unsigned int i;

	CHECK(!mlockall(MCL_CURRENT));
	for (i = 0; i < sizeof(stack); i += 4096)
		stack[i] = 1;
	cg_read("memory.peak", NULL);
}

/* Both ends of a connection whose reader takes next to nothing; fd[1] may send much */
static void pair_of_slow_reader(int fd[2])
{
	int small = 4096, l = try_listen("127.0.0.1", 0);

	CHECK(l >= 0);
	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	pair_from(l, fd);
	close(l);
}

/*
 * Send until @want bytes were taken, or none are any more. Buffers are as they are:
 * what they hold does not matter. Returns how many TCP took.
 */
static long send_much(struct sm *sm, int fd, long want)
{
	uint32_t mask = sm->tx->nslots - 1, i;
	double idle = mono();
	long sent = 0;

	while (sent < want && mono() < idle + 0.5 * slow()) {
		uint32_t first = sm->tx_head;
		long before = sent;

		while (sm->tx_head != sm->tx->tail) {
			struct stackmap_slot *s = &sm->tx->slots[sm->tx_head];

			s->fd = fd;
			s->gen = 0;
			s->off = 0;
			s->len = 4096;
			s->flags = 0;
			sm->tx_head = (sm->tx_head + 1) & mask;
		}
		sm_sync(sm, 0);
		while (sm_peek(sm))
			sm_next(sm);
		for (i = first; i != sm->tx_head; i = (i + 1) & mask) {
			struct stackmap_slot *s = &sm->tx->slots[i];

			if (!(s->flags & STACKMAP_TX_REFUSED)) {
				sent += 4096;
				continue;
			}
			EQ(s->err, EAGAIN);
			sent += s->taken;
		}
		if (sent > before)
			idle = mono();
		else
			usleep(1000);
	}
	return sent;
}

static struct stackmap_register many_slots(const char *ifname)
{
	struct stackmap_register reg = sm_reg(ifname, 16);

	reg.tx_slots = 1024;
	reg.pool_bufs = 1;
	return reg;
}

/* Anybody at all, with namespaces of his own, as far as the device is opened to him */
static void become_nobody_with_a_nic(void)
{
	CHECK(!setresgid(NOBODY, NOBODY, NOBODY) && !setresuid(NOBODY, NOBODY, NOBODY));
	/* /proc/self is root's otherwise, after setresuid() */
	CHECK(!prctl(PR_SET_DUMPABLE, 1));
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		tap_skip("no user namespaces");
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", "0 65534 1");
	write_file("/proc/self/gid_map", "0 65534 1");
	EQ(sh("set -e; ip link set lo up; ip link add eth0 type veth peer name p0"
	      "; ethtool -K eth0 gro on; ip link set eth0 up; ip link set p0 up"), 0);
	write_file("/proc/sys/net/ipv4/tcp_wmem", "4096 800000000 800000000");
}

static void send_beyond_limit(void *arg)
{
	struct stackmap_register reg;
	static char sink[1 << 20];
	int fd[2], *mb = arg;
	struct sm sm;
	double end;
	long sent;

	want_no_more_memory();
	become_nobody_with_a_nic();
	reg = many_slots("eth0");
	sm_new(&sm, &reg);
	pair_of_slow_reader(fd);
	sm_attach(&sm, fd[1], 0);
	sent = send_much(&sm, fd[1], 10 * *mb * MB);
	tap_note("%ld MB queued; memory.peak %lld MB of %d", sent >> 20,
		 cg_read("memory.peak", NULL) >> 20, *mb);
	CHECKF(sent > *mb / 4 * MB, "only %ld", sent);
	CHECKF(sent < *mb * MB, "%ld", sent);
	/* It goes on once some of it is read */
	nonblock(fd[0]);
	sent = 0;
	end = mono() + 30 * slow();
	while (sent < MB) {
		CHECKF(mono() < end, "only %ld more bytes", sent);
		while (recv(fd[0], sink, sizeof(sink), 0) > 0)
			;
		sent += send_much(&sm, fd[1], 1);
	}
	sm_close(&sm);
}

/* A user without any rights, where the device was opened to him */
TEST(limit_cgroup_unprivileged_send, 120)
{
	int mb = 30;

	sh("modprobe -q veth");
	CHECK(!chmod(STACKMAP_DEVICE, 0666));
	cg_new(mb);
	cg_wait(cg_fork(send_beyond_limit, &mb));
	CHECK(!chmod(STACKMAP_DEVICE, 0600));
	CHECKF(cg_read("memory.peak", NULL) <= mb * MB + SLACK, "%lld", cg_read("memory.peak", NULL));
	EQ(cg_read("memory.events", "oom_kill"), 0);
	cg_end();
}

/* So much that the kernel may have back when it wants it, as page cache of a file is */
static void take_reclaimable(int mb)
{
	char *p = mmap(NULL, mb * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 1, mb * MB);
	CHECK(!madvise(p, mb * MB, MADV_FREE));
}

static void send_and_reclaim(void *arg)
{
	struct stackmap_register reg = many_slots(IFNAME);
	int fd[2], size = 64 * MB;
	struct sm sm;
	long sent;

	(void)arg;
	want_no_more_memory();
	sm_new(&sm, &reg);
	pair_of_slow_reader(fd);
	CHECK(!setsockopt(fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)));
	sm_attach(&sm, fd[1], 0);
	take_reclaimable(24);
	sent = send_much(&sm, fd[1], 12 * MB);
	CHECKF(sent >= 12 * MB, "only %ld KB", sent >> 10);
	sm_close(&sm);
}

/* A cgroup is full as a rule, of what can be reclaimed: sending must do that */
TEST(limit_cgroup_send_reclaims, 60)
{
	cg_new(36);
	cg_wait(cg_fork(send_and_reclaim, NULL));
	CHECKF(cg_read("memory.peak", NULL) <= 36 * MB + SLACK, "%lld", cg_read("memory.peak", NULL));
	EQ(cg_read("memory.events", "oom_kill"), 0);
	cg_end();
}

#define STREAMS 8
#define STREAM_BYTES (4 * MB)

struct stream {
	int fd[2];
	uint64_t sent, got;
	bool blocked;	/* refused: wait for ROOM */
};

/* Fill the transmit ring with what the streams have to send, in turn */
static void streams_put(struct sm *sm, struct stream *st)
{
	uint32_t mask = sm->tx->nslots - 1;
	bool any = true;
	int i;

	while (any) {
		any = false;
		for (i = 0; i < STREAMS; i++) {
			struct stackmap_slot *s = &sm->tx->slots[sm->tx_head];
			uint32_t n = STREAM_BYTES - st[i].sent < 4096 ? STREAM_BYTES - st[i].sent : 4096;

			if (st[i].blocked || !n)
				continue;
			if (sm->tx_head == sm->tx->tail)
				return;
			s->fd = st[i].fd[1];
			s->gen = 0;
			s->off = 0;
			s->len = n;
			s->flags = 0;
			s->data = i;
			pat_fill(sm_buf(sm, s->buf), i, st[i].sent, n);
			st[i].sent += n;
			sm->tx_head = (sm->tx_head + 1) & mask;
			any = true;
		}
	}
}

/* What was not taken is sent again, from there on. Returns how many were refused */
static int streams_sync(struct sm *sm, struct stream *st)
{
	uint32_t mask = sm->tx->nslots - 1, i, first = (sm->tx->tail + 1) & mask;
	struct stackmap_slot *s;
	int refused = 0;

	sm_sync(sm, 0);
	for (i = first; i != sm->tx_head; i = (i + 1) & mask) {
		s = &sm->tx->slots[i];
		if (!(s->flags & STACKMAP_TX_REFUSED))
			continue;
		EQ(s->err, EAGAIN);
		st[s->data].sent -= s->len;
		st[s->data].blocked = true;
		s->flags = 0;
		refused++;
	}
	for (; (s = sm_peek(sm)); sm_next(sm)) {
		EQ(s->flags, STACKMAP_RX_ROOM);
		st[s->data].blocked = false;
	}
	return refused;
}

static void streams_read(struct stream *st)
{
	static uint8_t in[65536];
	ssize_t n;
	int i;

	for (i = 0; i < STREAMS; i++) {
		while ((n = recv(st[i].fd[0], in, sizeof(in), 0)) > 0) {
			CHECK(pat_is(in, i, st[i].got, n));
			st[i].got += n;
		}
		CHECKF(n < 0 && errno == EAGAIN, "%zd", n);
	}
}

static void send_streams(void *arg)
{
	int size = 64 * MB, window = 65536, i, l, refused = 0;
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	static struct stream st[STREAMS];
	double end = mono() + 60 * slow();
	uint64_t got = 0, sent = 0;
	struct sm sm;

	(void)arg;
	want_no_more_memory();
	reg.pool_bufs = 1024;
	sm_new(&sm, &reg);
	l = try_listen("127.0.0.1", 0);
	CHECK(l >= 0 && !setsockopt(l, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)));
	for (i = 0; i < STREAMS; i++) {
		pair_from(l, st[i].fd);
		nonblock(st[i].fd[0]);
		CHECK(!setsockopt(st[i].fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)));
		sm_attach(&sm, st[i].fd[1], i);
	}
	/* Nobody reads until memory is short */
	while (!refused && mono() < end) {
		streams_put(&sm, st);
		refused = streams_sync(&sm, st);
	}
	for (i = 0; i < STREAMS; i++)
		sent += st[i].sent;
	tap_note("%d slots refused with %lld MB sent", refused, (long long)sent >> 20);
	CHECK(sent < STREAMS * STREAM_BYTES);
	CHECK(sm_detail(&sm).refused[STACKMAP_REFUSED_MEMORY] > 0);
	while (got < STREAMS * STREAM_BYTES) {
		CHECKF(mono() < end, "only %lld KB arrived", (long long)got >> 10);
		streams_put(&sm, st);
		streams_sync(&sm, st);
		streams_read(st);
		for (got = 0, i = 0; i < STREAMS; i++)
			got += st[i].got;
	}
	sm_settle(&sm);
	sm_close(&sm);
}

/* Where memory is short all the while, every byte arrives, once and in order */
TEST(limit_cgroup_streams, 120)
{
	cg_new(24);
	cg_wait(cg_fork(send_streams, NULL));
	CHECK(cg_read("memory.events", "max") > 0);
	EQ(cg_read("memory.events", "oom_kill"), 0);
	cg_end();
}

/* ------------------------------------------------------------- registering */

static void register_fails(const struct stackmap_register *with, int err)
{
	struct stackmap_register reg = *with;
	int fd = sm_open();

	FAILS(ioctl(fd, STACKMAP_IOC_REGISTER, &reg), err);
	close(fd);
}

static void register_too_large(void *arg)
{
	register_fails(arg, ENOMEM);
}

/* In a cgroup with a neighbour: it fails, and the neighbour lives */
static void no_room_for(const struct stackmap_register *reg, int mb, int neighbours)
{
	pid_t neighbour;

	cg_new(mb);
	neighbour = cg_neighbour(neighbours);
	cg_wait(cg_fork(register_too_large, (void *)reg));
	EQ(cg_read("memory.events", "oom_kill"), 0);
	cg_neighbour_end(neighbour);
	cg_end();
}

TEST(limit_cgroup_register, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 1024);

	/* More than there may ever be ... */
	reg.pool_bufs = 20000;
	no_room_for(&reg, 30, 20);
	/* ... and more than there is */
	reg.pool_bufs = 4096;
	no_room_for(&reg, 30, 20);
}

TEST(limit_cgroup_default_port, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 0);

	no_room_for(&reg, 12, 5);
	no_room_for(&reg, 20, 10);
}

static long long own_status(const char *key)
{
	char line[128];
	long long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kb = atoll(line + strlen(key));
	fclose(f);
	return kb * 1024;
}

static void register_among_reclaimable(void *arg)
{
	struct stackmap_register reg = sm_reg(IFNAME, 0);
	struct sm sm;

	(void)arg;
	EQ(own_status("VmPin:"), 0);
	take_reclaimable(30);
	sm_new(&sm, &reg);
	/* Where people look for memory */
	EQ(own_status("VmPin:"), sm.reg.map_size);
	CHECKF(cg_read("memory.stat", "kernel") >= (long long)sm.reg.map_size, "%lld",
	       cg_read("memory.stat", "kernel"));
	sm_close(&sm);
	EQ(own_status("VmPin:"), 0);
}

TEST(limit_cgroup_register_reclaims, 60)
{
	cg_new(40);
	cg_wait(cg_fork(register_among_reclaimable, NULL));
	EQ(cg_read("memory.events", "oom_kill"), 0);
	cg_end();
}

static long long number_in(const char *path, const char *key)
{
	char out[64];

	sh_read(out, sizeof(out), "grep -w '^%s' %s | tr -dc 0-9", key, path);
	return atoll(out);
}

TEST(limit_machine, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 1024);
	long long frames = mem_info("MemAvailable") / 4;
	long long killed = number_in("/proc/vmstat", "oom_kill");

	if (frames + 16384 > STACKMAP_FRAMES_MAX)
		tap_skip("the machine has memory for the largest port");
	reg.pool_bufs = frames + 8192;
	register_fails(&reg, ENOMEM);
	EQ(number_in("/proc/vmstat", "oom_kill"), killed);
	EQ(sm_ports(), 0);
}

/* Runs @f in a child; its checks count */
static void in_child(void (*f)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		f(arg);
		fflush(stdout);
		_exit(0);
	}
	cg_wait(pid);
}

static void drop_cap(int cap)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	CHECK(!syscall(SYS_capget, &h, d));
	d[cap / 32].effective &= ~(1u << cap % 32);
	CHECK(!syscall(SYS_capset, &h, d));
}

static void lock_little(void *arg)
{
	struct rlimit rl = { .rlim_cur = 4 * MB, .rlim_max = 4 * MB };
	struct stackmap_register large = sm_reg(IFNAME, 0), small = sm_reg(IFNAME, 64);
	struct stackmap_register two;
	struct sm sm;

	(void)arg;
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &rl));
	drop_cap(CAP_IPC_LOCK);
	register_fails(&large, ENOBUFS);
	small.pool_bufs = 300;
	sm_new(&sm, &small);
	/* All of a user's count together; it is asked before the queue is */
	two = small;
	register_fails(&two, EBUSY);
	two.pool_bufs = 800;
	register_fails(&two, ENOBUFS);
	sm_close(&sm);
	/* And all of it is given back */
	sm_new(&sm, &two);
	sm_close(&sm);
	/* Large buffers count with all of their pages */
	two.pool_bufs = 16;
	two.large_size = 65536;
	two.large_bufs = 64;
	register_fails(&two, ENOBUFS);
	two.large_bufs = 32;
	sm_new(&sm, &two);
	CHECK(sm_detail(&sm).memory >= 32 * 65536 + 2 * 64 * 4096);
	sm_close(&sm);
}

TEST(limit_memlock, 20)
{
	struct rlimit rl = { .rlim_cur = 4 * MB, .rlim_max = 4 * MB };
	struct stackmap_register large = sm_reg(IFNAME, 0);
	struct sm sm;

	in_child(lock_little, NULL);
	/* CAP_IPC_LOCK exempts */
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &rl));
	sm_new(&sm, &large);
	sm_close(&sm);
}

/* ------------------------------------------------------------ who may at all */

static void open_as_nobody(void *arg)
{
	(void)arg;
	CHECK(!setresgid(NOBODY, NOBODY, NOBODY) && !setresuid(NOBODY, NOBODY, NOBODY));
	FAILS(open(STACKMAP_DEVICE, O_RDWR), EACCES);
	FAILS(open(STACKMAP_DEVICE, O_RDONLY), EACCES);
	/* Not by being root of a namespace of one's own either */
	if (!unshare(CLONE_NEWUSER | CLONE_NEWNET))
		FAILS(open(STACKMAP_DEVICE, O_RDWR), EACCES);
}

TEST(device_is_for_root, 20)
{
	struct stat st;

	CHECK(!stat(STACKMAP_DEVICE, &st));
	EQ(st.st_mode & 07777, 0600);
	EQ(st.st_uid, 0);
	in_child(open_as_nobody, NULL);
}

static void without(void *arg)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	int *cap = arg;

	drop_cap(*cap);
	register_fails(&reg, EPERM);
	/* More than there is: refused before it is allocated */
	reg.pool_bufs = 250000;
	register_fails(&reg, EPERM);
}

TEST(register_without_net_raw, 20)
{
	int caps[] = { CAP_NET_RAW, CAP_NET_ADMIN }, i;

	for (i = 0; i < 2; i++)
		in_child(without, &caps[i]);
}

/* ------------------------------------------------------ an owner that is gone */

static void own_until_killed(void *arg)
{
	struct stackmap_register reg = sm_reg(IFNAME, 256);
	int *told = arg, ring = 0;
	struct sm sm;

	reg.pool_bufs = 1024;
	sm_new(&sm, &reg);
	CHECK(write(told[1], "x", 1) == 1);
	/* Until its buffers have taken the places of the driver's in the ring */
	while (ring < 200) {
		sm_sync(&sm, 1000);
		ring = sm_info(&sm).stats.frames_nic;
	}
	CHECK(write(told[1], "x", 1) == 1);
	pause();
}

/*
 * The NIC's ring holds buffers of an owner that was killed, charged to what was its
 * cgroup. Packets that need no buffer, as ACKs, make them leave.
 */
TEST_NIC(owner_dies_ring_forgets, 60)
{
	char driver[128] = "";
	int told[2], pings;
	long long with;
	struct ask a;
	pid_t pid;
	char c;

	sh_read(driver, sizeof(driver), "readlink /sys/class/net/" IFNAME "/device/driver");
	if (!strstr(driver, "stackmap_virtio"))
		tap_skip("no buffer of a port is in the ring of a stock driver");
	cg_new(64);
	CHECK(!pipe(told));
	pid = cg_fork(own_until_killed, told);
	/* It is there: on a slow machine that takes longer than all of the packets */
	CHECK(read(told[0], &c, 1) == 1);
	pings = 600 * sh_ring_turns(here->ifname);
	ask(&a, "ping %s %d 2", here->guest4, pings);
	CHECK(read(told[0], &c, 1) == 1);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	ask_wait(&a, 30);
	with = cg_read("memory.current", NULL);
	ask(&a, "ping %s %d 2", here->guest4, pings);
	ask_wait(&a, 30);
	tap_note("charged to the owner that is gone: %lld KB, after %d more packets %lld KB", with >> 10,
		 pings, cg_read("memory.current", NULL) >> 10);
	/* memcg charges up to 256 KB in advance on each CPU */
	CHECK(cg_read("memory.current", NULL) <= 300 * 1024 * sysconf(_SC_NPROCESSORS_ONLN));
	cg_end();
	nic_is_ordinary();
}
