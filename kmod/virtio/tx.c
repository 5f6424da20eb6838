// SPDX-License-Identifier: GPL-2.0
/*
 * tx.c - from the stack to the transmit ring
 *
 * Packets go to the device by reference, header and payload as separate
 * descriptors; small ones are copied into one (SM_VIRTIO_SMALL). In an owner's
 * sync the doorbell rings for every few packets and after the last: early enough
 * for the device to work on the first ones while the others are made, and seldom
 * enough to cost little.
 *
 * The queue is stopped before the ring is full, and byte queue limits stop it
 * before that: what the device cannot have yet waits in the queueing discipline,
 * where it is seen, limited and scheduled as on any NIC. It is woken by whoever
 * reaps: an owner in its sync, otherwise NAPI. What waits then goes out in the
 * softirq that this raises, so an owner's sync never waits for room.
 */
#include <linux/skbuff.h>

#include "../trace.h"
#include "virtio.h"

/*
 * Packets of a sync that share a doorbell. With one doorbell a sync the device
 * was idle while a batch was made, and the CPU while it was sent: 25 % fewer
 * requests at 64 connections. From 4 to 16 there was no difference to be seen.
 */
#define SM_VIRTIO_BURST	8

/* What the driver has in skb->cb */
struct sm_virtio_cb {
	struct virtio_net_hdr_mrg_rxbuf hdr;	/* if there is no room for it before the packet */
	void *small;				/* the copy that the device sends, or NULL */
};

static struct sm_virtio_cb *sm_virtio_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct sm_virtio_cb) > sizeof(skb->cb));
	return (struct sm_virtio_cb *)skb->cb;
}

static void sm_virtio_small_put(struct sm_virtio_pair *p, void *small)
{
	*(void **)small = p->small;
	p->small = small;
}

/* There were never as many on their way */
static noinline void sm_virtio_small_more(struct sm_virtio_pair *p)
{
	struct page *page;
	u32 off;

	if (p->small_pages == SM_VIRTIO_SMALL_PAGES)
		return;
	page = alloc_page(GFP_ATOMIC | __GFP_NOWARN);
	if (!page)
		return;
	p->small_page[p->small_pages++] = page;
	for (off = 0; off < PAGE_SIZE; off += SM_VIRTIO_SMALL)
		sm_virtio_small_put(p, page_address(page) + off);
}

/* A buffer to copy a packet of @len bytes into, or NULL */
static void *sm_virtio_small_get(struct sm_virtio_pair *p, u32 len)
{
	void *small;

	if (len > SM_VIRTIO_SMALL - p->dev->hdr_len)
		return NULL;
	if (unlikely(!p->small))
		sm_virtio_small_more(p);
	small = p->small;
	if (likely(small))
		p->small = *(void **)small;
	return small;
}

/* Header and payload as they are, as so many descriptors as it takes. Returns as sm_virtio_add() */
static int sm_virtio_add_pieces(struct sm_virtio_pair *p, struct sk_buff *skb, void *hdr,
				bool pushed)
{
	u32 hdr_len = p->dev->hdr_len;
	int n;

	sg_init_table(p->sg, skb_shinfo(skb)->nr_frags + (pushed ? 1 : 2));
	if (pushed) {
		__skb_push(skb, hdr_len);
		n = skb_to_sgvec(skb, p->sg, 0, skb->len);
		__skb_pull(skb, hdr_len);
	} else {
		sg_set_buf(p->sg, hdr, hdr_len);
		n = skb_to_sgvec(skb, p->sg + 1, 0, skb->len);
		n += n > 0;
	}
	if (unlikely(n < 0))
		return n;
	return virtqueue_add_outbuf(p->tvq, p->sg, n, skb, GFP_ATOMIC);
}

/* A copy of it all. (No frag_list: the driver has no NETIF_F_FRAGLIST. No high memory: x86-64) */
static int sm_virtio_add_small(struct sm_virtio_pair *p, struct sk_buff *skb, void *small)
{
	const struct skb_shared_info *si = skb_shinfo(skb);
	u32 hdr_len = p->dev->hdr_len;
	void *to = small + hdr_len;
	u32 i, len;

	len = skb_headlen(skb);
	memcpy(to, skb->data, len);
	for (i = 0; i < si->nr_frags; i++) {
		to += len;
		len = skb_frag_size(&si->frags[i]);
		memcpy(to, skb_frag_address(&si->frags[i]), len);
	}
	sg_set_buf(&p->small_sg, small, hdr_len + skb->len);
	return virtqueue_add_outbuf(p->tvq, &p->small_sg, 1, skb, GFP_ATOMIC);
}

/* Returns 0, or -ENOSPC or another errno when the ring does not take it now */
static int sm_virtio_add(struct sm_virtio_pair *p, struct sk_buff *skb)
{
	struct sm_virtio *dev = p->dev;
	struct virtio_net_hdr_mrg_rxbuf *hdr;
	void *small = NULL;
	bool pushed;
	int err;

	pushed = !skb_header_cloned(skb) && skb_headroom(skb) >= dev->hdr_len &&
		 IS_ALIGNED((unsigned long)skb->data - dev->hdr_len, __alignof__(*hdr));
	if (!pushed || skb_is_nonlinear(skb))
		small = sm_virtio_small_get(p, skb->len);
	sm_virtio_cb(skb)->small = small;
	if (small)
		hdr = small;
	else if (pushed)
		hdr = (void *)(skb->data - dev->hdr_len);
	else
		hdr = &sm_virtio_cb(skb)->hdr;
	err = -EPROTO;
	if (unlikely(virtio_net_hdr_from_skb(skb, &hdr->hdr, virtio_is_little_endian(dev->vdev),
					     false, 0)))
		goto put;
	if (dev->hdr_len == sizeof(*hdr))
		hdr->num_buffers = 0;
	err = small ? sm_virtio_add_small(p, skb, small) : sm_virtio_add_pieces(p, skb, hdr, pushed);
	if (likely(!err))
		return 0;
put:
	if (small)
		sm_virtio_small_put(p, small);
	return err;
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
		void *small = sm_virtio_cb(skb)->small;

		packets++;
		bytes += skb->len;
		if (small)
			sm_virtio_small_put(p, small);
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
		trace_stackmap_drop(p->dev->netdev, p->index, STACKMAP_DROP_SEND, skb->len);
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
	p->small = NULL;
	while (p->small_pages)
		__free_page(p->small_page[--p->small_pages]);
	p->unrung = 0;
	p->untold = 0;
	netdev_tx_reset_queue(sm_virtio_txq(p));
}
