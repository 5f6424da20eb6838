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
 *  - the queue is in order of sequence numbers, and copied_seq lies in its first skb
 *    (tcp_recvmsg_locked(), tcp_read_sock(), tcp_cleanup_rbuf()). Where the one behind was read
 *    in part, its beginning and what is put in front overlap: readers go by how far
 *    copied_seq is from an skb's first, and tcp_collapse() by where the last one has ended;
 *  - an skb that is made here is like those of tcp_send_rcvq(): no header, no device,
 *    no timestamp. What tcp_queue_rcv() merges into it, and what tcp_collapse() makes
 *    of it, goes by its sequence numbers and its flags only;
 *  - what is charged here makes the next window smaller, or closes it: more may lie in the
 *    queue then than the receive buffer is for, and TCP refuses what comes
 *    (tcp_try_rmem_schedule()) until it was read. The peer sends it again;
 *  - the FIN, which counts one and was taken with the last byte, is taken again:
 *    tcp_recvmsg_locked() looks for TCPHDR_FIN (found_fin_ok), and tcp_inq() has
 *    its own correction as long as it is not;
 *  - the error that has ended the connection comes behind the payload, as
 *    tcp_recvmsg_locked() looks at sk_err when there is none;
 *  - rcvq_space.seq is where the reader was at the last measurement, and must not lie
 *    ahead of copied_seq: in 6.1 the difference is unsigned (tcp_rcv_space_adjust()).
 *
 * tp->bytes_received - (rcv_nxt - copied_seq) is how much of the connection was taken
 * out of the queue (tcp_rcv_nxt_update() moves the first two together, and
 * tcp_fastopen_add_skb() does). That bounds what may come back: nothing from before attach.
 *
 * To have them read by others who have the socket, too, other bytes than came is more than
 * to steal them. TCP asks for CAP_NET_ADMIN for it (TCP_REPAIR), which the port's owner had
 * over the port's network namespace: so for a socket of another one he needs it, too.
 */
#include <linux/capability.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <net/tcp.h>

#include "port.h"

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

/**
 * sm_unread_check() - whether a socket can have so much back
 * @ss: the socket
 * @sk: likewise, locked
 * @len: how much
 *
 * Return: 0; -EINVAL, it has not delivered so much; -EMSGSIZE; -EPERM.
 */
int sm_unread_check(const struct sm_sock *ss, const struct sock *sk, u32 len)
{
	u64 taken = sm_unread_taken(sk) - sm_unread_has_fin(sk);
	const struct net *net = sock_net(sk);

	if (!len)
		return 0;
	if (len > STACKMAP_UNREAD_MAX)
		return -EMSGSIZE;
	if ((1 << sk->sk_state) & (TCPF_LISTEN | TCPF_SYN_SENT | TCPF_SYN_RECV))
		return -EINVAL;
	if (sm_sock_is_unconnected(sk) || taken < ss->taken || taken - ss->taken < len)
		return -EINVAL;
	if (net->net_cookie != ss->port->net_cookie && !ns_capable(net->user_ns, CAP_NET_ADMIN))
		return -EPERM;
	return 0;
}

static struct sk_buff *sm_unread_skb(const void __user *from, u32 len)
{
	struct sk_buff *skb;
	int i, err;

	if (fatal_signal_pending(current))
		return ERR_PTR(-EINTR);
	skb = alloc_skb_with_frags(0, len, 0, &err, SM_GFP_USER);
	if (!skb)
		return ERR_PTR(-ENOMEM);
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
 * @len: how much, of which sm_unread_check() has said that it can be
 *
 * Return: 0, -EFAULT, -ENOMEM or -EINTR, and then the list is empty.
 */
int sm_unread_copy(struct sk_buff_head *unread, const void __user *from, u32 len)
{
	struct sk_buff *skb;
	u32 n;

	__skb_queue_head_init(unread);
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
 * sm_unread_charge() - to the socket, whose lock the caller keeps until it is there
 * @sk: the socket
 * @unread: what sm_unread_copy() made
 *
 * Return: 0 or -ENOMEM.
 */
int sm_unread_charge(struct sock *sk, const struct sk_buff_head *unread)
{
	const struct sk_buff *skb;
	int truesize = 0;	/* of STACKMAP_UNREAD_MAX bytes at most */

	skb_queue_walk(unread, skb)
		truesize += skb->truesize;
	return __sk_rmem_schedule(sk, truesize, false) ? 0 : -ENOMEM;
}

/**
 * sm_unread_put() - give it back
 * @ss: what the port knew of the socket
 * @sk: the socket, a plain one by now, still locked
 * @unread: emptied
 */
void sm_unread_put(const struct sm_sock *ss, struct sock *sk, struct sk_buff_head *unread)
{
	struct tcp_sock *tp = tcp_sk(sk);
	bool fin = sm_unread_has_fin(sk);
	bool some = !skb_queue_empty(unread);
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
	if (ss->err && sk->sk_state == TCP_CLOSE && !sk->sk_err) {
		WRITE_ONCE(sk->sk_err, ss->err);
		sk_error_report(sk);
	}
	if (some)
		sk->sk_data_ready(sk);
}
