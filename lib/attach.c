// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * attach.c - attaching sockets, and the tables of what is attached
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "lib.h"

#define FDS_MIN	64u

/* Make the tables long enough for fd */
static int reserve_fd(struct stackmap_port *port, uint32_t fd)
{
	struct stackmap_heir *heir = stackmap_heir_(port);
	uint32_t fds = port->fds ? port->fds : FDS_MIN;
	struct stackmap_fdinfo *infos;
	struct stackmap_conn **conns;
	uint32_t *gens;

	if (fd < port->fds)
		return 0;
	/* no memory for numbers out of the blue */
	if (fcntl((int)fd, F_GETFD) < 0)
		return -1;
	while (fds <= fd)
		fds *= 2;
	gens = realloc(port->gens, fds * sizeof(*gens));
	if (!gens)
		return -1;
	port->gens = heir->gens = gens;
	conns = realloc(port->conns, fds * sizeof(*conns));
	if (!conns)
		return -1;
	port->conns = heir->conns = conns;
	infos = realloc(port->infos, fds * sizeof(*infos));
	if (!infos)
		return -1;
	port->infos = heir->infos = infos;
	memset(gens + port->fds, 0, (fds - port->fds) * sizeof(*gens));
	memset(conns + port->fds, 0, (fds - port->fds) * sizeof(*conns));
	memset(infos + port->fds, 0, (fds - port->fds) * sizeof(*infos));
	port->fds = heir->fds = fds;
	return 0;
}

uint32_t stackmap_attach(struct stackmap_port *port, int fd, uint64_t cookie)
{
	struct stackmap_attach req = { .fd = fd, .data = cookie };

	if (!stackmap_usable_(port))
		return 0;
	if (fd < 0) {
		errno = EBADF;
		return 0;
	}
	if (reserve_fd(port, (uint32_t)fd) ||
	    ioctl(port->fd, STACKMAP_IOC_ATTACH, &req) < 0)
		return 0;
	/*
	 * With EALREADY whoever has it keeps it. If the kernel knows better, the
	 * descriptor was closed behind our back and is another socket. A connection
	 * that had it is not looked at, as it may have been freed; it finds out by
	 * no longer being in the table.
	 */
	stackmap_drop_credit_(port, fd);
	port->gens[fd] = req.gen;
	port->conns[fd] = NULL;
	return req.gen;
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
