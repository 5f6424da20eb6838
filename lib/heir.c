// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * heir.c - the memory of a port, and what a child of fork() finds there
 *
 * The mapping is not inherited by a child of fork(), and the parent's port must
 * not be touched there. So the port lies on pages which the kernel wipes in a
 * child, and reads as one that has nothing: see struct stackmap_heir.
 */
#define _DEFAULT_SOURCE 1

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib.h"

const struct stackmap_port stackmap_gone_;

/* Bytes that are wiped: whole pages */
static size_t wiped_size(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct stackmap_port) + page - 1) & ~(page - 1);
}

struct stackmap_heir *stackmap_heir_(struct stackmap_port *port)
{
	return (struct stackmap_heir *)((char *)port + wiped_size());
}

/* Zeroed, but that it has no mapping and no descriptor. NULL, and errno, without memory */
struct stackmap_port *stackmap_new_port_(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct stackmap_port *port;

	port = aligned_alloc(page, wiped_size() + page);
	if (!port)
		return NULL;
	memset(port, 0, wiped_size() + page);
	if (madvise(port, wiped_size(), MADV_WIPEONFORK)) {
		free(port);
		return NULL;
	}
	port->map = MAP_FAILED;
	port->fd = -1;
	stackmap_heir_(port)->fd = -1;
	return port;
}

void stackmap_free_port_(struct stackmap_port *port)
{
	struct stackmap_heir *heir = stackmap_heir_(port);

	free(heir->spare);
	free(heir->tx_own);
	free(heir->bufs);
	free(heir->kept);
	free(heir->gens);
	free(heir->conns);
	free(heir->infos);
	free(heir->handle_gens);
	free(heir->handle_conns);
	free(heir->handle_infos);
	madvise(port, wiped_size(), MADV_KEEPONFORK);
	free(port);
}
