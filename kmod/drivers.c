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
#include <linux/ethtool.h>
#include <linux/module.h>
#include <net/rtnetlink.h>

#include "nic.h"

static bool sm_any_driver;
module_param_named(any_driver, sm_any_driver, bool, 0644);
MODULE_PARM_DESC(any_driver,
		 "own NICs whose driver was neither tested nor read (docs/drivers.md); may crash");

enum sm_verdict {
	SM_TESTED,	/* tests/nics reconfigures it under an owner */
	SM_READ,	/* every path that stops or replaces its rings was read, in 6.12 */
	SM_REFUSED,	/* read, and found to break the rule */
};

static const struct {
	const char *name;
	enum sm_verdict verdict;
} sm_drivers[] = {
	{ "virtio_net", SM_TESTED },
	{ "e1000e", SM_TESTED },
	{ "e1000", SM_TESTED },
	{ "veth", SM_TESTED },
};

/* The module that brings @dev's driver is not of this kernel: its name says nothing */
static bool sm_driver_is_foreign(const struct device_driver *drv)
{
	return drv->owner && test_bit(TAINT_OOT_MODULE, &drv->owner->taints);
}

/**
 * sm_driver_allowed() - may this interface's instances be claimed?
 * @dev: the interface; under RTNL
 *
 * Return: 0, or -EOPNOTSUPP, and the kernel's log says why.
 */
int sm_driver_allowed(const struct net_device *dev)
{
	const struct device_driver *drv = dev->dev.parent ? dev->dev.parent->driver : NULL;
	const char *name = NULL;
	int i;

	if (drv)
		name = sm_driver_is_foreign(drv) ? NULL : drv->name;
	else if (dev->rtnl_link_ops)
		name = dev->rtnl_link_ops->kind;
	for (i = 0; name && i < ARRAY_SIZE(sm_drivers); i++) {
		if (strcmp(name, sm_drivers[i].name))
			continue;
		if (sm_drivers[i].verdict != SM_REFUSED)
			return 0;
		netdev_warn_once(dev, "stackmap: %s cannot be owned: its resets do not wait for an owner\n",
				 name);
		return -EOPNOTSUPP;
	}
	if (READ_ONCE(sm_any_driver))
		return 0;
	netdev_warn_once(dev, "stackmap: driver %s was neither tested nor read: owned only with the module parameter any_driver=1\n",
			 drv ? drv->name : name ?: "?");
	return -EOPNOTSUPP;
}
