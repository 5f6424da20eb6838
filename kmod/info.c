// SPDX-License-Identifier: GPL-2.0
/*
 * info.c - what is told of a port and of its sockets: by ioctl, /proc/PID/fdinfo and sock_diag
 */
#include "info.h"

#include <linux/pid_namespace.h>
#include <linux/seq_file.h>
#include <net/netlink.h>

/* Beyond that many it is not counted how many sockets are ready, as softirqs are off meanwhile */
#define SM_READY_MAX	1024

/* What never changes, with no lock */
static void sm_info_constants(const struct sm_port *port, struct stackmap_info *info)
{
	const struct stackmap_register *reg = &port->reg;

	info->ifindex = reg->ifindex;
	info->queue = reg->queue;
	info->nic = reg->nic;
	info->rx_slots = reg->rx_slots;
	info->tx_slots = reg->tx_slots;
	info->extra_bufs = reg->extra_bufs;
	info->pool_bufs = reg->pool_bufs;
	info->stall_us = reg->stall_us;
	info->frames = reg->frames;
	info->large_size = reg->large_size;
	info->large_bufs = reg->large_bufs;
}

/* With the port's lock held */
static void sm_info_stats(const struct sm_port *port, struct stackmap_stats *stats)
{
	const u32 *held = port->frames.held;

	*stats = port->stats;
	stats->frames_user = held[SM_USER];
	stats->frames_pool = held[SM_POOL];
	stats->frames_flight = held[SM_FLIGHT] + held[SM_SENDING];
	stats->frames_nic = held[SM_NIC] + held[SM_STACK];
	stats->sockets = READ_ONCE(port->nsocks);
}

/**
 * sm_info_fill() - STACKMAP_IOC_INFO
 * @port: the port, which cannot go away meanwhile
 * @info: all but version and index is set
 */
void sm_info_fill(struct sm_port *port, struct stackmap_info *info)
{
	sm_info_constants(port, info);
	spin_lock_bh(&port->lock);
	info->pid = pid_nr_ns(port->pid, task_active_pid_ns(current));
	sm_info_stats(port, &info->stats);
	spin_unlock_bh(&port->lock);
}

static u32 sm_info_ready(struct sm_port *port)
{
	struct list_head *pos;
	u32 n = 0;

	spin_lock_bh(&port->list_lock);
	list_for_each(pos, &port->ready)
		if (++n == SM_READY_MAX)
			break;
	spin_unlock_bh(&port->list_lock);
	return n;
}

/* How far it is from @tail to @head in a ring; both may be anything */
static u32 sm_ring_distance(const struct sm_ring *ring, u32 tail, u32 head)
{
	return (head - tail) & ring->mask;
}

#define SM_COPY_COUNTS(d, c, field)						\
	do {									\
		BUILD_BUG_ON(sizeof((c)->field) > sizeof((d)->field));		\
		memcpy((d)->field, (c)->field, sizeof((c)->field));		\
	} while (0)

/**
 * sm_detail_fill() - STACKMAP_IOC_DETAIL
 * @port: the port, which cannot go away meanwhile
 * @d: zeroed but for version and index
 */
void sm_detail_fill(struct sm_port *port, struct stackmap_detail *d)
{
	const struct sm_counts *c = &port->count;

	sm_info_constants(port, &d->info);
	d->ready = sm_info_ready(port);
	spin_lock_bh(&port->lock);
	d->info.pid = pid_nr_ns(port->pid, task_active_pid_ns(current));
	sm_info_stats(port, &d->info.stats);
	SM_COPY_COUNTS(d, c, rx_copied);
	SM_COPY_COUNTS(d, c, tx_copied);
	SM_COPY_COUNTS(d, c, refused);
	SM_COPY_COUNTS(d, c, released);
	SM_COPY_COUNTS(d, c, sync_times);
	SM_COPY_COUNTS(d, c, away_times);
	SM_COPY_COUNTS(d, c, batches);
	d->claims = c->claims;
	d->unclaimed = c->unclaimed;
	d->tx_segments = c->tx_segments;
	d->early_slots = c->early_slots;
	d->sync_ns = c->sync_ns;
	d->wait_ns = c->wait_ns;
	d->away_ns = c->away_ns;
	d->rx_waiting = sm_ring_distance(&port->rx, READ_ONCE(port->rx.shared->head), port->rx.tail);
	d->tx_waiting = sm_ring_distance(&port->tx, port->tx.tail, READ_ONCE(port->tx.shared->head));
	d->memory = (u64)(port->pinned.pages + port->memory_pages) << PAGE_SHIFT;
	spin_unlock_bh(&port->lock);
}

/**
 * sm_info_show() - /proc/PID/fdinfo of a port
 * @seq: where to
 * @port: the port
 *
 * Whoever may read it may open the process's files, too.
 */
void sm_info_show(struct seq_file *seq, struct sm_port *port)
{
	const struct stackmap_register *reg = &port->reg;
	struct stackmap_stats stats;
	unsigned long pages;
	bool gone;

	spin_lock_bh(&port->lock);
	sm_info_stats(port, &stats);
	gone = !port->nic.dev;
	pages = port->pinned.pages + port->memory_pages;
	spin_unlock_bh(&port->lock);
	seq_printf(seq, "stackmap-ifindex:\t%u%s\n", reg->ifindex, gone ? " (gone)" : "");
	seq_printf(seq, "stackmap-queue:\t%u\n", reg->queue);
	seq_printf(seq, "stackmap-nic:\t%s\n", reg->nic == STACKMAP_NIC_VIRTIO ? "virtio" : "napi");
	seq_printf(seq, "stackmap-sockets:\t%llu\n", stats.sockets);
	seq_printf(seq, "stackmap-memory:\t%lu kB\n", pages << (PAGE_SHIFT - 10));
	seq_printf(seq, "stackmap-buffers:\t%u user %llu pool %llu flight %llu nic %llu\n",
		   reg->frames, stats.frames_user, stats.frames_pool, stats.frames_flight,
		   stats.frames_nic);
	seq_printf(seq, "stackmap-syncs:\t%llu\n", stats.syncs);
	seq_printf(seq, "stackmap-stalls:\t%llu\n", stats.stalls);
}

/* ---------------------------------------------------------------- sock_diag */

/**
 * sm_info_diag() - what the ULP tells of a socket, within INET_DIAG_ULP_INFO
 * @ss: the socket, under RCU and not being detached; not locked
 * @skb: the message
 *
 * Return: 0 or -EMSGSIZE.
 */
int sm_info_diag(const struct sm_sock *ss, struct sk_buff *skb)
{
	const struct stackmap_sock_info info = {
		.ifindex = ss->port->reg.ifindex,
		.queue = ss->port->reg.queue,
		.fd = ss->fd,
		.gen = ss->gen,
		.rx_slots = READ_ONCE(ss->count.rx_slots),
		.rx_copied_bytes = READ_ONCE(ss->count.rx_copied),
		.rx_handed_bytes = READ_ONCE(ss->count.rx_handed),
		.tx_slots = READ_ONCE(ss->count.tx_slots),
		.tx_copied_bytes = READ_ONCE(ss->count.tx_copied),
		.tx_handed_bytes = READ_ONCE(ss->count.tx_handed),
	};

	return nla_put(skb, STACKMAP_ULP_INFO, sizeof(info), &info);
}

/**
 * sm_info_diag_size() - how long that is at most
 *
 * Return: bytes of the message.
 */
size_t sm_info_diag_size(void)
{
	return nla_total_size(sizeof(struct stackmap_sock_info));
}
