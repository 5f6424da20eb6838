// SPDX-License-Identifier: GPL-2.0
/*
 * dev.c - a virtio network device and its netdev
 *
 * The driver takes no device by itself: the distribution's virtio_net keeps all
 * it has. A user names a device in the driver's "claim" attribute, unbinds it
 * from virtio_net and binds it here (`stackmap bind` does these steps); only
 * then the driver matches network devices, and takes the one that was named.
 *
 * The device stays in its default receive mode, which is promiscuous, as no
 * receive filter is negotiated. Its queues are set up at probe and filled when
 * the interface goes up.
 */
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_config.h>
#include <net/sock.h>
#include <uapi/linux/virtio_ids.h>
#include <uapi/linux/virtio_ring.h>

#include "virtio.h"

/* What a command to the control queue consists of; DMA-able memory */
struct sm_virtio_ctrl {
	struct virtio_net_ctrl_hdr hdr;
	union {
		struct virtio_net_ctrl_mq mq;
		u8 mac[ETH_ALEN];
	} arg;
	virtio_net_ctrl_ack status;
};

static const struct net_device_ops sm_virtio_netdev_ops;

bool sm_virtio_is(const struct net_device *dev)
{
	return dev->netdev_ops == &sm_virtio_netdev_ops;
}

/* ----------------------------------------------------------- control queue */

/* Send a command of @len argument bytes. The caller holds cvq_mutex */
static int sm_virtio_command(struct sm_virtio *dev, u8 class, u8 cmd, u32 len)
{
	struct scatterlist hdr, arg, status, *sgs[] = { &hdr, &arg, &status };
	unsigned long end = jiffies + HZ;
	unsigned int got;
	int err;

	if (dev->asleep)
		return -ENODEV;
	dev->ctrl->hdr.class = class;
	dev->ctrl->hdr.cmd = cmd;
	dev->ctrl->status = VIRTIO_NET_ERR;
	sg_init_one(&hdr, &dev->ctrl->hdr, sizeof(dev->ctrl->hdr));
	sg_init_one(&arg, &dev->ctrl->arg, len);
	sg_init_one(&status, &dev->ctrl->status, sizeof(dev->ctrl->status));
	err = virtqueue_add_sgs(dev->cvq, sgs, 2, 1, dev, GFP_KERNEL);
	if (err)
		return err;
	if (!virtqueue_kick(dev->cvq))
		return -EIO;
	while (!virtqueue_get_buf(dev->cvq, &got)) {
		if (virtqueue_is_broken(dev->cvq) || time_after(jiffies, end)) {
			/* What it was given must not be reused now */
			virtio_break_device(dev->vdev);
			return -EIO;
		}
		usleep_range(10, 100);
	}
	return dev->ctrl->status == VIRTIO_NET_OK ? 0 : -EINVAL;
}

static int sm_virtio_set_pairs(struct sm_virtio *dev, u16 pairs)
{
	int err;

	if (!virtio_has_feature(dev->vdev, VIRTIO_NET_F_MQ))
		return pairs == 1 ? 0 : -EOPNOTSUPP;
	mutex_lock(&dev->cvq_mutex);
	dev->ctrl->arg.mq.virtqueue_pairs = cpu_to_virtio16(dev->vdev, pairs);
	err = sm_virtio_command(dev, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
				sizeof(dev->ctrl->arg.mq));
	mutex_unlock(&dev->cvq_mutex);
	return err;
}

static int sm_virtio_send_mac(struct sm_virtio *dev, const u8 *mac)
{
	int err;

	mutex_lock(&dev->cvq_mutex);
	ether_addr_copy(dev->ctrl->arg.mac, mac);
	err = sm_virtio_command(dev, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				ETH_ALEN);
	mutex_unlock(&dev->cvq_mutex);
	return err;
}

/* ------------------------------------------------------------------ netdev */

static int sm_virtio_open(struct net_device *netdev)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	u32 i;

	if (dev->asleep)
		return -ENODEV;
	for (i = 0; i < dev->npairs; i++) {
		struct sm_virtio_pair *p = &dev->pair[i];

		/* Nobody else has NAPI yet; a port's lock guards its frames */
		if (p->nic) {
			spin_lock_bh(p->nic->lock);
			sm_virtio_refill(p);
			spin_unlock_bh(p->nic->lock);
		} else {
			sm_virtio_refill(p);
		}
		napi_enable(&p->napi);
		/* What waits already has given its interrupt */
		local_bh_disable();
		sm_virtio_schedule(p);
		local_bh_enable();
	}
	/* The stock driver, whose device it was, has left it disabled */
	virtio_config_driver_enable(dev->vdev);
	schedule_work(&dev->config_work);
	return 0;
}

static int sm_virtio_stop(struct net_device *netdev)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	u32 i;

	/* It was stopped then, and could not be started again */
	if (dev->asleep)
		return 0;
	virtio_config_driver_disable(dev->vdev);
	cancel_work_sync(&dev->config_work);
	for (i = 0; i < dev->npairs; i++) {
		napi_disable(&dev->pair[i].napi);
		virtqueue_disable_cb(dev->pair[i].rvq);
		virtqueue_disable_cb(dev->pair[i].tvq);
		/* The stack has stopped sending, and has dropped what waited */
		netif_tx_lock_bh(netdev);
		sm_virtio_reap(&dev->pair[i], 0);
		netif_tx_unlock_bh(netdev);
		/* Last: an owner's flush may have armed it */
		timer_delete_sync(&dev->pair[i].retry);
	}
	netif_carrier_off(netdev);
	dev->announced_up = false;
	return 0;
}

/* @v has room for SM_VIRTIO_STATS */
static void sm_virtio_stats(struct sm_virtio_stats *s, struct u64_stats_sync *sync, u64 *v)
{
	unsigned int start;

	do {
		start = u64_stats_fetch_begin(sync);
		v[0] = u64_stats_read(&s->packets);
		v[1] = u64_stats_read(&s->bytes);
		v[2] = u64_stats_read(&s->dropped);
		v[3] = u64_stats_read(&s->kicks);
		v[4] = u64_stats_read(&s->stops);
	} while (u64_stats_fetch_retry(sync, start));
}

static void sm_virtio_get_stats64(struct net_device *netdev, struct rtnl_link_stats64 *s)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	u64 v[SM_VIRTIO_STATS];
	u32 i;

	for (i = 0; i < dev->npairs; i++) {
		sm_virtio_stats(&dev->pair[i].rx, &dev->pair[i].rx_sync, v);
		s->rx_packets += v[0];
		s->rx_bytes += v[1];
		s->rx_dropped += v[2];
		sm_virtio_stats(&dev->pair[i].tx, &dev->pair[i].tx_sync, v);
		s->tx_packets += v[0];
		s->tx_bytes += v[1];
		s->tx_dropped += v[2];
	}
}

static int sm_virtio_set_mac(struct net_device *netdev, void *addr)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	struct sockaddr *sa = addr;
	int err;

	if (!virtio_has_feature(dev->vdev, VIRTIO_NET_F_CTRL_MAC_ADDR))
		return -EOPNOTSUPP;
	err = eth_prepare_mac_addr_change(netdev, addr);
	if (err)
		return err;
	err = sm_virtio_send_mac(dev, sa->sa_data);
	if (err)
		return err;
	eth_commit_mac_addr_change(netdev, addr);
	return 0;
}

static bool sm_virtio_is_owned(const struct net_device *netdev, int queue)
{
	const struct sm_virtio *dev = netdev_priv(netdev);

	return queue >= 0 && queue < netdev->real_num_tx_queues &&
	       READ_ONCE(dev->pair[queue].nic);
}

/*
 * The device steers a connection to the queue on which it was last heard of. So
 * a packet goes out on the queue of the port that its socket is attached to,
 * which has noted it there (sm_sock_use_queue()); before that, the answer to a
 * SYN say, on the queue where its connection came in. What has neither and
 * is sent in an owner's sync goes with its burst; what is forwarded, on
 * the queue it came in; all else, on the queue that this CPU serves.
 */
static u16 sm_virtio_select_queue(struct net_device *netdev, struct sk_buff *skb,
				  struct net_device *sb)
{
	const struct sm_virtio *dev = netdev_priv(netdev);
	int queue = sk_tx_queue_get(skb->sk);
	u32 i;

	if (sm_virtio_is_owned(netdev, queue))
		return queue;
	queue = sk_rx_queue_get(skb->sk);
	if (sm_virtio_is_owned(netdev, queue))
		return queue;
	for (i = 0; i < netdev->real_num_tx_queues; i++)
		if (READ_ONCE(dev->pair[i].burst_cpu) == smp_processor_id())
			return i;
	if (!skb->sk && skb_rx_queue_recorded(skb))
		return skb_get_rx_queue(skb) % netdev->real_num_tx_queues;
	return netdev_pick_tx(netdev, skb, sb);
}

/* Only an interrupt that was lost can be mended: NAPI frees what was sent, and wakes the queue */
static void sm_virtio_tx_timeout(struct net_device *netdev, unsigned int queue)
{
	struct sm_virtio *dev = netdev_priv(netdev);

	netdev_err(netdev, "the device has sent nothing on queue %u for too long\n", queue);
	sm_virtio_schedule(&dev->pair[queue]);
}

/* The device is promiscuous anyway. But without this function nobody can add an address (SIOCADDMULTI) */
static void sm_virtio_set_rx_mode(struct net_device *netdev)
{
}

static const struct net_device_ops sm_virtio_netdev_ops = {
	.ndo_open = sm_virtio_open,
	.ndo_stop = sm_virtio_stop,
	.ndo_start_xmit = sm_virtio_xmit,
	.ndo_select_queue = sm_virtio_select_queue,
	.ndo_get_stats64 = sm_virtio_get_stats64,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_rx_mode = sm_virtio_set_rx_mode,
	.ndo_set_mac_address = sm_virtio_set_mac,
	.ndo_features_check = passthru_features_check,
	.ndo_tx_timeout = sm_virtio_tx_timeout,
};

/* ----------------------------------------------------------------- ethtool */

static void sm_virtio_drvinfo(struct net_device *netdev, struct ethtool_drvinfo *info)
{
	struct sm_virtio *dev = netdev_priv(netdev);

	strscpy(info->driver, "stackmap_virtio", sizeof(info->driver));
	strscpy(info->bus_info, virtio_bus_name(dev->vdev), sizeof(info->bus_info));
}

static const char * const sm_virtio_stat_names[] = {
	"rx_packets", "rx_bytes", "rx_dropped", "tx_packets", "tx_bytes", "tx_dropped",
	"tx_kicks", "tx_stops",
};

static int sm_virtio_sset_count(struct net_device *netdev, int set)
{
	struct sm_virtio *dev = netdev_priv(netdev);

	return set == ETH_SS_STATS ? dev->npairs * ARRAY_SIZE(sm_virtio_stat_names) :
				     -EOPNOTSUPP;
}

static void sm_virtio_strings(struct net_device *netdev, u32 set, u8 *data)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	u32 i, j;

	for (i = 0; i < dev->npairs; i++)
		for (j = 0; j < ARRAY_SIZE(sm_virtio_stat_names); j++)
			ethtool_sprintf(&data, "queue%u_%s", i, sm_virtio_stat_names[j]);
}

static void sm_virtio_ethtool_stats(struct net_device *netdev, struct ethtool_stats *stats,
				    u64 *data)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	u64 rx[SM_VIRTIO_STATS], tx[SM_VIRTIO_STATS];
	u32 i;

	for (i = 0; i < dev->npairs; i++) {
		sm_virtio_stats(&dev->pair[i].rx, &dev->pair[i].rx_sync, rx);
		sm_virtio_stats(&dev->pair[i].tx, &dev->pair[i].tx_sync, tx);
		memcpy(data, rx, 3 * sizeof(*data));
		memcpy(data + 3, tx, SM_VIRTIO_STATS * sizeof(*data));
		data += ARRAY_SIZE(sm_virtio_stat_names);
	}
}

static void sm_virtio_channels(struct net_device *netdev, struct ethtool_channels *ch)
{
	struct sm_virtio *dev = netdev_priv(netdev);

	ch->max_combined = dev->npairs;
	ch->combined_count = netdev->real_num_rx_queues;
}

static void sm_virtio_ringparam(struct net_device *netdev, struct ethtool_ringparam *ring,
				struct kernel_ethtool_ringparam *kring,
				struct netlink_ext_ack *ack)
{
	struct sm_virtio *dev = netdev_priv(netdev);

	ring->rx_max_pending = virtqueue_get_vring_size(dev->pair[0].rvq);
	ring->tx_max_pending = virtqueue_get_vring_size(dev->pair[0].tvq);
	ring->rx_pending = ring->rx_max_pending;
	ring->tx_pending = ring->tx_max_pending;
}

static const struct ethtool_ops sm_virtio_ethtool_ops = {
	.get_drvinfo = sm_virtio_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = sm_virtio_sset_count,
	.get_strings = sm_virtio_strings,
	.get_ethtool_stats = sm_virtio_ethtool_stats,
	.get_channels = sm_virtio_channels,
	.get_ringparam = sm_virtio_ringparam,
};

/* ------------------------------------------------------------------ device */

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

static void sm_virtio_config_changed(struct virtio_device *vdev)
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

/* With one buffer a packet, the packet has to fit in it */
static u32 sm_virtio_max_mtu(struct virtio_device *vdev)
{
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF))
		return ETH_MAX_MTU;
	return PAGE_SIZE - sizeof(struct virtio_net_hdr_mrg_rxbuf) - ETH_HLEN - VLAN_HLEN;
}

static u16 sm_virtio_config_mtu(struct virtio_device *vdev)
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

/* A device that nobody has claimed is refused before: see sm_virtio_probe() */
static int sm_virtio_setup(struct virtio_device *vdev)
{
	struct net_device *netdev;
	struct sm_virtio *dev;
	u16 npairs = 1;
	u32 used;
	u8 mac[ETH_ALEN];
	int err;
	u32 i;

	if (!vdev->config->get || !virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "not a virtio 1.0 network device\n");
		return -ENODEV;
	}

	virtio_cread_feature(vdev, VIRTIO_NET_F_MQ, struct virtio_net_config,
			     max_virtqueue_pairs, &npairs);
	/* All of them are set up: the control queue comes after the last */
	if (!npairs || npairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX)
		return -EINVAL;
	netdev = alloc_etherdev_mq(struct_size(dev, pair, npairs), npairs);
	if (!netdev)
		return -ENOMEM;
	dev = netdev_priv(netdev);
	dev->vdev = vdev;
	dev->netdev = netdev;
	dev->npairs = npairs;
	dev->hdr_len = sizeof(struct virtio_net_hdr_mrg_rxbuf);
	dev->mergeable = virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF);
	mutex_init(&dev->cvq_mutex);
	INIT_WORK(&dev->config_work, sm_virtio_config_work);
	vdev->priv = dev;

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

	err = -ENOMEM;
	dev->ctrl = kzalloc(sizeof(*dev->ctrl), GFP_KERNEL);
	if (!dev->ctrl)
		goto free;
	for (i = 0; i < npairs; i++) {
		struct sm_virtio_pair *p = &dev->pair[i];

		p->dev = dev;
		p->index = i;
		p->burst_cpu = -1;
		u64_stats_init(&p->rx_sync);
		u64_stats_init(&p->tx_sync);
		timer_setup(&p->retry, sm_virtio_retry, 0);
		netif_napi_add(netdev, &p->napi, sm_virtio_poll);
	}
	err = sm_virtio_find_vqs(dev);
	if (err)
		goto free;

	rtnl_lock();
	for (i = 0; i < npairs; i++) {
		netif_queue_set_napi(netdev, i, NETDEV_QUEUE_TYPE_RX, &dev->pair[i].napi);
		netif_queue_set_napi(netdev, i, NETDEV_QUEUE_TYPE_TX, &dev->pair[i].napi);
	}
	netif_carrier_off(netdev);
	err = register_netdevice(netdev);
	if (err) {
		rtnl_unlock();
		goto del_vqs;
	}
	virtio_device_ready(vdev);
	used = min_t(u32, npairs, num_online_cpus());
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

del_vqs:
	/* The queues were enabled, and no driver could set them up again */
	virtio_reset_device(vdev);
	vdev->config->del_vqs(vdev);
free:
	kfree(dev->ctrl);
	free_netdev(netdev);
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

static void sm_virtio_remove(struct virtio_device *vdev)
{
	struct sm_virtio *dev = vdev->priv;

	unregister_netdev(dev->netdev);
	cancel_work_sync(&dev->config_work);
	rtnl_lock();
	if (!dev->asleep)
		sm_virtio_del_vqs(dev);
	rtnl_unlock();
	kfree(dev->ctrl);
	free_netdev(dev->netdev);
}

/* ------------------------------------------------------------------- claim */

/* The device that the user wants this driver to have, by its name on the bus */
static char sm_virtio_claimed[32];
static DEFINE_MUTEX(sm_virtio_claimed_mutex);

/*
 * The bus asks no more of a driver than this table whether it wants a device, and a
 * device that was offered to it and refused is left FAILED for the next one. So
 * the table is empty but while a device is claimed. virtio_dev_match() reads it
 * anew each time, up to the first entry without a device id.
 */
static struct virtio_device_id sm_virtio_ids[] = {
	{ 0, VIRTIO_DEV_ANY_ID },
	{ 0 }
};

/* With sm_virtio_claimed_mutex held. "" is nobody */
static void sm_virtio_set_claim(const char *name)
{
	strscpy(sm_virtio_claimed, name, sizeof(sm_virtio_claimed));
	WRITE_ONCE(sm_virtio_ids[0].device, *name ? VIRTIO_ID_NET : 0);
}

/* Whether this is the device that was claimed: it is no more, whatever becomes of it */
static bool sm_virtio_use_claim(const struct virtio_device *vdev)
{
	bool ours;

	mutex_lock(&sm_virtio_claimed_mutex);
	ours = !strcmp(sm_virtio_claimed, dev_name(&vdev->dev));
	if (ours)
		sm_virtio_set_claim("");
	mutex_unlock(&sm_virtio_claimed_mutex);
	return ours;
}

static int sm_virtio_probe(struct virtio_device *vdev)
{
	return sm_virtio_use_claim(vdev) ? sm_virtio_setup(vdev) : -ENODEV;
}

static struct virtio_driver sm_virtio_driver;

/*
 * While one device is claimed another may be offered, and setting up may fail. The core sets
 * FAILED then, and only a reset clears it, which no driver does before it begins: so
 * it is done here, as after remove(). The core tells the bus of it with dev->driver
 * still set, in really_probe().
 */
static int sm_virtio_bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct device *device = data;

	if (event == BUS_NOTIFY_DRIVER_NOT_BOUND && device->driver == &sm_virtio_driver.driver) {
		struct virtio_device *vdev = dev_to_virtio(device);

		virtio_reset_device(vdev);
		virtio_add_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	}
	return NOTIFY_OK;
}

static struct notifier_block sm_virtio_bus_notifier = {
	.notifier_call = sm_virtio_bus_event,
};

/* The one that the next probe() may take: echo virtio0 > .../claim; none: nobody */
static ssize_t claim_store(struct device_driver *drv, const char *buf, size_t count)
{
	char name[sizeof(sm_virtio_claimed)];
	struct device *device;

	if (strscpy(name, buf, sizeof(name)) < 0)
		return -ENODEV;
	if (!strcmp(strim(name), "none"))
		*name = 0;
	if (*name) {
		device = bus_find_device_by_name(drv->bus, NULL, name);
		if (!device)
			return -ENODEV;
		put_device(device);
	}
	mutex_lock(&sm_virtio_claimed_mutex);
	sm_virtio_set_claim(name);
	mutex_unlock(&sm_virtio_claimed_mutex);
	return count;
}

static ssize_t claim_show(struct device_driver *drv, char *buf)
{
	int n;

	mutex_lock(&sm_virtio_claimed_mutex);
	n = sysfs_emit(buf, "%s\n", *sm_virtio_claimed ? sm_virtio_claimed : "none");
	mutex_unlock(&sm_virtio_claimed_mutex);
	return n;
}
static DRIVER_ATTR_RW(claim);

static struct attribute *sm_virtio_attrs[] = {
	&driver_attr_claim.attr,
	NULL
};
ATTRIBUTE_GROUPS(sm_virtio);

/*
 * Guest TSO needs CTRL_GUEST_OFFLOADS only to be changed at run time. Without
 * mergeable buffers a large packet would not fit: validate() drops it then.
 */
static const unsigned int sm_virtio_features[] = {
	VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_MAC,
	VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
	VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
	VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_CTRL_VQ,
	VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_MTU,
};

static int sm_virtio_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF)) {
		__virtio_clear_bit(vdev, VIRTIO_NET_F_GUEST_TSO4);
		__virtio_clear_bit(vdev, VIRTIO_NET_F_GUEST_TSO6);
		__virtio_clear_bit(vdev, VIRTIO_NET_F_GUEST_ECN);
	}
	if (!virtio_has_feature(vdev, VIRTIO_NET_F_CTRL_VQ)) {
		__virtio_clear_bit(vdev, VIRTIO_NET_F_MQ);
		__virtio_clear_bit(vdev, VIRTIO_NET_F_CTRL_MAC_ADDR);
	}
	/* An MTU that is none, or for which receive buffers are too small: not promised */
	if (virtio_has_feature(vdev, VIRTIO_NET_F_MTU) && vdev->config->get &&
	    (sm_virtio_config_mtu(vdev) < ETH_MIN_MTU ||
	     sm_virtio_config_mtu(vdev) > sm_virtio_max_mtu(vdev)))
		__virtio_clear_bit(vdev, VIRTIO_NET_F_MTU);
	return 0;
}

#ifdef CONFIG_PM_SLEEP
/*
 * The device loses its queues, and all that is in them. A port keeps its pair:
 * it cannot claim it meanwhile, as it cannot while the interface is down.
 */
static int sm_virtio_freeze(struct virtio_device *vdev)
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

static int sm_virtio_restore(struct virtio_device *vdev)
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

static struct virtio_driver sm_virtio_driver = {
	.feature_table = sm_virtio_features,
	.feature_table_size = ARRAY_SIZE(sm_virtio_features),
	.driver.name = "stackmap_virtio",
	.driver.groups = sm_virtio_groups,
	.id_table = sm_virtio_ids,
	.validate = sm_virtio_validate,
	.probe = sm_virtio_probe,
	.remove = sm_virtio_remove,
	.config_changed = sm_virtio_config_changed,
#ifdef CONFIG_PM_SLEEP
	.freeze = sm_virtio_freeze,
	.restore = sm_virtio_restore,
#endif
};

int sm_virtio_init(void)
{
	int err;

	/* Which sets the bus. Nobody claims a device before all is there */
	mutex_lock(&sm_virtio_claimed_mutex);
	err = register_virtio_driver(&sm_virtio_driver);
	if (err) {
		mutex_unlock(&sm_virtio_claimed_mutex);
		return err;
	}
	err = bus_register_notifier(sm_virtio_driver.driver.bus, &sm_virtio_bus_notifier);
	mutex_unlock(&sm_virtio_claimed_mutex);
	/* This waits for those who are about to claim */
	if (err)
		unregister_virtio_driver(&sm_virtio_driver);
	return err;
}

void sm_virtio_exit(void)
{
	unregister_virtio_driver(&sm_virtio_driver);
	bus_unregister_notifier(sm_virtio_driver.driver.bus, &sm_virtio_bus_notifier);
}
