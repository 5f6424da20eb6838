// SPDX-License-Identifier: GPL-2.0
/*
 * drivers.c - the stock drivers whose NAPI instances may be claimed
 *
 * The rule of nic_napi.c asks something of a driver: that whoever changes its rings
 * holds RTNL, or has detached the device, or has disabled NAPI, from before it
 * quiesces until they are whole again; and that poll() is at home in process context
 * with softirqs off. Whether a driver keeps to that is a fact about its source. So
 * there is a list, and a driver that is not in it is not claimed, unless the
 * administrator says so.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <net/rtnetlink.h>

#include "nic.h"

static bool sm_any_driver;
module_param_named(any_driver, sm_any_driver, bool, 0644);
MODULE_PARM_DESC(any_driver,
		 "own NICs whose driver was neither tested nor read (docs/drivers.md); may crash");

/* How it was established that a driver keeps to the rule, and on what condition */
enum {
	SM_TESTED = BIT(0),	/* reconfigured under an owner here: t_claim.c, tests/nics */
	SM_READ = BIT(1),	/* every path that stops or replaces its rings was read, in 6.12 */
	SM_REFUSED = BIT(2),	/* was read, and breaks the rule: not even with any_driver */
	SM_ONE_QUEUE = BIT(3),	/* with more its instances are not in the order of its queues */
	SM_NO_XDP = BIT(4),	/* breaks the rule while an XDP program is attached */
};

/* By the name of its bus driver, or the kind of a virtual device. docs/drivers.md says why */
static const struct {
	const char *name;
	unsigned int how;
} sm_drivers[] = {
	{ "virtio_net", SM_TESTED | SM_READ },
	{ "e1000", SM_READ },
	{ "e1000e", SM_TESTED | SM_READ },
	{ "igb", SM_READ },
	{ "vmxnet3", SM_READ },
	{ "tulip", SM_READ },
	{ "e100", SM_READ },
	{ "veth", SM_TESTED | SM_READ },
	{ "vif", SM_READ },			/* xen-netfront */
	{ "r8152", SM_READ },
	{ "r8169", SM_READ },
	{ "ixgbe", SM_READ },
	{ "ixgbevf", SM_READ },
	{ "i40e", SM_READ },
	{ "iavf", SM_READ },
	{ "ice", SM_READ },
	{ "igc", SM_READ | SM_NO_XDP },
	{ "mlx4_core", SM_READ },
	{ "mlx5_core", SM_READ },
	{ "bnxt_en", SM_READ },
	{ "bnx2x", SM_READ },
	{ "tg3", SM_READ | SM_ONE_QUEUE },
	{ "ena", SM_READ },
	{ "atlantic", SM_READ },
	{ "sfc", SM_READ },
	{ "nfp", SM_READ },
	{ "qede", SM_READ },
	{ "be2net", SM_READ },
	{ "hv_netvsc", SM_READ },
	{ "mana", SM_READ },
	{ "hns3", SM_READ },
	{ "xilinx_axienet", SM_READ },
	{ "8139too", SM_REFUSED },	/* a level interrupt that stays up while claimed */
	{ "8139cp", SM_REFUSED },	/* likewise; its transmit timeout frees what poll reads */
	{ "pcnet32", SM_REFUSED },	/* its transmit timeout makes the receive ring anew */
	{ "gve", SM_REFUSED },		/* its instances are not in the order of its queues */
	{ "cxgb4", SM_REFUSED },	/* likewise: it would be the firmware's event queue */
	{ "mvneta", SM_REFUSED },	/* polls what is of one CPU */
	{ "macb", SM_REFUSED },		/* makes its rings anew in a softirq */
};

/* The module that brings @dev's driver is not of this kernel: its name says nothing */
static bool sm_driver_is_foreign(const struct device_driver *drv)
{
	return drv->owner && test_bit(TAINT_OOT_MODULE, &drv->owner->taints);
}

static unsigned int sm_driver_how(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(sm_drivers); i++)
		if (!strcmp(name, sm_drivers[i].name))
			return sm_drivers[i].how;
	return 0;
}

/**
 * sm_driver_allowed() - may the instances of this interface be claimed?
 * @nic: the queue; what the driver asks for is noted there. Under RTNL
 *
 * Return: 0, or -EOPNOTSUPP, and the kernel's log says why.
 */
int sm_driver_allowed(struct sm_nic *nic)
{
	const struct net_device *dev = nic->dev;
	const struct device_driver *drv = dev->dev.parent ? dev->dev.parent->driver : NULL;
	const char *name = "?", *why;
	unsigned int how;

	if (drv)
		name = drv->name;
	else if (dev->rtnl_link_ops)
		name = dev->rtnl_link_ops->kind;
	how = drv && sm_driver_is_foreign(drv) ? 0 : sm_driver_how(name);
	/* xen-netback calls itself the same */
	if (!strcmp(name, "vif") &&
	    !(drv && drv->owner && !strcmp(module_name(drv->owner), "xen_netfront")))
		how = 0;
	nic->no_xdp = how & SM_NO_XDP;
	nic->one_queue = how & SM_ONE_QUEUE;
	if (how & SM_REFUSED)
		why = "cannot be owned safely (docs/drivers.md)";
	else if ((how & SM_ONE_QUEUE) && dev->real_num_rx_queues > 1)
		why = "can be owned with a single receive queue only (ethtool -L)";
	else if (!how && !READ_ONCE(sm_any_driver))
		why = "was neither tested nor read: owned only with the module parameter any_driver=1";
	else
		return 0;
	if (net_ratelimit())
		netdev_warn(dev, "stackmap: driver %s %s\n", name, why);
	return -EOPNOTSUPP;
}
