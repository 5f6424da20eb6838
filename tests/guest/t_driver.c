// SPDX-License-Identifier: GPL-2.0
/*
 * t_driver.c - what an interface on the module's own driver tells and takes
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"
#include "life.h"
#include "net.h"
#include "peer.h"
#include "sh.h"
#include "sm.h"
#include "tap.h"

#define OURS "/sys/bus/virtio/drivers/stackmap_virtio"

static void skip_unless_ours(void)
{
	if (sh("ethtool -i " IFNAME " | grep -q stackmap_virtio"))
		tap_skip("not with the stock driver");
}

TEST_NIC(driver_ethtool, 30)
{
	char out[2048];

	skip_unless_ours();
	EQ(sh_read(out, sizeof(out), "ethtool -S " IFNAME), 0);
	CHECKF(strstr(out, "queue0_rx_packets") && strstr(out, "queue0_tx_kicks") &&
	       strstr(out, "queue0_tx_deferred"), "%s", out);
	EQ(sh_read(out, sizeof(out), "ethtool -l " IFNAME), 0);
	CHECKF(strstr(out, "Combined:"), "%s", out);
	EQ(sh_read(out, sizeof(out), "ethtool -g " IFNAME), 0);
	CHECKF(strstr(out, "RX:"), "%s", out);
	EQ(sh("ethtool -k " IFNAME " >/dev/null; ethtool -T " IFNAME " >/dev/null; ip -s link show " IFNAME " >/dev/null"), 0);
	EQ(sh_read(out, sizeof(out), "cat " OURS "/claim"), 0);
	CHECKF(!strncmp(out, "virtio", 6), "%s", out);
}

/* Another address, and at once the one that the peer knows. And one that is none */
TEST_NIC(driver_address, 30)
{
	skip_unless_ours();
	EQ(sh("a=$(cat /sys/class/net/" IFNAME "/address); ip link set " IFNAME " address 02:00:00:00:00:77"
	      " && ip link set " IFNAME " address $a"), 0);
	CHECK(sh("ip link set " IFNAME " address 01:00:00:00:00:01 2>/dev/null") != 0);
	nic_is_ordinary();
}

/* A device that nobody has claimed is not taken */
TEST_NIC(driver_unclaimed, 30)
{
	CHECK(sh("d=$(basename $(readlink /sys/class/net/" IFNAME "/device)); c=$(cat " OURS "/claim)"
		 "; echo none >" OURS "/claim; echo $d >" OURS "/bind; s=$?; echo $c >" OURS "/claim; exit $s") != 0);
	nic_is_ordinary();
}

/* Without checksums and segmentation by the device, what leaves is copied or split */
TEST_NIC(driver_no_offloads, 60)
{
	struct ask a;
	int i;

	skip_unless_ours();
	for (i = 0; i < 2; i++) {
		EQ(sh("ethtool -K " IFNAME " tso %s tx %s sg %s >/dev/null", i ? "on" : "off", i ? "on" : "off",
		      i ? "on" : "off"), 0);
		nic_is_ordinary();
	}
	ask(&a, "ping %s 3 100", here->guest4);
	ask_wait(&a, 10);
}

/* Of all queues */
static long counter(const char *name)
{
	char out[64];

	EQ(sh_read(out, sizeof(out), "ethtool -S " IFNAME " | awk '/_%s:/ { n += $2 } END { print n }'", name), 0);
	return atol(out);
}

/*
 * Datagrams that the stack cuts into so many packets that they are more than the ring has room for. In a child, which
 * does not mind that the interface goes down
 */
static int flood(int rounds)
{
	enum { SOCKETS = 24, SEGMENT = 1400, SEGMENTS = 44 };
	static char data[SEGMENT * SEGMENTS];
	int fd[SOCKETS], i, size = SEGMENT, buffer = 1 << 20;
	struct sockaddr_storage to;
	socklen_t len;
	int pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	len = addr_of(&to, here->peer4, 9);
	for (i = 0; i < SOCKETS; i++) {
		fd[i] = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		CHECK(fd[i] >= 0);
		EQ(setsockopt(fd[i], SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
		EQ(setsockopt(fd[i], SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)), 0);
	}
	while (rounds--) {
		for (i = 0; i < SOCKETS; i++)
			if (sendto(fd[i], data, sizeof(data), 0, (void *)&to, len) < 0)
				CHECKF(errno == EAGAIN || errno == ENOBUFS || errno == ENETUNREACH ||
				       errno == ENETDOWN || errno == EHOSTUNREACH, "%s", strerror(errno));
		usleep(5000);
	}
	_exit(0);
}

static void flood_end(int pid)
{
	int status;

	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
}

/* An interface that goes down sends nothing of what waits, and does not keep it either */
TEST_NIC(driver_down_with_backlog, 90)
{
	long deferred, dropped;
	int i, pid;

	skip_unless_ours();
	deferred = counter("tx_deferred");
	dropped = counter("tx_dropped");
	for (i = 0; i < 5; i++) {
		/* So that the peer's address is known */
		EQ(sh("ping -n -q -c 1 -w 10 %s >/dev/null", here->peer4), 0);
		pid = flood(few(100));
		usleep(20000);
		EQ(sh("ip link set " IFNAME " down"), 0);
		flood_end(pid);
		sh_restore_nic();
	}
	deferred = counter("tx_deferred") - deferred;
	dropped = counter("tx_dropped") - dropped;
	tap_note("%ld packets waited, %ld dropped", deferred, dropped);
	CHECK(dropped <= deferred);
	EQ(sh("ping -n -q -c 3 -i 0.2 -w 10 %s >/dev/null", here->peer4), 0);
	nic_is_ordinary();
}

/* What the transmit ring has no room for waits, keeps its order, and is sent */
TEST_NIC(driver_ring_full, 90)
{
	long deferred, dropped;
	const char *waits;
	struct app *app;
	struct ask a;
	int port, pid;

	skip_unless_ours();
	deferred = counter("tx_deferred");
	dropped = counter("tx_dropped");
	app = app_new_slots(256);
	port = app_listen(app, here->guest4);
	pid = flood(few(100));
	ask(&a, "echo %s %d 7 500000 20000 4", here->guest4, port);
	app_run(app, &a, 40);
	flood_end(pid);
	ask(&a, "echo %s %d 8 50000 2000 4", here->guest4, port);
	app_run(app, &a, 20);
	app_end(app);
	tap_note("%ld packets waited", counter("tx_deferred") - deferred);
	/* For certain only if the device waits before it sends (tests/guest/run) */
	waits = getenv("SM_TX_WAITS");
	CHECK(counter("tx_deferred") > deferred || !waits || !*waits);
	EQ(counter("tx_dropped"), dropped);
	/* (Whose round trips are short.) */
	if (!waits || !*waits)
		nic_is_ordinary();
}

static long tx_interrupts(void)
{
	char out[64];

	EQ(sh_read(out, sizeof(out), "d=$(basename $(readlink /sys/class/net/" IFNAME "/device))"
		   "; awk -v q=\"$d-output\\\\.0\" '$0 ~ q { for (i = 2; i <= NF; i++) n += $i } END { print n + 0 }' /proc/interrupts"), 0);
	return atol(out);
}

static int outside;

/* Something that is sent outside a sync, as what close() and timers send is */
static void echo_and_datagram(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	struct sockaddr_storage to;
	socklen_t len = addr_of(&to, here->peer4, 9);

	app_echo(c, s, p);
	if (!(c->in & 15))
		CHECKF(sendto(outside, "x", 1, 0, (void *)&to, len) == 1 || errno == ECONNREFUSED,
		       "%s", strerror(errno));
}

/* While an owner polls, nothing that is sent makes an interrupt */
TEST_NIC(driver_no_tx_interrupts, 60)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	long sent, interrupts;
	struct app *app;
	struct ask a;
	int port;

	skip_unless_ours();
	if (few(100) < 100)
		tap_skip("on a slow kernel the owner is late, and few packets are sent");
	/* An owner who is late has them, for a while */
	reg.stall_us = 1000000;
	outside = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(outside >= 0);
	app = app_new(&reg);
	app->spin = true;
	app->on_slot = echo_and_datagram;
	port = app_listen(app, here->guest4);
	/* What was sent before the first sync has its interrupt yet */
	app_run_ms(app, 50);
	sent = counter("tx_packets");
	interrupts = tx_interrupts();
	ask(&a, "echo %s %d 3 %d 32 4", here->guest4, port, few(200000));
	app_run(app, &a, 40);
	interrupts = tx_interrupts() - interrupts;
	sent = counter("tx_packets") - sent;
	tap_note("%ld interrupts for %ld packets sent", interrupts, sent);
	CHECK(sent > few(500));
	/* While the counters are read, and the peer is told what to do, nobody polls */
	CHECK(interrupts <= 30 + sent / 20);
	app_end(app);
	close(outside);
}
