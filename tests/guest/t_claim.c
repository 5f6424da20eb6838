// SPDX-License-Identifier: GPL-2.0
/*
 * t_claim.c - who reconfigures a NIC while its owner syncs: nothing breaks, nobody waits
 *
 * The owner here has the longest stall bound there is, so that it is not the stall that
 * ends a claim. Which NIC it is decides what can be seen: e1000e frees its rings under
 * whoever polls without an interrupt, others do not.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"
#include "net.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

/*
 * What a command may take with an owner: as long as next to a process that keeps the
 * processor busy, two ticks, and an emulator's noise, which is most of it. Without the
 * rule of nic_napi.c it was as long as the owner lived.
 */
static double bound(double base)
{
	return 2 * base + 0.3 * slow();
}

/* An owner that syncs for @on ms and sleeps for @off, until it is killed. It has its port on return */
static pid_t owner_start(int on, int off)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	struct sm sm;
	double end;
	pid_t pid;
	int p[2];
	char c;

	CHECK(!pipe(p));
	pid = fork();
	if (pid) {
		close(p[1]);
		EQ(read(p[0], &c, 1), 1);
		close(p[0]);
		return pid;
	}
	reg.stall_us = STACKMAP_STALL_MAX_US;
	sm_new(&sm, &reg);
	EQ(write(p[1], "", 1), 1);
	for (;;) {
		end = mono() + on / 1e3;
		do {
			sm_sync(&sm, 0);
			while (sm_peek(&sm))
				sm_next(&sm);
		} while (mono() < end);
		usleep(off * 1000);
	}
}

/* Not an owner, but as busy */
static pid_t busy_start(void)
{
	pid_t pid = fork();

	while (pid == 0)
		getppid();
	return pid;
}

static void owner_end(pid_t pid)
{
	EQ(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int ethtool_do(void *arg)
{
	struct ifreq ifr = { .ifr_name = IFNAME, .ifr_data = arg };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	int ret = ioctl(s, SIOCETHTOOL, &ifr);

	close(s);
	return ret;
}

/* The worst of so many changes of the rings' sizes, or -1 if the NIC has none */
static double change_rings(int n)
{
	struct ethtool_ringparam rg = { .cmd = ETHTOOL_GRINGPARAM };
	double t, worst = 0;
	unsigned int first;

	if (ethtool_do(&rg) || rg.rx_pending < 128)
		return -1;
	first = rg.rx_pending;
	while (n--) {
		rg.cmd = ETHTOOL_SRINGPARAM;
		rg.rx_pending = rg.rx_pending == first ? first / 2 : first;
		t = mono();
		if (ethtool_do(&rg))
			return -1;
		t = mono() - t;
		worst = t > worst ? t : worst;
	}
	return worst;
}

/* The owner is asleep when the rings go, and wakes up before they are there again */
TEST_NIC(claim_rings_change, 120)
{
	double base = change_rings(2), worst;
	pid_t pid;

	if (base < 0)
		tap_skip("the driver does not change its rings");
	pid = owner_start(30, 10);
	worst = change_rings(few(40) + 1);
	owner_end(pid);
	tap_note("a change took %.0f ms, and with an owner %.0f ms at most", base * 1e3, worst * 1e3);
	CHECKF(worst < bound(base), "%f s", worst);
	CHECK(sh_pings(here->peer4));
	nic_is_ordinary();
}

static void set_mtu(int mtu)
{
	struct ifreq ifr = { .ifr_name = IFNAME, .ifr_mtu = mtu };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	CHECKF(!ioctl(s, SIOCSIFMTU, &ifr), "mtu %d: %s", mtu, strerror(errno));
	close(s);
}

static void set_up(int up)
{
	struct ifreq ifr = { .ifr_name = IFNAME };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(!ioctl(s, SIOCGIFFLAGS, &ifr));
	ifr.ifr_flags = up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP;
	CHECKF(!ioctl(s, SIOCSIFFLAGS, &ifr), "up %d: %s", up, strerror(errno));
	close(s);
}

/* How long set(to) takes, the least of so many times, as noise only adds. Then undone */
static double least(void (*set)(int), int to, int back, int rounds)
{
	double t, best = 1e9;

	while (rounds--) {
		usleep(50000);
		t = mono();
		set(to);
		t = mono() - t;
		best = t < best ? t : best;
		usleep(20000);
		set(back);
		/* An owner has the NIC again once it has a link */
		sh("ping -n -q -c 1 -w 10 %s >/dev/null", here->peer4);
	}
	return best;
}

/* What it takes with an owner that never lets go by itself */
static void soon(void (*set)(int), int to, int back)
{
	pid_t pid = busy_start();
	double base = least(set, to, back, 1), worst;

	owner_end(pid);
	pid = owner_start(1000000, 0);
	worst = least(set, to, back, few(3));
	owner_end(pid);
	tap_note("it takes %.0f ms, and with an owner %.0f ms", base * 1e3, worst * 1e3);
	CHECKF(worst < bound(base), "%f s", worst);
	/* IPv6 addresses go when an interface does */
	sh_restore_nic();
	nic_is_ordinary();
}

TEST_NIC(claim_mtu_is_soon, 120)
{
	soon(set_mtu, 1400, 1500);
}

/* Who stops the instance's thread waits for it, in newer kernels, and holds the device's lock only */
static void set_threaded(int on)
{
	FILE *f = fopen("/sys/class/net/" IFNAME "/threaded", "w");

	CHECK(f);
	CHECKF(fprintf(f, "%d\n", on) > 0 && !fclose(f), "threaded %d: %s", on, strerror(errno));
}

TEST_NIC(claim_thread_stops_soon, 60)
{
	set_threaded(1);
	soon(set_threaded, 0, 1);
	set_threaded(0);
}

TEST_NIC(claim_down_is_soon, 120)
{
	soon(set_up, 0, 1);
}
