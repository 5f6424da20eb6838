// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * port.c - opening and closing a port
 */
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

/* Programs have their own: what gets a name there was reserved (docs/abi.md) */
_Static_assert(sizeof(struct stackmap_options) == 64, "another size needs another soname");

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
	reg->large_size = opt->large_size;
	reg->large_bufs = opt->large_bufs;
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
	/* (as the kernel has said: the ring is as its last owner left it) */
	port->rx_mask = port->reg.rx_slots - 1;
	port->rx_cur = port->rx_ring->head;
	port->rx_tail = port->rx_ring->tail;
	port->tx_slots = port->tx_ring->slots;
	port->tx_mask = port->reg.tx_slots - 1;
	port->tx_cur = port->tx_ring->head;
	port->tx_sent = port->tx_cur;
	port->tx_limit = port->tx_ring->tail;
	port->batch = 1;
}

/* @inherited: from another owner, or from who has opened it only */
static int init_bufs(struct stackmap_port *port, bool inherited)
{
	const struct stackmap_register *reg = &port->reg;
	struct stackmap_heir *heir = stackmap_heir_(port);
	const uint32_t *extra;
	uint32_t i;

	/* whatever happens, there are no more spare ones than there are at all */
	heir->spare = malloc(reg->frames * sizeof(*heir->spare));
	heir->tx_own = malloc(reg->tx_slots * sizeof(*heir->tx_own));
	heir->kept = calloc(reg->rx_slots + reg->tx_slots, sizeof(*heir->kept));
	heir->bufs = calloc(reg->frames, sizeof(*heir->bufs));
	if (!heir->spare || !heir->tx_own || !heir->kept || !heir->bufs)
		return -1;
	port->spare = heir->spare;
	port->tx_own = heir->tx_own;
	port->kept = heir->kept;
	port->bufs = heir->bufs;
	for (i = 0; i < reg->tx_slots; i++)
		port->tx_own[i] = STACKMAP_NO_BUF;
	port->returns_max = reg->tx_slots / 2;
	if (inherited)
		return stackmap_inherit_(port);
	extra = (const uint32_t *)((const char *)port->map + reg->extra_off);
	for (i = 0; i < reg->extra_bufs; i++)
		stackmap_spare_(port, extra[i]);
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

/* With port->reg as answered. Takes the port; NULL, and errno, when it has closed it */
static struct stackmap_port *set_up(struct stackmap_port *port,
				    const struct stackmap_options *opt,
				    bool inherited)
{
	if (do_map(port) || init_limits(port, opt) || init_bufs(port, inherited)) {
		stackmap_close(port);
		return NULL;
	}
	init_rings(port);
	return port;
}

struct stackmap_port *stackmap_open(const char *ifname, unsigned int queue,
				    const struct stackmap_options *opt)
{
	struct stackmap_port *port;

	if (!opt)
		opt = &defaults;
	if (!ifname) {
		errno = EINVAL;
		return NULL;
	}
	if (check_reserved(opt))
		return NULL;
	port = stackmap_new_port_();
	if (!port)
		return NULL;
	port->fd = open(STACKMAP_DEVICE, O_RDWR | O_CLOEXEC);
	stackmap_heir_(port)->fd = port->fd;
	if (port->fd < 0 || do_register(port, ifname, queue, opt)) {
		stackmap_close(port);
		return NULL;
	}
	return set_up(port, opt, false);
}

/* What a new owner has to leave as the one before, or the opener, has it */
static bool asks_for_other(const struct stackmap_register *reg,
			   const struct stackmap_options *opt)
{
	return (opt->rx_slots && opt->rx_slots != reg->rx_slots) ||
	       (opt->tx_slots && opt->tx_slots != reg->tx_slots) ||
	       (opt->pool_bufs && opt->pool_bufs != reg->pool_bufs) ||
	       (opt->stall_us && opt->stall_us != reg->stall_us) ||
	       (opt->extra_bufs && opt->extra_bufs != reg->extra_bufs) ||
	       (opt->large_size && opt->large_size != reg->large_size) ||
	       (opt->large_bufs && opt->large_bufs != reg->large_bufs);
}

struct stackmap_port *stackmap_open_fd(int fd, const struct stackmap_options *opt)
{
	struct stackmap_port *port;

	if (!opt)
		opt = &defaults;
	if (check_reserved(opt))
		return NULL;
	port = stackmap_new_port_();
	if (!port)
		return NULL;
	if (ioctl(fd, STACKMAP_IOC_PORT, &port->reg) < 0) {
		stackmap_close(port);
		return NULL;
	}
	if (asks_for_other(&port->reg, opt)) {
		stackmap_close(port);
		errno = EINVAL;
		return NULL;
	}
	port->fd = fd;
	/* (whose end would close it, were it in the heir already) */
	if (!set_up(port, opt, true))
		return NULL;
	stackmap_heir_(port)->fd = fd;
	return port;
}

/* The connection's owner may use it after the port has gone */
static void leave(struct stackmap_conn *conn)
{
	uint32_t gen = conn->gen;

	stackmap_conn_over_(conn);
	/* it still has its socket: stackmap_conn_close() closes it */
	conn->gen = gen;
	conn->err = ESTALE;
}

/* In a child: what a connection has there, nothing else */
static void leave_child(struct stackmap_conn *conn)
{
	struct stackmap_chunk *chunk;

	while ((chunk = conn->first)) {
		conn->first = chunk->next;
		free(chunk);
	}
	if (conn->state & CONN_LINGER) {
		if (!stackmap_is_handle_(conn->fd))
			close(conn->fd);
		free(conn);
	} else {
		leave(conn);
	}
}

static void leave_all(struct stackmap_conn **conns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (conns[i]) {
			stackmap_queue_drop_(conns[i]);
			leave(conns[i]);
		}
	}
}

static void close_conns(struct stackmap_port *port)
{
	while (port->linger_first)
		stackmap_linger_end_(&port->linger_first->conn);
	leave_all(port->conns, port->fds);
	for (uint32_t i = 0; i < port->handles; i++)
		stackmap_close_made_(port, (int)(STACKMAP_HANDLE_MIN + i));
	leave_all(port->handle_conns, port->handles);
}

static void close_child(struct stackmap_heir *heir)
{
	for (uint32_t fd = 0; fd < heir->fds; fd++) {
		if (heir->conns[fd])
			leave_child(heir->conns[fd]);
	}
	for (uint32_t i = 0; i < heir->handles; i++) {
		if (heir->handle_infos[i].fd)
			close((int)heir->handle_infos[i].fd - 1);
		if (heir->handle_conns[i])
			leave_child(heir->handle_conns[i]);
	}
}

void stackmap_close(struct stackmap_port *port)
{
	int err = errno;

	if (!port)
		return;
	/* NULL: wiped, as this is a child's */
	if (port->map) {
		/*
		 * What is in the ring goes with the mapping, while all sockets are open.
		 * Nothing unsent is there any more, and no slot is looked at afterwards
		 */
		if (port->map != MAP_FAILED)
			munmap(port->map, port->reg.map_size);
		port->tx_sent = port->tx_cur;
		port->tx_limit = port->tx_cur;
		if (port->bufs)
			close_conns(port);
	} else {
		close_child(stackmap_heir_(port));
	}
	if (stackmap_heir_(port)->fd >= 0)
		close(stackmap_heir_(port)->fd);
	stackmap_free_port_(port);
	errno = err;
}
