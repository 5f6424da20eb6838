// SPDX-License-Identifier: GPL-2.0
/*
 * rx.c - from the receive ring to the stack
 *
 * Every receive buffer is one page, perhaps a compound one: a frame of the port that owns the
 * queue, a large one if it has such, or a page of the driver's own when nobody does or the
 * port has no idle frame left. The device's header and the packet's first bytes are copied
 * once into the skb's head, which no application can see, and parsed there; payload stays
 * where it is and becomes a page fragment. The frame is marked as the stack's
 * then, and ../rx.c hands it over to the application, or the reaper finds it idle.
 * A packet without much payload is all copied, and its buffer goes straight
 * back into the ring: an ACK costs no frame.
 *
 * The ring holds a page reference of its own for each buffer, so that frames
 * outlive their port here. A buffer that comes back after its port was closed
 * is used up or freed.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sizes.h>
#include <linux/tcp.h>
#include <net/busy_poll.h>

#include "../compat.h"
#include "../trace.h"
#include "virtio.h"

/* Payload of fewer bytes is copied: a fragment costs more */
#define SM_COPY_BELOW	128
/* No packet is longer. (An owner that writes to headers in the ring must not make some that are) */
#define SM_PACKET_MAX	(SZ_64K + ETH_HLEN + SM_VLANS * VLAN_HLEN)
/* VLAN tags in front of a packet that are looked behind */
#define SM_VLANS	2

static u32 sm_virtio_frame_of(const struct sm_virtio_pair *p, struct page *page)
{
	return p->nic ? sm_frame_of_page(p->nic->frames, page) : SM_NO_FRAME;
}

/* How much of a buffer the device is told of. (A slot cannot tell of 64 KB) */
static u32 sm_virtio_room(struct page *page)
{
	return min_t(u32, page_size(page), SZ_64K - SMP_CACHE_BYTES);
}

static int sm_virtio_post(struct sm_virtio_pair *p, struct page *page)
{
	sg_set_page(&p->rx_sg, page, sm_virtio_room(page), 0);
	p->rx_unrung++;
	return virtqueue_add_inbuf(p->rvq, &p->rx_sg, 1, page, GFP_ATOMIC);
}

/* The ring does not want this buffer: back to where it came from */
static void sm_virtio_unpost(struct sm_virtio_pair *p, struct page *page)
{
	u32 i = sm_virtio_frame_of(p, page);

	put_page(page);
	if (i != SM_NO_FRAME) {
		/* Someone may still refer to it if the application did odd things */
		sm_frame_lend(p->nic->frames, i, SM_STACK);
	}
}

/* A buffer for the ring, with a reference for it */
static struct page *sm_virtio_buffer(struct sm_virtio_pair *p)
{
	struct page *page;
	u32 i;

	if (p->nic) {
		i = sm_frame_get_for_nic(p->nic->frames);
		if (i != SM_NO_FRAME) {
			page = p->nic->frames->tab[i].page;
			get_page(page);
			return page;
		}
	}
	page = alloc_page(GFP_ATOMIC | __GFP_NOWARN);
	if (page)
		set_page_private(page, SM_PAGE_RING);
	return page;
}

static void sm_virtio_fill(struct sm_virtio_pair *p)
{
	struct page *page;

	while (p->rvq->num_free) {
		page = sm_virtio_buffer(p);
		if (!page)
			break;
		if (sm_virtio_post(p, page)) {
			sm_virtio_unpost(p, page);
			break;
		}
	}
	p->rx_short = p->rvq->num_free;
}

static void sm_virtio_ring_rx(struct sm_virtio_pair *p)
{
	if (p->rx_unrung) {
		p->rx_unrung = 0;
		virtqueue_kick(p->rvq);
	}
}

/**
 * sm_virtio_refill() - give the device all the receive buffers it has room for
 * @p: the pair; the caller has its NAPI, and the port's lock if it has an owner
 */
void sm_virtio_refill(struct sm_virtio_pair *p)
{
	sm_virtio_fill(p);
	sm_virtio_ring_rx(p);
}

/**
 * sm_virtio_rx_drain() - take all buffers back from a device that was reset
 * @p: the pair; nobody else uses it. The caller has the port's lock if it has
 *	an owner
 */
void sm_virtio_rx_drain(struct sm_virtio_pair *p)
{
	struct page *page;

	while ((page = virtqueue_detach_unused_buf(p->rvq)))
		sm_virtio_unpost(p, page);
	sm_virtio_heads_free(&p->heads);
}

static void sm_virtio_rx_take_back(struct virtqueue *vq, void *page)
{
	struct sm_virtio *dev = vq->vdev->priv;
	struct sm_virtio_pair *p = &dev->pair[vq->index / 2];

	if (p->nic) {
		spin_lock_bh(p->nic->lock);
		sm_virtio_unpost(p, page);
		spin_unlock_bh(p->nic->lock);
	} else {
		sm_virtio_unpost(p, page);
	}
}

/**
 * sm_virtio_rx_reset() - take all buffers back from a device that runs
 * @p: the pair; its NAPI is disabled
 *
 * Devices that cannot do this (VIRTIO_F_RING_RESET) keep them.
 */
void sm_virtio_rx_reset(struct sm_virtio_pair *p)
{
	int err = sm_virtqueue_reset(p->rvq, sm_virtio_rx_take_back);

	virtqueue_disable_cb(p->rvq);
	if (err == -ENOENT || err == -EPERM) {
		netdev_dbg(p->dev->netdev, "the ring keeps buffers of its last owner\n");
	} else if (err) {
		/* Off and not on again: nobody may think that it receives */
		netdev_err(p->dev->netdev, "the device's receive queue is lost (%d)\n", err);
		virtio_break_device(p->dev->vdev);
	}
}

/*
 * Length of the headers of a TCP packet up to its payload, or of as much as is
 * there of another packet. @data is private memory, @len bytes of it.
 */
static u32 sm_virtio_headers(const u8 *data, u32 len)
{
	const struct ethhdr *eth = (const struct ethhdr *)data;
	__be16 proto = eth->h_proto;
	const struct tcphdr *th;
	u32 off = sizeof(*eth);
	u32 i;

	if (len < off + SM_VLANS * VLAN_HLEN + sizeof(struct ipv6hdr))
		return len;
	/* The device leaves tags in the packet: a provider's and a customer's, say */
	for (i = 0; i < SM_VLANS && unlikely(eth_type_vlan(proto)); i++) {
		proto = ((const struct vlan_hdr *)(data + off))->h_vlan_encapsulated_proto;
		off += VLAN_HLEN;
	}
	if (proto == htons(ETH_P_IP)) {
		const struct iphdr *ip = (const struct iphdr *)(data + off);

		if (ip->protocol != IPPROTO_TCP || ip->ihl < 5 || ip_is_fragment(ip))
			return len;
		off += ip->ihl * 4;
	} else if (proto == htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip6 = (const struct ipv6hdr *)(data + off);

		if (ip6->nexthdr != IPPROTO_TCP)
			return len;
		off += sizeof(*ip6);
	} else {
		return len;
	}
	if (len < off + sizeof(*th))
		return len;
	th = (const struct tcphdr *)(data + off);
	return min(len, off + max_t(u32, th->doff * 4, sizeof(*th)));
}

/* The stack has a use for this buffer, and the ring's reference goes with it */
static void sm_virtio_add_frag(struct sm_virtio_pair *p, struct sk_buff *skb,
			       struct page *page, u32 off, u32 len)
{
	u32 i = sm_virtio_frame_of(p, page);

	/*
	 * A large frame is charged to its owner, as all are; the socket is for what it uses of it,
	 * or a few packets of an MTU would fill it. One whose owner is gone is the socket's alone
	 */
	skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, page, off, len,
			i != SM_NO_FRAME ? PAGE_ALIGN(off + len) : page_size(page));
	if (i != SM_NO_FRAME) {
		sm_frame_lend(p->nic->frames, i, SM_STACK);
		/* The application can write to it: nobody may decrypt in place */
		skb_shinfo(skb)->flags |= SKBFL_SHARED_FRAG;
	} else {
		/* It does not come back, and its next owner may take that for a pointer */
		set_page_private(page, 0);
	}
}

/*
 * Whether a buffer may go back into the ring. What was a frame of an owner that is
 * gone may not: it is charged to who that was. And an ordinary page makes
 * way for a frame while the port has an idle one, as payload that hits it has to be
 * copied; and a frame for a large one. ACKs would keep any of them in the ring for good.
 */
static bool sm_virtio_reusable(const struct sm_virtio_pair *p, struct page *page)
{
	u32 i = sm_virtio_frame_of(p, page);

	if (i != SM_NO_FRAME)
		return sm_frame_is_large(p->nic->frames, i) || !sm_large_for_nic(p->nic->frames);
	return page_private(page) == SM_PAGE_RING &&
	       !(p->nic && sm_frames_for_nic(p->nic->frames));
}

/* Put a buffer back of which nothing is used any more; or the refill puts another there */
static void sm_virtio_recycle(struct sm_virtio_pair *p, struct page *page)
{
	if (unlikely(!sm_virtio_reusable(p, page) || sm_virtio_post(p, page)))
		sm_virtio_unpost(p, page);
}

/* The further buffers of a packet. Returns false when they do not fit in @skb */
static bool sm_virtio_merge(struct sm_virtio_pair *p, struct sk_buff *skb, u32 more)
{
	struct page *page;
	u32 len;

	while (more--) {
		page = virtqueue_get_buf(p->rvq, &len);
		if (unlikely(!page))
			return false;
		if (unlikely(!skb || skb_shinfo(skb)->nr_frags == MAX_SKB_FRAGS ||
			     !len || len > sm_virtio_room(page) ||
			     skb->len + len > SM_PACKET_MAX)) {
			sm_virtio_recycle(p, page);
			skb = NULL;
			continue;
		}
		sm_virtio_add_frag(p, skb, page, 0, len);
	}
	return skb;
}

/* Make a packet of a buffer, and of those that belong to it. NULL: dropped */
static struct sk_buff *sm_virtio_packet(struct sm_virtio_pair *p, struct page *page, u32 len)
{
	struct sm_virtio *dev = p->dev;
	u8 *data = page_address(page);
	struct virtio_net_hdr_mrg_rxbuf hdr;
	struct sk_buff *skb;
	u32 more = 0, head;

	if (unlikely(len < dev->hdr_len + ETH_HLEN || len > sm_virtio_room(page))) {
		trace_stackmap_drop(dev->netdev, p->index, STACKMAP_DROP_LENGTH, len);
		sm_virtio_recycle(p, page);
		return NULL;
	}
	/* The application can write to this memory: read it once */
	memcpy(&hdr, data, dev->hdr_len);
	if (dev->mergeable) {
		more = virtio16_to_cpu(dev->vdev, hdr.num_buffers);
		/* An owner that writes there must not turn all that follows into one packet */
		more = more ? min_t(u32, more - 1, MAX_SKB_FRAGS) : 0;
	}
	data += dev->hdr_len;
	len -= dev->hdr_len;

	skb = sm_virtio_head_skb(&p->heads);
	if (unlikely(!skb)) {
		trace_stackmap_drop(dev->netdev, p->index, STACKMAP_DROP_MEMORY, len);
		sm_virtio_recycle(p, page);
		sm_virtio_merge(p, NULL, more);
		return NULL;
	}
	head = min_t(u32, len, SM_VIRTIO_HEAD);
	memcpy(skb->data, data, head);
	if (len > head || len >= ETH_HLEN + SM_COPY_BELOW)
		head = sm_virtio_headers(skb->data, head);
	if (len - head < SM_COPY_BELOW && len <= SM_VIRTIO_HEAD)
		head = len;
	skb_put(skb, head);
	if (len > head)
		sm_virtio_add_frag(p, skb, page, data - (u8 *)page_address(page) + head,
				   len - head);
	else
		sm_virtio_recycle(p, page);
	if (more && unlikely(!sm_virtio_merge(p, skb, more))) {
		trace_stackmap_drop(dev->netdev, p->index, STACKMAP_DROP_LENGTH, skb->len);
		goto drop;
	}

	if (hdr.hdr.flags & VIRTIO_NET_HDR_F_DATA_VALID)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (unlikely(virtio_net_hdr_to_skb(skb, &hdr.hdr,
					   virtio_is_little_endian(dev->vdev)))) {
		trace_stackmap_drop(dev->netdev, p->index, STACKMAP_DROP_HEADER, skb->len);
		goto drop;
	}
	skb_record_rx_queue(skb, p->index);
	/* Sockets learn from it whom to poll */
	skb_mark_napi_id(skb, &p->napi);
	skb->protocol = eth_type_trans(skb, dev->netdev);
	return skb;
drop:
	napi_consume_skb(skb, 1);
	return NULL;
}

/**
 * sm_virtio_receive() - receive packets and run the stack on them
 * @p: the pair; the caller has its NAPI, and the port's lock if it has an owner
 * @budget: at most so many
 *
 * Return: how many buffers were looked at that began a packet.
 */
int sm_virtio_receive(struct sm_virtio_pair *p, int budget)
{
	u32 bytes = 0, packets = 0, dropped = 0;
	struct sk_buff *first, **last = &first;
	struct sk_buff *skb;
	struct page *page;
	int work = 0;
	u32 len;

	while (work < budget && (page = virtqueue_get_buf(p->rvq, &len))) {
		work++;
		skb = sm_virtio_packet(p, page, len);
		if (unlikely(!skb)) {
			dropped++;
			continue;
		}
		packets++;
		bytes += skb->len + ETH_HLEN;
		*last = skb;
		last = &skb->next;
	}
	*last = NULL;
	if (!work) {
		if (unlikely(p->rx_short))
			sm_virtio_fill(p);
		sm_virtio_ring_rx(p);
		return 0;
	}
	u64_stats_update_begin(&p->rx_sync);
	u64_stats_add(&p->rx.packets, packets);
	u64_stats_add(&p->rx.bytes, bytes);
	u64_stats_add(&p->rx.dropped, dropped);
	u64_stats_update_end(&p->rx_sync);
	/* Before the stack sees any: it may take long */
	sm_virtio_fill(p);
	/*
	 * A device that has run out of buffers waits for the doorbell. While
	 * there is more to receive it gets many buffers with each.
	 */
	if (work < budget || p->rx_unrung >= virtqueue_get_vring_size(p->rvq) / 2)
		sm_virtio_ring_rx(p);
	while ((skb = first)) {
		first = skb->next;
		skb_mark_not_on_list(skb);
		netif_receive_skb(skb);
	}
	return work;
}
