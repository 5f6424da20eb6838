// SPDX-License-Identifier: GPL-2.0
/*
 * t_pass.c - STACKMAP_IOC_PORT: a port that one process has opened, and another one uses
 *
 * Whoever opens it needs capabilities, whoever uses it none: it may be anybody who has got its file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cg.h"
#include "life.h"
#include "net.h"
#include "pair.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#define NOBODY 65534
#define PIECE 700
#define SEED 9

/* Without any right, and without the device */
static void become_nobody(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	CHECK(!setresgid(NOBODY, NOBODY, NOBODY) && !setresuid(NOBODY, NOBODY, NOBODY));
	CHECK(!syscall(SYS_capget, &h, d));
	EQ(d[0].permitted | d[1].permitted, 0);
	FAILS(open(STACKMAP_DEVICE, O_RDWR), EACCES);
}

/* As who has rights does it for others: nothing is mapped here */
static int open_port(struct stackmap_register *reg, uint32_t slots)
{
	int fd = sm_open();

	*reg = sm_reg(here ? here->ifname : IFNAME, slots);
	reg->pool_bufs = 64;
	CHECKF(!ioctl(fd, STACKMAP_IOC_REGISTER, reg), "%s", strerror(errno));
	return fd;
}

/* From here on the port is this process's, with all that the one before has left in it */
static struct sm adopt(int fd, const struct stackmap_register *opened)
{
	struct sm sm = { .fd = fd };

	CHECKF(!ioctl(fd, STACKMAP_IOC_PORT, &sm.reg), "%s", strerror(errno));
	CHECK(!memcmp(&sm.reg, opened, sizeof(sm.reg)));
	sm.map = mmap(NULL, sm.reg.map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECKF(sm.map != MAP_FAILED, "%s", strerror(errno));
	sm.rx = (void *)(sm.map + sm.reg.rx_off);
	sm.tx = (void *)(sm.map + sm.reg.tx_off);
	sm.head = sm.rx->head;
	sm.tx_head = sm.tx->head;
	return sm;
}

/* Receive slots that are for nobody any more */
static void drop_old(struct sm *sm)
{
	while (sm_peek(sm))
		sm_next(sm);
}

/* Both ways, over a socket of one's own */
static void exchange(struct sm *sm)
{
	uint8_t b[3 * PIECE], back[3 * PIECE];
	int fd[2];

	pair_tcp(fd, AF_INET);
	sm_attach(sm, fd[0], 0);
	pat_fill(b, SEED, 0, sizeof(b));
	CHECK(send_all(fd[1], b, sizeof(b)));
	sm_read(sm, fd[0], back, sizeof(back), 2000);
	CHECK(pat_is(back, SEED, 0, sizeof(back)));
	sm_send(sm, fd[0], b, sizeof(b));
	set_timeout(fd[1], 2000);
	CHECK(recv_all(fd[1], back, sizeof(back)));
	CHECK(pat_is(back, SEED, 0, sizeof(back)));
	close(fd[0]);
	close(fd[1]);
	sm_quiet(sm, 5);
}

static void all_there(struct sm *sm)
{
	sm_settle(sm);
	sm_account(sm, sm->reg.rx_slots + sm->reg.tx_slots);
}

TEST(pass_inherited, 20)
{
	struct stackmap_register reg;
	int fd = open_port(&reg, 64);
	struct sm sm;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		become_nobody();
		sm = adopt(fd, &reg);
		EQ(sm_info(&sm).pid, getppid());
		exchange(&sm);
		EQ(sm_info(&sm).pid, getpid());
		all_there(&sm);
		_exit(0);
	}
	cg_wait(pid);
	/* And back again */
	sm = adopt(fd, &reg);
	exchange(&sm);
	all_there(&sm);
	sm_close(&sm);
	EQ(sm_ports(), 0);
}

/* To somebody who was there before the port, by one who has gone by then */
TEST(pass_by_message, 20)
{
	struct stackmap_register reg;
	pid_t user, opener;
	struct sm sm;
	int un[2], fd;
	char b;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, un));
	user = fork();
	if (user == 0) {
		become_nobody();
		fd = pair_recv_fd(un[1]);
		CHECK(recv(un[1], &reg, sizeof(reg), MSG_WAITALL) == sizeof(reg));
		CHECK(recv(un[1], &b, 1, 0) == 1);
		sm = adopt(fd, &reg);
		exchange(&sm);
		all_there(&sm);
		_exit(0);
	}
	opener = fork();
	if (opener == 0) {
		fd = open_port(&reg, 64);
		pair_send_fd(un[0], fd);
		CHECK(send(un[0], &reg, sizeof(reg), 0) == sizeof(reg));
		_exit(0);
	}
	cg_wait(opener);
	CHECK(send(un[0], "x", 1, 0) == 1);
	cg_wait(user);
	EQ(sm_ports(), 0);
}

/* Over the NIC, by which the new owner is found */
TEST_NIC(pass_over_nic, 30)
{
	struct stackmap_register reg;
	int l = try_listen(here->guest4, 0), port = open_port(&reg, 64);
	uint8_t b[2000];
	struct ask a;
	struct sm sm;
	int fd, i;
	pid_t pid;

	CHECK(l >= 0);
	ask(&a, "pieces %s %d %d %zu 50 0", here->guest4, port_of(l), SEED, sizeof(b));
	pid = fork();
	if (pid == 0) {
		become_nobody();
		sm = adopt(port, &reg);
		fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		sm_attach(&sm, fd, 0);
		for (i = 0; i < 50; i++) {
			sm_read(&sm, fd, b, sizeof(b), 5000);
			CHECK(pat_is(b, SEED, i * sizeof(b), sizeof(b)));
			sm_send(&sm, fd, b, sizeof(b));
		}
		sm_event(&sm, fd, STACKMAP_RX_FIN, 5000);
		CHECK(sm_info(&sm).stats.nic_packets > 0);
		close(fd);
		_exit(0);
	}
	cg_wait(pid);
	ask_wait(&a, 10);
	close(port);
	EQ(sm_ports(), 0);
	nic_is_ordinary();
}

static void put_piece(struct sm *sm, int fd, const void *b)
{
	sm_put(sm, fd, b, PIECE);
	__atomic_store_n(&sm->tx->head, sm->tx_head, __ATOMIC_RELEASE);
}

/* Has a port whose interface goes on @cue */
__attribute__((noreturn)) static void owner_of_gone(int port, const struct stackmap_register *reg, int fd,
						    int peer, int cue)
{
	uint8_t b[3 * PIECE], back[3 * PIECE], c = 0;
	struct stackmap_unread u = { .addr = (uintptr_t)back, .len = PIECE };
	struct stackmap_detach d = { .fd = fd, .flags = STACKMAP_DETACH_UNREAD, .unread = (uintptr_t)&u };
	struct sm sm;

	become_nobody();
	sm = adopt(port, reg);
	sm_attach(&sm, fd, 0);
	pat_fill(b, SEED, 0, sizeof(b));
	CHECK(send_all(peer, b, PIECE));
	sm_read(&sm, fd, back, PIECE, 2000);
	CHECK(send_all(peer, b + PIECE, 2 * PIECE));
	/* Committed before it goes and not sent; and after */
	put_piece(&sm, fd, b);
	CHECK(send(cue, &c, 1, 0) == 1 && recv(cue, &c, 1, 0) == 1);
	put_piece(&sm, fd, b + PIECE);
	port_is_gone(&sm);
	EQ(sm.tx->tail, (sm.tx_head - 1) & (sm.reg.tx_slots - 1));
	put_piece(&sm, fd, b + 2 * PIECE);
	FAILS(sm_try_sync(sm.fd, 0, 0), ENODEV);
	set_timeout(peer, 2000);
	CHECK(recv_all(peer, back + PIECE, 2 * PIECE));
	CHECK(pat_is(back + PIECE, SEED, 0, 2 * PIECE));
	CHECK(recv_all(peer, back + PIECE, PIECE));
	CHECK(pat_is(back + PIECE, SEED, 2 * PIECE, PIECE));
	/* What was delivered, and the rest of it */
	CHECK(!ioctl(sm.fd, STACKMAP_IOC_DETACH, &d));
	set_timeout(fd, 2000);
	CHECK(recv_all(fd, back, sizeof(back)));
	CHECK(pat_is(back, SEED, 0, sizeof(back)));
	_exit(0);
}

/* Its sockets go on, to the byte, for an owner without rights */
TEST_NIC(pass_interface_gone, 60)
{
	struct stackmap_register reg;
	int port = open_port(&reg, 64), fd[2], cue[2];
	char c;
	pid_t pid;

	pair_tcp(fd, AF_INET);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, cue));
	pid = fork();
	if (pid == 0)
		owner_of_gone(port, &reg, fd[0], fd[1], cue[1]);
	close(cue[1]);
	CHECK(recv(cue[0], &c, 1, 0) == 1);
	EQ(sh("ip netns add smns && ip link set " IFNAME " netns smns"), 0);
	CHECK(send(cue[0], &c, 1, 0) == 1);
	cg_wait(pid);
	close(port);
	EQ(sh("ip -n smns link set " IFNAME " netns 1"), 0);
	sh_restore_nic();
	EQ(sm_ports(), 0);
	nic_is_ordinary();
}

TEST(pass_errors, 20)
{
	int none = sm_open(), null = open("/dev/null", O_RDWR);
	struct stackmap_register reg, got;
	struct sm sm;
	int port, fd[2];

	FAILS(ioctl(none, STACKMAP_IOC_PORT, &got), ENXIO);
	FAILS(ioctl(null, STACKMAP_IOC_PORT, &got), ENOTTY);
	FAILS(ioctl(-1, STACKMAP_IOC_PORT, &got), EBADF);
	pair_tcp(fd, AF_INET);
	CHECK(ioctl(fd[0], STACKMAP_IOC_PORT, &got) == -1);
	/* Nor after a registration that has failed */
	reg = sm_reg(IFNAME, 17);
	FAILS(ioctl(none, STACKMAP_IOC_REGISTER, &reg), EINVAL);
	FAILS(ioctl(none, STACKMAP_IOC_PORT, &got), ENXIO);
	port = open_port(&reg, 16);
	FAILS(ioctl(port, STACKMAP_IOC_PORT, NULL), EFAULT);
	FAILS(ioctl(port, _IOR(0xB7, 7, struct stackmap_attach), &got), ENOTTY);
	FAILS(ioctl(none, STACKMAP_IOC_PORT, &got), ENXIO);
	/* It says what there is, as often as it is asked, whatever is in the memory that is shared */
	sm = adopt(port, &reg);
	memset(sm.map, 0xff, 4096);
	memset(&got, 0xff, sizeof(got));
	EQ(ioctl(port, STACKMAP_IOC_PORT, &got), 0);
	CHECK(!memcmp(&got, &reg, sizeof(reg)));
	sm_close(&sm);
	close(none);
	close(null);
	close(fd[0]);
	close(fd[1]);
}

/* ------------------------------------------------------------------ passed on */

/* Slots in the ring, and head moved on: a sync would send them */
static void commit(struct sm *sm, int fd, uint32_t pieces)
{
	uint8_t block[PIECE];
	uint32_t i;

	for (i = 0; i < pieces; i++) {
		pat_fill(block, SEED, i * PIECE, PIECE);
		sm_put(sm, fd, block, PIECE);
	}
	__atomic_store_n(&sm->tx->head, sm->tx_head, __ATOMIC_RELEASE);
}

/* One of several owners: until it is killed, with payload that it has not looked at, and committed slots */
__attribute__((noreturn)) static void use_until_killed(int port, const struct stackmap_register *reg,
						       int fd, uint32_t pieces, int told)
{
	struct sm sm;

	become_nobody();
	sm = adopt(port, reg);
	drop_old(&sm);
	exchange(&sm);
	all_there(&sm);
	sm_attach(&sm, fd, 0);
	do
		sm_sync(&sm, 1000);
	while (((sm.rx->tail - sm.head) & (sm.reg.rx_slots - 1)) < 3);
	commit(&sm, fd, pieces);
	CHECK(write(told, "x", 1) == 1);
	for (;;)
		pause();
}

/* What @pieces pieces there are room for comes, and nothing behind it */
static void pass_on(uint32_t pieces, int rounds)
{
	static uint8_t block[3 * 4096], in[65536];
	struct stackmap_register reg;
	int port = open_port(&reg, 64), fd[2], p[2], i, size = 4000;
	uint32_t seed = 3, n;
	struct sm sm;
	ssize_t k;
	pid_t pid;
	char b;

	for (i = 0; i < rounds; i++) {
		CHECK(!pipe(p));
		pair_tcp(fd, AF_INET);
		if (pieces > 20)
			CHECK(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
		CHECK(send_all(fd[1], block, sizeof(block)));
		pid = fork();
		if (pid == 0) {
			close(fd[1]);
			use_until_killed(port, &reg, fd[0], pieces, p[1]);
		}
		close(fd[0]);
		close(p[1]);
		CHECK(read(p[0], &b, 1) == 1);
		/* Before, while and after it is found to sleep */
		usleep(rnd(&seed) % 12000);
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, NULL, 0) == pid);
		set_timeout(fd[1], 2000);
		for (n = 0; (k = recv(fd[1], in, sizeof(in), 0)) > 0; n += k)
			CHECK(pat_is(in, SEED, n, k));
		EQ(k, 0);
		CHECKF(pieces > 20 ? n > 0 : n == pieces * PIECE, "%u bytes", n);
		close(fd[1]);
		close(p[0]);
	}
	/* Whoever comes next has a ring that is all its own, in which nothing was refused */
	sm = adopt(port, &reg);
	EQ(sm.tx->tail, (sm.tx_head - 1) & (sm.reg.tx_slots - 1));
	CHECK(sm_peek(&sm));
	drop_old(&sm);
	sm_sync(&sm, 0);
	EQ(sm.tx->refused, 0);
	exchange(&sm);
	all_there(&sm);
	EQ(sm_info(&sm).stats.sockets, 0);
	sm_close(&sm);
	EQ(sm_ports(), 0);
}

TEST(pass_on_after_kill, 60)
{
	pass_on(20, few(30));
}

/* Each with more than TCP has room for: some of it may have been refused before it was killed */
TEST(pass_on_after_refused, 60)
{
	pass_on(60, few(30));
}
