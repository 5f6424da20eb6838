// SPDX-License-Identifier: GPL-2.0
/*
 * t_driver.c - what an interface on the module's own driver tells and takes
 */
#include <string.h>
#include <unistd.h>

#include "life.h"
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
	CHECKF(strstr(out, "queue0_rx_packets") && strstr(out, "queue0_tx_kicks"), "%s", out);
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
