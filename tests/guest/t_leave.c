// SPDX-License-Identifier: GPL-2.0
/*
 * t_leave.c - an interface leaves for another network namespace, and its port's memory stays
 *
 * The owner still has its buffers mapped, and must not see what arrives on the
 * interface from then on. On the module's own driver these buffers were in the
 * NIC's receive ring.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "life.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

#define MARK 0x5a
#define MARKS 64

/* VIRTIO_F_RING_RESET, without which the driver cannot take back what is in a ring */
static bool can_reset_ring(void)
{
	char out[128] = "";

	sh_read(out, sizeof(out), "cat /sys/class/net/" IFNAME "/device/features 2>/dev/null");
	return strlen(out) > 40 && out[40] == '1';
}

/* How many buffers have seen the other namespace's packets */
static int marked_buffers(const struct sm *sm)
{
	uint8_t mark[MARKS];
	uint32_t i;
	int n = 0;

	memset(mark, MARK, sizeof(mark));
	for (i = 0; i < sm->reg.frames; i++)
		n += !!memmem(sm_buf(sm, i), sm->reg.frame_size, mark, sizeof(mark));
	return n;
}

TEST_NIC(leaves_no_traffic_behind, 60)
{
	struct app *app = app_new_slots(256);
	int port = app_listen(app, here->guest4);
	struct ask a;

	if (app->sm.reg.nic == STACKMAP_NIC_VIRTIO && !can_reset_ring())
		tap_skip("the device cannot reset a ring");
	app->spin = true;
	/* So that the ring holds the port's buffers */
	ask(&a, "pieces %s %d 1 20000 60 0", here->guest4, port);
	app_run(app, &a, 20);

	EQ(sh("set -e; ip netns add smns; ip link set " IFNAME " netns smns"
	      "; ip -n smns link set " IFNAME " up; ip -n smns addr add 10.77.0.2/24 dev " IFNAME), 0);
	port_is_gone(&app->sm);
	EQ(sh("ip netns exec smns ping -n -q -c 300 -i 0.002 -s 1000 -p %02x -W 2 -w 15 %s >/tmp/sm.ping", MARK,
	      here->peer4), 0);
	EQ(sh("grep -q ' [0-9]%% packet loss' /tmp/sm.ping"), 0);
	EQ(marked_buffers(&app->sm), 0);
	EQ(sh("ip -n smns link set " IFNAME " netns 1"), 0);
	sh_restore_nic();
	sm_close(&app->sm);
	nic_is_ordinary();
}
