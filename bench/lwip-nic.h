/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lwip-nic.h - between bench-lwip's server and stack (lwip.c), and how it comes by frames: by AF_XDP
 * (lwip-xdp.c), or by DPDK (lwip-dpdk.c)
 *
 * Frames that nic_poll() brings are TCP to our port, IPv4 without options.
 */
#ifndef BENCH_LWIP_NIC_H
#define BENCH_LWIP_NIC_H

#include <stdint.h>

#include "lwip/pbuf.h"

#define ETH		14u

extern const char nic_usage[];

/* -1: it has said why. how: what is to be told of it; address: ours, in network byte order */
int nic_init(const char *name, uint16_t port, uint32_t address, const char **how);

/* Has frames sent, and gives a batch of received ones to nic_input(). Returns how many came; -1: it has said why */
int nic_poll(void);

/* Room for a frame of len bytes, or NULL; it goes to the next nic_poll() */
char *nic_frame(size_t len);

/* In lwip.c: a frame that lies at at. custom_free_function is set, and gets it back */
void nic_input(struct pbuf_custom *pbuf, char *at, size_t len);

#endif
