// SPDX-License-Identifier: GPL-2.0
/*
 * acked.c - marks: tell when the peer has acknowledged what was sent
 *
 * A mark is a position in what the socket sends. Positions are 64 bits wide, as
 * nobody has to sync while others send with send(): TCP counts acknowledged
 * sequence numbers in tp->bytes_acked, which moves with tp->snd_una and by as much
 * (tcp_snd_una_update(), the only place where a connection moves it; the SYN and
 * the FIN count one each). So tp->bytes_acked is snd_una's position, and another
 * sequence number's is as far from it as the number from snd_una, which for
 * write_seq is always less than 2^31.
 *
 * snd_una - bytes_acked then is constant in a connection, and another one in the next
 * connection of the same socket, whose first sequence number is
 * write_seq + max_window + 2 of the one before (tcp_disconnect()). That tells that a
 * mark is of another connection, whether or not a sync came in between.
 *
 * TCP calls sk_write_space() when an ACK has been dealt with (tcp_ack(), then
 * tcp_data_snd_check(), then tcp_check_space()), but only while SOCK_NOSPACE is
 * set, and sk_stream_write_space() clears that where there is room. So it is
 * set for as long as a mark waits. What else this does: TCP takes the sender for one
 * that is limited by its buffer. tcp_info's sndbuf_limited counts that time, the
 * buffer may grow with the window (tcp_sndbuf_expand()), and the congestion window
 * is not decayed for an application that sends less than it may
 * (tcp_cwnd_application_limited()). And who waits in poll() on the fd itself for
 * EPOLLOUT is woken by each ACK. ACKs that end the connection, or begin it, call
 * sk_state_change() instead, after snd_una has moved.
 */
#include "acked.h"

#include <net/tcp.h>

#include "compat.h"
#include "sock.h"

/* The SYN of a TCP_FASTOPEN_CONNECT socket goes out with its first payload */
static bool sm_acked_is_deferred(const struct sock *sk)
{
	return inet_test_bit(DEFER_CONNECT, sk);
}

static u32 sm_acked_isn(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	/* As it will be: tcp_connect_init() sets snd_una to write_seq */
	if (unlikely(sm_acked_is_deferred(sk)))
		return tp->write_seq;
	return tp->snd_una - (u32)tp->bytes_acked;
}

/* Where the payload that was given to TCP ends */
static u64 sm_acked_end(struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	const struct sk_buff *tail;
	u64 end;

	if (unlikely(sm_acked_is_deferred(sk)))
		return 1;	/* behind the SYN */
	end = tp->bytes_acked + (u32)(tp->write_seq - tp->snd_una);
	if (likely(!(sk->sk_shutdown & SEND_SHUTDOWN)))
		return end;
	/*
	 * The FIN is the last that is sent, if tcp_send_fin() had memory for it.
	 * Where nothing is left in the queues it was acknowledged, too.
	 */
	tail = tcp_write_queue_tail(sk) ?: skb_rb_last(&sk->tcp_rtx_queue);
	if (tail ? TCP_SKB_CB(tail)->tcp_flags & TCPHDR_FIN :
		   (1 << sk->sk_state) & (TCPF_FIN_WAIT2 | TCPF_CLOSE))
		end--;
	return end;
}

/**
 * sm_acked_init() - a socket is being attached
 * @ss: what the port knows of it
 * @sk: the socket
 */
void sm_acked_init(struct sm_sock *ss, struct sock *sk)
{
	ss->marks.isn = sm_acked_isn(sk);
	ss->marks.base = sm_acked_end(sk);
}

/**
 * sm_acked_possible() - whether a mark behind all that was sent can be reached
 * @ss: the socket
 * @sk: likewise
 *
 * In TCP_SYN_SENT, too: it is reached with the SYN's acknowledgment.
 */
bool sm_acked_possible(const struct sm_sock *ss, const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (sk->sk_state == TCP_LISTEN)
		return false;
	if (sk->sk_state != TCP_CLOSE)
		return true;
	/* Closed by both sides in turn it is reached, or else never. An error is the last that is told */
	return !sk->sk_err && !test_bit(SM_TOLD_ERROR, &ss->bits) &&
	       (sk->sk_shutdown & SEND_SHUTDOWN) && tp->snd_una == tp->write_seq;
}

/* Have sm_write_space() called by the ACKs to come */
static void sm_acked_arm(struct sock *sk)
{
	set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
}

/**
 * sm_acked_mark() - tell when all that was sent up to now is acknowledged
 * @ss: the socket
 * @sk: likewise, not owned by a thread, and with a struct socket
 */
void sm_acked_mark(struct sm_sock *ss, struct sock *sk)
{
	u32 isn = sm_acked_isn(sk);
	u64 end = sm_acked_end(sk);

	if (unlikely(isn != ss->marks.isn)) {
		/* connect() made another connection of it, and sent a SYN first */
		ss->marks.isn = isn;
		ss->marks.base = 1;
		clear_bit(SM_WANT_ACKED, &ss->bits);
	}
	if (!test_bit(SM_WANT_ACKED, &ss->bits))
		ss->marks.first = end;
	ss->marks.last = end;
	set_bit(SM_WANT_ACKED, &ss->bits);
	if (sm_acked_reached(ss, sk))
		sm_sock_ready(ss);
	else
		sm_acked_arm(sk);
}

/**
 * sm_acked_reached() - whether there is something to tell
 * @ss: the socket, with SM_WANT_ACKED
 * @sk: likewise
 */
bool sm_acked_reached(const struct sm_sock *ss, const struct sock *sk)
{
	return tcp_sk(sk)->bytes_acked >= ss->marks.first && sm_acked_isn(sk) == ss->marks.isn;
}

/**
 * sm_acked_look() - a sync looks at a socket with SM_WANT_ACKED
 * @ss: the socket
 * @sk: likewise, not owned by a thread, and with a struct socket
 *
 * Return: whether there is something to tell.
 */
bool sm_acked_look(struct sm_sock *ss, struct sock *sk)
{
	if (sm_acked_isn(sk) != ss->marks.isn) {
		/* Of a connection that is no more */
		clear_bit(SM_WANT_ACKED, &ss->bits);
		return false;
	}
	if (sm_acked_reached(ss, sk))
		return true;
	sm_acked_arm(sk);
	return false;
}

/**
 * sm_acked_tell() - marks are being told
 * @ss: the socket, of which sm_acked_look() said so
 * @sk: likewise
 *
 * Return: how many bytes the peer has acknowledged.
 */
u32 sm_acked_tell(struct sm_sock *ss, struct sock *sk)
{
	struct sm_marks *m = &ss->marks;
	u64 acked = tcp_sk(sk)->bytes_acked;
	u64 told = m->first;

	if (acked >= m->last) {
		told = m->last;
		clear_bit(SM_WANT_ACKED, &ss->bits);
	} else {
		m->first = m->last;
		sm_acked_arm(sk);
	}
	/*
	 * The FIN is no byte. But no less than the mark, in TCP_CLOSE: which of an
	 * RST and a FIN it came by cannot be seen once somebody took the error.
	 */
	return max(min(acked, sm_acked_end(sk)), told) - m->base;
}
