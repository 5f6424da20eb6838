// SPDX-License-Identifier: GPL-2.0
/*
 * unread.c - payload that was delivered goes back to its socket, for whoever reads next
 *
 * Only as a socket is detached: a library that has payload which its program has
 * not asked for yet makes the descriptor a plain one so, and nothing is lost or
 * out of order.
 *
 * The bytes are put in front of the receive queue, and tp->copied_seq goes back by as
 * many. What TCP relies on, read in 6.1, 6.12 and 7.3:
 *  - the queue is in order of sequence numbers, without overlap, and copied_seq
 *    lies in its first skb (tcp_recvmsg_locked(), tcp_read_sock(), tcp_cleanup_rbuf());
 *  - an skb that is made here is like those of tcp_send_rcvq(): no header, no device,
 *    no timestamp. What tcp_queue_rcv() merges into it, and what tcp_collapse() makes
 *    of it, goes by its sequence numbers and its flags only;
 *  - the window is never shrunk by this: tcp_select_window() keeps what was offered,
 *    and what is charged here makes the next offer smaller;
 *  - the FIN, which counts one and was taken with the last byte, is taken again:
 *    tcp_recvmsg_locked() looks for TCPHDR_FIN (found_fin_ok), and tcp_inq() has
 *    its own correction as long as it is not;
 *  - rcvq_space.seq is where the reader was at the last measurement, and must not lie
 *    ahead of copied_seq: before 7.0 the difference is unsigned (tcp_rcv_space_adjust()).
 *
 * tp->bytes_received - (rcv_nxt - copied_seq) is how much of the connection was taken
 * out of the queue (tcp_rcv_nxt_update() moves the first two together, and
 * tcp_fastopen_add_skb() does). That bounds what may come back: nothing from before attach.
 */
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <net/tcp.h>

#include "sock.h"

/* In one skb, of single pages: MAX_SKB_FRAGS is 17 or more on all kernels */
#define SM_UNREAD_SKB	(16 * PAGE_SIZE)

/* Bytes, and the FIN, that were taken out of the socket's queue in this connection */
static u64 sm_unread_taken(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return tp->bytes_received - (u32)(tp->rcv_nxt - tp->copied_seq);
}

/* Whether the last that was taken is the FIN */
static bool sm_unread_has_fin(const struct sock *sk)
{
	return sock_flag(sk, SOCK_DONE) && tcp_sk(sk)->copied_seq == tcp_sk(sk)->rcv_nxt;
}

/**
 * sm_unread_init() - a socket is being attached
 * @ss: what the port knows of it
 * @sk: the socket, locked
 */
void sm_unread_init(struct sm_sock *ss, const struct sock *sk)
{
	ss->taken = sm_unread_taken(sk);
}

static struct sk_buff *sm_unread_skb(const void __user *from, u32 len)
{
	struct sk_buff *skb;
	int i, err;

	skb = alloc_skb_with_frags(0, len, 0, &err, GFP_KERNEL | __GFP_NOWARN);
	if (!skb)
		return ERR_PTR(err == -EMSGSIZE ? err : -ENOMEM);
	skb->data_len = len;
	skb->len = len;
	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		if (copy_from_user(skb_frag_address(frag), from, skb_frag_size(frag))) {
			kfree_skb(skb);
			return ERR_PTR(-EFAULT);
		}
		from += skb_frag_size(frag);
	}
	return skb;
}

/**
 * sm_unread_copy() - take what is to be given back from the user
 * @unread: becomes a list of it
 * @from: where it is
 * @len: how much
 * @sk: for which socket, not locked
 *
 * Return: 0; -EMSGSIZE, more than the socket's receive buffer has room for; -EFAULT; -ENOMEM.
 */
int sm_unread_copy(struct sk_buff_head *unread, const void __user *from, u32 len,
		   const struct sock *sk)
{
	struct sk_buff *skb;
	u32 n;

	__skb_queue_head_init(unread);
	if (len > READ_ONCE(sk->sk_rcvbuf))
		return -EMSGSIZE;
	for (; len; len -= n, from += n) {
		n = min_t(u32, len, SM_UNREAD_SKB);
		skb = sm_unread_skb(from, n);
		if (IS_ERR(skb)) {
			__skb_queue_purge(unread);
			return PTR_ERR(skb);
		}
		__skb_queue_tail(unread, skb);
	}
	return 0;
}

/**
 * sm_unread_fits() - whether a socket can have it back, and charge for it
 * @ss: the socket
 * @sk: likewise, locked by this thread
 * @unread: what sm_unread_copy() made
 * @len: how much it is
 *
 * Return: 0; -EINVAL, it has not delivered so much; -ENOMEM. The caller does it then,
 * without letting go of the lock.
 */
int sm_unread_fits(const struct sm_sock *ss, struct sock *sk, struct sk_buff_head *unread,
		   u32 len)
{
	u64 taken = sm_unread_taken(sk) - sm_unread_has_fin(sk);
	struct sk_buff *skb;
	u32 truesize = 0;

	if (!len)
		return 0;
	if ((1 << sk->sk_state) & (TCPF_LISTEN | TCPF_SYN_SENT | TCPF_SYN_RECV))
		return -EINVAL;
	if (sm_sock_is_unconnected(sk) || taken < ss->taken || taken - ss->taken < len)
		return -EINVAL;
	skb_queue_walk(unread, skb)
		truesize += skb->truesize;
	return __sk_rmem_schedule(sk, truesize, false) ? 0 : -ENOMEM;
}

/**
 * sm_unread_put() - give it back
 * @sk: the socket, of which sm_unread_fits() said so
 * @unread: emptied
 */
void sm_unread_put(struct sock *sk, struct sk_buff_head *unread)
{
	struct tcp_sock *tp = tcp_sk(sk);
	bool fin = sm_unread_has_fin(sk);
	u32 seq = tp->copied_seq;
	struct sk_buff *skb;

	/* From the end, each in front of what there is */
	while ((skb = __skb_dequeue_tail(unread))) {
		TCP_SKB_CB(skb)->end_seq = seq;
		if (fin) {
			TCP_SKB_CB(skb)->tcp_flags = TCPHDR_FIN;
			seq--;
			fin = false;
		}
		seq -= skb->len;
		TCP_SKB_CB(skb)->seq = seq;
		TCP_SKB_CB(skb)->ack_seq = tp->snd_una - 1;
		skb_set_owner_r(skb, sk);
		__skb_queue_head(&sk->sk_receive_queue, skb);
	}
	WRITE_ONCE(tp->copied_seq, seq);
	if (before(seq, tp->rcvq_space.seq))
		tp->rcvq_space.seq = seq;
}
