// SPDX-License-Identifier: GPL-2.0
/*
 * tx.c - from transmit slots to the stack
 *
 * Consecutive slots of one socket become one tcp_sendmsg_locked() with
 * MSG_SPLICE_PAGES: TCP refers to the frames themselves. Runs in sync with
 * softirqs off and takes the socket's lock as a softirq would (bh_lock_sock()),
 * so that nothing in here sleeps: MSG_DONTWAIT, and sk_allocation is
 * GFP_NOWAIT for the while (not GFP_ATOMIC: the reserves are not for what a user
 * sends). A socket not owned by a thread has no backlog, so tcp_sendmsg_locked()
 * has none to flush either. A write that might exceed a memory cgroup's limit is left
 * until the caller has charged it where it may sleep (see limits.c). Slots may name
 * memory of the application instead of frames (see memory.c), also in one write with some.
 *
 * Requests without payload (a mark, credit, a buffer that is returned) are each dealt
 * with alone, in their place among the others.
 *
 * The application may change any slot at any moment: each field is read once,
 * into struct sm_tx_slot, and checked there.
 */
#include <linux/bvec.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <net/tcp.h>

#include "memory.h"
#include "port.h"
#include "trace.h"

/* What a slot with payload of a frame may ask for; one of memory likewise */
#define SM_TX_PAYLOAD	(STACKMAP_TX_KEEP | STACKMAP_TX_MORE | STACKMAP_TX_ACKED)

/* Pieces of a write: frames, and what is one slot more of memory */
#define SM_TX_PIECES	(SM_TX_BATCH + SM_MEMORY_PIECES)

struct sm_tx_slot {
	struct sm_memory *memory; /* that the payload is in, or NULL: it is in a frame */
	u64 at;		/* where in the memory */
	u32 frame;
	u32 idle;	/* frame that takes its place in the slot, or SM_NO_FRAME */
	u32 len;
	u16 off;
	u16 flags;
};

/* One write in the making; guarded by the port's sync_mutex */
struct sm_tx_batch {
	s32 fd;
	u32 gen;
	u32 n;
	u32 pieces;
	u32 bytes;
	u32 pages;	/* that its slots are more than one each, for how much a round does */
	u32 idles;	/* slots with an idle frame */
	struct sm_memory *memory; /* of all its slots that are of memory; NULL: none is */
	bool copy;	/* no idle frames are left: TCP has to copy */
	bool cut;	/* what follows it is of the same socket, and did not go with it */
	bool last;	/* a FIN or the close of the socket follows: it goes in the same segment */
	u8 why;		/* STACKMAP_REFUSED_*, of what is refused with EAGAIN */
	struct sm_tx_slot slot[SM_TX_BATCH];
	union {
		struct bio_vec bvec[SM_TX_PIECES];
		struct kvec kvec[SM_TX_BATCH];
	};
};

/**
 * sm_tx_init() - allocate what transmitting needs
 * @port: the port
 *
 * Return: 0 or -ENOMEM; the port's closing frees it.
 */
int sm_tx_init(struct sm_port *port)
{
	port->batch = kzalloc(sizeof(*port->batch), SM_GFP_USER);
	return port->batch ? 0 : -ENOMEM;
}

static u32 sm_tx_why(const struct sm_port *port, int err)
{
	switch (err) {
	case EAGAIN:
		return port->batch->why;
	case EBADF:
		return STACKMAP_REFUSED_EBADF;
	case ESTALE:
		return STACKMAP_REFUSED_ESTALE;
	case EINVAL:
		return STACKMAP_REFUSED_EINVAL;
	case EPIPE:
		return STACKMAP_REFUSED_EPIPE;
	default:
		return STACKMAP_REFUSED_OTHER;
	}
}

/* What is left of a slot of @fd, @len bytes, is not taken */
static void sm_tx_refuse(struct sm_port *port, struct stackmap_slot *slot, s32 fd, u32 len,
			 u16 flags, int err, u32 taken)
{
	u32 why = sm_tx_why(port, err);

	slot->err = err;
	slot->taken = taken;
	slot->flags = flags | STACKMAP_TX_REFUSED;
	port->refused++;
	if (err == EAGAIN)
		port->stats.tx_refused++;
	else
		port->stats.tx_bad++;
	port->count.refused[why]++;
	trace_stackmap_refuse(port, fd, why, err, len);
}

/* Likewise, of one with memory */
static bool sm_tx_read_memory(struct sm_port *port, const struct stackmap_slot *slot,
			      struct sm_tx_slot *s)
{
	s->memory = sm_memory_of(port, READ_ONCE(slot->buf));
	s->at = READ_ONCE(slot->data);
	s->len |= (u32)s->off << 16;
	return s->memory && s->len && s->len <= STACKMAP_TX_MEMORY_MAX &&
	       sm_memory_has(s->memory, s->at, s->len) &&
	       !(s->flags & ~(SM_TX_PAYLOAD | STACKMAP_TX_MEMORY));
}

/* Read a slot into @s. Returns false when it has no payload that may be sent */
static bool sm_tx_read(struct sm_port *port, const struct stackmap_slot *slot,
		       struct sm_tx_slot *s)
{
	s->off = READ_ONCE(slot->off);
	s->len = READ_ONCE(slot->len);
	s->flags = READ_ONCE(slot->flags);
	s->idle = SM_NO_FRAME;
	s->memory = NULL;
	if (unlikely(s->flags & STACKMAP_TX_MEMORY))
		return sm_tx_read_memory(port, slot, s);
	s->frame = sm_frame_of_user(&port->frames, READ_ONCE(slot->buf));
	return s->frame != SM_NO_FRAME && s->len &&
	       s->off + s->len <= sm_frame_size(&port->frames, s->frame) &&
	       !(s->flags & ~SM_TX_PAYLOAD);
}

/*
 * An idle frame to take the place of the one with the payload. What TCP does not take moves
 * there, to where it was, so that it is large only if that is needed: large ones are for the NIC
 */
static u32 sm_tx_idle(struct sm_frames *f, const struct sm_tx_slot *s)
{
	return unlikely(s->off + s->len > SM_FRAME_SIZE) ? sm_frame_get_large(f, SM_SENDING) :
							   sm_frame_get(f, SM_SENDING);
}

/* Whether a slot with memory can go in the write that is collected; if so, it does */
static bool sm_tx_add_memory(struct sm_tx_batch *b, const struct sm_tx_slot *s)
{
	u32 pages = (s->len >> PAGE_SHIFT) + 1;

	/* The last: one slot may always be all of a round, and have a few others before it */
	if (b->copy || (b->memory && b->memory != s->memory) ||
	    b->pieces > ARRAY_SIZE(b->bvec) - SM_MEMORY_PIECES ||
	    (b->n && b->n + b->pages + pages > 2 * SM_TX_ROUND))
		return false;
	b->memory = s->memory;
	b->pieces += sm_memory_pieces(s->memory, s->at, s->len, &b->bvec[b->pieces]);
	b->pages += pages;
	return true;
}

/*
 * Collect slots from tail to head, as many as belong in one write. A slot that
 * is no payload, or for which no idle frame is left where the others had one, ends
 * the batch before it. One with a mark ends it behind itself, as the mark is where
 * the write ends. Returns how many; 0 when the first is no payload.
 */
static u32 sm_tx_collect(struct sm_port *port, u32 head)
{
	struct sm_tx_batch *b = port->batch;
	u32 i = port->tx.tail;

	b->n = 0;
	b->pieces = 0;
	b->bytes = 0;
	b->pages = 0;
	b->idles = 0;
	b->memory = NULL;
	b->copy = false;
	b->cut = false;
	b->last = false;
	do {
		const struct stackmap_slot *slot = &port->tx.shared->slots[i];
		struct sm_tx_slot *s = &b->slot[b->n];
		u32 pages;

		if (b->n == 0) {
			b->fd = READ_ONCE(slot->fd);
			b->gen = READ_ONCE(slot->gen);
		} else if (READ_ONCE(slot->fd) != b->fd || READ_ONCE(slot->gen) != b->gen) {
			break;
		}
		if (!sm_tx_read(port, slot, s)) {
			b->last = s->flags & (STACKMAP_TX_FIN | STACKMAP_TX_CLOSE);
			break;
		}
		if (unlikely(s->memory)) {
			if (!sm_tx_add_memory(b, s)) {
				b->cut = true;
				break;
			}
			goto added;
		}
		/* What is more than a page of a large frame counts, as memory does */
		pages = (s->len - 1) >> PAGE_SHIFT;
		if (unlikely(b->pieces == ARRAY_SIZE(b->bvec) ||
			     (b->n && pages && b->n + b->pages + pages > 2 * SM_TX_ROUND))) {
			b->cut = true;
			break;
		}
		if (!(s->flags & STACKMAP_TX_KEEP) && !b->copy) {
			s->idle = sm_tx_idle(&port->frames, s);
			if (s->idle == SM_NO_FRAME && b->n)
				break;
			b->copy = s->idle == SM_NO_FRAME;
			/* No other slot can name either of the two from now on */
			if (!b->copy) {
				sm_frame_hold(&port->frames, s->frame, SM_SENDING);
				b->idles++;
			}
		}
		if (b->copy) {
			b->kvec[b->pieces].iov_base =
				sm_frame_addr(&port->frames, s->frame) + s->off;
			b->kvec[b->pieces].iov_len = s->len;
		} else {
			bvec_set_page(&b->bvec[b->pieces], port->frames.tab[s->frame].page,
				      s->len, s->off);
		}
		b->pieces++;
		b->pages += pages;
added:
		b->bytes += s->len;
		b->n++;
		i = (i + 1) & port->tx.mask;
	} while (i != head && b->n < SM_TX_BATCH &&
		 !(b->slot[b->n - 1].flags & (STACKMAP_TX_MORE | STACKMAP_TX_ACKED)));
	return b->n;
}

/* Undo sm_tx_collect(): the batch is to be collected again in the next round */
static void sm_tx_uncollect(struct sm_port *port)
{
	struct sm_frames *frames = &port->frames;
	struct sm_tx_batch *b = port->batch;
	u32 j;

	for (j = 0; j < b->n; j++) {
		struct sm_tx_slot *s = &b->slot[j];

		if (s->idle != SM_NO_FRAME) {
			sm_frame_hold(frames, s->frame, SM_USER);
			sm_frame_put(frames, s->idle);
		}
	}
}

/*
 * Whether a socket that was refused has to be told at once that it can try again,
 * as nobody else will. When memory was short and it has sent something, it is
 * tried again once that is acknowledged: tcp_check_space() looks for SOCK_NOSPACE.
 */
static bool sm_tx_has_room(struct sock *sk, bool memory)
{
	if (sock_owned_by_user(sk))
		return true;
	if (sk->sk_state == TCP_SYN_SENT || !sk_stream_is_writeable(sk))
		return false;
	if (!memory || !sk->sk_wmem_queued)
		return true;
	set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	return false;
}

/*
 * Something of this socket was refused with EAGAIN, and so is what follows in this
 * sync. Room comes with sk_write_space or sk_state_change. Where it is there already
 * (memory was short, or the socket was locked by a thread), the next sync tells.
 */
static void sm_tx_want_room(struct sm_port *port, struct sm_sock *ss, struct sock *sk,
			    bool memory)
{
	ss->marks.refused = port->sync_no;
	set_bit(SM_WANT_ROOM, &ss->bits);
	if (sm_tx_has_room(sk, memory))
		sm_sock_ready(ss);
}

/* TCP has taken @bytes of the batch; @why: STACKMAP_COPY_*, if it has copied them */
static void sm_tx_count(struct sm_port *port, struct sm_sock *ss, u32 bytes, u32 segments, u32 why)
{
	struct sm_tx_batch *b = port->batch;

	port->count.tx_segments += segments;
	ss->count.tx_slots += b->n;
	if (likely(!b->copy)) {
		ss->count.tx_handed += bytes;
		return;
	}
	ss->count.tx_copied += bytes;
	port->count.tx_copied[why] += bytes;
	trace_stackmap_copy(port, ss->fd, false, why, bytes);
}

/*
 * Give a batch to TCP. Returns how many bytes it took, or a negative errno:
 * ENOBUFS when the batch has to be charged first, which nobody else returns
 */
static int sm_tx_send(struct sm_port *port, struct sm_sock *ss, struct sock *sk, bool more)
{
	struct sm_tx_batch *b = port->batch;
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	bool memory = false;
	u32 segments, why;
	gfp_t gfp;
	int ret;

	b->why = STACKMAP_REFUSED_ROOM;
	if (more)
		msg.msg_flags |= MSG_MORE;
	if (b->copy) {
		iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, b->kvec, b->pieces, b->bytes);
	} else {
		iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, b->bvec, b->pieces, b->bytes);
		if (unlikely(b->memory))
			sm_memory_message(b->memory, &msg);
		else
			msg.msg_flags |= MSG_SPLICE_PAGES;
	}

	bh_lock_sock(sk);
	if (sock_owned_by_user(sk)) {
		b->why = STACKMAP_REFUSED_LOCKED;
		ret = -EAGAIN;
	} else if (sm_sock_is_gone(ss, sk)) {
		ret = -EBADF;
		goto unlock;
	} else if (ss->marks.refused == port->sync_no ||
		   unlikely(sk->sk_err && sk->sk_state != TCP_CLOSE)) {
		/*
		 * What follows a refused slot must not overtake it. And an error
		 * that does not end the connection (IP_RECVERR) is told in a
		 * receive slot: here it would be taken for the end.
		 */
		b->why = STACKMAP_REFUSED_ORDER;
		ret = -EAGAIN;
	} else if (unlikely(!sm_reserve_fits(sk, b->bytes, b->pieces + b->pages))) {
		memory = true;
		ret = -ENOBUFS;
		if (sm_reserve_want(&port->reserve, sk, b->bytes, b->pieces + b->pages))
			goto unlock;
		b->why = STACKMAP_REFUSED_MEMORY;
		ret = -EAGAIN;
	} else {
		if (unlikely(port->reserve.sk))
			port->reserve.used = true;
		sm_sock_use_queue(sk, port->nic.queue);
		gfp = sk->sk_allocation;
		sk->sk_allocation = GFP_NOWAIT | __GFP_NOWARN;
		segments = tcp_sk(sk)->segs_out;
		ret = tcp_sendmsg_locked(sk, &msg, b->bytes);
		segments = tcp_sk(sk)->segs_out - segments;
		sk->sk_allocation = gfp;
		if (ret == -ENOMEM || ret == -ENOBUFS) {
			b->why = STACKMAP_REFUSED_MEMORY;
			ret = -EAGAIN;
		} else if (ret == -EINPROGRESS || ret == -EALREADY) {
			/* TCP_FASTOPEN_CONNECT is only connecting now */
			ret = -EAGAIN;
		}
		why = STACKMAP_COPY_NO_BUFFER;
		if (!(sk->sk_route_caps & NETIF_F_SG)) {
			b->copy = true;		/* as it had to do, for the counters */
			why = STACKMAP_COPY_NO_SG;
		}
		if (ret > 0)
			sm_tx_count(port, ss, ret, segments, why);
	}
	if (likely(ret >= 0 && ret == b->bytes)) {
		if (unlikely(b->slot[b->n - 1].flags & STACKMAP_TX_ACKED))
			sm_acked_mark(ss, sk);
	} else if (ret == -EAGAIN || ret >= 0) {
		sm_tx_want_room(port, ss, sk, memory);
	} else if (ret < 0 && ret != -EPIPE && sk->sk_state == TCP_CLOSE) {
		/* tcp_sendmsg_locked() has cleared it, and its event is yet to come */
		WRITE_ONCE(sk->sk_err, -ret);
		sm_sock_ready(ss);
	}
unlock:
	bh_unlock_sock(sk);
	return ret;
}

/* Settle a batch of which TCP took @ret bytes, or none for the reason @ret */
static void sm_tx_settle(struct sm_port *port, int ret)
{
	struct sm_frames *frames = &port->frames;
	struct sm_tx_batch *b = port->batch;
	int err = ret < 0 ? -ret : EAGAIN;
	u32 left = max(ret, 0);
	u32 j;

	if (b->copy)
		port->stats.tx_copied_bytes += left;
	else
		port->stats.tx_handed_bytes += left;
	port->stats.tx_slots += b->n;
	/* All taken, and each slot keeps its buffer */
	if (left == b->bytes && !b->idles) {
		port->tx.tail = (port->tx.tail + b->n) & port->tx.mask;
		return;
	}

	for (j = 0; j < b->n; j++) {
		struct stackmap_slot *slot = &port->tx.shared->slots[port->tx.tail];
		struct sm_tx_slot *s = &b->slot[j];
		u32 taken = min_t(u32, left, s->len);

		left -= taken;
		port->tx.tail = (port->tx.tail + 1) & port->tx.mask;
		if (taken < s->len && taken && s->idle != SM_NO_FRAME) {
			/* The rest goes into the idle frame: this one is TCP's */
			memcpy(sm_frame_addr(frames, s->idle) + s->off + taken,
			       sm_frame_addr(frames, s->frame) + s->off + taken,
			       s->len - taken);
		}
		if (s->idle != SM_NO_FRAME) {
			if (taken) {
				sm_frame_lend(frames, s->frame, SM_FLIGHT);
				sm_frame_hold(frames, s->idle, SM_USER);
				slot->buf = s->idle;
			} else {
				sm_frame_hold(frames, s->frame, SM_USER);
				sm_frame_put(frames, s->idle);
			}
		}
		if (taken < s->len) {
			if (s->memory) {
				slot->data = s->at + taken;
				slot->off = (s->len - taken) >> 16;
			} else {
				slot->off = s->off + taken;
			}
			slot->len = s->len - taken;
			sm_tx_refuse(port, slot, b->fd, s->len - taken, s->flags, err, taken);
		}
	}
}

/* In line, as every write does it: requests are the other, rare callers */
static __always_inline int sm_tx_lookup(struct sm_port *port, s32 fd, u32 gen,
					struct sm_sock **ss, struct sock **sk)
{
	*ss = sm_port_sock(port, fd);
	if (!*ss)
		return -EBADF;
	if (gen && gen != (*ss)->gen)
		return -ESTALE;
	*sk = (*ss)->sk;
	return sm_sock_hold(*ss, *sk) ? 0 : -EBADF;
}

/*
 * Whether a request of a socket has to wait, and why: behind what was refused and is not sent yet (unless not
 * @in_order), or for a thread that is in a system call on it
 */
static bool sm_tx_must_wait(struct sm_port *port, const struct sm_sock *ss, const struct sock *sk,
			    bool in_order)
{
	if (in_order && ss->marks.refused == port->sync_no)
		port->batch->why = STACKMAP_REFUSED_ORDER;
	else if (sock_owned_by_user(sk))
		port->batch->why = STACKMAP_REFUSED_LOCKED;
	else
		return false;
	return true;
}

/* A mark behind all that was sent. Returns 0 or a negative errno */
static int sm_tx_mark(struct sm_port *port, s32 fd, u32 gen)
{
	struct sm_sock *ss;
	struct sock *sk;
	int err;

	err = sm_tx_lookup(port, fd, gen, &ss, &sk);
	if (err)
		return err;
	bh_lock_sock(sk);
	if (sm_tx_must_wait(port, ss, sk, true)) {
		sm_tx_want_room(port, ss, sk, false);
		err = -EAGAIN;
	} else if (sm_sock_is_gone(ss, sk)) {
		err = -EBADF;
	} else if (!sm_acked_possible(ss, sk)) {
		err = -EPIPE;
	} else {
		sm_acked_mark(ss, sk);
	}
	bh_unlock_sock(sk);
	sock_put(sk);
	return err;
}

/*
 * How much a socket may deliver. Without its lock, so that no thread in a system
 * call is in the way of a pause: only sync writes this.
 */
static int sm_tx_credit(struct sm_port *port, s32 fd, u32 gen, u64 n)
{
	struct sm_sock *ss;
	struct sock *sk;
	u64 sum;
	int err;

	err = sm_tx_lookup(port, fd, gen, &ss, &sk);
	if (err)
		return err;
	if (sm_sock_is_over(ss, sk)) {
		err = -EBADF;
	} else if (!n) {
		WRITE_ONCE(ss->credit, 0);
	} else {
		if (check_add_overflow(ss->credit, n, &sum))
			sum = SM_CREDIT_ALL;
		WRITE_ONCE(ss->credit, sum);
		/* There may be payload, which has told nobody */
		sm_sock_ready(ss);
	}
	sock_put(sk);
	return err;
}

/* A handle's socket is to be shut down, as soon as that can sleep. With it locked */
static int sm_tx_fin_locked(struct sm_port *port, const struct sm_sock *ss)
{
	/* Of slots that are sent early no sync has dealt with them yet */
	if (port->nfins == SM_TX_ROUND) {
		port->batch->why = STACKMAP_REFUSED_ORDER;
		return -EAGAIN;
	}
	port->fins[port->nfins].fd = ss->fd;
	port->fins[port->nfins++].gen = ss->gen;
	return 0;
}

/* A handle is given up. Behind payload that was refused only with a reset, which drops it */
static int sm_tx_close_locked(struct sm_sock *ss, struct sock *sk, u16 flags)
{
	if (flags & STACKMAP_TX_ABORT)
		set_bit(SM_ABORT, &ss->bits);
	return sm_sock_close_begin(ss, sk) ? 0 : -EBADF;
}

/* STACKMAP_TX_CLOSE, perhaps with ABORT, or STACKMAP_TX_FIN */
static int sm_tx_end(struct sm_port *port, s32 fd, u32 gen, u16 flags)
{
	struct sm_sock *ss;
	struct sock *sk;
	int err;

	err = sm_tx_lookup(port, fd, gen, &ss, &sk);
	if (err)
		return err;
	bh_lock_sock(sk);
	if (!sm_sock_is_handle(ss)) {
		err = -EINVAL;
	} else if (sm_tx_must_wait(port, ss, sk, !(flags & STACKMAP_TX_ABORT))) {
		err = -EAGAIN;
	} else if (flags & STACKMAP_TX_CLOSE) {
		err = sm_tx_close_locked(ss, sk, flags);
	} else {
		err = sm_tx_fin_locked(port, ss);
	}
	if (err == -EAGAIN) {
		sm_tx_want_room(port, ss, sk, false);
		/* It need not have been TCP who refused, so that nobody else may tell: see sm_rx_sending() */
		sm_sock_ready(ss);
	}
	bh_unlock_sock(sk);
	sock_put(sk);
	return err;
}

/* A buffer for an idle one, if it is not idle itself */
static int sm_tx_return(struct sm_port *port, struct stackmap_slot *slot)
{
	struct sm_frames *frames = &port->frames;
	u32 i = sm_frame_of_user(frames, READ_ONCE(slot->buf));
	u32 idle;

	if (i == SM_NO_FRAME)
		return -EINVAL;
	if (sm_frame_is_idle(frames, i))
		return 0;
	idle = sm_frame_get(frames, SM_USER);
	if (idle == SM_NO_FRAME) {
		port->batch->why = STACKMAP_REFUSED_NO_BUFFER;
		return -EAGAIN;
	}
	sm_frame_lend(frames, i, SM_FLIGHT);
	slot->buf = idle;
	return 0;
}

/* The slot at tail is no payload: see what else, or refuse it */
static void sm_tx_request(struct sm_port *port)
{
	struct stackmap_slot *slot = &port->tx.shared->slots[port->tx.tail];
	u16 flags = READ_ONCE(slot->flags);
	bool empty = !READ_ONCE(slot->len);
	s32 fd = READ_ONCE(slot->fd);
	u32 gen = READ_ONCE(slot->gen);
	int err = -EINVAL;

	if (flags == STACKMAP_TX_RETURN)
		err = sm_tx_return(port, slot);
	else if (empty && flags == STACKMAP_TX_CREDIT)
		err = sm_tx_credit(port, fd, gen, READ_ONCE(slot->data));
	else if (empty && ((flags & ~STACKMAP_TX_ABORT) == STACKMAP_TX_CLOSE ||
			   flags == STACKMAP_TX_FIN))
		err = sm_tx_end(port, fd, gen, flags);
	else if (empty && (flags & STACKMAP_TX_ACKED) && !(flags & ~SM_TX_PAYLOAD))
		err = sm_tx_mark(port, fd, gen);
	if (err)
		sm_tx_refuse(port, slot, fd, 0, err == -EINVAL ? 0 : flags, -err, 0);
	port->tx.tail = (port->tx.tail + 1) & port->tx.mask;
	port->stats.tx_slots++;
}

/*
 * Whether more payload of this socket follows in the next slot. A hint, as the slot may
 * change: if it does not follow, what TCP holds back for it waits for a timer.
 */
static bool sm_tx_follows(const struct sm_port *port, u32 next)
{
	const struct stackmap_slot *slot = &port->tx.shared->slots[next];

	u16 flags = READ_ONCE(slot->flags);

	return READ_ONCE(slot->fd) == port->batch->fd &&
	       (READ_ONCE(slot->len) || (flags & STACKMAP_TX_MEMORY)) &&
	       !(flags & ~(SM_TX_PAYLOAD | STACKMAP_TX_MEMORY));
}

/* Whether the end of a socket comes at once: nobody else has it, or may be in a system call on it */
static bool sm_tx_ends_alone(const struct sm_sock *ss)
{
	return sm_sock_is_handle(ss) && !READ_ONCE(ss->sock->file);
}

/**
 * sm_tx() - give a part of the transmit ring to TCP
 * @port: the port, locked, with sync_mutex held
 * @head: up to here, checked to be in [0, nslots)
 * @ends: what FIN and CLOSE ask for is done after this, and not by a later sync
 *
 * Return: whether there is more. The caller lets softirqs run in between, and
 * charges what there may be in port->reserve.
 */
bool sm_tx(struct sm_port *port, u32 head, bool ends)
{
	struct sm_tx_batch *b = port->batch;
	struct sm_sock *ss;
	struct sock *sk;
	int todo = SM_TX_ROUND;
	int ret;

	rcu_read_lock();
	while (port->tx.tail != head && todo > 0) {
		u32 next;

		if (!sm_tx_collect(port, head)) {
			sm_tx_request(port);
			todo--;
			continue;
		}
		next = (port->tx.tail + b->n) & port->tx.mask;
		ret = sm_tx_lookup(port, b->fd, b->gen, &ss, &sk);
		if (!ret) {
			u16 flags = b->slot[b->n - 1].flags;
			/* (tcp_send_fin() adds a FIN to what is not sent yet) */
			bool more = (flags & STACKMAP_TX_MORE) ||
				    (b->last && ends && sm_tx_ends_alone(ss)) ||
				    ((b->n == SM_TX_BATCH || b->cut ||
				      (flags & STACKMAP_TX_ACKED)) &&
				     next != head && sm_tx_follows(port, next));

			ret = sm_tx_send(port, ss, sk, more);
			sock_put(sk);
			if (unlikely(ret == -ENOBUFS)) {
				sm_tx_uncollect(port);
				break;
			}
		}
		todo -= b->n + b->pages;
		sm_tx_settle(port, ret);
	}
	rcu_read_unlock();
	return port->tx.tail != head;
}
