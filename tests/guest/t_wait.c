// SPDX-License-Identifier: GPL-2.0
/*
 * t_wait.c - poll(), select() and epoll on a port
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "sh.h"
#include "tap.h"

TEST(poll_timeout, 10)
{
	struct sm sm;
	struct pollfd p;
	double t;

	sm_new_small(&sm, 16);
	p = (struct pollfd){ .fd = sm.fd, .events = POLLIN };
	sm_sync(&sm, 0);
	EQ(poll(&p, 1, 0), 0);
	t = mono();
	EQ(poll(&p, 1, 100), 0);
	t = mono() - t;
	CHECKF(t > 0.09 && t < 1, "%f s", t);
	p.events = POLLIN | POLLOUT;
	EQ(poll(&p, 1, 1000), 1);
	EQ(p.revents, POLLOUT);
	sm_close(&sm);
}

TEST(poll_not_a_port, 10)
{
	struct pollfd p = { .fd = sm_open(), .events = POLLIN };

	EQ(poll(&p, 1, 1000), 1);
	CHECK(p.revents & POLLERR);
}

TEST(poll_wakes, 10)
{
	struct sm sm;
	struct pollfd p;
	int fd[2];
	fd_set set;
	char b;

	sm_new_small(&sm, 16);
	p = (struct pollfd){ .fd = sm.fd, .events = POLLIN };
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_sync(&sm, 0);
	EQ(poll(&p, 1, 10), 0);
	CHECK(send_all(fd[1], "x", 1));
	EQ(poll(&p, 1, 1000), 1);
	/* Level-triggered: until it is delivered and given back */
	EQ(poll(&p, 1, 1000), 1);
	sm_sync(&sm, 0);
	CHECK(sm_peek(&sm));
	EQ(poll(&p, 1, 1000), 1);
	sm_read(&sm, fd[0], &b, 1, 1000);
	__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
	EQ(poll(&p, 1, 10), 0);
	CHECK(send_all(fd[1], "x", 1));
	FD_ZERO(&set);
	FD_SET(sm.fd, &set);
	EQ(select(sm.fd + 1, &set, NULL, NULL, NULL), 1);
	sm_read(&sm, fd[0], &b, 1, 1000);
	sm_close(&sm);
}

/* A child sends one byte at random moments; each must wake a sleeper with no timeout */
static void sleeps(bool by_epoll, int rounds)
{
	struct epoll_event ev = { .events = EPOLLIN };
	uint32_t seed = 21, pauses = 22;
	int fd[2], ep = epoll_create1(0), i, n;
	struct stackmap_stats st;
	struct sm sm;
	double t;
	char b;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, sm.fd, &ev));
	if (fork() == 0) {
		/* As an echo: the next byte goes out at any moment after the answer */
		for (i = 0; i < rounds; i++) {
			n = rnd(&pauses) % 300;
			if (n > 100)
				usleep(n);
			CHECK(send_all(fd[1], "x", 1));
			if (recv(fd[1], &b, 1, 0) != 1)
				break;
		}
		_exit(0);
	}
	for (i = 0; i < rounds;) {
		int flags = by_epoll ? STACKMAP_SYNC_SLEEP : 0;

		__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
		__atomic_store_n(&sm.tx->head, sm.tx_head, __ATOMIC_RELEASE);
		CHECK(sm_try_sync(sm.fd, flags, rnd(&seed) % 2 ? 0 : rnd(&seed) % 300) >= 0);
		if (sm_peek(&sm)) {
			sm_read(&sm, fd[0], &b, 1, 1000);
			sm_put(&sm, fd[0], &b, 1);
			i++;
			continue;
		}
		t = mono();
		if (by_epoll) {
			n = epoll_wait(ep, &ev, 1, 5000);
		} else {
			struct pollfd p = { .fd = sm.fd, .events = POLLIN };

			n = poll(&p, 1, 5000);
		}
		CHECKF(n == 1, "missed wake-up: slept for %f s in round %d", mono() - t, i);
	}
	sm_sync(&sm, 0);
	wait(NULL);
	st = sm_info(&sm).stats;
	CHECK(st.sleeps > 0);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(poll_no_missed_wakeup, 60)
{
	sleeps(false, few(2000));
}

TEST(epoll_no_missed_wakeup, 60)
{
	sleeps(true, few(2000));
}

/* One round of an owner that may go to sleep. Returns how long it slept, if it did */
static double maybe_sleep(struct app *app, int ep, struct ask *a, uint32_t *seed)
{
	struct pollfd p = { .fd = app->sm.fd, .events = POLLIN };
	struct epoll_event ev;
	double t;
	int n;

	app_round(app);
	if (app->dirty || sm_peek(&app->sm) || rnd(seed) % 3)
		return 0;
	__atomic_store_n(&app->sm.rx->head, app->sm.head, __ATOMIC_RELEASE);
	if (ep >= 0 && sm_try_sync(app->sm.fd, STACKMAP_SYNC_SLEEP, 0))
		return 0;
	t = mono();
	n = ep >= 0 ? epoll_wait(ep, &ev, 1, 1000) : poll(&p, 1, 1000);
	/* The last answer to the control connection wakes nobody here */
	if (!n)
		CHECKF(ask_done(a), "missed wake-up, after %llu connections",
		       (unsigned long long)app->accepted);
	return n ? mono() - t : 0;
}

/* The same with what arrives by the NIC: every packet has to wake us, or be polled */
static void nic_sleeps(bool by_epoll)
{
	struct app *app = app_new_slots(64);
	struct epoll_event ev = { .events = EPOLLIN };
	int port = app_listen(app, here->guest4), ep = -1;
	double end = mono() + 40 * slow(), t, worst = 0;
	uint32_t seed = 5, asked = 0;
	struct stackmap_stats st;
	struct ask a;

	if (by_epoll) {
		ep = epoll_create1(0);
		CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, app->sm.fd, &ev));
	}
	app->spin = true;	/* we do the sleeping here */
	/* Where little is asked for, there may always be something when it is about to sleep */
	do {
		ask(&a, "short %s %d %d 5 1", here->guest4, port, few(1000));
		asked += few(1000);
		while (!ask_done(&a)) {
			CHECK(mono() < end);
			t = maybe_sleep(app, ep, &a, &seed);
			worst = t > worst ? t : worst;
		}
		st = sm_info(&app->sm).stats;
	} while (!st.sleeps && asked < 1000);
	tap_note("longest sleep %.0f ms, %llu sleeps, %llu stalls", worst * 1e3,
		 (unsigned long long)st.sleeps, (unsigned long long)st.stalls);
	CHECK(st.sleeps > 0);
	/* The first SYN is sent again after 1 s */
	CHECKF(worst < 0.9, "woken only by what was sent again, after %.0f ms", worst * 1e3);
	EQ(app->accepted, asked);
	app_end(app);
}

TEST_NIC(poll_nic, 60)
{
	nic_sleeps(false);
}

TEST_NIC(epoll_nic, 60)
{
	nic_sleeps(true);
}

/* A sync that polls the NIC and then none: the claim falls back by itself */
TEST(stall_counter, 10)
{
	struct stackmap_stats st;
	struct sm sm;
	int i;

	sm_new_small(&sm, 16);
	for (i = 1; i <= 3; i++) {
		sm_sync(&sm, 1000);
		usleep(100000);
		st = sm_info(&sm).stats;
		EQ(st.stalls, i);
	}
	EQ(st.sleeps, 0);
	EQ(sm_try_sync(sm.fd, 0, 1000), 0);
	EQ(sm_try_sync(sm.fd, STACKMAP_SYNC_SLEEP, 0), 0);
	usleep(100000);
	st = sm_info(&sm).stats;
	EQ(st.sleeps, 1);
	EQ(st.stalls, 3);
	EQ(st.syncs, 5);
	EQ(st.empty_syncs, 5);
	CHECK(st.nic_polls >= 5);
	sm_close(&sm);
}

/*
 * Who reconfigures the interface waits for its NAPI with RTNL held, and all who want that with it: not until the owner
 * has stalled. (A veth's NAPI goes away without GRO.)
 */
TEST_AT(reconfigured_while_claimed, ON_VETH, 60)
{
	struct stackmap_register reg = sm_reg(here->ifname, 16);
	double usual, most = 1e9;
	struct sm sm;
	int i;

	reg.stall_us = STACKMAP_STALL_MAX_US;
	sm_new(&sm, &reg);
	for (i = 0; i < 3; i++) {
		EQ(sh("ethtool -K %s gro on", here->ifname), 0);
		usual = sh_seconds;
		usleep(10000);
		sm_sync(&sm, 1000);
		EQ(sh("ethtool -K %s gro off", here->ifname), 0);
		if (sh_seconds - usual < most)
			most = sh_seconds - usual;
	}
	tap_note("%.0f ms more than without an owner", most * 1e3);
	CHECK(most < 0.5);
	EQ(sh("ethtool -K %s gro on", here->ifname), 0);
	sm_close(&sm);
}

static void nothing(int sig)
{
	(void)sig;
}

TEST(poll_signal, 10)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct pollfd p;
	struct sm sm;

	sm_new_small(&sm, 16);
	p = (struct pollfd){ .fd = sm.fd, .events = POLLIN };
	sigaction(SIGALRM, &sa, NULL);
	ualarm(50000, 0);
	sm_sync(&sm, 0);
	FAILS(poll(&p, 1, 5000), EINTR);
	sm_close(&sm);
}

/* In an epoll set before it is a port: it wakes whoever waits there all the same */
TEST(epoll_before_register, 20)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct stackmap_register reg = sm_reg(IFNAME, 16);
	int file = sm_open(), ep = epoll_create1(0), fd[2];

	CHECK(ep >= 0);
	EQ(epoll_ctl(ep, EPOLL_CTL_ADD, file, &ev), 0);
	EQ(epoll_wait(ep, &ev, 1, 0), 1);
	EQ(ev.events, EPOLLERR);
	EQ(epoll_wait(ep, &ev, 1, 50), 0);
	EQ(ioctl(file, STACKMAP_IOC_REGISTER, &reg), 0);
	EQ(epoll_wait(ep, &ev, 1, 1000), 1);
	EQ(ev.events, EPOLLOUT);

	pair_tcp(fd, AF_INET);
	EQ(sm_try_attach(file, fd[0], 0, NULL), 0);
	EQ(sm_try_sync(file, STACKMAP_SYNC_SLEEP, 0), 0);
	EQ(epoll_wait(ep, &ev, 1, 50), 0);
	CHECK(send_all(fd[1], "x", 1));
	EQ(epoll_wait(ep, &ev, 1, 1000), 1);
	CHECK(ev.events & EPOLLIN);
	EQ(sm_try_sync(file, 0, 0), 1);
	close(file);
}
