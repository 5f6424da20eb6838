// SPDX-License-Identifier: GPL-2.0
/*
 * nic_napi.c - a NIC with its stock driver, whose NAPI instance the port claims
 *
 * The claim is the kernel's own busy poll (__napi_busy_loop() in
 * net/core/dev.c), held from sync to sync instead of for one call: SCHED and
 * IN_BUSY_POLL are set in napi->state, so that
 *  - interrupts find the instance scheduled and leave it alone
 *    (napi_schedule_prep() returns false, and notes MISSED),
 *  - napi_complete_done() returns false, so that a driver's poll leaves the
 *    interrupt off,
 *  - napi_disable() and napi_synchronize() wait until the claim is given up.
 * While it is not claimed the pointer means nothing, and every claim looks it up
 * again.
 *
 * Who reconfigures: the rule
 *
 * A busy poll ends with its system call, and drivers know only instances that are
 * scheduled by an interrupt. So some quiesce with "interrupts off,
 * napi_synchronize()", which waits for SCHED and takes nothing, and then replace
 * their rings: who sets SCHED after that polls freed memory (e1000e). Others call
 * napi_disable(), which sets DISABLE and keeps SCHED. The rule covers both:
 *
 *	A claimed instance is polled only while nobody reconfigures its device,
 *	and who reconfigures waits for the claim for two ticks at most.
 *
 * Somebody reconfigures when one of these holds (sm_napi_wanted()):
 *  - RTNL is held, by whomever: nearly every reconfiguration has it from before it
 *    quiesces until the rings are whole again. drivers.c has the drivers of which
 *    that was read or tested, and the others are refused;
 *  - the device's own lock is held (dev->lock, from 6.14 on), which can do for RTNL;
 *  - the device is detached, not running, or without carrier: error recovery
 *    (AER), suspend and resets that do not take RTNL detach it first, or take its
 *    carrier (e1000e's runtime suspend, xen-netfront's reconnect);
 *  - the instance has DISABLE set: napi_disable() waits for it.
 *
 * Who holds what around a change of the rings, from 6.14 on. "Ops locked" are devices of
 * which netdev_need_ops_lock() is true (bnxt, mlx5, mana ...):
 *
 *					ops locked		others
 *	open, stop, MTU, features,
 *	XDP, AF_XDP			RTNL and dev->lock	RTNL
 *	ethtool, before 7.2		RTNL and dev->lock	RTNL
 *	ethtool, from 7.2 on		dev->lock, RTNL if	RTNL
 *					the driver asks for it
 *	queue management: memory
 *	providers, leased queues	dev->lock		not to be had
 *	napi_disable(), napi_enable(), threads, settings of an instance:
 *					dev->lock		dev->lock
 *	the driver's own resets		one of them, or detached, or without carrier, or
 *					napi_disable(): drivers.c
 *
 * So one of the two is held from R1 to R3 in each case, and P looks at both, whatever the
 * device. (dev->lock of another device does not matter: a queue that is leased to a
 * virtual device is changed with the locks of both held.) A thread that polls the
 * instance (threaded NAPI) is a softirq to this: it runs when the instance is scheduled,
 * and who stops it waits for the claim with dev->lock held (napi_stop_kthread()). One
 * that polls busily (from 6.18 on) keeps SCHED: there is no claim until it is told to stop.
 *
 * The proof. A reconfigurer R and a port P each write first and look then:
 *
 *	R1 takes a lock, detaches, carrier off	P1 sets SCHED, if it was clear
 *	R2 looks at SCHED, waits while it is set	P2 looks at the locks and the device
 *	R3 changes the rings			P3 polls, or gives SCHED back
 *
 * R1 and P1 are locked read-modify-write instructions: full barriers on x86, the
 * only architecture that this is for (mutex_lock() alone is an acquire elsewhere). So
 * R2 sees P1, or P2 sees R1, or both. If P2 sees R1, SCHED is given back and
 * nothing was polled. If it does not, R2 sees SCHED and waits, until P looks
 * again: before every poll, and in every tick (sm_stall_check()). Then the
 * instance goes to the softirq as an interrupt would have given it, without a poll
 * of P's. P1 fails while R holds SCHED itself (napi_disable()), and a reconfigurer
 * who is done leaves the instance as an interrupt finds it.
 *
 * A sync cannot hold the locks itself. Other uses of them are taken for a reconfiguration
 * of this device, too: the NIC is an ordinary one for that long.
 */
#include "nic.h"

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/netpoll.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <net/busy_poll.h>
#include <uapi/stackmap.h>

/* The next instance after @napi in the list that may be for receiving, or NULL. Under RCU */
static struct napi_struct *sm_napi_next(struct net_device *dev, struct napi_struct *napi)
{
	list_for_each_entry_continue_rcu(napi, &dev->napi_list, dev_list)
		if (!test_bit(NAPI_STATE_NO_BUSY_POLL, &napi->state))
			return napi;
	return NULL;
}

/*
 * The instance that serves a receive queue. Drivers that tell do so with
 * netif_queue_set_napi(). The others (virtio_net in 6.12 is one; all before 6.8) add the
 * instances of their receive queues in the order of the queues. Instances for
 * transmit only are marked (netif_napi_add_tx()), or are added later. With
 * fewer instances than queues (ixgbe without enough vectors) they share them in
 * ways of their own: not to be told. Under RCU.
 *
 * The list has what was added last in front. (From 6.13 on those with a napi_config
 * come back to where they were, and ids do not tell the order any more: each
 * napi_enable() gives a new one.) So queue N is the one that has N behind it. One
 * walk finds it, N steps behind the walk, as under RCU a list has no way back.
 */
static struct napi_struct *sm_napi_find(struct net_device *dev, u32 queue)
{
	struct napi_struct *told = sm_rx_queue_napi(dev, queue);
	struct napi_struct *napi, *first = NULL, *found = NULL;
	u32 n = 0;

	list_for_each_entry_rcu(napi, &dev->napi_list, dev_list) {
		if (napi == told)
			return napi;
		if (test_bit(NAPI_STATE_NO_BUSY_POLL, &napi->state))
			continue;
		if (!n)
			first = napi;
		if (n++ < queue)
			continue;
		found = found ? sm_napi_next(dev, found) : first;
		if (!found)
			return NULL;
	}
	return n < READ_ONCE(dev->real_num_rx_queues) ? NULL : found;
}

static int sm_napi_open(struct sm_nic *nic)
{
	struct napi_struct *napi;

	if (nic->queue >= nic->dev->real_num_rx_queues)
		return -EINVAL;
	/* Some drivers delete instances without RTNL (virtio_net, when it freezes) */
	rcu_read_lock();
	napi = sm_napi_find(nic->dev, nic->queue);
	if (napi && sm_napi_polled_busily(napi) && net_ratelimit())
		netdev_warn(nic->dev, "stackmap: a kernel thread polls queue %u busily: it cannot be claimed until that ends\n",
			    nic->queue);
	rcu_read_unlock();
	return napi ? sm_driver_allowed(nic) : -EOPNOTSUPP;
}

/* Whether anybody reconfigures the device, or may: P2 above */
static bool sm_napi_reconfigured(const struct sm_nic *nic)
{
	return sm_netdev_is_locked(nic->dev) || !sm_nic_works(nic) ||
	       (unlikely(nic->no_xdp) && dev_xdp_prog_count(nic->dev)) ||
	       (unlikely(nic->one_queue) && READ_ONCE(nic->dev->real_num_rx_queues) > 1);
}

static bool sm_napi_wanted(const struct sm_nic *nic)
{
	return test_bit(NAPI_STATE_DISABLE, &nic->napi->state) || sm_napi_reconfigured(nic);
}

/*
 * Undo sm_napi_take(). An interrupt that came meanwhile has found SCHED and left
 * MISSED; its device stays masked until somebody polls. It is served as it would
 * have been without us, as napi_complete_done() does it.
 */
static void sm_napi_give_back(struct napi_struct *napi)
{
	unsigned long new, val = READ_ONCE(napi->state);

	do {
		new = val & ~(NAPIF_STATE_SCHED | NAPIF_STATE_IN_BUSY_POLL |
			      NAPIF_STATE_MISSED);
		if (val & NAPIF_STATE_MISSED)
			new |= NAPIF_STATE_SCHED;
	} while (!try_cmpxchg(&napi->state, &val, new));
	if (val & NAPIF_STATE_MISSED)
		__napi_schedule(napi);
}

static bool sm_napi_claim(struct sm_nic *nic)
{
	struct napi_struct *napi;

	/* Not worth the attempt; what counts is the look after it */
	if (sm_napi_reconfigured(nic))
		return false;
	/* Instances are deleted after a grace period (netif_napi_del()) */
	rcu_read_lock();
	if (nic->queue >= READ_ONCE(nic->dev->real_num_rx_queues))
		goto out;
	napi = sm_napi_find(nic->dev, nic->queue);
	if (!napi || !sm_napi_take(napi, NAPIF_STATE_IN_BUSY_POLL))	/* P1 */
		goto out;
	/* The cmpxchg() of P1 is a full barrier: P2 comes after it */
	if (unlikely(sm_napi_reconfigured(nic))) {
		sm_napi_give_back(napi);
		goto out;
	}
	nic->napi = napi;
	nic->claimed = true;
out:
	rcu_read_unlock();
	return nic->claimed;
}

/* What the driver's poll left in GRO and in the list for the stack */
static void sm_napi_deliver(struct napi_struct *napi)
{
	sm_napi_gro_flush(napi);
	/* gro_normal_list() is not for modules; this is what it does */
	if (sm_napi_gro(napi)->rx_count) {
		netif_receive_skb_list(&sm_napi_gro(napi)->rx_list);
		INIT_LIST_HEAD(&sm_napi_gro(napi)->rx_list);
		sm_napi_gro(napi)->rx_count = 0;
	}
}

/*
 * The softirq goes on with the instance, as after an interrupt. A detached device is
 * not to be touched without one; its driver turns the interrupts on with the rest.
 */
static void sm_napi_hand_over(struct sm_nic *nic)
{
	struct napi_struct *napi = nic->napi;

	nic->claimed = false;
	nic->napi = NULL;
	if (unlikely(!netif_device_present(nic->dev))) {
		sm_napi_give_back(napi);
		return;
	}
	clear_bit(NAPI_STATE_MISSED, &napi->state);	/* it polls in any case */
	clear_bit(NAPI_STATE_IN_BUSY_POLL, &napi->state);
	__napi_schedule(napi);
}

static void sm_napi_release(struct sm_nic *nic)
{
	struct bpf_net_context ctx, *bpf;
	struct napi_struct *napi = nic->napi;
	void *have;
	int work;

	if (unlikely(sm_napi_wanted(nic))) {
		sm_napi_hand_over(nic);
		return;
	}
	/*
	 * As busy_poll_stop(): with IN_BUSY_POLL gone, one more poll ends in
	 * napi_complete_done() and the interrupt is on, or it has used up its
	 * budget and the softirq goes on. MISSED is of no use any more, as the
	 * poll comes after it. SCHED is set until then, so that who takes RTNL
	 * now waits for it.
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

	if (unlikely(sm_napi_wanted(nic))) {
		sm_napi_hand_over(nic);
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
	.wanted = sm_napi_wanted,
	.poll = sm_napi_poll,
	.release = sm_napi_release,
};
