// SPDX-License-Identifier: GPL-2.0
/*
 * dev.c - a virtio network device: set up, asleep, removed
 *
 * The device stays in its default receive mode, which is promiscuous, as no
 * receive filter is negotiated. Its queues are set up at probe and filled when
 * the interface goes up.
 */
#include <linux/etherdevice.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_config.h>
#include <uapi/linux/virtio_ring.h>

#include "virtio.h"

static void sm_virtio_config_work(struct work_struct *work)
{
	struct sm_virtio *dev = container_of(work, struct sm_virtio, config_work);
	bool up = true;
	u16 status;

	if (virtio_has_feature(dev->vdev, VIRTIO_NET_F_STATUS)) {
		status = virtio_cread16(dev->vdev, offsetof(struct virtio_net_config, status));
		up = status & VIRTIO_NET_S_LINK_UP;
	}
	if (up == dev->announced_up)
		return;
	dev->announced_up = up;
	if (up)
		netif_carrier_on(dev->netdev);
	else
		netif_carrier_off(dev->netdev);
}

/**
 * sm_virtio_config_changed() - the device says that its configuration has changed
 * @vdev: the device
 */
void sm_virtio_config_changed(struct virtio_device *vdev)
{
	struct sm_virtio *dev = vdev->priv;

	if (netif_running(dev->netdev) && !READ_ONCE(dev->asleep))
		schedule_work(&dev->config_work);
}

/*
 * An indirect descriptor is one in the ring. A ring that is smaller than a packet
 * may be is filled by one: what it does not take even then is dropped.
 */
static u32 sm_virtio_tx_room(const struct sm_virtio *dev, struct virtqueue *tvq)
{
	if (virtio_has_feature(dev->vdev, VIRTIO_RING_F_INDIRECT_DESC))
		return 1;
	return min_t(u32, SM_VIRTIO_SG, virtqueue_get_vring_size(tvq));
}

static int sm_virtio_find_vqs(struct sm_virtio *dev)
{
	bool ctrl = virtio_has_feature(dev->vdev, VIRTIO_NET_F_CTRL_VQ);
	u32 n = dev->npairs * 2 + ctrl;
	struct virtqueue_info *info;
	struct virtqueue **vqs;
	int err = -ENOMEM;
	u32 i;

	vqs = kcalloc(n, sizeof(*vqs), GFP_KERNEL);
	info = kcalloc(n, sizeof(*info), GFP_KERNEL);
	if (!vqs || !info)
		goto out;
	for (i = 0; i < dev->npairs; i++) {
		struct sm_virtio_pair *p = &dev->pair[i];

		snprintf(p->rx_name, sizeof(p->rx_name), "input.%u", i);
		snprintf(p->tx_name, sizeof(p->tx_name), "output.%u", i);
		info[2 * i] = (struct virtqueue_info){ p->rx_name, sm_virtio_interrupt };
		info[2 * i + 1] = (struct virtqueue_info){ p->tx_name, sm_virtio_interrupt };
	}
	if (ctrl)
		info[n - 1].name = "control";
	err = virtio_find_vqs(dev->vdev, n, vqs, info, NULL);
	if (err)
		goto out;
	for (i = 0; i < dev->npairs; i++) {
		dev->pair[i].rvq = vqs[2 * i];
		dev->pair[i].tvq = vqs[2 * i + 1];
		dev->pair[i].tx_room = sm_virtio_tx_room(dev, dev->pair[i].tvq);
		virtqueue_disable_cb(dev->pair[i].rvq);
		virtqueue_disable_cb(dev->pair[i].tvq);
	}
	dev->cvq = ctrl ? vqs[n - 1] : NULL;
out:
	kfree(info);
	kfree(vqs);
	return err;
}

/**
 * sm_virtio_max_mtu() - what the driver can receive
 * @vdev: the device
 *
 * Return: an MTU. With one buffer a packet, the packet has to fit in it.
 */
u32 sm_virtio_max_mtu(struct virtio_device *vdev)
{
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF))
		return ETH_MAX_MTU;
	return PAGE_SIZE - sizeof(struct virtio_net_hdr_mrg_rxbuf) - ETH_HLEN - VLAN_HLEN;
}

/**
 * sm_virtio_config_mtu() - what the device advises
 * @vdev: a device with VIRTIO_NET_F_MTU
 *
 * Return: an MTU, if it makes sense.
 */
u16 sm_virtio_config_mtu(struct virtio_device *vdev)
{
	return virtio_cread16(vdev, offsetof(struct virtio_net_config, mtu));
}

static void sm_virtio_set_features(struct sm_virtio *dev, struct net_device *netdev)
{
	struct virtio_device *vdev = dev->vdev;

	if (virtio_has_feature(vdev, VIRTIO_NET_F_CSUM)) {
		netdev->hw_features |= NETIF_F_HW_CSUM | NETIF_F_SG;
		if (virtio_has_feature(vdev, VIRTIO_NET_F_HOST_TSO4))
			netdev->hw_features |= NETIF_F_TSO;
		if (virtio_has_feature(vdev, VIRTIO_NET_F_HOST_TSO6))
			netdev->hw_features |= NETIF_F_TSO6;
		if (virtio_has_feature(vdev, VIRTIO_NET_F_HOST_ECN))
			netdev->hw_features |= NETIF_F_TSO_ECN;
	}
	netdev->features = netdev->hw_features | NETIF_F_HIGHDMA | NETIF_F_RXCSUM |
			   NETIF_F_GSO_ROBUST;
	netdev->vlan_features = netdev->features;
	/*
	 * Not NETIF_F_GRO_HW, though what arrives may be several packets in one: who asks
	 * for it to be turned off (generic_xdp_install()) is in for a warning when it cannot be.
	 */
	/*
	 * Unicast packets for any address arrive, as all do: there is no reason to
	 * count the interface as promiscuous for a macvlan's sake.
	 */
	netdev->priv_flags |= IFF_UNICAST_FLT | IFF_LIVE_ADDR_CHANGE | IFF_DISABLE_NETPOLL;
	/*
	 * ether_setup() has set it. But the header for the device is written next to
	 * the packet, and the packet's length is read once it is sent: nobody else may
	 * have the same skb on its way at the time, as pktgen does.
	 */
	netdev->priv_flags &= ~IFF_TX_SKB_SHARING;
	netdev->needed_headroom = dev->hdr_len;
	netdev->min_mtu = ETH_MIN_MTU;
	netdev->max_mtu = sm_virtio_max_mtu(vdev);
	/* validate() has seen that it is possible */
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MTU)) {
		netdev->max_mtu = clamp_t(u32, sm_virtio_config_mtu(vdev), ETH_MIN_MTU,
					  netdev->max_mtu);
		netdev->mtu = netdev->max_mtu;
	}
}

static void sm_virtio_init_pair(struct sm_virtio *dev, u32 index)
{
	struct sm_virtio_pair *p = &dev->pair[index];

	p->dev = dev;
	p->index = index;
	p->burst_cpu = -1;
	u64_stats_init(&p->rx_sync);
	u64_stats_init(&p->tx_sync);
	timer_setup(&p->retry, sm_virtio_retry, 0);
	sg_init_table(&p->rx_sg, 1);
	sg_init_table(&p->small_sg, 1);
	netif_napi_add(dev->netdev, &p->napi, sm_virtio_poll);
}

/* A device and its interface, of which nobody knows yet. NULL without memory */
static struct sm_virtio *sm_virtio_alloc(struct virtio_device *vdev, u16 npairs)
{
	struct net_device *netdev;
	struct sm_virtio *dev;
	u8 mac[ETH_ALEN];
	u32 i;

	netdev = alloc_etherdev_mq(struct_size(dev, pair, npairs), npairs);
	if (!netdev)
		return NULL;
	dev = netdev_priv(netdev);
	dev->vdev = vdev;
	dev->netdev = netdev;
	dev->npairs = npairs;
	dev->hdr_len = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	dev->mergeable = virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF);
	INIT_WORK(&dev->config_work, sm_virtio_config_work);
	if (sm_virtio_ctrl_init(dev)) {
		free_netdev(netdev);
		return NULL;
	}

	/*
	 * Its own class, as a port's registration takes its lock inside the list of ports', and
	 * notifiers of other devices come to that list with theirs held.
	 */
	netdev_lockdep_set_classes(netdev);
	SET_NETDEV_DEV(netdev, &vdev->dev);
	netdev->netdev_ops = &sm_virtio_netdev_ops;
	netdev->ethtool_ops = &sm_virtio_ethtool_ops;
	sm_virtio_set_features(dev, netdev);
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MAC)) {
		virtio_cread_bytes(vdev, offsetof(struct virtio_net_config, mac), mac,
				   sizeof(mac));
		eth_hw_addr_set(netdev, mac);
	} else {
		eth_hw_addr_random(netdev);
	}
	for (i = 0; i < npairs; i++)
		sm_virtio_init_pair(dev, i);
	return dev;
}

static void sm_virtio_free(struct sm_virtio *dev)
{
	kfree(dev->ctrl);
	free_netdev(dev->netdev);
}

/* Have the network core know the interface, and use a queue pair for each CPU */
static int sm_virtio_register(struct sm_virtio *dev)
{
	struct net_device *netdev = dev->netdev;
	u32 used;
	int err;
	u32 i;

	rtnl_lock();
	for (i = 0; i < dev->npairs; i++) {
		netif_queue_set_napi(netdev, i, NETDEV_QUEUE_TYPE_RX, &dev->pair[i].napi);
		netif_queue_set_napi(netdev, i, NETDEV_QUEUE_TYPE_TX, &dev->pair[i].napi);
	}
	netif_carrier_off(netdev);
	err = register_netdevice(netdev);
	if (err) {
		rtnl_unlock();
		return err;
	}
	virtio_device_ready(dev->vdev);
	used = min_t(u32, dev->npairs, num_online_cpus());
	if (sm_virtio_set_pairs(dev, used)) {
		netdev_warn(netdev, "the device does not switch to %u queues: using one\n", used);
		used = 1;
	}
	netif_set_real_num_tx_queues(netdev, used);
	netif_set_real_num_rx_queues(netdev, used);
	rtnl_unlock();
	for (i = 0; i < used; i++)
		netif_set_xps_queue(netdev, cpumask_of(i), i);
	return 0;
}

/**
 * sm_virtio_setup() - make a device an interface
 * @vdev: the device, which was claimed. Others are refused before: see driver.c
 *
 * Return: 0 or an errno.
 */
int sm_virtio_setup(struct virtio_device *vdev)
{
	struct sm_virtio *dev;
	u16 npairs = 1;
	int err;

	if (!vdev->config->get || !virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "not a virtio 1.0 network device\n");
		return -ENODEV;
	}

	virtio_cread_feature(vdev, VIRTIO_NET_F_MQ, struct virtio_net_config,
			     max_virtqueue_pairs, &npairs);
	/* All of them are set up: the control queue comes after the last */
	if (!npairs || npairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX)
		return -EINVAL;
	dev = sm_virtio_alloc(vdev, npairs);
	if (!dev)
		return -ENOMEM;
	vdev->priv = dev;
	err = sm_virtio_find_vqs(dev);
	if (err)
		goto free;
	err = sm_virtio_register(dev);
	if (err)
		goto del_vqs;
	return 0;

del_vqs:
	/* The queues were enabled, and no driver could set them up again */
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
free:
	sm_virtio_free(dev);
	return err;
}

/* Reset the device, take back what it has and delete its queues. Under RTNL */
static void sm_virtio_del_vqs(struct sm_virtio *dev)
{
	u32 i;

	virtio_reset_device(dev->vdev);
	for (i = 0; i < dev->npairs; i++) {
		struct sm_virtio_pair *p = &dev->pair[i];

		if (p->nic) {
			spin_lock_bh(p->nic->lock);
			sm_virtio_rx_drain(p);
			spin_unlock_bh(p->nic->lock);
		} else {
			sm_virtio_rx_drain(p);
		}
		sm_virtio_tx_drain(p);
	}
	dev->vdev->config->del_vqs(dev->vdev);
}

/**
 * sm_virtio_remove() - the opposite of sm_virtio_setup()
 * @vdev: the device
 */
void sm_virtio_remove(struct virtio_device *vdev)
{
	struct sm_virtio *dev = vdev->priv;

	unregister_netdev(dev->netdev);
	cancel_work_sync(&dev->config_work);
	rtnl_lock();
	if (!dev->asleep)
		sm_virtio_del_vqs(dev);
	rtnl_unlock();
	sm_virtio_free(dev);
}

#ifdef CONFIG_PM_SLEEP
/**
 * sm_virtio_freeze() - the machine goes to sleep
 * @vdev: the device
 *
 * The device loses its queues, and all that is in them. A port keeps its pair:
 * it cannot claim it meanwhile, as it cannot while the interface is down.
 *
 * Return: 0.
 */
int sm_virtio_freeze(struct virtio_device *vdev)
{
	struct sm_virtio *dev = vdev->priv;
	struct net_device *netdev = dev->netdev;
	u32 i;

	rtnl_lock();
	/* Not woken up since the last time, because that failed: it has no queues */
	if (dev->asleep)
		goto unlock;
	if (netif_running(netdev)) {
		/* Without a queueing discipline nothing can be sent */
		sm_dev_deactivate(netdev);
		for (i = 0; i < dev->npairs; i++)
			sm_virtio_disown(&dev->pair[i]);
		sm_virtio_stop(netdev);
	}
	/* generic_xdp_tx() looks whether the queue is stopped, with this lock held */
	netif_tx_lock_bh(netdev);
	netif_device_detach(netdev);
	netif_tx_unlock_bh(netdev);
	WRITE_ONCE(dev->asleep, true);
	cancel_work_sync(&dev->config_work);
	sm_virtio_del_vqs(dev);
unlock:
	rtnl_unlock();
	return 0;
}

/**
 * sm_virtio_restore() - the machine has woken up
 * @vdev: the device
 *
 * Return: 0 or an errno.
 */
int sm_virtio_restore(struct virtio_device *vdev)
{
	struct sm_virtio *dev = vdev->priv;
	struct net_device *netdev = dev->netdev;
	int err;

	rtnl_lock();
	err = sm_virtio_find_vqs(dev);
	if (err)
		goto unlock;
	virtio_device_ready(vdev);
	WRITE_ONCE(dev->asleep, false);
	if (sm_virtio_set_pairs(dev, netdev->real_num_rx_queues))
		netdev_warn(netdev, "the device does not switch to %u queues any more\n",
			    netdev->real_num_rx_queues);
	if (virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_MAC_ADDR) &&
	    sm_virtio_send_mac(dev, netdev->dev_addr))
		netdev_warn(netdev, "the device does not take its MAC address again\n");
	/* The carrier comes back with the configuration, and the queueing discipline with it */
	if (netif_running(netdev))
		sm_virtio_open(netdev);
	netif_device_attach(netdev);
unlock:
	rtnl_unlock();
	return err;
}
#endif
