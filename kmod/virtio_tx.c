// SPDX-License-Identifier: GPL-2.0
/*
 * virtio_tx.c - from the stack to the transmit ring
 *
 * Packets go to the device by reference, header and payload as separate
 * descriptors. In an owner's sync the doorbell rings for every few packets and
 * after the last: early enough for the device to work on the first ones while
 * the others are made, and seldom enough to cost little. There is no queueing
 * discipline by default and the transmit queue is never stopped: what the ring
 * has no room for waits in a list here. For TCP, the small-queue limit bounds
 * that list, as packets keep their socket until they are sent.
 */
#include <linux/skbuff.h>

#include "virtio.h"

/*
 * Packets of a sync that share a doorbell. With one doorbell a sync the device
 * was idle while a batch was made, and the CPU while it was sent: 25 % fewer
 * requests at 64 connections. From 4 to 16 there was no difference to be seen.
 */
#define SM_VIRTIO_BURST	8

/* Returns 0, or -ENOSPC or another errno when the ring does not take it now */
static int sm_virtio_add(struct sm_virtio_pair *p, struct sk_buff *skb)
{
	struct sm_virtio *dev = p->dev;
	struct virtio_net_hdr_mrg_rxbuf *hdr;
	bool pushed;
	int n;

	pushed = !skb_header_cloned(skb) && skb_headroom(skb) >= dev->hdr_len &&
		 IS_ALIGNED((unsigned long)skb->data - dev->hdr_len, __alignof__(*hdr));
	if (pushed)
		hdr = (void *)(skb->data - dev->hdr_len);
	else
		hdr = (void *)skb->cb;
	BUILD_BUG_ON(sizeof(*hdr) > sizeof(skb->cb));
	if (virtio_net_hdr_from_skb(skb, &hdr->hdr, virtio_is_little_endian(dev->vdev),
				    false, 0))
		return -EPROTO;
	if (dev->hdr_len == sizeof(*hdr))
		hdr->num_buffers = 0;

	sg_init_table(p->sg, skb_shinfo(skb)->nr_frags + (pushed ? 1 : 2));
	if (pushed) {
		__skb_push(skb, dev->hdr_len);
		n = skb_to_sgvec(skb, p->sg, 0, skb->len);
		__skb_pull(skb, dev->hdr_len);
	} else {
		sg_set_buf(p->sg, hdr, dev->hdr_len);
		n = skb_to_sgvec(skb, p->sg + 1, 0, skb->len);
		n += n > 0;
	}
	if (unlikely(n < 0))
		return n;
	return virtqueue_add_outbuf(p->tvq, p->sg, n, skb, GFP_ATOMIC);
}

/* One more of @counter, which is in p->tx */
static void sm_virtio_tx_count(struct sm_virtio_pair *p, u64_stats_t *counter)
{
	u64_stats_update_begin(&p->tx_sync);
	u64_stats_inc(counter);
	u64_stats_update_end(&p->tx_sync);
}

static void sm_virtio_tx_dropped(struct sm_virtio_pair *p, struct sk_buff *skb)
{
	sm_virtio_tx_count(p, &p->tx.dropped);
	dev_kfree_skb_any(skb);
}

static bool sm_virtio_tx_empty(const struct sm_virtio_pair *p)
{
	return p->tvq->num_free == virtqueue_get_vring_size(p->tvq);
}

/* Something waits. If there is nothing in the ring, no interrupt will come either */
static void sm_virtio_tx_later(struct sm_virtio_pair *p)
{
	if (unlikely(sm_virtio_tx_empty(p)))
		mod_timer(&p->retry, jiffies + SM_VIRTIO_RETRY);
}

/* Try what waits. Returns whether nothing waits any more */
static bool sm_virtio_tx_backlog(struct sm_virtio_pair *p)
{
	struct sk_buff *skb;
	int err;

	while ((skb = skb_peek(&p->backlog))) {
		err = sm_virtio_add(p, skb);
		/* A packet that an empty ring does not take never will be taken */
		if ((err == -ENOSPC && !sm_virtio_tx_empty(p)) ||
		    err == -ENOMEM)
			return false;
		__skb_unlink(skb, &p->backlog);
		if (unlikely(err))
			sm_virtio_tx_dropped(p, skb);
		else
			p->unrung++;
	}
	return true;
}

/**
 * sm_virtio_reap() - free what the device has sent, and send what waits
 * @p: the pair; the caller holds its transmit lock
 * @budget: 0 when not in NAPI context
 */
void sm_virtio_reap(struct sm_virtio_pair *p, int budget)
{
	u32 packets = 0, bytes = 0;
	struct sk_buff *skb;
	u32 len;

	while ((skb = virtqueue_get_buf(p->tvq, &len))) {
		packets++;
		bytes += skb->len;
		napi_consume_skb(skb, budget);
	}
	if (unlikely(!skb_queue_empty(&p->backlog)) && !sm_virtio_tx_backlog(p))
		sm_virtio_tx_later(p);
	if (!packets)
		return;
	u64_stats_update_begin(&p->tx_sync);
	u64_stats_add(&p->tx.packets, packets);
	u64_stats_add(&p->tx.bytes, bytes);
	u64_stats_update_end(&p->tx_sync);
}

/**
 * sm_virtio_kick() - ring the doorbell if something waits for it
 * @p: the pair; the caller holds its transmit lock
 */
void sm_virtio_kick(struct sm_virtio_pair *p)
{
	if (!p->unrung)
		return;
	p->unrung = 0;
	if (virtqueue_kick_prepare(p->tvq) && virtqueue_notify(p->tvq))
		sm_virtio_tx_count(p, &p->tx.kicks);
}

/**
 * sm_virtio_xmit() - ndo_start_xmit: always takes the packet
 * @skb: the packet
 * @netdev: the interface
 *
 * Return: NETDEV_TX_OK.
 */
netdev_tx_t sm_virtio_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	struct sm_virtio_pair *p = &dev->pair[skb_get_queue_mapping(skb)];
	bool burst = READ_ONCE(p->burst_cpu) == smp_processor_id();
	int err;

	if (!burst)
		sm_virtio_reap(p, 0);
	skb_tx_timestamp(skb);
	if (unlikely(!skb_queue_empty(&p->backlog)))
		err = -ENOSPC;
	else
		err = sm_virtio_add(p, skb);
	if (err == -ENOSPC) {
		sm_virtio_kick(p);
		sm_virtio_reap(p, 0);
		err = sm_virtio_tx_backlog(p) ? sm_virtio_add(p, skb) : -ENOSPC;
	}
	if (likely(!err)) {
		p->unrung++;
	} else if ((err == -ENOSPC || err == -ENOMEM) &&
		   skb_queue_len(&p->backlog) < SM_VIRTIO_BACKLOG) {
		__skb_queue_tail(&p->backlog, skb);
		sm_virtio_tx_count(p, &p->tx.deferred);
		sm_virtio_tx_later(p);
	} else {
		sm_virtio_tx_dropped(p, skb);
	}
	if (burst) {
		if (p->unrung >= SM_VIRTIO_BURST)
			sm_virtio_kick(p);
		return NETDEV_TX_OK;
	}
	if (!netdev_xmit_more())
		sm_virtio_kick(p);
	/*
	 * An owner reaps in its next sync, and when it has no next one, whoever
	 * takes the NIC back from it. (Once turned on, the interrupt would come
	 * for every packet: each reap asks for the next.) Otherwise it comes when
	 * most of the ring was sent; one that is due at once is made up here.
	 */
	if (!p->tx_polled && !virtqueue_enable_cb_delayed(p->tvq))
		sm_virtio_interrupt(p->tvq);
	return NETDEV_TX_OK;
}

/**
 * sm_virtio_tx_forget() - drop what waits for room in the ring
 * @p: the pair; the caller holds its transmit lock
 *
 * An interface that is down has nobody to send it, and packets hold sockets, and
 * these their network namespace.
 */
void sm_virtio_tx_forget(struct sm_virtio_pair *p)
{
	struct sk_buff *skb;

	while ((skb = __skb_dequeue(&p->backlog)))
		sm_virtio_tx_dropped(p, skb);
}

/**
 * sm_virtio_tx_drain() - free what a device that was reset will not send
 * @p: the pair; nobody else uses it
 */
void sm_virtio_tx_drain(struct sm_virtio_pair *p)
{
	struct sk_buff *skb;

	while ((skb = virtqueue_detach_unused_buf(p->tvq)))
		dev_kfree_skb(skb);
	__skb_queue_purge(&p->backlog);
}
