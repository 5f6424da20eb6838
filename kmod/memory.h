/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memory.h - memory of the application that it sends from, without frames
 */
#ifndef SM_MEMORY_H
#define SM_MEMORY_H

#include <linux/bvec.h>
#include <linux/nospec.h>
#include <uapi/stackmap.h>

#include "port.h"

struct sm_memory;

/* How many pieces a slot may be in at most: pages that do not lie behind one another */
#define SM_MEMORY_PIECES	(STACKMAP_TX_MEMORY_MAX / PAGE_SIZE + 1)

int sm_memory_add(struct sm_port *port, struct stackmap_memory *req);
int sm_memory_remove(struct sm_port *port, u32 id);
void sm_memory_close(struct sm_port *port);
bool sm_memory_has(const struct sm_memory *m, u64 at, u32 len);
u32 sm_memory_pieces(const struct sm_memory *m, u64 at, u32 len, struct bio_vec *bvec);
void sm_memory_message(struct sm_memory *m, struct msghdr *msg);

/* The memory that an application names in a slot, or NULL; with the port locked */
static inline struct sm_memory *sm_memory_of(const struct sm_port *port, u32 id)
{
	if (unlikely(id >= ARRAY_SIZE(port->memory)))
		return NULL;
	return port->memory[array_index_nospec(id, ARRAY_SIZE(port->memory))];
}

#endif /* SM_MEMORY_H */
