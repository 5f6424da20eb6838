// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * port.c - opening and closing a port
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"

#define SEND_MAX_DEFAULT	65536u
#define SEND_MAX_LIMIT		(1u << 30)
#define LINGER_MS_DEFAULT	60000u

static const struct stackmap_options defaults;

static int check_reserved(const struct stackmap_options *opt)
{
	size_t i;

	for (i = 0; i < sizeof(opt->reserved) / sizeof(opt->reserved[0]); i++) {
		if (opt->reserved[i]) {
			errno = EINVAL;
			return -1;
		}
	}
	return 0;
}

static int do_register(struct stackmap_port *port, const char *ifname,
		       unsigned int queue, const struct stackmap_options *opt)
{
	struct stackmap_register *reg = &port->reg;

	reg->version = STACKMAP_ABI_VERSION;
	reg->ifindex = if_nametoindex(ifname);
	if (!reg->ifindex) {
		errno = ENODEV;
		return -1;
	}
	reg->queue = queue;
	reg->rx_slots = opt->rx_slots;
	reg->tx_slots = opt->tx_slots;
	reg->extra_bufs = opt->extra_bufs;
	reg->pool_bufs = opt->pool_bufs;
	reg->stall_us = opt->stall_us;
	return ioctl(port->fd, STACKMAP_IOC_REGISTER, reg);
}

static int do_map(struct stackmap_port *port)
{
	const struct stackmap_register *reg = &port->reg;
	unsigned char *base;

	port->map = mmap(NULL, reg->map_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, port->fd, 0);
	if (port->map == MAP_FAILED)
		return -1;
	base = port->map;
	port->rx_ring = (struct stackmap_ring *)(base + reg->rx_off);
	port->tx_ring = (struct stackmap_ring *)(base + reg->tx_off);
	port->frames = base + reg->frames_off;
	port->frame_size = reg->frame_size;
	port->seg_max = reg->frame_size < UINT16_MAX ? reg->frame_size :
						       UINT16_MAX;
	return 0;
}

static void init_rings(struct stackmap_port *port)
{
	port->rx_slots = port->rx_ring->slots;
	port->rx_mask = port->rx_ring->nslots - 1;
	port->rx_cur = port->rx_ring->head;
	port->rx_tail = port->rx_ring->tail;
	port->tx_slots = port->tx_ring->slots;
	port->tx_mask = port->tx_ring->nslots - 1;
	port->tx_cur = port->tx_ring->head;
	port->tx_sent = port->tx_cur;
	port->tx_limit = port->tx_ring->tail;
	port->batch = 1;
}

static int init_bufs(struct stackmap_port *port)
{
	const struct stackmap_register *reg = &port->reg;
	const unsigned char *extra = port->map;
	uint32_t i;

	/* malloc(0) may return NULL: one more */
	port->spare = malloc((reg->extra_bufs + 1) * sizeof(*port->spare));
	port->tx_own = malloc(reg->tx_slots * sizeof(*port->tx_own));
	if (!port->spare || !port->tx_own)
		return -1;
	memcpy(port->spare, extra + reg->extra_off,
	       reg->extra_bufs * sizeof(*port->spare));
	port->spares = reg->extra_bufs;
	for (i = 0; i < reg->tx_slots; i++)
		port->tx_own[i] = STACKMAP_NO_BUF;
	return 0;
}

static int init_limits(struct stackmap_port *port,
		       const struct stackmap_options *opt)
{
	port->linger_ms = opt->linger_ms ? opt->linger_ms : LINGER_MS_DEFAULT;
	port->send_max = opt->send_max ? opt->send_max : SEND_MAX_DEFAULT;
	if (!opt->send_max && port->send_max < port->frame_size)
		port->send_max = port->frame_size;
	if (port->send_max < port->frame_size ||
	    port->send_max > SEND_MAX_LIMIT) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

struct stackmap_port *stackmap_open(const char *ifname, unsigned int queue,
				    const struct stackmap_options *opt)
{
	struct stackmap_port *port;

	if (!opt)
		opt = &defaults;
	if (check_reserved(opt))
		return NULL;
	port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->map = MAP_FAILED;
	port->fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);
	if (port->fd < 0 || do_register(port, ifname, queue, opt) ||
	    do_map(port) || init_limits(port, opt) || init_bufs(port)) {
		stackmap_close(port);
		return NULL;
	}
	init_rings(port);
	return port;
}

void stackmap_close(struct stackmap_port *port)
{
	int err = errno;

	if (!port)
		return;
	while (port->linger_first)
		stackmap_linger_end_(&port->linger_first->conn);
	for (uint32_t fd = 0; fd < port->fds; fd++) {
		if (port->conns[fd])
			stackmap_queue_drop_(port->conns[fd]);
	}
	if (port->map != MAP_FAILED)
		munmap(port->map, port->reg.map_size);
	if (port->fd >= 0)
		close(port->fd);
	free(port->spare);
	free(port->tx_own);
	free(port->gens);
	free(port->conns);
	free(port);
	errno = err;
}
