// SPDX-License-Identifier: GPL-2.0
/*
 * netdev.c - what the network core asks of a virtio network device
 */
#include <linux/etherdevice.h>
#include <linux/virtio_config.h>
#include <net/sock.h>

#include "virtio.h"

int sm_virtio_open(struct net_device *netdev)
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

int sm_virtio_stop(struct net_device *netdev)
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

/**
 * sm_virtio_stats() - read statistics of a queue
 * @s: these
 * @sync: what guards them
 * @v: with room for SM_VIRTIO_STATS, where they go
 */
void sm_virtio_stats(struct sm_virtio_stats *s, struct u64_stats_sync *sync, u64 *v)
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

const struct net_device_ops sm_virtio_netdev_ops = {
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

bool sm_virtio_is(const struct net_device *dev)
{
	return dev->netdev_ops == &sm_virtio_netdev_ops;
}
