// SPDX-License-Identifier: GPL-2.0
/*
 * t_net_path.c - the way to the peer changes under load: MTU, routes, addresses, the link
 *
 * Connections only wait while there is no way, and all of their bytes come.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

/* An echo, by IPv4 and IPv6, while a script does things to the path */
static void under_load(bool spin, const char *script, uint64_t bytes, int carrier)
{
	struct app *app = app_new_slots(128);
	int port = app_listen(app, "0.0.0.0"), port6 = app_listen(app, "::"), pid;
	struct ask a, b, l;

	app->spin = spin;
	ask(&a, "echo %s %d 21 %llu 9999 4", here->guest4, port, (unsigned long long)bytes);
	ask(&b, "echo %s %d 22 %llu 9999 2", here->guest6, port6, (unsigned long long)bytes / 2);
	while (app->accepted < 6)
		app_round(app);
	if (carrier)
		ask(&l, "link %s 250 %d", here->guest4, carrier);
	pid = sh_meanwhile("dev=%s peer4=%s peer6=%s; %s", here->ifname, here->peer4, here->peer6,
			   script);
	app_run(app, &a, 90);
	app_run(app, &b, 60);
	sh_end(pid);
	if (carrier) {
		app_run(app, &l, 20);
		CHECKF(!strcmp(l.answer, "ok"), "%s", l.answer);
	}
	EQ(app->fins, 6);
	EQ(app->errors, 0);
	app_end(app);
	/* The network is as it was */
	ask(&a, "ping %s 3 100", here->guest4);
	ask_wait(&a, 20);
	CHECKF(!strncmp(a.answer, "ok 0 ", 5), "%s", a.answer);
}

#define ADDRESSES "ip addr replace 10.7${peer4:4:1}.0.2/24 dev $dev; ip -6 addr replace fd7${peer4:4:1}::2/64 dev $dev nodad;"

TEST_NET(net_mtu_changes, 120)
{
	under_load(true, "for i in 1 2; do for m in 576 1280 1000 1500; do ip link set $dev mtu $m; "
			 "[ $m -ge 1280 ] && { " ADDRESSES " }; sleep 0.1; done; done; true", 6000000, 0);
}

TEST_NET(net_route_goes_away, 120)
{
	under_load(false, "for k in blackhole unreachable prohibit; do ip route add $k $peer4/32; ip -6 route add $k $peer6/128; "
			  "sleep 0.7; ip route del $k $peer4/32; ip -6 route del $k $peer6/128; sleep 0.5; done", 6000000, 0);
}

TEST_NET(net_address_goes_away, 120)
{
	under_load(true, "for i in 1 2 3; do ip addr flush dev $dev scope global; sleep 0.5; " ADDRESSES " sleep 0.3; done",
		   6000000, 0);
}

TEST_NET(net_neighbour_goes_away, 120)
{
	under_load(true, "for i in 1 2 3; do ip neigh replace $peer4 lladdr 02:00:00:00:00:99 dev $dev nud permanent; sleep 0.3; "
			 "ip neigh del $peer4 dev $dev; ip neigh flush dev $dev; sleep 0.2; done", 6000000, 0);
}

TEST_NET(net_interface_flaps, 120)
{
	under_load(true, "for i in 1 2 3; do ip link set $dev down; sleep 0.2; ip link set $dev up; " ADDRESSES " sleep 0.3; done",
		   6000000, 0);
	sh_restore_nic();
}

TEST_NET(net_interface_flaps_asleep, 120)
{
	under_load(false, "for i in 1 2 3; do ip link set $dev down; sleep 0.2; ip link set $dev up; " ADDRESSES " sleep 0.3; done",
		   6000000, 0);
	sh_restore_nic();
}

/* The other end of the wire: no carrier */
TEST_NET(net_link_flaps, 120)
{
	if (here == &place_veth)
		under_load(true, "for i in 1 2 3; do ip -n smnet link set smn1 down; sleep 0.2; ip -n smnet link set smn1 up; "
				 "ip -n smnet -6 addr replace fd78::1/64 dev smn1 nodad; sleep 0.3; done", 6000000, 0);
	else
		under_load(true, "for i in {1..400}; do read c </sys/class/net/$dev/carrier; [ $c = 1 ] || exit 0; sleep 0.01; done; exit 1",
			   6000000, 3);
}
