/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lib.h - what the files of libstackmap share
 *
 * Each uses only what stands above it (tests/layers.sh):
 *
 *	clock heir list park	none
 *	hint stats steer memory	none
 *	buf queue		park
 *	credit			heir
 *	handle			heir credit
 *	end			heir list queue credit handle
 *	linger			clock list credit end
 *	schedule		heir list queue handle linger
 *	refuse			list queue credit handle schedule
 *	rx			handle linger schedule
 *	send			list park queue schedule
 *	sync			clock park credit linger schedule refuse
 *	attach			heir credit handle
 *	conn			heir queue handle end linger schedule attach
 *	unread			handle end
 *	handover		heir list park queue schedule
 *	port			heir queue end linger handover
 */
#ifndef STACKMAP_LIB_H
#define STACKMAP_LIB_H

#include <errno.h>
#include <string.h>

#include <stackmap/stackmap.h>

/* stackmap_conn.state */
#define CONN_BLOCKED	0x1	/* refused; waits for STACKMAP_RX_ROOM */
#define CONN_WANT	0x2	/* its owner wants to hear when it is writable */
#define CONN_PENDING	0x4	/* in port->pending */
#define CONN_WRITABLE	0x8	/* in port->writable */
#define CONN_LINGER	0x10	/* closed by its owner: a stackmap_linger's */
#define CONN_SHUT	0x20	/* its owner sends nothing more */
#define CONN_SHUT_DONE	0x40	/* and TCP knows */
#define CONN_CLOSED	0x80	/* with CONN_LINGER: a STACKMAP_TX_CLOSE slot is behind all of it */

/**
 * struct stackmap_chunk - payload in a connection's queue
 * @next: the one behind it
 * @buf: the buffer it lies in, or STACKMAP_NO_BUF if it lies in @data
 * @off: its first byte there
 * @len: bytes; 0 in a mark (STACKMAP_TX_ACKED)
 * @size: bytes may be added up to this offset, 0 if the memory is not ours
 * @flags: STACKMAP_TX_*
 * @memory: with STACKMAP_TX_MEMORY the program's memory it lies in
 * @at: its first byte there
 */
struct stackmap_chunk {
	struct stackmap_chunk *next;
	uint64_t at;
	uint32_t memory;
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

/* Whose a buffer is */
enum stackmap_owner {
	BUF_SLOT,	/* a slot's, or the kernel's: nobody may name it */
	BUF_SPARE,	/* in port->spare */
	BUF_CALLER,	/* taken or kept */
	BUF_QUEUE,	/* a connection's queue has it */
	/* Given back by the caller after it was sent with STACKMAP_TX_KEEP: */
	BUF_PARKED,	/* chunks refer to it, or the kernel cannot tell */
	BUF_LISTED,	/* in port->parked_first ... */
	BUF_RETURNING,	/* in a STACKMAP_TX_RETURN slot, before the sync */
};

/**
 * struct stackmap_bufinfo - what is known of a buffer
 * @chunks: chunks with STACKMAP_TX_KEEP that refer to it
 * @batch: number of the sync that it was last put in a slot for, with KEEP
 * @next: BUF_LISTED: the next one
 * @owner: enum stackmap_owner
 * @lent: it was sent with KEEP, so that only the kernel knows when it is idle
 */
struct stackmap_bufinfo {
	uint32_t chunks;
	uint32_t batch;
	uint32_t next;
	uint8_t owner;
	bool lent;
};

/**
 * struct stackmap_fdinfo - what is known of a connection besides stackmap_conn
 * @acked: bytes acknowledged
 * @credit: how much more it is to be granted
 * @next: fd + 1 of the next with something to change, 0 if it is the last
 * @prev: likewise
 * @fd: of a handle: its descriptor + 1, or 0 if none was made
 * @close: of a handle: it is to be closed, and this was its gen; else 0. There is no connection any more
 * @abort: with a reset
 * @listed: it is in that list
 * @pause: take all credit away before that
 * @bounded: it has not all the credit there is
 */
struct stackmap_fdinfo {
	uint64_t acked;
	uint64_t credit;
	uint32_t next;
	uint32_t prev;
	uint32_t fd;
	uint32_t close;
	bool abort;
	bool listed;
	bool pause;
	bool bounded;
};

/**
 * struct stackmap_heir - what a child needs to know of its parent's port
 * @fd: the port's descriptor, which it inherits
 * @fds: length of the tables by fd
 * @handles: likewise by handle
 *
 * The port itself reads as zeros in a child of fork() (MADV_WIPEONFORK), in
 * which every list is empty and every ring full. The heir lies behind it and is
 * a copy.
 */
struct stackmap_heir {
	int fd;
	uint32_t fds;
	uint32_t handles;
	uint32_t *gens;
	struct stackmap_conn **conns;
	struct stackmap_fdinfo *infos;
	uint32_t *handle_gens;
	struct stackmap_conn **handle_conns;
	struct stackmap_fdinfo *handle_infos;
	uint32_t *spare;
	uint32_t *tx_own;
	struct stackmap_bufinfo *bufs;
	uint32_t *kept;
};

/* What the port of a connection is when its port is closed: it has nothing */
extern const struct stackmap_port stackmap_gone_;

/* Whether a call can do anything with this port; if not, errno says why */
static inline bool stackmap_usable_(const struct stackmap_port *port)
{
	if (__builtin_expect(port && port->bufs, 1))
		return true;
	errno = port ? ESTALE : EINVAL;
	return false;
}

/* Whether a socket's number is a handle, and no descriptor */
static inline bool stackmap_is_handle_(int fd)
{
	return fd >= STACKMAP_HANDLE_MIN;
}

/* Where the tables have a number; NULL if they have not */
static inline uint32_t *stackmap_gen_at_(const struct stackmap_port *port, int fd)
{
	uint32_t i = (uint32_t)fd;

	if (i < port->fds)
		return &port->gens[i];
	i -= STACKMAP_HANDLE_MIN;
	return i < port->handles ? &port->handle_gens[i] : NULL;
}

static inline struct stackmap_conn **
stackmap_conn_at_(const struct stackmap_port *port, int fd)
{
	uint32_t i = (uint32_t)fd;

	if (i < port->fds)
		return &port->conns[i];
	i -= STACKMAP_HANDLE_MIN;
	return i < port->handles ? &port->handle_conns[i] : NULL;
}

static inline struct stackmap_fdinfo *
stackmap_info_at_(const struct stackmap_port *port, int fd)
{
	uint32_t i = (uint32_t)fd;

	return i < port->fds ? &port->infos[i] :
			       &port->handle_infos[i - STACKMAP_HANDLE_MIN];
}

/* The attached connection with this fd and gen, or NULL */
static inline struct stackmap_conn *
stackmap_conn_find_(const struct stackmap_port *port, int fd, uint32_t gen)
{
	struct stackmap_conn **conn = stackmap_conn_at_(port, fd);

	return conn && *conn && (*conn)->gen == gen ? *conn : NULL;
}

/* Whether it is attached, and its fd its own. If not, errno says why */
static inline bool stackmap_conn_live_(const struct stackmap_conn *conn)
{
	const struct stackmap_port *port = conn ? conn->port : NULL;
	struct stackmap_conn **at;

	if (!stackmap_usable_(port)) {
		/* closed, rather than left by its port */
		if (port == &stackmap_gone_ && !conn->gen)
			errno = EBADF;
		return false;
	}
	at = stackmap_conn_at_(port, conn->fd);
	if (at && *at == conn)
		return true;
	errno = EBADF;
	return false;
}

/* Whether some bytes are all in memory that the port sends from */
static inline bool stackmap_in_memory_(const struct stackmap_port *port, uint32_t memory, uint64_t at,
				       size_t len)
{
	return memory < STACKMAP_MEMORIES && at <= port->memory[memory].len &&
	       len <= port->memory[memory].len - at;
}

/* Whether the buffer is the caller's */
static inline bool stackmap_callers_(const struct stackmap_port *port,
				     uint32_t buf)
{
	return buf < port->reg.frames && port->bufs[buf].owner == BUF_CALLER;
}

/* Whether the buffer in a transmit slot was sent with STACKMAP_TX_KEEP, and
 * another one is the slot's own */
static inline bool stackmap_slot_lent_(const struct stackmap_port *port,
				       const struct stackmap_slot *slot)
{
	return port->tx_own[slot - port->tx_slots] != STACKMAP_NO_BUF;
}

/* Make a buffer a spare one. Not if it is one, or none: somebody has written
 * that into a slot */
static inline void stackmap_spare_(struct stackmap_port *port, uint32_t buf)
{
	struct stackmap_bufinfo *info = &port->bufs[buf];

	if (buf >= port->reg.frames || info->owner == BUF_SPARE)
		return;
	info->owner = BUF_SPARE;
	info->lent = false;
	port->spare[port->spares++] = buf;
}

/* Take a spare buffer, of which there must be one, for somebody */
static inline uint32_t stackmap_unspare_(struct stackmap_port *port,
					 enum stackmap_owner owner)
{
	uint32_t buf = port->spare[--port->spares];

	port->bufs[buf].owner = (uint8_t)owner;
	return buf;
}

/* As stackmap_tx_commit(), after stackmap_tx_reserve(), unchecked */
static inline void stackmap_commit_(struct stackmap_port *port, int fd,
				    uint32_t off, uint32_t len, uint32_t flags,
				    uint32_t gen)
{
	struct stackmap_slot *slot = &port->tx_slots[port->tx_cur];

	slot->fd = fd;
	slot->off = (uint16_t)off;
	slot->len = (uint16_t)len;
	slot->flags = (uint16_t)flags;
	slot->err = 0;
	slot->gen = gen;
	slot->taken = 0;
	port->tx_cur = (port->tx_cur + 1) & port->tx_mask;
	/* From here on it is sent, whatever becomes of this process */
	__atomic_store_n(&port->tx_ring->head, port->tx_cur, __ATOMIC_RELEASE);
}

/* As stackmap_tx_commit_buf(), likewise. With KEEP, nobody's state changes */
static inline void stackmap_commit_buf_(struct stackmap_port *port, int fd,
					uint32_t buf, uint32_t off,
					uint32_t len, uint32_t flags,
					uint32_t gen)
{
	struct stackmap_slot *slot = &port->tx_slots[port->tx_cur];

	if (flags & STACKMAP_TX_KEEP) {
		port->tx_own[port->tx_cur] = slot->buf;
		port->bufs[buf].batch = port->batch;
		port->bufs[buf].lent = true;
	} else {
		port->bufs[buf].owner = BUF_SLOT;
		stackmap_spare_(port, slot->buf);
	}
	slot->buf = buf;
	stackmap_commit_(port, fd, off, len, flags, gen);
}

/* Likewise a slot with memory of the program, up to STACKMAP_TX_MEMORY_MAX bytes of it */
static inline void stackmap_commit_memory_(struct stackmap_port *port, int fd, uint32_t memory,
					   uint64_t at, uint32_t len, uint32_t flags, uint32_t gen)
{
	struct stackmap_slot *slot = &port->tx_slots[port->tx_cur];

	port->tx_own[port->tx_cur] = slot->buf;
	slot->buf = memory;
	slot->data = at;
	stackmap_commit_(port, fd, len >> 16, len & UINT16_MAX, flags | STACKMAP_TX_MEMORY, gen);
}

/* A payload of len more bytes of the connection is in the ring */
static inline void stackmap_in_ring_(struct stackmap_conn *conn, uint32_t len)
{
	if (conn->batch != conn->port->batch) {
		conn->batch = conn->port->batch;
		conn->in_ring = 0;
	}
	conn->in_ring += len;
}

/* Whether so many bytes of a connection may go to the ring now, behind nothing */
static inline bool stackmap_goes_now_(const struct stackmap_conn *conn, size_t len)
{
	return !conn->first && !conn->err && !(conn->state & (CONN_BLOCKED | CONN_SHUT)) &&
	       len <= stackmap_conn_room(conn);
}

/*
 * Send @len bytes, those of some pieces, in one slot (with @flags) and behind nothing: most of what is sent.
 * False: it cannot be so, or nothing can be sent at all, and nothing is done
 */
static inline bool stackmap_send_at_once_(struct stackmap_conn *conn, const struct iovec *iov,
					  size_t len, uint32_t flags)
{
	struct stackmap_port *port = conn->port;
	struct stackmap_slot *slot;
	unsigned char *to;
	size_t left;

	if (!len || !stackmap_goes_now_(conn, len) || len > port->seg_max)
		return false;
	slot = stackmap_tx_reserve(port);
	if (!slot)
		return false;
	to = stackmap_buf(port, slot->buf);
	for (left = len; left; iov++) {
		/* an empty piece may have no address */
		if (iov->iov_len)
			memcpy(to, iov->iov_base, iov->iov_len);
		to += iov->iov_len;
		left -= iov->iov_len;
	}
	stackmap_commit_(port, conn->fd, 0, (uint32_t)len, flags, conn->gen);
	stackmap_in_ring_(conn, (uint32_t)len);
	return true;
}

/* clock.c */
uint64_t stackmap_now_ms_(void);

/* heir.c */
struct stackmap_heir *stackmap_heir_(struct stackmap_port *port);
struct stackmap_port *stackmap_new_port_(void);
void stackmap_free_port_(struct stackmap_port *port);

/* list.c */
void stackmap_pend_(struct stackmap_conn *conn);
void stackmap_show_(struct stackmap_conn *conn);
void stackmap_unlist_(struct stackmap_conn *conn);

/* queue.c */
int stackmap_queue_buf_(struct stackmap_conn *conn, uint32_t buf, uint32_t off,
			uint32_t len, uint32_t flags);
size_t stackmap_queue_copy_(struct stackmap_conn *conn, const void *data,
			    size_t len);
int stackmap_queue_memory_(struct stackmap_conn *conn, uint32_t memory, uint64_t at,
			   uint32_t len, uint32_t flags);
int stackmap_queue_mark_(struct stackmap_conn *conn);
int stackmap_queue_back_(struct stackmap_conn *conn,
			 struct stackmap_slot *slot);
void stackmap_queue_drop_(struct stackmap_conn *conn);
size_t stackmap_queue_copy_out_(const struct stackmap_conn *conn, void *to);
void stackmap_queue_trim_(struct stackmap_conn *conn, uint32_t len);
void stackmap_pump_(struct stackmap_conn *conn);

/* park.c */
void stackmap_park_(struct stackmap_port *port, uint32_t buf);
void stackmap_unqueue_(struct stackmap_port *port, uint32_t buf);
bool stackmap_parked_young_(const struct stackmap_port *port);
void stackmap_return_parked_(struct stackmap_port *port);
void stackmap_settle_returns_(struct stackmap_port *port);

/*
 * send.c. Where up to @len bytes of a connection may be put, to be sent in one slot each: how many pieces, 0 when it
 * takes more than @max, or not all of it at once. _filled_() commits so many bytes of them, before anything else is
 * sent. _uncork_() takes STACKMAP_TX_MORE off again, of what it has in the ring since slot @from was the next
 */
int stackmap_tx_pieces_(const struct stackmap_conn *conn, struct iovec *iov, int max, size_t len);
void stackmap_tx_pieces_filled_(struct stackmap_conn *conn, size_t len, uint32_t flags);
void stackmap_tx_uncork_(struct stackmap_conn *conn, uint32_t from);

/* credit.c */
void stackmap_run_credit_(struct stackmap_port *port);
void stackmap_drop_credit_(struct stackmap_port *port, int fd);
void stackmap_refused_credit_(struct stackmap_conn *conn, uint64_t credit);
void stackmap_want_close_(struct stackmap_port *port, int handle, uint32_t gen, uint32_t flags);

/* handle.c */
int stackmap_reserve_fd_(struct stackmap_port *port, int fd);
void stackmap_close_handle_(struct stackmap_port *port, int handle, uint32_t gen, uint32_t flags);
bool stackmap_shut_handle_(struct stackmap_conn *conn);
void stackmap_close_made_(struct stackmap_port *port, int handle);

/* handover.c */
int stackmap_inherit_(struct stackmap_port *port);

/* end.c */
void stackmap_conn_over_(struct stackmap_conn *conn);
void stackmap_forget_(struct stackmap_conn *conn);
int stackmap_close_orphan_(struct stackmap_conn *conn);
void stackmap_close_now_(struct stackmap_conn *conn);

/* linger.c */
struct stackmap_conn *stackmap_linger_(struct stackmap_conn *conn);
void stackmap_linger_end_(struct stackmap_conn *conn);
void stackmap_linger_evict_(struct stackmap_port *port, int fd);
void stackmap_linger_expire_(struct stackmap_port *port);

/* schedule.c */
void stackmap_schedule_(struct stackmap_conn *conn);
void stackmap_unblock_(struct stackmap_conn *conn);
void stackmap_fail_(struct stackmap_conn *conn, int err);
void stackmap_run_pending_(struct stackmap_port *port);

/* refuse.c */
void stackmap_settle_refused_(struct stackmap_port *port);

#endif /* STACKMAP_LIB_H */
