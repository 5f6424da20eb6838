// SPDX-License-Identifier: GPL-2.0
/*
 * nic_napi.c - any NIC: its stock driver, its NAPI instance claimed by the port
 *
 * The claim is the kernel's own busy poll (__napi_busy_loop() in
 * net/core/dev.c), held from sync to sync instead of for one call: SCHED and
 * IN_BUSY_POLL are set in napi->state, so that
 *  - interrupts find the instance scheduled and leave it alone
 *    (napi_schedule_prep() returns false),
 *  - napi_complete_done() returns false, so that a driver's poll leaves the
 *    interrupt off,
 *  - napi_disable() waits until the claim is given up. It sets DISABLE first,
 *    which every poll looks at; and an owner that does not poll any more loses
 *    the claim to the port's stall timer.
 * The last point makes the instance safe to use while it is claimed: a driver
 * must disable an instance before it deletes it. While it is not claimed the
 * pointer means nothing, and every claim looks it up again.
 */
#include "nic.h"

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/netpoll.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <net/busy_poll.h>
#include <net/netdev_rx_queue.h>
#include <uapi/stackmap.h>

/*
 * The instance that serves a receive queue. Drivers that tell do so with
 * netif_queue_set_napi(). The others (virtio_net in 6.12 is one) add the
 * instances of their receive queues in the order of the queues, so that these
 * have ascending ids; instances for transmit only have no id.
 */
static struct napi_struct *sm_napi_find(struct net_device *dev, u32 queue)
{
	struct napi_struct *told = READ_ONCE(__netif_get_rx_queue(dev, queue)->napi);
	struct napi_struct *napi, *best;
	unsigned int past = MIN_NAPI_ID - 1;

	for (;;) {
		best = NULL;
		list_for_each_entry_rcu(napi, &dev->napi_list, dev_list,
					lockdep_rtnl_is_held()) {
			if (napi == told)
				return napi;
			if (napi->napi_id > past &&
			    (!best || napi->napi_id < best->napi_id))
				best = napi;
		}
		if (!best || !queue--)
			return best;
		past = best->napi_id;
	}
}

static int sm_napi_open(struct sm_nic *nic)
{
	if (nic->queue >= nic->dev->real_num_rx_queues)
		return -EINVAL;
	return sm_napi_find(nic->dev, nic->queue) ? 0 : -EOPNOTSUPP;
}

static bool sm_napi_claim(struct sm_nic *nic)
{
	struct napi_struct *napi;

	rcu_read_lock();
	if (!netif_running(nic->dev) ||
	    nic->queue >= READ_ONCE(nic->dev->real_num_rx_queues))
		goto out;
	napi = sm_napi_find(nic->dev, nic->queue);
	if (!napi)
		goto out;
	if (!sm_napi_take(napi, NAPIF_STATE_IN_BUSY_POLL))
		goto out;
	nic->napi = napi;
	nic->claimed = true;
out:
	rcu_read_unlock();
	return nic->claimed;
}

/* What the driver's poll left in GRO and in the list for the stack */
static void sm_napi_deliver(struct napi_struct *napi)
{
	if (napi->gro_bitmask)
		napi_gro_flush(napi, false);
	/* gro_normal_list() is not for modules; this is what it does */
	if (napi->rx_count) {
		netif_receive_skb_list(&napi->rx_list);
		INIT_LIST_HEAD(&napi->rx_list);
		napi->rx_count = 0;
	}
}

static void sm_napi_release(struct sm_nic *nic)
{
	struct bpf_net_context ctx, *bpf;
	struct napi_struct *napi = nic->napi;
	void *have;
	int work;

	/*
	 * As busy_poll_stop(): with IN_BUSY_POLL gone, one more poll ends in
	 * napi_complete_done() and the interrupt is on, or it has used up its
	 * budget and the softirq goes on. MISSED is of no use any more, as the
	 * poll comes after it.
	 */
	clear_bit(NAPI_STATE_MISSED, &napi->state);
	clear_bit(NAPI_STATE_IN_BUSY_POLL, &napi->state);
	nic->claimed = false;
	nic->napi = NULL;
	bpf = bpf_net_ctx_set(&ctx);
	have = netpoll_poll_lock(napi);
	work = napi->poll(napi, NAPI_POLL_WEIGHT);
	netpoll_poll_unlock(have);
	if (work == NAPI_POLL_WEIGHT) {
		/* Still ours: the driver completes only below its budget */
		sm_napi_deliver(napi);
		__napi_schedule(napi);
	}
	bpf_net_ctx_clear(bpf);
}

static int sm_napi_poll(struct sm_nic *nic, int budget)
{
	struct bpf_net_context ctx, *bpf;
	struct napi_struct *napi = nic->napi;
	void *have;
	int work;

	if (unlikely(test_bit(NAPI_STATE_DISABLE, &napi->state))) {
		sm_napi_release(nic);
		return 0;
	}
	bpf = bpf_net_ctx_set(&ctx);
	have = netpoll_poll_lock(napi);
	work = napi->poll(napi, budget);
	netpoll_poll_unlock(have);
	sm_napi_deliver(napi);
	bpf_net_ctx_clear(bpf);
	return work;
}

const struct sm_nic_ops sm_nic_napi = {
	.kind = STACKMAP_NIC_NAPI,
	.budget = NAPI_POLL_WEIGHT,	/* what drivers are made for */
	.open = sm_napi_open,
	.claim = sm_napi_claim,
	.poll = sm_napi_poll,
	.release = sm_napi_release,
};
