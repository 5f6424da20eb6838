/* SPDX-License-Identifier: GPL-2.0 */
/*
 * napi.h - for the rivals: how a NAPI instance is to be polled, by netlink (Linux 6.13)
 *
 * See "Software IRQ coalescing" and "IRQ suspension" in Documentation/networking/napi.rst, the kernel's.
 */
#ifndef BENCH_NAPI_H
#define BENCH_NAPI_H

#include <stdint.h>

struct napi_settings {
	uint32_t defer_hard_irqs;	/* polls that may find nothing before the interrupt is on again */
	uint64_t gro_flush_ns;		/* the kernel's own poll meanwhile, if nobody else's came */
	uint64_t irq_suspend_ns;	/* likewise, after an epoll_wait() that found events */
};

/* What its authors measured with ("suspendX", "napibusy"): as many polls, and 20 ms */
#define NAPI_DEFER_IRQS		100
#define NAPI_SUSPEND_NS		20000000

/* -1 and errno: EOPNOTSUPP, this kernel cannot; EPERM, that needs CAP_NET_ADMIN */
int napi_open(void);

/* The instance that a connection's packets come from; 0: not known */
uint32_t napi_of(int fd);

/* Has the settings for an instance: 1; 0: it had them already; -1 and errno */
int napi_claim(uint32_t id, const struct napi_settings *settings);

/* All instances that were claimed are as the kernel has them by default */
void napi_close(void);

#endif
