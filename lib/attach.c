// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * attach.c - attaching sockets, and detaching those without a connection
 */
#include <sys/ioctl.h>

#include "lib.h"

static uint32_t attach(struct stackmap_port *port, struct stackmap_attach *req)
{
	int fd = req->fd;

	if (!stackmap_usable_(port))
		return 0;
	if (fd < 0 || stackmap_is_handle_(fd)) {
		errno = EBADF;
		return 0;
	}
	if (stackmap_reserve_fd_(port, fd) ||
	    ioctl(port->fd, STACKMAP_IOC_ATTACH, req) < 0)
		return 0;
	/*
	 * With EALREADY whoever has it keeps it. If the kernel knows better, the
	 * descriptor was closed behind our back and is another socket. A connection
	 * that had it is not looked at, as it may have been freed; it finds out by
	 * no longer being in the table.
	 */
	stackmap_drop_credit_(port, fd);
	port->gens[fd] = req->gen;
	port->conns[fd] = NULL;
	return req->gen;
}

uint32_t stackmap_attach(struct stackmap_port *port, int fd, uint64_t cookie)
{
	struct stackmap_attach req = { .fd = fd, .data = cookie };

	return attach(port, &req);
}

uint32_t stackmap_attach_listener(struct stackmap_port *port, int fd, uint64_t cookie)
{
	struct stackmap_attach req = {
		.fd = fd, .flags = STACKMAP_ATTACH_ACCEPT, .data = cookie,
	};

	return attach(port, &req);
}

int stackmap_detach(struct stackmap_port *port, int fd)
{
	struct stackmap_detach req = { .fd = fd };

	if (!stackmap_usable_(port))
		return -1;
	if (fd < 0 || (uint32_t)fd >= port->fds || !port->gens[fd]) {
		errno = EBADF;
		return -1;
	}
	if (port->conns[fd]) {
		errno = EBUSY;
		return -1;
	}
	if (ioctl(port->fd, STACKMAP_IOC_DETACH, &req) < 0)
		return -1;
	port->gens[fd] = 0;
	return 0;
}

void stackmap_forget(struct stackmap_port *port, int fd)
{
	if (port && (uint32_t)fd < port->fds && !port->conns[fd])
		port->gens[fd] = 0;
}
