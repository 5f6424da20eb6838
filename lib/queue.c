// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * queue.c - the payload that a connection could not give to the ring yet
 */
#include <stdlib.h>

#include "lib.h"

/* Nothing may be added to a chunk with one of these, as they are about its end */
#define SEALED	(STACKMAP_TX_MORE | STACKMAP_TX_ACKED)

/* So much memory of one connection goes with a sync, and what is in its last slot */
#define PUMP_MAX	(1u << 20)

static void add_last(struct stackmap_conn *conn, struct stackmap_chunk *chunk)
{
	chunk->next = NULL;
	if (conn->last)
		conn->last->next = chunk;
	else
		conn->first = chunk;
	conn->last = chunk;
	conn->queued += chunk->len;
}

static void add_first(struct stackmap_conn *conn, struct stackmap_chunk *chunk)
{
	chunk->next = conn->first;
	if (!conn->last)
		conn->last = chunk;
	conn->first = chunk;
	conn->queued += chunk->len;
}

static struct stackmap_chunk *del_first(struct stackmap_conn *conn)
{
	struct stackmap_chunk *chunk = conn->first;

	conn->first = chunk->next;
	if (!conn->first)
		conn->last = NULL;
	conn->queued -= chunk->len;
	return chunk;
}

/* What becomes of a buffer that is the chunk's own is up to the caller */
static void free_chunk(struct stackmap_port *port, struct stackmap_chunk *chunk)
{
	if (chunk->flags & STACKMAP_TX_KEEP)
		stackmap_unqueue_(port, chunk->buf);
	else if (chunk->flags & STACKMAP_TX_MEMORY)
		port->memory[chunk->memory].chunks--;
	free(chunk);
}

/* A chunk that is not sent */
static void drop_chunk(struct stackmap_port *port, struct stackmap_chunk *chunk)
{
	if (chunk->buf != STACKMAP_NO_BUF && !(chunk->flags & STACKMAP_TX_KEEP))
		stackmap_spare_(port, chunk->buf);
	free_chunk(port, chunk);
}

static const unsigned char *chunk_payload(const struct stackmap_port *port,
					  const struct stackmap_chunk *chunk)
{
	if (chunk->flags & STACKMAP_TX_MEMORY)
		return port->memory[chunk->memory].addr + chunk->at;
	if (chunk->buf == STACKMAP_NO_BUF)
		return chunk->data + chunk->off;
	return (unsigned char *)stackmap_buf(port, chunk->buf) + chunk->off;
}

/* A chunk for a buffer whose owner the queue becomes, or which is lent to it */
static struct stackmap_chunk *new_buf(struct stackmap_port *port, uint32_t buf,
				      uint32_t off, uint32_t len, uint32_t flags)
{
	struct stackmap_chunk *chunk = malloc(sizeof(*chunk));

	if (!chunk)
		return NULL;
	chunk->buf = buf;
	chunk->off = off;
	chunk->len = len;
	chunk->flags = flags;
	chunk->size = flags & STACKMAP_TX_KEEP ? 0 : port->seg_max;
	if (flags & STACKMAP_TX_KEEP) {
		port->bufs[buf].chunks++;
		port->bufs[buf].lent = true;
	} else {
		port->bufs[buf].owner = BUF_QUEUE;
	}
	return chunk;
}

/* An empty chunk with room for size bytes in ordinary memory */
static struct stackmap_chunk *new_heap(uint32_t size, uint32_t flags)
{
	struct stackmap_chunk *chunk = malloc(sizeof(*chunk) + size);

	if (!chunk)
		return NULL;
	chunk->buf = STACKMAP_NO_BUF;
	chunk->off = 0;
	chunk->len = 0;
	chunk->flags = flags;
	chunk->size = size;
	return chunk;
}

/* A chunk of the program's memory */
static struct stackmap_chunk *new_memory(struct stackmap_port *port, uint32_t memory, uint64_t at,
					 uint32_t len, uint32_t flags)
{
	struct stackmap_chunk *chunk = new_heap(0, flags | STACKMAP_TX_MEMORY);

	if (!chunk)
		return NULL;
	chunk->memory = memory;
	chunk->at = at;
	chunk->len = len;
	port->memory[memory].chunks++;
	return chunk;
}

/* An empty chunk, in a spare buffer if there is one */
static struct stackmap_chunk *new_empty(struct stackmap_port *port)
{
	struct stackmap_chunk *chunk;

	if (!port->spares)
		return new_heap(port->seg_max, 0);
	chunk = new_buf(port, port->spare[port->spares - 1], 0, 0, 0);
	if (chunk)
		stackmap_unspare_(port, BUF_QUEUE);
	return chunk;
}

/* Add to the end of a chunk what fits there; returns how much */
static uint32_t fill(struct stackmap_conn *conn, struct stackmap_chunk *chunk,
		     const void *data, size_t len)
{
	uint32_t end = chunk->off + chunk->len;
	unsigned char *base;
	uint32_t n;

	if (chunk->size <= end || (chunk->flags & SEALED))
		return 0;
	n = chunk->size - end;
	if (n > len)
		n = (uint32_t)len;
	base = chunk->buf == STACKMAP_NO_BUF ? chunk->data : stackmap_buf(conn->port, chunk->buf);
	memcpy(base + end, data, n);
	chunk->len += n;
	conn->queued += n;
	return n;
}

/* Queue a buffer. Returns -1 without memory */
int stackmap_queue_buf_(struct stackmap_conn *conn, uint32_t buf, uint32_t off,
			uint32_t len, uint32_t flags)
{
	struct stackmap_chunk *chunk;

	chunk = new_buf(conn->port, buf, off, len, flags);
	if (!chunk)
		return -1;
	add_last(conn, chunk);
	return 0;
}

/* Queue memory of the program. Returns -1 without memory */
int stackmap_queue_memory_(struct stackmap_conn *conn, uint32_t memory, uint64_t at,
			   uint32_t len, uint32_t flags)
{
	struct stackmap_chunk *chunk = new_memory(conn->port, memory, at, len, flags);

	if (!chunk)
		return -1;
	add_last(conn, chunk);
	return 0;
}

/* Queue a copy. Returns how much was queued: less only without memory */
size_t stackmap_queue_copy_(struct stackmap_conn *conn, const void *data,
			    size_t len)
{
	const unsigned char *p = data;
	size_t done = 0;

	if (conn->last)
		done = fill(conn, conn->last, p, len);
	while (done < len) {
		struct stackmap_chunk *chunk = new_empty(conn->port);

		if (!chunk)
			break;
		add_last(conn, chunk);
		done += fill(conn, chunk, p + done, len - done);
	}
	return done;
}

/* Queue a mark. Returns -1 without memory */
int stackmap_queue_mark_(struct stackmap_conn *conn)
{
	struct stackmap_chunk *chunk;

	if (conn->last) {
		conn->last->flags |= STACKMAP_TX_ACKED;
		return 0;
	}
	chunk = new_heap(0, STACKMAP_TX_ACKED);
	if (!chunk)
		return -1;
	add_last(conn, chunk);
	return 0;
}

/*
 * Put what is left of a refused slot back to the front. The slot must have a
 * buffer of its own afterwards: a spare one, or else its payload moves out of
 * it. Returns -1 without memory.
 */
int stackmap_queue_back_(struct stackmap_conn *conn, struct stackmap_slot *slot)
{
	struct stackmap_port *port = conn->port;
	uint32_t flags = slot->flags & SEALED;
	struct stackmap_chunk *chunk;

	if (slot->flags & STACKMAP_TX_MEMORY) {
		uint32_t len = (uint32_t)slot->off << 16 | slot->len;

		/* else somebody has written to the ring */
		if (len > STACKMAP_TX_MEMORY_MAX || !stackmap_in_memory_(port, slot->buf, slot->data, len))
			return -1;
		chunk = new_memory(port, slot->buf, slot->data, len, flags);
		if (!chunk)
			return -1;
		add_first(conn, chunk);
		return 0;
	}
	if (stackmap_slot_lent_(port, slot))
		flags |= STACKMAP_TX_KEEP;
	if ((flags & STACKMAP_TX_KEEP) || (port->spares && slot->len)) {
		chunk = new_buf(port, slot->buf, slot->off, slot->len, flags);
		if (!chunk)
			return -1;
		if (!(flags & STACKMAP_TX_KEEP))
			slot->buf = stackmap_unspare_(port, BUF_SLOT);
	} else {
		chunk = new_heap(slot->len, flags);
		if (!chunk)
			return -1;
		memcpy(chunk->data,
		       (unsigned char *)stackmap_buf(port, slot->buf) + slot->off,
		       slot->len);
		chunk->len = slot->len;
	}
	add_first(conn, chunk);
	return 0;
}

/* Forget what is queued */
void stackmap_queue_drop_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;

	while (conn->first)
		drop_chunk(port, del_first(conn));
}

/* All that is queued, in order; returns how much */
size_t stackmap_queue_copy_out_(const struct stackmap_conn *conn, void *to)
{
	struct stackmap_chunk *chunk;
	size_t n = 0;

	for (chunk = conn->first; chunk; chunk = chunk->next) {
		if (chunk->len)
			memcpy((char *)to + n, chunk_payload(conn->port, chunk), chunk->len);
		n += chunk->len;
	}
	return n;
}

/* Forget the last @len bytes of what is queued, which are no more, and all marks behind them */
void stackmap_queue_trim_(struct stackmap_conn *conn, uint32_t len)
{
	struct stackmap_chunk *chunk, *next, *keep = NULL;
	uint32_t left = conn->queued - len;

	for (chunk = conn->first; chunk && left; chunk = chunk->next) {
		if (chunk->len > left)
			chunk->len = left;
		left -= chunk->len;
		keep = chunk;
	}
	for (; chunk; chunk = next) {
		next = chunk->next;
		drop_chunk(conn->port, chunk);
	}
	if (keep)
		keep->next = NULL;
	else
		conn->first = NULL;
	conn->last = keep;
	conn->queued -= len;
}

/* One slot of the first chunk, which is memory of the program; what flags say is of its last one */
static void pump_memory(struct stackmap_conn *conn, struct stackmap_chunk *chunk)
{
	uint32_t len = chunk->len, flags = chunk->flags;

	if (len > STACKMAP_TX_MEMORY_MAX) {
		len = STACKMAP_TX_MEMORY_MAX;
		flags = 0;
	}
	stackmap_commit_memory_(conn->port, conn->fd, chunk->memory, chunk->at, len, flags, conn->gen);
	stackmap_in_ring_(conn, len);
	chunk->at += len;
	chunk->len -= len;
	conn->queued -= len;
	if (!chunk->len)
		free_chunk(conn->port, del_first(conn));
}

/* One slot of the first chunk, a copy in ordinary memory: as much as the slot's own buffer holds. As above */
static void pump_heap(struct stackmap_conn *conn, struct stackmap_chunk *chunk, struct stackmap_slot *slot)
{
	struct stackmap_port *port = conn->port;
	uint32_t len = chunk->len, flags = chunk->flags;

	if (len > stackmap_buf_size(port, slot->buf)) {
		len = stackmap_buf_size(port, slot->buf);
		flags = 0;
	}
	memcpy(stackmap_buf(port, slot->buf), chunk->data + chunk->off, len);
	stackmap_commit_(port, conn->fd, 0, len, flags, conn->gen);
	stackmap_in_ring_(conn, len);
	chunk->off += len;
	chunk->len -= len;
	conn->queued -= len;
	if (!chunk->len)
		free_chunk(port, del_first(conn));
}

/* Move what is queued to the ring, as long as there are slots */
void stackmap_pump_(struct stackmap_conn *conn)
{
	struct stackmap_port *port = conn->port;

	while (conn->first) {
		struct stackmap_slot *slot = stackmap_tx_reserve(port);
		struct stackmap_chunk *chunk;

		if (!slot)
			return;
		chunk = conn->first;
		if (chunk->flags & STACKMAP_TX_MEMORY) {
			/* The rest with the next sync: others want slots, too, and TCP does not take all */
			if (stackmap_conn_unsent(conn) - conn->queued >= PUMP_MAX)
				return;
			pump_memory(conn, chunk);
			continue;
		}
		if (chunk->buf == STACKMAP_NO_BUF) {
			pump_heap(conn, chunk, slot);
			continue;
		}
		del_first(conn);
		stackmap_commit_buf_(port, conn->fd, chunk->buf, chunk->off, chunk->len,
				     chunk->flags, conn->gen);
		stackmap_in_ring_(conn, chunk->len);
		free_chunk(port, chunk);
	}
}
