// SPDX-License-Identifier: GPL-2.0
/*
 * t_queues.c - two queues, two owners: a connection and its owner meet on one
 *
 * Each owner has a listener of the same SO_REUSEPORT group, and a connection is
 * accepted by the owner of the queue on which its SYN has arrived. On the
 * module's own driver every further packet has to arrive there, too. Packet
 * sockets tell on which queue each did.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "tap.h"

#define CONNS 24
#define BYTES 300000

/* The packet's queue as the kernel has it: 0 is none, 1 is queue 0 */
#define LOAD_QUEUE BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_QUEUE))

static void attach_filter(int fd, int option, struct sock_filter *insn, int n)
{
	struct sock_fprog prog = { .len = n, .filter = insn };

	CHECKF(!setsockopt(fd, SOL_SOCKET, option, &prog, sizeof(prog)), "%s", strerror(errno));
}

static void steer_by_queue(int fd)
{
	struct sock_filter insn[] = {
		LOAD_QUEUE,
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	attach_filter(fd, SO_ATTACH_REUSEPORT_CBPF, insn, 3);
}

/* By the peer's port: 1 + the queue of the owner who accepted it */
static uint8_t *owner_of;

/* All IPv4 TCP packets to @port that come in on @queue */
static int sniff(int queue, int port)
{
	struct sock_filter insn[] = {
		LOAD_QUEUE,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, queue + 1, 0, 8),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 0, 6),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),		/* protocol */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 4),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),		/* destination port */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 24),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = if_nametoindex(IFNAME),
	};
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int big = 32 << 20;

	CHECKF(fd >= 0, "%s", strerror(errno));
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)));
	attach_filter(fd, SO_ATTACH_FILTER, insn, sizeof(insn) / sizeof(insn[0]));
	CHECKF(!bind(fd, (void *)&sll, sizeof(sll)), "%s", strerror(errno));
	return fd;
}

/* Returns how many of a queue's packets were of its owner's connections, and in @astray, of others' */
static int sniffed(int fd, int queue, int *astray)
{
	uint8_t ip[24];
	int own = 0;

	*astray = 0;
	/* Without options the ports follow */
	while (recv(fd, ip, sizeof(ip), MSG_DONTWAIT) == sizeof(ip)) {
		uint16_t port = ip[20] << 8 | ip[21];

		/* A connection that was never accepted is nobody's */
		if (owner_of[port] == queue + 1)
			own++;
		else if (owner_of[port])
			++*astray;
	}
	return own;
}

/* Of both owners: the children inherit the option */
static int listen_shared(int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, here->guest4, port);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	CHECK(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
	CHECKF(!bind(fd, (void *)&ss, len) && !listen(fd, 1024), "%s", strerror(errno));
	return fd;
}

static void on_slot(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (c->in == s->len && !getpeername(c->fd, (void *)&ss, &len))
		owner_of[ntohs(((struct sockaddr_in *)&ss)->sin_port)] = 1 + c->app->sm.reg.queue;
	app_echo(c, s, p);
}

static struct app *owner_new(int queue, int listener, bool spin, int cpu)
{
	struct stackmap_register reg = sm_reg(IFNAME, 256);
	struct app *app;
	struct conn *c;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	CHECK(!sched_setaffinity(0, sizeof(cpus), &cpus));
	reg.queue = queue;
	app = app_new(&reg);
	app->spin = spin;
	app->on_slot = on_slot;
	c = app_add(app, listener);
	c->listener = true;
	app->nconns--;
	return app;
}

static void owner_end(struct app *app)
{
	tap_note("queue %u: %llu connections, %llu packets polled", app->sm.reg.queue,
		 (unsigned long long)app->accepted,
		 (unsigned long long)sm_info(&app->sm).stats.nic_packets);
	CHECK(app->accepted >= 1);
	app_end(app);
}

static bool own_driver(void)
{
	struct sm sm;
	bool own;

	sm_new_small(&sm, 16);
	own = sm.reg.nic == STACKMAP_NIC_VIRTIO;
	sm_close(&sm);
	return own;
}

/* @crossed: each owner runs on the other queue's processor */
static void two_owners(bool spin, bool crossed)
{
	int listener[2], sniffer[2], done[2], ready[2], status, port, q, own, astray;
	bool strict = own_driver();
	struct ask a[2];
	struct app *app;
	char b = 0;
	pid_t pid;

	if (access("/sys/class/net/" IFNAME "/queues/rx-1", F_OK) || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		tap_skip("one queue, or one processor");
	owner_of = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(owner_of != MAP_FAILED);
	listener[0] = listen_shared(0);
	port = port_of(listener[0]);
	listener[1] = listen_shared(port);
	steer_by_queue(listener[0]);
	CHECK(!pipe(done) && !pipe(ready));

	pid = fork();
	if (pid == 0) {
		struct pollfd p = { .fd = done[0], .events = POLLIN };

		close(done[1]);
		close(listener[0]);
		app = owner_new(1, listener[1], spin, !crossed);
		CHECK(write(ready[1], &b, 1) == 1);
		while (!poll(&p, 1, 0))
			app_round(app);
		owner_end(app);
		_exit(0);
	}
	close(done[0]);
	close(ready[1]);
	close(listener[1]);
	app = owner_new(0, listener[0], spin, crossed);
	CHECK(read(ready[0], &b, 1) == 1);
	for (q = 0; q < 2; q++)
		sniffer[q] = sniff(q, port);
	ask(&a[0], "echo %s %d 11 %d 9999 %d", here->guest4, port, BYTES, CONNS);
	ask(&a[1], "short %s %d 40 5 2", here->guest4, port);
	app_run(app, &a[0], 40);
	app_run(app, &a[1], 20);
	/* The last listener of the group goes first: it does not change the others' places */
	close(done[1]);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECKF(!status, "the owner of queue 1: %d", status);
	owner_end(app);
	for (q = 0; q < 2; q++) {
		own = sniffed(sniffer[q], q, &astray);
		tap_note("queue %d: %d packets of its owner's connections, %d of the other's", q, own,
			 astray);
		CHECK(own > 100);
		if (strict)
			EQ(astray, 0);
	}
}

TEST_NIC(queues_two_owners, 90)
{
	two_owners(true, false);
}

TEST_NIC(queues_two_owners_crossed, 90)
{
	if (!own_driver())
		tap_skip("stock drivers send on the processor's queue");
	two_owners(true, true);
}

TEST_NIC(queues_owners_sleep, 90)
{
	two_owners(false, false);
}
