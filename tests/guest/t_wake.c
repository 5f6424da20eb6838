// SPDX-License-Identifier: GPL-2.0
/*
 * t_wake.c - STACKMAP_IOC_WAKE: a wait that another thread ends; STACKMAP_SYNC_WATCH: or a descriptor
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "net.h"
#include "pair.h"
#include "sm.h"
#include "tap.h"

static void wake(struct sm *sm)
{
	EQ(ioctl(sm->fd, STACKMAP_IOC_WAKE), 0);
}

/* How long a sync of a quarter of a second takes */
static double waits(struct sm *sm, uint32_t flags)
{
	double t = mono();

	EQ(sm_try_sync(sm->fd, flags, 250000), 0);
	return mono() - t;
}

static int polled(struct sm *sm)
{
	struct pollfd p = { .fd = sm->fd, .events = POLLIN };

	EQ(poll(&p, 1, 0) >= 0, 1);
	return p.revents;
}

static void *wake_later(void *sm)
{
	usleep(50000);
	wake(sm);
	return NULL;
}

/* The next sync does not wait, and only that */
TEST(wake_before_sync, 20)
{
	struct sm sm;
	double t;

	sm_new_small(&sm, 16);
	EQ(polled(&sm), 0);
	wake(&sm);
	wake(&sm);
	EQ(polled(&sm), POLLIN);
	EQ(polled(&sm), POLLIN);
	t = waits(&sm, 0);
	CHECKF(t < 0.2, "%f s", t);
	EQ(polled(&sm), 0);
	t = waits(&sm, 0);
	CHECKF(t > 0.24, "%f s", t);
	/* A sync that does not wait takes it likewise */
	wake(&sm);
	EQ(sm_try_sync(sm.fd, 0, 0), 0);
	EQ(polled(&sm), 0);
	t = waits(&sm, 0);
	CHECKF(t > 0.24, "%f s", t);
	sm_close(&sm);
}

/* The sync that waits now; it is used up then */
TEST(wake_a_waiting_sync, 20)
{
	pthread_t thread;
	struct sm sm;
	double t;

	sm_new_small(&sm, 16);
	CHECK(!pthread_create(&thread, NULL, wake_later, &sm));
	t = waits(&sm, 0);
	pthread_join(thread, NULL);
	CHECKF(t > 0.03 && t < 0.2 * slow(), "%f s", t);
	EQ(polled(&sm), 0);
	t = waits(&sm, 0);
	CHECKF(t > 0.24, "%f s", t);
	sm_close(&sm);
}

/* poll() and epoll that sleep without a bound */
TEST(wake_sleepers, 20)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(0);
	pthread_t thread;
	struct pollfd p;
	struct sm sm;

	sm_new_small(&sm, 16);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, sm.fd, &ev));
	p = (struct pollfd){ .fd = sm.fd, .events = POLLIN };
	EQ(sm_try_sync(sm.fd, STACKMAP_SYNC_SLEEP, 0), 0);
	CHECK(!pthread_create(&thread, NULL, wake_later, &sm));
	EQ(poll(&p, 1, 5000), 1);
	EQ(p.revents, POLLIN);
	pthread_join(thread, NULL);
	EQ(sm_try_sync(sm.fd, 0, 0), 0);
	EQ(epoll_wait(ep, &ev, 1, 0), 0);
	CHECK(!pthread_create(&thread, NULL, wake_later, &sm));
	EQ(epoll_wait(ep, &ev, 1, 5000), 1);
	pthread_join(thread, NULL);
	EQ(ev.events, EPOLLIN);
	sm_close(&sm);
}

/* Who will sleep syncs first: that sync must not take the wake from the sleep, once */
TEST(wake_handed_on, 20)
{
	struct sm sm;
	double t;

	sm_new_small(&sm, 16);
	wake(&sm);
	t = waits(&sm, STACKMAP_SYNC_SLEEP);
	CHECKF(t < 0.2, "%f s", t);
	EQ(polled(&sm), POLLIN);
	t = waits(&sm, STACKMAP_SYNC_SLEEP);
	CHECKF(t < 0.2, "%f s", t);
	EQ(polled(&sm), 0);
	t = waits(&sm, STACKMAP_SYNC_SLEEP);
	CHECKF(t > 0.24, "%f s", t);
	sm_close(&sm);
}

TEST(wake_errors, 10)
{
	int fd = sm_open();
	struct sm sm;

	FAILS(ioctl(fd, STACKMAP_IOC_WAKE), ENXIO);
	sm_new_small(&sm, 16);
	/* There is no argument that could be wrong */
	EQ(ioctl(sm.fd, STACKMAP_IOC_WAKE, 12345), 0);
	FAILS(ioctl(sm.fd, _IO(0xB7, 7)), ENOTTY);
	sm_close(&sm);
}

static unsigned int asked, answered;
static bool stop;

/* Asks for one thing at a time, at random moments, as a thread with work for the owner would */
static void *asks(void *arg)
{
	uint32_t seed = 5, pause;
	struct sm *sm = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&answered, __ATOMIC_ACQUIRE) != asked) {
			usleep(10);
			continue;
		}
		pause = rnd(&seed) % 300;
		if (pause > 100)
			usleep(pause);
		__atomic_store_n(&asked, asked + 1, __ATOMIC_RELEASE);
		wake(sm);
	}
	return NULL;
}

/* None is slept over, whatever the owner was about to do, and packets come as ever */
TEST(wake_none_missed, 60)
{
	unsigned int rounds = few(1000), done = 0, got = 0;
	struct epoll_event ev = { .events = EPOLLIN };
	int fd[2], ep = epoll_create1(0);
	struct stackmap_slot *s;
	pthread_t thread;
	uint32_t seed = 8;
	struct sm sm;

	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, sm.fd, &ev));
	asked = answered = 0;
	stop = false;
	CHECK(!pthread_create(&thread, NULL, asks, &sm));
	while (done < rounds) {
		bool sleep = rnd(&seed) % 2;

		if (rnd(&seed) % 16 == 0)
			CHECK(send_all(fd[1], "x", 1));
		__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
		CHECK(sm_try_sync(sm.fd, sleep ? STACKMAP_SYNC_SLEEP : 0, rnd(&seed) % 2 * (rnd(&seed) % 300)) >= 0);
		for (; (s = sm_peek(&sm)); sm_next(&sm))
			got += s->len;
		if (__atomic_load_n(&asked, __ATOMIC_ACQUIRE) != done) {
			done++;
			__atomic_store_n(&answered, done, __ATOMIC_RELEASE);
		} else if (sleep) {
			__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
			CHECKF(epoll_wait(ep, &ev, 1, 5000) == 1, "slept over the wake of round %u", done);
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	tap_note("%u bytes meanwhile", got);
	sm_settle(&sm);
	sm_close(&sm);
}

/* ------------------------------------------------------------ what a sync watches */

static int watch(struct sm *sm, int fd, uint32_t flags, uint32_t wait_us)
{
	struct stackmap_sync s = { .flags = flags, .wait_us = wait_us, .watch = fd };

	return ioctl(sm->fd, STACKMAP_IOC_SYNC, &s);
}

static int event_later;

static void *make_event(void *unused)
{
	usleep(50000);
	CHECK(!eventfd_write(event_later, 1));
	return unused;
}

/* An epoll set, or a descriptor in it, that is ready ends the wait; and it is told without one */
TEST(watch_ends_wait, 20)
{
	int ev = eventfd(0, EFD_CLOEXEC), set = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC), i;
	struct epoll_event e = { .events = EPOLLIN };
	int fds[3] = { ev, set, outer };
	eventfd_t n;
	pthread_t t;
	struct sm sm;
	double at;

	sm_new_small(&sm, 16);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, ev, &e) && !epoll_ctl(outer, EPOLL_CTL_ADD, set, &e));
	event_later = ev;
	for (i = 0; i < 3; i++) {
		at = mono();
		EQ(watch(&sm, fds[i], STACKMAP_SYNC_WATCH, 100000), 0);
		CHECKF(mono() - at > 0.09, "%.3f s", mono() - at);
		EQ(sm.rx->told, 0);
		at = mono();
		CHECK(!pthread_create(&t, NULL, make_event, NULL));
		EQ(watch(&sm, fds[i], STACKMAP_SYNC_WATCH, 1000000), 0);
		at = mono() - at;
		pthread_join(t, NULL);
		CHECKF(at > 0.04 && at < 0.9, "%.3f s", at);
		EQ(sm.rx->told, STACKMAP_TOLD_WATCH);
		EQ(watch(&sm, fds[i], STACKMAP_SYNC_WATCH, 0), 0);
		EQ(sm.rx->told, STACKMAP_TOLD_WATCH);
		EQ(watch(&sm, 0, 0, 0), 0);
		EQ(sm.rx->told, 0);
		CHECK(!eventfd_read(ev, &n));
		EQ(watch(&sm, fds[i], STACKMAP_SYNC_WATCH | STACKMAP_SYNC_SLEEP, 0), 0);
		EQ(sm.rx->told, 0);
	}
	/* Slots and the watched one in one call */
	{
		int fd[2];

		pair_tcp(fd, AF_INET);
		sm_attach(&sm, fd[0], 0);
		CHECK(send_all(fd[1], "x", 1) && !eventfd_write(ev, 1));
		EQ(watch(&sm, set, STACKMAP_SYNC_WATCH, 1000000), 1);
		EQ(sm.rx->told, STACKMAP_TOLD_WATCH);
		close(fd[0]);
		close(fd[1]);
	}
	sm_close(&sm);
}

/* A set that has the port in it, too; and a descriptor of another kind, or none */
TEST(watch_odd, 20)
{
	int set = epoll_create1(EPOLL_CLOEXEC), p[2];
	struct epoll_event e = { .events = EPOLLIN };
	struct sm sm;

	sm_new_small(&sm, 16);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, sm.fd, &e) && !pipe(p));
	EQ(watch(&sm, set, STACKMAP_SYNC_WATCH, 1000), 0);
	EQ(sm.rx->told, 0);
	EQ(watch(&sm, sm.fd, STACKMAP_SYNC_WATCH, 1000), 0);
	EQ(sm.rx->told, 0);
	EQ(watch(&sm, p[0], STACKMAP_SYNC_WATCH, 1000), 0);
	EQ(sm.rx->told, 0);
	close(p[1]);
	EQ(watch(&sm, p[0], STACKMAP_SYNC_WATCH, 1000), 0);
	EQ(sm.rx->told, STACKMAP_TOLD_WATCH);	/* HUP */
	close(p[0]);
	EQ(watch(&sm, p[0], STACKMAP_SYNC_WATCH, 1000), -1);
	EQ(errno, EBADF);
	EQ(watch(&sm, -1, STACKMAP_SYNC_WATCH, 1000), -1);
	EQ(errno, EBADF);
	EQ(watch(&sm, 3, 0, 0), -1);
	EQ(errno, EINVAL);
	sm_close(&sm);
}

static void nothing(int sig)
{
	(void)sig;
}

/* A signal is told apart from the end of the time */
TEST(watch_signal, 20)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct itimerval it = { .it_value.tv_usec = 50000, .it_interval.tv_usec = 50000 };
	struct sm sm;
	double at;

	sm_new_small(&sm, 16);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	at = mono();
	EQ(sm_try_sync(sm.fd, 0, 1000000), 0);
	at = mono() - at;
	CHECKF(at < 0.9, "%.3f s", at);
	EQ(sm.rx->told, STACKMAP_TOLD_SIGNAL);
	memset(&it, 0, sizeof(it));
	setitimer(ITIMER_REAL, &it, NULL);
	EQ(sm_try_sync(sm.fd, 0, 1000), 0);
	EQ(sm.rx->told, 0);
	sm_close(&sm);
}
