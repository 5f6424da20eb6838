// SPDX-License-Identifier: GPL-2.0
/*
 * t_stall.c - an owner that stalls in odd places: how long others on its NIC wait
 *
 * An ordinary UDP echo server in the guest is asked by the peer, one datagram
 * at a time, while the owner of the NIC stalls again and again. The worst round
 * trip has to be at most the stall bound (as the kernel rounds it up, to clock
 * ticks) plus 10 ms. An emulated guest on a busy machine has round trips of that
 * length on its own, so the same is measured without stalls just before. If the
 * worst of those was over 10 ms, it is added; and as noise only adds, the best of
 * a few tries counts. What was measured is printed as it is.
 *
 * The load is as many short connections as there can be. On one emulated
 * processor, which that saturates, others wait for the processor more than for
 * the owner (and for the burst of connections that its return sets off), so that
 * LOADED_US more are allowed: what is tested then is that it is not the second for
 * which the owner stalls.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "tap.h"

#define TRIES 4
#define SLACK_US 10000
#define TICK_US 4000		/* CONFIG_HZ=250 */
#define LOADED_US 100000

enum stall { NEVER, STOPPED, FAULTS, READS, SLEEPS, ANYTHING };

static const char *const stall_names[] = {
	"never", "stopped", "page faults", "slow reads", "sleeps of 1 s", "anything"
};

struct rtt { int lost, max, p99, median; };

static pid_t udp_echo(int *port)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, here->guest4, 0);
	char b[2048];
	ssize_t n;
	pid_t pid;

	CHECK(!bind(fd, (void *)&ss, len));
	*port = port_of(fd);
	pid = fork();
	while (pid == 0) {
		len = sizeof(ss);
		n = recvfrom(fd, b, sizeof(b), 0, (void *)&ss, &len);
		if (n > 0)
			sendto(fd, b, n, 0, (void *)&ss, len);
	}
	close(fd);
	return pid;
}

/* Pages that are not there yet, as many as take so long */
static void page_faults(int ms)
{
	double end = mono() + ms / 1e3;
	size_t size = 16 << 20, at = size;
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	while (mono() < end) {
		if (at == size) {
			madvise(p, size, MADV_DONTNEED);
			at = 0;
		}
		p[at] = 1;
		at += 4096;
	}
	munmap(p, size);
}

/* A read that takes so long: of somebody slow, asleep, and of much, awake */
static void slow_read(int ms)
{
	static uint8_t much[1 << 20];
	int p[2], fd = open("/dev/urandom", O_RDONLY);
	double end = mono() + ms / 2e3;
	pid_t pid;

	CHECK(!pipe(p));
	pid = fork();
	if (pid == 0) {
		usleep(ms * 500);
		_exit(write(p[1], "", 1) != 1);
	}
	CHECK(read(p[0], much, 1) == 1);
	waitpid(pid, NULL, 0);
	while (mono() < end + ms / 2e3)
		CHECK(read(fd, much, sizeof(much)) > 0);
	close(fd);
	close(p[0]);
	close(p[1]);
}

static void stall(enum stall how, uint32_t *seed)
{
	int ms = 50 + rnd(seed) % 250;

	if (how == ANYTHING)
		how = FAULTS + rnd(seed) % 3;
	switch (how) {
	case FAULTS:
		page_faults(ms);
		break;
	case READS:
		slow_read(ms);
		break;
	case SLEEPS:
		usleep(1000000);
		break;
	default:
		break;
	}
}

static pid_t owner_start(enum stall how, uint32_t stall_us, int *port)
{
	struct stackmap_register reg = sm_reg(here->ifname, 256);
	uint32_t seed = 6;
	int p[2];
	pid_t pid;

	CHECK(!pipe(p));
	pid = fork();
	if (pid == 0) {
		struct app *app;

		reg.stall_us = stall_us;
		app = app_new(&reg);
		*port = app_listen(app, here->guest4);
		app->spin = how != NEVER;
		app_round(app);
		CHECK(write(p[1], port, sizeof(*port)) == sizeof(*port));
		for (;;) {
			app_run_ms(app, 1 + rnd(&seed) % 30);
			stall(how, &seed);
		}
	}
	close(p[1]);
	CHECK(read(p[0], port, sizeof(*port)) == sizeof(*port));
	close(p[0]);
	return pid;
}

/* Stops a process for 5 to 300 ms at a time */
static pid_t stopper(pid_t victim)
{
	uint32_t seed = 4;
	pid_t pid = fork();

	while (pid == 0) {
		kill(victim, SIGSTOP);
		usleep(5000 + rnd(&seed) % 300000);
		kill(victim, SIGCONT);
		usleep(1000 + rnd(&seed) % 30000);
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* About 2 s of round trips; one who stalls for 1 s at a time is looked at for longer */
static struct rtt measure(int port, enum stall how)
{
	struct rtt r;
	struct ask a;

	ask(&a, "rtt %s %d %d %d", here->guest4, port, how == SLEEPS || how == ANYTHING ? 1000 : 400, 4);
	ask_wait(&a, 60);
	CHECK(sscanf(a.answer, "ok %d %d %d %d", &r.lost, &r.max, &r.p99, &r.median) == 4);
	return r;
}

static uint64_t stalls(void)
{
	struct stackmap_info info = { .version = STACKMAP_ABI_VERSION };
	int fd = sm_open(), ret = ioctl(fd, STACKMAP_IOC_INFO, &info);

	close(fd);
	return ret ? 0 : info.stats.stalls;
}

static void others_wait(enum stall how, uint32_t stall_us, bool load)
{
	uint32_t rounded = (stall_us + TICK_US - 1) / TICK_US * TICK_US;
	struct rtt base, with;
	int udp, port, try, limit;
	pid_t echo = udp_echo(&udp), owner, stops = -1;
	struct ask l;
	uint64_t n;

	for (try = 0; try < TRIES; try++) {
		/* Without load, when there is no owner; with it, an owner that does not stall */
		owner = load ? owner_start(NEVER, stall_us, &port) : -1;
		if (load)
			ask(&l, "flood %s %d 3000", here->guest4, port);
		base = measure(udp, NEVER);
		if (load) {
			ask_wait(&l, 10);
			end(owner);
		}
		owner = owner_start(how, stall_us, &port);
		if (how == STOPPED || how == ANYTHING)
			stops = stopper(owner);
		if (load)
			ask(&l, "flood %s %d 8000", here->guest4, port);
		with = measure(udp, how);
		n = stalls();
		if (stops != -1)
			end(stops);
		stops = -1;
		kill(owner, SIGCONT);
		if (load)
			ask_wait(&l, 20);
		end(owner);
		limit = rounded + SLACK_US + (base.max > SLACK_US ? base.max : 0) + (load ? LOADED_US : 0);
		tap_note("%s%s, bound %u us: %llu stalls; round trips of others, us: worst %d, 99th percentile %d, median %d; without stalls: %d, %d, %d",
			 stall_names[how], load ? ", with load" : "", stall_us, (unsigned long long)n,
			 with.max, with.p99, with.median, base.max, base.p99, base.median);
		CHECKF(n >= 3, "%llu stalls", (unsigned long long)n);
		if (with.max <= limit && !with.lost)
			break;
	}
	end(echo);
	EQ(with.lost, 0);
	CHECKF(with.max <= limit, "%d us, the limit is %d", with.max, limit);
}

TEST_ASKED(stall_stopped, ON_NIC, 120)
{
	others_wait(STOPPED, 10000, false);
}

TEST_ASKED(stall_stopped_short, ON_NIC, 120)
{
	others_wait(STOPPED, 1000, false);
}

TEST_ASKED(stall_stopped_long, ON_NIC, 120)
{
	others_wait(STOPPED, 50000, false);
}

TEST_ASKED(stall_page_faults, ON_NIC, 120)
{
	others_wait(FAULTS, 10000, false);
}

TEST_ASKED(stall_slow_reads, ON_NIC, 120)
{
	others_wait(READS, 10000, false);
}

TEST_ASKED(stall_sleeps, ON_NIC, 120)
{
	others_wait(SLEEPS, 10000, false);
}

TEST_ASKED(stall_anything_with_load, ON_NIC, 120)
{
	others_wait(ANYTHING, 10000, true);
}

/*
 * An owner that syncs just inside its bound, and takes a round of packets each time: it
 * has stalled when it has not emptied the NIC for so long. With a queue of packets, as
 * one at a time never waits behind another.
 */
TEST_NIC(stall_of_an_owner_that_syncs, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	int lost, max, limit = 1000 + TICK_US / 1000 + SLACK_US / 1000 + 300;
	pid_t pid = fork();
	struct sm sm;
	struct ask a;

	if (pid == 0) {
		reg.stall_us = 1000000;
		sm_new(&sm, &reg);
		for (;;) {
			sm_sync(&sm, 0);
			while (sm_peek(&sm))
				sm_next(&sm);
			/* Busy elsewhere: one who sleeps gives the NIC back by that */
			for (double until = mono() + 0.9; mono() < until;)
				;
		}
	}
	usleep(200000);
	ask(&a, "ping %s 300 8", here->guest4);
	ask_wait(&a, 30);
	end(pid);
	CHECK(sscanf(a.answer, "ok %d %d", &lost, &max) == 2);
	tap_note("300 pings: %d lost, %d ms at most, bound 1000 ms", lost, max);
	CHECKF(max <= limit * slow(), "%d ms", max);
	/* The ring may have overflowed: how many is not what is tested */
	CHECKF(lost < 100, "%d lost", lost);
}
