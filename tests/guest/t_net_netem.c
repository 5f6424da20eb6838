// SPDX-License-Identifier: GPL-2.0
/*
 * t_net_netem.c - networks that lose, repeat, reorder, corrupt and delay packets
 *
 * Netem impairs both directions: what is sent where it is sent; what is received
 * where the peer sends it (veth), or on its way from the NIC's driver to the
 * stack (ifb), where packets with frames of the port in them wait in netem.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

static void impair(const char *how)
{
	if (here == &place_veth) {
		EQ(sh("tc qdisc replace dev smn0 root netem %s && tc -n smnet qdisc replace dev smn1 root netem %s",
		      how, how), 0);
		return;
	}
	EQ(sh("set -e; tc qdisc replace dev " IFNAME " root netem %s"
	      "; ip link show smifb >/dev/null 2>&1 || { ip link add smifb type ifb; ip link set smifb up"
	      "; tc qdisc add dev " IFNAME " ingress; tc filter add dev " IFNAME
	      " parent ffff: matchall action mirred egress redirect dev smifb; }"
	      "; tc qdisc replace dev smifb root netem %s", how, how), 0);
}

/* Its packets get through, or are lost: none is left in a queue */
static void impair_end(void)
{
	if (here == &place_veth)
		sh("tc qdisc del dev smn0 root; tc -n smnet qdisc del dev smn1 root");
	else
		sh("tc qdisc del dev " IFNAME " root; tc qdisc del dev " IFNAME " ingress; ip link del smifb");
}

/* FNV-1a: what came in on a connection, in order */
static uint64_t hash(uint64_t h, const uint8_t *p, size_t n)
{
	while (n--)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}

#define HASH_BEGIN 0xcbf29ce484222325
#define CONNS 16

static uint64_t hashes[APP_FDS], ended[CONNS * 4];
static int nended;

static void echo_hashed(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	if (s->flags & STACKMAP_RX_DATA) {
		if (c->in == s->len)
			hashes[c->fd] = HASH_BEGIN;
		hashes[c->fd] = hash(hashes[c->fd], p, s->len);
	}
	if ((s->flags & STACKMAP_RX_FIN) && nended < CONNS * 4)
		ended[nended++] = hashes[c->fd];
	app_echo(c, s, p);
}

/* What the peer has sent on each connection is what has come in on one of them */
static void check_hashes(uint32_t seed, uint64_t bytes, int conns)
{
	uint8_t *all = malloc(bytes);
	uint64_t want;
	int i, k;

	EQ(nended, conns);
	for (i = 0; i < conns; i++) {
		pat_fill(all, seed + i * 7919, 0, bytes);
		want = hash(HASH_BEGIN, all, bytes);
		for (k = 0; k < nended && ended[k] != want; k++)
			;
		CHECKF(k < nended, "no connection has brought stream %d, hash %016llx", i,
		       (unsigned long long)want);
		ended[k] = 0;
	}
	free(all);
	nended = 0;
}

static void transfer(const char *how, uint64_t bytes, int conns, uint32_t slots, bool spin)
{
	struct app *app = app_new_slots(slots);
	int port = app_listen(app, here->guest4), port6 = app_listen(app, here->guest6);
	struct stackmap_stats st;
	double start = mono();
	struct ask a;

	app->on_slot = echo_hashed;
	app->spin = spin;
	impair(how);
	ask(&a, "echo %s %d 11 %llu 9999 %d", here->guest4, port, (unsigned long long)bytes, conns);
	app_run(app, &a, 90);
	check_hashes(11, bytes, conns);
	ask(&a, "echo %s %d 12 %llu 3000 2", here->guest6, port6, (unsigned long long)bytes / 4);
	app_run(app, &a, 60);
	check_hashes(12, bytes / 4, 2);
	EQ(app->accepted, conns + 2);
	EQ(app->fins, conns + 2);
	EQ(app->errors, 0);
	st = sm_info(&app->sm).stats;
	tap_note("%s: %llu bytes each way in %.1f s, %llu of them handed over", how,
		 (unsigned long long)bytes * conns + bytes / 2, mono() - start,
		 (unsigned long long)st.rx_handed_bytes);
	impair_end();
	app_end(app);
}

TEST_NET(net_loss, 180)
{
	transfer("loss 5%", 200000, 4, 256, true);
}

TEST_NET(net_loss_asleep, 180)
{
	transfer("loss 5%", 100000, 4, 256, false);
}

TEST_NET(net_duplicate, 180)
{
	transfer("duplicate 20%", 400000, 4, 256, true);
}

TEST_NET(net_reorder, 180)
{
	transfer("delay 10ms reorder 50% 25%", 300000, 4, 256, true);
}

TEST_NET(net_corrupt, 180)
{
	transfer("corrupt 3%", 200000, 4, 256, true);
}

TEST_NET(net_delay, 180)
{
	transfer("delay 100ms", 300000, 4, 256, false);
}

/* All of it, with more connections than slots and few buffers */
TEST_NET(net_all_at_once, 240)
{
	transfer("delay 5ms 4ms loss 2% duplicate 2% corrupt 1%", 30000, CONNS, 16, true);
}

static void drop_failed(struct conn *c, const struct stackmap_slot *s, const uint8_t *p)
{
	app_echo(c, s, p);
}

/* Everything is lost: connections end by their time-outs, with the errno of that */
TEST_NET(net_dead, 90)
{
	struct app *app = app_new_slots(64);
	int port = app_listen(app, here->guest4), fd, ms = 3000, n = 0;
	struct ask a;

	app->on_slot = drop_failed;
	app->keep = true;
	ask(&a, "slow %s %d 1 1 1", here->guest4, port);
	while (app->accepted < 1)
		app_round(app);
	app_run_ms(app, 200);
	impair("loss 100%");
	for (fd = 0; fd < APP_FDS; fd++) {
		if (!app->conn[fd] || app->conn[fd]->listener)
			continue;
		EQ(setsockopt(fd, 6 /* TCP */, 18 /* TCP_USER_TIMEOUT */, &ms, sizeof(ms)), 0);
		app_send(app->conn[fd], "is anybody there?", 17);
		n++;
	}
	EQ(n, 1);
	for (n = 0; !app->errors && n < 300; n++)
		app_run_ms(app, 100);
	EQ(app->errors, 1);
	EQ(app->last_err, ETIMEDOUT);
	impair_end();
	app_end(app);
	close(a.fd);
}
