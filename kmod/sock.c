// SPDX-License-Identifier: GPL-2.0
/*
 * sock.c - attaching a socket to a port; what its callbacks do; detaching
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
#include "sock.h"

#include <linux/file.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/tcp.h>

#include "lsm.h"
#include "port.h"

/* The callbacks of every TCP socket that no other upper layer uses */
static struct {
	void (*data_ready)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*error_report)(struct sock *sk);
} sm_plain;

static atomic_t sm_gen = ATOMIC_INIT(0);

static struct tcp_ulp_ops sm_ulp;

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

/**
 * sm_sock_ready() - the next sync shall look at this socket
 * @ss: the socket
 */
void sm_sock_ready(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;
	bool wake = false;

	spin_lock_bh(&port->list_lock);
	/* An ended one may still be called back, and is on no list any more */
	if (list_empty(&ss->ready) && !list_empty(&ss->all)) {
		list_add_tail(&ss->ready, &port->ready);
		wake = !port->polling;
	}
	spin_unlock_bh(&port->list_lock);
	if (wake && wq_has_sleeper(port->wait))
		wake_up_interruptible_poll(port->wait, EPOLLIN | EPOLLRDNORM);
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

/* ----------------------------------------------------------- the ULP hooks */

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

/* Take the socket out of everything through which a port could find it */
static void sm_sock_unlink(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;

	/* Another socket may have this number by now */
	xa_cmpxchg_bh(&port->by_fd, ss->fd, ss, NULL, 0);
	spin_lock_bh(&port->list_lock);
	if (!list_empty(&ss->all)) {
		list_del_init(&ss->all);
		list_del_init(&ss->ready);
		port->nsocks--;
	}
	spin_unlock_bh(&port->list_lock);
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
		sm_sock_unlink(ss);
		kfree_rcu(ss, rcu);
	}
}

static struct tcp_ulp_ops sm_ulp __read_mostly = {
	.name = "stackmap",
	.owner = THIS_MODULE,
	.init = sm_ulp_init,
	.clone = sm_ulp_clone,
	.release = sm_ulp_release,
};

/* ------------------------------------------------------ attach and detach */

/**
 * sm_sock_hold() - make a socket that was found safe to lock
 * @ss: found under RCU or the port's list_lock, and still under it
 * @sk: its socket, as read from @ss
 *
 * Return: whether it is alive. The caller has to sock_put() it then.
 */
bool sm_sock_hold(struct sm_sock *ss, struct sock *sk)
{
	if (unlikely(!refcount_inc_not_zero(&sk->sk_refcnt)))
		return false;
	/*
	 * TCP sockets are SLAB_TYPESAFE_BY_RCU: it may have been freed and be
	 * another one by now.
	 */
	if (likely(rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) == ss))
		return true;
	sock_put(sk);
	return false;
}

/**
 * sm_sock_stray() - a socket is to be detached at the end of the sync, which can sleep
 * @ss: an attached socket, under RCU
 *
 * Until then it is on the list of strays by what would put it on the list of ready ones.
 */
void sm_sock_stray(struct sm_sock *ss)
{
	struct sm_port *port = ss->port;

	spin_lock_bh(&port->list_lock);
	if (!list_empty(&ss->all))
		list_move_tail(&ss->ready, &port->strays);
	spin_unlock_bh(&port->list_lock);
}

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
	if (inet_csk(sk)->icsk_ulp_ops && inet_csk(sk)->icsk_ulp_ops != &sm_ulp)
		return -EBUSY;
	if (inet_csk(sk)->icsk_ulp_ops && rcu_access_pointer(inet_csk(sk)->icsk_ulp_data))
		return -EALREADY;
	/* A sockmap, or a kernel user (RDS, NFS, ...): each has these */
	if (READ_ONCE(sk->sk_user_data) || !sm_callbacks_are_plain(sk))
		return -EBUSY;
	return 0;
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

/*
 * Detaching takes two steps. After the first no callback of ours is called any
 * more and no sync finds the socket, but the ULP stays. With a listener a grace
 * period must pass between the two: when it is cloned, the child copies the
 * callbacks and the ULP at different moments, and if it got our callbacks, it
 * must have the clone hook called.
 *
 * Return: whether the caller has to take the second step, and no one else.
 */
static bool sm_detach_begin_locked(struct sm_sock *ss, struct sock *sk)
{
	if (rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) != ss ||
	    test_and_set_bit(SM_DETACHING, &ss->bits))
		return false;
	write_lock_bh(&sk->sk_callback_lock);
	sm_callbacks_restore(sk);
	rcu_assign_sk_user_data(sk, NULL);
	write_unlock_bh(&sk->sk_callback_lock);
	if (sk->sk_state == TCP_LISTEN)
		set_bit(SM_LISTENED, &ss->bits);
	sm_sock_unlink(ss);
	return true;
}

static bool sm_detach_begin(struct sm_sock *ss, struct sock *sk)
{
	bool mine;

	lock_sock(sk);
	mine = sm_detach_begin_locked(ss, sk);
	release_sock(sk);
	return mine;
}

/*
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
 */
static bool sm_ulp_remove(const struct sm_sock *ss, struct sock *sk)
{
	const struct tcp_ulp_ops **ops = &inet_csk(sk)->icsk_ulp_ops;
	struct file *file = sk->sk_socket ? READ_ONCE(sk->sk_socket->file) : NULL;
	unsigned long flags;
	bool removed = true;

	rcu_read_lock();
	local_irq_save(flags);
	if (!file) {
		WRITE_ONCE(*ops, NULL);		/* orphaned: no system call reaches it */
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

/* @owned: a thread has the socket locked. Returns whether the module's reference is to be put */
static bool sm_detach_end_locked(struct sm_sock *ss, struct sock *sk, bool owned)
{
	/* Otherwise it was destroyed meanwhile, and tcp_cleanup_ulp() did it */
	if (rcu_access_pointer(inet_csk(sk)->icsk_ulp_data) != ss)
		return false;
	RCU_INIT_POINTER(inet_csk(sk)->icsk_ulp_data, NULL);
	return !owned && sm_ulp_remove(ss, sk);
}

static void sm_detach_free(struct sm_sock *ss, bool put)
{
	kfree_rcu(ss, rcu);
	if (put)
		module_put(THIS_MODULE);
}

static void sm_detach_end(struct sm_sock *ss, struct sock *sk)
{
	bool put;

	lock_sock(sk);
	put = sm_detach_end_locked(ss, sk, false);
	release_sock(sk);
	sm_detach_free(ss, put);
}

/* The caller holds @sk; its reference is dropped */
static void sm_detach(struct sm_sock *ss, struct sock *sk)
{
	if (sm_detach_begin(ss, sk)) {
		if (test_bit(SM_LISTENED, &ss->bits))
			synchronize_rcu();
		sm_detach_end(ss, sk);
	}
	sock_put(sk);
}

/* It may be attached under a number that names another by now, or nothing */
static void sm_sock_detach_stray(struct sock *sk)
{
	struct sm_sock *ss;
	bool stray;

	lock_sock(sk);
	rcu_read_lock();
	ss = inet_csk(sk)->icsk_ulp_ops == &sm_ulp ? rcu_dereference(inet_csk(sk)->icsk_ulp_data) : NULL;
	stray = ss && sk->sk_socket && !sm_sock_is_named(ss, sk);
	rcu_read_unlock();
	release_sock(sk);
	if (stray) {
		sock_hold(sk);
		sm_detach(ss, sk);
	}
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
	struct sm_sock *ss, *old;
	struct sock *sk, *old_sk;
	struct socket *sock;
	int err;

	if (!READ_ONCE(port->nic.dev))
		return -ENODEV;
	sock = sockfd_lookup(fd, &err);
	if (!sock)
		return err;
	sk = sock->sk;
	err = -EOPNOTSUPP;
	if ((sk->sk_family != AF_INET && sk->sk_family != AF_INET6) ||
	    sk->sk_type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP)
		goto put_fd;

	err = sm_lsm_ask(port, sock);
	if (err)
		goto put_fd;
	if (unlikely(READ_ONCE(inet_csk(sk)->icsk_ulp_ops) == &sm_ulp))
		sm_sock_detach_stray(sk);

	err = -ENOMEM;
	ss = kzalloc(sizeof(*ss), SM_GFP_USER);
	if (!ss)
		goto put_fd;
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

	/*
	 * What had this number before is closed, or has another number too: the
	 * application cannot mean it any more. A closed one that is still
	 * exchanging its last segments goes by itself.
	 */
	rcu_read_lock();
	old = xa_load(&port->by_fd, fd);
	old_sk = old ? old->sk : NULL;
	if (old_sk && (old_sk == sk || !sm_sock_hold(old, old_sk)))
		old_sk = NULL;
	rcu_read_unlock();
	if (old_sk) {
		if (sock_flag(old_sk, SOCK_DEAD))
			sock_put(old_sk);
		else
			sm_detach(old, old_sk);
	}

	lock_sock(sk);
	err = sm_sock_may_attach(sk);
	if (err)
		goto unlock;
	/* A sync that finds it before it is attached takes it for a dead one */
	err = xa_err(xa_store_bh(&port->by_fd, fd, ss, SM_GFP_USER));
	if (err)
		goto unlock;
	/* So it is after EINPROGRESS, though the handshake may be done by now */
	if (sock->state == SS_CONNECTING || sm_sock_is_unconnected(sk))
		__set_bit(SM_CONNECTING, &ss->bits);
	sm_acked_init(ss, sk);
	/* shutdown() may have ended that when it is detached, and a clone still be under way */
	if (sk->sk_state == TCP_LISTEN) {
		__set_bit(SM_LISTENING, &ss->bits);
		__set_bit(SM_LISTENED, &ss->bits);
	}
	spin_lock_bh(&port->list_lock);
	list_add_tail(&ss->all, &port->socks);
	port->nsocks++;
	spin_unlock_bh(&port->list_lock);

	sm_sock_use_queue(sk, port->nic.queue);
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
	/* A listener has no lock for what arrives: look after the callbacks are set */
	smp_mb();
	if (sm_sock_has_something(ss, sk))
		sm_sock_ready(ss);
	*gen = ss->gen;
	ss = NULL;
unlock:
	release_sock(sk);
	kfree(ss);
put_fd:
	sockfd_put(sock);
	return err;
}

/**
 * sm_sock_detach() - make an attached socket a plain one again
 * @port: the port
 * @fd: the number it was attached under
 *
 * Return: 0, or -EBADF when no socket is attached under that number.
 */
int sm_sock_detach(struct sm_port *port, s32 fd)
{
	struct sm_sock *ss;
	struct sock *sk;

	rcu_read_lock();
	ss = xa_load(&port->by_fd, fd);
	sk = ss ? ss->sk : NULL;
	if (sk && !sm_sock_hold(ss, sk))
		sk = NULL;
	rcu_read_unlock();
	if (!sk)
		return -EBADF;
	sm_detach(ss, sk);
	return 0;
}

/*
 * Begin to detach a stray, without waiting for whoever has it locked: another process may
 * be in a call on it for as long as it likes. Then it is put back, and @locked is set.
 * Under RCU, as it may be destroyed meanwhile. Returns whether the caller has to end it.
 */
static bool sm_stray_begin(struct sm_sock *ss, struct sock *sk, const struct sm_sock **locked)
{
	bool mine = false;

	local_bh_disable();
	bh_lock_sock(sk);
	if (!sock_owned_by_user(sk)) {
		mine = sm_detach_begin_locked(ss, sk);
	} else {
		sm_sock_stray(ss);
		*locked = *locked ?: ss;
	}
	bh_unlock_sock(sk);
	local_bh_enable();
	return mine;
}

static void sm_stray_end(struct sm_sock *ss, struct sock *sk)
{
	bool put;

	if (test_bit(SM_LISTENED, &ss->bits))
		synchronize_rcu();
	local_bh_disable();
	bh_lock_sock(sk);
	put = sm_detach_end_locked(ss, sk, sock_owned_by_user(sk));
	bh_unlock_sock(sk);
	local_bh_enable();
	sm_detach_free(ss, put);
}

/**
 * sm_sock_detach_strays() - detach what sm_sock_is_gone() has found
 * @port: the port
 *
 * What some thread has locked now is left for the next sync.
 */
void sm_sock_detach_strays(struct sm_port *port)
{
	const struct sm_sock *locked = NULL;
	u32 most = READ_ONCE(port->nsocks);	/* each once, should @locked go away */
	struct sm_sock *ss;
	struct sock *sk;
	bool mine;

	while (most--) {
		rcu_read_lock();
		spin_lock_bh(&port->list_lock);
		ss = list_first_entry_or_null(&port->strays, struct sm_sock, ready);
		if (ss == locked)	/* all around, or none at all */
			ss = NULL;
		sk = ss ? ss->sk : NULL;
		if (ss)
			list_del_init(&ss->ready);
		if (sk && !refcount_inc_not_zero(&sk->sk_refcnt))
			sk = NULL;
		spin_unlock_bh(&port->list_lock);
		mine = sk && sm_stray_begin(ss, sk, &locked);
		rcu_read_unlock();
		if (!ss)
			break;
		if (mine)
			sm_stray_end(ss, sk);
		if (sk)
			sock_put(sk);
		cond_resched();
	}
}

/**
 * sm_sock_detach_all() - detach every socket of a port that is being closed
 * @port: the port; nothing can attach to it any more
 *
 * After this no callback runs that knows the port.
 */
void sm_sock_detach_all(struct sm_port *port)
{
	LIST_HEAD(begun);
	struct sm_sock *ss;
	struct sock *sk;

	for (;;) {
		spin_lock_bh(&port->list_lock);
		ss = list_first_entry_or_null(&port->socks, struct sm_sock, all);
		sk = ss ? ss->sk : NULL;
		if (sk && !refcount_inc_not_zero(&sk->sk_refcnt))
			sk = NULL;
		spin_unlock_bh(&port->list_lock);
		if (!ss)
			break;
		if (sk && sm_detach_begin(ss, sk))
			list_add_tail(&ss->ready, &begun);	/* ours alone now */
		else if (sk)
			sock_put(sk);
		cond_resched();
	}
	synchronize_rcu();
	while (!list_empty(&begun)) {
		ss = list_first_entry(&begun, struct sm_sock, ready);
		sk = ss->sk;
		list_del_init(&ss->ready);
		sm_detach_end(ss, sk);
		sock_put(sk);
		cond_resched();
	}
}

/**
 * sm_sock_init() - learn what a plain TCP socket's callbacks are
 *
 * They are not exported by name, so a socket is asked.
 *
 * Return: 0 or an errno.
 */
int sm_sock_init(void)
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

void sm_sock_exit(void)
{
	tcp_unregister_ulp(&sm_ulp);
}
