// SPDX-License-Identifier: GPL-2.0
/*
 * tx.c - from the stack to the transmit ring
 *
 * Packets go to the device by reference, header and payload as separate
 * descriptors. In an owner's sync the doorbell rings for every few packets and
 * after the last: early enough for the device to work on the first ones while
 * the others are made, and seldom enough to cost little.
 *
 * The queue is stopped before the ring is full, and byte queue limits stop it
 * before that: what the device cannot have yet waits in the queueing discipline,
 * where it is seen, limited and scheduled as on any NIC. It is woken by whoever
 * reaps: an owner in its sync, otherwise NAPI. What waits then goes out in the
 * softirq that this raises, so an owner's sync never waits for room.
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

static bool sm_virtio_tx_empty(const struct sm_virtio_pair *p)
{
	return p->tvq->num_free == virtqueue_get_vring_size(p->tvq);
}

static bool sm_virtio_tx_has_room(const struct sm_virtio_pair *p)
{
	return p->tvq->num_free >= p->tx_room;
}

/*
 * Tell the byte queue limits of what is in the ring. Before any of it is told to
 * be complete, which the device may make it without a doorbell.
 */
static void sm_virtio_tx_tell(struct sm_virtio_pair *p)
{
	if (p->untold) {
		netdev_tx_sent_queue(sm_virtio_txq(p), p->untold);
		p->untold = 0;
	}
}

/**
 * sm_virtio_reap() - free what the device has sent, and wake the queue if there is room
 * @p: the pair; the caller holds its transmit lock
 * @budget: 0 when not in NAPI context
 */
void sm_virtio_reap(struct sm_virtio_pair *p, int budget)
{
	struct netdev_queue *txq = sm_virtio_txq(p);
	u32 packets = 0, bytes = 0;
	struct sk_buff *skb;
	u32 len;

	sm_virtio_tx_tell(p);
	while ((skb = virtqueue_get_buf(p->tvq, &len))) {
		packets++;
		bytes += skb->len;
		napi_consume_skb(skb, budget);
	}
	if (packets) {
		netdev_tx_completed_queue(txq, packets, bytes);
		u64_stats_update_begin(&p->tx_sync);
		u64_stats_add(&p->tx.packets, packets);
		u64_stats_add(&p->tx.bytes, bytes);
		u64_stats_update_end(&p->tx_sync);
	}
	if (unlikely(netif_tx_queue_stopped(txq)) && sm_virtio_tx_has_room(p))
		netif_tx_wake_queue(txq);
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
	sm_virtio_tx_tell(p);
	if (virtqueue_kick_prepare(p->tvq) && virtqueue_notify(p->tvq))
		sm_virtio_tx_count(p, &p->tx.kicks);
}

/*
 * Whoever has NAPI wakes the queue. An owner reaps in its next sync, and when it
 * has no next one, whoever takes the NIC back from it. (Once turned on, the
 * interrupt would come for every packet: each reap asks for the next.) Otherwise
 * it comes when most of the ring was sent; one that is due at once is made up here.
 */
static void sm_virtio_tx_expect(struct sm_virtio_pair *p)
{
	if (!p->tx_polled && !virtqueue_enable_cb_delayed(p->tvq))
		sm_virtio_schedule(p);
}

static void sm_virtio_tx_stop(struct sm_virtio_pair *p)
{
	netif_tx_stop_queue(sm_virtio_txq(p));
	sm_virtio_tx_count(p, &p->tx.stops);
}

/* The ring is full. The device may have sent a part of it already */
static void sm_virtio_tx_full(struct sm_virtio_pair *p)
{
	sm_virtio_kick(p);
	sm_virtio_reap(p, 0);
	if (!sm_virtio_tx_has_room(p))
		sm_virtio_tx_stop(p);
}

/*
 * A packet that the ring does not take: direct descriptors where there was no memory
 * for an indirect one, or no memory for a bounce buffer. It stays the caller's, who has
 * it sent again once the queue was woken.
 */
static netdev_tx_t sm_virtio_tx_refused(struct sm_virtio_pair *p, struct sk_buff *skb, int err)
{
	sm_virtio_kick(p);
	/* A packet that an empty ring has no room for never will be taken */
	if (err != -ENOMEM && (err != -ENOSPC || sm_virtio_tx_empty(p))) {
		sm_virtio_tx_count(p, &p->tx.dropped);
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	sm_virtio_tx_stop(p);
	/* Nothing in the ring, and no interrupt will come */
	if (sm_virtio_tx_empty(p))
		mod_timer(&p->retry, jiffies + SM_VIRTIO_RETRY);
	else
		sm_virtio_tx_expect(p);
	return NETDEV_TX_BUSY;
}

/**
 * sm_virtio_xmit() - ndo_start_xmit
 * @skb: the packet
 * @netdev: the interface
 *
 * Return: NETDEV_TX_OK, or NETDEV_TX_BUSY where memory is short.
 */
netdev_tx_t sm_virtio_xmit(struct sk_buff *skb, struct net_device *netdev)
{
	struct sm_virtio *dev = netdev_priv(netdev);
	struct sm_virtio_pair *p = &dev->pair[skb_get_queue_mapping(skb)];
	bool burst = READ_ONCE(p->burst_cpu) == smp_processor_id();
	int err;

	if (!burst)
		sm_virtio_reap(p, 0);
	err = sm_virtio_add(p, skb);
	if (unlikely(err))
		return sm_virtio_tx_refused(p, skb, err);
	skb_tx_timestamp(skb);
	p->unrung++;
	p->untold += skb->len;
	if (unlikely(!sm_virtio_tx_has_room(p)))
		sm_virtio_tx_full(p);
	if (burst) {
		if (p->unrung >= SM_VIRTIO_BURST)
			sm_virtio_kick(p);
		return NETDEV_TX_OK;
	}
	if (!netdev_xmit_more())
		sm_virtio_kick(p);
	sm_virtio_tx_expect(p);
	return NETDEV_TX_OK;
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
	p->unrung = 0;
	p->untold = 0;
	netdev_tx_reset_queue(sm_virtio_txq(p));
}
