// SPDX-License-Identifier: GPL-2.0
/*
 * t_pktgen.c - back-pressure of the module's own driver: the kernel's packet generator, and
 * queueing disciplines
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
#include "tap.h"

static void skip_unless_ours(void)
{
	if (sh("ethtool -i " IFNAME " | grep -q stackmap_virtio"))
		tap_skip("not with the stock driver");
}

/* Of all queues */
static long counter(const char *name)
{
	char out[64];

	EQ(sh_read(out, sizeof(out), "ethtool -S " IFNAME " | awk '/_%s:/ { n += $2 } END { print n }'", name), 0);
	return atol(out);
}

/* Send COUNT packets, each skb so many times, so many for a doorbell. Returns how many went */
static long generate(int count, int clones, int burst)
{
	char out[256];
	long sent = -1;

	/* What is not possible is refused by pktgen, for its own reasons: go on without */
	EQ(sh_read(out, sizeof(out),
		   "exec 2>/dev/null; modprobe -q pktgen; [ -d /proc/net/pktgen ] || { echo none; exit; }; cd /proc/net/pktgen"
		   "; echo rem_device_all >kpktgend_0; echo add_device " IFNAME " >kpktgend_0"
		   "; ping -n -q -c 1 -w 5 %s >/dev/null; mac=$(ip neigh show %s dev " IFNAME " | awk '{ print $3 }')"
		   "; for x in 'count %d' 'pkt_size 800' 'delay 0' 'dst %s' \"dst_mac $mac\" 'udp_dst_min 9' 'udp_dst_max 9'"
		   " 'clone_skb %d' 'burst %d'; do echo \"$x\" >" IFNAME "; done"
		   "; timeout 40 bash -c 'echo start >pgctrl'"
		   "; sed -n 's/.*pkts-sofar: \\([0-9]*\\) .*errors: \\([0-9]*\\).*/\\1 \\2/p' " IFNAME
		   "; echo rem_device_all >kpktgend_0",
		   here->peer4, here->peer4, count, here->peer4, clones, burst), 0);
	if (!strncmp(out, "none", 4))
		tap_skip("this kernel has no pktgen");
	CHECKF(sscanf(out, "%ld", &sent) == 1, "%s", out);
	return sent;
}

/* One skb sent many times at once: a panic, where it was put into lists */
TEST_NIC(pktgen_shared_skbs, 90)
{
	int i;

	skip_unless_ours();
	for (i = 0; i < 2; i++) {
		EQ(generate(few(3000), 100, 1), few(3000));
		EQ(generate(few(3000), 100, 16), few(3000));
	}
	nic_is_ordinary();
}

/* Who sends faster than the device is held up: the driver drops nothing, and has no list of its own */
TEST_NIC(pktgen_held_up, 90)
{
	long dropped, sent, stops;

	skip_unless_ours();
	dropped = counter("tx_dropped");
	sent = counter("tx_packets");
	stops = counter("tx_stops");
	EQ(generate(few(20000), 0, 1), few(20000));
	sent = counter("tx_packets") - sent;
	stops = counter("tx_stops") - stops;
	tap_note("%ld packets sent, the ring was full %ld times", sent, stops);
	EQ(counter("tx_dropped"), dropped);
	CHECK(sent >= few(20000) - 300);
	nic_is_ordinary();
}

/* While an owner has the queue: held up likewise, and the owner gets on */
TEST_NIC(pktgen_beside_owner, 90)
{
	struct app *app;
	struct ask a;
	long dropped;
	int port, pid, status;

	skip_unless_ours();
	/* The neighbour, the module */
	generate(1, 0, 1);
	dropped = counter("tx_dropped");
	app = app_new_slots(64);
	port = app_listen(app, here->guest4);
	app->spin = true;
	pid = sh_meanwhile("cd /proc/net/pktgen; echo add_device " IFNAME " >kpktgend_0; mac=$(ip neigh show %s dev " IFNAME
			   " | awk '{ print $3 }'); for x in 'count 5000' 'pkt_size 800' 'delay 0' 'dst %s' \"dst_mac $mac\""
			   "; do echo \"$x\" >" IFNAME "; done; echo start >pgctrl; echo rem_device_all >kpktgend_0",
			   here->peer4, here->peer4);
	ask(&a, "echo %s %d 3 %d 1000 4", here->guest4, port, few(300000));
	app_run(app, &a, 50);
	while (!waitpid(pid, &status, WNOHANG))
		app_run_ms(app, 50);
	EQ(status, 0);
	app_end(app);
	EQ(counter("tx_dropped"), dropped);
	nic_is_ordinary();
}

/* Packets that a queueing discipline dropped, of all that is on the interface */
static long qdisc_dropped(void)
{
	char out[64];

	EQ(sh_read(out, sizeof(out), "tc -s qdisc show dev " IFNAME
		   " | sed -n 's/.*(dropped \\([0-9]*\\),.*/\\1/p' | awk '{ n += $1 } END { print n + 0 }'"), 0);
	return atol(out);
}

static bool default_has_queue(void)
{
	return sh("tc qdisc show dev " IFNAME " | grep -q 'noqueue'") != 0;
}

/*
 * What the device cannot take waits where tc(8) sees and limits it: a queue of 10 packets
 * drops, of a sender who has more in its socket's buffer
 */
TEST_NIC(qdisc_holds_what_waits, 90)
{
	enum { SEGMENT = 1200, SEGMENTS = 40 };
	static char data[SEGMENTS * SEGMENT];
	int fd, i, buffer = 4 << 20, size = SEGMENT;
	struct sockaddr_storage to;
	long dropped, held_up;
	socklen_t len;

	skip_unless_ours();
	CHECK(default_has_queue());
	EQ(sh("ping -n -q -c 1 -w 5 %s >/dev/null; tc qdisc replace dev " IFNAME " root pfifo limit 10", here->peer4), 0);
	/* Byte queue limits that let one packet go at a time, or a quick device has taken all */
	EQ(sh("for q in /sys/class/net/" IFNAME "/queues/tx-*/byte_queue_limits; do [ ! -e $q ] || echo 1 >$q/limit_max; done"), 0);
	dropped = counter("tx_dropped");
	len = addr_of(&to, here->peer4, 9);
	fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	CHECK(fd >= 0);
	EQ(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)), 0);
	EQ(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	for (i = 0; i < 200; i++)
		if (sendto(fd, data, sizeof(data), 0, (void *)&to, len) < 0)
			CHECKF(errno == EAGAIN || errno == ENOBUFS || errno == ECONNREFUSED, "%s", strerror(errno));
	close(fd);
	held_up = qdisc_dropped();
	tap_note("%ld packets dropped by the queue", held_up);
	EQ(counter("tx_dropped"), dropped);
	EQ(sh("for q in /sys/class/net/" IFNAME "/queues/tx-*/byte_queue_limits; do [ ! -e $q ] || echo max >$q/limit_max; done"), 0);
	EQ(sh("tc qdisc del dev " IFNAME " root"), 0);
	CHECK(sh_pings(here->peer4));
	EQ(sh("ping -n -q -c 3 -i 0.2 -w 10 %s >/dev/null", here->peer4), 0);
	nic_is_ordinary();
	if (!held_up && few(100) < 100)
		tap_skip("on a slow kernel the device has sent each packet before the next one comes");
	CHECK(held_up > 0);
}
