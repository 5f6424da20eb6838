/* SPDX-License-Identifier: GPL-2.0 */
/*
 * nic.h - what a port asks of a NIC
 *
 * A NIC is either claimed, and then only its port polls it and its interrupts
 * are off, or it is not, and then it is an ordinary interrupt-driven NIC.
 * Every call but open and close is made with the port's lock held, which
 * guards the NIC's state, and with softirqs off.
 */
#ifndef SM_NIC_H
#define SM_NIC_H

#include <linux/netdevice.h>

struct sm_nic;

/**
 * struct sm_nic_ops - a kind of NIC
 * @kind: STACKMAP_NIC_*
 * @open: can this queue be driven? 0, -EINVAL (no such queue), -EOPNOTSUPP.
 *	Called under RTNL.
 * @claim: take the queue from its interrupts. False when it cannot be had now:
 *	it is down, being reconfigured, or a softirq is polling it.
 * @poll: receive up to @budget packets and run the stack on them. Returns how
 *	many. May find that the claim must be given up, and does so.
 * @release: give the queue back to its interrupts. Nothing that has arrived
 *	meanwhile is left waiting for the next interrupt.
 */
struct sm_nic_ops {
	u32 kind;
	int (*open)(struct sm_nic *nic);
	bool (*claim)(struct sm_nic *nic);
	int (*poll)(struct sm_nic *nic, int budget);
	void (*release)(struct sm_nic *nic);
};

/**
 * struct sm_nic - one queue of a NIC, as its port sees it
 * @ops: its kind
 * @dev: the interface, or NULL once it is gone
 * @tracker: of the reference to @dev
 * @queue: receive queue
 * @claimed: whether the port polls it
 * @napi: valid while claimed
 */
struct sm_nic {
	const struct sm_nic_ops *ops;
	struct net_device *dev;
	netdevice_tracker tracker;
	u32 queue;
	bool claimed;
	struct napi_struct *napi;
};

extern const struct sm_nic_ops sm_nic_napi;

#endif /* SM_NIC_H */
