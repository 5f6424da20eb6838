/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rawtcp.h - a TCP peer made of raw packets, for what no kernel would send
 */
#ifndef RAWTCP_H
#define RAWTCP_H

#include <stdint.h>

/* What is odd about it; or-ed */
#define RAW_MSS1	0x01	/* announces an MSS of 1, and sends one byte per packet */
#define RAW_TINY	0x02	/* windows of 1 to 3000 bytes */
#define RAW_ZERO	0x04	/* closes its window, for seconds */
#define RAW_ACKS	0x08	/* divided, duplicate, old, future ACKs and SACKs */
#define RAW_CHAOS	0x10	/* wrong checksums and sequence numbers, odd flags, overlaps */
#define RAW_ICMP	0x20	/* ICMP errors of every kind about packets it got, PMTU too */
#define RAW_QUIT	0x40	/* resets the connection in its midst */

/*
 * Send @bytes of the stream @seed from @from to @to's @port, in a manner, and
 * get them back. Returns NULL, or what is wrong.
 */
const char *raw_echo(const char *from, const char *to, int port, int manner, uint32_t seed,
		     uint32_t bytes);
/* @n SYNs from @n sources and ports, at most @rate a second, and nothing more */
const char *raw_syns(const char *from, const char *to, int port, uint32_t n, uint32_t rate);
/* Wait for a SYN from @to to @from, port @port; answer it, and what repeats it, with ICMP destination unreachable */
const char *raw_refuse(const char *from, const char *to, int port, int code);
/* Called when the socket for raw_refuse() is there */
extern void (*raw_ready)(void);

#endif /* RAWTCP_H */
