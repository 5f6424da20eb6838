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
	       strstr(out, "queue0_tx_stops"), "%s", out);
	EQ(sh_read(out, sizeof(out), "ethtool -l " IFNAME), 0);
	CHECKF(strstr(out, "Combined:"), "%s", out);
	EQ(sh_read(out, sizeof(out), "ethtool -g " IFNAME), 0);
	CHECKF(strstr(out, "RX:"), "%s", out);
	EQ(sh("ethtool -k " IFNAME " >/dev/null; ethtool -T " IFNAME " >/dev/null; ip -s link show " IFNAME " >/dev/null"), 0);
	EQ(sh_read(out, sizeof(out), "cat " OURS "/claim"), 0);
	/* It has what was claimed, and wants no more */
	CHECKF(!strcmp(out, "none\n"), "%s", out);
	CHECK(sh("echo virtio999 >" OURS "/claim 2>/dev/null") != 0);
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

/*
 * A device that is offered without having been claimed: not taken, and not left FAILED for the
 * next driver, which does not reset it. CLAIMED: the device that is claimed at the time
 */
static void offer(const char *claimed)
{
	char out[256];

	EQ(sh_read(out, sizeof(out),
		   "exec 2>/dev/null; d=$(basename $(readlink /sys/class/net/" IFNAME "/device)); cd /sys/bus/virtio"
		   "; driver=$(basename $(readlink devices/$d/driver)); echo $d >drivers/$driver/unbind"
		   "; c=%s; echo ${c:-none} >" OURS "/claim; echo $d >" OURS "/bind && echo taken"
		   "; echo $(($(<devices/$d/status))); [ $driver != stackmap_virtio ] || echo $d >" OURS "/claim"
		   "; echo $d >drivers/$driver/bind; echo $(($(<devices/$d/status))); echo none >" OURS "/claim"
		   "; for i in {1..100}; do [ -e /sys/class/net/" IFNAME " ] && break; sleep 0.05; done", claimed), 0);
	sh_restore_nic();
	/* Acknowledged; then with a driver that is ready for it, and agrees on the features */
	CHECKF(!strcmp(out, "1\n15\n"), "%s", out);
	CHECK(sh_pings(here->peer4));
	nic_is_ordinary();
}

TEST_NIC(driver_unclaimed, 60)
{
	if (sh("readlink /sys/class/net/" IFNAME "/device/driver | grep -q virtio"))
		tap_skip("not a virtio NIC");
	offer("");
}

/* Another device (here not a NIC) is claimed */
TEST_NIC(driver_other_claimed, 60)
{
	if (sh("readlink /sys/class/net/" IFNAME "/device/driver | grep -q virtio"))
		tap_skip("not a virtio NIC");
	if (sh("ls /sys/bus/virtio/drivers/virtio_console/ 2>/dev/null | grep -q ^virtio"))
		tap_skip("no other virtio device");
	offer("$(basename $(ls -d drivers/virtio_console/virtio*))");
}

/* The module is loaded while a device has no driver: it does not spoil it for others */
TEST_NIC(driver_loaded_unbound, 60)
{
	char out[256];

	if (sh("ethtool -i " IFNAME " | grep -qx 'driver: virtio_net'"))
		tap_skip("only with the stock driver");
	EQ(sh_read(out, sizeof(out),
		   "d=$(basename $(readlink /sys/class/net/" IFNAME "/device)); cd /sys/bus/virtio; rmmod stackmap"
		   "; echo $d >drivers/virtio_net/unbind; insmod /root/stackmap.ko; echo $(($(<devices/$d/status)))"
		   "; echo $d >drivers/virtio_net/bind; echo $(($(<devices/$d/status)))"
		   "; for i in {1..100}; do [ -e /sys/class/net/" IFNAME " ] && break; sleep 0.05; done"), 0);
	sh_restore_nic();
	CHECKF(!strcmp(out, "1\n15\n"), "%s", out);
	nic_is_ordinary();
}

/* The MTU that the device tells (host_mtu) is the interface's, and it is no larger */
TEST_NIC(driver_mtu, 30)
{
	char out[64];
	int mtu, max;

	skip_unless_ours();
	EQ(sh_read(out, sizeof(out), "cat /sys/class/net/" IFNAME "/mtu; ip -d link show " IFNAME
		   " | sed -n 's/.* maxmtu \\([0-9]*\\).*/\\1/p'; cut -c 4 /sys/class/net/" IFNAME "/device/features"), 0);
	CHECKF(sscanf(out, "%d %d", &mtu, &max) == 2, "%s", out);
	tap_note("mtu %d of %d", mtu, max);
	if (!getenv("SM_HOST_MTU") || !*getenv("SM_HOST_MTU"))
		tap_skip("this device tells none");
	EQ(mtu, atoi(getenv("SM_HOST_MTU")));
	EQ(max, mtu);
	EQ(sh("ip link set " IFNAME " mtu %d && ip link set " IFNAME " mtu %d", mtu - 100, mtu), 0);
	CHECK(sh("ip link set " IFNAME " mtu %d 2>/dev/null", mtu + 1) != 0);
	nic_is_ordinary();
}

static int incoming_napi_id;

static void echo_and_look(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	socklen_t len = sizeof(incoming_napi_id);

	app_echo(c, s, p);
	if (s->flags & STACKMAP_RX_DATA)
		EQ(getsockopt(c->fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, &incoming_napi_id, &len), 0);
}

/* Who steers or polls by it finds the NIC's NAPI instance, on either driver */
TEST_NIC(napi_id_of_connections, 30)
{
	struct app *app = app_new_slots(64);
	struct ask a;
	int port;

	app->on_slot = echo_and_look;
	port = app_listen(app, here->guest4);
	ask(&a, "echo %s %d 3 10000 1000 2", here->guest4, port);
	app_run(app, &a, 20);
	app_end(app);
	tap_note("NAPI instance %d", incoming_napi_id);
	CHECK(incoming_napi_id > 0);
}

/* In a child: an ordinary echo server whose sockets poll the NIC for themselves */
static int busy_poller(int conns, int *port)
{
	int l = try_listen(here->guest4, 0), us = 500, one = 1, fd, i, pid;
	char b[4096];
	ssize_t k;

	CHECK(l >= 0);
	*port = port_of(l);
	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return pid;
	set_timeout(l, 20000);
	for (i = 0; i < conns; i++) {
		fd = accept(l, NULL, NULL);
		CHECK(fd >= 0);
		set_timeout(fd, 20000);
		EQ(setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us)), 0);
		EQ(setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &one, sizeof(one)), 0);
		while ((k = recv(fd, b, sizeof(b), 0)) > 0)
			send_all(fd, b, k);
		close(fd);
	}
	_exit(0);
}

/* Somebody else's busy polling on an owned queue: both get all they are sent */
TEST_NIC(busy_poll_beside_owner, 90)
{
	struct ask a, b;
	int port, other, pid, status, i;
	struct app *app;

	pid = busy_poller(20, &other);
	app = app_new_slots(64);
	port = app_listen(app, here->guest4);
	for (i = 0; i < 2; i++) {
		app->spin = i;
		ask(&b, "short %s %d %d 3 1", here->guest4, other, 10);
		ask(&a, "echo %s %d 3 %d 1000 4", here->guest4, port, few(200000));
		app_run(app, &a, 40);
		app_run(app, &b, 40);
	}
	app_end(app);
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
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

/* A UDP socket that has room for some thousand datagrams; its port in @port */
static int udp_bound(int *port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_of(&ss, here->guest4, 0);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0), buffer = 8 << 20;

	CHECK(fd >= 0);
	EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)), 0);
	EQ(bind(fd, (void *)&ss, len), 0);
	EQ(getsockname(fd, (void *)&ss, &len), 0);
	*port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
	return fd;
}

/*
 * The driver uses the memory of small packets, which are all in the head of an skb, again. What waits in a socket
 * is still in it when many times as many packets have come after it
 */
TEST_NIC(driver_heads_in_use, 60)
{
	int keep, other, keep_port, other_port, i, j, data[25], n = 0, last = -1;
	struct ask a;

	keep = udp_bound(&keep_port);
	other = udp_bound(&other_port);
	ask(&a, "datagrams %s %d 700", here->guest4, keep_port);
	ask_wait(&a, 20);
	ask(&a, "datagrams %s %d 3000", here->guest4, other_port);
	ask_wait(&a, 30);
	close(other);
	for (i = 0; i < 700; i++) {
		if (recv(keep, data, sizeof(data), MSG_DONTWAIT) != sizeof(data))
			break;
		for (j = 1; j < 25; j++)
			EQ(data[j], data[0]);
		CHECKF(data[0] > last && data[0] < 700, "%d after %d", data[0], last);
		last = data[0];
		n++;
	}
	close(keep);
	/* More than the driver has at a time, though a few may get lost */
	CHECKF(n > 350, "%d of 700 datagrams", n);
	nic_is_ordinary();
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
	long stops, dropped;
	int i, pid;

	skip_unless_ours();
	stops = counter("tx_stops");
	dropped = counter("tx_dropped");
	for (i = 0; i < 5; i++) {
		/* So that the peer's address is known */
		CHECK(sh_pings(here->peer4));
		pid = flood(few(100));
		usleep(20000);
		EQ(sh("ip link set " IFNAME " down"), 0);
		flood_end(pid);
		sh_restore_nic();
	}
	tap_note("the ring was full %ld times", counter("tx_stops") - stops);
	/* The queueing discipline has dropped them, not the driver */
	EQ(counter("tx_dropped"), dropped);
	CHECK(sh_pings(here->peer4));
	EQ(sh("ping -n -q -c 3 -i 0.2 -w 10 %s >/dev/null", here->peer4), 0);
	nic_is_ordinary();
}

/* What the transmit ring has no room for waits, keeps its order, and is sent */
TEST_NIC(driver_ring_full, 90)
{
	long stops, dropped;
	const char *waits;
	struct app *app;
	struct ask a;
	int port, pid;

	skip_unless_ours();
	stops = counter("tx_stops");
	dropped = counter("tx_dropped");
	/* (Byte queue limits would stop it before the ring does.) */
	EQ(sh("for q in /sys/class/net/" IFNAME "/queues/tx-*/byte_queue_limits; do [ ! -e $q ] || echo max >$q/limit_min; done"), 0);
	app = app_new_slots(256);
	port = app_listen(app, here->guest4);
	pid = flood(few(100));
	ask(&a, "echo %s %d 7 500000 20000 4", here->guest4, port);
	app_run(app, &a, 40);
	flood_end(pid);
	ask(&a, "echo %s %d 8 50000 2000 4", here->guest4, port);
	app_run(app, &a, 20);
	app_end(app);
	EQ(sh("for q in /sys/class/net/" IFNAME "/queues/tx-*/byte_queue_limits; do [ ! -e $q ] || echo 0 >$q/limit_min; done"), 0);
	tap_note("the ring was full %ld times", counter("tx_stops") - stops);
	/* For certain only if the device waits before it sends (tests/guest/run) */
	waits = getenv("SM_TX_WAITS");
	CHECK(counter("tx_stops") > stops || !waits || !*waits);
	EQ(counter("tx_dropped"), dropped);
	/* (Whose round trips are short.) */
	if (!waits || !*waits)
		nic_is_ordinary();
}

/* Of each processor. Reads without a child: who waits for one is asleep, and the NIC is not polled then */
static long tx_interrupts(void)
{
	static char line[4096];
	char path[64], link[256], name[64];
	char *p, *end;
	FILE *f;
	long n = 0;
	ssize_t k;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", IFNAME);
	k = readlink(path, link, sizeof(link) - 1);
	CHECK(k > 0);
	link[k] = 0;
	snprintf(name, sizeof(name), "%.40s-output.0", strrchr(link, '/') + 1);
	f = fopen("/proc/interrupts", "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, name);
		if (!p || !(p = strchr(line, ':')))
			continue;
		for (p++;; p = end) {
			long one = strtol(p, &end, 10);

			if (end == p)
				break;
			n += one;
		}
	}
	fclose(f);
	return n;
}

static long tx_packets(void)
{
	FILE *f = fopen("/sys/class/net/" IFNAME "/statistics/tx_packets", "r");
	long n;

	CHECK(f);
	EQ(fscanf(f, "%ld", &n), 1);
	fclose(f);
	return n;
}

static long times_released(struct sm *sm)
{
	struct stackmap_detail d = sm_detail(sm);
	long n = 0;
	size_t i;

	for (i = 0; i < sizeof(d.released) / sizeof(d.released[0]); i++)
		n += d.released[i];
	return n;
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
TEST_NIC(driver_no_tx_interrupts, 120)
{
	struct stackmap_register reg = sm_reg(IFNAME, 64);
	long sent, interrupts, released;
	struct app *app;
	struct ask a;
	int port, tries = 10;

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
	/* On a busy host the owner may lose the NIC in between: what is counted is a time when it had it throughout */
	do {
		ask(&a, "echo %s %d 3 %d 32 4", here->guest4, port, few(200000));
		/* What was sent before the first sync has its interrupt yet */
		app_run_ms(app, 20);
		released = times_released(&app->sm);
		interrupts = tx_interrupts();
		sent = tx_packets();
		app_run(app, &a, 40);
		sent = tx_packets() - sent;
		interrupts = tx_interrupts() - interrupts;
		released = times_released(&app->sm) - released;
		tap_note("%ld interrupts for %ld packets sent, the NIC lost %ld times", interrupts, sent, released);
	} while ((released || sent <= few(200)) && --tries);
	EQ(released, 0);
	/* How many depends on how busy the host is: what waits becomes one packet */
	CHECK(sent > few(200));
	/* (The device's counter of what it has sent comes round to where the interrupt was left.) */
	CHECK(interrupts <= 1);
	app_end(app);
	close(outside);
}
