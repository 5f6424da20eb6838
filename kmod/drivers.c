// SPDX-License-Identifier: GPL-2.0
/*
 * drivers.c - the stock drivers whose NAPI instances may be claimed
 *
 * The rule of nic_napi.c asks something of a driver: that whoever changes its rings
 * holds RTNL or the device's own lock, or has detached the device, taken its carrier or
 * disabled NAPI, from before it quiesces until they are whole again; and that poll() is at home in process context
 * with softirqs off. Whether a driver keeps to that is a fact about its source. So
 * there is a list (stackmap_drivers.h), and a driver that is not in it is not claimed, unless the
 * administrator says so.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <net/rtnetlink.h>

#include "nic.h"
#include "stackmap_drivers.h"

static bool sm_any_driver;
module_param_named(any_driver, sm_any_driver, bool, 0644);
MODULE_PARM_DESC(any_driver,
		 "own NICs whose driver was neither tested nor read (docs/drivers.md); may crash");

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
