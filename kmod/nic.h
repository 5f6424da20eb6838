/* SPDX-License-Identifier: GPL-2.0 */
/*
 * nic.h - what a port asks of a NIC
 *
 * A NIC is either claimed, and then only its port polls it and its interrupts
 * are off, or it is not, and then it is an ordinary interrupt-driven NIC.
 * Every call but open and close (which may sleep) is made with the port's lock held, which
 * guards the NIC's state, and with softirqs off.
 */
#ifndef SM_NIC_H
#define SM_NIC_H

#include <linux/netdevice.h>

#include "compat.h"
#include "frame.h"

struct sm_nic;

/**
 * struct sm_nic_ops - a kind of NIC
 * @kind: STACKMAP_NIC_*
 * @budget: packets that a sync receives at most before it delivers. Few enough
 *	for skbs and their heads to go round in the slab's and NAPI's per-CPU
 *	caches: with 256 the slabs of a whole batch were freed and allocated, and
 *	cleared, each time. Many enough for what a driver does once a poll.
 * @open: can this queue be driven? 0, -EINVAL (no such queue), -EOPNOTSUPP.
 *	Called under RTNL.
 * @close: the opposite. The NIC was released; afterwards it knows nothing of
 *	the port or its frames. nic->dev is NULL already. Under RTNL. May be NULL.
 * @claim: take the queue from its interrupts. False when it cannot be had now:
 *	it is down, being reconfigured, or a softirq is polling it.
 * @wanted: whether somebody waits for a claimed queue, so that the claim has to be
 *	given up at once. Asked in every tick; @poll asks the same by itself.
 * @begin: packets that are sent on this CPU from now on may wait for @flush.
 *	Called once claimed, at the start of a round of sync. May be NULL.
 * @doorbell: tell the NIC of what was sent so far. Between begin and flush. May
 *	be NULL.
 * @poll: receive up to @budget packets and run the stack on them. Returns how
 *	many. May find that the claim must be given up, and does so.
 * @flush: tell the NIC of what it does not know yet, and end @begin. Called in every
 *	round that called @begin, also when the claim was given up since.
 * @release: give the queue back to its interrupts. Nothing that has arrived
 *	meanwhile is left waiting for the next interrupt.
 */
struct sm_nic_ops {
	u32 kind;
	int budget;
	int (*open)(struct sm_nic *nic);
	void (*close)(struct sm_nic *nic, struct net_device *dev);
	bool (*claim)(struct sm_nic *nic);
	bool (*wanted)(const struct sm_nic *nic);
	void (*begin)(struct sm_nic *nic);
	void (*doorbell)(struct sm_nic *nic);
	int (*poll)(struct sm_nic *nic, int budget);
	void (*flush)(struct sm_nic *nic);
	void (*release)(struct sm_nic *nic);
};

/**
 * struct sm_nic - one queue of a NIC, as its port sees it
 * @ops: its kind
 * @dev: the interface, or NULL once it is gone
 * @tracker: of the reference to @dev
 * @queue: receive queue
 * @lock: the port's lock
 * @frames: the port's frames
 * @claimed: whether the port polls it
 * @no_xdp: not to be claimed while an XDP program is attached
 * @one_queue: not to be claimed while it has more than one receive queue
 * @down: its interface is going down or is down: it is not to be claimed
 * @napi: valid while claimed
 */
struct sm_nic {
	const struct sm_nic_ops *ops;
	struct net_device *dev;
	netdevice_tracker tracker;
	u32 queue;
	spinlock_t *lock;
	struct sm_frames *frames;
	bool claimed;
	bool no_xdp;
	bool one_queue;
	bool down;
	struct napi_struct *napi;
};

/* Whether the interface is up, there and has a link: else nobody may claim it */
static inline bool sm_nic_works(const struct sm_nic *nic)
{
	return !nic->down && netif_running(nic->dev) && netif_device_present(nic->dev) &&
	       netif_carrier_ok(nic->dev);
}

/*
 * Take a NAPI instance if it is idle. Not napi_schedule_prep(): that one leaves
 * MISSED with a softirq that has it, which would never finish then.
 */
static inline bool sm_napi_take(struct napi_struct *napi, unsigned long more)
{
	unsigned long val = READ_ONCE(napi->state);

	return !(val & (NAPIF_STATE_DISABLE | NAPIF_STATE_SCHED | NAPIF_STATE_NPSVC |
			NAPIF_STATE_IN_BUSY_POLL)) &&
	       cmpxchg(&napi->state, val, val | NAPIF_STATE_SCHED | more) == val;
}

/* Whether a stock driver's instances may be claimed, see drivers.c */
int sm_driver_allowed(struct sm_nic *nic);

extern const struct sm_nic_ops sm_nic_napi;
extern const struct sm_nic_ops sm_nic_virtio;

/* Whether an interface is driven by nic_virtio */
bool sm_virtio_is(const struct net_device *dev);
int sm_virtio_init(void);
void sm_virtio_exit(void);

#endif /* SM_NIC_H */
