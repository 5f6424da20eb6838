// SPDX-License-Identifier: GPL-2.0
/*
 * attach.c - a TCP socket becomes one of a port
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/sched/signal.h>
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
static int sm_sock_check(struct sm_port *port, struct socket *sock, u32 flags)
{
	const struct sock *sk = sock->sk;
	bool listens = READ_ONCE(sk->sk_state) == TCP_LISTEN;

	if ((sk->sk_family != AF_INET && sk->sk_family != AF_INET6) ||
	    sk->sk_type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP)
		return -EOPNOTSUPP;
	/* A listener has nothing to gain from a handle, and everybody else nothing to accept */
	if (((flags & STACKMAP_ATTACH_ACCEPT) && !listens) ||
	    ((flags & STACKMAP_ATTACH_HANDLE) && listens))
		return -EINVAL;
	return sm_lsm_ask(port, sock);
}

/* What a port is to know of a socket: without number and socket yet */
static struct sm_sock *sm_sock_new(struct sm_port *port, u64 data)
{
	struct sm_sock *ss = kzalloc(sizeof(*ss), SM_GFP_USER);

	/* As the slab has it, for each of very many connections */
	BUILD_BUG_ON(sizeof(*ss) > 192);
	if (!ss)
		return NULL;
	ss->port = port;
	ss->data = data;
	ss->tgid = current->tgid;
	ss->gen = atomic_inc_return(&sm_gen) ?: atomic_inc_return(&sm_gen);
	ss->credit = SM_CREDIT_ALL;
	INIT_LIST_HEAD(&ss->ready);
	INIT_LIST_HEAD(&ss->all);
	return ss;
}

/**
 * sm_sock_handle_is_left() - whether the owner may have another handle
 * @port: the port
 *
 * Return: whether it has fewer than it may have descriptors: it has these instead.
 */
bool sm_sock_handle_is_left(const struct sm_port *port)
{
	return READ_ONCE(port->nhandles) < min_t(unsigned long, rlimit(RLIMIT_NOFILE),
						 STACKMAP_HANDLES_MAX);
}

/**
 * sm_sock_new_handle() - a number for a socket that is to have no descriptor
 * @port: the port
 * @data: told in every slot
 *
 * Return: what the port will know of the socket, for sm_sock_join(); or an errno. To be
 * given up with sm_sock_free_handle().
 */
struct sm_sock *sm_sock_new_handle(struct sm_port *port, u64 data)
{
	struct sm_sock *ss;
	int err;

	if (!sm_sock_handle_is_left(port))
		return ERR_PTR(-EMFILE);
	ss = sm_sock_new(port, data);
	if (!ss)
		return ERR_PTR(-ENOMEM);
	ss->fd = sm_sock_get_handle(port);
	if (ss->fd < 0) {
		err = ss->fd;
		kfree(ss);
		return ERR_PTR(err);
	}
	return ss;
}

/**
 * sm_sock_free_handle() - it was not joined with a socket
 * @ss: from sm_sock_new_handle()
 */
void sm_sock_free_handle(struct sm_sock *ss)
{
	sm_sock_put_handle(ss->port, ss->fd, NULL);
	kfree(ss);
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
 * sm_sock_join() - a socket becomes one of a port
 * @ss: what the port is to know of it, with its number
 * @sock: the socket, held by the caller
 *
 * Return: 0 or an errno; @ss is the caller's to free then.
 */
int sm_sock_join(struct sm_sock *ss, struct socket *sock)
{
	struct sock *sk = sock->sk;
	int err;

	ss->sk = sk;
	lock_sock(sk);
	err = sm_sock_attach_locked(ss, sock);
	release_sock(sk);
	return err;
}

/* Under its own number. @sock is held by the caller */
static int sm_sock_attach_fd(struct sm_port *port, struct socket *sock, struct stackmap_attach *a)
{
	struct sm_sock *ss = sm_sock_new(port, a->data);
	int err;

	if (!ss)
		return -ENOMEM;
	ss->fd = a->fd;
	ss->files = current->files;
	if (a->flags & STACKMAP_ATTACH_ACCEPT)
		__set_bit(SM_ACCEPTS, &ss->bits);
	a->gen = ss->gen;
	sm_sock_detach_old(port, a->fd, sock->sk);
	err = sm_sock_join(ss, sock);
	if (err)
		kfree(ss);
	return err;
}

/* Under a handle. The caller's reference to @sock is the handle's on success */
static int sm_sock_attach_handle(struct sm_port *port, struct socket *sock,
				 struct stackmap_attach *a)
{
	struct sm_sock *ss = sm_sock_new_handle(port, a->data);
	s32 fd = a->fd;
	int err;

	if (IS_ERR(ss))
		return PTR_ERR(ss);
	ss->sock = sock;
	a->fd = ss->fd;
	a->gen = ss->gen;
	err = sm_sock_join(ss, sock);
	if (err) {
		sm_sock_free_handle(ss);
		a->fd = fd;
	}
	return err;
}

/**
 * sm_sock_attach() - attach a socket of the calling process
 * @port: the port
 * @a: what is asked for; on success with @gen, and the handle in @fd if one was asked for
 *
 * Return: 0 or an errno as listed in stackmap.h.
 */
int sm_sock_attach(struct sm_port *port, struct stackmap_attach *a)
{
	bool handle = a->flags & STACKMAP_ATTACH_HANDLE;
	struct socket *sock;
	struct sock *sk = NULL;
	int err = -ENODEV;

	if (!READ_ONCE(port->nic.dev))
		goto out;
	sock = sockfd_lookup(a->fd, &err);
	if (!sock)
		goto out;
	sk = sock->sk;
	err = sm_sock_check(port, sock, a->flags);
	if (err)
		goto put_fd;
	if (unlikely(sm_hooks_are_ours(sk)))
		sm_sock_detach_stray(sk);
	/* Another thread may close the descriptor, and the handle as soon as there is one */
	sock_hold(sk);
	err = handle ? sm_sock_attach_handle(port, sock, a) : sm_sock_attach_fd(port, sock, a);
	trace_stackmap_attach(port, a->fd, sk, err ? 0 : a->gen, err);
	sock_put(sk);
	if (err || !handle)
		sockfd_put(sock);
	return err;
put_fd:
	trace_stackmap_attach(port, a->fd, sk, 0, err);
	sockfd_put(sock);
	return err;
out:
	trace_stackmap_attach(port, a->fd, NULL, 0, err);
	return err;
}
