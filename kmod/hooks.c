// SPDX-License-Identifier: GPL-2.0
/*
 * hooks.c - what TCP calls of ours for an attached socket: its callbacks and its ULP
 *
 * An attached socket has our upper-layer protocol (ULP, net/ipv4/tcp_ulp.c),
 * which gives mutual exclusion with kTLS and sockmap, a line in `ss -i`, and
 * two hooks: clone, for the children of a listener, and release, when the
 * socket is destroyed. And it has our callbacks, which do no more than note in
 * the port that the socket is ready. All else happens in sync.
 *
 * The ULP is set directly, as __tcp_set_ulp() does under the socket's lock,
 * since setsockopt(TCP_ULP) has no way to say which port.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/tcp.h>

#include "info.h"
#include "port.h"
#include "trace.h"

/* The callbacks of every TCP socket that no other upper layer uses */
static struct {
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*error_report)(struct sock *sk);
} sm_plain;

/* --------------------------------------------------------------- callbacks */

static void sm_data_ready(struct sock *sk);
static void sm_state_change(struct sock *sk);
static void sm_write_space(struct sock *sk);
static void sm_error_report(struct sock *sk);

static void sm_callbacks_set(struct sock *sk)
{
	WRITE_ONCE(sk->sk_data_ready, sm_data_ready);
	WRITE_ONCE(sk->sk_state_change, sm_state_change);
	WRITE_ONCE(sk->sk_write_space, sm_write_space);
	WRITE_ONCE(sk->sk_error_report, sm_error_report);
}

static void sm_callbacks_restore(struct sock *sk)
{
	WRITE_ONCE(sk->sk_data_ready, sm_plain.data_ready);
	WRITE_ONCE(sk->sk_state_change, sm_plain.state_change);
	WRITE_ONCE(sk->sk_write_space, sm_plain.write_space);
	WRITE_ONCE(sk->sk_error_report, sm_plain.error_report);
}

static bool sm_callbacks_are_plain(const struct sock *sk)
{
	return sk->sk_data_ready == sm_plain.data_ready &&
	       sk->sk_state_change == sm_plain.state_change &&
	       sk->sk_write_space == sm_plain.write_space &&
	       sk->sk_error_report == sm_plain.error_report;
}

/*
 * Under RCU. A listener may be closed on one CPU while another clones it, and
 * the child then has our callbacks and its parent's pointer without the clone
 * hook having been called: @sk tells, and the child becomes a plain socket.
 */
static struct sm_sock *sm_sock_of(struct sock *sk)
{
	struct sm_sock *ss = rcu_dereference(inet_csk(sk)->icsk_ulp_data);

	if (likely(ss && ss->sk == sk))
		return ss;
	if (sk->sk_data_ready == sm_data_ready)
		sm_callbacks_restore(sk);
	return NULL;
}

static void sm_callback(struct sock *sk)
{
	struct sm_sock *ss;

	rcu_read_lock();
	ss = sm_sock_of(sk);
	if (ss)
		sm_sock_ready(ss);
	rcu_read_unlock();
}

static void sm_data_ready(struct sock *sk)
{
	struct sm_sock *ss;

	rcu_read_lock();
	ss = sm_sock_of(sk);
	/*
	 * Nobody is woken for payload that credit holds back. A grant is not missed:
	 * it is written before sync takes the socket's lock to look, and here that lock is
	 * held since before the payload was queued. A FIN comes by sk_state_change(),
	 * an error by sk_error_report().
	 */
	if (ss && (likely(READ_ONCE(ss->credit)) || sk->sk_state == TCP_LISTEN))
		sm_sock_ready(ss);
	rcu_read_unlock();
	/* Who waits for the fd itself, in poll() or accept(), is woken as ever */
	sm_plain.data_ready(sk);
}

static void sm_state_change(struct sock *sk)
{
	sm_callback(sk);
	sm_plain.state_change(sk);
}

/*
 * tcp_disconnect() ends here: for connect(AF_UNSPEC), a connect() that returns an
 * error, a shutdown() of a listener. What comes after it on this socket is told
 * from the start, as a plain one tells it. The caller has the socket locked.
 */
static void sm_error_report(struct sock *sk)
{
	struct sm_sock *ss;

	rcu_read_lock();
	ss = sm_sock_of(sk);
	if (ss) {
		if (sm_sock_is_unconnected(sk)) {
			clear_bit(SM_TOLD_FIN, &ss->bits);
			clear_bit(SM_TOLD_END, &ss->bits);
			clear_bit(SM_TOLD_ERROR, &ss->bits);
			set_bit(SM_CONNECTING, &ss->bits);
			ss->taken = 0;
			ss->err = 0;
			/* It may have been one, and may become one */
			set_bit(SM_LISTENED, &ss->bits);
		}
		sm_sock_ready(ss);
	}
	rcu_read_unlock();
	sm_plain.error_report(sk);
}

static void sm_write_space(struct sock *sk)
{
	struct sm_sock *ss;

	rcu_read_lock();
	ss = sm_sock_of(sk);
	if (ss && test_bit(SM_WANT_ROOM, &ss->bits) && sk_stream_is_writeable(sk))
		sm_sock_ready(ss);
	sm_plain.write_space(sk);
	if (ss && test_bit(SM_WANT_ACKED, &ss->bits)) {
		if (sm_acked_reached(ss, sk))
			sm_sock_ready(ss);
		else if (sk->sk_socket)
			/* It may just have been cleared, but the next ACK counts too */
			set_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	}
	rcu_read_unlock();
}

/* ------------------------------------------------------------------ the ULP */

/* From setsockopt(TCP_ULP): attaching needs a port, so only the ioctl does it */
static int sm_ulp_init(struct sock *sk)
{
	return -EOPNOTSUPP;
}

/* A child of an attached listener begins as a plain socket */
static void sm_ulp_clone(const struct request_sock *req, struct sock *newsk,
			 const gfp_t priority)
{
	struct inet_connection_sock *icsk = inet_csk(newsk);

	sm_callbacks_restore(newsk);
	RCU_INIT_POINTER(icsk->icsk_ulp_data, NULL);
	/* And so without the reference to the module that the parent has */
	icsk->icsk_ulp_ops = NULL;
}

/* From tcp_cleanup_ulp(), as the socket is destroyed; it drops the module */
static void sm_ulp_release(struct sock *sk)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	struct sm_sock *ss = rcu_dereference_protected(icsk->icsk_ulp_data, 1);

	sm_callbacks_restore(sk);
	rcu_assign_sk_user_data(sk, NULL);
	RCU_INIT_POINTER(icsk->icsk_ulp_data, NULL);
	if (ss && !test_bit(SM_DETACHING, &ss->bits)) {
		trace_stackmap_detach(ss, STACKMAP_DETACHED_CLOSED);
		sm_sock_unlink(ss);
		kfree_rcu(ss, rcu);
	}
}

/*
 * For sock_diag, which looks at the ULP without any lock and asks it later (tcp_diag_get_aux()): the
 * socket may have been detached meanwhile, and have another upper layer. That one sets its data
 * only after our ULP is gone (under the socket's lock), and ours does not come back: if the ULP is ours
 * after the data was read, so is the data. And a socket that is being detached may outlive its
 * port: SM_DETACHING is set before the grace period that sm_sock_detach_all() waits for.
 */
static int __maybe_unused sm_ulp_info2(struct sock *sk, struct sk_buff *skb)
{
	const struct sm_sock *ss;
	int err = 0;

	rcu_read_lock();
	ss = rcu_dereference(inet_csk(sk)->icsk_ulp_data);
	smp_rmb();
	if (ss && sm_hooks_are_ours(sk) && !test_bit(SM_DETACHING, &ss->bits))
		err = sm_info_diag(ss, skb);
	rcu_read_unlock();
	return err;
}

/* What an owner does with a socket is not everybody's to know */
static int __maybe_unused sm_ulp_info3(struct sock *sk, struct sk_buff *skb, bool net_admin)
{
	return net_admin ? sm_ulp_info2(sk, skb) : 0;
}

static size_t __maybe_unused sm_ulp_size1(const struct sock *sk)
{
	return sm_info_diag_size();
}

static size_t __maybe_unused sm_ulp_size2(const struct sock *sk, bool net_admin)
{
	return net_admin ? sm_info_diag_size() : 0;
}

static struct tcp_ulp_ops sm_ulp __read_mostly = {
	.name = "stackmap",
	.owner = THIS_MODULE,
	.init = sm_ulp_init,
	.clone = sm_ulp_clone,
	.release = sm_ulp_release,
	.get_info = sm_ulp_info_fn(sm_ulp_info2, sm_ulp_info3),
	.get_info_size = sm_ulp_size_fn(sm_ulp_size1, sm_ulp_size2),
};

/**
 * sm_hooks_remove() - take our ULP away, after sm_hooks_clear()
 * @ss: what the port knew of the socket
 * @sk: the socket, locked
 *
 * getsockopt(TCP_ULP) looks whether there is a ULP and then copies its name, two
 * reads without a lock, and between them it writes to user memory, where it may
 * sleep for as long as a userfaultfd or a FUSE file likes. So no grace period tells
 * that nobody is between the two. But whoever is in a system call on the socket
 * has a reference to its file: by fget(), or, having a table of its own, by that.
 * So the ULP is taken away where the file has one reference only and that is the
 * number in the table of this very task, which is here and not there; or none, as
 * it is being closed. Anybody who comes after this read of the count finds no ULP,
 * or has to get from fdget() to the second read between two adjacent instructions:
 * he is looked for behind them, and the ULP is put back before he gets as far.
 *
 * Where somebody else has the file, the ULP stays until the socket is destroyed. It
 * does nothing then but say in `ss -i` and to kTLS and sockmap that it is there.
 *
 * Return: whether it has gone, and the caller has to put its reference to the module.
 */
bool sm_hooks_remove(const struct sm_sock *ss, struct sock *sk)
{
	const struct tcp_ulp_ops **ops = &inet_csk(sk)->icsk_ulp_ops;
	struct file *file = sk->sk_socket ? READ_ONCE(sk->sk_socket->file) : NULL;
	unsigned long flags;
	bool removed = true;

	rcu_read_lock();
	local_irq_save(flags);
	if (!file) {
		WRITE_ONCE(*ops, NULL);		/* orphaned, or a handle's: no system call reaches it */
	} else if (file_count(file) <= 1 &&
		   (!file_count(file) || (current->files == ss->files &&
					  current->tgid == ss->tgid && sm_sock_is_named(ss, sk)))) {
		WRITE_ONCE(*ops, NULL);
		smp_mb();
		if (unlikely(file_count(file) > 1)) {
			WRITE_ONCE(*ops, &sm_ulp);
			removed = false;
		}
	} else {
		removed = false;
	}
	local_irq_restore(flags);
	rcu_read_unlock();
	return removed;
}

/* -------------------------------------------------------------------- both */

/**
 * sm_hooks_are_ours() - whether a socket is attached, or has been
 * @sk: the socket
 *
 * Return: whether it has our ULP.
 */
bool sm_hooks_are_ours(const struct sock *sk)
{
	return READ_ONCE(inet_csk(sk)->icsk_ulp_ops) == &sm_ulp;
}

/**
 * sm_hooks_are_free() - whether a socket's hooks may become ours
 * @sk: the socket, locked
 *
 * Return: 0; -EALREADY, it is attached; -EBUSY, something else has them.
 */
int sm_hooks_are_free(struct sock *sk)
{
	if (inet_csk(sk)->icsk_ulp_ops && inet_csk(sk)->icsk_ulp_ops != &sm_ulp)
		return -EBUSY;
	if (inet_csk(sk)->icsk_ulp_ops && rcu_access_pointer(inet_csk(sk)->icsk_ulp_data))
		return -EALREADY;
	/* A sockmap, or a kernel user (RDS, NFS, ...): each has these */
	if (READ_ONCE(sk->sk_user_data) || !sm_callbacks_are_plain(sk))
		return -EBUSY;
	return 0;
}

/**
 * sm_hooks_set() - have TCP call us
 * @ss: what the port knows of the socket
 * @sk: the socket, locked, whose hooks are free
 */
void sm_hooks_set(struct sm_sock *ss, struct sock *sk)
{
	/* For those who look at this only, not at the ULP: the socket is taken */
	__rcu_assign_sk_user_data_with_flags(sk, ss, SK_USER_DATA_NOCOPY);
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, ss);
	if (!inet_csk(sk)->icsk_ulp_ops) {
		__module_get(THIS_MODULE);
		inet_csk(sk)->icsk_ulp_ops = &sm_ulp;
	}
	write_lock_bh(&sk->sk_callback_lock);
	sm_callbacks_set(sk);
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * sm_hooks_clear() - no callback of ours is called any more; the ULP stays
 * @sk: an attached socket, locked
 */
void sm_hooks_clear(struct sock *sk)
{
	write_lock_bh(&sk->sk_callback_lock);
	sm_callbacks_restore(sk);
	rcu_assign_sk_user_data(sk, NULL);
	write_unlock_bh(&sk->sk_callback_lock);
}

/**
 * sm_hooks_init() - learn what a plain TCP socket's callbacks are
 *
 * They are not exported by name, so a socket is asked.
 *
 * Return: 0 or an errno.
 */
int sm_hooks_init(void)
{
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP, &sock);
	if (err)
		return err;
	sm_plain.data_ready = sock->sk->sk_data_ready;
	sm_plain.state_change = sock->sk->sk_state_change;
	sm_plain.write_space = sock->sk->sk_write_space;
	sm_plain.error_report = sock->sk->sk_error_report;
	sock_release(sock);
	return tcp_register_ulp(&sm_ulp);
}

void sm_hooks_exit(void)
{
	tcp_unregister_ulp(&sm_ulp);
	/*
	 * sock_diag may have read that a socket has our ULP just before it was detached, and be about to
	 * ask: without a lock, a reference or RCU, but also without sleeping in between. So it is with the
	 * last line of sm_memory_ubuf_put(), of a softirq or not.
	 */
	synchronize_rcu_tasks();
}
