// SPDX-License-Identifier: GPL-2.0
/*
 * lwip-dpdk.c - of bench-lwip-dpdk: frames by DPDK's poll-mode driver, for virtio NICs in a guest
 *
 *  - The NIC is not the kernel's meanwhile but uio_pci_generic's (bench/dpdk gives it, and takes it
 *    back), its rings and all frames lie in huge pages, and there is no system call, interrupt or copy
 *    between it and us.
 *  - Received frames are lwIP's buffers where they lie: what lwIP has to know of one is in the
 *    private area of its mbuf.
 *  - Bursts both ways: what lwIP sends while a received burst is worked off goes to the NIC at once,
 *    with one doorbell.
 *
 * Nobody else answers for our address: ARP requests are answered here, and all else but TCP to our
 * port is dropped. The NIC could compute TCP's checksums, but Debian's lwIP is built to do so itself.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "lwip-nic.h"

#define MBUFS		8191u	/* one less than a power of two, as rte_mempool.h would have it */
#define CACHE		256u
#define RING		256u	/* what QEMU's virtio NICs have */
#define BATCH		64u

/* Where things are in a frame of ARP, and of IPv4 without options */
enum { TO = 0, FROM = 6, TYPE = 12, ARP_OPERATION = 20, ARP_SENDER = 22, ARP_TARGET_IP = 38, ARP_END = 42 };
enum { IP = 14, PROTOCOL = 23, IP_TO = 30, DPORT = 36, HEADERS = 54 };

static struct {
	struct rte_mempool *pool;
	uint16_t id;			/* of what DPDK calls a port */
	uint16_t port;			/* in network byte order, as the next */
	uint32_t address;
	struct rte_ether_addr mac;
	struct rte_mbuf *out[2 * BATCH];
	uint16_t outs;
} nic;

const char nic_usage[] =
	"  --interface PCI   a device that uio_pci_generic has, as 0000:00:03.0: its first queue,\n"
	"                    through DPDK\n";

static int fail(const char *what, int err)
{
	fprintf(stderr, "bench-lwip: %s: %s\n", what, rte_strerror(err < 0 ? -err : err));
	return -1;
}

static void frame_free(struct pbuf *p)
{
	/* rte_mbuf_to_priv(), the other way round */
	rte_pktmbuf_free(RTE_PTR_SUB(p, sizeof(struct rte_mbuf)));
}

/* What the NIC has no room for TCP sends again */
static void flush(void)
{
	uint16_t n = nic.outs ? rte_eth_tx_burst(nic.id, 0, nic.out, nic.outs) : 0;

	while (n < nic.outs)
		rte_pktmbuf_free(nic.out[n++]);
	nic.outs = 0;
}

char *nic_frame(size_t len)
{
	struct rte_mbuf *m;
	char *at;

	if (nic.outs == RTE_DIM(nic.out))
		flush();
	m = rte_pktmbuf_alloc(nic.pool);
	if (!m)
		return NULL;
	at = rte_pktmbuf_append(m, (uint16_t)len);
	if (!at) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	nic.out[nic.outs++] = m;
	return at;
}

static bool is(const char *at, const void *what, size_t len)
{
	return !memcmp(at, what, len);
}

static void answer_arp(const char *at, size_t len)
{
	char *reply;

	if (len < ARP_END || !is(at + ARP_OPERATION, "\0\1", 2) || !is(at + ARP_TARGET_IP, &nic.address, 4))
		return;
	reply = nic_frame(ARP_END);
	if (!reply)
		return;
	memcpy(reply + TO, at + FROM, 6);
	memcpy(reply + FROM, &nic.mac, 6);
	memcpy(reply + TYPE, at + TYPE, ARP_OPERATION - TYPE);
	memcpy(reply + ARP_OPERATION, "\0\2", 2);
	memcpy(reply + ARP_SENDER, &nic.mac, 6);
	memcpy(reply + ARP_SENDER + 6, &nic.address, 4);
	memcpy(reply + ARP_SENDER + 10, at + ARP_SENDER, 10);
}

static void input(struct rte_mbuf *m)
{
	struct pbuf_custom *pbuf = rte_mbuf_to_priv(m);
	char *at = rte_pktmbuf_mtod(m, char *);
	size_t len = rte_pktmbuf_data_len(m);

	if (len >= HEADERS && is(at + TYPE, "\x08\0\x45", 3) && at[PROTOCOL] == IPPROTO_TCP &&
	    is(at + DPORT, &nic.port, 2) && is(at + IP_TO, &nic.address, 4)) {
		pbuf->custom_free_function = frame_free;
		nic_input(pbuf, at, len);
		return;
	}
	if (len > IP && is(at + TYPE, "\x08\x06", 2))
		answer_arp(at, len);
	rte_pktmbuf_free(m);
}

int nic_poll(void)
{
	struct rte_mbuf *in[BATCH];
	uint16_t n = rte_eth_rx_burst(nic.id, 0, in, BATCH), i;

	for (i = 0; i < n; i++)
		input(in[i]);
	flush();
	return n;
}

int nic_init(const char *name, uint16_t port, uint32_t address, const char **how)
{
	/* In memory: no files for other processes, which there are none of */
	char *argv[] = {
		"bench-lwip", "--in-memory", "--no-telemetry", "-l", "0", "-m", "32", "-a", (char *)name,
		"--log-level", "warning", NULL,
	};
	const struct rte_eth_conf conf = { 0 };
	int err = rte_eal_init((int)RTE_DIM(argv) - 1, argv);

	if (err < 0)
		return fail("DPDK (it needs huge pages)", rte_errno);
	if (!rte_eth_dev_count_avail()) {
		fprintf(stderr, "bench-lwip: DPDK finds no NIC at %s\n", name);
		return -1;
	}
	nic.id = rte_eth_find_next(0);
	nic.port = htons(port);
	nic.address = address;
	/* Frames are lwIP's until it has read them, or for good if a client leaves a hole in its stream */
	nic.pool = rte_pktmbuf_pool_create("frames", MBUFS, CACHE,
					   RTE_ALIGN(sizeof(struct pbuf_custom), RTE_MBUF_PRIV_ALIGN),
					   RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!nic.pool)
		return fail("frames", rte_errno);
	err = rte_eth_dev_configure(nic.id, 1, 1, &conf);
	if (!err)
		err = rte_eth_rx_queue_setup(nic.id, 0, RING, SOCKET_ID_ANY, NULL, nic.pool);
	if (!err)
		err = rte_eth_tx_queue_setup(nic.id, 0, RING, SOCKET_ID_ANY, NULL);
	if (!err)
		err = rte_eth_dev_start(nic.id);
	if (!err)
		err = rte_eth_macaddr_get(nic.id, &nic.mac);
	if (err)
		return fail("the NIC", err);
	*how = ", DPDK";
	return 0;
}
