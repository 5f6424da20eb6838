/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lib.h - what the files of libstackmap share
 */
#ifndef STACKMAP_LIB_H
#define STACKMAP_LIB_H

#include <stackmap/stackmap.h>

/* stackmap_conn.state */
#define CONN_BLOCKED	0x1	/* refused; waits for STACKMAP_RX_ROOM */
#define CONN_WANT	0x2	/* its owner wants to hear when it is writable */
#define CONN_PENDING	0x4	/* in port->pending */
#define CONN_WRITABLE	0x8	/* in port->writable */
#define CONN_LINGER	0x10	/* closed by its owner: a stackmap_linger's */

/**
 * struct stackmap_chunk - payload in a connection's queue
 * @next: the one behind it
 * @buf: the buffer it lies in, or STACKMAP_NO_BUF if it lies in @data
 * @off: its first byte there
 * @len: bytes
 * @size: bytes may be added up to this offset, 0 if the memory is not ours
 * @flags: STACKMAP_TX_*
 */
struct stackmap_chunk {
	struct stackmap_chunk *next;
	uint32_t buf;
	uint32_t off;
	uint32_t len;
	uint32_t size;
	uint32_t flags;
	unsigned char data[];
};

/**
 * struct stackmap_linger - a connection whose owner has closed it
 * @conn: the library's copy of it
 * @next: closed later
 * @prev: closed earlier
 * @deadline: of stackmap_now_ms(), when to give up
 */
struct stackmap_linger {
	struct stackmap_conn conn;
	struct stackmap_linger *next;
	struct stackmap_linger *prev;
	uint64_t deadline;
};

/* The attached connection with this fd and gen, or NULL */
static inline struct stackmap_conn *
stackmap_conn_find_(const struct stackmap_port *port, int fd, uint32_t gen)
{
	struct stackmap_conn *conn;

	if ((uint32_t)fd >= port->fds)
		return NULL;
	conn = port->conns[fd];
	return conn && conn->gen == gen ? conn : NULL;
}

/* Whether the buffer in a transmit slot was sent with STACKMAP_TX_KEEP. The
 * slot's flags do not say so any more once the kernel has refused it */
static inline bool stackmap_slot_lent_(const struct stackmap_port *port,
				       const struct stackmap_slot *slot)
{
	return port->tx_own[slot - port->tx_slots] != STACKMAP_NO_BUF;
}

uint64_t stackmap_now_ms_(void);

/* list.c */
void stackmap_pend_(struct stackmap_conn *conn);
void stackmap_show_(struct stackmap_conn *conn);
void stackmap_unlist_(struct stackmap_conn *conn);

/* queue.c */
int stackmap_queue_buf_(struct stackmap_conn *conn, uint32_t buf, uint32_t off,
			uint32_t len, uint32_t flags);
size_t stackmap_queue_copy_(struct stackmap_conn *conn, const void *data,
			    size_t len);
int stackmap_queue_back_(struct stackmap_conn *conn,
			 struct stackmap_slot *slot);
void stackmap_queue_drop_(struct stackmap_conn *conn);
void stackmap_pump_(struct stackmap_conn *conn);

/* schedule.c */
void stackmap_schedule_(struct stackmap_conn *conn);
void stackmap_unblock_(struct stackmap_conn *conn);
void stackmap_fail_(struct stackmap_conn *conn, int err);
void stackmap_run_pending_(struct stackmap_port *port);

/* refuse.c */
void stackmap_settle_refused_(struct stackmap_port *port);

/* linger.c */
int stackmap_linger_(struct stackmap_conn *conn);
void stackmap_linger_end_(struct stackmap_conn *conn);
void stackmap_linger_expire_(struct stackmap_port *port);

/* A payload of len more bytes of the connection is in the ring */
static inline void stackmap_in_ring_(struct stackmap_conn *conn, uint32_t len)
{
	if (conn->batch != conn->port->batch) {
		conn->batch = conn->port->batch;
		conn->in_ring = 0;
	}
	conn->in_ring += len;
}

#endif /* STACKMAP_LIB_H */
