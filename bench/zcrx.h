/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BENCH_ZCRX_H
#define BENCH_ZCRX_H

/* Prints what the kernel answers to whoever wants to receive without a copy by io_uring from a NIC's first queue */
int zcrx_probe(const char *interface);

#endif
