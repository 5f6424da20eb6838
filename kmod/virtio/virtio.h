/* SPDX-License-Identifier: GPL-2.0 */
/*
 * virtio.h - a virtio network device driven by this module: what its files share
 *
 *   driver.c   which devices the driver takes
 *   dev.c      a device: its features and its queues
 *   ethtool.c  what `ethtool` shows
 *   netdev.c   what the network core asks
 *   ctrl.c     commands to the device
 *   nic.c      its interrupts and NAPI, and the port that owns a queue pair
 *   rx.c       from the receive ring to the stack
 *   head.c     memory for the heads of received packets
 *   tx.c       from the stack to the transmit ring
 *
 * Each uses only those below it.
 */
#ifndef SM_VIRTIO_H
#define SM_VIRTIO_H

#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/timer.h>
#include <linux/u64_stats_sync.h>
#include <linux/virtio.h>
#include <linux/virtio_net.h>

#include "../nic.h"

/* Header, linear part and fragments, with one to spare */
#define SM_VIRTIO_SG		(MAX_SKB_FRAGS + 3)
/*
 * A packet of several pieces is copied into one of so many bytes, the device's header
 * included: that is less work than a table of descriptors, which has to be allocated, and
 * takes one place in the ring, too. At most so many pages of such buffers for a pair.
 */
#define SM_VIRTIO_SMALL		512
#define SM_VIRTIO_SMALL_PAGES	32
/*
 * The head of a received packet: what is copied to be parsed, which is room for all headers of
 * a TCP packet and more. So many are on a page, as of the kernel's own small ones
 * (page_frag_alloc_1k() in net/core/skbuff.c): one that waits in a socket keeps the memory
 * of three others from the system, for which nobody is charged. At most so many pages
 * go round: a batch of 256 packets is under way in one sync
 */
#define SM_VIRTIO_HEAD		256
#define SM_VIRTIO_HEADS		4u
#define SM_VIRTIO_HEAD_SIZE	((u32)PAGE_SIZE / SM_VIRTIO_HEADS)
#define SM_VIRTIO_HEAD_PAGES	64u
/* Without memory for receive buffers, or for what is to be sent: when to try again */
#define SM_VIRTIO_RETRY		(HZ / 10)

struct sm_virtio_stats {
	u64_stats_t packets;
	u64_stats_t bytes;
	u64_stats_t dropped;
	/* Of the transmit side only: doorbells, and how often the ring was full */
	u64_stats_t kicks;
	u64_stats_t stops;
};

#define SM_VIRTIO_STATS		(sizeof(struct sm_virtio_stats) / sizeof(u64_stats_t))

struct sm_virtio_heads {
	struct page *page[SM_VIRTIO_HEAD_PAGES];
	u32 n;				/* so many of these are there */
	u32 at;				/* the page whose pieces are given out */
	u32 left;			/* so many of them */
};

/**
 * struct sm_virtio_pair - a receive and a transmit queue with one NAPI instance
 * @dev: its device
 * @index: number of the pair
 * @napi: whoever has it scheduled uses the receive queue
 * @nic: the port that owns the pair, or NULL. Changes only with @napi disabled
 * @rvq: receive queue; used by whoever has @napi
 * @rx_short: receive buffers that could not be had and are missing in the ring
 * @retry: tries again to have them, or wakes the queue, where no interrupt
 *	may come; armed by whoever has @napi or the transmit lock
 * @rx_unrung: receive buffers in the ring that the device was not told of
 * @rx_sg: of the receive buffer that is put into the ring
 * @heads: of received packets; used by whoever has @napi
 * @tvq: transmit queue; guarded by the netdev queue's transmit lock
 * @tx_room: free descriptors that a packet may need: with fewer the queue is stopped
 * @tx_polled: an owner reaps in its syncs, and nobody wants an interrupt for what
 *	was sent; guarded by the transmit lock
 * @burst_cpu: the CPU on which an owner's sync runs, whose packets wait for
 *	others to share a doorbell with, or -1
 * @unrung: packets in the ring that the device was not told of
 * @untold: bytes in the ring that the byte queue limits were not told of
 * @sg: of the packet being sent
 * @small_sg: likewise, of one that was copied
 * @small: free buffers for these, each with a pointer to the next; guarded, as all down to
 *	@small_pages, by the transmit lock
 * @small_page: the pages that they are on
 * @small_pages: how many
 * @rx, @tx: statistics
 */
struct sm_virtio_pair {
	struct sm_virtio *dev;
	u32 index;
	struct napi_struct napi;
	struct sm_nic *nic;

	struct virtqueue *rvq;
	u32 rx_short;
	struct timer_list retry;
	u32 rx_unrung;
	struct scatterlist rx_sg;
	struct sm_virtio_heads heads;
	struct u64_stats_sync rx_sync;
	struct sm_virtio_stats rx;

	struct virtqueue *tvq;
	u32 tx_room;
	bool tx_polled;
	int burst_cpu;
	u32 unrung;
	u32 untold;
	struct scatterlist sg[SM_VIRTIO_SG];
	struct scatterlist small_sg;
	void *small;
	struct page *small_page[SM_VIRTIO_SMALL_PAGES];
	u32 small_pages;
	struct u64_stats_sync tx_sync;
	struct sm_virtio_stats tx;

	char rx_name[20];
	char tx_name[20];
};

struct sm_virtio {
	struct virtio_device *vdev;
	struct net_device *netdev;
	struct virtqueue *cvq;
	struct mutex cvq_mutex;		/* one command at a time */
	struct sm_virtio_ctrl *ctrl;
	struct work_struct config_work;
	u32 hdr_len;
	u32 npairs;			/* that the device has */
	bool mergeable;
	bool asleep;			/* suspended: it has no queues. Under RTNL */
	bool announced_up;
	struct sm_virtio_pair pair[];
};

/* rx.c */
int sm_virtio_receive(struct sm_virtio_pair *p, int budget);
void sm_virtio_refill(struct sm_virtio_pair *p);
void sm_virtio_rx_reset(struct sm_virtio_pair *p);
void sm_virtio_rx_drain(struct sm_virtio_pair *p);

/* head.c */
struct sk_buff *sm_virtio_head_skb(struct sm_virtio_heads *h);
void sm_virtio_heads_free(struct sm_virtio_heads *h);

/* tx.c */
netdev_tx_t sm_virtio_xmit(struct sk_buff *skb, struct net_device *netdev);
void sm_virtio_reap(struct sm_virtio_pair *p, int budget);
void sm_virtio_kick(struct sm_virtio_pair *p);
void sm_virtio_tx_drain(struct sm_virtio_pair *p);

/* nic.c */
int sm_virtio_poll(struct napi_struct *napi, int budget);
void sm_virtio_retry(struct timer_list *timer);
void sm_virtio_disown(struct sm_virtio_pair *p);
void sm_virtio_interrupt(struct virtqueue *vq);

/* ctrl.c */
int sm_virtio_ctrl_init(struct sm_virtio *dev);
int sm_virtio_set_pairs(struct sm_virtio *dev, u16 pairs);
int sm_virtio_send_mac(struct sm_virtio *dev, const u8 *mac);

/* netdev.c */
extern const struct net_device_ops sm_virtio_netdev_ops;
int sm_virtio_open(struct net_device *netdev);
int sm_virtio_stop(struct net_device *netdev);
void sm_virtio_stats(struct sm_virtio_stats *s, struct u64_stats_sync *sync, u64 *v);

/* ethtool.c */
extern const struct ethtool_ops sm_virtio_ethtool_ops;

/* dev.c */
int sm_virtio_setup(struct virtio_device *vdev);
void sm_virtio_remove(struct virtio_device *vdev);
void sm_virtio_config_changed(struct virtio_device *vdev);
u32 sm_virtio_max_mtu(struct virtio_device *vdev);
u16 sm_virtio_config_mtu(struct virtio_device *vdev);
int sm_virtio_freeze(struct virtio_device *vdev);
int sm_virtio_restore(struct virtio_device *vdev);

/**
 * sm_virtio_schedule() - have a pair's NAPI run, as an interrupt would
 * @p: the pair
 */
static inline void sm_virtio_schedule(struct sm_virtio_pair *p)
{
	if (napi_schedule_prep(&p->napi)) {
		virtqueue_disable_cb(p->rvq);
		__napi_schedule(&p->napi);
	}
}

static inline struct netdev_queue *sm_virtio_txq(const struct sm_virtio_pair *p)
{
	return netdev_get_tx_queue(p->dev->netdev, p->index);
}

#endif /* SM_VIRTIO_H */
