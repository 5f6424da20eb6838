// SPDX-License-Identifier: GPL-2.0
/*
 * t_zz_unbind.c - the driver goes from under a port. Last: if that hangs,
 * nothing works after it
 */
#include <string.h>
#include <unistd.h>

#include "life.h"
#include "net.h"
#include "sh.h"
#include "tap.h"

TEST_NIC(driver_unbound, 60)
{
	struct sm sm;

	if (access("/sys/class/net/" IFNAME "/device/driver/unbind", W_OK))
		tap_skip("cannot unbind here");
	sm_new_small(&sm, 16);
	sm_quiet(&sm, 10);
	EQ(sh("cd -P /sys/class/net/" IFNAME "/device; d=$(basename $PWD); cd -P driver; echo $d >unbind; pwd >/tmp/drv; echo $d >>/tmp/drv"), 0);
	CHECKF(sh_seconds < 5 * slow(), "it took %.1f s", sh_seconds);
	port_is_gone(&sm);
	/* The module's own driver takes only what was claimed */
	EQ(sh("{ read d; read n; } </tmp/drv; [ ! -e $d/claim ] || echo $n >$d/claim; echo $n >$d/bind; sleep 0.5; [ -e /sys/class/net/" IFNAME " ]"), 0);
	sh_restore_nic();
	port_is_gone(&sm);
	sm_close(&sm);
	sm_new_small(&sm, 16);
	sm_quiet(&sm, 10);
	sm_close(&sm);
	nic_is_ordinary();
}
