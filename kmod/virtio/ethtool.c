// SPDX-License-Identifier: GPL-2.0
/*
 * ethtool.c - what `ethtool` shows of a virtio network device
 */
#include <linux/ethtool.h>
#include <linux/virtio_config.h>

#include "virtio.h"

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

const struct ethtool_ops sm_virtio_ethtool_ops = {
	.get_drvinfo = sm_virtio_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = sm_virtio_sset_count,
	.get_strings = sm_virtio_strings,
	.get_ethtool_stats = sm_virtio_ethtool_stats,
	.get_channels = sm_virtio_channels,
	.get_ringparam = sm_virtio_ringparam,
};
