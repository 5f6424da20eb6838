// SPDX-License-Identifier: GPL-2.0
/*
 * rx.c - from the stack to receive slots
 *
 * Runs in sync, with softirqs off and the port's lock held, and takes each
 * ready socket's lock as a softirq would (bh_lock_sock()): tcp_read_sock() may
 * be called like this, as kernel users do so from sk_data_ready. A socket that
 * some thread has locked in a system call is left for the next sync.
 */
#include <linux/sched/clock.h>
#include <linux/skbuff.h>
#include <net/tcp.h>

#include "port.h"
#include "trace.h"

/* What one sync delivers at most, as softirqs are off meanwhile */
#define SM_RX_BUDGET	1024
/*
 * Thousands of small skbs fit in a slot, so slots do not bound the work: an skb is
 * one piece of it and so is each page of payload. Every so many pieces the clock is
 * looked at, too; softirqs run for as long (MAX_SOFTIRQ_TIME)
 */
#define SM_RX_WORK	2048
#define SM_RX_LOOK	64
#define SM_RX_NS	(2 * NSEC_PER_MSEC)
/* How many slots a sync looks at for an idle frame, when the next one's is in use and there is no other */
#define SM_RX_SWAP	256

struct sm_rx {
	read_descriptor_t desc;		/* of tcp_read_sock() */
	struct sm_port *port;
	struct sm_sock *ss;
	struct stackmap_slot *open;	/* slot with copied payload and room left */
	u32 frame;			/* its buffer */
	u32 used;			/* bytes in it */
	u32 slots;			/* delivered in this sync */
	u32 work;			/* done in this sync, in pieces */
	u32 look;			/* when as much is done, look at the clock */
	u64 end;			/* by the clock */
	bool spent;			/* no more payload in this sync */
	bool no_idle;			/* no frame to copy into was found in this sync */
	int err;			/* payload could not be read */
};

static bool sm_rx_full(const struct sm_port *port)
{
	return ((port->rx.tail + 1) & port->rx.mask) == port->rx.head;
}

/* Whether this sync may not deliver another slot of payload */
static bool sm_rx_enough(const struct sm_rx *rx)
{
	return rx->slots >= SM_RX_BUDGET || sm_rx_full(rx->port);
}

/* A function of its own, as seldom more than a few skbs are there */
static noinline bool sm_rx_look(struct sm_rx *rx)
{
	u64 now = local_clock();

	rx->look = rx->work + SM_RX_LOOK;
	if (!rx->end)
		rx->end = now + SM_RX_NS;
	rx->spent = rx->work >= SM_RX_WORK || now >= rx->end;
	return rx->spent;
}

/* Whether this sync has done so much that it leaves the next skb, of @len, to another */
static bool sm_rx_spent(struct sm_rx *rx, size_t len)
{
	rx->work += 1 + len / SM_FRAME_SIZE;
	return unlikely(rx->work >= rx->look) && sm_rx_look(rx);
}

/* Fill in all but buf, off and len of the next slot and make it delivered */
static struct stackmap_slot *sm_rx_slot(struct sm_rx *rx, u16 flags, u16 err)
{
	struct sm_ring *ring = &rx->port->rx;
	struct stackmap_slot *slot = &ring->shared->slots[ring->tail];

	ring->tail = (ring->tail + 1) & ring->mask;
	slot->fd = rx->ss->fd;
	slot->flags = flags;
	slot->err = err;
	slot->data = rx->ss->data;
	slot->gen = rx->ss->gen;
	slot->taken = 0;
	rx->ss->count.rx_slots++;
	rx->slots++;
	return slot;
}

static struct stackmap_slot *sm_rx_event(struct sm_rx *rx, u16 flags, u16 err)
{
	struct stackmap_slot *slot = sm_rx_slot(rx, flags, err);

	slot->off = 0;
	slot->len = 0;
	return slot;
}

/**
 * sm_rx_room() - whether another slot can be delivered
 * @port: the port; in its sync
 *
 * Return: whether there is one.
 */
bool sm_rx_room(const struct sm_port *port)
{
	return !sm_rx_full(port);
}

/* Why payload at @off of @skb, which is not in a frame, is to be copied: STACKMAP_COPY_* */
static u32 sm_rx_why(const struct sk_buff *skb, u32 off)
{
	const struct skb_shared_info *si = skb_shinfo(skb);
	u32 end = skb_headlen(skb);
	struct page *page;
	u32 i;

	if (off < end)
		return STACKMAP_COPY_HEAD;
	for (i = 0; i < si->nr_frags; i++) {
		end += skb_frag_size(&si->frags[i]);
		if (off < end)
			break;
	}
	if (i == si->nr_frags)
		return STACKMAP_COPY_FOREIGN;
	/* TCP joins packets: what was the head of a later one is a fragment then */
	page = skb_frag_page(&si->frags[i]);
	return page && page_private(page) == SM_PAGE_HEADS ? STACKMAP_COPY_HEAD :
							     STACKMAP_COPY_FOREIGN;
}

/*
 * Payload, at @off of @skb, that lies in a frame which our own driver gave to the NIC is handed
 * over: the frame goes into the slot, and the slot's buffer takes its place.
 * Only when nobody else can see it (tcpdump's clone, say): the application may
 * write to it from now on. Otherwise it returns 0, and @why says why.
 */
static u32 sm_rx_hand_over(struct sm_rx *rx, const struct sk_buff *skb, u32 off,
			   const u8 *data, u32 len, u32 *why)
{
	struct sm_frames *frames = &rx->port->frames;
	struct page *page = virt_to_head_page(data);
	struct stackmap_slot *slot;
	u32 i, spare;

	i = sm_frame_of_page(frames, page);
	if (i == SM_NO_FRAME) {
		*why = sm_rx_why(skb, off);
		return 0;
	}
	*why = STACKMAP_COPY_SHARED;
	if (frames->tab[i].holder != SM_STACK ||
	    page_ref_count(page) != 2 || skb_cloned(skb) || skb_has_frag_list(skb))
		return 0;
	slot = &rx->port->rx.shared->slots[rx->port->rx.tail];
	spare = sm_frame_of_user(frames, READ_ONCE(slot->buf));
	if (spare != SM_NO_FRAME) {
		/* It may be in flight too, if the application kept it in a send */
		if (likely(sm_frame_is_idle(frames, spare)))
			sm_frame_put(frames, spare);
		else
			sm_frame_lend(frames, spare, SM_FLIGHT);
	}
	sm_frame_take_back(frames, i, SM_USER);
	slot = sm_rx_slot(rx, STACKMAP_RX_DATA | STACKMAP_RX_HANDED, 0);
	slot->buf = i;
	slot->off = data - (const u8 *)page_address(page);
	slot->len = len;
	rx->open = NULL;
	rx->port->stats.rx_handed_bytes += len;
	rx->ss->count.rx_handed += len;
	return len;
}

/*
 * A frame that another of the free slots names: it changes places with what @slot names,
 * which is still in use. Or the payload of all sockets would wait for one slow peer.
 *
 * Each time this goes on where it was, so that it comes to every slot, however many in a
 * row are in use (those that it was at before: what it takes from them leaves that there).
 */
static noinline u32 sm_rx_swap(struct sm_rx *rx, struct stackmap_slot *slot, u32 named)
{
	struct sm_ring *ring = &rx->port->rx;
	u32 left = (ring->head - ring->tail - 1) & ring->mask;	/* free ones behind this */
	u32 at = (ring->look - ring->tail - 1) & ring->mask;	/* of these */
	u32 todo = min_t(u32, left, SM_RX_SWAP);
	u32 idle = SM_NO_FRAME;

	if (rx->no_idle)
		return SM_NO_FRAME;
	while (todo--) {
		struct stackmap_slot *other;
		u32 j;

		if (at >= left)
			at = 0;
		other = &ring->shared->slots[(ring->tail + 1 + at++) & ring->mask];
		j = sm_frame_of_user(&rx->port->frames, READ_ONCE(other->buf));
		if (j != SM_NO_FRAME && sm_frame_is_idle(&rx->port->frames, j)) {
			other->buf = named;
			slot->buf = j;
			idle = j;
			break;
		}
	}
	ring->look = (ring->tail + 1 + at) & ring->mask;
	rx->no_idle = idle == SM_NO_FRAME;
	return idle;
}

/*
 * The frame that payload is copied into: the one that the slot names, but if it is not
 * the application's to name, or in flight (kept in a send, whose peer would get this
 * payload), an idle one. Returns SM_NO_FRAME when there is none.
 */
static u32 sm_rx_frame(struct sm_rx *rx, struct stackmap_slot *slot)
{
	struct sm_frames *frames = &rx->port->frames;
	u32 buf = READ_ONCE(slot->buf);
	u32 named = sm_frame_of_user(frames, buf);
	u32 idle;

	if (likely(named != SM_NO_FRAME && sm_frame_is_idle(frames, named)))
		return named;
	idle = sm_frame_get(frames, SM_USER);
	if (idle == SM_NO_FRAME)
		return sm_rx_swap(rx, slot, buf);
	if (named != SM_NO_FRAME)
		sm_frame_lend(frames, named, SM_FLIGHT);
	slot->buf = idle;
	return idle;
}

/* The same for @len bytes: an idle large one, if they are more than fit in the one that the slot names */
static u32 sm_rx_frame_for(struct sm_rx *rx, struct stackmap_slot *slot, u32 len)
{
	struct sm_frames *frames = &rx->port->frames;
	u32 named, large;

	if (likely(len <= SM_FRAME_SIZE || !frames->large_idle))
		return sm_rx_frame(rx, slot);
	named = sm_frame_of_user(frames, READ_ONCE(slot->buf));
	if (named == SM_NO_FRAME || sm_frame_is_large(frames, named))
		return sm_rx_frame(rx, slot);
	large = sm_frame_get_large(frames, SM_USER);
	if (sm_frame_is_idle(frames, named))
		sm_frame_put(frames, named);
	else
		sm_frame_lend(frames, named, SM_FLIGHT);
	slot->buf = large;
	return large;
}

/**
 * sm_rx_accepted() - deliver a slot that tells of a new connection
 * @ss: the connection
 * @about: what is told
 *
 * There is room. If there is no buffer to write to, it is told without, as one of length 0.
 */
void sm_rx_accepted(struct sm_sock *ss, const struct stackmap_accepted *about)
{
	struct sm_port *port = ss->port;
	struct sm_rx rx = { .port = port, .ss = ss };
	struct stackmap_slot *slot;
	u32 frame;

	frame = sm_rx_frame(&rx, &port->rx.shared->slots[port->rx.tail]);
	slot = sm_rx_event(&rx, STACKMAP_RX_ACCEPTED, 0);
	if (frame != SM_NO_FRAME) {
		memcpy(sm_frame_addr(&port->frames, frame), about, sizeof(*about));
		slot->buf = frame;
		slot->len = sizeof(*about);
	}
	port->stats.rx_slots += rx.slots;
	/* Pairs with the application's acquire of tail */
	smp_store_release(&port->rx.shared->tail, port->rx.tail);
}

/* Copy as much as fits in the open slot, or in a new one */
static u32 sm_rx_copy(struct sm_rx *rx, const struct sk_buff *skb, u32 off, u32 len, u32 why)
{
	struct sm_frames *frames = &rx->port->frames;
	struct stackmap_slot *slot = rx->open;
	u32 size;

	if (!slot) {
		if (sm_rx_enough(rx))
			return 0;
		slot = &rx->port->rx.shared->slots[rx->port->rx.tail];
		rx->frame = sm_rx_frame_for(rx, slot, len);
		if (unlikely(rx->frame == SM_NO_FRAME))
			return 0;
		rx->used = 0;
	}
	size = min_t(u32, sm_frame_size(frames, rx->frame), U16_MAX);
	len = min_t(u32, len, size - rx->used);
	if (unlikely(skb_copy_bits(skb, off, sm_frame_addr(frames, rx->frame) + rx->used,
				   len))) {
		rx->err = EFAULT;	/* device memory */
		return 0;
	}
	if (!rx->open) {
		slot = sm_rx_slot(rx, STACKMAP_RX_DATA, 0);
		slot->buf = rx->frame;
		slot->off = 0;
	}
	rx->used += len;
	slot->len = rx->used;
	rx->open = rx->used < size ? slot : NULL;
	rx->port->stats.rx_copied_bytes += len;
	rx->port->count.rx_copied[why] += len;
	rx->ss->count.rx_copied += len;
	trace_stackmap_copy(rx->port, rx->ss->fd, true, why, len);
	return len;
}

/* As large as any frame, and zero */
static struct page *sm_rx_nothing;

/**
 * sm_rx_init() - allocate what takes the place of frames that were handed over
 *
 * Return: 0 or -ENOMEM.
 */
int sm_rx_init(void)
{
	sm_rx_nothing = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, get_order(STACKMAP_LARGE_MAX));
	return sm_rx_nothing ? 0 : -ENOMEM;
}

/**
 * sm_rx_exit() - free it; packets that have some of it still do
 */
void sm_rx_exit(void)
{
	put_page(sm_rx_nothing);
}

/*
 * An skb of which payload was taken up to @end, and no more: the rest stays in the
 * socket until there are slots and frames for it. Meanwhile it must not refer to frames
 * that were handed over, as these are the application's to give back for the next
 * payload: they would not be idle before that is taken which waits for them. Nobody reads
 * again what lies before copied_seq (unread.c has who looks there), or only as it goes through
 * all of a packet (KCM's parser), so that any page does that is as large. A clone has the same
 * fragments, but nothing of it was handed over.
 *
 * Likewise one that comes from another processor, though nothing of it is left: since
 * 5.19 TCP leaves it to that one to free it (skb_attempt_defer_free()), which happens
 * when it receives something the next time, or has 32 of them. It receives nothing
 * while the NIC is claimed on this one.
 */
static noinline void sm_rx_forget(const struct sm_rx *rx, struct sk_buff *skb, u32 end)
{
	const struct sm_frames *frames = &rx->port->frames;
	struct skb_shared_info *si = skb_shinfo(skb);
	u32 at = skb_headlen(skb);
	u32 i;

	if (skb_cloned(skb) || skb_has_frag_list(skb))
		return;
	for (i = 0; i < si->nr_frags; i++) {
		struct page *page = skb_frag_page(&si->frags[i]);
		u32 size = skb_frag_size(&si->frags[i]);

		at += size;
		if (at > end)
			break;
		if (!page || sm_frame_of_page(frames, page) == SM_NO_FRAME)
			continue;
		get_page(sm_rx_nothing);
		__skb_fill_page_desc_noacc(si, i, sm_rx_nothing, 0, size);
		put_page(page);
	}
}

/*
 * Take up to @most bytes, not 0, of the @len bytes of payload at @off. Returns how many.
 * When they are less than @len, the rest of the skb stays in the socket.
 */
static __always_inline u32 sm_rx_take(struct sm_rx *rx, struct sk_buff *skb, u32 off, u32 len,
				      u32 most)
{
	struct skb_seq_state st;
	const u8 *data;
	u32 done = 0;
	u32 n, m, why;

	if (sm_rx_spent(rx, len)) {
		rx->desc.count = 0;
		return 0;
	}
	if (!rx->port->frames.held[SM_STACK]) {
		do {
			n = sm_rx_copy(rx, skb, off + done, most - done,
				       sm_rx_why(skb, off + done));
			done += n;
		} while (n && done < most);
	} else {
		skb_prepare_seq_read(skb, off, off + len, &st);
		while (done < most) {
			n = skb_seq_read(done, &data, &st);
			if (unlikely(!n)) {
				rx->err = EFAULT;	/* device memory */
				break;
			}
			/*
			 * A frame is handed over with the end of what is in it, or
			 * the application could write to what credit holds back
			 */
			m = 0;
			if (unlikely(n > most - done)) {
				n = most - done;
				why = STACKMAP_COPY_CREDIT;
			} else if (unlikely(sm_rx_enough(rx))) {
				why = STACKMAP_COPY_FULL;
			} else {
				m = sm_rx_hand_over(rx, skb, off + done, data, n, &why);
			}
			if (!m)
				m = sm_rx_copy(rx, skb, off + done, n, why);
			if (!m)
				break;
			done += m;
		}
		skb_abort_seq_read(&st);
		if (unlikely(done < len || skb->alloc_cpu != raw_smp_processor_id()))
			sm_rx_forget(rx, skb, off + done);
	}
	if (done < len)
		rx->desc.count = 0;
	return done;
}

/*
 * sk_read_actor_t: returns how much of [off, off + len) was taken. When it is less,
 * tcp_read_sock() asks once more for the rest of the skb before it looks at desc->count.
 */
static int sm_rx_actor(read_descriptor_t *desc, struct sk_buff *skb,
		       unsigned int off, size_t len)
{
	return sm_rx_take(container_of(desc, struct sm_rx, desc), skb, off, len, len);
}

/* The same for a socket with bounded credit, so that the others do not pay for it */
static int sm_rx_actor_credit(read_descriptor_t *desc, struct sk_buff *skb,
			      unsigned int off, size_t len)
{
	struct sm_rx *rx = container_of(desc, struct sm_rx, desc);
	u64 credit = rx->ss->credit;
	u32 done;

	if (!credit) {
		desc->count = 0;
		return 0;
	}
	done = sm_rx_take(rx, skb, off, len, min_t(u64, credit, len));
	WRITE_ONCE(rx->ss->credit, credit - done);
	return done;
}

/*
 * The only skb that waits, if it is nothing but payload: most requests are that. Then
 * the actor, tcp_recv_skb() and tcp_read_done() do what tcp_read_sock() does, which
 * looks into the queue four times to take one skb out of it.
 */
static struct sk_buff *sm_rx_lone(struct sock *sk, u32 *off)
{
	struct sk_buff *skb = skb_peek(&sk->sk_receive_queue);

	if (!skb_queue_is_last(&sk->sk_receive_queue, skb) ||
	    unlikely(TCP_SKB_CB(skb)->tcp_flags & (TCPHDR_SYN | TCPHDR_FIN)) ||
	    unlikely(tcp_sk(sk)->urg_data))
		return NULL;
	*off = tcp_sk(sk)->copied_seq - TCP_SKB_CB(skb)->seq;
	return likely(*off < skb->len) ? skb : NULL;
}

/* Deliver the payload of a socket that has some */
static void sm_rx_read(struct sm_rx *rx, struct sock *sk)
{
	bool bounded = unlikely(rx->ss->credit != SM_CREDIT_ALL);
	struct sk_buff *skb;
	int done;
	u32 off;

	skb = sm_rx_lone(sk, &off);
	if (!skb) {
		tcp_read_sock(sk, &rx->desc, bounded ? sm_rx_actor_credit : sm_rx_actor);
		return;
	}
	if (bounded)
		done = sm_rx_actor_credit(&rx->desc, skb, off, skb->len - off);
	else
		done = sm_rx_actor(&rx->desc, skb, off, skb->len - off);
	if (done)
		tcp_read_done(sk, done);
}

/* Whether a connect() has finished. It may have ended since, with the peer's FIN */
static bool sm_rx_has_connected(const struct sock *sk)
{
	switch (sk->sk_state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
	case TCP_LISTEN:
		return false;
	case TCP_CLOSE:
		return sock_flag(sk, SOCK_DONE);
	default:
		return true;
	}
}

/*
 * Whether read() returns 0 for a reason that was not told: shutdown(SHUT_RD) here,
 * after which payload may still come, or, once, the peer's FIN
 */
static bool sm_rx_has_ended(const struct sock *sk, const unsigned long *bits)
{
	if (likely(!(sk->sk_shutdown & RCV_SHUTDOWN)) || !skb_queue_empty(&sk->sk_receive_queue) ||
	    test_bit(SM_TOLD_ERROR, bits) || sm_sock_is_unconnected(sk))
		return false;
	return !test_bit(sock_flag(sk, SOCK_DONE) ? SM_TOLD_END : SM_TOLD_FIN, bits);
}

/* What is to be told of sending, of a socket that wants to know */
static u16 sm_rx_sending(struct sm_rx *rx, struct sock *sk)
{
	struct sm_sock *ss = rx->ss;
	u16 flags = 0;

	if (test_bit(SM_WANT_ROOM, &ss->bits) && sk->sk_state != TCP_SYN_SENT) {
		if (sk_stream_is_writeable(sk))
			flags |= STACKMAP_RX_ROOM;
		else
			/* It need not have been TCP who refused, and set this */
			set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	}
	if (test_bit(SM_WANT_ACKED, &ss->bits) && sm_acked_look(ss, sk))
		flags |= STACKMAP_RX_ACKED;
	return flags;
}

/* These events were told, the error for the reason @over: of the whole connection */
static void sm_rx_told(struct sm_sock *ss, struct sock *sk, u16 flags, bool over)
{
	unsigned long *bits = &ss->bits;

	if (flags & STACKMAP_RX_ERROR) {
		int err = sock_error(sk);	/* told once, as by SO_ERROR */

		clear_bit(SM_LISTENING, bits);
		/* What is not reached now never is */
		if (over)
			clear_bit(SM_WANT_ACKED, bits);
		/* Unless that is of the connection before, and the next is to come */
		if (!sm_sock_is_unconnected(sk)) {
			if (over) {
				set_bit(SM_TOLD_ERROR, bits);
				ss->err = -err;
			}
			clear_bit(SM_CONNECTING, bits);
		}
	}
	if (flags & STACKMAP_RX_FIN)
		set_bit(sock_flag(sk, SOCK_DONE) ? SM_TOLD_END : SM_TOLD_FIN, bits);
	if (flags & STACKMAP_RX_ROOM)
		clear_bit(SM_WANT_ROOM, bits);
	if (flags & STACKMAP_RX_CONNECTED) {
		clear_bit(SM_CONNECTING, bits);
		clear_bit(SM_LISTENING, bits);
	}
}

/* What is wrong with the socket, told or not */
static int sm_rx_error(const struct sm_rx *rx, const struct sock *sk)
{
	int err = sk->sk_err ?: rx->err;

	/* Shut down, a listener leaves no error: then it is what accept() returns */
	if (!err && unlikely(test_bit(SM_LISTENING, &rx->ss->bits)) && sk->sk_state == TCP_CLOSE)
		err = EINVAL;
	return err;
}

/*
 * What is to be told of the socket, with the error @err, which is @over: of the whole
 * connection. Where credit holds payload back, only what does not wait for it.
 */
static u16 sm_rx_news(struct sm_rx *rx, struct sock *sk, int err, bool over)
{
	unsigned long *bits = &rx->ss->bits;
	u16 flags = 0;

	if (test_bit(SM_CONNECTING, bits) && !err && sm_rx_has_connected(sk))
		flags |= STACKMAP_RX_CONNECTED;
	/*
	 * After the payload, also if credit holds that back. But not an error that leaves
	 * the connection as it is: nothing can be sent until it was told (sm_tx_send())
	 */
	if (err && !test_bit(SM_TOLD_ERROR, bits) &&
	    (!over || rx->err || rx->ss->credit || skb_queue_empty(&sk->sk_receive_queue)))
		flags |= STACKMAP_RX_ERROR;
	if (!over && sm_rx_has_ended(sk, bits))
		flags |= STACKMAP_RX_FIN;
	if (unlikely(READ_ONCE(*bits) & (BIT(SM_WANT_ROOM) | BIT(SM_WANT_ACKED))))
		flags |= sm_rx_sending(rx, sk);
	return flags;
}

/* What has happened to the socket, as one slot, behind all of its payload. False: no slot is free */
static bool sm_rx_events(struct sm_rx *rx, struct sock *sk)
{
	int err = sm_rx_error(rx, sk);
	/* With IP_RECVERR, errors come from ICMP while the connection lives on */
	bool over = err && (rx->err || sk->sk_state == TCP_CLOSE);
	u16 flags = sm_rx_news(rx, sk, err, over);
	struct stackmap_slot *slot;

	if (!flags)
		return true;
	if (sm_rx_full(rx->port))
		return false;
	slot = sm_rx_event(rx, flags, flags & STACKMAP_RX_ERROR ? err : 0);
	if (flags & STACKMAP_RX_ACKED)
		slot->taken = sm_acked_tell(rx->ss, sk);
	sm_rx_told(rx->ss, sk, flags, over);
	return true;
}

/* Returns false when the ring is full, or the budget used up, and there is more */
static bool sm_rx_conn(struct sm_rx *rx, struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);

	rx->open = NULL;
	rx->err = 0;
	if (!skb_queue_empty(&sk->sk_receive_queue)) {
		/*
		 * Urgent data is part of the stream here, as RFC 6093 has it;
		 * tcp_read_sock() would stop before it for good.
		 */
		if (unlikely(tp->urg_data) && rx->ss->credit)
			WRITE_ONCE(tp->urg_data, 0);
		/* After shutdown(SHUT_RD) here: read() returns this, and then 0 again */
		if (unlikely(sk->sk_shutdown & RCV_SHUTDOWN))
			clear_bit(SM_TOLD_FIN, &rx->ss->bits);
		rx->desc.count = 1;
		sm_rx_read(rx, sk);
		/* Without credit it is done until there is some, or something else happens */
		if (!rx->desc.count && !rx->err && rx->ss->credit)
			return false;
	}
	return sm_rx_events(rx, sk);
}

/* Whether this is the process that attached a listener, so that it can be accepted from by its number */
static bool sm_rx_is_owners(const struct sm_sock *ss)
{
	return current->files == ss->files && current->tgid == ss->tgid;
}

/* Returns false when there may be more to deliver */
static bool sm_rx_sock(struct sm_rx *rx, struct sock *sk)
{
	bool done = true;

	bh_lock_sock(sk);
	if (sock_owned_by_user(sk)) {
		done = false;
	} else if (sm_sock_is_gone(rx->ss, sk)) {
		/* Nothing of it is delivered any more */
	} else if (sk->sk_state == TCP_LISTEN) {
		if (unlikely(!test_bit(SM_LISTENING, &rx->ss->bits)))
			set_bit(SM_LISTENING, &rx->ss->bits);
		if (reqsk_queue_empty(&inet_csk(sk)->icsk_accept_queue)) {
			/* Somebody else has accepted them, or it became ready for something else */
		} else if (test_bit(SM_ACCEPTS, &rx->ss->bits) && sm_rx_is_owners(rx->ss) &&
			   !test_and_clear_bit(SM_BY_HAND, &rx->ss->bits)) {
			sm_sock_accepting(rx->ss);
		} else {
			if (!sm_rx_full(rx->port))
				sm_rx_event(rx, STACKMAP_RX_ACCEPT, 0);
			done = false;
		}
	} else {
		done = sm_rx_conn(rx, sk);
	}
	bh_unlock_sock(sk);
	return done;
}

/**
 * sm_rx() - deliver what the ready sockets have
 * @port: the port, locked
 * @from: the list of them: port->ready, or a part of it
 *
 * A socket that cannot be finished now stays ready, behind the others.
 *
 * Return: the number of slots delivered.
 */
u32 sm_rx(struct sm_port *port, struct list_head *from)
{
	struct sm_rx rx = { .port = port, .look = SM_RX_LOOK };
	struct list_head again, todo;
	struct sm_sock *ss;
	int budget = SM_RX_BUDGET;
	struct sock *sk;
	bool done;

	INIT_LIST_HEAD(&again);
	INIT_LIST_HEAD(&todo);
	rcu_read_lock();
	spin_lock(&port->list_lock);
	list_splice_init(from, &todo);
	while (!list_empty(&todo) && !sm_rx_full(port) && rx.slots < SM_RX_BUDGET && !rx.spent &&
	       budget--) {
		ss = list_first_entry(&todo, struct sm_sock, ready);
		list_del_init(&ss->ready);
		sk = ss->sk;
		if (!sm_sock_hold(ss, sk))
			continue;
		spin_unlock(&port->list_lock);

		rx.ss = ss;
		done = sm_rx_sock(&rx, sk);
		sock_put(sk);

		spin_lock(&port->list_lock);
		if (!done && !list_empty(&ss->all))
			list_move_tail(&ss->ready, &again);
	}
	if (sm_rx_full(port) && !(list_empty(&todo) && list_empty(&again)))
		port->stats.rx_full++;
	list_splice(&todo, &port->ready);
	list_splice_tail(&again, &port->ready);
	spin_unlock(&port->list_lock);
	rcu_read_unlock();

	if (rx.slots) {
		port->stats.rx_slots += rx.slots;
		/* Pairs with the application's acquire of tail */
		smp_store_release(&port->rx.shared->tail, port->rx.tail);
	}
	return rx.slots;
}
