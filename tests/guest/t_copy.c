// SPDX-License-Identifier: GPL-2.0
/*
 * t_copy.c - on the module's own driver: what is handed over, what has to be copied
 *
 * The cases that stackmap(7) names, each with exact content (the peer compares
 * what is echoed) and with what the port's counters say about it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "pair.h"
#include "sh.h"
#include "tap.h"

/* Shorter payload than this is copied */
#define COPY_BELOW 128
/* For so long the test of kept buffers keeps them, unless the environment says otherwise */
#define KEEP_SECONDS 4
/* Connections that share a few slots */
#define CONNS 20

struct counted {
	uint64_t rx_handed, rx_copied, tx_handed, tx_copied;
};

static struct counted count(struct app *app)
{
	struct stackmap_stats st = sm_info(&app->sm).stats;

	return (struct counted){ st.rx_handed_bytes, st.rx_copied_bytes, st.tx_handed_bytes,
				 st.tx_copied_bytes };
}

/* What has been counted since @since */
static struct counted counted(struct app *app, const struct counted *since)
{
	struct counted c = count(app);

	c.rx_handed -= since->rx_handed;
	c.rx_copied -= since->rx_copied;
	c.tx_handed -= since->tx_handed;
	c.tx_copied -= since->tx_copied;
	return c;
}

/* A counter of the TCP stack, as TCPOFOQueue */
static long tcp_counter(const char *name)
{
	char out[64];

	EQ(sh_read(out, sizeof(out),
		   "awk '$1 == \"TcpExt:\" { if (!n) n = split($0, names); else for (i = 1; i <= n; i++) if (names[i] == \"%s\") print $i }' /proc/net/netstat",
		   name), 0);
	return atol(out);
}

static void pieces(struct app *app, int port, int piece, int n)
{
	struct ask a;

	ask(&a, "pieces %s %d %d %d %d 0", here->guest4, port, piece, piece, n);
	app_run(app, &a, 20);
}

/* A server on the own driver's NIC, whose receive ring holds the port's buffers only */
static struct app *server(int *port)
{
	struct stackmap_register reg = sm_reg(here->ifname, 256);
	struct app *app;

	/* Enough for all that netem holds back: without an idle one payload is copied */
	reg.pool_bufs = 8192;
	app = app_new(&reg);
	if (app->sm.reg.nic != STACKMAP_NIC_VIRTIO)
		tap_skip("for the module's own driver");
	*port = app_listen(app, here->guest4);
	app->spin = true;
	/* More packets with payload than the ring has buffers */
	pieces(app, *port, 20000, 60 * sh_ring_turns(here->ifname));
	return app;
}

/* In order, and of 128 bytes or more: nothing is copied, neither in nor out */
TEST_NIC(copy_none, 60)
{
	static const int sizes[] = { 128, 129, 190, 256, 536, 1000, 1448, 4000, 30000, 65536 };
	struct counted before, c;
	uint64_t head;
	struct app *app;
	unsigned int i;
	int port;

	app = server(&port);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		before = count(app);
		head = sm_detail(&app->sm).rx_copied[STACKMAP_COPY_HEAD];
		pieces(app, port, sizes[i], 30);
		c = counted(app, &before);
		/* The end of a piece may come in a packet of its own, now and then; that is copied if it is short */
		head = sm_detail(&app->sm).rx_copied[STACKMAP_COPY_HEAD] - head;
		if (head < COPY_BELOW) {
			c.rx_copied -= head;
			c.rx_handed += head;
		}
		EQ(c.rx_handed + c.rx_copied, 30ll * sizes[i]);
		EQ(c.tx_handed + c.tx_copied, 30ll * sizes[i]);
		CHECKF(!c.rx_copied && !c.tx_copied, "%d bytes: %llu copied in, %llu out", sizes[i],
		       (unsigned long long)c.rx_copied, (unsigned long long)c.tx_copied);
	}
	app_end(app);
}

/* One end of the wire: addresses 10.79.X.N with no tag (6), a tag (7) and two (8) */
static int wire_end(const char *dev, const char *ns, int n)
{
	return sh("set -e; i='ip %s%s'; $i link set lo up; $i link set %s up; $i addr add 10.79.6.%d/24 dev %s"
		  "; $i link add link %s name smvlan7 type vlan id 7; $i addr add 10.79.7.%d/24 dev smvlan7; $i link set smvlan7 mtu 1496 up"
		  "; $i link add link %s name smvlan9 type vlan proto 802.1ad id 9; $i link set smvlan9 up"
		  "; $i link add link smvlan9 name smvlan8 type vlan id 8; $i addr add 10.79.8.%d/24 dev smvlan8; $i link set smvlan8 mtu 1492 up",
		  *ns ? "-n " : "", ns, dev, n, dev, dev, n, dev, n);
}

/* With a VLAN tag before it, or two: its headers are found all the same */
TEST_NIC(copy_none_of_vlans, 120)
{
	static const struct place wire = {
		"wire", "eth1", "10.79.6.1", "10.79.6.2", "", "10.79.6.1", "", ""
	};
	static const int sizes[] = { 128, 129, 190, 256, 1000, 30000 };
	static const char *const guest[] = { "10.79.6.2", "10.79.7.2", "10.79.8.2" };
	struct counted before, c;
	struct app *app;
	struct ask a;
	unsigned int i, j;
	int port, pid, ns;

	if (access("/sys/class/net/eth2", F_OK))
		tap_skip("no wire (tests/guest/run --wire)");
	EQ(sh("modprobe -q 8021q; ethtool -i eth1 | grep -q stackmap || ./stackmap bind eth1; ip netns add smwire; ip link set eth2 netns smwire"), 0);
	/* Both at once: an end that is down takes nothing, and what the other one sends stays in its ring */
	EQ(sh("ip link set eth1 up; ip -n smwire link set eth2 up"), 0);
	EQ(wire_end("eth2", "smwire", 1), 0);
	EQ(wire_end("eth1", "", 2), 0);
	pid = fork();
	if (pid == 0) {
		ns = open("/run/netns/smwire", O_RDONLY | O_CLOEXEC);
		CHECK(ns >= 0 && !setns(ns, CLONE_NEWNET));
		_exit(peer_serve(wire.ctl));
	}
	usleep(200000);
	here = &wire;
	app = server(&port);
	for (j = 0; j < sizeof(guest) / sizeof(guest[0]); j++) {
		port = app_listen(app, guest[j]);
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			before = count(app);
			ask(&a, "pieces %s %d %d %d 30 0", guest[j], port, sizes[i], sizes[i]);
			app_run(app, &a, 20);
			c = counted(app, &before);
			EQ(c.rx_handed + c.rx_copied, 30ll * sizes[i]);
			CHECKF(!c.rx_copied, "%d bytes, %u tags: %llu copied", sizes[i], j,
			       (unsigned long long)c.rx_copied);
		}
	}
	app_end(app);
	kill(pid, SIGTERM);
	EQ(sh("ip link del smvlan7; ip link del smvlan9; ip link set eth1 down; ip netns del smwire"), 0);
}

/* Less than a fragment is worth: it stays in the linear part of the packet */
TEST_NIC(copy_short_segments, 60)
{
	static const int sizes[] = { 1, 64, COPY_BELOW - 1 };
	struct counted before, c;
	struct app *app;
	unsigned int i;
	int port;

	app = server(&port);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		before = count(app);
		pieces(app, port, sizes[i], 30);
		c = counted(app, &before);
		EQ(c.rx_copied, 30 * sizes[i]);
		EQ(c.rx_handed, 0);
		EQ(c.tx_copied, 0);
	}
	app_end(app);
}

/*
 * A segment that comes while a short one is still unread: TCP puts it behind
 * that one, into the linear part, if it fits there
 */
TEST_NIC(copy_behind_short_segment, 60)
{
	struct counted before, c;
	struct app *app;
	struct ask a;
	int port;

	app = server(&port);
	before = count(app);
	ask(&a, "pieces %s %d 5 151 20 1", here->guest4, port);
	while (!ask_done(&a)) {
		usleep(20000);
		app_round(app);
	}
	c = counted(app, &before);
	EQ(c.rx_handed + c.rx_copied, 20 * 151);
	CHECK(c.rx_copied >= 20);
	before = count(app);
	/* What does not fit is handed over behind it */
	ask(&a, "pieces %s %d 5 1401 20 1", here->guest4, port);
	while (!ask_done(&a)) {
		usleep(20000);
		app_round(app);
	}
	c = counted(app, &before);
	EQ(c.rx_handed, 20 * 1400);
	EQ(c.rx_copied, 20);
	app_end(app);
}

/* From a socket of the port to another one: the frames are still the sender's */
TEST(copy_loopback, 20)
{
	uint8_t block[3000], in[3000];
	struct stackmap_stats st;
	int fd[2], i;
	struct sm sm;

	sm_new_small(&sm, 64);
	pair_tcp(fd, AF_INET);
	sm_attach(&sm, fd[0], 0);
	sm_attach(&sm, fd[1], 1);
	for (i = 0; i < 100; i++) {
		pat_fill(block, 9, i * 3000, 3000);
		sm_send(&sm, fd[0], block, 3000);
		sm_read(&sm, fd[1], in, 3000, 1000);
		CHECK(!memcmp(in, block, 3000));
	}
	st = sm_info(&sm).stats;
	EQ(st.rx_copied_bytes, 300000);
	EQ(st.rx_handed_bytes, 0);
	sm_settle(&sm);
	sm_close(&sm);
}

/* A packet socket has a clone of each packet, which the application must not change */
TEST_NIC(copy_while_sniffed, 60)
{
	struct counted before, c;
	struct app *app;
	int port, fd;

	app = server(&port);
	before = count(app);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	CHECKF(fd >= 0, "%s", strerror(errno));
	pieces(app, port, 1000, 100);
	c = counted(app, &before);
	EQ(c.rx_handed + c.rx_copied, 100000);
	tap_note("%llu bytes copied, %llu handed over", (unsigned long long)c.rx_copied,
		 (unsigned long long)c.rx_handed);
	CHECK(c.rx_copied > 0);
	close(fd);
	before = count(app);
	pieces(app, port, 1000, 30);
	c = counted(app, &before);
	EQ(c.rx_handed, 30000);
	app_end(app);
}

/* Segments that arrive in another order, and wait for those before them */
TEST_NIC(copy_out_of_order, 90)
{
	struct counted before, c;
	struct app *app;
	struct ask a;
	long ofo, collapsed;
	int port;

	app = server(&port);
	if (sh("set -e; exec 2>/dev/null; ip link add smifb type ifb; ip link set smifb up"
	       "; tc qdisc add dev smifb root netem delay 3ms reorder 30%% 25%%"
	       "; tc qdisc add dev " IFNAME " ingress"
	       "; tc filter add dev " IFNAME " parent ffff: matchall action mirred egress redirect dev smifb"))
		tap_skip("no netem");
	before = count(app);
	ofo = tcp_counter("TCPOFOQueue");
	collapsed = tcp_counter("TCPRcvCollapsed");
	ask(&a, "echo %s %d 21 2000000 60000 4", here->guest4, port);
	app_run(app, &a, 60);
	c = counted(app, &before);
	ofo = tcp_counter("TCPOFOQueue") - ofo;
	collapsed = tcp_counter("TCPRcvCollapsed") - collapsed;
	EQ(sh("tc qdisc del dev " IFNAME " ingress; ip link del smifb"), 0);
	tap_note("%ld segments out of order, %ld collapsed; %llu bytes copied, %llu handed over",
		 ofo, collapsed, (unsigned long long)c.rx_copied, (unsigned long long)c.rx_handed);
	EQ(c.rx_handed + c.rx_copied, 8000000);
	CHECK(ofo > 0);
	/* Merging moves frames from one packet to the other: only short segments are copied */
	if (!collapsed)
		CHECK(c.rx_copied < 400000);
	app_end(app);
}

static void on_shrink(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	int small = 4096, large = 200000;

	/* The window that it has offered is larger by far */
	if (s->flags & STACKMAP_RX_DATA && c->in == s->len) {
		EQ(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
		usleep(100000);
	/* What came by then has been moved; the rest need not go a small window at a time */
	} else if (c->in > 100000 && c->in - s->len <= 100000) {
		EQ(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof(large)), 0);
	}
	app_echo(c, s, p);
}

/*
 * The ring is full in the middle of packets, and all idle buffers are the NIC's by the time it has room again.
 * What was handed over is idle then: or the next payload waits for a buffer that the rest of a packet keeps
 */
TEST_NIC(copy_rest_of_a_packet, 120)
{
	struct stackmap_register reg = sm_reg(here->ifname, 16);
	int l = try_listen(here->guest4, 0), fd[CONNS], round, i;
	const uint32_t total = 100000;
	struct ask a[CONNS];
	struct sm sm;

	CHECK(l >= 0);
	reg.pool_bufs = 16;
	sm_new(&sm, &reg);
	if (sm.reg.nic != STACKMAP_NIC_VIRTIO)
		tap_skip("for the module's own driver");
	for (round = 0; round < 10 * sh_ring_turns(here->ifname); round++) {
		uint32_t seed = round, had = 0, n;

		for (i = 0; i < CONNS; i++) {
			ask(&a[i], "half %s %d 9 %u", here->guest4, port_of(l), total);
			fd[i] = accept(l, NULL, NULL);
			CHECK(fd[i] >= 0);
			sm_attach(&sm, fd[i], i);
		}
		while (had < CONNS * total) {
			for (n = 1 + rnd(&seed) % 6; n && had < CONNS * total; n--) {
				had += sm_wait(&sm, 3000)->len;
				sm_next(&sm);
			}
			sm_sync(&sm, 0);
		}
		for (i = 0; i < CONNS; i++) {
			close(fd[i]);
			close(a[i].fd);
		}
	}
	/* A quarter of so few is not for the NIC */
	sm_sync(&sm, 0);
	EQ(sm_info(&sm).stats.frames_pool, 4);
	printf("# %llu bytes handed over\n", (unsigned long long)sm_info(&sm).stats.rx_handed_bytes);
	sm_close(&sm);
}

/* A receive queue for which memory is short: TCP moves its bytes together */
TEST_NIC(copy_collapsed, 60)
{
	struct counted before, c;
	struct app *app;
	struct ask a;
	long collapsed;
	int port;

	app = server(&port);
	app->on_slot = on_shrink;
	before = count(app);
	collapsed = tcp_counter("TCPRcvCollapsed");
	ask(&a, "echo %s %d 22 400000 999 3", here->guest4, port);
	app_run(app, &a, 40);
	c = counted(app, &before);
	collapsed = tcp_counter("TCPRcvCollapsed") - collapsed;
	tap_note("%ld segments collapsed; %llu bytes copied, %llu handed over", collapsed,
		 (unsigned long long)c.rx_copied, (unsigned long long)c.rx_handed);
	EQ(c.rx_handed + c.rx_copied, 1200000);
	if (collapsed)
		CHECK(c.rx_copied > 0);
	app_end(app);
}

/* Buffers that the application has taken out of their slots, and what they hold */
#define KEPT 600
#define KEPT_SEED 31

static struct kept {
	uint32_t buf, off, len;
	uint64_t at;
} kept[KEPT];
static int nkept, nhanded;

/* Every other slot's, each of a segment of its own */
static void on_keep(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	struct sm *sm = &c->app->sm;

	if (s->flags & STACKMAP_RX_DATA && nkept < KEPT && s->len % 2 == 0) {
		kept[nkept] = (struct kept){ s->buf, s->off, s->len, c->in - s->len };
		sm_peek(sm)->buf = sm->extra[nkept++];
		nhanded += !!(s->flags & STACKMAP_RX_HANDED);
	}
	app_echo(c, s, p);
}

static int keep_seconds(void)
{
	const char *s = getenv("KEEP_SECONDS");

	return s && atoi(s) > 0 ? atoi(s) : KEEP_SECONDS;
}

static void check_kept(struct app *app)
{
	int i;

	for (i = 0; i < nkept; i++)
		CHECKF(pat_is(sm_buf(&app->sm, kept[i].buf) + kept[i].off, KEPT_SEED, kept[i].at,
			      kept[i].len), "buffer %u, kept %d", kept[i].buf, i);
}

/* They are as they were, whatever comes and goes meanwhile */
TEST_NIC(buffers_kept_long, 30 + KEEP_SECONDS)
{
	double end = mono() + keep_seconds();
	struct stackmap_register reg = sm_reg(IFNAME, 256);
	struct app *app;
	struct ask a;
	int port, rounds = 0;

	reg.extra_bufs = KEPT;
	app = app_new(&reg);
	port = app_listen(app, here->guest4);
	app->spin = true;
	pieces(app, port, 20000, 30 * (sh_ring_turns(here->ifname) - 1));
	app->on_slot = on_keep;
	ask(&a, "pieces %s %d %d 1000 %d 0", here->guest4, port, KEPT_SEED, KEPT);
	app_run(app, &a, 30);
	EQ(nkept, KEPT);
	if (app->sm.reg.nic == STACKMAP_NIC_VIRTIO)
		CHECKF(nhanded > KEPT / 4, "%d of %d were handed over", nhanded, KEPT);
	app->on_slot = app_echo;
	do {
		ask(&a, "echo %s %d %d 500000 65536 4", here->guest4, port, 100 + rounds);
		app_run(app, &a, 30);
		check_kept(app);
		rounds++;
	} while (mono() < end);
	tap_note("%d buffers kept, %d of them handed over, while %d MB went by", nkept, nhanded,
		 rounds * 4);
	EQ(sm_info(&app->sm).stats.frames_user, 512 + KEPT);
	app_end(app);
}

__attribute__((constructor)) static void keep_longer(void)
{
	struct_buffers_kept_long.seconds = 30 + keep_seconds();
}
