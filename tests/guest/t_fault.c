// SPDX-License-Identifier: GPL-2.0
/*
 * t_fault.c - every allocation of every call fails in turn; each call ends in
 * an errno, or does with less, and all works afterwards
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app.h"
#include "fault.h"
#include "life.h"
#include "net.h"
#include "pair.h"
#include "sh.h"
#include "tap.h"

#define DRIVERS	"/sys/bus/virtio/drivers"
#define OURS	"stackmap_virtio"
/* Allocations of one call; past this something goes round in circles */
#define MOST	5000

static struct stackmap_register small_reg(void)
{
	struct stackmap_register reg = sm_reg(IFNAME, 16);

	reg.pool_bufs = 8;
	return reg;
}

/* A byte each way over a pair of which one end is attached */
static void exchange(struct sm *sm, const int fd[2])
{
	char b;

	CHECK(send_all(fd[1], "a", 1));
	sm_read(sm, fd[0], &b, 1, 3000);
	EQ(b, 'a');
	sm_send(sm, fd[0], "b", 1);
	CHECK(recv_all(fd[1], &b, 1));
	EQ(b, 'b');
}

TEST(fault_open, 60)
{
	bool hit = true;
	int fd, err, n;

	fault_init();
	for (n = 1; hit && n < MOST; n++) {
		fault_next(n);
		fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);
		err = errno;
		hit = fault_over();
		if (fd < 0) {
			CHECK(hit);
			EQ(err, ENOMEM);
		} else {
			close(fd);
		}
	}
	CHECK(!hit);
	tap_note("%d allocations", n - 2);
	CHECK(n > 2);
}

/* The file that was refused may try again, and nothing is left of the first time */
TEST(fault_register, 200)
{
	struct stackmap_register reg;
	bool hit = true;
	int fd, err, ret, n, failed = 0;

	fault_init();
	for (n = 1; hit && n < MOST; n++) {
		fd = sm_open();
		reg = small_reg();
		fault_next(n);
		ret = ioctl(fd, STACKMAP_IOC_REGISTER, &reg);
		err = errno;
		hit = fault_over();
		if (ret) {
			CHECK(hit);
			EQ(err, ENOMEM);
			EQ(sm_ports(), 0);
			failed++;
			reg = small_reg();
			CHECKF(!ioctl(fd, STACKMAP_IOC_REGISTER, &reg), "%d: %s", n, strerror(errno));
		}
		EQ(sm_ports(), 1);
		/* Closing has to do with what there is, too */
		fault_next(1 + n % 4);
		close(fd);
		fault_over();
		EQ(sm_ports(), 0);
	}
	CHECK(!hit);
	tap_note("%d allocations, without %d of which it cannot be", n - 2, failed);
	/* The port, the rings, each frame ... */
	CHECK(failed > 16 + 16 + 8);
}

TEST(fault_mmap, 120)
{
	struct stackmap_register reg = small_reg();
	bool hit = true;
	int err, n, failed = 0;
	struct sm sm;
	void *p;

	fault_init();
	sm_new(&sm, &reg);
	for (n = 1; hit && n < MOST; n++) {
		/* At an address whose page tables are not there yet */
		void *at = (void *)(0x100000000000ul + ((unsigned long)n << 32));

		fault_next(n);
		p = mmap(at, sm.reg.map_size, PROT_READ | PROT_WRITE, MAP_SHARED, sm.fd, 0);
		err = errno;
		hit = fault_over();
		if (p == MAP_FAILED) {
			CHECK(hit);
			EQ(err, ENOMEM);
			failed++;
		} else {
			EQ(((struct stackmap_ring *)((char *)p + sm.reg.rx_off))->nslots, 16);
			munmap(p, sm.reg.map_size);
		}
	}
	CHECK(!hit);
	tap_note("%d allocations, without %d of which it cannot be", n - 2, failed);
	sm_quiet(&sm, 5);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Attached or not, and nothing in between; what detaches, always does */
static void attach_all(struct sm *sm, int fd, const int *pair)
{
	bool hit = true, hit_detach = true;
	int n, err, ret, failed = 0;

	for (n = 1; (hit || hit_detach) && n < MOST; n++) {
		fault_next(n);
		ret = sm_try_attach(sm->fd, fd, n, NULL);
		err = errno;
		hit = fault_over();
		if (ret) {
			CHECK(hit);
			EQ(err, ENOMEM);
			EQ(sm_info(sm).stats.sockets, 0);
			sm_attach(sm, fd, n);
			failed++;
		}
		EQ(sm_info(sm).stats.sockets, 1);
		if (pair)
			exchange(sm, pair);
		fault_next(n);
		ret = sm_try_detach(sm->fd, fd);
		hit_detach = fault_over();
		EQ(ret, 0);
		EQ(sm_info(sm).stats.sockets, 0);
	}
	CHECK(!hit && !hit_detach);
	tap_note("fd %d: %d allocations, without %d of which it cannot be", fd, n - 2, failed);
	CHECK(failed);
}

/* A detach that gives payload back: all of it and detached, or nothing and attached as before */
TEST(fault_unread, 60)
{
	struct stackmap_unread u = { .len = 5000 };
	struct stackmap_detach d = { .flags = STACKMAP_DETACH_UNREAD, .unread = (uintptr_t)&u };
	uint8_t block[5000], got[5000];
	int n, ret, err, fd[2], failed = 0;
	bool hit = true;
	struct sm sm;

	fault_init();
	sm_new_small(&sm, 16);
	pair_tcp(fd, AF_INET);
	pat_fill(block, 6, 0, sizeof(block));
	u.addr = (uintptr_t)block;
	d.fd = fd[0];
	for (n = 1; hit && n < MOST; n++) {
		sm_attach(&sm, fd[0], n);
		CHECK(send_all(fd[1], block, sizeof(block)));
		sm_read(&sm, fd[0], got, sizeof(got), 3000);
		fault_next(n);
		ret = ioctl(sm.fd, STACKMAP_IOC_DETACH, &d);
		err = errno;
		hit = fault_over();
		if (ret) {
			CHECK(hit);
			EQ(err, ENOMEM);
			EQ(sm_info(&sm).stats.sockets, 1);
			EQ(ioctl(sm.fd, STACKMAP_IOC_DETACH, &d), 0);
			failed++;
		}
		EQ(sm_info(&sm).stats.sockets, 0);
		set_timeout(fd[0], 3000);
		CHECK(recv_all(fd[0], got, sizeof(got)));
		CHECK(pat_is(got, 6, 0, sizeof(got)));
	}
	CHECK(!hit);
	tap_note("%d allocations, without %d of which it cannot be", n - 2, failed);
	CHECK(failed);
	close(fd[0]);
	close(fd[1]);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(fault_attach_detach, 120)
{
	int i, l, fd[2], high[2];
	struct sm sm;

	fault_init();
	sm_new_small(&sm, 16);
	for (i = 0; i < 2; i++) {
		pair_tcp(fd, i ? AF_INET6 : AF_INET);
		set_timeout(fd[1], 3000);
		attach_all(&sm, fd[0], fd);
		/* A high number takes more to be remembered */
		high[0] = fcntl(fd[0], F_DUPFD, 900);
		high[1] = fd[1];
		CHECK(high[0] >= 900);
		attach_all(&sm, high[0], high);
	}
	l = try_listen("127.0.0.1", 0);
	attach_all(&sm, l, NULL);
	sm_settle(&sm);
	sm_close(&sm);
}

/* Closing a port with sockets */
/* The slot that tells of the connection of @peer, however many syncs it takes; with its payload behind it */
static struct stackmap_slot accepted(struct sm *sm, int peer)
{
	struct stackmap_slot s = *sm_wait(sm, 3000);
	char b;

	EQ(s.flags, STACKMAP_RX_ACCEPTED);
	sm_next(sm);
	sm_read(sm, s.fd, &b, 1, 3000);
	EQ(b, 'a');
	sm_send(sm, s.fd, "b", 1);
	CHECK(recv_all(peer, &b, 1));
	return s;
}

/* A sync that accepts; what it has no memory for stays in the listener, and comes with the next */
TEST(fault_accept, 200)
{
	struct stackmap_attach a = { .flags = STACKMAP_ATTACH_ACCEPT };
	int peer[3], n, i, hits = 0;
	struct stackmap_slot s[3];
	bool hit = true;
	struct sm sm;

	fault_init();
	sm_new_small(&sm, 64);
	a.fd = try_listen("127.0.0.1", 0);
	CHECK(!ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a));
	for (n = 1; hit && n < MOST; n++) {
		for (i = 0; i < 3; i++) {
			peer[i] = try_connect("127.0.0.1", port_of(a.fd), 1000);
			CHECK(peer[i] >= 0 && send_all(peer[i], "a", 1));
		}
		__atomic_store_n(&sm.rx->head, sm.head, __ATOMIC_RELEASE);
		fault_next(n);
		CHECK(sm_try_sync(sm.fd, 0, 0) >= 0);
		hit = fault_over();
		hits += hit;
		/* (In the order in which they were taken, payload behind the last) */
		{
			uint32_t there = 0, data = 0;

			while (there < 3 || data < 3) {
				struct stackmap_slot *slot = sm_wait(&sm, 3000);

				if (slot->flags & STACKMAP_RX_ACCEPTED)
					s[there++] = *slot;
				else
					data++;
				sm_next(&sm);
			}
		}
		for (i = 0; i < 3; i++)
			sm_request(&sm, s[i].fd, STACKMAP_TX_CLOSE, 0);
		sm_sync(&sm, 0);
		EQ(sm.tx->refused, 0);
		EQ(sm_info(&sm).stats.sockets, 1);
		for (i = 0; i < 3; i++)
			close(peer[i]);
	}
	CHECK(!hit);
	tap_note("%d allocations", hits);
	CHECK(hits > 3);
	close(a.fd);
	sm_settle(&sm);
	sm_close(&sm);
}

/* A descriptor for a handle, a handle for a descriptor: an errno, and all is as before */
TEST(fault_handle, 200)
{
	struct stackmap_attach l = { .flags = STACKMAP_ATTACH_ACCEPT }, a;
	struct stackmap_handle_fd h = { 0 };
	int peer, fd, err, n, failed = 0, hits = 0;
	struct stackmap_slot s;
	bool hit = true;
	struct sm sm;
	char b;

	fault_init();
	sm_new_small(&sm, 64);
	l.fd = try_listen("127.0.0.1", 0);
	CHECK(!ioctl(sm.fd, STACKMAP_IOC_ATTACH, &l));
	for (n = 1; hit && n < MOST; n++) {
		peer = try_connect("127.0.0.1", port_of(l.fd), 1000);
		CHECK(peer >= 0 && send_all(peer, "a", 1));
		s = accepted(&sm, peer);
		h.handle = s.fd;
		fault_next(n);
		fd = ioctl(sm.fd, STACKMAP_IOC_HANDLE_FD, &h);
		err = errno;
		hit = fault_over();
		hits += hit;
		if (fd < 0) {
			CHECK(hit);
			CHECKF(err == ENOMEM || err == ENFILE || err == EMFILE, "%s", strerror(err));
			failed++;
			fd = ioctl(sm.fd, STACKMAP_IOC_HANDLE_FD, &h);
		}
		CHECK(fd >= 0);
		sm_send(&sm, s.fd, "c", 1);
		CHECK(recv_all(peer, &b, 1) && send_all(fd, "d", 1) && recv_all(peer, &b, 1));
		EQ(sm_try_detach(sm.fd, s.fd), 0);
		/* The way back */
		a = (struct stackmap_attach){ .fd = fd, .flags = STACKMAP_ATTACH_HANDLE };
		fault_next(n);
		if (ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a)) {
			err = errno;
			CHECK(fault_over());
			EQ(err, ENOMEM);
			failed++;
			CHECK(send_all(fd, "e", 1) && recv_all(peer, &b, 1));
			CHECK(!ioctl(sm.fd, STACKMAP_IOC_ATTACH, &a));
		} else if (fault_over()) {
			hit = true;
		}
		close(fd);
		sm_request(&sm, a.fd, STACKMAP_TX_CLOSE, 0);
		sm_sync(&sm, 0);
		EQ(sm.tx->refused, 0);
		set_timeout(peer, 2000);
		EQ(recv(peer, &b, 1, 0), 0);
		close(peer);
	}
	CHECK(!hit);
	tap_note("%d allocations, without %d of which it cannot be", hits, failed);
	CHECK(failed >= 3);
	close(l.fd);
	sm_settle(&sm);
	sm_close(&sm);
}

TEST(fault_close, 120)
{
	bool hit = true;
	struct sm sm;
	int fd[2], l = try_listen("127.0.0.1", 0), n;
	char b;

	fault_init();
	pair_tcp(fd, AF_INET);
	set_timeout(fd[0], 3000);
	for (n = 1; hit && n < MOST; n++) {
		sm_new_small(&sm, 16);
		sm_attach(&sm, fd[0], 0);
		sm_attach(&sm, l, 0);
		sm_sync(&sm, 0);
		munmap(sm.map, sm.reg.map_size);
		fault_next(n);
		close(sm.fd);
		hit = fault_over();
		EQ(sm_ports(), 0);
		CHECK(send_all(fd[1], "x", 1) && recv_all(fd[0], &b, 1));
	}
	CHECK(!hit);
	tap_note("%d allocations", n - 2);
}

TEST(fault_poll, 60)
{
	struct pollfd p = { .events = POLLIN };
	bool hit = true;
	int n, ret, err;
	struct sm sm;

	fault_init();
	sm_new_small(&sm, 16);
	p.fd = sm.fd;
	for (n = 1; hit && n < MOST; n++) {
		sm_sync(&sm, 0);
		fault_next(n);
		ret = poll(&p, 1, 5);
		err = errno;
		hit = fault_over();
		if (ret < 0)
			EQ(err, ENOMEM);
		else
			EQ(ret, 0);
	}
	CHECK(!hit);
	sm_close(&sm);
}

/*
 * A reset that is lost, with the memory for it, is not sent again. Servers that
 * must not wait for ever ask their peers
 */
static void keep_alive(struct app *app)
{
	int fd, yes = 1, seconds = 2, times = 3;

	for (fd = 0; fd < APP_FDS; fd++) {
		if (!app->conn[fd] || !app->conn[fd]->listener)
			continue;
		EQ(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes)), 0);
		EQ(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds)), 0);
		EQ(setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds)), 0);
		EQ(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times)), 0);
	}
}

/* Whatever fails in a sync, all bytes arrive, in both directions and in order */
static void echo_with_faults(uint32_t slots, const char *what)
{
	struct stackmap_register reg = sm_reg(IFNAME, slots);
	struct app *app;
	struct ask a;
	int port;

	fault_init();
	/* However slow it is, it is this thread that polls the NIC, and meets them */
	reg.stall_us = STACKMAP_STALL_MAX_US;
	app = app_new(&reg);
	port = app_listen(app, here->guest4);
	keep_alive(app);
	app->spin = true;
	ask(&a, what, here->guest4, port);
	fault_syncs(here == &place_lo ? FAULT_DEEPER : FAULT_EVERY);
	app_run(app, &a, 90);
	fault_syncs(FAULT_NOT);
	tap_note("an allocation failed in %d syncs, up to the %dth", fault_hits,
		 fault_depth);
	/* Few behind the stock driver: the kernel looks for the module only 32 calls up the stack */
	CHECK(fault_hits > 1);
	ask(&a, "echo %s %d 3 20000 999 3", here->guest4, port);
	app_run(app, &a, 15);
	app_end(app);
}

TEST_BOTH(fault_sync_small, 120)
{
	echo_with_faults(64, "echo %s %d 3 6000 99 5");
}

TEST_BOTH(fault_sync_large, 120)
{
	echo_with_faults(256, "echo %s %d 4 200000 20000 2");
}

TEST_BOTH(fault_sync_churn, 120)
{
	echo_with_faults(64, "short %s %d 12 3 1");
}

/* The softirq and the timer meet them, too: the owner sleeps in poll() */
static void echo_asleep(int percent, int what)
{
	struct app *app;
	struct ask a;
	int port;

	fault_init();
	app = app_new_slots(64);
	port = app_listen(app, here->guest4);
	ask(&a, "echo %s %d 3 20000 999 3", here->guest4, port);
	app_run(app, &a, 15);
	ask(&a, "echo %s %d 5 100000 3000 3", here->guest4, port);
	fault_some(percent, what);
	app_run(app, &a, 90);
	fault_none();
	ask(&a, "echo %s %d 3 20000 999 3", here->guest4, port);
	app_run(app, &a, 15);
	app_end(app);
	nic_is_ordinary();
}

TEST_NIC(fault_asleep_slabs, 150)
{
	echo_asleep(10, FAULT_SLABS);
}

TEST_NIC(fault_asleep_pages, 150)
{
	echo_asleep(30, FAULT_PAGES);
}

TEST_NIC(fault_asleep_both, 150)
{
	echo_asleep(10, FAULT_SLABS | FAULT_PAGES);
}

/* No buffer can be had for the receive ring, until there is memory again */
static void no_pages(bool owned)
{
	struct sm sm;

	fault_init();
	if (owned) {
		sm_new_small(&sm, 16);
		sm_quiet(&sm, 10);
	}
	/* Large ones: what is small is copied, and its buffer stays */
	fault_some(100, FAULT_PAGES);
	sh("ping -n -q -c 600 -s 1400 -i 0.002 -w 6 %s >/dev/null", here->peer4);
	if (owned)
		sm_try_sync(sm.fd, 0, 1000);
	fault_none();
	if (owned)
		sm_quiet(&sm, 10);
	nic_is_ordinary();
	CHECK(sh_pings(here->peer4));
	EQ(sh("ping -n -q -c 5 -s 1400 -i 0.05 -w 5 %s >/dev/null", here->peer4), 0);
	if (owned) {
		sm_settle(&sm);
		sm_close(&sm);
		nic_is_ordinary();
	}
}

TEST_NIC(fault_no_pages_at_all, 60)
{
	no_pages(false);
}

TEST_NIC(fault_no_pages_for_owner, 60)
{
	no_pages(true);
}

/* ------------------------------------------------- interface and driver */

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;
	ssize_t n;

	CHECKF(fd >= 0, "%s: %s", path, strerror(errno));
	n = write(fd, text, strlen(text));
	err = errno;
	close(fd);
	errno = err;
	return n < 0 ? -1 : 0;
}

/* The name of eth0's device and of its driver */
static void device_of_nic(char *device, char *driver, size_t size)
{
	char buf[256];
	ssize_t n;

	n = readlink("/sys/class/net/" IFNAME "/device", buf, sizeof(buf) - 1);
	CHECK(n > 0);
	buf[n] = 0;
	snprintf(device, size, "%s", strrchr(buf, '/') + 1);
	n = readlink("/sys/class/net/" IFNAME "/device/driver", buf, sizeof(buf) - 1);
	CHECK(n > 0);
	buf[n] = 0;
	snprintf(driver, size, "%s", strrchr(buf, '/') + 1);
}

static int set_up(const char *name, bool up)
{
	struct ifreq ifr = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret, err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	CHECK(!ioctl(s, SIOCGIFFLAGS, &ifr));
	ifr.ifr_flags = up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP;
	ret = ioctl(s, SIOCSIFFLAGS, &ifr);
	err = errno;
	close(s);
	errno = err;
	return ret;
}

/* The last byte of its address changed by @flip. 0, or the errno */
static int set_mac(const char *name, int flip)
{
	struct ifreq ifr = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret, err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	CHECK(!ioctl(s, SIOCGIFHWADDR, &ifr));
	ifr.ifr_hwaddr.sa_data[5] ^= flip;
	ret = ioctl(s, SIOCSIFHWADDR, &ifr);
	err = errno;
	close(s);
	return ret ? err : 0;
}

/* Up and down, with and without an owner. A receive ring that could not be filled is later */
static void ups(bool owned)
{
	char device[64], driver[64];
	bool hit = true;
	struct sm sm;
	int n, ret;

	fault_init();
	device_of_nic(device, driver, sizeof(device));
	if (strcmp(driver, OURS))
		tap_skip("not with the stock driver");
	if (owned)
		sm_new_small(&sm, 16);
	for (n = 1; hit && n < MOST; n++) {
		EQ(set_up(IFNAME, false), 0);
		fault_next(n);
		ret = set_up(IFNAME, true);
		hit = fault_over();
		if (ret)
			EQ(set_up(IFNAME, true), 0);
		/* The ring has some hundred buffers: the first ones and some of the rest */
		if (n > 20)
			n += 30;
		if (owned)
			sm_quiet(&sm, 2);
	}
	CHECK(!hit);
	sh_restore_nic();
	for (n = 1, hit = true; hit && n < MOST; n++) {
		fault_next(n);
		ret = set_mac(IFNAME, 1);
		hit = fault_over();
		CHECKF(!ret || (hit && ret == ENOMEM), "%s", strerror(ret));
		/* The one that the peer knows, and then the device has that, too: nic_is_ordinary() */
		if (!ret)
			EQ(set_mac(IFNAME, 1), 0);
	}
	tap_note("another address: %d allocations", n - 2);
	nic_is_ordinary();
	if (owned) {
		sm_settle(&sm);
		sm_close(&sm);
		nic_is_ordinary();
	}
}

TEST_NIC(fault_interface_up, 120)
{
	ups(false);
}

TEST_NIC(fault_interface_up_owned, 120)
{
	ups(true);
}

/* The device goes to this driver, or back to the one it had; it is never lost */
TEST_NIC(fault_bind, 400)
{
	char device[64], driver[64], unbind[160];
	bool hit = true;
	int n, ret, failed = 0;

	fault_init();
	device_of_nic(device, driver, sizeof(device));
	if (strncmp(device, "virtio", 6))
		tap_skip("not a virtio NIC");
	snprintf(unbind, sizeof(unbind), DRIVERS "/%s/unbind", driver);
	CHECK(!put(unbind, device));
	for (n = 1; hit && n < MOST; n++) {
		CHECK(!put(DRIVERS "/" OURS "/claim", device));
		fault_next(n);
		ret = put(DRIVERS "/" OURS "/bind", device);
		hit = fault_over();
		if (ret) {
			CHECK(hit);
			failed++;
			/* It is as it was: the next one can have it (a failed one left the queues enabled, and FAILED) */
			CHECK(!put(DRIVERS "/" OURS "/claim", device));
			CHECKF(!put(DRIVERS "/" OURS "/bind", device), "%d: %s", n, strerror(errno));
		}
		/* Some of what fails only makes it less: the interface is there */
		CHECKF(!access("/sys/class/net/" IFNAME, F_OK), "%d", n);
		fault_next(1 + n % 8);
		ret = put(DRIVERS "/" OURS "/unbind", device);
		fault_over();
		EQ(ret, 0);
		CHECK(access("/sys/class/net/" IFNAME, F_OK));
	}
	CHECK(!hit);
	tap_note("%d allocations, without %d of which it cannot be", n - 2, failed);
	CHECK(failed > 4);
	/* As before the test: with --virtio that is ours, which wants a claim each time */
	if (!strcmp(driver, OURS))
		CHECK(!put(DRIVERS "/" OURS "/claim", device));
	snprintf(unbind, sizeof(unbind), DRIVERS "/%s/bind", driver);
	EQ(put(unbind, device), 0);
	sh_restore_nic();
	CHECK(sh_pings(here->peer4));
	nic_is_ordinary();
}

/* Loading the module. Only where the stock driver has the NIC: else it would lose it */
TEST(fault_load, 300)
{
	char device[64], driver[64];
	bool hit = true;
	int fd, n, ret, err, failed = 0;

	fault_init();
	device_of_nic(device, driver, sizeof(device));
	if (!strcmp(driver, OURS))
		tap_skip("only with the stock driver");
	EQ(sh("rmmod stackmap"), 0);
	/* Where it will be is not known, but who calls it */
	fault_init_under("do_one_initcall");
	fd = open("/root/stackmap.ko", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	for (n = 1; hit && n < MOST; n++) {
		fault_next(n);
		ret = syscall(SYS_finit_module, fd, "", 0);
		err = errno;
		hit = fault_over();
		if (ret) {
			CHECKF(hit, "%s", strerror(err));
			failed++;
		} else if (hit) {
			EQ(syscall(SYS_delete_module, "stackmap", 0), 0);
		}
	}
	CHECK(!hit);
	tap_note("%d allocations, without %d of which it cannot be", n - 2, failed);
	EQ(sm_ports(), 0);
}
