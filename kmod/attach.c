// SPDX-License-Identifier: GPL-2.0
/*
 * attach.c - a TCP socket becomes one of a port
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/tcp.h>

#include "lsm.h"
#include "port.h"
#include "trace.h"

static atomic_t sm_gen = ATOMIC_INIT(0);

static int sm_sock_may_attach(struct sock *sk)
{
	switch (sk->sk_state) {
	case TCP_LISTEN:
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:	/* TCP Fast Open */
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
	case TCP_FIN_WAIT1:	/* after shutdown(): can still receive */
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		break;
	default:
		/* Reset before we came: its error is still to be told */
		if (sk->sk_state == TCP_CLOSE && sk->sk_err)
			break;
		return -ENOTCONN;
	}
	return sm_hooks_are_free(sk);
}

static bool sm_sock_has_something(const struct sm_sock *ss, struct sock *sk)
{
	if (sk->sk_state == TCP_LISTEN)
		return !reqsk_queue_empty(&inet_csk(sk)->icsk_accept_queue);
	if (test_bit(SM_CONNECTING, &ss->bits) && sk->sk_state != TCP_SYN_SENT)
		return true;	/* or not: the sync looks closer */
	return !skb_queue_empty(&sk->sk_receive_queue) || sk->sk_err ||
	       (sk->sk_shutdown & RCV_SHUTDOWN);
}

/* Whether it is a TCP socket, and one that this task may use */
static int sm_sock_check(struct sm_port *port, struct socket *sock)
{
	const struct sock *sk = sock->sk;

	if ((sk->sk_family != AF_INET && sk->sk_family != AF_INET6) ||
	    sk->sk_type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP)
		return -EOPNOTSUPP;
	return sm_lsm_ask(port, sock);
}

static struct sm_sock *sm_sock_new(struct sm_port *port, struct sock *sk, s32 fd, u64 data)
{
	struct sm_sock *ss = kzalloc(sizeof(*ss), SM_GFP_USER);

	/* As the slab has it, for each of very many connections */
	BUILD_BUG_ON(sizeof(*ss) > 192);
	if (!ss)
		return NULL;
	ss->sk = sk;
	ss->port = port;
	ss->data = data;
	ss->fd = fd;
	ss->files = current->files;
	ss->tgid = current->tgid;
	ss->gen = atomic_inc_return(&sm_gen) ?: atomic_inc_return(&sm_gen);
	ss->credit = SM_CREDIT_ALL;
	INIT_LIST_HEAD(&ss->ready);
	INIT_LIST_HEAD(&ss->all);
	return ss;
}

/* With the socket locked */
static int sm_sock_attach_locked(struct sm_sock *ss, struct socket *sock)
{
	struct sock *sk = sock->sk;
	int err;

	err = sm_sock_may_attach(sk);
	if (err)
		return err;
	/* So it is after EINPROGRESS, though the handshake may be done by now */
	if (sock->state == SS_CONNECTING || sm_sock_is_unconnected(sk))
		__set_bit(SM_CONNECTING, &ss->bits);
	sm_acked_init(ss, sk);
	sm_unread_init(ss, sk);
	/* shutdown() may have ended that when it is detached, and a clone still be under way */
	if (sk->sk_state == TCP_LISTEN) {
		__set_bit(SM_LISTENING, &ss->bits);
		__set_bit(SM_LISTENED, &ss->bits);
	}
	/* A sync that finds it before it is attached takes it for a dead one */
	err = sm_sock_link(ss);
	if (err)
		return err;
	sm_sock_use_queue(sk, ss->port->nic.queue);
	sm_hooks_set(ss, sk);
	/* A listener has no lock for what arrives: look after the callbacks are set */
	smp_mb();
	if (sm_sock_has_something(ss, sk))
		sm_sock_ready(ss);
	return 0;
}

/**
 * sm_sock_attach() - attach a socket of the calling process
 * @port: the port
 * @fd: its descriptor
 * @data: told in every slot
 * @gen: set to what tells it from other sockets of this number
 *
 * Return: 0 or an errno as listed in stackmap.h.
 */
int sm_sock_attach(struct sm_port *port, s32 fd, u64 data, u32 *gen)
{
	struct socket *sock;
	struct sm_sock *ss;
	struct sock *sk = NULL;
	int err = -ENODEV;

	if (!READ_ONCE(port->nic.dev))
		goto out;
	sock = sockfd_lookup(fd, &err);
	if (!sock)
		goto out;
	sk = sock->sk;
	err = sm_sock_check(port, sock);
	if (err)
		goto put_fd;
	if (unlikely(sm_hooks_are_ours(sk)))
		sm_sock_detach_stray(sk);

	err = -ENOMEM;
	ss = sm_sock_new(port, sk, fd, data);
	if (!ss)
		goto put_fd;
	sm_sock_detach_old(port, fd, sk);
	lock_sock(sk);
	err = sm_sock_attach_locked(ss, sock);
	if (!err)
		*gen = ss->gen;
	release_sock(sk);
	if (err)
		kfree(ss);
put_fd:
	trace_stackmap_attach(port, fd, sk, err ? 0 : *gen, err);
	sockfd_put(sock);
	return err;
out:
	trace_stackmap_attach(port, fd, NULL, 0, err);
	return err;
}
