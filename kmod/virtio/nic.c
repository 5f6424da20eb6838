// SPDX-License-Identifier: GPL-2.0
/*
 * nic.c - a virtio NIC whose descriptor rings hold the port's own frames
 *
 * A queue pair has one NAPI instance, and whoever has it scheduled uses the
 * pair: the softirq after an interrupt, or the owner from its claim on. The
 * claim is to schedule it without a softirq, and the release is to let the softirq run
 * that this scheduled: it polls until there is nothing left and turns the
 * interrupts on again, as it ever does. So no packet is lost in the change-over
 * and napi_disable() waits for an owner as it waits for a softirq.
 *
 * While a port owns the pair, its lock is held by everyone who polls it, as the
 * frames are the port's.
 */
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/stackmap.h>

#include "virtio.h"

/**
 * sm_virtio_interrupt() - of either queue of a pair
 * @vq: the queue
 */
void sm_virtio_interrupt(struct virtqueue *vq)
{
	struct sm_virtio *dev = vq->vdev->priv;

	sm_virtio_schedule(&dev->pair[vq->index / 2]);
}

/**
 * sm_virtio_retry() - NAPI has another try at filling the receive ring, and at
 * sending what waits
 * @timer: of a pair
 */
void sm_virtio_retry(struct timer_list *timer)
{
	struct sm_virtio_pair *p = timer_container_of(p, timer, retry);

	sm_virtio_schedule(p);
}

/* Returns false if, with @interrupt, there is more to reap and none will come */
static bool sm_virtio_reap_locked(struct sm_virtio_pair *p, int budget, bool interrupt)
{
	struct netdev_queue *txq = sm_virtio_txq(p);
	bool ok = true;

	__netif_tx_lock(txq, smp_processor_id());
	sm_virtio_reap(p, budget);
	sm_virtio_kick(p);
	if (interrupt) {
		p->tx_polled = false;
		/* A broken queue has nothing more to come, whatever is left in it */
		ok = virtqueue_enable_cb_delayed(p->tvq) || virtqueue_is_broken(p->tvq);
	}
	__netif_tx_unlock(txq);
	return ok;
}

static int sm_virtio_work(struct sm_virtio_pair *p, int budget, bool *reaped)
{
	*reaped = sm_virtio_reap_locked(p, budget, true);
	return sm_virtio_receive(p, budget);
}

/**
 * sm_virtio_poll() - NAPI's poll, in the softirq: nobody owns the pair, or its
 * owner sleeps
 * @napi: of the pair
 * @budget: packets
 *
 * Return: packets received, less than @budget once interrupts are on again.
 */
int sm_virtio_poll(struct napi_struct *napi, int budget)
{
	struct sm_virtio_pair *p = container_of(napi, struct sm_virtio_pair, napi);
	struct sm_nic *nic = p->nic;
	int work, opaque;
	bool reaped;

	if (nic) {
		spin_lock(nic->lock);
		work = sm_virtio_work(p, budget, &reaped);
		spin_unlock(nic->lock);
	} else {
		work = sm_virtio_work(p, budget, &reaped);
	}
	if (work == budget || unlikely(!budget))
		return work;
	if (!reaped)
		return budget;
	/* Memory was short: what the ring has may be too little for any packet */
	if (unlikely(p->rx_short))
		mod_timer(&p->retry, jiffies + SM_VIRTIO_RETRY);

	opaque = virtqueue_enable_cb_prepare(p->rvq);
	if (napi_complete_done(napi, work)) {
		if (unlikely(virtqueue_poll(p->rvq, opaque)))
			sm_virtio_schedule(p);
	} else {
		virtqueue_disable_cb(p->rvq);
	}
	return work;
}

/* ---------------------------------------------------- what a port asks for */

/*
 * Let the pair change hands; under RTNL. An interface that is down when its
 * owner goes may be on its way to another network namespace while the owner
 * has its frames mapped: what arrives there must not land in them.
 */
static void sm_virtio_set_nic(struct sm_virtio_pair *p, struct sm_nic *nic)
{
	bool up = netif_running(p->dev->netdev) && !p->dev->asleep;

	if (up)
		napi_disable(&p->napi);
	else if (!nic && !p->dev->asleep)
		sm_virtio_rx_reset(p);
	WRITE_ONCE(p->nic, nic);
	if (up) {
		napi_enable(&p->napi);
		/* For what came meanwhile */
		local_bh_disable();
		sm_virtio_schedule(p);
		local_bh_enable();
	}
}

static int sm_virtio_nic_open(struct sm_nic *nic)
{
	struct sm_virtio *dev = netdev_priv(nic->dev);
	struct sm_virtio_pair *p = &dev->pair[nic->queue];

	if (nic->queue >= nic->dev->real_num_rx_queues)
		return -EINVAL;
	nic->napi = &p->napi;
	sm_virtio_set_nic(p, nic);
	return 0;
}

static struct sm_virtio_pair *sm_virtio_pair_of_nic(const struct sm_nic *nic)
{
	return container_of(nic->napi, struct sm_virtio_pair, napi);
}

static void sm_virtio_nic_close(struct sm_nic *nic, struct net_device *dev)
{
	sm_virtio_set_nic(sm_virtio_pair_of_nic(nic), NULL);
}

static bool sm_virtio_claim(struct sm_nic *nic)
{
	struct sm_virtio_pair *p = sm_virtio_pair_of_nic(nic);

	/* Down: the queues may be gone, and NAPI is disabled */
	if (!sm_nic_works(nic) || sm_netdev_own_lock_is_held(nic->dev) ||
	    !sm_napi_take(nic->napi, 0))
		return false;
	virtqueue_disable_cb(p->rvq);
	__netif_tx_lock(sm_virtio_txq(p), smp_processor_id());
	virtqueue_disable_cb(p->tvq);
	p->tx_polled = true;
	__netif_tx_unlock(sm_virtio_txq(p));
	nic->claimed = true;
	return true;
}

/*
 * This driver takes the instance with napi_disable() before it changes anything. But who
 * stops the thread of an instance waits for it without DISABLE, with the device's lock
 * held (napi_stop_kthread(), in newer kernels): that ends the claim, and it is not made anew.
 */
static bool sm_virtio_wanted(const struct sm_nic *nic)
{
	return test_bit(NAPI_STATE_DISABLE, &nic->napi->state) ||
	       sm_netdev_own_lock_is_held(nic->dev);
}

static void sm_virtio_release(struct sm_nic *nic)
{
	nic->claimed = false;
	__napi_schedule(nic->napi);
}

/**
 * sm_virtio_disown() - the owner, if any, has to claim the pair anew
 * @p: the pair, which is not to be used for a while; under RTNL
 */
void sm_virtio_disown(struct sm_virtio_pair *p)
{
	struct sm_nic *nic = p->nic;

	if (!nic)
		return;
	spin_lock_bh(nic->lock);
	if (nic->claimed)
		sm_virtio_release(nic);
	spin_unlock_bh(nic->lock);
}

static void sm_virtio_begin(struct sm_nic *nic)
{
	WRITE_ONCE(sm_virtio_pair_of_nic(nic)->burst_cpu, smp_processor_id());
}

static void sm_virtio_doorbell(struct sm_nic *nic)
{
	struct sm_virtio_pair *p = sm_virtio_pair_of_nic(nic);

	/* Without the lock: a packet of this CPU is what matters here */
	if (!READ_ONCE(p->unrung))
		return;
	__netif_tx_lock(sm_virtio_txq(p), smp_processor_id());
	sm_virtio_kick(p);
	__netif_tx_unlock(sm_virtio_txq(p));
}

static int sm_virtio_nic_poll(struct sm_nic *nic, int budget)
{
	struct sm_virtio_pair *p = sm_virtio_pair_of_nic(nic);

	if (unlikely(sm_virtio_wanted(nic))) {
		sm_virtio_release(nic);
		return 0;
	}
	return sm_virtio_receive(p, budget);
}

static void sm_virtio_flush(struct sm_nic *nic)
{
	struct sm_virtio_pair *p = sm_virtio_pair_of_nic(nic);

	WRITE_ONCE(p->burst_cpu, -1);
	sm_virtio_reap_locked(p, NAPI_POLL_WEIGHT, false);
}

const struct sm_nic_ops sm_nic_virtio = {
	.kind = STACKMAP_NIC_VIRTIO,
	.budget = 32,
	.open = sm_virtio_nic_open,
	.close = sm_virtio_nic_close,
	.claim = sm_virtio_claim,
	.wanted = sm_virtio_wanted,
	.begin = sm_virtio_begin,
	.doorbell = sm_virtio_doorbell,
	.poll = sm_virtio_nic_poll,
	.flush = sm_virtio_flush,
	.release = sm_virtio_release,
};
