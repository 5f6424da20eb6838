/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stackmap_drivers.h - the stock drivers whose NICs may be owned
 *
 * One list for the module, which keeps to it (kmod/drivers.c), and for `stackmap doctor`, which
 * tells of it. docs/drivers.md says how each came to be in it.
 */
#ifndef STACKMAP_DRIVERS_H
#define STACKMAP_DRIVERS_H

/* How it was established that a driver keeps to the rule, and on what condition */
enum {
	SM_TESTED = 1 << 0,	/* reconfigured under an owner here: t_claim.c, tests/nics */
	SM_READ = 1 << 1,	/* every path that stops or replaces its rings was read, in 6.12; in 6.1 they are the same */
	SM_REFUSED = 1 << 2,	/* was read, and breaks the rule: not even with any_driver */
	SM_ONE_QUEUE = 1 << 3,	/* with more its instances are not in the order of its queues */
	SM_NO_XDP = 1 << 4,	/* breaks the rule while an XDP program is attached */
};

/* By the name of its bus driver, or the kind of a virtual device */
static const struct {
	const char *name;
	unsigned int how;
} sm_drivers[] = {
	{ "virtio_net", SM_TESTED | SM_READ },
	{ "e1000", SM_TESTED | SM_READ },
	{ "e1000e", SM_TESTED | SM_READ },
	{ "igb", SM_TESTED | SM_READ },
	{ "vmxnet3", SM_TESTED | SM_READ },
	{ "tulip", SM_TESTED | SM_READ },
	{ "e100", SM_TESTED | SM_READ },
	{ "veth", SM_TESTED | SM_READ },
	{ "vif", SM_READ },			/* xen-netfront */
	{ "r8152", SM_READ },
	{ "r8169", SM_READ },
	{ "ixgbe", SM_READ },
	{ "ixgbevf", SM_READ },
	{ "i40e", SM_READ },
	{ "iavf", SM_READ },
	{ "ice", SM_READ },
	{ "igc", SM_READ | SM_NO_XDP },
	{ "mlx4_core", SM_READ },
	{ "mlx5_core", SM_READ },
	{ "bnxt_en", SM_READ },
	{ "bnx2x", SM_READ },
	{ "tg3", SM_READ | SM_ONE_QUEUE },
	{ "ena", SM_READ },
	{ "atlantic", SM_READ },
	{ "sfc", SM_READ },
	{ "nfp", SM_READ },
	{ "qede", SM_READ },
	{ "be2net", SM_READ },
	{ "hv_netvsc", SM_READ },
	{ "mana", SM_READ },
	{ "hns3", SM_READ },
	{ "xilinx_axienet", SM_READ },
	{ "8139too", SM_REFUSED },	/* a level interrupt that stays up while claimed */
	{ "8139cp", SM_REFUSED },	/* likewise; its transmit timeout frees what poll reads */
	{ "pcnet32", SM_REFUSED },	/* its transmit timeout makes the receive ring anew */
	{ "gve", SM_REFUSED },		/* its instances are not in the order of its queues */
	{ "cxgb4", SM_REFUSED },	/* likewise: it would be the firmware's event queue */
	{ "mvneta", SM_REFUSED },	/* polls what is of one CPU */
	{ "macb", SM_REFUSED },		/* makes its rings anew in a softirq */
};

#endif /* STACKMAP_DRIVERS_H */
