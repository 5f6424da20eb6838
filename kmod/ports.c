// SPDX-License-Identifier: GPL-2.0
/*
 * ports.c - all ports: whose queue is whose, and what happens to interface and machine
 */
#include "port.h"

#include <linux/capability.h>
#include <linux/nsproxy.h>
#include <linux/poll.h>
#include <linux/reboot.h>
#include <linux/rtnetlink.h>
#include <linux/suspend.h>
#include <net/net_namespace.h>

#include "info.h"

static LIST_HEAD(sm_ports);
static DEFINE_MUTEX(sm_ports_mutex);

/* An owner configures the interface, and sees and makes raw packets on it */
static bool sm_may_own_in(const struct net *net)
{
	return ns_capable(net->user_ns, CAP_NET_ADMIN) && ns_capable(net->user_ns, CAP_NET_RAW);
}

static bool sm_queue_is_owned(const struct net_device *dev, u32 queue)
{
	struct sm_port *port;

	list_for_each_entry(port, &sm_ports, node)
		if (port->nic.dev == dev && port->nic.queue == queue)
			return true;
	return false;
}

/**
 * sm_ports_may_add() - before anything is allocated for someone who may not have a port
 * @reg: what is asked for
 *
 * It is looked at again under RTNL, when the queue is taken.
 *
 * Return: 0, -ENODEV or -EPERM.
 */
int sm_ports_may_add(const struct stackmap_register *reg)
{
	struct net *net = current->nsproxy->net_ns;
	bool there;

	rcu_read_lock();
	there = dev_get_by_index_rcu(net, reg->ifindex);
	rcu_read_unlock();
	if (!there)
		return -ENODEV;
	return sm_may_own_in(net) ? 0 : -EPERM;
}

/**
 * sm_ports_add() - find the interface, and make its queue this port's
 * @port: the port
 *
 * Return: 0, or an errno as listed in stackmap.h.
 */
int sm_ports_add(struct sm_port *port)
{
	struct net *net = current->nsproxy->net_ns;
	struct sm_nic *nic = &port->nic;
	struct net_device *dev;
	int err;

	rtnl_lock();
	mutex_lock(&sm_ports_mutex);
	err = -ENODEV;
	dev = __dev_get_by_index(net, port->reg.ifindex);
	if (!dev)
		goto out;
	err = -EPERM;
	if (!sm_may_own_in(net))
		goto out;
	err = -ENETDOWN;
	if (!netif_running(dev))
		goto out;
	err = -EBUSY;
	if (sm_queue_is_owned(dev, port->reg.queue))
		goto out;
	nic->ops = sm_virtio_is(dev) ? &sm_nic_virtio : &sm_nic_napi;
	nic->dev = dev;
	nic->queue = port->reg.queue;
	err = nic->ops->open(nic);
	if (err) {
		nic->dev = NULL;
		goto out;
	}
	netdev_hold(dev, &nic->tracker, GFP_KERNEL);
	port->reg.nic = nic->ops->kind;
	port->net_cookie = net->net_cookie;
	list_add_tail(&port->node, &sm_ports);
	if (net_ratelimit())
		netdev_info(dev, "stackmap: queue %u is owned by %s, pid %d\n", nic->queue,
			    current->comm, current->tgid);
out:
	mutex_unlock(&sm_ports_mutex);
	rtnl_unlock();
	return err;
}

/* With RTNL and sm_ports_mutex held, and not the port's lock */
static void sm_port_drop_dev(struct sm_port *port)
{
	struct net_device *dev = port->nic.dev;

	if (!dev)
		return;
	sm_claim_end(port);
	if (port->nic.ops->close)
		port->nic.ops->close(&port->nic, dev);
	if (net_ratelimit())
		netdev_info(dev, "stackmap: queue %u is given back\n", port->reg.queue);
	netdev_put(dev, &port->nic.tracker);
	wake_up_interruptible_poll(port->wait, EPOLLERR | EPOLLHUP);
}

/**
 * sm_ports_remove() - give the queue back
 * @port: the port
 */
void sm_ports_remove(struct sm_port *port)
{
	rtnl_lock();
	mutex_lock(&sm_ports_mutex);
	list_del(&port->node);
	sm_port_drop_dev(port);
	mutex_unlock(&sm_ports_mutex);
	rtnl_unlock();
}

/* A number among the ports of the caller's network namespace, or NULL. With sm_ports_mutex held */
static struct sm_port *sm_ports_find(u32 index)
{
	struct sm_port *port;

	list_for_each_entry(port, &sm_ports, node) {
		/* A port whose interface is gone is in no namespace any more */
		if (!port->nic.dev || port->net_cookie != current->nsproxy->net_ns->net_cookie)
			continue;
		if (!index--)
			return port;
	}
	return NULL;
}

static int sm_ports_check(const struct stackmap_info *info)
{
	if (info->version != STACKMAP_ABI_VERSION)
		return -EPROTONOSUPPORT;
	return memchr_inv(info->reserved, 0, sizeof(info->reserved)) ? -EINVAL : 0;
}

/**
 * sm_ports_info() - STACKMAP_IOC_INFO
 * @info: the question; becomes the answer
 *
 * Return: 0, or an errno as listed in stackmap.h.
 */
int sm_ports_info(struct stackmap_info *info)
{
	struct sm_port *port;
	int err = sm_ports_check(info);

	if (err)
		return err;
	mutex_lock(&sm_ports_mutex);
	port = sm_ports_find(info->index);
	if (port)
		sm_info_fill(port, info);
	mutex_unlock(&sm_ports_mutex);
	return port ? 0 : -ENOENT;
}

/**
 * sm_ports_detail() - STACKMAP_IOC_DETAIL
 * @d: the question; becomes the answer
 *
 * Return: 0, or an errno as listed in stackmap.h.
 */
int sm_ports_detail(struct stackmap_detail *d)
{
	struct sm_port *port;
	int err = sm_ports_check(&d->info);

	if (!err && memchr_inv(d->reserved, 0, sizeof(d->reserved)))
		err = -EINVAL;
	if (err)
		return err;
	memset_after(d, 0, info);
	mutex_lock(&sm_ports_mutex);
	port = sm_ports_find(d->info.index);
	if (port)
		sm_detail_fill(port, d);
	mutex_unlock(&sm_ports_mutex);
	return port ? 0 : -ENOENT;
}

/* ------------------------------------------------------------------ events */

/*
 * An interface that goes down gets its queue back at once, and keeps it until it
 * is up. One that is unregistered or leaves its network namespace, which is
 * announced likewise, is gone for its port.
 */
static int sm_netdev_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);
	struct sm_port *port;

	if (event != NETDEV_GOING_DOWN && event != NETDEV_UP && event != NETDEV_UNREGISTER)
		return NOTIFY_DONE;
	mutex_lock(&sm_ports_mutex);
	list_for_each_entry(port, &sm_ports, node) {
		if (port->nic.dev != dev)
			continue;
		if (event == NETDEV_UNREGISTER)
			sm_port_drop_dev(port);
		else
			sm_claim_set_down(port, event == NETDEV_GOING_DOWN);
	}
	mutex_unlock(&sm_ports_mutex);
	return NOTIFY_DONE;
}

static struct notifier_block sm_netdev_notifier = {
	.notifier_call = sm_netdev_event,
};

/*
 * Drivers suspend and shut down in ways of their own, some without RTNL: no queue is
 * claimed then. A claim is made with the port's lock held and looks first whether it may,
 * so that none is left after the loop.
 */
static void sm_ports_freeze(bool freeze)
{
	struct sm_port *port;

	mutex_lock(&sm_ports_mutex);
	sm_claims_freeze(freeze);
	if (freeze)
		list_for_each_entry(port, &sm_ports, node)
			sm_claim_stop(port);
	mutex_unlock(&sm_ports_mutex);
}

static int sm_pm_event(struct notifier_block *nb, unsigned long event, void *unused)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		sm_ports_freeze(true);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		sm_ports_freeze(false);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block sm_pm_notifier = {
	.notifier_call = sm_pm_event,
};

/* Down or over to another kernel: device_shutdown() comes next */
static int sm_reboot_event(struct notifier_block *nb, unsigned long event, void *unused)
{
	sm_ports_freeze(true);
	return NOTIFY_DONE;
}

static struct notifier_block sm_reboot_notifier = {
	.notifier_call = sm_reboot_event,
};

int sm_ports_init(void)
{
	int err;

	err = register_netdevice_notifier(&sm_netdev_notifier);
	if (err)
		return err;
	err = register_pm_notifier(&sm_pm_notifier);
	if (err)
		goto unregister_netdev;
	err = register_reboot_notifier(&sm_reboot_notifier);
	if (err)
		goto unregister_pm;
	return 0;
unregister_pm:
	unregister_pm_notifier(&sm_pm_notifier);
unregister_netdev:
	unregister_netdevice_notifier(&sm_netdev_notifier);
	return err;
}

void sm_ports_exit(void)
{
	unregister_reboot_notifier(&sm_reboot_notifier);
	unregister_pm_notifier(&sm_pm_notifier);
	unregister_netdevice_notifier(&sm_netdev_notifier);
}
