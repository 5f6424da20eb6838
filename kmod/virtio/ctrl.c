// SPDX-License-Identifier: GPL-2.0
/*
 * ctrl.c - commands to a virtio network device, by its control queue
 */
#include <linux/etherdevice.h>
#include <linux/virtio_config.h>

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

/**
 * sm_virtio_ctrl_init() - memory for commands
 * @dev: the device
 *
 * Return: 0 or -ENOMEM. Whoever frees the device frees it with kfree().
 */
int sm_virtio_ctrl_init(struct sm_virtio *dev)
{
	mutex_init(&dev->cvq_mutex);
	dev->ctrl = kzalloc(sizeof(*dev->ctrl), GFP_KERNEL);
	return dev->ctrl ? 0 : -ENOMEM;
}

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

/**
 * sm_virtio_set_pairs() - how many queue pairs the device is to use
 * @dev: the device
 * @pairs: the first so many
 *
 * Return: 0 or an errno.
 */
int sm_virtio_set_pairs(struct sm_virtio *dev, u16 pairs)
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

/**
 * sm_virtio_send_mac() - tell the device its MAC address
 * @dev: the device
 * @mac: the address
 *
 * Return: 0 or an errno.
 */
int sm_virtio_send_mac(struct sm_virtio *dev, const u8 *mac)
{
	int err;

	mutex_lock(&dev->cvq_mutex);
	ether_addr_copy(dev->ctrl->arg.mac, mac);
	err = sm_virtio_command(dev, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
				ETH_ALEN);
	mutex_unlock(&dev->cvq_mutex);
	return err;
}
