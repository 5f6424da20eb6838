// SPDX-License-Identifier: GPL-2.0
/*
 * t_life.c - the owner dies, the module and the interface come and go
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
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
#include "life.h"
#include "mem.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

/* ping both ways, and a connection that nothing of ours touches */
void nic_is_ordinary(void)
{
	int l = try_listen(here->guest4, 0), fd;
	struct ask a;
	char b[64];
	ssize_t k;

	ask(&a, "ping %s 1 100", here->guest4);
	ask_wait(&a, 10);
	CHECKF(!strncmp(a.answer, "ok 0 ", 5), "%s", a.answer);
	CHECK(l >= 0);
	set_timeout(l, 5000);
	ask(&a, "short %s %d 1 3 1", here->guest4, port_of(l));
	fd = accept(l, NULL, NULL);
	CHECKF(fd >= 0, "%s", strerror(errno));
	set_timeout(fd, 5000);
	while ((k = recv(fd, b, sizeof(b), 0)) > 0)
		send_all(fd, b, k);
	close(fd);
	close(l);
	ask_wait(&a, 10);
}

static int serve_forever(int pipe_out, bool spin)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4);

	app->spin = spin;
	CHECK(write(pipe_out, &port, sizeof(port)) == sizeof(port));
	for (;;)
		app_round(app);
}

TEST_NIC(killed_50_times, 120)
{
	uint32_t seed = 50;
	int i, p[2], port;
	struct ask a;
	pid_t pid;

	for (i = 0; i < few(50); i++) {
		CHECK(!pipe(p));
		pid = fork();
		if (pid == 0)
			serve_forever(p[1], i % 2);
		CHECK(read(p[0], &port, sizeof(port)) == sizeof(port));
		close(p[0]);
		close(p[1]);
		ask(&a, "flood %s %d 200", here->guest4, port);
		usleep(30000 + rnd(&seed) % 100000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		EQ(sm_ports(), 0);
		nic_is_ordinary();
		ask_wait(&a, 10);
	}
}

/* Closing the port under connections that go on as ordinary ones */
TEST_NIC(port_closed_under_load, 60)
{
	struct app *app;
	struct ask a;
	int i, port;

	for (i = 0; i < 10; i++) {
		app = app_new_slots(64);
		port = app_listen(app, here->guest4);
		ask(&a, "flood %s %d 150", here->guest4, port);
		app_run_ms(app, 100);
		sm_close(&app->sm);
		EQ(sm_ports(), 0);
		ask_wait(&a, 10);
		for (int fd = 0; fd < APP_FDS; fd++)
			if (app->conn[fd])
				close(fd);
	}
	nic_is_ordinary();
}

static void set_down_and_up(struct app *app, int fd_port)
{
	struct ask a;
	int i;

	/* Where it is slow it is the commands that take long */
	for (i = 0; i < (slow() > 1 ? 2 : 5); i++) {
		EQ(sh("ip link set " IFNAME " down"), 0);
		/* Of a shell and ip on a busy host, too; what the kernel takes, t_claim.c measures */
		CHECKF(sh_seconds < 5 * slow(), "it took %.1f s", sh_seconds);
		if (app)
			app_run_ms(app, 50);
		EQ(sh("ip link set " IFNAME " up"), 0);
		sh_restore_nic();
		if (app)
			app_run_ms(app, 50);
	}
	if (app) {
		ask(&a, "echo %s %d 3 20000 999 3", here->guest4, fd_port);
		app_run(app, &a, 15);
	}
}

/* Down and up: what is sent from here may be lost, the port lives */
TEST_NIC(interface_down_and_up, 60)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, "0.0.0.0");

	app->spin = true;
	set_down_and_up(app, port);
	app_end(app);
	nic_is_ordinary();
}

static void owned_meanwhile(bool spin, int rounds, const char *command, const char *undo)
{
	int p[2], port, i, n;
	struct ask a;
	pid_t pid;

	CHECK(!pipe(p));
	pid = fork();
	if (pid == 0)
		serve_forever(p[1], spin);
	CHECK(read(p[0], &port, sizeof(port)) == sizeof(port));
	if (slow() > 1)
		rounds = 2;
	for (i = 0; i < rounds; i++) {
		n = sh("%s", command);
		if (n)
			break;
		CHECKF(sh_seconds < 5 * slow(), "'%s' took %.1f s", command, sh_seconds);
		usleep(30000);
		EQ(sh("%s", undo), 0);
		CHECKF(sh_seconds < 5 * slow(), "'%s' took %.1f s", undo, sh_seconds);
		if (strstr(command, "down"))
			sh_restore_nic();
	}
	ask(&a, "echo %s %d 3 20000 999 3", here->guest4, port);
	ask_wait(&a, 15);
	EQ(kill(pid, 0), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	nic_is_ordinary();
}

TEST_NIC(interface_down_while_syncing, 60)
{
	owned_meanwhile(true, 5, "ip link set " IFNAME " down", "ip link set " IFNAME " up");
}

TEST_NIC(interface_down_while_asleep, 60)
{
	owned_meanwhile(false, 5, "ip link set " IFNAME " down", "ip link set " IFNAME " up");
}

TEST_NIC(mtu_change, 60)
{
	owned_meanwhile(true, 3, "ip link set " IFNAME " mtu 1400", "ip link set " IFNAME " mtu 1500");
}

static int ethtool_do(void *arg)
{
	struct ifreq ifr = { .ifr_name = IFNAME, .ifr_data = arg };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	int ret = ioctl(s, SIOCETHTOOL, &ifr);

	close(s);
	return ret;
}

TEST_NIC(ethtool_channels_and_rings, 60)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	struct ethtool_ringparam rg = { .cmd = ETHTOOL_GRINGPARAM };
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4), done = 0, i;
	struct ask a;
	double t;

	app->spin = true;
	for (i = 0; i < 4; i++) {
		app_run_ms(app, 20);
		if (!ethtool_do(&ch)) {
			ch.cmd = ETHTOOL_SCHANNELS;
			if (ch.max_combined > 1)
				ch.combined_count = ch.combined_count == 1 ? ch.max_combined : 1;
			t = mono();
			done += !ethtool_do(&ch);
			CHECKF(mono() - t < 1.5 * slow(), "channels took %f s", mono() - t);
			ch.cmd = ETHTOOL_GCHANNELS;
		}
		app_run_ms(app, 20);
		if (!ethtool_do(&rg)) {
			rg.cmd = ETHTOOL_SRINGPARAM;
			rg.rx_pending = rg.rx_pending == rg.rx_max_pending ? rg.rx_max_pending / 2 :
									     rg.rx_max_pending;
			t = mono();
			done += !ethtool_do(&rg);
			CHECKF(mono() - t < 1.5 * slow(), "rings took %f s", mono() - t);
			rg.cmd = ETHTOOL_GRINGPARAM;
		}
	}
	tap_note("%d changes were made", done);
	/* Some NICs need seconds for their link */
	CHECK(sh_pings(here->peer4));
	ask(&a, "echo %s %d 3 20000 999 3", here->guest4, port);
	app_run(app, &a, 15);
	app_end(app);
	nic_is_ordinary();
}

static char carrier(void)
{
	int fd = open("/sys/class/net/" IFNAME "/carrier", O_RDONLY | O_CLOEXEC);
	char c = '?';

	if (fd >= 0 && read(fd, &c, 1) != 1)
		c = '?';
	close(fd);
	return c;
}

static bool carrier_becomes(char what, int ms)
{
	double end = mono() + slow() * ms / 1e3;

	while (carrier() != what) {
		if (mono() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/* The device says that its link is down, and up again */
TEST_NIC(carrier_follows_link, 60)
{
	struct ask a;
	bool went;

	CHECK(carrier_becomes('1', 2000));
	ask(&a, "link %s 2000 1", here->guest4);
	went = carrier_becomes('0', 6000);
	CHECK(!went || carrier_becomes('1', 8000));
	ask_wait(&a, 20);
	if (strstr(a.answer, "no monitor"))
		tap_skip("no monitor");
	CHECK(went);
	nic_is_ordinary();
}

/* Promiscuous, multicast, offloads: each locks or resets something in the driver */
TEST_NIC(reconfigured, 60)
{
	owned_meanwhile(true, 3, "ip link set " IFNAME " promisc on allmulticast on",
			  "ip link set " IFNAME " promisc off allmulticast off");
}

void port_is_gone(struct sm *sm)
{
	struct stackmap_register reg = sm_reg("lo", 16);
	struct pollfd p = { .fd = sm->fd, .events = POLLIN };

	EQ(poll(&p, 1, 2000), 1);
	CHECKF((p.revents & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP), "0x%x", p.revents);
	FAILS(sm_try_sync(sm->fd, 0, 0), ENODEV);
	FAILS(sm_try_sync(sm->fd, STACKMAP_SYNC_SLEEP, 100000), ENODEV);
	FAILS(ioctl(sm->fd, STACKMAP_IOC_REGISTER, &reg), EBUSY);
}

TEST_NIC(interface_leaves_namespace, 60)
{
	int l = try_listen("0.0.0.0", 0), l2 = try_listen("0.0.0.0", 0);
	struct sm sm;

	sm_new_small(&sm, 16);
	sm_attach(&sm, l, 0);
	sm_quiet(&sm, 10);
	EQ(sh("ip netns add smns && ip link set " IFNAME " netns smns"), 0);
	CHECKF(sh_seconds < 5 * slow(), "it took %.1f s", sh_seconds);
	port_is_gone(&sm);
	FAILS(sm_try_attach(sm.fd, l2, 0, NULL), ENODEV);
	/* What is attached can still be detached, and read */
	EQ(sm_try_detach(sm.fd, l), 0);
	EQ(sh("ip -n smns link set " IFNAME " netns 1"), 0);
	CHECKF(sh_seconds < 5 * slow(), "it took %.1f s", sh_seconds);
	sh_restore_nic();
	port_is_gone(&sm);
	/* Another port may own it, while the dead one is still there */
	{
		struct sm two;

		sm_new_small(&two, 16);
		sm_quiet(&two, 10);
		sm_close(&two);
	}
	sm_close(&sm);
	nic_is_ordinary();
}

TEST_NIC(module_unload, 60)
{
	struct sm sm;

	CHECK(sh("rmmod stackmap 2>/dev/null; insmod /root/stackmap.ko") == 0);
	sm_new_small(&sm, 16);
	CHECK(sh("rmmod stackmap 2>/dev/null") != 0);
	close(sm.fd);
	/* The mapping alone holds it, too */
	CHECK(sh("rmmod stackmap 2>/dev/null") != 0);
	munmap(sm.map, sm.reg.map_size);
	EQ(sh("rmmod stackmap"), 0);
	EQ(sh("insmod /root/stackmap.ko"), 0);
}

/* An attached socket that outlives its port does not hold the module */
TEST_NIC(module_unload_after_sockets, 60)
{
	int l = try_listen("127.0.0.1", 0);
	struct sm sm;

	sm_new_small(&sm, 16);
	sm_attach(&sm, l, 0);
	sm_close(&sm);
	EQ(sh("rmmod stackmap"), 0);
	EQ(sh("insmod /root/stackmap.ko"), 0);
}

/* kB that nobody uses */
static long mem_free(void)
{
	return mem_info("MemFree") + mem_percpu_free();
}

/* Memory comes back: ports made and closed again and again */
TEST(no_memory_lost, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 1024);
	double end = mono() + 5 * slow();
	long free[2];
	struct sm sm;
	int i, k;

	for (k = 0; k < 2; k++) {
		for (i = 0; i < few(10); i++) {
			sm_new(&sm, &reg);
			memset(sm_buf(&sm, 0), 1, 4096 * sm.reg.frames);
			sm_quiet(&sm, 5);
			sm_close(&sm);
		}
		usleep(200000);
		free[k] = mem_free();
	}
	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		return;
	/*
	 * 10 ports of 16 MB each, leaked, would be seen, and one of them. (What RCU and work items free
	 * takes a moment)
	 */
	while (free[0] - free[1] >= 8192 && mono() < end) {
		usleep(100000);
		free[1] = mem_free();
	}
	CHECKF(free[0] - free[1] < 8192, "%ld kB less", free[0] - free[1]);
}
